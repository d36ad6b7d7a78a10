//! To whom an account's invoices are written.

use actix_web::web;
use billing_core::id::AccountId;
use billing_core::invoice::{BillingDetails, Country, Locale, Party, TaxId};
use billing_core::port::directory::{Directory, Role};
use billing_core::port::invoices::Invoices;
use serde::Serialize;
use utoipa::ToSchema;

use super::shown::PartyDto;
use crate::http::api::access::{self, SignedIn};
use crate::http::api::error::{ApiError, Problem};
use crate::http::api::extract::Body;
use crate::http::api::fields::{Fields, FromFields, Noted};

/// To whom an account's invoices are written, and in which language.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BillingDetailsDto {
    #[serde(flatten)]
    party: PartyDto,
    /// `en` or `zh-CN`.
    #[schema(example = "zh-CN")]
    language: &'static str,
}

impl BillingDetailsDto {
    fn of(details: &BillingDetails) -> Self {
        Self {
            party: PartyDto::of(&details.party),
            language: details.locale.name(),
        }
    }
}

/// To whom invoices are to be written from now on.
#[derive(ToSchema)]
#[schema(as = NewBillingDetails)]
#[expect(dead_code, reason = "describes the body that Said reads")]
pub(crate) struct NewBillingDetails {
    /// Name of a company or person.
    #[schema(max_length = 200, example = "上海示例科技有限公司")]
    name: String,
    /// Lines of the address, at most 8.
    #[schema(required = false)]
    address: Vec<String>,
    /// Two letters of ISO 3166-1: it decides on taxes.
    #[schema(example = "CN")]
    country: String,
    /// State or province, where taxes differ by it.
    region: Option<String>,
    /// What the tax number is called, such as `VAT`.
    tax_id_kind: Option<String>,
    /// The tax number.
    tax_id: Option<String>,
    /// Where they can be reached.
    email: Option<String>,
    /// `en` or `zh-CN`; English unless given.
    language: Option<String>,
}

/// What is said in a body.
#[derive(Debug)]
pub(crate) struct Said(BillingDetails);

impl FromFields for Said {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let name = fields.text("name", 1, 200);
        let name = fields.required("name", name);
        let address = fields.texts("address", 8);
        let country = fields.word(
            "country",
            |text| text.parse::<Country>().ok(),
            "the two capital letters of ISO 3166-1, such as CN or DE",
        );
        let country = fields.required("country", country);
        let region = fields.text("region", 1, 200);
        let kind = fields.text("tax_id_kind", 1, 200);
        let number = fields.text("tax_id", 1, 200);
        let email = fields.text("email", 1, 200);
        let locale = fields.word("language", |text| text.parse::<Locale>().ok(), "en, zh-CN");
        let tax_id = number?.map(|value| (kind, value));
        let tax_id = match tax_id {
            Some((kind, value)) => Some(TaxId {
                kind: kind?.unwrap_or_else(|| "VAT".to_owned()),
                value,
            }),
            None => None,
        };
        Ok(Self(BillingDetails {
            party: Party {
                name: name?,
                address: address?.unwrap_or_default(),
                country: country?,
                region: region?,
                tax_id,
                email: email?,
            },
            locale: locale?.unwrap_or(Locale::En),
        }))
    }
}

/// Read to whom invoices are written
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/billing-details",
    operation_id = "read_billing_details", tag = "invoices",
    params(("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00")),
    responses(
        (status = 200, description = "The details", body = BillingDetailsDto),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, not the user's, or nothing was said",
            body = Problem, content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn read(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    directory: web::Data<dyn Directory>,
    invoices: web::Data<dyn Invoices>,
) -> Result<web::Json<BillingDetailsDto>, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Member).await?;
    let details = invoices.billing_details(account.id).await?;
    let details = details.ok_or(ApiError::NotFound("billing details"))?;
    Ok(web::Json(BillingDetailsDto::of(&details)))
}

/// Say to whom invoices are written
///
/// It stands on invoices that are issued from now on; earlier ones stay as they are.
#[utoipa::path(
    put, path = "/api/v1/accounts/{account}/billing-details",
    operation_id = "set_billing_details", tag = "invoices",
    params(("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00")),
    request_body = NewBillingDetails,
    responses(
        (status = 200, description = "The details", body = BillingDetailsDto),
        (status = 400, description = "The body is not JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "The user's role does not allow it", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn set(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    body: Body<Said>,
    directory: web::Data<dyn Directory>,
    invoices: web::Data<dyn Invoices>,
) -> Result<web::Json<BillingDetailsDto>, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Admin).await?;
    let Said(details) = body.0;
    invoices.set_billing_details(account.id, &details).await?;
    Ok(web::Json(BillingDetailsDto::of(&details)))
}
