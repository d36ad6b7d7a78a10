//! Settlement: from an account's books and the calls that are over, to what changes.

mod cover;
mod rated;

use std::borrow::Borrow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use self::cover::Shares;
use self::rated::rated;
use crate::budget::{Amount, BudgetScope};
use crate::call::Settlement;
use crate::id::{AccountId, CallId, LedgerTxnId, LotId, NodeId};
use crate::ledger::{Entry, LedgerCode, LedgerError, LedgerHead, LedgerKind, LedgerTxn};
use crate::money::{MoneyError, Nanos};
use crate::terms::InTiers;
use crate::wallet::{Lot, LotDraw, LotKind, Wallet, draw};

/// The books of one account, as far as a settlement touches them, locked by whoever loaded them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountState {
    /// Whose they are.
    pub account: AccountId,
    /// The balance.
    pub wallet: Wallet,
    /// The lots that still hold something.
    pub lots: Vec<Lot>,
    /// Limits and quotas that the calls were held against, wallet apart.
    pub uses: BTreeMap<BudgetScope, BudgetUse>,
    /// What the nodes of the calls have on lease. A node that is missing has nothing.
    pub leases: BTreeMap<(NodeId, BudgetScope), Amount>,
}

/// What was used of a limit or quota in its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BudgetUse {
    /// The most that may be used; `None` where the limit was lifted since.
    pub limit: Option<Amount>,
    /// What was used.
    pub used: Amount,
    /// What nodes hold as leases.
    pub leased: Amount,
}

impl BudgetUse {
    /// What may still be leased.
    pub fn available(&self) -> Amount {
        self.limit
            .map_or(Amount::MAX, |limit| limit.less(self.used).less(self.leased))
    }
}

/// How a call was charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledCall {
    /// The call.
    pub call: CallId,
    /// What the account pays.
    pub charge: Nanos,
    /// What the house bears, because it went beyond hold and funds.
    pub overrun: Nanos,
    /// Whether the reported usage was not believed, so that the hold was charged instead.
    pub quarantined: bool,
    /// The part of the charge that no lot covered and the account owes.
    pub on_credit: Nanos,
    /// The lots that were drawn, in order.
    pub draws: Vec<LotDraw>,
    /// The wallet's balance after the call.
    pub balance_after: Nanos,
    /// What it costs the house: the provider's price for what was consumed. `None` where that is
    /// not known, because the usage is not believed or its price has no rate for it.
    #[serde(default)]
    pub cost: Option<Nanos>,
    /// How much had been used of its tiers' window before it; `None` where it has none.
    #[serde(default)]
    pub position: Option<Amount>,
    /// What its plan paid of its price; `None` where it held no quota. With charge and overrun it is
    /// the price.
    #[serde(default)]
    pub covered: Option<Nanos>,
    /// What was drawn from each budget's hold or beyond it.
    #[serde(skip)]
    pub used: Vec<(BudgetScope, Amount)>,
    /// How much of each of its quotas had been used after it; empty where the call was on record
    /// already.
    #[serde(skip)]
    pub used_after: Vec<(BudgetScope, Amount)>,
}

/// What a batch changes in the books of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The books after it.
    pub state: AccountState,
    /// One for each call of the batch, in its order.
    pub calls: Vec<SettledCall>,
    /// The journal's entry of the whole batch; `None` when nothing was charged.
    pub txn: Option<LedgerTxn>,
}

/// When and under which id a batch is booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booking {
    /// The id of the ledger transaction.
    pub txn: LedgerTxnId,
    /// The instant.
    pub now: OffsetDateTime,
}

/// Why a batch could not be settled. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettleError {
    /// A call of another account was in the batch.
    #[error("call {0} belongs to another account")]
    ForeignCall(CallId),
    /// The entries do not balance or do not fit.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A balance does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// What a call costs, said before the books have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// What the account will pay.
    pub charge: Nanos,
    /// What the house will bear, because it went beyond the hold.
    pub overrun: Nanos,
    /// Whether the reported usage is not believed, so that the hold will be charged instead.
    pub quarantined: bool,
    /// What is held for it: the most that it can be charged, wherever it stands in price tiers.
    pub most: Amount,
}

/// What [`settle`] charges a call whose lease covers its hold, as long as
/// [`Settlement::promised`] keeps it from taking more than that.
///
/// A call in price tiers is rated here at the position that was known when it was authorized; the
/// books charge it by where it stands when they take it.
///
/// With it a call can end before the books have answered, and its caller knows what it costs. A
/// lease that is gone by then can only make it less.
pub fn promised(settlement: &Settlement) -> Promise {
    let rated = rated(settlement, |_| None);
    let quarantined = rated.quarantined;
    // An amount that cannot be shared out cannot be settled either.
    let due = Shares::of(settlement, &rated, |_, held| held).map_or(rated.due, |shares| shares.due);
    let held = budgets_of(settlement)
        .into_iter()
        .filter(|(scope, _)| scope.is_payer())
        .map(|(_, held)| held)
        .min()
        .unwrap_or_default();
    let charge = due
        .min(held)
        .min(settlement.promised.unwrap_or(Amount::MAX));
    Promise {
        charge: charge.money(),
        overrun: due.less(charge).money(),
        quarantined,
        most: held,
    }
}

