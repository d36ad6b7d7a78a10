//! Whether the process lives, and whether it can serve.

use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use billing_core::port::directory::Directory;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::gate::Gate;

/// How long the store may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Registers the probes.
pub(crate) fn configure(config: &mut ServiceConfig) {
    config
        .route("/livez", web::get().to(live))
        .route("/readyz", web::get().to(ready));
}

/// What a probe says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, or what is missing.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the process lives
#[utoipa::path(
    get, path = "/livez", operation_id = "live", tag = "health",
    responses((status = 200, description = "It lives", body = Health)),
    security(()),
)]
pub(crate) async fn live() -> impl Responder {
    HttpResponse::Ok().json(Health { status: "ok" })
}

/// Whether it can serve
///
/// It can when the store answers and has its tables, and the clock is right.
#[utoipa::path(
    get, path = "/readyz", operation_id = "ready", tag = "health",
    responses(
        (status = 200, description = "It can serve", body = Health),
        (status = 503, description = "The store does not answer or is not migrated, the process is stopping, or its clock is off", body = Health),
    ),
    security(()),
)]
pub(crate) async fn ready(
    directory: web::Data<dyn Directory>,
    gate: Option<web::Data<Gate>>,
) -> impl Responder {
    if gate
        .as_ref()
        .is_some_and(|gate| gate.leaving.is_cancelled())
    {
        let mut response = HttpResponse::ServiceUnavailable();
        return response.force_close().json(Health { status: "stopping" });
    }
    if gate.is_some_and(|gate| gate.node.clock_is_off()) {
        let status = "the clock of this node is off";
        return HttpResponse::ServiceUnavailable().json(Health { status });
    }
    let status = match timeout(PATIENCE, directory.newest_change()).await {
        Ok(Ok(_)) => return HttpResponse::Ok().json(Health { status: "ok" }),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready: the store refuses");
            "the store refuses"
        }
        Err(_) => {
            tracing::warn!("not ready: the store does not answer");
            "the store does not answer"
        }
    };
    HttpResponse::ServiceUnavailable().json(Health { status })
}
