//! What is kept beside the journal: wallet, lots, leases, limits and quotas.

use std::collections::{BTreeMap, BTreeSet};

use billing_core::budget::BudgetScope;
use billing_core::id::LotId;
use billing_core::ledger::replayed_balance;
use billing_core::wallet::Wallet;
use sea_orm::ConnectionTrait;

use super::fingerprint::Fingerprint;
use super::sums::{JournalSums, grant_of};
use super::{Pass, add, scope_name};
use crate::books::load;
use crate::db;
use crate::error::StoreError;
use crate::instant::get;

/// The wallet against the journal.
pub(super) fn wallet(pass: &mut Pass<'_>, wallet: &Wallet, journal: &JournalSums) {
    let posted = i128::from(wallet.posted.get());
    let replayed = replayed_balance(&journal.totals);
    pass.findings
        .same(|| "wallet balance".to_owned(), posted, replayed);
    let credit = i128::from(wallet.credit_limit.get());
    let free = posted
        .saturating_add(credit)
        .saturating_sub(i128::from(wallet.leased.get()));
    pass.findings.must(free >= 0, || {
        format!("the wallet is overspent by {}", -free)
    });
}

/// The lots against the journal; answers with what they were granted.
pub(super) async fn lots<C: ConnectionTrait>(
    tx: &C,
    pass: &mut Pass<'_>,
    wallet: &Wallet,
    journal: &JournalSums,
) -> Result<Fingerprint, StoreError> {
    let text = "SELECT * FROM lot WHERE account_id = ?";
    let mut remaining = 0_i128;
    let mut grants = Fingerprint::default();
    let mut known = BTreeSet::new();
    for row in db::all(tx, text, vec![pass.account.into()]).await? {
        let lot = load::lot(&row)?;
        let (id, granted) = (lot.id, i128::from(lot.granted.get()));
        let left = i128::from(get::<i64>(&row, "remaining")?);
        add(&mut remaining, left);
        known.insert(id.get());
        grants.add(grant_of(id.get()), granted);
        pass.findings.must((0..=granted).contains(&left), || {
            format!("{id} holds {left} of {granted}")
        });
        let booked = journal.lots.get(&id.get()).copied().unwrap_or(0);
        let what = || format!("{id} in the journal");
        pass.findings.same(what, left, booked.saturating_neg());
        if let Some(names) = &pass.names {
            let derived = names.granted.get(&id.get()).copied().unwrap_or(0);
            let what = || format!("{id} as it was granted");
            pass.findings.same(what, granted, derived);
        }
    }
    let granted = pass.names.iter().flat_map(|names| names.granted.keys());
    let named: BTreeSet<i64> = journal.lots.keys().chain(granted).copied().collect();
    for lot in named.difference(&known) {
        pass.findings
            .must(false, || format!("{} does not exist", LotId::new(*lot)));
    }
    let posted = i128::from(wallet.posted.get());
    let derived = remaining.saturating_sub(journal.owed());
    let what = || "lots less what is owed".to_owned();
    pass.findings.same(what, posted, derived);
    Ok(grants)
}

/// Where a row of uses names whose budget it is, and what that is.
const fn owner_of(scope: BudgetScope) -> Option<(&'static str, &'static str)> {
    match scope {
        BudgetScope::KeyLimit { .. } => Some(("key_id", "key")),
        BudgetScope::Quota { .. } => Some(("quota_id", "plan")),
        BudgetScope::CallLimit { .. } => Some(("limited_id", "plan")),
        BudgetScope::Wallet
        | BudgetScope::MemberLimit { .. }
        | BudgetScope::Tier { .. }
        | BudgetScope::TierCharge { .. }
        | BudgetScope::TierOverrun { .. } => None,
    }
}

