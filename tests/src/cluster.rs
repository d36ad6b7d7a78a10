//! Several nodes on one PostgreSQL, each a process, all of them killed, cut off and started again.

pub mod balancer;
pub mod books;
pub mod database;
pub mod forwarder;
pub mod network;
pub mod nginx;
pub mod node;
pub mod place;
pub mod traffic;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Failure;
use crate::call::Caller;
use crate::control::Control;
use crate::figure::text;
use crate::gate::{Credentials, Gate, binary};
use database::Server;
use forwarder::Forwarder;
use node::Node;
use place::Place;

/// For how many seconds a node is silent before others take it for dead, where a proof has nodes
/// taken for dead often. The least that a node takes.
pub const SILENCE_S: u64 = 3;

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Where each node is.
    pub nodes: Vec<Place>,
    /// Where the database is.
    pub database: Place,
    /// Whether commits wait for a standby, and nodes reach the primary through a forwarder.
    pub standby: bool,
    /// More of every node's configuration: sections in TOML, without `[database]`.
    pub config: String,
}

impl Shape {
    /// So many nodes beside the harness.
    ///
    /// # Errors
    /// There are no ports.
    pub fn local(nodes: usize, standby: bool) -> Result<Self, Failure> {
        Ok(Self {
            nodes: (0..nodes)
                .map(|_| Place::local())
                .collect::<Result<_, _>>()?,
            database: Place::local()?,
            standby,
            config: String::new(),
        })
    }

    /// The same, and nodes that are silent for three seconds are taken for dead.
    #[must_use]
    pub fn soon_dead(mut self) -> Self {
        self.config = format!("node.silence_s = {SILENCE_S}\n{}", self.config);
        self
    }
}

/// Several nodes on one database.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes. They end before their database.
    pub nodes: Vec<Node>,
    /// The database that is written to.
    pub primary: Server,
    standby: Option<Server>,
    forwarder: Option<Forwarder>,
    credentials: Credentials,
    url: String,
    _folder: TempDir,
}

/// An account and the key that it calls with.
#[derive(Debug, Clone)]
pub struct Payer {
    /// The account.
    pub account: String,
    /// Its key's secret.
    pub secret: String,
    /// What it was given, in nanos.
    pub funds: i128,
}

impl Cluster {
    /// Starts a database, with prices, an operator and the schema, and the nodes on it.
    ///
    /// # Errors
    /// Something of that does not come up.
    pub async fn start(shape: Shape) -> Result<Self, Failure> {
        let mut primary = Server::new(shape.database)?;
        primary.start()?;
        primary.takes_connections().await?;
        let (mut standby, mut forwarder) = (None, None);
        let mut address = primary.place().address();
        if shape.standby {
            standby = Some(follow(&primary, Place::local()?).await?);
            let carrier = Forwarder::to(address.clone()).await?;
            carrier.address().clone_into(&mut address);
            forwarder = Some(carrier);
        }
        let url = format!("postgres://tollgate@{address}/postgres");
        // A demo leaves all that nodes need; from then on it is not needed.
        let mut seeding = Gate::demo(Some(url.clone())).await?;
        let credentials = seeding.credentials().clone();
        seeding.stop().await?;
        let folder = TempDir::new()?;
        let places = shape.nodes.into_iter().zip(1..);
        let nodes = places.map(|(place, number)| {
            let config = (url.as_str(), shape.config.as_str());
            new_node(number, place, folder.path(), config)
        });
        let mut cluster = Self {
            nodes: nodes.collect::<Result<_, _>>()?,
            primary,
            standby,
            forwarder,
            credentials,
            url,
            _folder: folder,
        };
        for node in &mut cluster.nodes {
            node.start()?;
        }
        cluster.ready().await?;
        Ok(cluster)
    }

    /// Waits until every node that runs is ready.
    ///
    /// # Errors
    /// One is not in time.
    pub async fn ready(&mut self) -> Result<(), Failure> {
        for node in self.nodes.iter_mut().filter(|node| node.runs()) {
            node.ready().await?;
        }
        Ok(())
    }

