//! A PostgreSQL for tests, and an empty database of its own for each.
//!
//! `TOLLGATE_TEST_POSTGRES` names a server (`scripts/postgres.sh` sets it). Without it, a private
//! one is started from the installed binaries, which are installed where they are missing and may
//! be. All test processes share that server; it stops by itself some seconds after the last.
//! A test is never skipped in silence.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A database that is dropped with this value.
#[derive(Debug)]
pub struct Database {
    url: String,
    name: String,
}

impl Database {
    /// Its `postgres://` address.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let text = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // What is left behind goes with the server.
        drop(psql(&text));
    }
}

/// A new, empty database.
pub fn database() -> Database {
    let name = format!("t_{:016x}", getrandom::u64().unwrap());
    let text = format!("CREATE DATABASE {name}");
    let made = psql(&text);
    assert!(made.is_ok(), "no database for the test: {made:?}");
    let (server, query) = server().split_once('?').unwrap_or((server(), ""));
    let (server, _) = server.rsplit_once('/').unwrap();
    let url = if query.is_empty() {
        format!("{server}/{name}")
    } else {
        format!("{server}/{name}?{query}")
    };
    Database { url, name }
}

/// Runs a statement on the server.
fn psql(text: &str) -> Result<(), String> {
    let psql = tool("psql").ok_or("psql is not installed")?;
    let output = Command::new(psql)
        .args(["--no-psqlrc", "-q", "-v", "ON_ERROR_STOP=1", "-c", text])
        .arg(server())
        .output()
        .map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The address of the server.
fn server() -> &'static str {
    static SERVER: OnceLock<(String, Option<File>)> = OnceLock::new();
    let (url, _) = SERVER.get_or_init(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test's own configuration, not the server's"
        )]
        let named = std::env::var("TOLLGATE_TEST_POSTGRES");
        match named {
            Ok(url) => (url, None),
            Err(_) => shared(),
        }
    });
    url
}

/// The server that test processes share: found, or started by whoever comes first. The file is
/// locked as long as this process lives, which keeps the server alive.
fn shared() -> (String, Option<File>) {
    // Beside the test binary, so that each target folder has a server of its own.
    let binary = std::env::current_exe().unwrap();
    let folder = binary.parent().unwrap().join("postgres-for-tests");
    fs::create_dir_all(&folder).unwrap();
    let starting = File::create(folder.join("starting")).unwrap();
    starting.lock().unwrap();
    let users = File::create(folder.join("users")).unwrap();
    users.lock_shared().unwrap();
    let address = folder.join("address");
    let known = fs::read_to_string(&address);
    if let Some(url) = known.ok().filter(|url| answers(url)) {
        return (url, Some(users));
    }
    let url = start(&folder);
    fs::write(&address, &url).unwrap();
    (url, Some(users))
}

/// Whether something listens there: a server may have been killed with its watcher.
fn answers(url: &str) -> bool {
    let address = url.split(['@', '/']).nth(3);
    address.is_some_and(|address| TcpStream::connect(address).is_ok())
}

fn start(folder: &Path) -> String {
    let initdb = tool("initdb").unwrap_or_else(install);
    let bin = initdb.parent().unwrap();
    let data = Path::new("/tmp").join(format!("tollgate-test-pg-{:x}", getrandom::u32().unwrap()));
    fs::create_dir(&data).unwrap();
    let port = free_port();
    let script = r#"
        set -e
        data=$1 bin=$2 port=$3 folder=$4
        as=; if [ "$(id -u)" = 0 ]; then as='runuser -u postgres --'; chown postgres "$data"; fi
        chmod 700 "$data"; cd /
        $as "$bin/initdb" -D "$data/db" -U tollgate -A trust -E UTF8 --locale=C \
            --no-instructions --no-sync
        $as "$bin/pg_ctl" -D "$data/db" -l "$data/log" -w -t 60 start -o "-c fsync=off \
            -c full_page_writes=off -c listen_addresses=127.0.0.1 -p $port -k $data \
            -c max_connections=300" </dev/null
        # Ends the server when no test process has held the lock for ten seconds.
        setsid sh -c '
            idle=0
            while [ $idle -lt 10 ]; do
                sleep 1
                if flock -n -x "$4/users" true; then idle=$((idle + 1)); else idle=0; fi
                if [ $idle -ge 10 ] && ! flock -n -x "$4/starting" sh -c "
                    flock -n -x \"$4/users\" rm -f \"$4/address\""; then idle=0; fi
            done
            '"$as"' "$2/pg_ctl" -D "$1/db" -m immediate stop
            rm -rf "$1"
        ' watch "$data" "$bin" "$port" "$folder" </dev/null >/dev/null 2>&1 &
    "#;
    let log = data.with_extension("start.log");
    let out = File::create(&log).unwrap();
    let status = Command::new("sh")
        .args(["-c", script, "start"])
        .args([&data, bin, Path::new(&port.to_string()), folder])
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .status()
        .unwrap();
    let said = fs::read_to_string(&log).unwrap_or_default();
    assert!(status.success(), "no PostgreSQL for the tests:\n{said}");
    drop(fs::remove_file(&log));
    format!("postgres://tollgate@127.0.0.1:{port}/postgres")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Installs the server where that is possible.
fn install() -> PathBuf {
    let installed = Command::new("apt-get")
        .args(["install", "-y", "-q", "postgresql"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status();
    let found = installed.ok().and_then(|_| tool("initdb"));
    assert!(
        found.is_some(),
        "the tests need PostgreSQL: install it, or name a server in TOLLGATE_TEST_POSTGRES"
    );
    found.unwrap()
}

/// A program of PostgreSQL: of the newest version in its usual folders, else of the search path.
fn tool(name: &str) -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    versions.sort_by_key(|path| {
        let version = path.file_name().and_then(|n| n.to_str());
        version.and_then(|v| v.parse::<u32>().ok())
    });
    let newest = versions.into_iter().rev().map(|v| v.join("bin").join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = std::env::split_paths(&path).map(|d| d.join(name)).collect();
    newest.chain(path).find(|file| file.is_file())
}
