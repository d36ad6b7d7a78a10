//! The binary as a process: started, killed, started again on the same data, always reaped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::Failure;

/// How long a start may take: migrations, the seed and a slow machine included.
const START: Duration = Duration::from_mins(2);
/// How long an orderly end may take.
const STOP: Duration = Duration::from_secs(30);

/// What the demo hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// A key of the demo's account, which has funds.
    pub api_key: String,
    /// A key of an account without funds.
    pub empty_key: String,
    /// The operator's login.
    pub operator_email: String,
    /// And password.
    pub operator_password: String,
    /// The demo's account.
    pub account_id: String,
}

/// How the binary is started.
#[derive(Debug, Clone)]
enum Mode {
    Demo { database: Option<String>, days: u16 },
    Serve { config: PathBuf, port: u16 },
}

/// What a command said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its exit code.
    pub status: Option<i32>,
    /// On the output.
    pub output: String,
    /// On the error stream.
    pub error: String,
}

/// A running Tollgate with a data folder of its own. It is killed when this is dropped.
#[derive(Debug)]
pub struct Gate {
    folder: TempDir,
    mode: Mode,
    child: Option<Child>,
    origin: String,
    credentials: Credentials,
    variables: Vec<(String, String)>,
}

impl Gate {
    /// Starts a demo, on SQLite unless a database is named.
    ///
    /// # Errors
    /// The binary is missing, or ends, or does not come up.
    pub async fn demo(database: Option<String>) -> Result<Self, Failure> {
        Self::with_past(database, 0).await
    }

    /// The same, with so many days of customers' past.
    ///
    /// # Errors
    /// As [`Gate::demo`].
    pub async fn with_past(database: Option<String>, days: u16) -> Result<Self, Failure> {
        let nobody = Credentials {
            api_key: String::new(),
            empty_key: String::new(),
            operator_email: String::new(),
            operator_password: String::new(),
            account_id: String::new(),
        };
        let mut gate = Self {
            folder: TempDir::new()?,
            mode: Mode::Demo { database, days },
            child: None,
            origin: String::new(),
            credentials: nobody,
            variables: Vec::new(),
        };
        gate.start().await?;
        Ok(gate)
    }

    /// Stops a demo and serves its data instead, configured by this text. It stands behind the
    /// address and the database, so it begins with top-level keys or a section.
    ///
    /// # Errors
    /// As [`Gate::demo`].
    pub async fn served(
        mut self,
        config: &str,
        variables: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        self.stop().await?;
        // The demo shows what it hands out; who serves has no reason to.
        self.clear_log()?;
        let given = if let Mode::Demo { database, .. } = &self.mode {
            database.clone()
        } else {
            None
        };
        let file = self.data().join("tollgate.db");
        let url = given.unwrap_or_else(|| format!("sqlite://{}", file.display()));
        let port = free_port()?;
        let file = self.folder.path().join("tollgate.toml");
        let text =
            format!("listen = \"127.0.0.1:{port}\"\n{config}\n[database]\nurl = \"{url}\"\n");
        fs::write(&file, text)?;
        self.mode = Mode::Serve { config: file, port };
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.variables = variables.iter().map(pair).collect();
        self.start().await?;
        Ok(self)
    }

    /// Starts the binary, for the first time or again on the same data.
    ///
    /// # Errors
    /// As [`Gate::demo`].
    pub async fn start(&mut self) -> Result<(), Failure> {
        let before = self.spawn()?;
        self.come_up(before).await
    }

