//! `/metrics` on an address of its own, so that who may call need not see it.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Data;
use actix_web::{App, HttpResponse, HttpServer, web};
use time::OffsetDateTime;

use super::text::{Kind, Page, own};
use crate::wiring::House;

/// Starts to answer on an address; answers with it and with the way to end it.
///
/// # Errors
/// Nobody can listen there.
pub(crate) fn start(house: &House, address: &str) -> std::io::Result<(SocketAddr, ServerHandle)> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let house = Data::new(house.clone());
    let app = move || {
        App::new()
            .app_data(house.clone())
            .route("/metrics", web::get().to(metrics))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .shutdown_timeout(1)
        .disable_signals()
        .listen(listener)?
        .run();
    let handle = server.handle();
    actix_web::rt::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "metrics are not served any more");
        }
    });
    Ok((address, handle))
}

async fn metrics(house: Data<House>) -> HttpResponse {
    let mut page = Page::default();
    own(&mut page);
    node(&house, &mut page);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(page.finish())
}

/// What the parts of this node know of themselves.
fn node(house: &House, page: &mut Page) {
    use Kind::{Counter, Gauge};

    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let size = house.leases.size();
    let help = "Accounts in the lease book of this node.";
    page.one(("lease_book_accounts", Gauge, help), count(size.accounts));
    let help = "Calls that hold funds on this node.";
    page.one(("holds", Gauge, help), count(size.holds));
    let help = "Calls that wait for funds on this node.";
    page.one(("waiting_calls", Gauge, help), count(size.waiting));
    let committed = house.ports.store.committed();
    let help = "Transactions that this node has committed for settlements and leases.";
    page.one(("commits_total", Counter, help), committed.transactions);
    let help = "Settlements, leases and returns in those transactions.";
    page.one(
        ("committed_operations_total", Counter, help),
        committed.operations,
    );
    let help = "Settlements by how many commits ended while they waited, their own included.";
    let about = ("settle_waited_commits", help);
    page.counts(about, committed.waits(), committed.waited_in_all);
    let spool = house.spool.backlog();
    let help = "Calls in the spool of this node that wait for the books.";
    page.one(("spool_entries", Gauge, help), spool.entries);
    let help = "Calls in the spool of this node that the books refuse.";
    page.one(("spool_parked", Gauge, help), spool.parked);
    let now = house.ports.machine.now();
    let waits = |since: OffsetDateTime| (now - since).try_into().unwrap_or_default();
    let help = "How long the oldest call in the spool of this node has waited; 0 when none waits.";
    let oldest = spool.oldest.map_or(Duration::ZERO, waits);
    page.seconds("spool_oldest_seconds", help, Some(oldest));
    let lag = house.node.lag();
    let help = "Since the last sign of life of this node that the database took.";
    page.seconds("node_beat_age_seconds", help, lag.beat);
    let help = "Since the last time that this node read all news.";
    page.seconds("node_news_age_seconds", help, lag.news);
    let help = "Other nodes that are alive.";
    page.one(("node_peers", Gauge, help), count(lag.peers));
    let open: Vec<(String, u64)> = house.gate.routes.standings();
    let help = "Whether calls go through a channel: 1 yes, 0 not now.";
    page.family(("channel_open", Gauge, help), "channel", open);
    let lanes = house.gate.routes.traffic();
    let each = |at: fn([usize; 2]) -> usize| {
        let lanes = lanes.iter();
        lanes.map(move |(channel, lane, traffic)| (channel.clone(), *lane, count(at(*traffic))))
    };
    let help = "Calls under way at a channel that takes so many at once.";
    page.lanes(("channel_calls", Gauge, help), each(|[calls, _]| calls));
    let help = "Calls that wait for a place at it.";
    page.lanes(
        ("channel_waiting", Gauge, help),
        each(|[_, waiting]| waiting),
    );
}
