//! Walks the journal of an account: each transaction is checked by itself, and all are added up.

use std::collections::BTreeMap;

use billing_core::id::LedgerTxnId;
use billing_core::ledger::{LedgerCode, LedgerKind};
use sea_orm::{ConnectionTrait, QueryResult};

use super::corrections::Booked;
use super::sums::{JournalSums, Part, Walked, grant_of};
use super::{Pass, add};
use crate::db;
use crate::error::StoreError;
use crate::instant::get;

/// How many transactions are looked at together.
const PAGE: usize = 1000;

/// A transaction as it stands: without a kind where it has no head.
#[derive(Debug, Default)]
struct Txn {
    kind: Option<LedgerKind>,
    legs: Vec<Leg>,
}

#[derive(Debug)]
struct Leg {
    code: LedgerCode,
    amount: i128,
    lot: Option<i64>,
}

/// The journal as a proof saw it.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) walked: Walked<JournalSums>,
    /// The last transaction.
    pub(super) newest: i64,
    /// What adjustments among those that were walked booked.
    pub(super) adjusted: Booked,
}

/// Walks the transactions after those that were carried over.
pub(super) async fn walk<C: ConnectionTrait>(
    tx: &C,
    pass: &mut Pass<'_>,
) -> Result<Journal, StoreError> {
    let mut all = pass.from.journal.clone();
    let mut after = pass.from.txn;
    let mut newest = after;
    let mut sealed = None;
    let mut adjusted = Booked::new();
    loop {
        let heads = heads(tx, pass.account, after).await?;
        let is_last = heads.len() < PAGE;
        // Legs without a head stand between those with one, before the first or after the last.
        let until = heads.last().map(|(id, _)| *id).filter(|_| !is_last);
        let mut page: BTreeMap<i64, Txn> = BTreeMap::new();
        for (id, kind) in heads {
            page.entry(id).or_default().kind = Some(kind);
        }
        for row in legs(tx, pass.account, after, until).await? {
            let (id, leg) = leg(&row)?;
            page.entry(id).or_default().legs.push(leg);
        }
        for (id, txn) in page {
            if id > pass.last.txn && sealed.is_none() {
                sealed = Some((all.clone(), newest));
            }
            txn.check(id, pass);
            txn.add(id, pass, &mut all);
            adjusted.extend(txn.adjusted().map(|amount| (id, amount)));
            newest = id;
        }
        let Some(until) = until else {
            let (sealed, upto) = sealed.unwrap_or_else(|| (all.clone(), newest));
            let walked = Walked { all, sealed, upto };
            return Ok(Journal {
                walked,
                newest,
                adjusted,
            });
        };
        after = until;
    }
}

impl Txn {
    fn check(&self, id: i64, pass: &mut Pass<'_>) {
        let name = LedgerTxnId::new(id);
        let is_whole = self.kind.is_some() && !self.legs.is_empty();
        pass.findings
            .must(is_whole, || format!("{name} has no head or no legs"));
        let sum = self
            .legs
            .iter()
            .fold(0_i128, |sum, leg| sum.saturating_add(leg.amount));
        let what = || format!("{name} sums to zero");
        pass.findings.same(what, sum, 0);
    }

    fn add(&self, id: i64, pass: &mut Pass<'_>, sums: &mut JournalSums) {
        if self.kind.is_some() {
            sums.count = sums.count.saturating_add(1);
        }
        for leg in &self.legs {
            add(sums.totals.entry(leg.code).or_default(), leg.amount);
            if let Some(lot) = leg.lot {
                add(sums.lots.entry(lot).or_default(), leg.amount);
                self.grant(leg, lot, pass, sums);
            }
            let Some((part, booked)) = self.booked(leg) else {
                continue;
            };
            if pass.is_compared(id) {
                sums.booked.add(part.of(id), booked);
                if let Some(names) = &mut pass.names {
                    names.due(id, part, booked.saturating_neg());
                }
            }
        }
    }

