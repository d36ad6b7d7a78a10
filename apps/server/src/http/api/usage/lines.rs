//! Lines of totals, as JSON and as CSV.

use actix_web::HttpResponse;
use billing_core::money::{Currency, Nanos};
use billing_core::port::reports::{About, PlanName, UsageLine};
use billing_core::quota::QuotaWindow;
use serde::Serialize;
use utoipa::ToSchema;

use super::GroupBy;
use crate::http::api::csv::{self, Cell};
use crate::http::api::wire::MoneyDto;
use crate::http::quotas;

/// Totals of one group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageLineDto {
    /// The model, key, day, member (`usr_…`), version of a plan (`plv_…`) or quota (`quo_…`); `none`
    /// for what is of no member, plan or quota; empty for the total.
    #[schema(example = "sim/echo")]
    group: String,
    /// Calls that were settled, void ones included.
    calls: u64,
    /// Calls of which nothing was delivered.
    void_calls: u64,
    /// Prompt tokens, cached ones included.
    prompt_tokens: u64,
    /// Prompt tokens read from a cache.
    cache_read_tokens: u64,
    /// Answer tokens, reasoning included.
    answer_tokens: u64,
    /// What was charged to the wallet.
    charge: MoneyDto,
    /// By member: the address that the member signs in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "ada@example.com")]
    email: Option<String>,
    /// By plan and by quota: the plan's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "pro")]
    plan: Option<String>,
    /// By plan and by quota: the number of the plan's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    /// By plan and by quota: what the plan paid of these calls, beside what was charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    covered: Option<MoneyDto>,
    /// By quota: what was drawn of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<QuotaDrawnDto>,
}

/// What was drawn of a quota.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuotaDrawnDto {
    /// Of which models.
    #[schema(example = "gpt-4o*")]
    models: String,
    /// What it counts: `calls`, `tokens` or `money`.
    #[schema(example = "tokens")]
    unit: &'static str,
    /// When it begins anew, as in the plan.
    #[schema(value_type = Object, example = "daily")]
    window: QuotaWindow,
    /// How much was drawn; money in the account's currency.
    #[schema(example = "1200")]
    drawn: String,
}

impl UsageLineDto {
    pub(super) fn of(line: UsageLine, currency: Currency) -> Self {
        let mut made = Self {
            group: line.group,
            calls: line.calls,
            void_calls: line.void_calls,
            prompt_tokens: line.prompt_tokens,
            cache_read_tokens: line.cache_read_tokens,
            answer_tokens: line.answer_tokens,
            charge: MoneyDto::of(line.charge, currency),
            email: None,
            plan: None,
            version: None,
            covered: None,
            quota: None,
        };
        let (plan, covered) = match line.about {
            None => return made,
            Some(About::Member(email)) => {
                made.email = Some(email);
                return made;
            }
            Some(About::Plan { plan, covered }) => (plan, covered),
            Some(About::Quota {
                plan,
                models,
                unit,
                window,
                drawn,
                covered,
            }) => {
                made.quota = Some(QuotaDrawnDto {
                    models: models.to_string(),
                    unit: quotas::unit(unit),
                    window,
                    drawn: quotas::amount(unit, drawn),
                });
                (plan, covered)
            }
        };
        (made.plan, made.version) = (Some(plan.code), Some(plan.version));
        made.covered = Some(MoneyDto::of(covered, currency));
        made
    }
}

/// The columns that every line has.
const HEAD: [&str; 8] = [
    "group",
    "calls",
    "void_calls",
    "prompt_tokens",
    "cache_read_tokens",
    "answer_tokens",
    "charge",
    "currency",
];

/// The columns after them, by what is grouped by.
const fn more(group: GroupBy) -> &'static [&'static str] {
    match group {
        GroupBy::Total | GroupBy::Model | GroupBy::Key | GroupBy::Day => &[],
        GroupBy::Member => &["email"],
        GroupBy::Plan => &["plan", "version", "covered"],
        GroupBy::Quota => &[
            "plan", "version", "covered", "models", "unit", "window", "drawn",
        ],
    }
}

/// All lines as a file.
pub(super) fn as_csv(lines: &[UsageLine], group: GroupBy, currency: Currency) -> HttpResponse {
    let columns = HEAD.iter().chain(more(group));
    let mut text = csv::line(columns.map(|column| Cell::Text(column)));
    for line in lines {
        let cells = [
            Cell::Text(&line.group),
            Cell::Count(line.calls),
            Cell::Count(line.void_calls),
            Cell::Count(line.prompt_tokens),
            Cell::Count(line.cache_read_tokens),
            Cell::Count(line.answer_tokens),
            Cell::Money(line.charge),
            Cell::Text(currency.code()),
        ];
        let about = about(line, group);
        let about = about.iter().map(|text| Cell::Text(text));
        text.push_str(&csv::line(cells.into_iter().chain(about)));
    }
    csv::response("usage.csv").body(text)
}

/// What stands in the columns of [`more`]; nothing in those of a line of no group.
fn about(line: &UsageLine, group: GroupBy) -> Vec<String> {
    match &line.about {
        None => vec![String::new(); more(group).len()],
        Some(About::Member(email)) => vec![email.clone()],
        Some(About::Plan { plan, covered }) => of_plan(plan, *covered).to_vec(),
        Some(About::Quota {
            plan,
            models,
            unit,
            window,
            drawn,
            covered,
        }) => {
            let quota = [
                models.to_string(),
                quotas::unit(*unit).to_owned(),
                name(*window),
                quotas::amount(*unit, *drawn),
            ];
            of_plan(plan, *covered).into_iter().chain(quota).collect()
        }
    }
}

fn of_plan(plan: &PlanName, covered: Nanos) -> [String; 3] {
    let PlanName { code, version } = plan;
    [code.clone(), version.to_string(), covered.to_string()]
}

fn name(window: QuotaWindow) -> String {
    match window {
        QuotaWindow::Hourly => "hourly".to_owned(),
        QuotaWindow::Daily => "daily".to_owned(),
        QuotaWindow::Weekly => "weekly".to_owned(),
        QuotaWindow::Monthly => "monthly".to_owned(),
        QuotaWindow::Period => "period".to_owned(),
        QuotaWindow::Subscription => "subscription".to_owned(),
        QuotaWindow::Rolling(seconds) => format!("rolling {seconds} s"),
    }
}
