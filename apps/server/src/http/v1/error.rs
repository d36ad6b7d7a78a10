//! Refusals in OpenAI's shape.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use billing_core::budget::{Amount, BudgetScope, BudgetUnit};
use billing_core::id::CallId;
use billing_core::lease_book::{Refusal, RefusalCause};
use billing_core::money::Currency;
use billing_core::rate_limit::RateExceeded;
use gateway_core::dialect::Fault;
use gateway_core::request::RequestError;
use serde::Serialize;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::metrics::{METRICS, Number};

/// Why a `/v1` call is refused or failed before its answer began.
#[derive(Debug, Clone)]
pub(crate) enum V1Error {
    /// No `Authorization: Bearer` header, or one that holds no key.
    NoKey,
    /// No such key, or it was revoked or has expired.
    BadKey,
    /// An operator stopped the account.
    AccountStopped,
    /// The account's books failed a proof: the house's fault, and nothing moves until a person
    /// has looked.
    AccountParked,
    /// The body is not a request.
    BadRequest(RequestError),
    /// The body is larger than this.
    TooLarge(usize),
    /// The body did not arrive whole.
    BrokenBody,
    /// The key may not use the model.
    ModelNotAllowed(String),
    /// No catalogue lists the model.
    UnknownModel(String),
    /// The model is listed, but cannot be priced: an operator's error.
    Unpriced(String),
    /// The model is priced in another currency than the wallet is in.
    OtherCurrency {
        /// The model.
        model: String,
        /// Of its price.
        price: Currency,
        /// Of the wallet.
        wallet: Currency,
    },
    /// No channel serves the model.
    NoChannel(String),
    /// A budget has too little.
    Funds(Box<FundsError>),
    /// What was asked for is not here.
    NotFound(&'static str),
    /// The endpoint is there for this method alone.
    WrongMethod(&'static str),
    /// An idempotency key that is still in use, or was used.
    Idempotency {
        /// The call that has it, once it is on record.
        call: Option<CallId>,
    },
    /// A header or query parameter is not what it should be.
    BadParameter(&'static str, String),
    /// The upstream refused the request itself.
    Rejected {
        /// Its status.
        status: u16,
        /// What it said.
        fault: Fault,
    },
    /// No upstream gave an answer.
    UpstreamFailed,
    /// No upstream answered in time.
    UpstreamTimeout,
    /// The answer had begun when the upstream broke off.
    CutMidStream,
    /// The answer had begun when the funds came to their end.
    FundsMidStream,
    /// The books cannot be reached.
    StoreAway,
    /// The plan lets the account send no more now.
    Pace(RateExceeded),
    /// As many calls as may be are under way.
    Crowded,
    /// The channels of the model take no more calls at once, and none was over in time.
    NoPlace,
    /// The books cannot be reached, and the spool has no room for what the call will cost.
    SpoolFull,
    /// This process was told to stop.
    Stopping,
    /// The clock of this node is too far off to price and date a call by it.
    ClockOff,
}

/// Which budget has too little, in figures.
#[derive(Debug, Clone)]
pub(crate) struct FundsError {
    /// What the lease book said.
    pub(crate) refusal: Refusal,
    /// The currency of money budgets.
    pub(crate) currency: Currency,
    /// When the budget starts anew.
    pub(crate) resets_at: Option<OffsetDateTime>,
    /// How long it is until a quota of the plan begins anew and has enough; `None` where that does
    /// not help, or no quota is short.
    pub(crate) wait: Option<Duration>,
}

/// What SDKs wait at most before they try again by themselves.
const LONGEST_OWN_WAIT: Duration = Duration::minutes(1);

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    message: String,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Value>,
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";
const CROWDED: &str =
    "This server carries as many calls as it may. Nothing was charged; try again shortly.";
const CLOCK_OFF: &str = "The clock of this server is wrong, so it takes no calls. Try again, or tell \
                         the operator.";
const LATER: &str = "Nothing was charged; try again when `retry-after` says.";
const NO_PLACE: &str = "The upstreams of the model are taken by other calls, and none of these was \
                        over in time. Nothing was charged; try again shortly.";
const SPOOL_FULL: &str = "The books cannot be reached, and this server has no room left to keep what \
                          a call costs until they can. Try again shortly.";
const PARKED: &str = "The books of this account are being checked, so no call can be paid for. \
                      Whoever runs this Tollgate has been told.";

impl V1Error {
    /// Status, type and code.
    fn class(&self) -> (u16, &str, Option<&str>) {
        match self {
            Self::NoKey | Self::BadKey => (401, INVALID, Some("invalid_api_key")),
            Self::AccountStopped => (403, "permission_error", Some("account_suspended")),
            // Not 403: the key is good, and a client that has another provider should go there. Its
            // own retries would be in vain, so it is told not to.
            Self::AccountParked => (503, SERVER, Some("account_parked")),
            Self::BadRequest(error) => (400, INVALID, Some(error.code())),
            Self::TooLarge(_) => (413, INVALID, Some("request_too_large")),
            Self::BrokenBody => (400, INVALID, Some("incomplete_body")),
            Self::ModelNotAllowed(_) => (403, "permission_error", Some("model_not_allowed")),
            Self::UnknownModel(_) => (404, INVALID, Some("model_not_found")),
            Self::Unpriced(_) => (503, SERVER, Some("model_unpriced")),
            Self::OtherCurrency { .. } => (403, "permission_error", Some("currency_mismatch")),
            Self::NoChannel(_) => (503, SERVER, Some("no_channel")),
            Self::Funds(funds) => match funds.refusal.cause {
                RefusalCause::Insufficient if funds.wait.is_some() => {
                    (429, "rate_limit_error", Some(funds.used_up()))
                }
                RefusalCause::Insufficient => {
                    (402, "insufficient_quota", Some("insufficient_quota"))
                }
                RefusalCause::Busy => (429, "rate_limit_error", Some("funds_in_use")),
                RefusalCause::Unavailable => (503, SERVER, Some("books_unavailable")),
            },
            Self::NotFound(_) => (404, INVALID, Some("not_found")),
            Self::WrongMethod(_) => (405, INVALID, Some("method_not_allowed")),
            Self::Idempotency { call: None } => (409, INVALID, Some("idempotency_key_in_use")),
            Self::Idempotency { call: Some(_) } => (409, INVALID, Some("idempotency_key_used")),
            Self::BadParameter(..) => (400, INVALID, Some("invalid_value")),
            Self::Rejected { status, fault } => (*status, &fault.kind, fault.code.as_deref()),
            Self::UpstreamFailed => (502, "upstream_error", Some("provider_unavailable")),
            Self::UpstreamTimeout => (504, "timeout", Some("upstream_timeout")),
            Self::CutMidStream => (502, "upstream_error", Some("upstream_broke_off")),
            Self::FundsMidStream => (402, "insufficient_quota", Some("insufficient_quota")),
            Self::StoreAway => (503, SERVER, Some("books_unavailable")),
            Self::Crowded => (503, SERVER, Some("overloaded")),
            Self::NoPlace => (429, "rate_limit_error", Some("no_place")),
            Self::Pace(_) => (429, "rate_limit_error", Some("rate_limit_exceeded")),
            Self::SpoolFull => (503, SERVER, Some("spool_full")),
            Self::Stopping => (503, SERVER, Some("stopping")),
            Self::ClockOff => (503, SERVER, Some("clock_off")),
        }
    }

    /// Where refusals of this cause are counted.
    pub(crate) fn counted(&self) -> &'static Number {
        let refusals = &METRICS.refusals;
        match self {
            Self::NoKey | Self::BadKey => &refusals.invalid_key,
            Self::AccountStopped => &refusals.account_suspended,
            Self::AccountParked => &refusals.account_parked,
            Self::BadRequest(_) | Self::TooLarge(_) | Self::BrokenBody | Self::BadParameter(..) => {
                &refusals.bad_request
            }
            Self::ModelNotAllowed(_) => &refusals.model_not_allowed,
            Self::UnknownModel(_) => &refusals.unknown_model,
            Self::Unpriced(_) | Self::OtherCurrency { .. } => &refusals.unpriced,
            Self::NoChannel(_) => &refusals.no_channel,
            Self::Funds(funds) => match funds.refusal.cause {
                RefusalCause::Insufficient => &refusals.insufficient_funds,
                RefusalCause::Busy => &refusals.funds_in_use,
                RefusalCause::Unavailable => &refusals.books_unavailable,
            },
            Self::FundsMidStream => &refusals.insufficient_funds,
            Self::NotFound(_) | Self::WrongMethod(_) => &refusals.not_found,
            Self::Idempotency { .. } => &refusals.idempotency_key,
            Self::Rejected { .. }
            | Self::UpstreamFailed
            | Self::UpstreamTimeout
            | Self::CutMidStream => &refusals.upstream,
            Self::StoreAway => &refusals.books_unavailable,
            Self::Crowded => &refusals.overloaded,
            Self::NoPlace => &refusals.no_place,
            Self::Pace(_) => &refusals.rate_limited,
            Self::SpoolFull => &refusals.spool_full,
            Self::ClockOff => &refusals.clock_off,
            Self::Stopping => &refusals.stopping,
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Self::BadRequest(error) => error.param(),
            Self::UnknownModel(_)
            | Self::Unpriced(_)
            | Self::OtherCurrency { .. }
            | Self::ModelNotAllowed(_) => Some("model"),
            Self::BadParameter(name, _) => Some(name),
            Self::NoKey
            | Self::BadKey
            | Self::AccountStopped
            | Self::AccountParked
            | Self::TooLarge(_)
            | Self::BrokenBody
            | Self::NoChannel(_)
            | Self::Funds(_)
            | Self::NotFound(_)
            | Self::WrongMethod(_)
            | Self::Idempotency { .. }
            | Self::Rejected { .. }
            | Self::UpstreamFailed
            | Self::UpstreamTimeout
            | Self::CutMidStream
            | Self::FundsMidStream
            | Self::StoreAway
            | Self::Crowded
            | Self::NoPlace
            | Self::Pace(_)
            | Self::SpoolFull
            | Self::Stopping
            | Self::ClockOff => None,
        }
    }

    fn metadata(&self) -> Option<Value> {
        if let Self::Funds(funds) = self {
            return Some(funds.metadata());
        }
        if let Self::Pace(exceeded) = self {
            return Some(json!({
                "limit_source": "plan_rate_limit",
                "limit": exceeded.unit.name(),
                "most": exceeded.limit,
            }));
        }
        if let Self::Idempotency { call: Some(call) } = self {
            return Some(json!({ "request_id": call }));
        }
        None
    }

    /// The status that the caller gets.
    pub(crate) fn status(&self) -> u16 {
        self.class().0
    }

    /// The error as the end of a stream that had begun.
    pub(crate) fn fault(&self) -> Fault {
        let (_, kind, code) = self.class();
        Fault {
            message: self.to_string(),
            kind: kind.to_owned(),
            code: code.map(str::to_owned),
        }
    }

    /// How long it is until the same may be let in, where that is known.
    fn wait(&self) -> Option<Duration> {
        if let Self::Pace(exceeded) = self {
            return exceeded.wait;
        }
        let Self::Funds(funds) = self else {
            return None;
        };
        funds.wait
    }

    /// Whether a client should try the same again by itself; `None` leaves it to the status.
    fn should_retry(&self) -> Option<bool> {
        if let Self::Funds(funds) = self {
            let soon = funds.wait.is_some_and(|wait| wait <= LONGEST_OWN_WAIT);
            return Some(soon || funds.refusal.cause != RefusalCause::Insufficient);
        }
        let never = matches!(
            self,
            Self::AccountParked | Self::Unpriced(_) | Self::NoChannel(_) | Self::Idempotency { .. }
        );
        never.then_some(false)
    }
}

impl FundsError {
    fn amount(&self, amount: Amount) -> String {
        match self.refusal.scope.unit() {
            BudgetUnit::Nanos => format!("{} {}", amount.money(), self.currency),
            BudgetUnit::Calls => format!("{amount} calls"),
            BudgetUnit::Tokens => format!("{amount} tokens"),
        }
    }

    /// The code of what is used up until it begins anew.
    const fn used_up(&self) -> &'static str {
        if matches!(self.refusal.scope, BudgetScope::CallLimit { .. }) {
            "plan_call_limit_reached"
        } else {
            "plan_quota_used_up"
        }
    }

    fn resets(&self) -> Option<String> {
        self.resets_at.and_then(|at| at.format(&Rfc3339).ok())
    }

    fn metadata(&self) -> Value {
        let amount = |amount: Amount| match self.refusal.scope.unit() {
            BudgetUnit::Nanos => amount.money().to_string(),
            BudgetUnit::Calls | BudgetUnit::Tokens => amount.to_string(),
        };
        json!({
            "limit_source": self.refusal.scope.to_string(),
            "needed": amount(self.refusal.needed),
            "left": amount(self.refusal.left),
            "currency": self.currency,
            "resets_at": self.resets(),
        })
    }

    fn budget(&self) -> &'static str {
        match self.refusal.scope {
            BudgetScope::Wallet => "the wallet",
            BudgetScope::KeyLimit { .. } => "the limit of this key",
            BudgetScope::MemberLimit { .. } => "your limit in this account",
            BudgetScope::Quota { .. } => "the quota of your plan",
            BudgetScope::CallLimit { .. } => "the call limit of your plan",
            // Nobody is stopped by what only counts.
            BudgetScope::Tier { .. }
            | BudgetScope::TierCharge { .. }
            | BudgetScope::TierOverrun { .. } => "your price tiers",
        }
    }
}

