//! The rolling restart: nodes behind a balancer are told to stop and started again, one after the
//! other, under load. No call is lost and none refused; every process ends with success.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Failure;
use crate::call::Caller;
use crate::cluster::balancer::Balancer;
use crate::cluster::books;
use crate::cluster::nginx::Nginx;
use crate::cluster::traffic::{Client, Mix, Traffic};
use crate::cluster::{Cluster, Payer, Shape};
use crate::proof::{Findings, say};
use crate::seeded::Seeded;
use crate::seen::{Compared, Seen};

/// What each of the payers has: enough.
const FUNDS: i128 = 50_000_000_000;
/// Callers of each payer.
const CALLERS: usize = 8;
/// How long a caller waits for the end of an answer.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a node may take to end: it lets streams of some seconds end, and no more.
const STOP: Duration = Duration::from_secs(30);

/// Calls that go on for up to some seconds.
const MIX: Mix = Mix {
    tokens: 1..80,
    first_ms: 0..300,
    chunk_ms: 0..40,
    reasoning: 0..200,
    max_tokens: 2_000,
};

/// What stands before the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// nginx as the document configures it; a node is marked `down` before it is stopped.
    Nginx,
    /// A balancer of connections that asks for `/readyz`; nobody tells it that a node stops.
    Readyz,
}

impl Before {
    /// Its name in the figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Readyz => "readyz",
        }
    }
}

#[derive(Debug)]
enum Entrance {
    Nginx(Nginx),
    Readyz(Balancer),
}

impl Entrance {
    fn origin(&self) -> String {
        match self {
            Self::Nginx(nginx) => nginx.origin(),
            Self::Readyz(balancer) => balancer.origin(),
        }
    }

    async fn leave_out(&mut self, node: Option<usize>) -> Result<(), Failure> {
        match self {
            Self::Nginx(nginx) => nginx.leave_out(node).await,
            Self::Readyz(_) => Ok(()),
        }
    }
}

/// Restarts every node in turn so many times over, under load, and gives the figures.
///
/// # Errors
/// Something does not come up, or cannot be asked.
pub async fn restart_in_turn(
    before: Before,
    times: u64,
    seed: u64,
    findings: &mut Findings,
) -> Result<Value, Failure> {
    let mut seeded = Seeded::new(seed);
    let mut shape = Shape::local(3, false)?;
    // Longer than the balancer takes to hear that a node leaves.
    shape.config.push_str("limits.unready_s = 1\n");
    let mut cluster = Cluster::start(shape).await?;
    let mut entrance = match before {
        Before::Nginx => Entrance::Nginx(Nginx::before(&cluster.nodes).await?),
        Before::Readyz => Entrance::Readyz(Balancer::of(&cluster.nodes).await?),
    };
    let control = cluster.control(0).await?;
    let payers = [
        Payer::new(&control, "rolling-wallet", FUNDS).await?,
        Payer::limited(&control, "rolling-limit", (FUNDS, FUNDS / 2)).await?,
    ];
    let clients = clients(&entrance.origin(), &payers)?;
    let traffic = Traffic::start(clients, &MIX, &mut seeded);
    let mut stops_ms = Vec::new();
    for number in (0..cluster.nodes.len())
        .cycle()
        .take(cluster.nodes.len() * usize::try_from(times)?)
    {
        tokio::time::sleep(Duration::from_millis(seeded.between(300, 1_500))).await;
        entrance.leave_out(Some(number)).await?;
        let node = cluster
            .nodes
            .get_mut(number)
            .ok_or("there is no such node")?;
        let (status, took) = node.stop().await?;
        findings.check(status.success(), || {
            format!("{} ended with {status}:\n{}", node.name(), node.log_end())
        });
        findings.check(took <= STOP, || {
            format!("{} took {took:?} to end", node.name())
        });
        node.start()?;
        let start = Instant::now();
        node.ready().await?;
        let (name, ready) = (node.name().to_owned(), start.elapsed());
        entrance.leave_out(None).await?;
        let served = traffic.served();
        say(&format!(
            "rolling: {}: {name} ended after {took:?}, was ready after {ready:?}; {served} served",
            before.name()
        ));
        stops_ms.push(took.as_millis());
    }
    let seen = traffic.end().await?;
    let sum = check(&cluster, &payers, &seen, findings).await?;
    Ok(json!({
        "before": before.name(),
        "restarts": stops_ms.len(),
        "completed": sum.completed,
        "lost": sum.lost,
        "double": sum.double,
        "interrupted": sum.interrupted,
        "refused": sum.refused,
        "stop_ms": stops_ms,
    }))
}

fn clients(origin: &str, payers: &[Payer]) -> Result<Vec<Client>, Failure> {
    let mut clients = Vec::new();
    for (payer, of) in payers.iter().enumerate() {
        for _ in 0..CALLERS {
            let caller = Caller::afresh(origin, &of.secret, PATIENCE)?;
            clients.push(Client {
                node: 0,
                payer,
                caller,
            });
        }
    }
    Ok(clients)
}

/// Every call was served, and the books say so.
async fn check(
    cluster: &Cluster,
    payers: &[Payer],
    seen: &[Seen],
    findings: &mut Findings,
) -> Result<Compared, Failure> {
    let control = cluster.control(0).await?;
    let mut sum = Compared::default();
    for (payer, seen) in payers.iter().zip(seen) {
        nothing_is_lost(seen, findings);
        let (compared, _) = books::compare(&control, payer, (seen, false), findings).await?;
        sum.add(compared);
    }
    if let Err(error) = cluster.verify_ledger() {
        findings.check(false, || error.to_string());
    }
    Ok(sum)
}

fn nothing_is_lost(seen: &Seen, findings: &mut Findings) {
    findings.check(seen.completed() > 0, || "nothing was served".to_owned());
    findings.check(seen.interrupted() == 0, || {
        format!("{} calls broke off", seen.interrupted())
    });
    findings.check(seen.unsent() == 0, || {
        format!("{} calls found nobody", seen.unsent())
    });
    findings.check(seen.reasons().is_empty(), || {
        format!("calls were refused: {:?}", seen.reasons())
    });
}
