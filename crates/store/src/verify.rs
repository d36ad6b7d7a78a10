//! Proves books: each invariant computed anew from the journal and the calls, beside what is kept.
//!
//! A proof walks an account's calls and transactions once, in one snapshot and in constant memory:
//! what must agree leg by leg is added up as [fingerprints](fingerprint). What the walk passed and
//! no longer changes is [carried](sums::Carried) to the next proof, which begins there. A proof
//! that fails is not believed before the books failed once more from the beginning, by
//! [name](names).
//!
//! Old calls may be deleted. What began before calls are kept from is proved by the journal alone.

use billing_core::budget::BudgetScope;
use billing_core::id::{AccountId, time_of_id};
use billing_core::port::books::AccountProof;
use sea_orm::ConnectionTrait;

mod calls;
mod corrections;
mod findings;
mod fingerprint;
mod journal;
mod kept;
mod names;
mod plan_rollup;
mod remembered;
mod rollup;
mod sums;

use self::calls::Prices;
use self::findings::Findings;
use self::fingerprint::{Fingerprint, Name};
use self::names::Names;
use self::sums::{Carried, Final};
use crate::books::load;
use crate::books::save::BUCKET_US;
use crate::db;
use crate::error::StoreError;
use crate::instant::get;
use crate::open::Store;

/// For how long after the first call that is kept a transaction may settle calls that began before
/// and are deleted. What was settled later than that is kept.
pub(crate) const SETTLED_WITHIN_US: i64 = 48 * 3600 * 1_000_000;

/// Proves the accounts after one from the beginning, each in a snapshot of its own.
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
        let result = async {
            let since = kept_since(&tx).await?;
            let start = Start {
                remembered: None,
                since,
                last: Final::at(i64::MAX),
            };
            prove(&tx, account, start, &mut prices).await
        };
        let result = result.await;
        let proved = db::finish(tx, result).await?;
        proofs.extend(proved.map(|proved| proved.proof));
    }
    Ok(proofs)
}

/// Where a proof begins, and what it may carry over.
#[derive(Debug)]
struct Start {
    remembered: Option<Carried>,
    /// From when on calls are kept, in microseconds; the least number when none was deleted.
    since: i64,
    last: Final,
}

/// What a proof found, and what the next one can begin with.
#[derive(Debug)]
struct Proved {
    proof: AccountProof,
    seen: Seen,
    /// `None` where the books do not hold.
    carried: Option<Carried>,
}

/// What a proof saw of the wallet and the journal.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    posted: i64,
    leased: i64,
    /// The last transaction; 0 where there is none.
    txn: i64,
}

/// One walk through the books of an account.
#[derive(Debug)]
struct Pass<'a> {
    account: i64,
    from: Carried,
    last: Final,
    prices: &'a mut Prices,
    /// What is wanted by name.
    names: Option<Names>,
    findings: Findings,
}

impl Pass<'_> {
    /// Whether all calls of a transaction are still there to compare it with.
    fn is_compared(&self, txn: i64) -> bool {
        let since = self.from.since;
        let booked_us = time_of_id(txn).saturating_mul(1000);
        since == i64::MIN || booked_us >= since.saturating_add(SETTLED_WITHIN_US)
    }

    /// Whether all calls of a limit's or quota's window are still there.
    fn is_counted(&self, scope: BudgetScope) -> bool {
        let starts_us = scope.row().window_start.saturating_mul(1_000_000);
        self.from.since == i64::MIN || starts_us >= self.from.since
    }
}

/// Proves one account as a transaction sees it; `None` when it has no wallet.
async fn prove<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    start: Start,
    prices: &mut Prices,
) -> Result<Option<Proved>, StoreError> {
    let Start {
        remembered,
        since,
        last,
    } = start;
    let beginning = || Carried::nothing(since);
    let begins_late = remembered.is_some();
    let from = remembered.unwrap_or_else(beginning);
    let mut ways = vec![(from, None)];
    if begins_late {
        // What came later than it should (a very long call, a clock that is far behind) is no
        // fault of the books.
        ways.push((beginning(), None));
    }
    ways.push((beginning(), Some(Names::default())));
    let mut found = None;
    for (from, names) in ways {
        let pass = Pass {
            account: account.get(),
            from,
            last,
            prices,
            names,
            findings: Findings::default(),
        };
        found = attempt(tx, pass).await?;
        if found.as_ref().is_none_or(|p| p.proof.broken.is_empty()) {
            break;
        }
    }
    Ok(found)
}

