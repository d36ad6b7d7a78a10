//! nginx before the nodes, with the configuration that `docs/how-to/scale-out.md` gives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::database::last_lines;
use super::node::Node;
use super::place::children_of;
use crate::Failure;
use crate::gate::{free_port, signal, terminate};

const DOCUMENT: &str = "docs/how-to/scale-out.md";
/// The nodes and the listener that the document names.
const NODES: [&str; 3] = ["10.0.0.11:8080", "10.0.0.12:8080", "10.0.0.13:8080"];
const LISTENER: &str = "listen 80;";
/// How long a change of the configuration may take.
const RELOAD: Duration = Duration::from_secs(20);

/// An nginx that balances nodes. It ends with this value.
#[derive(Debug)]
pub struct Nginx {
    folder: TempDir,
    child: Child,
    nodes: Vec<String>,
    port: u16,
}

impl Nginx {
    /// Starts it before three nodes.
    ///
    /// # Errors
    /// It is not installed, or does not take the document's configuration.
    pub async fn before(nodes: &[Node]) -> Result<Self, Failure> {
        let nodes: Vec<String> = nodes.iter().map(Node::address).collect();
        if nodes.len() != NODES.len() {
            return Err(format!("{DOCUMENT} is for {} nodes", NODES.len()).into());
        }
        let folder = TempDir::new()?;
        let port = free_port()?;
        write(folder.path(), &nodes, port, None)?;
        let child = Command::new(program()?)
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut nginx = Self {
            folder,
            child,
            nodes,
            port,
        };
        nginx.until(|nginx| !nginx.workers().is_empty()).await?;
        Ok(nginx)
    }

    /// Has no more calls given to a node, or with `None` to all again; comes back when that holds
    /// for every call from now on.
    ///
    /// # Errors
    /// It does not take the change.
    pub async fn leave_out(&mut self, node: Option<usize>) -> Result<(), Failure> {
        write(self.folder.path(), &self.nodes, self.port, node)?;
        let old = self.workers();
        signal(&self.child, "HUP")?;
        self.until(|nginx| {
            let new = nginx.workers();
            !new.is_empty() && new.iter().all(|worker| !old.contains(worker))
        })
        .await
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The last lines that it wrote.
    pub fn log_end(&self) -> String {
        last_lines(&self.folder.path().join("error.log"))
    }

    async fn until(&mut self, holds: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let deadline = Instant::now() + RELOAD;
        while !holds(self) {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(format!("nginx does not work:\n{}", self.log_end()).into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Those of its processes that take connections.
    fn workers(&self) -> Vec<u32> {
        let title = |id: &u32| fs::read_to_string(format!("/proc/{id}/cmdline"));
        let mut workers = children_of(self.child.id());
        workers.retain(|id| {
            title(id).is_ok_and(|title| {
                title.starts_with("nginx: worker process") && !title.contains("shutting down")
            })
        });
        workers
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        terminate(&mut self.child);
    }
}

/// The document's configuration for these nodes, within one that lets it run in a folder.
fn write(folder: &Path, nodes: &[String], port: u16, out: Option<usize>) -> Result<(), Failure> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(DOCUMENT);
    let mut site = block(&fs::read_to_string(document)?)?;
    for (number, (told, is)) in NODES.iter().zip(nodes).enumerate() {
        let down = if out == Some(number) { " down" } else { "" };
        site = replaced(
            &site,
            &format!("server {told}"),
            &format!("server {is}{down}"),
        )?;
    }
    site = replaced(&site, LISTENER, &format!("listen 127.0.0.1:{port};"))?;
    let user = if super::place::is_root() {
        "user root;\n"
    } else {
        ""
    };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {kind};\n"))
        .concat();
    let text = format!(
        "{user}daemon off;\npid nginx.pid;\nworker_processes 2;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n    access_log off;\n{temporary}{site}\n}}\n"
    );
    Ok(fs::write(folder.join("nginx.conf"), text)?)
}

/// The block of a document that is for nginx.
fn block(document: &str) -> Result<String, Failure> {
    let (_, rest) = document
        .split_once("```nginx\n")
        .ok_or_else(|| format!("{DOCUMENT} has no block for nginx"))?;
    let (block, _) = rest.split_once("\n```").ok_or("the block has no end")?;
    Ok(block.to_owned())
}

fn replaced(text: &str, from: &str, to: &str) -> Result<String, Failure> {
    if text.matches(from).count() == 1 {
        Ok(text.replace(from, to))
    } else {
        Err(format!("`{from}` is not once in the block for nginx in {DOCUMENT}").into())
    }
}

/// nginx, on the path or where distributions keep it.
fn program() -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(places)
        .map(|folder| folder.join("nginx"))
        .find(|file| file.is_file())
        .ok_or_else(|| "`nginx` was not found; install it".into())
}
