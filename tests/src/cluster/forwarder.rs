//! One address for whichever database is the primary now: what a virtual address, HAProxy or a
//! provider's endpoint is in operation.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Failure;

/// Carries connections to a target that can change.
#[derive(Debug)]
pub struct Forwarder {
    address: String,
    target: watch::Sender<String>,
    /// Ends with this value.
    _carrier: JoinSet<()>,
}

impl Forwarder {
    /// Takes connections on a free port and carries them to a target.
    ///
    /// # Errors
    /// There is no port.
    pub async fn to(target: String) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (target, told) = watch::channel(target);
        let mut carrier = JoinSet::new();
        carrier.spawn(carry_all(listener, told));
        Ok(Self {
            address,
            target,
            _carrier: carrier,
        })
    }

    /// Host and port that it takes connections on.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Breaks all connections, and carries new ones elsewhere.
    pub fn turn_to(&self, target: String) {
        self.target.send_replace(target);
    }
}

async fn carry_all(listener: TcpListener, mut target: watch::Receiver<String>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((from, _)) = accepted {
                    let to = target.borrow_and_update().clone();
                    open.spawn(carry(from, to));
                }
            }
            turned = target.changed() => {
                if turned.is_err() {
                    return;
                }
                open.abort_all();
            }
            Some(_) = open.join_next(), if !open.is_empty() => {}
        }
    }
}

/// Whoever cannot be carried sees the connection close.
async fn carry(mut from: TcpStream, to: String) {
    let Ok(mut to) = TcpStream::connect(to).await else {
        return;
    };
    if from.set_nodelay(true).is_ok() && to.set_nodelay(true).is_ok() {
        drop(copy_bidirectional(&mut from, &mut to).await);
    }
}