/// One attempt. What cannot be read is a finding.
async fn attempt<C: ConnectionTrait>(
    tx: &C,
    mut pass: Pass<'_>,
) -> Result<Option<Proved>, StoreError> {
    let begun = pass.from.rows();
    let walked = match walk(tx, &mut pass).await {
        Ok(None) => return Ok(None),
        Ok(Some(walked)) => Some(walked),
        Err(error) if error.is_poison() => {
            pass.findings.must(false, || error.to_string());
            None
        }
        Err(error) => return Err(error),
    };
    let is_clean = pass.findings.is_empty();
    let (carried, seen, counts) = walked.map_or_else(Default::default, |walked| {
        let carried = Some(walked.carried).filter(|_| is_clean && walked.agrees);
        (carried, walked.seen, walked.counts)
    });
    let (calls, transactions) = counts;
    tracing::trace!(account = pass.account, begun, calls, transactions, "walked");
    Ok(Some(Proved {
        proof: AccountProof {
            account: AccountId::new(pass.account),
            calls,
            transactions,
            broken: pass.findings.into_words(),
        },
        seen,
        carried,
    }))
}

/// What a walk came to.
#[derive(Debug)]
struct Walk {
    carried: Carried,
    seen: Seen,
    /// How many calls and transactions were looked at.
    counts: (u64, u64),
    /// Whether all fingerprints agree.
    agrees: bool,
}

async fn walk<C: ConnectionTrait>(tx: &C, pass: &mut Pass<'_>) -> Result<Option<Walk>, StoreError> {
    let text = "SELECT * FROM wallet WHERE account_id = ?";
    let Some(row) = db::one(tx, text, vec![pass.account.into()]).await? else {
        return Ok(None);
    };
    let wallet = load::wallet(&row)?;
    let calls = calls::walk(tx, pass).await?;
    let journal::Journal {
        walked: journal,
        newest,
        adjusted,
    } = journal::walk(tx, pass).await?;
    corrections::walk(tx, pass, &adjusted).await?;
    // What began before the last call that is carried over is in the roll-ups of its time.
    let began_us = time_of_id(calls.upto).saturating_mul(1000);
    let bucket = began_us.saturating_sub(began_us.rem_euclid(BUCKET_US));
    let rollup = rollup::walk(tx, pass, bucket.max(pass.from.bucket)).await?;
    let plans = plan_rollup::walk(tx, pass, rollup.upto).await?;
    kept::wallet(pass, &wallet, &journal.all);
    let granted = kept::lots(tx, pass, &wallet, &journal.all).await?;
    let used = kept::leases(tx, pass, &wallet).await?;
    let sides = [
        (
            calls.all.due,
            journal.all.booked,
            "settlements book what calls are due",
        ),
        (
            calls.all.uses,
            used,
            "limits and quotas are used as calls say",
        ),
        (calls.all.rollup, rollup.all, "roll-ups add up the calls"),
        (
            calls.all.plans,
            plans.all,
            "roll-ups of plans add up their calls",
        ),
        (
            journal.all.granted,
            granted,
            "lots are granted as the journal says",
        ),
    ];
    let agrees = compare(pass, &sides);
    let counts = (
        calls.all.count.saturating_sub(pass.from.calls.count),
        journal.all.count.saturating_sub(pass.from.journal.count),
    );
    let mut carried = pass.from.clone();
    (carried.call, carried.calls) = (calls.upto, calls.sealed);
    (carried.txn, carried.journal) = (journal.upto, journal.sealed.trimmed());
    (carried.bucket, carried.rollup) = (rollup.upto, rollup.sealed);
    carried.plans = plans.sealed;
    let seen = Seen {
        posted: wallet.posted.get(),
        leased: get(&row, "leased")?,
        txn: newest.max(0),
    };
    Ok(Some(Walk {
        carried,
        seen,
        counts,
        agrees,
    }))
}

/// Compares both sides of each invariant: by name where names were kept, else as a whole.
fn compare(pass: &mut Pass<'_>, sides: &[(Fingerprint, Fingerprint, &str)]) -> bool {
    if let Some(names) = &pass.names {
        names.check_due(&mut pass.findings);
        rollup::check_missing(names, &mut pass.findings);
        plan_rollup::check_missing(names, &mut pass.findings);
    } else {
        for (a, b, what) in sides {
            pass.findings.must(a == b, || format!("not so: {what}"));
        }
    }
    sides.iter().all(|(a, b, _)| a == b)
}

/// From when on calls are kept, in microseconds since the Unix epoch.
async fn kept_since<C: ConnectionTrait>(tx: &C) -> Result<i64, StoreError> {
    let text = "SELECT calls_since FROM retention WHERE id = 1";
    let row = db::one(tx, text, Vec::new()).await?;
    row.map_or(Ok(i64::MIN), |row| get(&row, "calls_since"))
}

/// The name of a limit or quota.
fn scope_name(scope: BudgetScope) -> Name {
    let row = scope.row();
    Name::of(7)
        .number(i64::from(row.kind))
        .number(row.subject)
        .number(i64::from(row.unit))
        .number(row.window_start)
}

fn add(sum: &mut i128, amount: i128) {
    *sum = sum.saturating_add(amount);
}
