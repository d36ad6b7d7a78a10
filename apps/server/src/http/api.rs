//! The control API under `/api/v1`, for the console, integrators and scripts.
//!
//! Nothing here is open by default: [`gate::guard`] lets a request in only with a session, but for
//! what it lists as open: the opening of one, and the prices. What a handler needs it takes by extractor: who is signed in
//! ([`access::SignedIn`], [`access::Operator`]), the body and the query ([`extract`]). Refusals are
//! problem+json ([`error`]).

pub(crate) mod access;
pub(crate) mod accounts;
pub(crate) mod asking;
pub(crate) mod calls;
pub(crate) mod calls_csv;
pub(crate) mod clock;
pub(crate) mod coupons;
mod csv;
pub(crate) mod error;
pub(crate) mod extract;
pub(crate) mod fields;
pub(crate) mod gate;
pub(crate) mod invoices;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod messages;
mod once_each;
pub(crate) mod plans;
pub(crate) mod price_list;
pub(crate) mod prices;
pub(crate) mod quote;
mod refusals;
pub(crate) mod session;
pub(crate) mod sign_in;
pub(crate) mod statements;
pub(crate) mod subscription;
pub(crate) mod usage;
pub(crate) mod users;
pub(crate) mod wallet;
pub(crate) mod wire;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::web::{self, PathConfig, PayloadConfig, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Resource, Route};

use error::ApiError;
use sign_in::SignIns;

use super::request_id;

/// One for all worker threads: [`configure`] runs in each.
static SIGN_INS: LazyLock<web::Data<SignIns>> = LazyLock::new(web::Data::default);

/// Registers everything under `/api`.
pub(crate) fn configure(config: &mut ServiceConfig) {
    let api = web::scope("/api/v1")
        .app_data(SIGN_INS.clone())
        .app_data(PayloadConfig::new(extract::BODY_LIMIT))
        .app_data(PathConfig::default().error_handler(|_, _| ApiError::NotFound("resource").into()))
        .service(resource(
            "/session",
            [
                (Method::GET, web::get().to(session::read)),
                (Method::POST, web::post().to(session::open)),
                (Method::DELETE, web::delete().to(session::close)),
            ],
        ))
        .service(resource(
            "/users",
            [(Method::POST, web::post().to(users::create))],
        ))
        .service(resource(
            "/clock",
            [
                (Method::GET, web::get().to(clock::read)),
                (Method::POST, web::post().to(clock::advance)),
            ],
        ))
        .service(resource(
            "/prices",
            [(Method::GET, web::get().to(price_list::list))],
        ))
        .service(resource(
            "/prices/quote",
            [
                // A model may be called that, too.
                (Method::GET, web::get().to(price_list::one_called_quote)),
                (Method::POST, web::post().to(quote::quote)),
            ],
        ))
        .service(resource(
            "/prices/{model:.+}",
            [(Method::GET, web::get().to(price_list::one))],
        ))
        .service(resource(
            "/models/{model:.+}/prices",
            [(Method::GET, web::get().to(prices::list))],
        ))
        .service(resource(
            "/plans",
            [
                (Method::GET, web::get().to(plans::list)),
                (Method::POST, web::post().to(plans::publish)),
            ],
        ))
        .service(resource(
            "/plans/{plan}",
            [(Method::DELETE, web::delete().to(plans::archive))],
        ))
        .configure(coupons_of)
        .configure(subscription_of)
        .configure(accounts_of)
        .default_service(web::to(no_such_path))
        .wrap(from_fn(gate::guard));
    let rest = web::scope("/api").default_service(web::to(nowhere));
    config.service(api).service(rest);
}

fn accounts_of(config: &mut ServiceConfig) {
    let one = |tail: &str| format!("/accounts/{{account}}{tail}");
    let read = |path: String, route: Route| resource(&path, [(Method::GET, route)]);
    config
        .service(resource(
            "/accounts",
            [
                (Method::GET, web::get().to(accounts::list)),
                (Method::POST, web::post().to(accounts::create)),
            ],
        ))
        .service(resource(
            &one(""),
            [
                (Method::GET, web::get().to(accounts::read)),
                (Method::PATCH, web::patch().to(accounts::change)),
            ],
        ))
        .service(resource(
            &one("/keys"),
            [
                (Method::GET, web::get().to(keys::list)),
                (Method::POST, web::post().to(keys::create)),
            ],
        ))
        .service(resource(
            &one("/keys/{key}"),
            [(Method::DELETE, web::delete().to(keys::revoke))],
        ))
        .service(resource(
            &one("/members/{user}"),
            [(Method::PUT, web::put().to(users::set_member))],
        ))
        .service(resource(
            &one("/top-ups"),
            [(Method::POST, web::post().to(wallet::top_up))],
        ))
        .service(read(one("/wallet"), web::get().to(wallet::read)))
        .service(read(one("/calls"), web::get().to(calls::list)))
        .service(read(one("/calls.csv"), web::get().to(calls_csv::download)))
        .service(read(one("/calls/{call}"), web::get().to(calls::read)))
        .service(read(one("/usage"), web::get().to(usage::read)))
        .service(read(one("/ledger"), web::get().to(ledger::list)))
        .configure(invoices_of)
        .configure(statements_of);
}