    /// What an adjustment books as revenue.
    fn adjusted(&self) -> Option<i128> {
        let mut legs = self.legs.iter();
        let leg = legs.find(|leg| leg.code == LedgerCode::RevenueAdjustment);
        let leg = leg.filter(|_| self.kind == Some(LedgerKind::Adjustment));
        leg.map(|leg| leg.amount)
    }

    /// Which part of its calls a leg books, and how much.
    fn booked(&self, leg: &Leg) -> Option<(Part, i128)> {
        // Revenue of calls must come from calls, whatever the transaction calls itself.
        if leg.code == LedgerCode::RevenueUsage {
            return Some((Part::Due, leg.amount.saturating_neg()));
        }
        if self.kind != Some(LedgerKind::Settlement) {
            return None;
        }
        if let Some(lot) = leg.lot {
            return Some((Part::Lot(lot), leg.amount));
        }
        if leg.code == LedgerCode::Unbilled {
            return Some((Part::Credit, leg.amount));
        }
        (leg.code == LedgerCode::Overrun).then_some((Part::Overrun, leg.amount))
    }

    fn grant(&self, leg: &Leg, lot: i64, pass: &mut Pass<'_>, sums: &mut JournalSums) {
        // What an adjustment gives back is a lot of its own; what it charges is drawn from lots.
        let is_grant = match self.kind {
            Some(LedgerKind::TopUp | LedgerKind::Promo | LedgerKind::FeeCredit) => true,
            // So does a credit note into the wallet; an invoice takes from lots, or is for a new one.
            Some(LedgerKind::Adjustment | LedgerKind::CreditNote | LedgerKind::Invoice) => {
                leg.amount < 0
            }
            Some(
                LedgerKind::Settlement
                | LedgerKind::Expiry
                | LedgerKind::Fee
                | LedgerKind::InvoiceCredit
                | LedgerKind::InvoicePayment
                | LedgerKind::InvoiceVoid
                | LedgerKind::WriteOff
                | LedgerKind::Recognition,
            )
            | None => false,
        };
        if !is_grant {
            return;
        }
        let granted = leg.amount.saturating_neg();
        sums.granted.add(grant_of(lot), granted);
        if let Some(names) = &mut pass.names {
            add(names.granted.entry(lot).or_default(), granted);
        }
    }
}

/// The next transactions after one, in order.
async fn heads<C: ConnectionTrait>(
    tx: &C,
    account: i64,
    after: i64,
) -> Result<Vec<(i64, LedgerKind)>, StoreError> {
    let text = format!(
        "SELECT id, kind FROM account_journal WHERE account_id = ? AND id > ? \
         ORDER BY id LIMIT {PAGE}"
    );
    let rows = db::all(tx, &text, vec![account.into(), after.into()]).await?;
    let head = |row: &QueryResult| {
        let kind: String = get(row, "kind")?;
        let unknown = || StoreError::unreadable("ledger_txn", format!("\"{kind}\""));
        let kind = LedgerKind::of_name(&kind).ok_or_else(unknown)?;
        Ok((get(row, "id")?, kind))
    };
    rows.iter().map(head).collect()
}

/// The legs of the transactions after one, up to another or to the end.
async fn legs<C: ConnectionTrait>(
    tx: &C,
    account: i64,
    after: i64,
    until: Option<i64>,
) -> Result<Vec<QueryResult>, StoreError> {
    let text = "SELECT txn_id, code, amount, lot_id FROM ledger_leg \
        WHERE account_id = ? AND txn_id > ? AND txn_id <= ?";
    let until = until.unwrap_or(i64::MAX);
    db::all(tx, text, vec![account.into(), after.into(), until.into()]).await
}

fn leg(row: &QueryResult) -> Result<(i64, Leg), StoreError> {
    let code: String = get(row, "code")?;
    let unknown = || StoreError::unreadable("ledger_leg", format!("\"{code}\""));
    let leg = Leg {
        code: LedgerCode::of_name(&code).ok_or_else(unknown)?,
        amount: i128::from(get::<i64>(row, "amount")?),
        lot: get(row, "lot_id")?,
    };
    Ok((get(row, "txn_id")?, leg))
}
