//! `tollgate serve`: take requests until told to stop.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use clap::Args;
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{CliError, Place, say};
use crate::config::{Config, Limits};
use crate::http::routes;
use crate::jobs;
use crate::metrics::listener;
use crate::price_list::PriceList;
use crate::wiring::{House, OwnSpool, open_house, open_ports, open_spool};

mod signals;
mod socket;

pub(super) use signals::Signals;
pub(super) use socket::Socket;

/// How long settling what was cut, emptying the spool and giving leases back may take in all.
const SETTLE: Duration = Duration::from_secs(5);
/// How long clients may take to read what was sent to them.
const READ: Duration = Duration::from_secs(4);
/// How long it takes until a database that is away is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    place: Place,
    /// Where to take requests, instead of what the configuration says
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

/// Serves as the configuration says.
pub(crate) async fn run(args: ServeArgs) -> Result<(), CliError> {
    let mut config = args.place.config()?;
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    let mut signals = Signals::hear()?;
    // Address and spool first: who cannot have them must not fence the node that has them.
    let socket = Socket::bind(&config.listen)?;
    let spool = open_spool(&config).await?;
    let house = tokio::select! {
        house = start(&config, &spool) => house?,
        () = signals.next() => {
            tracing::info!("told to stop during the start");
            spool.close().await;
            return Ok(());
        }
    };
    if config.channel.is_empty() {
        tracing::warn!("no channel is configured, so no model can be called; see README.md");
    }
    let priced = house.prices.book().len();
    if priced == 0 {
        tracing::warn!("no model has a price: run `tollgate prices import`, see README.md");
    }
    serve(house, config, (socket, signals), |address| {
        say(&format!("tollgate: serving on http://{address}"));
    })
    .await
}

/// Opens everything; waits for a database that is away, as long as is configured.
async fn start(config: &Config, spool: &OwnSpool) -> Result<House, CliError> {
    let wait = Duration::from_secs(config.database.wait_s.into());
    let begun = Instant::now();
    loop {
        let error = match try_start(config, spool).await {
            Ok(house) => return Ok(house),
            Err(error) if error.is_away() && begun.elapsed() < wait => error,
            Err(error) => return Err(error),
        };
        tracing::warn!(
            %error,
            spooled = spool.backlog().entries,
            "the database cannot be reached; trying again for {} s",
            wait.saturating_sub(begun.elapsed()).as_secs()
        );
        tokio::time::sleep(PAUSE).await;
    }
}

async fn try_start(config: &Config, spool: &OwnSpool) -> Result<House, CliError> {
    let ports = open_ports(config).await?;
    super::migrate::migrate(&ports).await?;
    Ok(open_house(config, ports, spool.clone()).await?)
}

/// Serves until SIGTERM or Ctrl-C. `ready` is told the address as soon as connections are taken.
pub(super) async fn serve(
    house: House,
    config: Config,
    (socket, mut signals): (Socket, Signals),
    ready: impl FnOnce(SocketAddr),
) -> Result<(), CliError> {
    let limits = config.limits.clone();
    // Opened once here, so that a channel that cannot work stops the start and not a worker.
    let upstreams = house.upstreams()?;
    let (listener, address) = socket.listen()?;
    let stop = CancellationToken::new();
    let metrics = start_metrics(&house, &config)?;
    let background = jobs::start(&house, config.checker.clone(), config.retention, &stop);
    let shared = house.clone();
    let server = HttpServer::new(move || {
        let upstreams = shared.upstreams().unwrap_or_else(|error| {
            tracing::error!(%error, "a worker shares the connections of another");
            upstreams.clone()
        });
        app(&shared, upstreams)
    })
    .workers(config.workers.max(1))
    .tcp_nodelay(true)
    // A client that closes its side has left: its call is cancelled, not answered into the void.
    .h1_allow_half_closed(false)
    .shutdown_timeout(READ.as_secs())
    .disable_signals()
    .listen(listener)
    .map_err(CliError::io("the socket cannot be used"))?
    .run();
    let handle = server.handle();
    ready(address);
    let stopping = async {
        signals.next().await;
        wind_down(&house, &handle, &limits, &mut signals).await;
    };
    let (served, ()) = tokio::join!(server, stopping);
    stop.cancel();
    background.wait().await;
    if house.spool.backlog().entries > 0 {
        // Its leases cover what waits there: the others keep them for the next start, as they do
        // for a node that is silent.
        tracing::warn!("the others are not told that this node stops: it has calls to settle");
    } else if let Err(error) = house.node.leave(house.leases.node()).await {
        tracing::warn!(%error, "the others are not told that this node stops");
    }
    if let Some(metrics) = metrics {
        metrics.stop(true).await;
    }
    house.ports.store.close().await;
    house.spool.close().await;
    served.map_err(CliError::io("the server failed"))
}

