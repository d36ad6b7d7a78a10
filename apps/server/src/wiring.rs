//! The one place that knows every adapter: which database, which upstreams, which clock.
//!
//! The ports and the house are put together here; [`own_spool`] opens this process's spool and
//! [`channels`] the upstreams.

use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use billing_core::lease_book::LeasePolicy;
use billing_core::node::number_of_a_guest;
use billing_core::port::books::Books;
use billing_core::port::catalogue::{Catalogue, CatalogueError};
use billing_core::port::clock::{Advance, Clock, MoveError, MovedDate, SteadyClock};
use billing_core::port::coupons::Coupons;
use billing_core::port::directory::{Directory, DirectoryError};
use billing_core::port::invoices::Invoices;
use billing_core::port::messages::Messages;
use billing_core::port::nodes::Nodes;
use billing_core::port::orders::Orders;
use billing_core::port::plans::Plans;
use billing_core::port::proofs::Proofs;
use billing_core::port::reports::Reports;
use billing_core::port::subscriptions::{Collector, Subscriptions};
use billing_core::price::Prospect;
use billing_core::subscription::Dunning;
use gateway_core::lanes::Lane;
use providers::OpenError;
use providers::transport::webhook::Webhook;
use store::StoreConfig;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{DeploymentClock, SystemClock};
use crate::config::{Config, ConfigError};
use crate::delivery::MessageSender;
use crate::gate::idempotency::InFlight;
use crate::gate::places::Places;
use crate::gate::{Callers, Gate, Leases, Prices, Replay, Routes, Upstreams};
use crate::http::v1::models::ServedModels;
use crate::ids::Ids;
use crate::node::enter::EnterError;
use crate::node::life::sweep_once;
use crate::node::{NodeSettings, ThisNode};

mod channels;
mod own_spool;

use channels::Channels;

pub(crate) use channels::serve_simulated;
pub(crate) use own_spool::{OwnSpool, look_at_spool, open_spool};
pub(crate) use store::{
    Listed, Listener, Look, NEWS, SpoolOpenError, SpoolView, Store, StoreError,
};

/// How long a start waits for the leases of nodes that are gone.
const SWEEP: Duration = Duration::from_secs(2);
/// How long a commit waits for more settlements at most, where processor time is short.
const LINGER: Duration = Duration::from_millis(3);

