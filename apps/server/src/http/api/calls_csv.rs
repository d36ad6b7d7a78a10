//! Calls as comma-separated values, however many.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use billing_core::id::{AccountId, CallId};
use billing_core::money::Currency;
use billing_core::port::directory::{Directory, Role};
use billing_core::port::reports::{CallDetail, CallFilter, ReportError, Reports};
use futures_util::stream::{self, Stream};
use time::OffsetDateTime;

use super::access::{self, SignedIn};
use super::calls::period;
use super::csv::{self, Cell};
use super::error::{ApiError, Problem};
use super::extract::Query;
use super::fields::{Fields, FromFields, Noted};
use super::wire::instant;
use crate::http::receipt::net;

/// How many calls are read at a time, and are in memory.
const PAGE: u32 = 500;
/// The name of each column.
const HEAD: [&str; 16] = [
    "id",
    "started_at",
    "key",
    "model",
    "endpoint",
    "outcome",
    "status",
    "prompt_tokens",
    "answer_tokens",
    "service_tier",
    "price_version",
    "charge",
    "net_charge",
    "covered_by_plan",
    "balance_after",
    "currency",
];

/// The calls that fit a filter.
#[derive(Debug)]
pub(crate) struct CallsWanted(CallFilter);

impl FromFields for CallsWanted {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let key = fields.id("key");
        let model = fields.text("model", 1, 200);
        let (from, to): (Option<OffsetDateTime>, _) = period(fields)?;
        Ok(Self(CallFilter {
            key: key?,
            model: model?,
            from,
            to,
        }))
    }
}

/// What is left to be written.
struct Rest {
    reports: Arc<dyn Reports>,
    account: AccountId,
    currency: Currency,
    filter: CallFilter,
    before: Option<CallId>,
    is_over: bool,
}

/// Download the calls of an account
///
/// As comma-separated values, newest first, with everything that fits the filter. A file that ends
/// without an error is whole.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/calls.csv", operation_id = "download_calls",
    tag = "calls",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        super::calls::CallParams,
    ),
    responses(
        (status = 200, description = "A line a call, after one of names", body = String,
            content_type = "text/csv"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn download(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    query: Query<CallsWanted>,
    directory: web::Data<dyn Directory>,
    reports: web::Data<dyn Reports>,
) -> Result<HttpResponse, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Member).await?;
    let rest = Rest {
        reports: reports.into_inner(),
        account: account.id,
        currency: account.currency,
        filter: query.0.0,
        before: None,
        is_over: false,
    };
    Ok(csv::response("calls.csv").streaming(lines(rest)))
}

/// The lines, a page at a time. Where one cannot be read, the response breaks off, so that nobody takes
/// a part for the whole.
fn lines(rest: Rest) -> impl Stream<Item = Result<web::Bytes, ReportError>> {
    let head = web::Bytes::from(csv::line(HEAD.map(Cell::Text)));
    stream::try_unfold((rest, Some(head)), |(mut rest, head)| async move {
        if let Some(head) = head {
            return Ok(Some((head, (rest, None))));
        }
        let page = rest.page().await?;
        Ok(page.map(|page| (page, (rest, None))))
    })
}

impl Rest {
    async fn page(&mut self) -> Result<Option<web::Bytes>, ReportError> {
        if self.is_over {
            return Ok(None);
        }
        let (filter, before) = (self.filter.clone(), self.before);
        let reports = &self.reports;
        let calls = reports.calls(self.account, filter, before, PAGE).await?;
        self.is_over = u32::try_from(calls.len()).is_ok_and(|read| read < PAGE);
        let Some(last) = calls.last() else {
            return Ok(None);
        };
        self.before = Some(last.id);
        let ids: Vec<CallId> = calls.iter().map(|call| call.id).collect();
        let corrected = reports.call_adjustments(self.account, &ids).await?;
        let mut text = String::new();
        for call in &calls {
            let corrections = corrected.get(&call.id).map_or(&[][..], Vec::as_slice);
            let charged = net(call.charge, corrections);
            text.push_str(&self.line(call, Cell::Money(charged)));
        }
        Ok(Some(web::Bytes::from(text)))
    }

    fn line(&self, call: &CallDetail, net_charge: Cell<'_>) -> String {
        let [id, key, version] = [
            call.id.to_string(),
            call.key.to_string(),
            call.price_version.to_string(),
        ];
        let at = instant(call.started_at);
        csv::line([
            Cell::Text(&id),
            Cell::Text(&at),
            Cell::Text(&key),
            Cell::Text(&call.model),
            Cell::Text(&call.endpoint),
            Cell::Text(&call.outcome),
            Cell::Count(call.status.into()),
            Cell::Count(call.usage.prompt_tokens()),
            Cell::Count(call.usage.answer_tokens()),
            Cell::Text(call.tier.name()),
            Cell::Text(&version),
            Cell::Money(call.charge),
            net_charge,
            call.covered.map_or(Cell::Empty, Cell::Money),
            Cell::Money(call.balance_after),
            Cell::Text(self.currency.code()),
        ])
    }
}
