//! Reads what is to be quoted, and says what is wrong with it.

use std::collections::BTreeMap;

use billing_core::meter::{Meter, Usage};
use billing_core::price::{Attribute, Attributes, RatingError, ServiceTier};
use billing_core::price_book::Unpriced;
use bytes::Bytes;
use gateway_core::endpoint::Endpoint;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::http::api::error::ApiError;
use crate::http::api::fields::{Fields, FromFields, Noted};
use crate::price_list::{QuoteError, RequestAsked, UsageAsked};

/// What is to be quoted: `usage` or `request`.
#[derive(ToSchema)]
#[schema(example = json!({"model": "sim/echo", "usage": {"input": 1000, "output": 200}}))]
#[expect(dead_code, reason = "describes the body that NewQuote reads")]
pub(crate) struct NewQuoteBody {
    /// The model.
    #[schema(example = "sim/echo", max_length = 256)]
    model: String,
    /// How much of each meter: whole numbers, time in milliseconds.
    #[schema(example = json!({"input": 1000, "cache_read": 500, "output": 200}))]
    usage: Option<BTreeMap<String, u64>>,
    /// The body of a request, with or without its `model`: one with `messages` as for
    /// `/v1/chat/completions`, one with `input` as for `/v1/embeddings`.
    #[schema(value_type = Option<Object>)]
    request: Option<Value>,
    /// In which service tier the usage would be given; a request says so itself.
    #[schema(example = "flex")]
    service_tier: Option<String>,
    /// What else would be known of the call, or of the likely case of a request: `region`, `speed`,
    /// `resolution`, `image_size`, `image_quality`.
    #[schema(example = json!({"region": "eu"}))]
    attributes: Option<BTreeMap<String, String>>,
    /// When the call would be made; now where it is left out.
    #[schema(format = DateTime)]
    at: Option<String>,
}

/// What is to be quoted.
#[derive(Debug)]
pub(crate) enum NewQuote {
    /// A usage.
    Usage(Box<UsageAsked>),
    /// A request.
    Request(RequestAsked),
}

impl FromFields for NewQuote {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let model = fields.text("model", 1, 256);
        let model = fields.required("model", model);
        let at = fields.instant("at");
        let usage = fields.object("usage", usage);
        let request = fields.as_it_is("request");
        let attributes = fields.object("attributes", attributes);
        match (usage, request) {
            (Ok(Some(_)), Ok(Some(_))) => {
                fields.wrong("request", "one_of", "give usage or request, not both.")
            }
            (Ok(None), Ok(None)) => fields.wrong("usage", "required", "give usage or request."),
            (Ok(None), Ok(Some(request))) => {
                let (endpoint, body) = body_of(fields, request, model?)?;
                Ok(Self::Request(RequestAsked {
                    endpoint,
                    body,
                    attributes: attributes?.unwrap_or_default(),
                    at: at?,
                }))
            }
            (usage, _) => {
                let tier = fields.word("service_tier", tier, &tiers());
                let usage = fields.required("usage", usage);
                Ok(Self::Usage(Box::new(UsageAsked {
                    model: model?,
                    usage: usage?,
                    tier: tier?.unwrap_or_default(),
                    attributes: attributes?.unwrap_or_default(),
                    at: at?,
                })))
            }
        }
    }
}

fn tier(word: &str) -> Option<ServiceTier> {
    let mut tiers = ServiceTier::ALL.iter();
    tiers.find(|tier| tier.name() == word).copied()
}

fn tiers() -> String {
    let names = ServiceTier::ALL.iter().map(|tier| tier.name());
    names.collect::<Vec<_>>().join(", ")
}

fn usage(fields: &mut Fields) -> Result<Usage, Noted> {
    let mut usage = Ok(Usage::NONE);
    for name in fields.names() {
        let quantity = fields.whole(&name);
        let meter = match name.parse::<Meter>() {
            Ok(meter) => Ok(meter),
            Err(error) => fields.wrong(&name, "unknown_meter", &format!("{error}.")),
        };
        usage = match (usage, meter, quantity) {
            (Ok(usage), Ok(meter), Ok(quantity)) => Ok(usage.with(meter, quantity.unwrap_or(0))),
            _ => Err(Noted),
        };
    }
    usage
}

fn attributes(fields: &mut Fields) -> Result<Attributes, Noted> {
    let mut attributes = Ok(Attributes::NONE);
    for name in fields.names() {
        let value = fields.text(&name, 1, 100);
        let attribute = match name.parse::<Attribute>() {
            Ok(attribute) => Ok(attribute),
            Err(error) => fields.wrong(&name, "unknown_attribute", &format!("{error}.")),
        };
        attributes = match (attributes, attribute, value) {
            (Ok(all), Ok(attribute), Ok(Some(value))) => Ok(all.with(attribute, &value)),
            (Ok(all), Ok(_), Ok(None)) => Ok(all),
            _ => Err(Noted),
        };
    }
    attributes
}

/// The body as it would be sent, and where to.
fn body_of(
    fields: &mut Fields,
    mut request: Map<String, Value>,
    model: String,
) -> Result<(Endpoint, Bytes), Noted> {
    let stated = request.get("model");
    if stated.is_some_and(|stated| stated.as_str() != Some(&model)) {
        let detail = "model in the request must be the same as model, or be left out.";
        return fields.wrong_at("request/model", "another_model", detail);
    }
    request.insert("model".to_owned(), Value::String(model));
    let endpoint = if request.contains_key("input") && !request.contains_key("messages") {
        Endpoint::Embeddings
    } else {
        Endpoint::ChatCompletions
    };
    let body = serde_json::to_vec(&Value::Object(request)).unwrap_or_default();
    Ok((endpoint, Bytes::from(body)))
}

/// Why nothing is quoted, at the field that is the cause; `basis` is the one of the quantities.
pub(super) fn refusal(error: QuoteError, basis: &str) -> ApiError {
    let of_model =
        |code, error: &dyn std::fmt::Display| ApiError::field("/model", code, format!("{error}."));
    match error {
        QuoteError::Unpriced(error @ Unpriced::Unknown(_)) => of_model("unknown_model", &error),
        QuoteError::Unpriced(error @ Unpriced::NoPrice(_)) => of_model("no_price", &error),
        QuoteError::Rating(RatingError::NoRate { meter }) if basis == "/usage" => {
            let detail = format!("The model has no price for {meter}.");
            ApiError::field(&format!("{basis}/{meter}"), "no_price", detail)
        }
        QuoteError::Rating(error @ (RatingError::Quantity(_) | RatingError::Money(_))) => {
            ApiError::field(basis, "out_of_range", format!("{error}."))
        }
        QuoteError::Rating(
            error @ (RatingError::NoRate { .. }
            | RatingError::OtherCurrency(..)
            | RatingError::Price(_)),
        ) => of_model("no_price", &error),
        QuoteError::Request(error) => {
            let at = error.param().map(|param| format!("{basis}/{param}"));
            let at = at.unwrap_or_else(|| basis.to_owned());
            ApiError::field(&at, error.code(), error.to_string())
        }
        QuoteError::Report(error) => error.into(),
        QuoteError::Uncounted => {
            tracing::error!("the prompt of a quote could not be counted");
            ApiError::Internal
        }
    }
}
