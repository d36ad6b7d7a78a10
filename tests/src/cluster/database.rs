//! A PostgreSQL of the harness: every commit flushed, killed with all its processes, promoted.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::place::{Place, User, is_root, kill_all, signal_all};
use crate::Failure;
use crate::postgres::program;

/// How long a server may take to recover and to take connections.
const START: Duration = Duration::from_mins(1);

/// A PostgreSQL server with a data folder of its own.
#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    place: Place,
    child: Option<Child>,
}

impl Server {
    /// An empty server, which trusts whoever reaches it. It is not started.
    ///
    /// # Errors
    /// The programs of PostgreSQL are missing or fail.
    pub fn new(place: Place) -> Result<Self, Failure> {
        let server = Self::in_folder(place)?;
        server.run(
            "initdb",
            &["-U", "tollgate", "-A", "trust", "-E", "UTF8", "--locale=C"],
        )?;
        let trust = "host all all all trust\nhost replication all all trust\n";
        let file = server.data().join("pg_hba.conf");
        let mut text = fs::read_to_string(&file)?;
        text.push_str(trust);
        fs::write(&file, text)?;
        Ok(server)
    }

    /// A standby of a running server, with all that it holds. It is not started.
    ///
    /// # Errors
    /// The copy cannot be made.
    pub fn standby_of(primary: &Self, place: Place) -> Result<Self, Failure> {
        let server = Self::in_folder(place)?;
        let (host, port) = (&primary.place.host, primary.place.port.to_string());
        server.run(
            "pg_basebackup",
            &[
                "-R", "-c", "fast", "-X", "stream", "-U", "tollgate", "-h", host, "-p", &port,
            ],
        )?;
        // Once it is promoted it waits for nobody, until it has a standby of its own.
        let file = server.data().join("postgresql.auto.conf");
        let mut text = fs::read_to_string(&file)?;
        text.push_str("synchronous_standby_names = ''\n");
        fs::write(&file, text)?;
        Ok(server)
    }

    fn in_folder(place: Place) -> Result<Self, Failure> {
        // Short, because sockets are in it, and open to the server's own user.
        let folder = tempfile::Builder::new()
            .prefix("tollgate-pg")
            .tempdir_in("/tmp")?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711))?;
        let server = Self {
            folder,
            place,
            child: None,
        };
        for made in [server.home(), server.data()] {
            fs::create_dir(&made)?;
            fs::set_permissions(&made, Permissions::from_mode(0o700))?;
            if let Some(user) = owner()? {
                let status = Command::new("chown").arg(user.name()).arg(&made).status()?;
                if !status.success() {
                    return Err(
                        format!("{} cannot be given to {}", made.display(), user.name()).into(),
                    );
                }
            }
        }
        Ok(server)
    }

    /// Starts it, and does not wait for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self) -> Result<(), Failure> {
        self.kill()?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let port = self.place.port.to_string();
        let child = self
            .place
            .command_of(owner()?.as_ref(), program("postgres")?)
            .arg("-D")
            .arg(self.data())
            .args(["-h", "*", "-p", &port, "-k"])
            .arg(self.home())
            .args(["-c", "max_connections=200", "-c", "shared_buffers=64MB"])
            .args([
                "-c",
                "wal_keep_size=512MB",
                "-c",
                "wal_retrieve_retry_interval=200ms",
            ])
            .current_dir(self.home())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it takes connections.
    ///
    /// # Errors
    /// It does not, or ended.
    pub async fn takes_connections(&mut self) -> Result<(), Failure> {
        let probe = program("pg_isready")?;
        let port = self.place.port.to_string();
        let deadline = Instant::now() + START;
        loop {
            let asked = Command::new(&probe)
                .args(["-q", "-p", &port, "-h"])
                .arg(self.home())
                .status()?;
            if asked.success() {
                return Ok(());
            }
            let ended = self
                .child
                .as_mut()
                .map(Child::try_wait)
                .transpose()?
                .flatten();
            if ended.is_some() || Instant::now() > deadline {
                return Err(format!("PostgreSQL does not come up:\n{}", self.log_end()).into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Makes a standby the primary, and waits until it takes writes.
    ///
    /// # Errors
    /// It does not.
    pub async fn promote(&self) -> Result<(), Failure> {
        self.run("pg_ctl", &["promote", "-W"])?;
        self.says("SELECT NOT pg_is_in_recovery()", "t").await
    }

    /// Has every commit wait for a standby from now on, and waits until there is one.
    ///
    /// # Errors
    /// There is none in time.
    pub async fn wait_for_standby(&self) -> Result<(), Failure> {
        self.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")?;
        self.ask("SELECT pg_reload_conf()")?;
        let question = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        self.says(question, "1").await
    }

    /// Waits until a question is answered so.
    async fn says(&self, question: &str, answer: &str) -> Result<(), Failure> {
        let deadline = Instant::now() + START;
        while self.ask(question)? != answer {
            if Instant::now() > deadline {
                let log = self.log_end();
                return Err(format!("`{question}` is not {answer} in time:\n{log}").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Has a statement carried out, over the server's own socket.
    ///
    /// # Errors
    /// It was refused.
    pub fn ask(&self, statement: &str) -> Result<String, Failure> {
        let output = Command::new(program("psql")?)
            .args([
                "-X", "-q", "-A", "-t", "-U", "tollgate", "-d", "postgres", "-p",
            ])
            .arg(self.place.port.to_string())
            .arg("-h")
            .arg(self.home())
            .args(["-c", statement])
            .output()?;
        said(&format!("`{statement}`"), &output)
    }

    /// Ends it with all its processes, as a loss of power does.
    ///
    /// # Errors
    /// The system refused.
    pub fn kill(&mut self) -> Result<(), Failure> {
        match self.child.take() {
            Some(mut child) => kill_all(&mut child),
            None => Ok(()),
        }
    }

    /// Has it fall silent with all its processes, or go on: it keeps its connections and answers
    /// nothing.
    ///
    /// # Errors
    /// The system refused.
    pub fn set_silent(&self, silent: bool) -> Result<(), Failure> {
        let Some(child) = &self.child else {
            return Ok(());
        };
        signal_all(child, if silent { "STOP" } else { "CONT" })
    }

    /// The address of a database on it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://tollgate@{}/{database}", self.place.address())
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Runs a program of PostgreSQL on the data folder, as the server's user.
    fn run(&self, name: &str, arguments: &[&str]) -> Result<String, Failure> {
        let output = self
            .place
            .command_of(owner()?.as_ref(), program(name)?)
            .arg("-D")
            .arg(self.data())
            .args(arguments)
            .current_dir(self.home())
            .output()?;
        said(name, &output)
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    fn data(&self) -> PathBuf {
        self.home().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log_end(&self) -> String {
        last_lines(&self.log_file())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

/// The user that the server runs as: it refuses to be root.
fn owner() -> Result<Option<User>, Failure> {
    is_root()
        .then(|| User::first_of(&["postgres", "nobody"]))
        .transpose()
}

fn said(what: &str, output: &Output) -> Result<String, Failure> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("{what} failed: {why}").into())
}

/// The end of a log.
pub(crate) fn last_lines(file: &Path) -> String {
    let bytes = fs::read(file).unwrap_or_default();
    let log = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = log.lines().collect();
    let from = lines.len().saturating_sub(60);
    lines.get(from..).unwrap_or_default().join("\n")
}