/// Why the parts could not be put together.
#[derive(Debug, Error)]
pub(crate) enum WiringError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database.
    #[error("the database cannot be opened: {0}")]
    Store(#[from] StoreError),
    /// The other nodes.
    #[error("this node cannot join: {0}")]
    Enter(#[from] EnterError),
    /// The prices.
    #[error("the price book cannot be read: {0}")]
    Catalogue(#[from] CatalogueError),
    /// A channel.
    #[error("a channel cannot be opened: {0}")]
    Provider(#[from] OpenError),
    /// The directory.
    #[error("the directory cannot be read: {0}")]
    Directory(#[from] DirectoryError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolOpenError),
    /// The date of the deployment.
    #[error("the date of the deployment cannot be read: {0}")]
    Date(#[from] MoveError),
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes")]
    NoEntropy,
}

/// The ports, each behind its trait, and what makes ids and tells the time.
#[derive(Debug, Clone)]
pub(crate) struct Ports {
    pub(crate) store: Store,
    pub(crate) books: Arc<dyn Books>,
    pub(crate) nodes: Arc<dyn Nodes>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) plans: Arc<dyn Plans>,
    pub(crate) subscriptions: Arc<dyn Subscriptions>,
    pub(crate) orders: Arc<dyn Orders>,
    pub(crate) collector: Arc<dyn Collector>,
    /// How often what is owed is tried again.
    pub(crate) dunning: Arc<Dunning>,
    pub(crate) invoices: Arc<dyn Invoices>,
    pub(crate) coupons: Arc<dyn Coupons>,
    pub(crate) messages: Arc<dyn Messages>,
    pub(crate) reports: Arc<dyn Reports>,
    pub(crate) proofs: Arc<dyn Proofs>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The machine's date, for what is compared with other machines.
    pub(crate) machine: Arc<dyn Clock>,
    pub(crate) date: DeploymentDate,
    pub(crate) steady: Arc<dyn SteadyClock>,
    pub(crate) ids: Arc<Ids>,
}

/// The date of this deployment, and whether it may be moved here.
#[derive(Debug, Clone)]
pub(crate) struct DeploymentDate {
    clock: DeploymentClock,
    moved: Arc<dyn MovedDate>,
    /// As the configuration says.
    pub(crate) may_be_moved: bool,
}

impl DeploymentDate {
    /// Takes the date from the books; answers with by how much it is ahead.
    pub(crate) async fn read(&self) -> Result<time::Duration, MoveError> {
        let ahead = self.moved.ahead().await?;
        self.clock.be_ahead(ahead);
        Ok(ahead)
    }

    /// Moves it, here at once and wherever these books are open within seconds.
    pub(crate) async fn advance(&self, by: Advance) -> Result<(), MoveError> {
        let ahead = self.moved.advance(by, SystemClock.now()).await?;
        self.clock.be_ahead(ahead);
        Ok(())
    }
}

/// Opens the database, and nothing else.
pub(crate) async fn open_ports(config: &Config) -> Result<Ports, WiringError> {
    let clock = DeploymentClock::default();
    let mut ports = open_ports_by(config, clock).await?;
    ports.date.moved = Arc::new(ports.store.clone());
    // Before the first migration nothing was moved.
    if ports.store.pending_migrations().await?.is_empty() {
        ports.date.read().await?;
    }
    Ok(ports)
}

/// The same on a date of its own, so much behind the machine's, that ends where that is: for what is
/// told of a past. Whoever else opens the books has another date.
pub(crate) async fn open_ports_behind(
    config: &Config,
    by: time::Duration,
) -> Result<Ports, WiringError> {
    open_ports_by(config, DeploymentClock::behind(by)).await
}

async fn open_ports_by(config: &Config, moved: DeploymentClock) -> Result<Ports, WiringError> {
    let clock: Arc<dyn Clock> = Arc::new(moved.clone());
    let url = config.database.url.0.clone();
    let mut settings = StoreConfig::new(url, Arc::clone(&clock));
    settings.linger = LINGER;
    let house = config.invoicing.house();
    settings.invoicing = Arc::new(house.map_err(ConfigError::Contradiction)?);
    let dunning = config.dunning.ladder();
    let dunning = Arc::new(dunning.map_err(ConfigError::Contradiction)?);
    settings.dunning = Arc::clone(&dunning);
    settings.sends_messages = config.messages.url.is_some();
    let store = Store::open(settings).await?;
    store.refuse_newer_schema().await?;
    let shared = Arc::new(store.clone());
    let date = DeploymentDate {
        clock: moved.clone(),
        moved: Arc::new(moved),
        may_be_moved: config.clock.movable,
    };
    Ok(Ports {
        store,
        books: shared.clone(),
        nodes: shared.clone(),
        directory: shared.clone(),
        catalogue: shared.clone(),
        plans: shared.clone(),
        subscriptions: shared.clone(),
        orders: shared.clone(),
        collector: shared.clone(),
        dunning,
        invoices: shared.clone(),
        coupons: shared.clone(),
        messages: shared.clone(),
        reports: shared.clone(),
        proofs: shared,
        ids: Arc::new(Ids::new(guest_number()?, Arc::clone(&clock))),
        clock,
        machine: Arc::new(SystemClock),
        date,
        steady: Arc::new(SystemClock),
    })
}

impl WiringError {
    /// Whether it may go away by itself: the database cannot be reached.
    pub(crate) fn is_away(&self) -> bool {
        match self {
            Self::Store(error) => error.is_away(),
            Self::Enter(error) => error.is_away(),
            Self::Catalogue(error) => matches!(error, CatalogueError::Unavailable(_)),
            Self::Directory(error) => matches!(error, DirectoryError::Unavailable(_)),
            Self::Date(error) => matches!(error, MoveError::Unavailable(_)),
            Self::Config(_) | Self::Provider(_) | Self::Spool(_) | Self::NoEntropy => false,
        }
    }
}

/// The way of settlements through a spool that is of this deployment.
pub(crate) async fn open_replay(
    config: &Config,
    ports: &Ports,
    spool: &OwnSpool,
    prices: &Arc<Prices>,
) -> Result<Arc<Replay>, WiringError> {
    let deployment = ports.store.deployment(ports.clock.now()).await?;
    spool.take_for(deployment, &config.node.name).await?;
    Ok(Arc::new(Replay::new(
        spool.port(),
        Arc::clone(&ports.books),
        Arc::clone(prices),
        Arc::clone(&ports.machine),
        Duration::from_millis(config.spool.settle_timeout_ms),
    )))
}

fn node_settings(config: &Config, ports: &Ports) -> NodeSettings {
    let mut settings = NodeSettings::from(&config.node);
    if ports.store.is_embedded() {
        // Whoever had the file before has ended, and what its disk held is charged.
        settings.keep_leases = Duration::ZERO;
    }
    settings
}

/// Everything that serves calls.
#[derive(Debug, Clone)]
pub(crate) struct House {
    pub(crate) ports: Ports,
    pub(crate) gate: Data<Gate>,
    pub(crate) callers: Arc<Callers>,
    pub(crate) prices: Arc<Prices>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) node: Arc<ThisNode>,
    pub(crate) served: Arc<dyn ServedModels>,
    /// Calls that are carried on.
    pub(crate) calls: TaskTracker,
    /// What the lease book has ordered.
    pub(crate) orders: TaskTracker,
    pub(crate) spool: OwnSpool,
    /// What sends messages, where they are to be sent.
    pub(crate) sender: Option<MessageSender>,
    /// The position in the news up to which nothing is in memory that could be stale.
    pub(crate) news_from: i64,
    channels: Channels,
}

/// How leases are taken: all there is where no other node can want them.
fn lease_policy(config: &Config, ports: &Ports) -> LeasePolicy {
    if ports.store.is_embedded() {
        LeasePolicy::default()
    } else {
        config.lease.shared(config.node.silence_s)
    }
}

/// What sends messages, where the configuration says to whom.
fn message_sender(config: &Config, ports: &Ports) -> Result<Option<MessageSender>, WiringError> {
    let receiver = config.messages.receiver();
    let receiver = receiver.map_err(ConfigError::Contradiction)?;
    let Some((url, secret)) = receiver else {
        return Ok(None);
    };
    let wrong = |error| ConfigError::Contradiction(format!("messages.url: {error}"));
    Ok(Some(MessageSender {
        courier: Arc::new(Webhook::new(url, secret).map_err(wrong)?),
        messages: Arc::clone(&ports.messages),
        directory: Arc::clone(&ports.directory),
        clock: Arc::clone(&ports.clock),
        machine: Arc::clone(&ports.machine),
    }))
}

/// Charges what the spool holds, joins the other nodes, and puts everything together.
pub(crate) async fn open_house(
    config: &Config,
    ports: Ports,
    spool: OwnSpool,
) -> Result<House, WiringError> {
    let (calls, orders) = (TaskTracker::new(), TaskTracker::new());
    let prices = Arc::new(Prices::load(Arc::clone(&ports.catalogue)).await?);
    let replay = open_replay(config, &ports, &spool, &prices).await?;
    let this_node = Arc::new(ThisNode::new(
        node_settings(config, &ports),
        Arc::clone(&ports.nodes),
        (Arc::clone(&ports.machine), Arc::clone(&ports.steady)),
        Arc::clone(&ports.ids),
        spool.port(),
    ));
    // What the spool holds is booked under this clock's date.
    this_node.compare_clocks().await?;
    // Before the leases of the earlier life are freed, which cover these calls.
    replay.empty().await;
    let joined_at = ports.steady.steady();
    let node = this_node.enter(&spool.ended_ids()).await?;
    // Funds that an earlier life had on lease are there for the first call, as far as they are few.
    let stop = CancellationToken::new();
    let sweep = sweep_once(&this_node, &stop);
    if tokio::time::timeout(SWEEP, sweep).await.is_err() {
        tracing::info!("leases of nodes that are gone are still being taken back");
    }
    let policy = lease_policy(config, &ports);
    let leases = Arc::new(Leases::new(
        Arc::clone(&ports.books),
        Arc::clone(&ports.steady),
        orders.clone(),
        node,
        policy,
    ));
    leases.confirmed(joined_at);
    // Before anything is kept in memory, so that no change of it goes unheard.
    let news_from = ports.directory.newest_change().await?;
    ports.date.read().await?;
    prices.reload().await?;
    let channels = Channels::of(config)?;
    let routes = Arc::new(channels.routes(config)?);
    let gate = Gate {
        prices: Arc::clone(&prices),
        leases: Arc::clone(&leases),
        replay,
        node: Arc::clone(&this_node),
        reports: Arc::clone(&ports.reports),
        ids: Arc::clone(&ports.ids),
        clock: Arc::clone(&ports.clock),
        limits: config.limits.clone(),
        tracker: calls.clone(),
        routes: Arc::clone(&routes),
        in_flight: InFlight::default(),
        places: Places::new(config.limits.calls_in_flight),
        paces: Arc::default(),
        leaving: CancellationToken::new(),
        closing: CancellationToken::new(),
        cut: CancellationToken::new(),
    };
    let sender = message_sender(config, &ports)?;
    Ok(House {
        sender,
        callers: Arc::new(Callers::new(Arc::clone(&ports.directory))),
        ports,
        gate: Data::new(gate),
        prices,
        leases,
        node: this_node,
        served: routes,
        calls,
        orders,
        spool,
        news_from,
        channels,
    })
}

impl House {
    /// The connections of one worker thread. Each worker has its own, so that none is handed from
    /// thread to thread.
    pub(crate) fn upstreams(&self) -> Result<Upstreams, WiringError> {
        self.channels.open(&self.gate.cut)
    }

    /// Enters what was settled into the lists of its accounts; says how much.
    pub(crate) async fn list_settled(&self, most: u64) -> Result<Listed, StoreError> {
        self.ports.store.list_settled(most).await
    }

    /// Deletes ended sessions, old news and nodes that are long gone, some at a time; nothing while
    /// this node cannot tell what is old.
    pub(crate) async fn purge(&self) -> Result<u64, StoreError> {
        if self.node.clock_is_off() {
            return Ok(0);
        }
        let (date, machine) = (self.ports.clock.now(), self.ports.machine.now());
        self.ports.store.purge(date, machine).await
    }

    /// Deletes some of the calls that are older than so many days: how many, and whether nothing is
    /// left to do for now, as while this node cannot tell what is old.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn expire_calls(&self, days: NonZeroU16) -> Result<(u64, bool), StoreError> {
        if self.node.clock_is_off() {
            return Ok((0, true));
        }
        let since = self.ports.clock.now() - time::Duration::days(i64::from(days.get()));
        self.ports.store.expire_calls(since).await
    }
}

impl ServedModels for Routes {
    fn serves(&self, model: &str) -> bool {
        Self::serves(self, model)
    }

    fn prospect(&self, model: &str) -> Option<Arc<Prospect>> {
        Self::prospect(self, model, Lane::Standard)
    }
}

/// The database address of a SQLite file.
pub(crate) fn sqlite_url(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}

/// The number of this process in the ids that it makes before it joins, if it ever does: drawn anew
/// at each start, and never that of a node.
fn guest_number() -> Result<u16, WiringError> {
    let mut bytes = [0_u8; 2];
    getrandom::fill(&mut bytes).map_err(|_| WiringError::NoEntropy)?;
    Ok(number_of_a_guest(u16::from_be_bytes(bytes)))
}