/// Settles calls of one account: rates each, charges it within its hold and what is free, frees the
/// rest, and books the batch as one transaction.
///
/// A charge takes from the call's own hold first. What goes beyond it may take what is available
/// and nobody has on lease, unless less was promised; the remainder is the house's
/// [`LedgerCode::Overrun`]. So neither the
/// balance nor a limit is ever passed, whatever the usage says. A call that stands twice in the
/// batch is charged once. The caller leaves out calls that are already on record.
///
/// # Errors
/// [`SettleError`].
pub fn settle<S: Borrow<Settlement>>(
    mut state: AccountState,
    batch: &[S],
    booking: Booking,
) -> Result<Changes, SettleError> {
    let mut calls: Vec<SettledCall> = Vec::with_capacity(batch.len());
    let mut first: BTreeMap<CallId, usize> = BTreeMap::new();
    let mut totals = Totals::default();
    for settlement in batch {
        let settlement = settlement.borrow();
        if settlement.account != state.account {
            return Err(SettleError::ForeignCall(settlement.call));
        }
        let place = *first.entry(settlement.call).or_insert(calls.len());
        let call = match calls.get(place) {
            Some(earlier) => earlier.clone(),
            None => settle_one(&mut state, settlement, booking.now, &mut totals)?,
        };
        calls.push(call);
    }
    let txn = totals.into_txn(&state, booking)?;
    Ok(Changes { state, calls, txn })
}

fn settle_one(
    state: &mut AccountState,
    settlement: &Settlement,
    now: OffsetDateTime,
    totals: &mut Totals,
) -> Result<SettledCall, SettleError> {
    let budgets = budgets_of(settlement);
    let used_before = |scope| state.uses.get(&scope).map(|budget| budget.used);
    let rated = rated(settlement, used_before);
    let reach = |scope, held| state.reach(settlement.node, scope, held);
    let shares = Shares::of(settlement, &rated, reach)?;
    let due = shares.due;
    let charge = budgets
        .iter()
        .filter(|(scope, _)| scope.is_payer())
        .map(|(scope, held)| state.reach(settlement.node, *scope, *held))
        .min()
        .unwrap_or_default()
        .min(due)
        .min(settlement.promised.unwrap_or(Amount::MAX));
    let mut used = Vec::with_capacity(budgets.len());
    for (scope, held) in budgets {
        let taken = if scope.is_payer() {
            charge
        } else {
            let reach = state.reach(settlement.node, scope, held);
            shares.taken(scope, held, reach)
        };
        state.consume(settlement.node, scope, held, taken);
        used.push((scope, taken));
    }
    let used_after = state.used_of_quotas(&used);
    let counted = rated.counted.as_ref();
    for (scope, counts) in counted.iter().flat_map(|counted| &counted.scopes) {
        let counts = shares.counted(*scope, *counts);
        state.consume(settlement.node, *scope, Amount::ZERO, counts);
        used.push((*scope, counts));
    }
    let overrun = due.less(charge);
    let tiers = settlement
        .terms
        .tiers
        .as_ref()
        .filter(|_| counted.is_some());
    let borne = tiers.and_then(InTiers::overrun);
    if let Some(scope) = borne.filter(|_| !overrun.is_zero()) {
        state.consume(settlement.node, scope, Amount::ZERO, overrun);
        used.push((scope, overrun));
    }
    let wallet = &mut state.wallet;
    wallet.posted = wallet.posted.minus(charge.money())?;
    let (draws, on_credit) = draw(&mut state.lots, charge, now);
    totals.add(&draws, on_credit.money(), overrun.money())?;
    Ok(SettledCall {
        call: settlement.call,
        charge: charge.money(),
        overrun: overrun.money(),
        quarantined: rated.quarantined,
        on_credit: on_credit.money(),
        draws,
        balance_after: state.wallet.posted,
        cost: rated.cost,
        position: rated.counted.map(|counted| counted.position),
        covered: shares.covered,
        used,
        used_after,
    })
}

impl AccountState {
    fn available(&self, scope: BudgetScope) -> Amount {
        match scope {
            BudgetScope::Wallet => self.wallet.available(),
            BudgetScope::KeyLimit { .. }
            | BudgetScope::MemberLimit { .. }
            | BudgetScope::Quota { .. }
            | BudgetScope::CallLimit { .. }
            | BudgetScope::Tier { .. }
            | BudgetScope::TierCharge { .. }
            | BudgetScope::TierOverrun { .. } => self
                .uses
                .get(&scope)
                .map_or(Amount::MAX, BudgetUse::available),
        }
    }

