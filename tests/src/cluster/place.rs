//! Where a process of a cluster runs: beside the harness, or in a network namespace of its own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command};

use crate::Failure;

/// Where a process listens, and in which namespace it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The network namespace, by its name; none is the harness's own.
    pub namespace: Option<String>,
    /// The address that others reach it under.
    pub host: String,
    /// The port that it takes connections on.
    pub port: u16,
}

impl Place {
    /// A free port beside the harness.
    ///
    /// # Errors
    /// There is none.
    pub fn local() -> Result<Self, Failure> {
        Ok(Self {
            namespace: None,
            host: "127.0.0.1".to_owned(),
            port: crate::gate::free_port()?,
        })
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// A program in this place. It stands in for the programs that put it there, so that its
    /// process id is the child's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_of(None, program)
    }

    /// The same, run by a user.
    pub fn command_of(&self, user: Option<&User>, program: impl AsRef<OsStr>) -> Command {
        let mut words: Vec<&OsStr> = Vec::new();
        if let Some(namespace) = &self.namespace {
            words.extend(["ip", "netns", "exec", namespace].map(OsStr::new));
        }
        if let Some(user) = user {
            let (name, group) = (user.name, &user.group);
            let switch = [
                "setpriv",
                "--reuid",
                name,
                "--regid",
                group,
                "--clear-groups",
                "--",
            ];
            words.extend(switch.map(OsStr::new));
        }
        words.push(program.as_ref());
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    }
}

/// A user of the system that is not root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: &'static str,
    group: String,
}

impl User {
    /// The first of these that the system knows.
    ///
    /// # Errors
    /// It knows none.
    pub fn first_of(names: &[&'static str]) -> Result<Self, Failure> {
        for name in names {
            let group = Command::new("id").args(["-gn", name]).output()?;
            if group.status.success() {
                let group = String::from_utf8_lossy(&group.stdout).trim().to_owned();
                return Ok(Self { name, group });
            }
        }
        Err(format!("the system knows none of the users {names:?}").into())
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|facts| facts.uid() == 0)
}

/// Ends a process with all its children, at once and without a word, and reaps it.
///
/// # Errors
/// The system refused.
pub fn kill_all(child: &mut Child) -> Result<(), Failure> {
    let id = child.id();
    // It must not make another child while its children are counted.
    send("STOP", &[id])?;
    let mut family = vec![id];
    family.extend(children_of(id));
    send("KILL", &family)?;
    child.wait()?;
    while family.iter().any(|id| is_running(*id)) {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    Ok(())
}

/// Sends a signal to a process and all its children.
///
/// # Errors
/// The system refused.
pub(crate) fn signal_all(child: &Child, signal: &str) -> Result<(), Failure> {
    let mut family = vec![child.id()];
    family.extend(children_of(child.id()));
    send(signal, &family)
}

fn send(signal: &str, processes: &[u32]) -> Result<(), Failure> {
    let mut command = Command::new("kill");
    command.arg(format!("-{signal}"));
    command.args(processes.iter().map(u32::to_string));
    // One that is gone already needs no signal.
    command.stderr(std::process::Stdio::null()).status()?;
    Ok(())
}

/// State and parent of a process.
fn state_of(process: &str) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

fn is_running(process: u32) -> bool {
    state_of(&process.to_string()).is_some_and(|(state, _)| state != 'Z')
}

/// The processes that a process has started and that run.
pub(crate) fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let name = entry.file_name();
            let name = name.to_str()?;
            (state_of(name)?.1 == parent).then(|| name.parse().ok())?
        })
        .collect()
}