    /// Starts the binary and does not wait for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn begin(&mut self) -> Result<(), Failure> {
        self.spawn()?;
        Ok(())
    }

    /// Waits until a process that was begun serves.
    ///
    /// # Errors
    /// As [`Gate::demo`].
    pub async fn comes_up(&mut self) -> Result<(), Failure> {
        self.come_up(None).await
    }

    /// Starts the binary; says when the credentials were written that it may write anew.
    fn spawn(&mut self) -> Result<Option<std::time::SystemTime>, Failure> {
        self.kill()?;
        let before = written_at(&self.credentials_file());
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let mut command = Command::new(binary()?);
        match &self.mode {
            Mode::Demo { database, days } => {
                command
                    .args(["demo", "--days", &days.to_string()])
                    .args(["--listen", "127.0.0.1:0", "--data"])
                    .arg(self.data());
                if let Some(url) = database {
                    command.args(["--database", url]);
                }
            }
            Mode::Serve { config, .. } => {
                command.args(["serve", "--config"]).arg(config);
            }
        }
        let child = command
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        Ok(before)
    }

    /// Waits until the process answers at the address that it has now.
    async fn come_up(&mut self, before: Option<std::time::SystemTime>) -> Result<(), Failure> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = self
                .child
                .as_mut()
                .map(Child::try_wait)
                .transpose()?
                .flatten()
            {
                return Err(format!("tollgate ended with {status}:\n{}", self.log_end()).into());
            }
            self.find_address(before);
            if !self.origin.is_empty() {
                let alive = client.get(format!("{}/livez", self.origin)).send().await;
                if alive.is_ok_and(|reply| reply.status().is_success()) {
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                return Err(format!("tollgate does not come up:\n{}", self.log_end()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn find_address(&mut self, before: Option<std::time::SystemTime>) {
        self.origin.clear();
        if let Mode::Serve { port, .. } = self.mode {
            self.origin = format!("http://127.0.0.1:{port}");
            return;
        }
        let file = self.credentials_file();
        // Until it is written anew it names the address of the process that is gone.
        if written_at(&file) == before {
            return;
        }
        let Ok(text) = fs::read_to_string(file) else {
            return;
        };
        let Ok(told) = serde_json::from_str::<Value>(&text) else {
            return;
        };
        let field = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        let base = field("base_url");
        let origin = base.trim_end_matches('/').trim_end_matches("/v1");
        origin.clone_into(&mut self.origin);
        self.credentials = Credentials {
            api_key: field("api_key"),
            empty_key: field("empty_key"),
            operator_email: field("operator_email"),
            operator_password: field("operator_password"),
            account_id: field("account_id"),
        };
    }

    /// Ends the process in the way that nothing can prepare for, and reaps it.
    ///
    /// # Errors
    /// The system refused.
    pub fn kill(&mut self) -> Result<(), Failure> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Sends the process a signal, by its name.
    ///
    /// # Errors
    /// The system refused.
    pub fn signal(&self, name: &str) -> Result<(), Failure> {
        if let Some(child) = &self.child {
            signal(child, name)?;
        }
        Ok(())
    }

    /// Runs the binary besides, on the same configuration, to its end.
    ///
    /// # Errors
    /// It could not be run, or there is no configuration yet.
    pub fn run(&self, arguments: &[&str]) -> Result<Output, Failure> {
        let Mode::Serve { config, .. } = &self.mode else {
            return Err("a demo has no configuration file".into());
        };
        let mut command = Command::new(binary()?);
        command.args(arguments).arg("--config").arg(config);
        Ok(command.current_dir(self.folder.path()).output()?)
    }

    /// Asks the process to end, waits for it and reaps it.
    ///
    /// # Errors
    /// It does not end in time, or ends with an error.
    pub async fn stop(&mut self) -> Result<(), Failure> {
        self.signal("TERM")?;
        self.ends().await
    }

    /// Waits for the end of the process and reaps it.
    ///
    /// # Errors
    /// It does not end in time, or ends with an error.
    pub async fn ends(&mut self) -> Result<(), Failure> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let deadline = Instant::now() + STOP;
        loop {
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(
                        format!("tollgate stopped with {status}:\n{}", self.log_end()).into(),
                    );
                }
                None if Instant::now() > deadline => {
                    child.kill()?;
                    child.wait()?;
                    return Err(format!("tollgate did not stop:\n{}", self.log_end()).into());
                }
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Runs `tollgate ledger verify --full` on the data.
    ///
    /// # Errors
    /// It could not be run, or found something: then with what it said.
    pub fn verify_ledger(&self) -> Result<Value, Failure> {
        let Said {
            status,
            output,
            error,
        } = self.command(&["ledger", "verify", "--full", "--json"])?;
        if status != Some(0) {
            return Err(format!("ledger verify ended with {status:?}: {output}{error}").into());
        }
        Ok(serde_json::from_str(output.trim())?)
    }

    /// Runs a command of `tollgate` on the data.
    ///
    /// # Errors
    /// It could not be run.
    pub fn command(&self, arguments: &[&str]) -> Result<Said, Failure> {
        let mut command = Command::new(binary()?);
        command.args(arguments).current_dir(self.folder.path());
        match &self.mode {
            Mode::Demo { database: None, .. } => command.arg("--data").arg(self.data()),
            Mode::Demo {
                database: Some(url),
                ..
            } => {
                let file = self.folder.path().join("verify.toml");
                fs::write(&file, format!("[database]\nurl = \"{url}\"\n"))?;
                command.arg("--config").arg(file)
            }
            Mode::Serve { config, .. } => command.arg("--config").arg(config),
        };
        let output = command.output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Said {
            status: output.status.code(),
            output: text(&output.stdout),
            error: text(&output.stderr),
        })
    }

    /// Whether the process still runs.
    ///
    /// # Errors
    /// The system refused to say.
    pub fn is_alive(&mut self) -> Result<bool, Failure> {
        Ok(match &mut self.child {
            Some(child) => child.try_wait()?.is_none(),
            None => false,
        })
    }

    /// The number of the process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What the demo handed out.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The folder of its data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder around that, for files of the suite.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything it wrote to its outputs, as a demo or since it serves.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn log(&self) -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(&fs::read(self.log_file())?).into_owned())
    }

    fn clear_log(&self) -> Result<(), Failure> {
        Ok(File::options()
            .write(true)
            .open(self.log_file())?
            .set_len(0)?)
    }

    fn log_end(&self) -> String {
        let log = self.log().unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines
            .get(lines.len().saturating_sub(30)..)
            .unwrap_or_default()
            .join("\n")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    fn credentials_file(&self) -> PathBuf {
        self.data().join("credentials.json")
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn written_at(file: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(file).and_then(|facts| facts.modified()).ok()
}

/// The binary of the same profile as the running executable.
///
/// # Errors
/// It was not built.
pub fn binary() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    let folder = own.parent().ok_or("the running executable has no folder")?;
    let profile = if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    let file = profile.join("tollgate");
    if file.is_file() {
        return Ok(file);
    }
    let release = if profile.ends_with("release") {
        " --release"
    } else {
        ""
    };
    let (file, command) = (
        file.display(),
        format!("cargo build{release} -p server --bin tollgate"),
    );
    Err(format!("{file} was not found; build it with:  {command}").into())
}

/// A port that nobody listens on now.
///
/// # Errors
/// None is free.
pub fn free_port() -> Result<u16, Failure> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}

/// Sends a signal to a process.
pub(crate) fn signal(child: &Child, name: &str) -> Result<ExitStatus, Failure> {
    Ok(Command::new("kill")
        .arg(format!("-{name}"))
        .arg(child.id().to_string())
        .status()?)
}

/// Asks a process to end, waits for it, and reaps it.
pub(crate) fn terminate(child: &mut Child) {
    if signal(child, "TERM").is_err() {
        drop(child.kill());
    }
    drop(child.wait());
}
