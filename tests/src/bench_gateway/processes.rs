//! The processes beside Tollgate, and what the system knows of a process.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::round::Target;
use crate::Failure;
use crate::gate::{binary, free_port, terminate};

/// Linux counts process time in hundredths of a second for every reader of /proc.
const NANOS_PER_TICK: u64 = 10_000_000;
const CONFIG: &str = include_str!("../../../scripts/bench/nginx.conf");
/// How long a process may take to answer.
const START: Duration = Duration::from_secs(30);

/// A process that is ended when it goes out of scope.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        terminate(&mut self.0);
    }
}

/// The simulated models over HTTP.
#[derive(Debug)]
pub(super) struct Simulated {
    pub(super) port: u16,
    pub(super) target: Target,
    _process: Process,
}

impl Simulated {
    /// Starts it.
    pub(super) fn start() -> Result<Self, Failure> {
        let port = free_port()?;
        let mut command = Command::new(binary()?);
        command.args(["sim", "--listen", &format!("127.0.0.1:{port}")]);
        let process = start("the upstream", &mut command, port)?;
        let base = format!("http://127.0.0.1:{port}/v1");
        let target = Target {
            name: "upstream",
            plain: base.clone(),
            stream: base,
            key: "any".to_owned(),
            pid: process.0.id(),
        };
        Ok(Self {
            port,
            target,
            _process: process,
        })
    }
}

/// nginx as a plain proxy of the upstream.
#[derive(Debug)]
pub(super) struct Nginx {
    pub(super) target: Target,
    _process: Process,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it.
    pub(super) fn start(upstream: u16) -> Result<Self, Failure> {
        let folder = TempDir::new()?;
        let port = free_port()?;
        let root = Command::new("id").arg("-u").output()?.stdout.trim_ascii() == b"0";
        let config = CONFIG
            .replace("{{USER}}", if root { "user root;" } else { "" })
            .replace("{{DIR}}", &folder.path().to_string_lossy())
            .replace("{{PORT}}", &port.to_string())
            .replace("{{UPSTREAM}}", &upstream.to_string());
        let path = folder.path().join("nginx.conf");
        fs::write(&path, config)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(&path);
        command.arg("-e").arg(folder.path().join("error.log"));
        let process = start("nginx", &mut command, port)?;
        let host = format!("http://127.0.0.1:{port}");
        let target = Target {
            name: "nginx",
            plain: format!("{host}/v1"),
            stream: format!("{host}/stream/v1"),
            key: "any".to_owned(),
            pid: process.0.id(),
        };
        Ok(Self {
            target,
            _process: process,
            _folder: folder,
        })
    }
}

/// Starts a process and waits until its port answers.
fn start(name: &str, command: &mut Command, port: u16) -> Result<Process, Failure> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("{name} did not start: {error}"))?;
    let mut process = Process(child);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let limit = Instant::now() + START;
    while Instant::now() < limit {
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
            return Ok(process);
        }
        if let Some(status) = process.0.try_wait()? {
            return Err(format!("{name} ended with {status}").into());
        }
        sleep(Duration::from_millis(50));
    }
    Err(format!("{name} does not answer on port {port}").into())
}

impl Target {
    /// User and system time of the process and its children, in nanoseconds.
    pub(super) fn cpu_nanos(&self) -> u64 {
        let own = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Fields are counted after the name, which is in brackets and may hold spaces.
            let fields = stat.rsplit(')').next().unwrap_or_default();
            let times = fields.split_whitespace().skip(11).take(2);
            times.filter_map(|f| f.parse::<u64>().ok()).sum::<u64>()
        };
        self.family().iter().map(own).sum::<u64>() * NANOS_PER_TICK
    }

    /// Resident memory now, of the process and its children.
    pub(super) fn memory_kb(&self) -> u64 {
        self.family()
            .iter()
            .map(|pid| field_kb(*pid, "VmRSS"))
            .sum()
    }

    /// The most resident memory that the process ever had.
    pub(super) fn peak_kb(&self) -> u64 {
        field_kb(self.pid, "VmHWM")
    }

    /// The process and its children: nginx works in its children.
    fn family(&self) -> Vec<u32> {
        let pid = self.pid;
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = fs::read_to_string(path).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|p| p.parse().ok());
        std::iter::once(pid).chain(children).collect()
    }
}

/// A field of /proc/PID/status in kilobytes.
fn field_kb(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}
