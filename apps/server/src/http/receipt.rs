//! The receipt of a call: how its charge follows from what was consumed.
//!
//! It is derived anew from the record and the price version that the record names, so a receipt
//! that adds up proves the charge.

mod later;
mod line;
mod payer;
mod quotas;
mod words;

use billing_core::attribute::Attributes;
use billing_core::charge::{Charge, charge};
use billing_core::charge_model::Percent;
use billing_core::money::{Currency, Exact, Nanos};
use billing_core::port::reports::{AdjustmentLine, CallDetail};
use billing_core::price_book::PriceBook;
use billing_core::terms::{InTiers, Terms};
use serde::Serialize;
use utoipa::ToSchema;

use super::api::wire::{MoneyDto, instant};
use super::rates::ReachDto;
use super::tiers::TieredDto;
pub(crate) use later::{AdjustmentDto, Later, net};
pub(crate) use line::ReceiptLine;
pub(crate) use payer::{Payer, ReceiptAttempt};
pub(crate) use quotas::QuotaLine;

/// Steps of [`Exact`] in a nano.
const STEPS: i128 = 1_000_000_000_000_000_000;

/// How the charge of a call follows from what was consumed: the sum of the lines, plus the
/// rounding, less what the plan covered and what the house bears, is the charge. Where the price falls with use, the lines
/// and fees of `tiers` stand in the place of the lines, whose sum is the list price.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Receipt {
    /// The call.
    #[schema(example = "req_0001fv5kz4y00")]
    pub(crate) id: String,
    /// The key it was made with.
    pub(crate) key: String,
    /// The endpoint.
    #[schema(example = "chat.completions")]
    pub(crate) endpoint: String,
    /// The model that was asked for.
    #[schema(example = "sim/echo")]
    pub(crate) model: String,
    /// How it ended.
    #[schema(example = "completed")]
    pub(crate) outcome: String,
    /// Whether it was streamed.
    pub(crate) streamed: bool,
    /// The HTTP status that the caller got.
    pub(crate) status: u16,
    /// In one sentence.
    pub(crate) explanation: String,
    /// Who counted: `provider`, `estimated` (here, from what was delivered), or nobody.
    pub(crate) source: Option<String>,
    /// What each class of consumption cost. Empty when nothing was due.
    pub(crate) lines: Vec<ReceiptLine>,
    /// The sum of these lines, not rounded: what is due, or its list price where there are tiers.
    pub(crate) list: MoneyDto,
    /// What tiers make of the list price; null where none apply.
    pub(crate) tiers: Option<TieredDto>,
    /// What the single rounding to nanos, half to even, added.
    pub(crate) rounding: MoneyDto,
    /// What quotas of the plan paid, at the prices above.
    pub(crate) covered: MoneyDto,
    /// What the call drew of each quota; empty where it drew none.
    pub(crate) quotas: Vec<QuotaLine>,
    /// What went beyond hold and funds, and the house bears.
    pub(crate) overrun: MoneyDto,
    /// What the account paid.
    pub(crate) charge: MoneyDto,
    /// What of that was corrected later, oldest first.
    pub(crate) adjustments: Vec<AdjustmentDto>,
    /// The charge with these corrections.
    pub(crate) net_charge: MoneyDto,
    /// What was settled with the account when the window of its tiers was over, for all that was used
    /// in it, oldest first: the rest of a volume price or of a minimum. It is part of no call's charge.
    pub(crate) window_adjustments: Vec<AdjustmentDto>,
    /// Whether the reported usage was not believed, so that the hold was charged.
    pub(crate) quarantined: bool,
    /// What was set aside of the wallet before the call.
    pub(crate) held: MoneyDto,
    /// What of that came back.
    pub(crate) freed: MoneyDto,
    /// Who paid.
    pub(crate) payer: Payer,
    /// The balance after it.
    pub(crate) balance_after: MoneyDto,
    /// The price it was rated with: the one in effect when it was authorized.
    pub(crate) price: ReceiptPrice,
    /// The upstream tries.
    pub(crate) attempts: Vec<ReceiptAttempt>,
    /// The ledger transaction that booked it; null when nothing was due.
    pub(crate) ledger_transaction: Option<String>,
    /// When it came in.
    #[schema(format = DateTime)]
    pub(crate) started_at: String,
    /// When it was settled.
    #[schema(format = DateTime)]
    pub(crate) settled_at: String,
}

/// The price version of a receipt.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ReceiptPrice {
    /// Its id.
    #[schema(example = "prv_0001fv5kz4y00")]
    pub(crate) version: String,
    /// The sale rule by which it follows from the catalogue's price; null where that is the price.
    #[schema(example = "sal_0001fv5kz4y00")]
    pub(crate) rule: Option<String>,
    /// For whom and for which models that rule holds; null where there is none.
    pub(crate) reach: Option<ReachDto>,
    /// How many percent of it the account's plan took off. The prices of the lines are what was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "20")]
    pub(crate) discount: Option<Percent>,
    /// From when on it holds; null when it is no longer on record.
    #[schema(format = DateTime)]
    pub(crate) effective_from: Option<String>,
    /// The service tier that the provider says it gave.
    #[schema(example = "standard")]
    pub(crate) tier: &'static str,
    /// What else is known of the call that prices may depend on, from the reply or else of the
    /// upstream that gave it: `region`, `speed`, …
    #[schema(value_type = Object, example = json!({"region": "eu"}))]
    pub(crate) attributes: Attributes,
}

/// What was due, and why.
enum Due {
    Nothing,
    Rated(Charge),
    Hold(Nanos),
    /// The stored price does not rate the stored usage: the charge stands, unexplained.
    Unexplained,
}

