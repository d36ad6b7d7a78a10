//! The journal of an account, added up a page at a time.

use std::collections::BTreeMap;

use billing_core::id::{AccountId, LedgerTxnId};
use billing_core::ledger::{LedgerCode, replayed_balance};
use billing_core::wallet::Wallet;
use sea_orm::{ConnectionTrait, QueryResult};

use super::calls::Tally;
use super::{Findings, add};
use crate::db;
use crate::error::StoreError;
use crate::instant::get;

/// How many transactions are looked at together.
const PAGE: usize = 1000;

/// The journal of an account, added up.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) transactions: u64,
    /// By ledger account.
    totals: BTreeMap<LedgerCode, i128>,
    /// By lot.
    pub(super) lots: BTreeMap<i64, i128>,
}

/// The legs of one transaction, added up.
#[derive(Debug, Default)]
struct Legs {
    sum: i128,
    revenue: i128,
    count: u64,
    has_head: bool,
}

impl Journal {
    /// Adds the journal up and checks each transaction by itself. What calls are due is taken out
    /// of `due` as it is found booked.
    pub(super) async fn load<C: ConnectionTrait>(
        tx: &C,
        account: AccountId,
        due: &mut BTreeMap<i64, i128>,
        findings: &mut Findings,
    ) -> Result<Self, StoreError> {
        let mut journal = Self::default();
        let mut after = None;
        loop {
            let heads = heads(tx, account, after).await?;
            let is_last = heads.len() < PAGE;
            // Legs without a head stand between those with one, before the first or after the last.
            let until = heads.last().copied().filter(|_| !is_last);
            let mut page: BTreeMap<i64, Legs> = BTreeMap::new();
            for id in heads {
                page.entry(id).or_default().has_head = true;
                journal.transactions = journal.transactions.saturating_add(1);
            }
            for row in legs(tx, account, after, until).await? {
                let txn = page.entry(get(&row, "txn_id")?).or_default();
                journal.leg(&row, txn)?;
            }
            for (id, legs) in page {
                legs.check(id, due, findings);
            }
            if is_last {
                return Ok(journal);
            }
            after = until;
        }
    }

    fn leg(&mut self, row: &QueryResult, txn: &mut Legs) -> Result<(), StoreError> {
        let amount = i128::from(get::<i64>(row, "amount")?);
        let code: String = get(row, "code")?;
        let code = LedgerCode::of_name(&code)
            .ok_or_else(|| StoreError::unreadable("ledger_entry", format!("\"{code}\"")))?;
        add(self.totals.entry(code).or_default(), amount);
        if let Some(lot) = get::<Option<i64>>(row, "lot_id")? {
            add(self.lots.entry(lot).or_default(), amount);
        }
        txn.count = txn.count.saturating_add(1);
        add(&mut txn.sum, amount);
        if code == LedgerCode::RevenueUsage {
            add(&mut txn.revenue, amount);
        }
        Ok(())
    }

    /// What holds for the whole journal; `tally` has left what is due and was not booked.
    pub(super) fn check(&self, wallet: &Wallet, tally: &Tally, findings: &mut Findings) {
        for txn in tally.due.keys() {
            let id = LedgerTxnId::new(*txn);
            findings.must(false, || format!("{id} is named by calls and not booked"));
        }
        let posted = i128::from(wallet.posted.get());
        findings.same("wallet balance", posted, replayed_balance(&self.totals));
        let credit = i128::from(wallet.credit_limit.get());
        let free = posted
            .saturating_add(credit)
            .saturating_sub(i128::from(wallet.leased.get()));
        findings.must(free >= 0, || {
            format!("the wallet is overspent by {}", -free)
        });
        findings.same("owed on credit", self.owed(), tally.on_credit);
    }

    pub(super) fn owed(&self) -> i128 {
        let owed = self.totals.get(&LedgerCode::Unbilled);
        owed.copied().unwrap_or(0)
    }
}

impl Legs {
    fn check(&self, id: i64, due: &mut BTreeMap<i64, i128>, findings: &mut Findings) {
        let name = LedgerTxnId::new(id);
        findings.must(self.has_head && self.count > 0, || {
            format!("{name} has no head or no legs")
        });
        if !self.has_head {
            return;
        }
        findings.same(format!("{name} sums to zero"), self.sum, 0);
        let due = due.remove(&id).unwrap_or(0);
        let what = format!("{name} books what its calls are due");
        findings.same(what, -self.revenue, due);
    }
}

/// The next transactions after one, in order.
async fn heads<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    after: Option<i64>,
) -> Result<Vec<i64>, StoreError> {
    let text = format!(
        "SELECT id FROM ledger_txn WHERE account_id = ? AND id >= ? ORDER BY id LIMIT {PAGE}"
    );
    let values = vec![account.get().into(), from(after).into()];
    let rows = db::all(tx, &text, values).await?;
    rows.iter().map(|row| get(row, "id")).collect()
}

/// The legs of the transactions after one, up to another or to the end.
async fn legs<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    after: Option<i64>,
    until: Option<i64>,
) -> Result<Vec<QueryResult>, StoreError> {
    let text = "SELECT txn_id, code, amount, lot_id FROM ledger_entry \
        WHERE account_id = ? AND txn_id >= ? AND txn_id <= ?";
    let until = until.unwrap_or(i64::MAX);
    let values = vec![account.get().into(), from(after).into(), until.into()];
    db::all(tx, text, values).await
}

fn from(after: Option<i64>) -> i64 {
    after.map_or(i64::MIN, |id| id.saturating_add(1))
}
