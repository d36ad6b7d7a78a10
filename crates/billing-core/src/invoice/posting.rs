//! What finalizing an invoice books.

use std::collections::BTreeMap;

use super::assembly::Draft;
use super::issued::Owed;
use super::line::{Component, Line};
use crate::ledger::{Entry, LedgerCode, replayed_balance};
use crate::money::{Currency, Minor, MoneyError, Nanos};
use crate::wallet::LotDraw;

/// What entries change a wallet's balance by: above zero it has more.
pub fn wallet_change(entries: &[Entry]) -> i128 {
    let mut totals = BTreeMap::<LedgerCode, i128>::new();
    for entry in entries {
        let total = totals.entry(entry.code).or_default();
        *total = total.saturating_add(i128::from(entry.amount.get()));
    }
    replayed_balance(&totals)
}

/// A leg without a lot.
pub(super) const fn leg(code: LedgerCode, amount: Nanos) -> Entry {
    Entry {
        code,
        amount,
        lot: None,
    }
}

/// What an invoice asks for: used calls, and everything else with all taxes.
pub(super) fn owed(draft: &Draft) -> Result<Owed, MoneyError> {
    let usage = draft.lines.iter().filter(|line| line.item.is_usage());
    let usage = usage
        .map(Line::charged)
        .try_fold(Minor::ZERO, |sum, line| sum.plus(line?))?;
    let usage = usage.max(Minor::ZERO).min(draft.totals.total);
    Ok(Owed {
        usage,
        other: draft.totals.total.minus(usage)?,
    })
}

/// The entries of a finalized invoice.
pub(super) fn finalized(draft: &Draft, promo: &[LotDraw]) -> Result<Vec<Entry>, MoneyError> {
    let currency = draft.head.currency;
    let owed = owed(draft)?;
    let mut entries = vec![
        leg(LedgerCode::ReceivableUsage, owed.usage.nanos(currency)?),
        leg(LedgerCode::Receivable, owed.other.nanos(currency)?),
        leg(
            LedgerCode::TaxPayable,
            draft.totals.tax.nanos(currency)?.negated()?,
        ),
    ];
    for drawn in promo {
        entries.push(Entry {
            code: LedgerCode::WalletPromo,
            amount: drawn.amount.money(),
            lot: Some(drawn.lot),
        });
    }
    for line in &draft.lines {
        entries.extend(of_line(line, currency)?);
    }
    Ok(entries)
}

/// What a line takes from where it was booked before, or brings in.
fn of_line(line: &Line, currency: Currency) -> Result<Vec<Entry>, MoneyError> {
    let discount = line.discount.nanos(currency)?;
    let included = line.included_tax()?;
    let income = line.income()?.nanos(currency)?;
    let fee = if line.item.period.is_some() {
        LedgerCode::DeferredSubscription
    } else {
        LedgerCode::RevenueSubscription
    };
    Ok(match &line.item.component {
        Component::Usage { .. } | Component::ProgressiveCredit { .. } | Component::Carried => {
            let source = if line.item.component == Component::Carried {
                LedgerCode::Rounding
            } else {
                LedgerCode::Unbilled
            };
            vec![
                leg(source, line.item.exact.negated()?),
                leg(LedgerCode::Rounding, line.residue(currency)?),
                leg(LedgerCode::Discount, discount),
                // Calls were booked as revenue with the tax that their prices include.
                leg(LedgerCode::RevenueAdjustment, included.nanos(currency)?),
            ]
        }
        Component::PlanFee | Component::AddOn | Component::ProrationCharge => {
            vec![leg(fee, income.negated()?)]
        }
        Component::ProrationCredit { unearned } => {
            let back = income.negated()?;
            let deferred = back.min((*unearned).max(Nanos::ZERO));
            vec![
                leg(LedgerCode::DeferredSubscription, deferred),
                leg(LedgerCode::RevenueSubscription, back.minus(deferred)?),
            ]
        }
        Component::MinimumTrueUp => vec![leg(LedgerCode::RevenueOther, income.negated()?)],
        Component::TopUp { lot } => vec![
            Entry {
                code: LedgerCode::WalletPaid,
                amount: income.plus(discount)?.negated()?,
                lot: Some(*lot),
            },
            leg(LedgerCode::Discount, discount),
        ],
    })
}
