//! Proves books: each invariant computed anew from the journal and the calls, beside what is kept.

use std::collections::BTreeMap;
use std::fmt::Display;

use billing_core::budget::BudgetScope;
use billing_core::id::AccountId;
use billing_core::ledger::{LedgerCode, replayed_balance};
use billing_core::port::books::AccountProof;
use billing_core::wallet::Wallet;
use sea_orm::ConnectionTrait;

mod calls;

use self::calls::{Prices, Tally};
use crate::books::load;
use crate::db;
use crate::error::StoreError;
use crate::instant::get;
use crate::open::Store;

/// Proves the accounts after one, each in a snapshot of its own.
pub(crate) async fn accounts(
    store: &Store,
    after: Option<AccountId>,
    limit: u32,
) -> Result<Vec<AccountProof>, StoreError> {
    let text = "SELECT account_id FROM wallet WHERE account_id > ? ORDER BY account_id LIMIT ?";
    let after = after.map_or(i64::MIN, AccountId::get);
    let values = vec![after.into(), i64::from(limit).into()];
    let mut prices = Prices::default();
    let mut proofs = Vec::new();
    for row in db::all(&store.db.reader, text, values).await? {
        let account = AccountId::new(get(&row, "account_id")?);
        let tx = store.db.snapshot().await?;
        let result = prove(&tx, account, &mut prices).await;
        proofs.push(db::finish(tx, result).await?);
    }
    Ok(proofs)
}

/// What is broken, in words.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<String>);

impl Findings {
    /// Notes that what is kept is not what it must be.
    #[expect(clippy::needless_pass_by_value, reason = "both are numbers")]
    fn same<T: PartialEq + Display>(&mut self, what: impl Display, kept: T, derived: T) {
        if kept != derived {
            self.0
                .push(format!("{what}: kept {kept}, derived {derived}"));
        }
    }

    fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }
}

async fn prove<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    prices: &mut Prices,
) -> Result<AccountProof, StoreError> {
    let mut findings = Findings::default();
    let text = "SELECT * FROM wallet WHERE account_id = ?";
    let row = db::one(tx, text, vec![account.get().into()]).await?;
    let row = row.ok_or_else(|| StoreError::unreadable("wallet", "it is gone"))?;
    let wallet = load::wallet(&row)?;
    let journal = Journal::load(tx, account).await?;
    let tally = Tally::load(tx, account, prices, &mut findings).await?;
    journal.check(&wallet, &tally, &mut findings);
    lots(tx, account, &wallet, &journal, &tally, &mut findings).await?;
    leases(tx, account, &wallet, &tally, &mut findings).await?;
    tally.check_rollup(tx, account, &mut findings).await?;
    Ok(AccountProof {
        account,
        calls: tally.calls,
        transactions: journal.transactions,
        broken: findings.0,
    })
}

/// The journal of an account, added up.
#[derive(Debug, Default)]
struct Journal {
    transactions: u64,
    /// By ledger account.
    totals: BTreeMap<LedgerCode, i128>,
    /// By transaction: the sum of its legs, and of those that are revenue of usage.
    txns: BTreeMap<i64, (i128, i128)>,
    /// By lot.
    lots: BTreeMap<i64, i128>,
    /// Transactions without a head, heads without a leg.
    torn: Vec<i64>,
}

impl Journal {
    async fn load<C: ConnectionTrait>(tx: &C, account: AccountId) -> Result<Self, StoreError> {
        let mut journal = Self::default();
        let text = "SELECT id FROM ledger_txn WHERE account_id = ?";
        for row in db::all(tx, text, vec![account.get().into()]).await? {
            journal.txns.insert(get(&row, "id")?, (0, 0));
            journal.transactions = journal.transactions.saturating_add(1);
        }
        let mut legs = BTreeMap::<i64, u64>::new();
        let text = "SELECT txn_id, code, amount, lot_id FROM ledger_entry WHERE account_id = ?";
        for row in db::all(tx, text, vec![account.get().into()]).await? {
            let (txn, amount): (i64, i64) = (get(&row, "txn_id")?, get(&row, "amount")?);
            let amount = i128::from(amount);
            let code: String = get(&row, "code")?;
            let code = LedgerCode::of_name(&code)
                .ok_or_else(|| StoreError::unreadable("ledger_entry", format!("\"{code}\"")))?;
            add(journal.totals.entry(code).or_default(), amount);
            if let Some(lot) = get::<Option<i64>>(&row, "lot_id")? {
                add(journal.lots.entry(lot).or_default(), amount);
            }
            let legs = legs.entry(txn).or_default();
            *legs = legs.saturating_add(1);
            match journal.txns.get_mut(&txn) {
                None => journal.torn.push(txn),
                Some((sum, revenue)) => {
                    add(sum, amount);
                    if code == LedgerCode::RevenueUsage {
                        add(revenue, amount);
                    }
                }
            }
        }
        let bare = journal.txns.keys().filter(|txn| !legs.contains_key(txn));
        let bare: Vec<i64> = bare.copied().collect();
        journal.torn.extend(bare);
        Ok(journal)
    }