    /// The operator, at a node.
    ///
    /// # Errors
    /// There is no such node, or it refuses.
    pub async fn control(&self, node: usize) -> Result<Control, Failure> {
        let node = self.nodes.get(node).ok_or("there is no such node")?;
        Control::sign_in_at(&node.origin(), &self.credentials).await
    }

    /// The database's address, as nodes know it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Puts the standby in the place of a primary that is gone, and waits until it takes writes.
    ///
    /// # Errors
    /// There is no standby, or it does not.
    pub async fn promote(&mut self) -> Result<(), Failure> {
        let next = self.standby.take().ok_or("there is no standby")?;
        next.promote().await?;
        self.primary = next;
        if let Some(forwarder) = &self.forwarder {
            forwarder.turn_to(self.primary.place().address());
        }
        Ok(())
    }

    /// Gives the primary a standby in this place, and has every commit wait for it.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn add_standby(&mut self, place: Place) -> Result<(), Failure> {
        self.standby = Some(follow(&self.primary, place).await?);
        Ok(())
    }

    /// Where commits wait for a standby: gives a primary that was one a standby of its own.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn replenish_if_alone(&mut self) -> Result<(), Failure> {
        if self.forwarder.is_some() && self.standby.is_none() {
            self.standby = Some(follow(&self.primary, Place::local()?).await?);
        }
        Ok(())
    }

    /// Runs `tollgate ledger verify` on the books.
    ///
    /// # Errors
    /// It could not be run, or found something: then with what it said.
    pub fn verify_ledger(&self) -> Result<Value, Failure> {
        let output = std::process::Command::new(binary()?)
            .args(["ledger", "verify", "--json", "--database", &self.url])
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            return Ok(serde_json::from_str(said.trim())?);
        }
        let error = String::from_utf8_lossy(&output.stderr);
        Err(format!("ledger verify, {}: {said}{error}", output.status).into())
    }
}

impl Payer {
    /// An account with these funds, and a key of it.
    ///
    /// # Errors
    /// It was refused.
    pub async fn new(control: &Control, name: &str, funds: i128) -> Result<Self, Failure> {
        let (account, key) = control.funded(name, funds).await?;
        Ok(Self {
            account,
            secret: key.secret,
            funds,
        })
    }

    /// An account with funds, and a key of it with a limit for its whole life.
    ///
    /// # Errors
    /// It was refused.
    pub async fn limited(
        control: &Control,
        name: &str,
        (funds, limit): (i128, i128),
    ) -> Result<Self, Failure> {
        let account = control.create_account(name).await?;
        control.top_up(&account, funds, name).await?;
        let limit = json!({ "amount": text(limit), "currency": "USD" });
        let limit = json!({ "limit": { "amount": limit, "window": "lifetime" } });
        let key = control.create_key(&account, name, limit).await?;
        Ok(Self {
            account,
            secret: key.secret,
            funds,
        })
    }

    /// Somebody who calls a node with the key, and takes an answer for lost that has not ended in
    /// this time. It may have a connection of its own for each call.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn patient_caller(
        &self,
        node: &Node,
        patience: Duration,
        connect_anew: bool,
    ) -> Result<Caller, Failure> {
        if connect_anew {
            Caller::afresh(&node.origin(), &self.secret, patience)
        } else {
            Caller::patient(&node.origin(), &self.secret, patience)
        }
    }

    /// Somebody who calls a node with the key.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn caller(&self, node: &Node) -> Result<Caller, Failure> {
        Caller::new(&node.origin(), &self.secret)
    }
}

async fn follow(primary: &Server, place: Place) -> Result<Server, Failure> {
    let mut standby = Server::standby_of(primary, place)?;
    standby.start()?;
    standby.takes_connections().await?;
    primary.wait_for_standby().await?;
    Ok(standby)
}

fn new_node(
    number: u32,
    place: Place,
    folder: &Path,
    (url, more): (&str, &str),
) -> Result<Node, Failure> {
    let name = format!("node-{number}");
    let config = |place: &Place| {
        let address = place.address();
        format!(
            "listen = \"{address}\"\nnode.name = \"node-{number}\"\n{more}\
             [database]\nurl = \"{url}\"\n\
             [[channel]]\nname = \"simulated\"\nprotocol = \"simulated\"\nmodels = [\"sim/*\"]\n"
        )
    };
    Node::new(name, folder, place, config)
}
