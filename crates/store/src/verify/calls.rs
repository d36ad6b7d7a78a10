//! The calls of an account, added up, and each rated again from what is stored.

use std::collections::BTreeMap;

use billing_core::budget::BudgetScope;
use billing_core::charge::rate;
use billing_core::id::AccountId;
use billing_core::money::Nanos;
use billing_core::port::reports::CallDetail;
use billing_core::price::PriceVersion;
use sea_orm::{ConnectionTrait, QueryResult};

use super::{Findings, add};
use crate::books::save::{BUCKET_US, Counted};
use crate::error::StoreError;
use crate::instant::{get, micros};
use crate::{call_row, catalogue, db};

/// How many calls are looked at together.
const PAGE: usize = 1000;

/// Price versions that were looked up before; `None` for one that is not on record.
#[derive(Debug, Default)]
pub(crate) struct Prices(BTreeMap<i64, Option<PriceVersion>>);

impl Prices {
    async fn load<C: ConnectionTrait>(
        &mut self,
        tx: &C,
        calls: &[CallDetail],
    ) -> Result<(), StoreError> {
        let ids = calls.iter().map(|c| c.price_version.get());
        let mut missing: Vec<i64> = ids.filter(|id| !self.0.contains_key(id)).collect();
        missing.sort_unstable();
        missing.dedup();
        let found = catalogue::versions(tx, &missing).await;
        let found = found.map_err(|e| StoreError::unreadable("price_version", e.to_string()))?;
        self.0.extend(missing.into_iter().map(|id| (id, None)));
        for version in found {
            self.0.insert(version.id().get(), Some(version));
        }
        Ok(())
    }
}

type RollupKey = (i64, i64, String);
/// Calls, void calls, prompt, cached and answer tokens, charge, overrun.
type RollupSums = [i128; 7];

/// The calls of an account, added up.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(super) calls: u64,
    /// Charge and overrun by ledger transaction.
    pub(super) due: BTreeMap<i64, i128>,
    /// By lot.
    pub(super) draws: BTreeMap<i64, i128>,
    /// By limit or quota, wallet apart.
    pub(super) uses: BTreeMap<BudgetScope, i128>,
    pub(super) on_credit: i128,
    rollup: BTreeMap<RollupKey, RollupSums>,
}

impl Tally {
    pub(super) async fn load<C: ConnectionTrait>(
        tx: &C,
        account: AccountId,
        prices: &mut Prices,
        findings: &mut Findings,
    ) -> Result<Self, StoreError> {
        let mut tally = Self::default();
        let mut after = i64::MIN;
        loop {
            let rows = page(tx, account, after).await?;
            let calls = call_row::details(tx, &rows).await?;
            prices.load(tx, &calls).await?;
            for (call, row) in calls.iter().zip(&rows) {
                after = call.id.get();
                let uses: Option<String> = get(row, "uses")?;
                let uses = call_row::read_uses(uses.as_deref(), call.charge)?;
                tally.add(call, &uses, findings);
                rated_again(call, prices, findings);
            }
            if rows.len() < PAGE {
                return Ok(tally);
            }
        }
    }

    fn add(
        &mut self,
        call: &CallDetail,
        uses: &[(BudgetScope, billing_core::budget::Amount)],
        findings: &mut Findings,
    ) {
        self.calls = self.calls.saturating_add(1);
        let (charge, overrun) = (
            i128::from(call.charge.get()),
            i128::from(call.overrun.get()),
        );
        let due = charge.saturating_add(overrun);
        match call.ledger_txn {
            Some(txn) => add(self.due.entry(txn.get()).or_default(), due),
            None => findings.must(due == 0, || {
                format!("{} is due {due} and names no ledger transaction", call.id)
            }),
        }
        let mut paid = i128::from(call.on_credit.get());
        add(&mut self.on_credit, paid);
        for drawn in &call.draws {
            let amount = i128::from(drawn.amount.get());
            add(&mut paid, amount);
            add(self.draws.entry(drawn.lot.get()).or_default(), amount);
        }
        findings.same(format!("{} paid by lots and credit", call.id), charge, paid);
        for (scope, taken) in uses {
            let taken = i128::from(taken.get());
            if *scope == BudgetScope::Wallet {
                findings.same(format!("{} drawn from the wallet", call.id), charge, taken);
            } else {
                add(self.uses.entry(*scope).or_default(), taken);
            }
        }
        self.count(call, charge, overrun);
    }

