//! A balancer of connections, as networks and orchestrators have them: it asks each node for
//! `/readyz`, gives a new connection to a node that is ready, and tries another only when the
//! connection was refused, so before anything was sent on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Client;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::node::Node;
use crate::Failure;

/// How often a node is asked.
const CHECK: Duration = Duration::from_millis(200);

/// Carries connections to nodes that are ready.
#[derive(Debug)]
pub struct Balancer {
    address: String,
    /// End with this value.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Backend {
    address: String,
    ready: AtomicBool,
}

impl Balancer {
    /// Takes connections for these nodes.
    ///
    /// # Errors
    /// There is no port, or no client for the checks.
    pub async fn of(nodes: &[Node]) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let backends = nodes.iter().map(|node| Backend {
            address: node.address(),
            ready: AtomicBool::new(true),
        });
        let backends: Arc<[Backend]> = backends.collect();
        let client = Client::builder().no_proxy().pool_max_idle_per_host(0);
        let client = client.timeout(Duration::from_secs(1)).build()?;
        let mut tasks = JoinSet::new();
        for number in 0..backends.len() {
            tasks.spawn(watch(Arc::clone(&backends), number, client.clone()));
        }
        tasks.spawn(carry_all(listener, backends));
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn watch(backends: Arc<[Backend]>, number: usize, client: Client) {
    let Some(backend) = backends.get(number) else {
        return;
    };
    loop {
        let asked = client.get(format!("http://{}/readyz", backend.address));
        let ready = asked
            .send()
            .await
            .is_ok_and(|said| said.status().is_success());
        backend.ready.store(ready, Ordering::Relaxed);
        tokio::time::sleep(CHECK).await;
    }
}

async fn carry_all(listener: TcpListener, backends: Arc<[Backend]>) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((from, _)) = accepted {
                    open.spawn(carry(from, Arc::clone(&backends), Arc::clone(&next)));
                }
            }
            Some(_) = open.join_next(), if !open.is_empty() => {}
        }
    }
}

async fn carry(mut from: TcpStream, backends: Arc<[Backend]>, next: Arc<AtomicUsize>) {
    let first = next.fetch_add(1, Ordering::Relaxed);
    let in_turn = backends.iter().cycle().skip(first % backends.len());
    for backend in in_turn.take(backends.len()) {
        if !backend.ready.load(Ordering::Relaxed) {
            continue;
        }
        let Ok(mut to) = TcpStream::connect(&backend.address).await else {
            continue;
        };
        if from.set_nodelay(true).is_ok() && to.set_nodelay(true).is_ok() {
            drop(copy_bidirectional(&mut from, &mut to).await);
        }
        return;
    }
}