/// Leases against the budgets that they are of; answers with what is used of limits and quotas.
pub(super) async fn leases<C: ConnectionTrait>(
    tx: &C,
    pass: &mut Pass<'_>,
    wallet: &Wallet,
) -> Result<Fingerprint, StoreError> {
    let mut leased = BTreeMap::<BudgetScope, i128>::new();
    let text = "SELECT * FROM lease WHERE account_id = ?";
    for row in db::all(tx, text, vec![pass.account.into()]).await? {
        let amount = i128::from(get::<i64>(&row, "amount")?);
        add(leased.entry(load::scope(&row)?).or_default(), amount);
    }
    let of_wallet = leased.remove(&BudgetScope::Wallet).unwrap_or(0);
    let kept = i128::from(wallet.leased.get());
    let what = || "wallet on lease".to_owned();
    pass.findings.same(what, kept, of_wallet);
    let mut uses = Fingerprint::default();
    let mut rolled = BTreeMap::<i64, i128>::new();
    let text = "SELECT q.*, k.id AS key_id, COALESCE(k.limit_amount, COALESCE(p.amount, c.call_limit) * \
          (SELECT h.quantity FROM plan_held h WHERE h.account_id = q.account_id \
           AND h.plan_version_id = COALESCE(p.plan_version_id, c.id)) + q.came - q.went) \
          AS limit_amount, \
          p.id AS quota_id, c.id AS limited_id \
        FROM quota_usage q \
        LEFT JOIN api_key k ON q.kind = 1 AND k.id = q.subject AND k.account_id = q.account_id \
        LEFT JOIN plan_quota p ON q.kind = 3 AND p.id = q.subject AND p.unit = q.unit \
        LEFT JOIN plan_version c ON q.kind = 7 AND c.id = q.subject \
        WHERE q.account_id = ?";
    for row in db::all(tx, text, vec![pass.account.into()]).await? {
        let scope = load::scope(&row)?;
        let kept = |column| Ok::<_, StoreError>(i128::from(get::<i64>(&row, column)?));
        let (used, on_lease) = (kept("used")?, kept("leased")?);
        let came = kept("came")?.saturating_sub(kept("went")?);
        add(
            rolled.entry(get::<i64>(&row, "subject")?).or_default(),
            came,
        );
        let derived = leased.remove(&scope).unwrap_or(0);
        let what = || format!("{} on lease", describe(scope));
        pass.findings.same(what, on_lease, derived);
        if pass.is_counted(scope) {
            uses.add(scope_name(scope), used);
            if let Some(names) = &mut pass.names {
                let derived = names.uses.remove(&scope).unwrap_or(0);
                let what = || format!("{} used by calls", describe(scope));
                pass.findings.same(what, used, derived);
            }
        }
        if let Some((column, owner)) = owner_of(scope) {
            let id: Option<i64> = get(&row, column)?;
            pass.findings.must(id.is_some(), || {
                format!("{} has no {owner}", describe(scope))
            });
            let limit = get::<Option<i64>>(&row, "limit_amount")?.map(i128::from);
            let taken = used.saturating_add(on_lease);
            let is_within = limit.is_none_or(|limit| taken <= limit);
            pass.findings.must(is_within, || {
                let (name, limit) = (describe(scope), limit.unwrap_or_default());
                format!("{name}: {taken} used or on lease, its limit is {limit}")
            });
        }
    }
    for (quota, came) in rolled {
        let what = || format!("quota {quota}: rolled over into windows less out of them");
        pass.findings.same(what, 0, came);
    }
    let unused = pass.names.iter().flat_map(|names| names.uses.iter());
    let unused: Vec<_> = unused.map(|(scope, used)| (*scope, *used)).collect();
    for (scope, derived) in leased.into_iter().chain(unused) {
        let what = || format!("{} without a row", describe(scope));
        pass.findings.same(what, 0, derived);
    }
    Ok(uses)
}

fn describe(scope: BudgetScope) -> String {
    let row = scope.row();
    format!("{scope} {} of window {}", row.subject, row.window_start)
}
