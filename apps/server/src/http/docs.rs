//! The API's own description: OpenAPI 3.1 made from the code, and a page to try it.

use std::sync::LazyLock;

use actix_web::http::header::{ETAG, IF_NONE_MATCH};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::api::session::COOKIE;
use super::api::wire;
use super::api::{
    accounts, calls, calls_csv, clock, coupons, invoices, keys, ledger, messages, plans,
    price_list, prices, quote, session, statements, subscription, usage, users, wallet,
};
use super::health;
use super::v1::{chat, credits, generation, key, models};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tollgate",
        description = "Billing for AI model traffic. `/v1` speaks OpenAI's protocol and takes an \
            API key; `/api/v1` controls accounts, keys and money and takes a session. Money is \
            exact decimal text.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        chat::chat_completions,
        chat::embeddings,
        models::list, models::one, generation::generation, key::key, credits::credits,
        session::open, session::read, session::close,
        accounts::list, accounts::create, accounts::read, accounts::change,
        keys::list, keys::create, keys::revoke,
        wallet::read, wallet::top_up, ledger::list,
        statements::list, statements::read, statements::pdf, statements::html, statements::download,
    calls::list, calls::read, calls_csv::download, invoices::credit, invoices::details::read, invoices::details::set, invoices::html, invoices::list, invoices::notes::html, invoices::notes::pdf, invoices::notes::read, invoices::pdf, invoices::read, invoices::void, prices::list, usage::read,
        price_list::list, price_list::one, quote::quote,
        users::create, users::set_member,
        messages::list, clock::read, clock::advance,
        plans::list, plans::publish, plans::archive,
        coupons::list, coupons::create, coupons::read, coupons::archive,
        coupons::redeemed::list_of, coupons::redeemed::redeem,
        subscription::read, subscription::subscribe, subscription::pay,
        subscription::orders::quote, subscription::orders::change, subscription::orders::cancel,
        subscription::orders::resume, subscription::orders::pause, subscription::orders::unpause,
        health::live, health::ready,
    ),
    tags(
        (name = "inference", description = "Calls of models, each priced, paid and explained"),
        (name = "models", description = "What can be called, and what it costs"),
        (name = "prices", description = "What models cost: public, and for an account"),
        (name = "key", description = "What a key's holder may know"),
        (name = "session", description = "Signing in and out"),
        (name = "accounts", description = "Who pays"),
        (name = "keys", description = "What calls are made with"),
        (name = "wallet", description = "Balance, credit and journal"),
        (name = "invoices", description = "What was charged, on paper"),
        (name = "calls", description = "Calls and their receipts"),
        (name = "usage", description = "Totals"),
        (name = "plans", description = "What can be subscribed to"),
        (name = "coupons", description = "What comes off fees, and who has redeemed it"),
        (name = "subscriptions", description = "Accounts on plans, and what they ask for"),
        (name = "users", description = "Logins and roles"),
        (name = "clock", description = "The date, which demonstrations and tests move ahead"),
        (name = "health", description = "Probes"),
    ),
    modifiers(&Schemes),
)]
struct Document;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let cookie = ApiKeyValue::with_description(COOKIE, "Set by POST /api/v1/session");
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key, `sk-tg-…`"))
            .build();
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        components.add_security_scheme("api_key", SecurityScheme::Http(bearer));
    }
}

/// The document.
pub(crate) fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// The document as it is served and committed.
fn text() -> String {
    let mut text = openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

static TEXT: LazyLock<(web::Bytes, String)> = LazyLock::new(|| {
    let text = text();
    let tag = wire::tag_of(text.as_bytes());
    (web::Bytes::from(text), tag)
});

/// Registers the document and the page.
pub(crate) fn configure(config: &mut ServiceConfig) {
    let page = SwaggerUi::new("/docs/{_:.*}").config(
        Config::from("/openapi.json")
            .try_it_out_enabled(true)
            .with_credentials(true),
    );
    config
        .route("/openapi.json", web::get().to(document))
        .route("/docs", web::get().to(to_page))
        .service(page);
}

async fn document(request: HttpRequest) -> HttpResponse {
    let (body, tag) = &*TEXT;
    if wire::has_tag(request.headers(), IF_NONE_MATCH, tag) {
        return HttpResponse::NotModified()
            .insert_header((ETAG, tag.as_str()))
            .finish();
    }
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((ETAG, tag.as_str()))
        .body(body.clone())
}

async fn to_page() -> HttpResponse {
    HttpResponse::Found()
        .insert_header(("location", "/docs/"))
        .finish()
}

#[cfg(test)]
mod tests;
