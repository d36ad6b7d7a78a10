//! Nodes and their database in network namespaces of their own, on two networks: callers reach
//! nodes on the front one, nodes reach the database on the back one. Every cable can be pulled.
//!
//! The harness must run in a network namespace that nobody else uses (`scripts/namespace.sh`): what
//! is made here goes with it.

use std::process::Command;

use super::Shape;
use super::place::Place;
use crate::Failure;

/// Where the harness stands in both networks, and the database in the back one.
const FRONT: &str = "10.77.0";
const BACK: &str = "10.78.0";
const HARNESS: u8 = 1;
const DATABASE: u8 = 5;
/// Where a standby of the database is, until it takes over its address.
const STANDBY: u8 = 6;
const PORT: u16 = 5432;
/// The first node's number in both networks; the others follow.
const FIRST_NODE: u8 = 11;

/// One cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// Between a node and those who call it.
    Front(usize),
    /// Between a node and the database.
    Back(usize),
    /// Between the database and all nodes.
    Database,
    /// Between the standby and all others.
    Standby,
}

/// How a cable fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Both ends see that it is gone.
    Pulled,
    /// It looks as ever, and nothing comes through.
    Silent,
}

/// The networks.
#[derive(Debug)]
pub struct Network {
    nodes: usize,
}

impl Network {
    /// Lays out both networks for so many nodes.
    ///
    /// # Errors
    /// The right to do that is missing, or the harness is in a namespace that others use.
    pub fn lay_out(nodes: usize) -> Result<Self, Failure> {
        let others = ip(&["-o", "link", "show"])?;
        if others
            .lines()
            .any(|line| !line.contains(": lo:") && line.contains("state UP"))
        {
            let why = "other networks are in this namespace; run it with scripts/namespace.sh";
            return Err(why.into());
        }
        let network = Self { nodes };
        for (bridge, prefix) in [("front", FRONT), ("back", BACK)] {
            ip(&["link", "add", bridge, "type", "bridge"])?;
            ip(&[
                "address",
                "add",
                &format!("{prefix}.{HARNESS}/24"),
                "dev",
                bridge,
            ])?;
            ip(&["link", "set", bridge, "up"])?;
        }
        add_namespace("database")?;
        add_cable(Link::Database, "database", &format!("{BACK}.{DATABASE}"))?;
        add_namespace("standby")?;
        add_cable(Link::Standby, "standby", &format!("{BACK}.{STANDBY}"))?;
        for node in 0..nodes {
            let name = namespace(node);
            let own = number(node)?;
            add_namespace(&name)?;
            add_cable(Link::Front(node), &name, &format!("{FRONT}.{own}"))?;
            add_cable(Link::Back(node), &name, &format!("{BACK}.{own}"))?;
        }
        Ok(network)
    }

    /// Where the processes of a cluster are in it.
    ///
    /// # Errors
    /// There are more nodes than addresses.
    pub fn shape(&self) -> Result<Shape, Failure> {
        let nodes = (0..self.nodes).map(|node| {
            let host = format!("{FRONT}.{}", number(node)?);
            Ok::<_, Failure>(place(namespace(node), host, 8080))
        });
        Ok(Shape {
            nodes: nodes.collect::<Result<_, _>>()?,
            database: place("database".to_owned(), format!("{BACK}.{DATABASE}"), PORT),
            standby: false,
            config: String::new(),
        })
    }

    /// Where a standby can be.
    pub fn standby(&self) -> Place {
        place("standby".to_owned(), format!("{BACK}.{STANDBY}"), PORT)
    }

    /// Has the standby answer to the database's address, and tells everybody.
    ///
    /// # Errors
    /// The system refused.
    pub fn give_address_to_standby(&self) -> Result<(), Failure> {
        let address = format!("{BACK}.{DATABASE}/24");
        ip(&["-n", "standby", "address", "add", &address, "dev", "back"])?;
        ip(&["neighbour", "flush", "all"])?;
        for node in 0..self.nodes {
            ip(&["-n", &namespace(node), "neighbour", "flush", "all"])?;
        }
        Ok(())
    }

    /// Every cable that can be cut and healed.
    pub fn links(&self) -> Vec<Link> {
        let of_nodes = (0..self.nodes).flat_map(|node| [Link::Front(node), Link::Back(node)]);
        of_nodes.chain([Link::Database]).collect()
    }

    /// Cuts a cable.
    ///
    /// # Errors
    /// The system refused.
    pub fn cut(&self, link: Link, how: Cut) -> Result<(), Failure> {
        let cable = link.cable();
        match how {
            Cut::Pulled => ip(&["link", "set", &cable, "down"]),
            Cut::Silent => ip(&["link", "set", &cable, "nomaster"]),
        }
        .map(drop)
    }

    /// Mends a cable, however it was cut.
    ///
    /// # Errors
    /// The system refused.
    pub fn heal(&self, link: Link) -> Result<(), Failure> {
        let cable = link.cable();
        ip(&["link", "set", &cable, "master", link.bridge()])?;
        ip(&["link", "set", &cable, "up"]).map(drop)
    }
}

impl Link {
    /// The nodes that it cuts off from something, of so many.
    pub fn nodes(self, all: usize) -> Vec<usize> {
        match self {
            Self::Front(node) | Self::Back(node) => vec![node],
            Self::Database | Self::Standby => (0..all).collect(),
        }
    }

    /// Its end at the harness.
    fn cable(self) -> String {
        match self {
            Self::Front(node) => format!("front-{}", node + 1),
            Self::Back(node) => format!("back-{}", node + 1),
            Self::Database => "back-db".to_owned(),
            Self::Standby => "back-standby".to_owned(),
        }
    }

    fn bridge(self) -> &'static str {
        match self {
            Self::Front(_) => "front",
            Self::Back(_) | Self::Database | Self::Standby => "back",
        }
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Front(node) => write!(f, "callers to node {}", node + 1),
            Self::Back(node) => write!(f, "node {} to the database", node + 1),
            Self::Database => write!(f, "all nodes to the database"),
            Self::Standby => write!(f, "the standby to all"),
        }
    }
}

fn place(namespace: String, host: String, port: u16) -> Place {
    Place {
        namespace: Some(namespace),
        host,
        port,
    }
}

fn namespace(node: usize) -> String {
    format!("node-{}", node + 1)
}

fn number(node: usize) -> Result<u8, Failure> {
    let node = u8::try_from(node)?;
    Ok(FIRST_NODE.checked_add(node).ok_or("too many nodes")?)
}

fn add_namespace(name: &str) -> Result<(), Failure> {
    ip(&["netns", "add", name])?;
    ip(&["-n", name, "link", "set", "lo", "up"]).map(drop)
}

fn add_cable(link: Link, namespace: &str, address: &str) -> Result<(), Failure> {
    let (cable, bridge) = (link.cable(), link.bridge());
    let peer = ["type", "veth", "peer", "name", bridge, "netns", namespace];
    ip(&[&["link", "add", &cable], &peer[..]].concat())?;
    ip(&["link", "set", &cable, "master", bridge])?;
    ip(&["link", "set", &cable, "up"])?;
    let address = format!("{address}/24");
    ip(&["-n", namespace, "address", "add", &address, "dev", bridge])?;
    ip(&["-n", namespace, "link", "set", bridge, "up"]).map(drop)
}

fn ip(arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new("ip").args(arguments).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("`ip {}` failed: {why}", arguments.join(" ")).into())
}
