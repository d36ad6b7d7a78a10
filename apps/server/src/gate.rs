//! The path of a call: identify, price, authorize, route, stream, settle.
//!
//! [`Gate`] is what all worker threads share. A request is let in by [`admit`], tried at the
//! channels by [`attempt`], passed on by [`deliver`] and [`stream`] and paid for by [`settle`]. The shell around
//! the lease book is in [`leases`]; what is kept in memory of callers and prices, and forgotten when
//! it changes, is in [`callers`] and [`prices`], what plans give in [`quotas`]. How many calls there may be at once is kept by
//! [`places`], and how fast an account may send by [`paces`].

pub(crate) mod admit;
pub(crate) mod attempt;
pub(crate) mod callers;
pub(crate) mod deliver;
pub(crate) mod hand_in;
pub(crate) mod idempotency;
pub(crate) mod lanes;
pub(crate) mod leases;
pub(crate) mod paces;
pub(crate) mod places;
pub(crate) mod prices;
pub(crate) mod quotas;
pub(crate) mod replay;
pub(crate) mod routes;
pub(crate) mod settle;
mod stream;

use std::sync::Arc;

use billing_core::attribute::Attributes;
use billing_core::port::clock::Clock;
use billing_core::port::reports::Reports;
use gateway_core::dialect::Dialect;
use gateway_core::provider::ModelProvider;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use callers::Callers;
pub(crate) use leases::Leases;
pub(crate) use prices::Prices;
pub(crate) use replay::Replay;
pub(crate) use routes::Routes;

use crate::config::Limits;
use crate::ids::Ids;
use crate::node::ThisNode;
use idempotency::InFlight;
use paces::Paces;
use places::Places;

/// What every call passes through, shared by all workers.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) prices: Arc<Prices>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) replay: Arc<Replay>,
    pub(crate) node: Arc<ThisNode>,
    pub(crate) reports: Arc<dyn Reports>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    /// Every task that a call is carried on by, so that a shutdown can wait for them.
    pub(crate) tracker: TaskTracker,
    pub(crate) routes: Arc<Routes>,
    pub(crate) in_flight: InFlight,
    pub(crate) places: Places,
    pub(crate) paces: Arc<Paces>,
    /// Set when the process is told to stop: who balances calls is told to turn away, and clients to
    /// close their connections.
    pub(crate) leaving: CancellationToken,
    /// Set when it has had time to: no call is let in any more.
    pub(crate) closing: CancellationToken,
    /// Set when running calls have had their time: what they delivered is settled now.
    pub(crate) cut: CancellationToken,
}

/// The connections of one worker thread to every channel, by number.
#[derive(Debug, Clone)]
pub(crate) struct Upstreams {
    pub(crate) channels: Vec<Upstream>,
    /// Set with [`Gate::cut`]. Every call waits for it beside its answer, and takes a lock to do so:
    /// here it is one that no other worker wants.
    pub(crate) cut: CancellationToken,
}

/// The way to one channel.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    /// Sends and receives.
    pub(crate) provider: Arc<dyn ModelProvider>,
    /// What it speaks.
    pub(crate) dialect: &'static dyn Dialect,
    /// What its configuration says of all calls through it that prices depend on.
    pub(crate) attributes: Attributes,
}