impl Receipt {
    /// The receipt of a call, with what was corrected later, in the currency of its account.
    pub(crate) fn of(
        call: &CallDetail,
        later: &Later,
        book: &PriceBook,
        currency: Currency,
    ) -> Self {
        let terms = book.terms(&call.model, call.price_version, &call.rating);
        let version = terms.as_ref().map(|terms| &terms.price);
        let due = due(call, terms.as_ref());
        let money = |nanos| MoneyDto::of(nanos, currency);
        let adjustments = |lines: &[AdjustmentLine]| -> Vec<AdjustmentDto> {
            let lines = lines.iter();
            lines
                .map(|line| AdjustmentDto::of(line, currency))
                .collect()
        };
        let derived = Derived::of(&due, currency);
        let schedule = |tiers: &InTiers| book.tiers().get(tiers.schedule.get());
        let tiers = match (&due, terms.as_ref().and_then(|terms| terms.tiers.as_ref())) {
            (Due::Rated(charge), Some(of)) => {
                let tiered = charge.tiers.as_ref();
                tiered.map(|tiered| TieredDto::of(tiered, of, schedule(of).map(|s| &**s)))
            }
            _ => None,
        };
        let rule = call.rating.rule;
        let reach = rule.and_then(|rule| book.sales().get(rule.get()));
        Self {
            id: call.id.to_string(),
            key: call.key.to_string(),
            endpoint: call.endpoint.clone(),
            model: call.model.clone(),
            outcome: call.outcome.clone(),
            streamed: call.streamed,
            status: call.status,
            explanation: words::explanation(call, &due, tiers.as_ref(), later, currency),
            source: call.source.map(|s| s.name().to_owned()),
            lines: derived.lines,
            list: exact(derived.list, currency),
            tiers,
            rounding: exact(derived.rounding, currency),
            covered: money(call.covered.unwrap_or_default()),
            quotas: quotas::lines(call, currency),
            overrun: money(call.overrun),
            charge: money(call.charge),
            adjustments: adjustments(&later.of_call),
            net_charge: money(later.net(call.charge)),
            window_adjustments: adjustments(&later.of_window),
            quarantined: call.quarantined,
            held: money(call.held),
            freed: money(freed(call)),
            payer: payer::payer(call, currency),
            balance_after: money(call.balance_after),
            price: ReceiptPrice {
                version: call.price_version.to_string(),
                rule: rule.map(|rule| rule.to_string()),
                reach: reach.map(|rule| ReachDto::of(&rule.reach)),
                discount: call.rating.discount,
                effective_from: version.map(|v| instant(v.effective_from())),
                tier: call.tier.name(),
                attributes: call.rating.attributes.clone(),
            },
            attempts: payer::attempts(call),
            ledger_transaction: call.ledger_txn.map(|txn| txn.to_string()),
            started_at: instant(call.started_at),
            settled_at: instant(call.settled_at),
        }
    }
}

/// The lines of a charge, their sum, and what the rounding added to what is due.
#[derive(Debug)]
pub(crate) struct Derived {
    /// What each class of consumption costs.
    pub(crate) lines: Vec<ReceiptLine>,
    /// Their sum.
    pub(crate) list: Exact,
    /// What the rounding added.
    pub(crate) rounding: Exact,
}

impl Derived {
    fn of(due: &Due, currency: Currency) -> Self {
        match due {
            Due::Nothing | Due::Unexplained => Self {
                lines: Vec::new(),
                list: Exact::ZERO,
                rounding: Exact::ZERO,
            },
            Due::Hold(held) => Self {
                lines: vec![line::hold_line(*held, currency)],
                list: Exact::of(*held).unwrap_or_default(),
                rounding: Exact::ZERO,
            },
            Due::Rated(charge) => derive(charge, currency),
        }
    }
}

/// What derives a charge, tiers apart.
pub(crate) fn derive(charge: &Charge, currency: Currency) -> Derived {
    let lines = charge.lines.iter();
    Derived {
        lines: lines.map(|l| line::line(l, currency)).collect(),
        list: charge.list,
        rounding: rounding(charge),
    }
}

fn due(call: &CallDetail, terms: Option<&Terms>) -> Due {
    if call.source.is_none() {
        return Due::Nothing;
    }
    if call.quarantined {
        return Due::Hold(call.held);
    }
    let rated =
        terms.map(|terms| charge(&call.usage, terms, &call.circumstances(), call.position()));
    let on_record = call.charge.plus(call.overrun);
    let is_due = |charge: &Charge| call.split(charge.exact).map(|split| split.due.money());
    match rated {
        Some(Ok(charge)) if on_record == is_due(&charge) => Due::Rated(charge),
        Some(Ok(_) | Err(_)) | None => {
            tracing::error!(call.id = %call.id, "a receipt does not derive the charge on record");
            Due::Unexplained
        }
    }
}

/// An amount on the wire that is not rounded.
pub(crate) fn exact(amount: Exact, currency: Currency) -> MoneyDto {
    MoneyDto {
        amount: amount.to_string(),
        currency: currency.code().to_owned(),
    }
}

fn rounding(charge: &Charge) -> Exact {
    let rounded = i128::from(charge.amount.get()).saturating_mul(STEPS);
    Exact::new(rounded.saturating_sub(charge.exact.get()))
}

fn freed(call: &CallDetail) -> Nanos {
    let rest = call.held.minus(call.charge).unwrap_or(Nanos::ZERO);
    rest.max(Nanos::ZERO)
}

#[cfg(test)]
mod tests;