/// Answers `/metrics`, where that is configured.
fn start_metrics(house: &House, config: &Config) -> Result<Option<ServerHandle>, CliError> {
    let Some(listen) = &config.metrics.listen else {
        return Ok(None);
    };
    let (address, handle) = listener::start(house, listen).map_err(CliError::io(format!(
        "cannot listen on {listen}, which metrics.listen names"
    )))?;
    tracing::info!("metrics on http://{address}/metrics");
    Ok(Some(handle))
}

/// Turns calls away, lets running ones end, settles what is left of them, and gives the leases
/// back. Whoever asks to stop again does not want to wait for running calls.
async fn wind_down(house: &House, server: &ServerHandle, limits: &Limits, again: &mut Signals) {
    tracing::info!("stopping: no new calls; running ones may end");
    let gate = &house.gate;
    gate.leaving.cancel();
    let unready = Duration::from_secs(limits.unready_s.into());
    let drain = Duration::from_secs(limits.drain_s.into());
    let calls = &house.calls;
    let ended = async {
        tokio::time::sleep(unready).await;
        // Connections are still taken, so that who comes is told to try elsewhere.
        gate.closing.cancel();
        calls.close();
        timeout(drain, calls.wait()).await.is_ok()
    };
    let ended = tokio::select! {
        ended = ended => ended,
        () = again.next() => {
            tracing::info!("told to stop again: running calls end now");
            false
        }
    };
    gate.closing.cancel();
    calls.close();
    let deadline = tokio::time::Instant::now() + SETTLE;
    if !ended {
        tracing::warn!(
            left = calls.len(),
            "some calls take too long; settling what they delivered"
        );
        gate.cut.cancel();
        if timeout_at(deadline, calls.wait()).await.is_err() {
            tracing::error!(left = calls.len(), "some calls are not settled");
        }
    }
    let emptied = gate.replay.emptied();
    if timeout_at(deadline, emptied).await.is_err() {
        let waiting = house.spool.backlog().entries;
        tracing::warn!(
            waiting,
            "calls are left in the spool; the next start on it charges them"
        );
    }
    house.leases.give_all_back();
    house.orders.close();
    if timeout_at(deadline, house.orders.wait()).await.is_err() {
        tracing::warn!("some leases were not given back; the next start takes them");
    }
    server.stop(true).await;
}

fn app(
    house: &House,
    upstreams: crate::gate::Upstreams,
) -> App<
    impl actix_web::dev::ServiceFactory<
        actix_web::dev::ServiceRequest,
        Config = (),
        Response = actix_web::dev::ServiceResponse,
        Error = actix_web::Error,
        InitError = (),
    > + use<>,
> {
    let ports = &house.ports;
    let price_list = PriceList::new(
        house.prices.clone(),
        ports.reports.clone(),
        ports.clock.clone(),
        house.served.clone(),
        house.gate.limits.default_output_tokens,
    );
    App::new()
        .app_data(house.gate.clone())
        .app_data(Data::new(upstreams))
        .app_data(Data::from(house.callers.clone()))
        .app_data(Data::from(house.prices.clone()))
        .app_data(Data::from(house.served.clone()))
        .app_data(Data::new(price_list))
        .app_data(Data::from(ports.books.clone()))
        .app_data(Data::from(ports.directory.clone()))
        .app_data(Data::from(ports.reports.clone()))
        .app_data(Data::from(ports.plans.clone()))
        .app_data(Data::from(ports.subscriptions.clone()))
        .app_data(Data::from(ports.orders.clone()))
        .app_data(Data::from(ports.collector.clone()))
        .app_data(Data::from(ports.dunning.clone()))
        .app_data(Data::from(ports.invoices.clone()))
        .app_data(Data::from(ports.coupons.clone()))
        .app_data(Data::from(ports.messages.clone()))
        .app_data(Data::from(ports.proofs.clone()))
        .app_data(Data::from(ports.clock.clone()))
        .app_data(Data::new(ports.date.clone()))
        .app_data(Data::from(ports.ids.clone()))
        .configure(routes::configure)
}