impl fmt::Display for FundsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (needed, left) = (
            self.amount(self.refusal.needed),
            self.amount(self.refusal.left),
        );
        let budget = self.budget();
        match self.refusal.cause {
            RefusalCause::Insufficient => {
                write!(
                    f,
                    "This call may cost up to {needed}, and {budget} has {left} left."
                )?;
                match self.resets() {
                    Some(at) => write!(f, " It starts anew at {at}."),
                    None if self.refusal.scope == BudgetScope::Wallet => {
                        f.write_str(" Add funds, or lower max_tokens.")
                    }
                    None => f.write_str(" Lower max_tokens, or have the limit raised."),
                }
            }
            RefusalCause::Busy => write!(
                f,
                "This call may cost up to {needed}; {budget} has {left}, but calls that are \
                 running hold it. Try again shortly."
            ),
            RefusalCause::Unavailable => f.write_str(
                "The books cannot be reached, so the call cannot be paid for. Try again.",
            ),
        }
    }
}

impl fmt::Display for V1Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("Send your API key as `Authorization: Bearer sk-…`."),
            Self::BadKey => f.write_str(
                "This API key is not valid: it does not exist, was revoked, or has expired.",
            ),
            Self::AccountStopped => {
                f.write_str("This account has been stopped. Ask whoever runs this Tollgate.")
            }
            Self::AccountParked => f.write_str(PARKED),
            Self::BadRequest(error) => error.fmt(f),
            Self::TooLarge(limit) => {
                write!(f, "The request body is larger than {limit} bytes.")
            }
            Self::BrokenBody => f.write_str("The request body did not arrive whole."),
            Self::ModelNotAllowed(model) => {
                write!(f, "This API key may not use the model `{model}`.")
            }
            Self::UnknownModel(model) => {
                write!(f, "The model `{model}` does not exist. GET /v1/models lists those that do.")
            }
            Self::Unpriced(model) => write!(
                f,
                "The model `{model}` has no complete price, so it is not sold. \
                 Ask whoever runs this Tollgate."
            ),
            Self::OtherCurrency { model, price, wallet } => write!(
                f,
                "The model `{model}` is priced in {price}, and this wallet is in {wallet}."
            ),
            Self::NoChannel(model) => {
                write!(f, "No upstream serves the model `{model}` here.")
            }
            Self::Funds(funds) => funds.fmt(f),
            Self::WrongMethod(method) => write!(f, "This endpoint takes {method} alone."),
            Self::NotFound(what) => write!(f, "There is no such {what}."),
            Self::Idempotency { call: None } => {
                f.write_str("A call with this Idempotency-Key is still running.")
            }
            Self::Idempotency { call: Some(call) } => write!(
                f,
                "This Idempotency-Key was used by the call {call}, which was charged once. \
                 GET /v1/generation?id={call} has its receipt."
            ),
            Self::BadParameter(name, why) => write!(f, "{name}: {why}"),
            Self::Rejected { fault, .. } => f.write_str(&fault.message),
            Self::UpstreamFailed => f.write_str(
                "No upstream could answer. Nothing was charged; try again shortly.",
            ),
            Self::UpstreamTimeout => {
                f.write_str("No upstream answered in time. Nothing was charged.")
            }
            Self::CutMidStream => f.write_str(
                "The upstream broke off. What had been delivered is charged; the receipt says what.",
            ),
            Self::FundsMidStream => f.write_str(
                "The answer outgrew the funds that could be held for it and was ended here. What \
                 had been delivered is charged.",
            ),
            Self::StoreAway => f.write_str("The books cannot be reached. Try again shortly."),
            Self::Crowded => f.write_str(CROWDED),
            Self::NoPlace => f.write_str(NO_PLACE),
            Self::Pace(exceeded) => write!(f, "Your plan takes {exceeded}. {LATER}"),
            Self::SpoolFull => f.write_str(SPOOL_FULL),
            Self::Stopping => f.write_str("This server is stopping. Try again."),
            Self::ClockOff => f.write_str(CLOCK_OFF),
        }
    }
}

impl ResponseError for V1Error {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let (_, kind, code) = self.class();
        let message = self.to_string();
        let (param, metadata) = (self.param(), self.metadata());
        let body = Body {
            error: Inner {
                message,
                kind,
                param,
                code,
                metadata,
            },
        };
        let mut response = HttpResponse::build(self.status_code()).json(body);
        let headers = response.headers_mut();
        if let Self::WrongMethod(method) = self {
            headers.insert(ALLOW, HeaderValue::from_static(method));
        }
        if let Some(retry) = self.should_retry() {
            let value = HeaderValue::from_static(if retry { "true" } else { "false" });
            headers.insert(HeaderName::from_static("x-should-retry"), value);
        }
        // How long it is until a quota begins anew is said however long that is.
        if let Some(wait) = self.wait() {
            let seconds = wait.whole_seconds().max(0).saturating_add(1);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            return response;
        }
        // Two headers that contradict each other would be worse than none.
        if matches!(self.status(), 429 | 503) && self.should_retry() != Some(false) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
