//! A PostgreSQL for the suites, and a database of its own for each gate.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::Failure;
use crate::gate::terminate;

/// Names the server that the suites may use, as `postgres://…/postgres`.
const VARIABLE: &str = "TOLLGATE_TEST_POSTGRES";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A server: the one that the environment names, else a private one that ends with this value.
#[derive(Debug)]
pub struct Postgres {
    url: String,
    made: Mutex<Vec<String>>,
    private: Option<Child>,
}

impl Postgres {
    /// The server of the environment, else a private one.
    ///
    /// # Errors
    /// There is none, and none could be started.
    pub fn find_or_start() -> Result<Self, Failure> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the scripts hand the server over so"
        )]
        let given = std::env::var(VARIABLE);
        match given {
            Ok(url) if !url.is_empty() => Ok(Self {
                url,
                made: Mutex::default(),
                private: None,
            }),
            _ => Self::start(),
        }
    }

    /// Has `scripts/postgres.sh` run a server for as long as this process lives.
    fn start() -> Result<Self, Failure> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres.sh");
        // Says where the server is, then waits for the end of this process.
        let waits = format!("echo \"${VARIABLE}\"; exec tail --pid=$0 -f /dev/null >/dev/null");
        let mut child = Command::new(&script)
            .args(["sh", "-c", &waits, &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", script.display()))?;
        let mut url = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut url)?;
        }
        let server = Self {
            url: url.trim().to_owned(),
            made: Mutex::default(),
            private: Some(child),
        };
        if server.url.is_empty() {
            let why = "no PostgreSQL: set TOLLGATE_TEST_POSTGRES, or see what scripts/postgres.sh \
                       says when it is run by hand";
            return Err(why.into());
        }
        Ok(server)
    }

    /// Creates an empty database and answers with its address.
    ///
    /// # Errors
    /// `psql` is missing or was refused.
    pub fn database(&self) -> Result<String, Failure> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("acceptance_{}_{number}", std::process::id());
        self.ask(&format!("CREATE DATABASE {name}"))?;
        self.made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(name.clone());
        let (server, _) = self
            .url
            .rsplit_once('/')
            .ok_or("the server's address has no database")?;
        Ok(format!("{server}/{name}"))
    }

    fn ask(&self, statement: &str) -> Result<(), Failure> {
        Self::change(&self.url, statement)
    }

    /// Runs a statement on a database, behind the back of whoever uses it.
    ///
    /// # Errors
    /// `psql` is missing or was refused.
    pub fn change(url: &str, statement: &str) -> Result<(), Failure> {
        let psql = program("psql")?;
        let output = Command::new(psql)
            .args([
                "-X",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                url,
                "-c",
                statement,
            ])
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("PostgreSQL refused `{statement}`: {said}").into())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(child) = &mut self.private {
            return terminate(child);
        }
        let made = std::mem::take(self.made.get_mut().unwrap_or_else(PoisonError::into_inner));
        for name in made {
            // Whoever lent the server would rather have it back as it was; no more than that.
            drop(self.ask(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")));
        }
    }
}

/// A client program of PostgreSQL, on the path or where distributions keep it.
pub(crate) fn program(name: &str) -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let places = versions.map(|version| version.path().join("bin"));
    std::env::split_paths::<OsStr>(&path)
        .chain(places)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("`{name}` was not found; install the client of PostgreSQL").into())
}
