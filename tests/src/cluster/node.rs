//! One `tollgate serve` among several, looked after as a service supervisor would.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;

use super::database::last_lines;
use super::place::Place;
use crate::Failure;
use crate::gate::{binary, signal};

/// How long a node may take to be ready, with its database there.
const START: Duration = Duration::from_mins(1);
/// How long an orderly end may take.
const STOP: Duration = Duration::from_secs(45);
/// How long a supervisor waits before it starts a process anew that has ended by itself.
const RESTART: Duration = Duration::from_millis(200);

/// A node: a process with a name, a folder and an address of its own.
#[derive(Debug)]
pub struct Node {
    name: String,
    folder: PathBuf,
    place: Place,
    child: Option<Child>,
    started: Option<Instant>,
    probe: Client,
    restarts: u64,
}

impl Node {
    /// A node that has a folder with its configuration. It is not started.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn new(
        name: String,
        within: &Path,
        place: Place,
        config: impl FnOnce(&Place) -> String,
    ) -> Result<Self, Failure> {
        let folder = within.join(&name);
        fs::create_dir(&folder)?;
        fs::write(folder.join("tollgate.toml"), config(&place))?;
        let probe = Client::builder().no_proxy();
        Ok(Self {
            name,
            folder,
            place,
            child: None,
            started: None,
            probe: probe.timeout(Duration::from_secs(3)).build()?,
            restarts: 0,
        })
    }

    /// Starts the process, and does not wait for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self) -> Result<(), Failure> {
        self.kill()?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let child = self
            .place
            .command(binary()?)
            .args(["serve", "--config", "tollgate.toml"])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        self.started = Some(Instant::now());
        Ok(())
    }

    /// Waits until it is ready to serve. When its process has ended by itself, for want of a
    /// database say, it is started anew.
    ///
    /// # Errors
    /// It is not ready in time.
    pub async fn ready(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + START;
        loop {
            self.look_after().await?;
            let ready = self
                .probe
                .get(format!("{}/readyz", self.origin()))
                .send()
                .await;
            if ready.is_ok_and(|reply| reply.status().is_success()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let (name, log) = (&self.name, self.log_end());
                return Err(format!("{name} is not ready in time:\n{log}").into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts the process anew when it has ended by itself.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn look_after(&mut self) -> Result<(), Failure> {
        let ended = self
            .child
            .as_mut()
            .map(Child::try_wait)
            .transpose()?
            .flatten();
        if ended.is_some() {
            self.restarts += 1;
            tokio::time::sleep(RESTART).await;
            let started = self.started;
            self.start()?;
            // Whoever waits has waited since the first start.
            self.started = started;
        }
        Ok(())
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

    /// Stops the clock of the process, as a machine does that is paused or swaps.
    ///
    /// # Errors
    /// It does not run, or the system refused.
    pub fn freeze(&mut self) -> Result<(), Failure> {
        let child = self.child.as_ref().ok_or("it does not run")?;
        signal(child, "STOP").map(drop)
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// It does not run, or the system refused.
    pub fn thaw(&mut self) -> Result<(), Failure> {
        let child = self.child.as_ref().ok_or("it does not run")?;
        signal(child, "CONT").map(drop)
    }

    /// Asks the process to end, waits for it and reaps it. Answers with its status and how long it
    /// took.
    ///
    /// # Errors
    /// It does not run, or does not end in time.
    pub async fn stop(&mut self) -> Result<(ExitStatus, Duration), Failure> {
        let name = self.name.clone();
        let mut child = self
            .child
            .take()
            .ok_or_else(|| format!("{name} does not run"))?;
        let start = Instant::now();
        signal(&child, "TERM")?;
        while start.elapsed() < STOP {
            if let Some(status) = child.try_wait()? {
                return Ok((status, start.elapsed()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        child.kill()?;
        child.wait()?;
        Err(format!("{name} does not stop within {STOP:?}:\n{}", self.log_end()).into())
    }

    /// Whether its process was started and not ended by the harness.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// When it was started last.
    pub fn started(&self) -> Option<Instant> {
        self.started
    }

    /// How often it ended by itself and was started anew.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        format!("http://{}", self.place.address())
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.place.address()
    }

    /// The last lines that it wrote.
    pub fn log_end(&self) -> String {
        last_lines(&self.log_file())
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.kill());
    }
}