fn invoices_of(config: &mut ServiceConfig) {
    let one = |tail: &str| format!("/accounts/{{account}}{tail}");
    let read = |path: String, route: Route| resource(&path, [(Method::GET, route)]);
    let act = |path: String, route: Route| resource(&path, [(Method::POST, route)]);
    config
        .service(resource(
            &one("/billing-details"),
            [
                (Method::GET, web::get().to(invoices::details::read)),
                (Method::PUT, web::put().to(invoices::details::set)),
            ],
        ))
        .service(read(one("/invoices"), web::get().to(invoices::list)))
        .service(read(one("/messages"), web::get().to(messages::list)))
        .service(read(
            one("/invoices/{invoice}"),
            web::get().to(invoices::read),
        ))
        .service(read(
            one("/invoices/{invoice}/invoice.pdf"),
            web::get().to(invoices::pdf),
        ))
        .service(read(
            one("/invoices/{invoice}/invoice.html"),
            web::get().to(invoices::html),
        ))
        .service(act(
            one("/invoices/{invoice}/void"),
            web::post().to(invoices::void),
        ))
        .service(act(
            one("/invoices/{invoice}/credit-notes"),
            web::post().to(invoices::credit),
        ))
        .service(read(
            one("/invoices/{invoice}/credit-notes/{note}"),
            web::get().to(invoices::notes::read),
        ))
        .service(read(
            one("/invoices/{invoice}/credit-notes/{note}/credit-note.pdf"),
            web::get().to(invoices::notes::pdf),
        ))
        .service(read(
            one("/invoices/{invoice}/credit-notes/{note}/credit-note.html"),
            web::get().to(invoices::notes::html),
        ));
}

fn statements_of(config: &mut ServiceConfig) {
    let one = |tail: &str| format!("/accounts/{{account}}/statements{tail}");
    let read = |path: String, route: Route| resource(&path, [(Method::GET, route)]);
    config
        .service(read(one(""), web::get().to(statements::list)))
        .service(read(one("/{month}"), web::get().to(statements::read)))
        .service(read(
            one("/{month}/statement.pdf"),
            web::get().to(statements::pdf),
        ))
        .service(read(
            one("/{month}/statement.html"),
            web::get().to(statements::html),
        ))
        .service(read(
            one("/{month}/statement.csv"),
            web::get().to(statements::download),
        ));
}

fn coupons_of(config: &mut ServiceConfig) {
    config
        .service(resource(
            "/coupons",
            [
                (Method::GET, web::get().to(coupons::list)),
                (Method::POST, web::post().to(coupons::create)),
            ],
        ))
        .service(resource(
            "/coupons/{coupon}",
            [
                (Method::GET, web::get().to(coupons::read)),
                (Method::DELETE, web::delete().to(coupons::archive)),
            ],
        ))
        .service(resource(
            "/accounts/{account}/coupons",
            [
                (Method::GET, web::get().to(coupons::redeemed::list_of)),
                (Method::POST, web::post().to(coupons::redeemed::redeem)),
            ],
        ));
}

fn subscription_of(config: &mut ServiceConfig) {
    use subscription::orders::{cancel, change, pause, quote, resume, unpause};
    let of = |tail: &str| format!("/accounts/{{account}}/subscription{tail}");
    let send = |path: String, route: Route| resource(&path, [(Method::POST, route)]);
    config
        .service(resource(
            &of(""),
            [
                (Method::GET, web::get().to(subscription::read)),
                (Method::POST, web::post().to(subscription::subscribe)),
            ],
        ))
        .service(send(of("/quote"), web::post().to(quote)))
        .service(send(of("/change"), web::post().to(change)))
        .service(send(of("/cancel"), web::post().to(cancel)))
        .service(send(of("/resume"), web::post().to(resume)))
        .service(send(of("/pause"), web::post().to(pause)))
        .service(send(of("/unpause"), web::post().to(unpause)))
        .service(send(of("/pay"), web::post().to(subscription::pay)));
}

/// An address with its methods; any other method is refused, and told which there are.
fn resource<const N: usize>(path: &str, routes: [(Method, Route); N]) -> Resource {
    let allowed: Vec<Method> = routes.iter().map(|(method, _)| method.clone()).collect();
    let resource = routes
        .into_iter()
        .fold(web::resource(path), |resource, (_, route)| {
            resource.route(route)
        });
    resource.default_service(web::to(move || {
        let refusal = ApiError::WrongMethod(allowed.clone());
        async move { Err::<String, _>(refusal) }
    }))
}

/// What is asked for stands nowhere.
async fn no_such_path() -> Result<String, ApiError> {
    Err(ApiError::NoSuchPath)
}

/// The same outside this API, where no guard names the request.
pub(crate) async fn nowhere(request: HttpRequest) -> HttpResponse {
    let id = request_id::new(&request);
    let mut response = ApiError::NoSuchPath.render(id, Some(request.path()));
    if let Some(id) = id {
        request_id::put(response.headers_mut(), id);
    }
    response
}
