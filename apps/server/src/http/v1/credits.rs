//! What the account of a key ever got and spent, in OpenRouter's shape.

use actix_web::{HttpRequest, HttpResponse, web};
use billing_core::money::Currency;
use billing_core::port::clock::Clock;
use billing_core::port::reports::Reports;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::error::V1Error;
use super::generation::{away, number};
use crate::gate::Callers;
use crate::http::caller::identify;

/// The credit of an account.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreditsReply {
    data: Credits,
}

/// What an account ever got and spent. Amounts are JSON numbers with their exact digits.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "OpenRouter's names")]
pub(crate) struct Credits {
    /// All credit that was ever added.
    #[schema(value_type = f64, example = 50.00)]
    total_credits: Option<Box<RawValue>>,
    /// All that was ever charged.
    #[schema(value_type = f64, example = 0.00321)]
    total_usage: Option<Box<RawValue>>,
    /// What is left; below zero while the account owes.
    #[schema(value_type = f64, example = 49.99679)]
    balance: Option<Box<RawValue>>,
    /// How far the balance may go below zero.
    #[schema(value_type = f64, example = 0.00)]
    credit_limit: Option<Box<RawValue>>,
    /// The currency of the amounts.
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
}

/// Read the credit of the account that one calls for
#[utoipa::path(
    get, path = "/v1/credits", operation_id = "read_credits", tag = "key",
    responses(
        (status = 200, description = "The credit", body = CreditsReply),
        (status = 401, description = "The key is missing or not valid"),
        (status = 403, description = "The account is suspended"),
        (status = 503, description = "The books cannot be reached"),
    ),
    security(("api_key" = [])),
)]
pub(crate) async fn credits(
    request: HttpRequest,
    callers: web::Data<Callers>,
    reports: web::Data<dyn Reports>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, V1Error> {
    let caller = identify(&request, &callers, &**clock).await?;
    let totals = reports
        .credits(caller.key.account)
        .await
        .map_err(|e| away(&e))?;
    let data = Credits {
        total_credits: number(totals.credited),
        total_usage: number(totals.charged),
        balance: number(totals.balance),
        credit_limit: number(totals.credit_limit.money()),
        currency: caller.currency,
    };
    Ok(HttpResponse::Ok().json(CreditsReply { data }))
}