    /// The most that a call may take of a budget: its own hold as far as the lease covers it, and
    /// what is available.
    fn reach(&self, node: NodeId, scope: BudgetScope, held: Amount) -> Amount {
        let lease = self.leases.get(&(node, scope)).copied();
        let lease = lease.unwrap_or_default().min(held);
        lease.plus(self.available(scope))
    }

    /// How far quotas among these budgets have been used.
    fn used_of_quotas(&self, drawn: &[(BudgetScope, Amount)]) -> Vec<(BudgetScope, Amount)> {
        let quotas = drawn.iter().filter(|(scope, _)| !scope.is_payer());
        let used = |scope| self.uses.get(scope).map(|budget| (*scope, budget.used));
        quotas.filter_map(|(scope, _)| used(scope)).collect()
    }

    /// Uses a budget: from the node's lease as far as the call's own hold goes, else from what is
    /// available. The lease keeps what the hold did not need.
    fn consume(&mut self, node: NodeId, scope: BudgetScope, held: Amount, taken: Amount) {
        let mut from_lease = Amount::ZERO;
        if let Some(lease) = self.leases.get_mut(&(node, scope)) {
            from_lease = taken.min(held).min(*lease);
            *lease = lease.less(from_lease);
        }
        match scope {
            BudgetScope::Wallet => self.wallet.leased = self.wallet.leased.less(from_lease),
            BudgetScope::KeyLimit { .. }
            | BudgetScope::MemberLimit { .. }
            | BudgetScope::Quota { .. }
            | BudgetScope::CallLimit { .. }
            | BudgetScope::Tier { .. }
            | BudgetScope::TierCharge { .. }
            | BudgetScope::TierOverrun { .. } => {
                let budget = self.uses.entry(scope).or_default();
                budget.leased = budget.leased.less(from_lease);
                budget.used = budget.used.plus(taken);
            }
        }
    }
}

/// The budgets that a call draws: those it holds, and the wallet in any case.
fn budgets_of(settlement: &Settlement) -> Vec<(BudgetScope, Amount)> {
    let mut budgets: Vec<(BudgetScope, Amount)> = Vec::with_capacity(4);
    let wallet = (BudgetScope::Wallet, Amount::ZERO);
    for (scope, amount) in settlement.held.iter().chain(&[wallet]) {
        match budgets.iter_mut().find(|(s, _)| s == scope) {
            Some((_, held)) => *held = held.plus(*amount),
            None => budgets.push((*scope, *amount)),
        }
    }
    budgets
}

fn held_money(settlement: &Settlement) -> Amount {
    let wallet = settlement
        .held
        .iter()
        .find(|(scope, _)| *scope == BudgetScope::Wallet);
    wallet.map_or(Amount::ZERO, |(_, amount)| *amount)
}

/// The legs of a batch, as they add up.
#[derive(Default)]
struct Totals {
    lots: BTreeMap<(LotId, LotKind), Nanos>,
    on_credit: Nanos,
    overrun: Nanos,
}

impl Totals {
    fn add(
        &mut self,
        draws: &[LotDraw],
        on_credit: Nanos,
        overrun: Nanos,
    ) -> Result<(), MoneyError> {
        for drawn in draws {
            let lot = self.lots.entry((drawn.lot, drawn.kind)).or_default();
            *lot = lot.plus(drawn.amount.money())?;
        }
        self.on_credit = self.on_credit.plus(on_credit)?;
        self.overrun = self.overrun.plus(overrun)?;
        Ok(())
    }

    fn into_txn(
        self,
        state: &AccountState,
        booking: Booking,
    ) -> Result<Option<LedgerTxn>, SettleError> {
        let leg = |code, amount| Entry {
            code,
            amount,
            lot: None,
        };
        let mut entries: Vec<Entry> = self
            .lots
            .into_iter()
            .map(|((lot, kind), amount)| Entry {
                code: code_of(kind),
                amount,
                lot: Some(lot),
            })
            .collect();
        entries.push(leg(LedgerCode::Unbilled, self.on_credit));
        entries.push(leg(LedgerCode::Overrun, self.overrun));
        let due = entries
            .iter()
            .try_fold(Nanos::ZERO, |sum, e| sum.plus(e.amount))?;
        if due.is_zero() {
            return Ok(None);
        }
        entries.push(leg(LedgerCode::RevenueUsage, due.negated()?));
        let head = LedgerHead {
            id: booking.txn,
            account: state.account,
            currency: state.wallet.currency,
            kind: LedgerKind::Settlement,
            key: format!("settle:{}", booking.txn),
            booked_at: booking.now,
        };
        Ok(Some(LedgerTxn::new(head, entries)?))
    }
}

/// The liability that a kind of lot is.
pub const fn code_of(kind: LotKind) -> LedgerCode {
    match kind {
        LotKind::Paid => LedgerCode::WalletPaid,
        LotKind::Promo => LedgerCode::WalletPromo,
    }
}
