//! Every route of the binary. What is not here does not exist.

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, ResponseError,
};

use super::v1::error::V1Error;
use super::v1::{chat, credits, generation, key, models};
use super::{api, docs, health, request_id};

/// Registers all routes.
pub(crate) fn configure(config: &mut ServiceConfig) {
    config
        .service(
            web::scope("/v1")
                .service(only("/chat/completions", POST, chat::chat_completions))
                .service(only("/embeddings", POST, chat::embeddings))
                .service(only("/models", GET, models::list))
                .service(only("/models/{id:.*}", GET, models::one))
                .service(only("/generation", GET, generation::generation))
                .service(only("/key", GET, key::key))
                .service(only("/credits", GET, credits::credits))
                .default_service(web::to(no_such_endpoint))
                .wrap_fn(request_id::name_unnamed),
        )
        .configure(api::configure)
        .configure(health::configure)
        .configure(docs::configure)
        .route("/", web::get().to(welcome))
        .default_service(web::to(api::nowhere));
}

const GET: Method = Method::GET;
const POST: Method = Method::POST;

/// A resource with one method; any other is answered with the name of that one.
fn only<F, Args>(path: &str, method: Method, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let name = if method == Method::POST {
        "POST"
    } else {
        "GET"
    };
    web::resource(path)
        .route(web::method(method).to(handler))
        .default_service(web::to(move || async move {
            V1Error::WrongMethod(name).error_response()
        }))
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