    fn check(&self, wallet: &Wallet, tally: &Tally, findings: &mut Findings) {
        for (txn, (sum, revenue)) in &self.txns {
            let id = billing_core::id::LedgerTxnId::new(*txn);
            findings.same(format!("{id} sums to zero"), *sum, 0);
            let due = tally.due.get(txn).copied().unwrap_or(0);
            findings.same(format!("{id} books what its calls are due"), -revenue, due);
        }
        for txn in &self.torn {
            let id = billing_core::id::LedgerTxnId::new(*txn);
            findings.must(false, || format!("{id} has no head or no legs"));
        }
        for txn in tally.due.keys() {
            let id = billing_core::id::LedgerTxnId::new(*txn);
            let is_booked = self.txns.contains_key(txn);
            findings.must(is_booked, || {
                format!("{id} is named by calls and not booked")
            });
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

    fn owed(&self) -> i128 {
        let owed = self.totals.get(&LedgerCode::Unbilled);
        owed.copied().unwrap_or(0)
    }
}

async fn lots<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    wallet: &Wallet,
    journal: &Journal,
    tally: &Tally,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let text = "SELECT * FROM lot WHERE account_id = ?";
    let mut remaining = 0_i128;
    let mut known = Vec::new();
    for row in db::all(tx, text, vec![account.get().into()]).await? {
        let lot = load::lot(&row)?;
        let (id, granted) = (lot.id, i128::from(lot.granted.get()));
        let left: i64 = get(&row, "remaining")?;
        let left = i128::from(left);
        add(&mut remaining, left);
        known.push(id.get());
        findings.must((0..=granted).contains(&left), || {
            format!("{id} holds {left} of {granted}")
        });
        let drawn = tally.draws.get(&id.get()).copied().unwrap_or(0);
        findings.same(
            format!("{id} drawn by calls"),
            granted.saturating_sub(left),
            drawn,
        );
        let booked = journal.lots.get(&id.get()).copied().unwrap_or(0);
        findings.same(format!("{id} in the journal"), left, -booked);
    }
    for lot in tally.draws.keys().chain(journal.lots.keys()) {
        let id = billing_core::id::LotId::new(*lot);
        findings.must(known.contains(lot), || format!("{id} does not exist"));
    }
    let posted = i128::from(wallet.posted.get());
    let derived = remaining.saturating_sub(journal.owed());
    findings.same("lots less what is owed", posted, derived);
    Ok(())
}

async fn leases<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    wallet: &Wallet,
    tally: &Tally,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let mut leased = BTreeMap::<BudgetScope, i128>::new();
    let text = "SELECT * FROM lease WHERE account_id = ?";
    for row in db::all(tx, text, vec![account.get().into()]).await? {
        let amount: i64 = get(&row, "amount")?;
        add(
            leased.entry(load::scope(&row)?).or_default(),
            i128::from(amount),
        );
    }
    let of_wallet = leased.remove(&BudgetScope::Wallet).unwrap_or(0);
    findings.same(
        "wallet on lease",
        i128::from(wallet.leased.get()),
        of_wallet,
    );
    let mut used = tally.uses.clone();
    let text = "SELECT * FROM quota_usage WHERE account_id = ?";
    for row in db::all(tx, text, vec![account.get().into()]).await? {
        let scope = load::scope(&row)?;
        let kept = |column| Ok::<_, StoreError>(i128::from(get::<i64>(&row, column)?));
        let name = describe(scope);
        let derived = leased.remove(&scope).unwrap_or(0);
        findings.same(format!("{name} on lease"), kept("leased")?, derived);
        let derived = used.remove(&scope).unwrap_or(0);
        findings.same(format!("{name} used by calls"), kept("used")?, derived);
    }
    for (scope, derived) in leased.into_iter().chain(used) {
        findings.same(format!("{} without a row", describe(scope)), 0, derived);
    }
    Ok(())
}

fn describe(scope: BudgetScope) -> String {
    let row = scope.row();
    format!("{scope} {} of window {}", row.subject, row.window_start)
}

fn add(sum: &mut i128, amount: i128) {
    *sum = sum.saturating_add(amount);
}
