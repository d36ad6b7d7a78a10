//! `tollgate serve`: take requests until told to stop.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{CliError, Place, say};
use crate::config::Config;
use crate::http::routes;
use crate::jobs;
use crate::wiring::{House, open_house, open_ports};

/// How long calls that are running may take to end when the process is told to stop.
const DRAIN: Duration = Duration::from_secs(20);
/// How long settling and giving back may take then.
const SETTLE: Duration = Duration::from_secs(4);

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
    let ports = open_ports(&config).await?;
    super::migrate::migrate(&ports.store).await?;
    let house = open_house(&config, ports).await?;
    if config.channel.is_empty() {
        tracing::warn!("no channel is configured, so no model can be called; see README.md");
    }
    let priced = house.prices.book().len();
    if priced == 0 {
        tracing::warn!("no model has a price: run `tollgate prices import`, see README.md");
    }
    serve(house, config, |address| {
        say(&format!("tollgate: serving on http://{address}"));
    })
    .await
}

/// Serves until SIGTERM or Ctrl-C. `ready` is told the address as soon as connections are taken.
pub(crate) async fn serve(
    house: House,
    config: Config,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), CliError> {
    let listener = TcpListener::bind(&config.listen)
        .map_err(CliError::io(format!("cannot listen on {}", config.listen)))?;
    let address = listener
        .local_addr()
        .map_err(CliError::io("the socket has no address"))?;
    // Opened once here, so that a channel that cannot work stops the start and not a worker.
    let upstreams = house.upstreams()?;
    let stop = CancellationToken::new();
    let background = jobs::start(&house, config.clone(), &stop);
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
    .shutdown_timeout(SETTLE.as_secs())
    .disable_signals()
    .listen(listener)
    .map_err(CliError::io("the socket cannot be used"))?
    .run();
    let handle = server.handle();
    ready(address);
    let stopping = async {
        told_to_stop().await;
        wind_down(&house, &handle).await;
    };
    let (served, ()) = tokio::join!(server, stopping);
    stop.cancel();
    background.wait().await;
    house.ports.store.close().await;
    served.map_err(CliError::io("the server failed"))
}

/// Lets running calls end, then settles what is left of them, then gives the leases back.
async fn wind_down(house: &House, server: &ServerHandle) {
    tracing::info!("stopping: no new calls; running ones may end");
    // Connections are still taken, so that who comes is told to try elsewhere.
    house.gate.closing.cancel();
    let calls = &house.tracker;
    calls.close();
    if tokio::time::timeout(DRAIN, calls.wait()).await.is_err() {
        tracing::warn!(
            left = calls.len(),
            "some calls take too long; settling what they delivered"
        );
        house.gate.cut.cancel();
        if tokio::time::timeout(SETTLE, calls.wait()).await.is_err() {
            tracing::error!(left = calls.len(), "some calls are not settled");
        }
    }
    house.leases.give_all_back();
    if tokio::time::timeout(SETTLE, calls.wait()).await.is_err() {
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
    App::new()
        .app_data(house.gate.clone())
        .app_data(Data::new(upstreams))
        .app_data(Data::from(house.callers.clone()))
        .app_data(Data::from(house.prices.clone()))
        .app_data(Data::from(house.served.clone()))
        .app_data(Data::from(ports.books.clone()))
        .app_data(Data::from(ports.directory.clone()))
        .app_data(Data::from(ports.reports.clone()))
        .app_data(Data::from(ports.clock.clone()))
        .app_data(Data::from(ports.ids.clone()))
        .configure(routes::configure)
}

/// Waits for SIGTERM or Ctrl-C.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};

    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(error) => {
            tracing::warn!(%error, "SIGTERM is not heard");
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
