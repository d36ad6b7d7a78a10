//! Proves books: each invariant computed anew from the journal and the calls, beside what is kept.

use std::collections::BTreeMap;
use std::fmt::Display;

use billing_core::budget::BudgetScope;
use billing_core::id::AccountId;
use billing_core::port::books::AccountProof;
use billing_core::wallet::Wallet;
use sea_orm::ConnectionTrait;

mod calls;
mod journal;

use self::calls::{Prices, Tally};
use self::journal::Journal;
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
    let mut tally = Tally::load(tx, account, prices, &mut findings).await?;
    let journal = Journal::load(tx, account, &mut tally.due, &mut findings).await?;
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
    let text = "SELECT q.*, k.id AS key_id, k.limit_amount FROM quota_usage q \
        LEFT JOIN api_key k ON q.kind = 1 AND k.id = q.subject AND k.account_id = q.account_id \
        WHERE q.account_id = ?";
    for row in db::all(tx, text, vec![account.get().into()]).await? {
        let scope = load::scope(&row)?;
        let kept = |column| Ok::<_, StoreError>(i128::from(get::<i64>(&row, column)?));
        let name = describe(scope);
        let derived = leased.remove(&scope).unwrap_or(0);
        findings.same(format!("{name} on lease"), kept("leased")?, derived);
        let derived = used.remove(&scope).unwrap_or(0);
        findings.same(format!("{name} used by calls"), kept("used")?, derived);
        if let BudgetScope::KeyLimit { .. } = scope {
            let key: Option<i64> = get(&row, "key_id")?;
            findings.must(key.is_some(), || format!("{name} has no key"));
            let limit = get::<Option<i64>>(&row, "limit_amount")?.map(i128::from);
            let taken = kept("used")?.saturating_add(kept("leased")?);
            let is_within = limit.is_none_or(|limit| taken <= limit);
            findings.must(is_within, || {
                let limit = limit.unwrap_or_default();
                format!("{name}: {taken} used or on lease, its limit is {limit}")
            });
        }
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