    fn count(&mut self, call: &CallDetail, charge: i128, overrun: i128) {
        let started = micros(call.started_at);
        let bucket = started.saturating_sub(started.rem_euclid(BUCKET_US));
        let key = (bucket, call.key.get(), call.model.clone());
        let counted = Counted::of(&call.usage, call.quarantined);
        let more: RollupSums = [
            1,
            i128::from(call.source.is_none()),
            i128::from(counted.prompt),
            i128::from(counted.cached),
            i128::from(counted.answer),
            charge,
            overrun,
        ];
        let sums = self.rollup.entry(key).or_default();
        for (sum, more) in sums.iter_mut().zip(more) {
            // As the roll-ups do: to the largest that fits.
            *sum = sum.saturating_add(more).min(i128::from(i64::MAX));
        }
    }

    /// The roll-ups are the calls, bucket by bucket.
    pub(super) async fn check_rollup<C: ConnectionTrait>(
        &self,
        tx: &C,
        account: AccountId,
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        let mut derived = self.rollup.clone();
        let text = "SELECT * FROM usage_rollup WHERE account_id = ?";
        for row in db::all(tx, text, vec![account.get().into()]).await? {
            let (key, kept) = rollup(&row)?;
            let calls = derived.remove(&key).unwrap_or_default();
            findings.must(kept == calls, || {
                let (bucket, id, model) = &key;
                format!(
                    "roll-up {bucket} of key {id} and {model}: kept {kept:?}, derived {calls:?}"
                )
            });
        }
        for ((bucket, key, model), sums) in derived {
            findings.must(false, || {
                format!("roll-up {bucket} of key {key} and {model} is missing: {sums:?}")
            });
        }
        Ok(())
    }
}

async fn page<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    after: i64,
) -> Result<Vec<QueryResult>, StoreError> {
    let text = format!(
        "SELECT c.* FROM (SELECT call_id FROM account_call WHERE account_id = ? AND call_id > ? \
         UNION SELECT call_id FROM call_unlisted WHERE account_id = ? AND call_id > ? \
         ORDER BY call_id LIMIT {PAGE}) l CROSS JOIN call c \
         WHERE c.id = l.call_id AND c.account_id = ? ORDER BY c.id"
    );
    let account = account.get();
    let values = [account, after, account, after, account];
    db::all(tx, &text, values.map(Into::into).to_vec()).await
}

/// A call's charge must follow from its stored usage and the price it was authorized under.
fn rated_again(call: &CallDetail, prices: &Prices, findings: &mut Findings) {
    if call.source.is_none() {
        let due = call.charge.get() != 0 || call.overrun.get() != 0;
        findings.must(!due, || format!("{} is void and has a charge", call.id));
        return;
    }
    let price = prices.0.get(&call.price_version.get());
    let Some(price) = price.and_then(Option::as_ref) else {
        findings.must(false, || {
            format!(
                "{} was rated with {}, which is not on record",
                call.id, call.price_version
            )
        });
        return;
    };
    if call.quarantined {
        return;
    }
    let recorded = call.charge.plus(call.overrun).unwrap_or(Nanos::MAX);
    match rate(&call.usage, price, call.tier) {
        Ok(charge) if charge.amount == recorded => {}
        Ok(charge) => {
            findings.same(format!("{} rated again", call.id), recorded, charge.amount);
        }
        Err(error) => findings.must(false, || format!("{} cannot be rated: {error}", call.id)),
    }
}

fn rollup(row: &QueryResult) -> Result<(RollupKey, RollupSums), StoreError> {
    let of = |column| Ok::<_, StoreError>(i128::from(get::<i64>(row, column)?));
    let key = (
        get(row, "bucket_start")?,
        get(row, "key_id")?,
        get(row, "model")?,
    );
    let sums = [
        of("calls")?,
        of("void_calls")?,
        of("prompt_tokens")?,
        of("cache_read_tokens")?,
        of("answer_tokens")?,
        of("charge")?,
        of("overrun")?,
    ];
    Ok((key, sums))
}
