//! Every route of the binary. What is not here does not exist.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError};

use super::v1::error::V1Error;
use super::v1::{chat, credits, generation, key, models};
use super::{api, docs, health};

/// Registers all routes.
pub(crate) fn configure(config: &mut ServiceConfig) {
    config
        .service(
            web::scope("/v1")
                .route("/chat/completions", web::post().to(chat::chat_completions))
                .route("/embeddings", web::post().to(chat::embeddings))
                .route("/models", web::get().to(models::list))
                .route("/models/{id:.*}", web::get().to(models::one))
                .route("/generation", web::get().to(generation::generation))
                .route("/key", web::get().to(key::key))
                .route("/credits", web::get().to(credits::credits))
                .default_service(web::to(no_such_endpoint)),
        )
        .configure(api::configure)
        .configure(health::configure)
        .configure(docs::configure)
        .route("/", web::get().to(welcome))
        .default_service(web::to(api::no_such_path));
}

async fn no_such_endpoint(request: HttpRequest) -> HttpResponse {
    tracing::debug!(path = request.path(), "no such endpoint");
    V1Error::NotFound("endpoint").error_response()
}

/// Until the console stands here, the API's own page is the place to go.
async fn welcome() -> HttpResponse {
    HttpResponse::Found()
        .insert_header(("location", "/docs/"))
        .finish()
}
