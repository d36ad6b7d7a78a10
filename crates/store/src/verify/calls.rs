//! Walks the calls of an account: each is rated again from what is stored, and added up.

use std::collections::BTreeMap;
use std::sync::Arc;

use billing_core::budget::BudgetScope;
use billing_core::charge::charge;
use billing_core::money::Nanos;
use billing_core::port::reports::CallDetail;
use billing_core::price::PriceVersion;
use billing_core::price_book::SoldKey;
use billing_core::quota::cover::Split;
use billing_core::sale::SaleRule;
use billing_core::terms::Terms;
use billing_core::tier_schedule::TierSchedule;
use sea_orm::{ConnectionTrait, QueryResult};

use super::findings::Findings;
use super::plan_rollup;
use super::rollup::{self, RollupKey, RollupSums};
use super::sums::{CallSums, Part, Walked};
use super::{Pass, scope_name};
use crate::books::save::plan_rollup::parts;
use crate::books::save::{BUCKET_US, Counted};
use crate::error::StoreError;
use crate::instant::{get, micros, stored};
use crate::{call_row, catalogue, db, pricing_rules};

/// How many calls are looked at together.
const PAGE: usize = 1000;

/// What calls were rated with, as far as it was looked up before.
#[derive(Debug, Default)]
pub(crate) struct Prices {
    /// `None` for a version that is not on record.
    versions: BTreeMap<i64, Option<Arc<PriceVersion>>>,
    /// All rules, from when a call was first found that names one.
    sales: BTreeMap<i64, SaleRule>,
    /// All schedules, likewise.
    tiers: BTreeMap<i64, TierSchedule>,
    /// What rules made of versions.
    sold: BTreeMap<SoldKey, Option<Terms>>,
}

impl Prices {
    async fn load<C: ConnectionTrait>(
        &mut self,
        tx: &C,
        calls: &[CallDetail],
    ) -> Result<(), StoreError> {
        let ids = calls.iter().map(|c| c.price_version.get());
        let mut missing: Vec<i64> = ids.filter(|id| !self.versions.contains_key(id)).collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            let found = catalogue::versions(tx, &missing).await;
            let found =
                found.map_err(|e| StoreError::unreadable("price_version", e.to_string()))?;
            let missing = missing.into_iter().map(|id| (id, None));
            self.versions.extend(missing);
            for version in found {
                let id = version.id().get();
                self.versions.insert(id, Some(Arc::new(version)));
            }
        }
        let mut rules = calls.iter().filter_map(|call| call.rating.rule);
        if rules.any(|rule| !self.sales.contains_key(&rule.get())) {
            let all = pricing_rules::sales(tx).await?;
            self.sales = all.into_iter().map(|rule| (rule.id.get(), rule)).collect();
        }
        let tiers = calls.iter().filter_map(|call| call.rating.tiers);
        let mut tiers = tiers.map(|tiers| tiers.schedule.get());
        if tiers.any(|schedule| !self.tiers.contains_key(&schedule)) {
            let all = pricing_rules::tiers(tx).await?;
            let by_id = |schedule: TierSchedule| (schedule.id.get(), schedule);
            self.tiers = all.into_iter().map(by_id).collect();
        }
        Ok(())
    }

    /// The terms of a call, where all that they name is on record.
    fn terms(&mut self, call: &CallDetail) -> Option<Terms> {
        let price = call.price_version.get();
        let cost = self.versions.get(&price)?.as_ref()?;
        let (rule, discount) = (call.rating.rule, call.rating.discount);
        let terms = self.sold.entry((call.price_version, rule, discount));
        let terms = terms.or_insert_with(|| {
            let rule = match rule {
                None => None,
                Some(rule) => Some(self.sales.get(&rule.get())?),
            };
            Terms::sold(Arc::clone(cost), rule, discount).ok()
        });
        let terms = terms.clone()?;
        let Some(tiers) = &call.rating.tiers else {
            return Some(terms);
        };
        let schedule = self.tiers.get(&tiers.schedule.get())?;
        Some(terms.in_tiers(Some(schedule.on_record(tiers)?)))
    }
}

/// The next calls of an account.
struct Page {
    rows: Vec<QueryResult>,
    /// How many the list names. Some of them may have gone with retention meanwhile, before they
    /// were put into it.
    listed: usize,
    /// The last that it names.
    last: Option<i64>,
}

/// Walks the calls after those that were carried over.
pub(super) async fn walk<C: ConnectionTrait>(
    tx: &C,
    pass: &mut Pass<'_>,
) -> Result<Walked<CallSums>, StoreError> {
    let mut after = pass.from.call;
    let mut all = pass.from.calls;
    let mut sealed = (all, after);
    loop {
        let Page { rows, listed, last } = page(tx, pass.account, after).await?;
        let calls = call_row::details(tx, &rows).await?;
        pass.prices.load(tx, &calls).await?;
        for call in &calls {
            let id = call.id.get();
            add(pass, &mut all, call);
            rated_again(call, pass.prices, &mut pass.findings);
            if id <= pass.last.call {
                sealed = (all, id);
            }
        }
        after = last.unwrap_or(after);
        if listed < PAGE {
            let (sealed, upto) = sealed;
            return Ok(Walked { all, sealed, upto });
        }
    }
}

fn add(pass: &mut Pass<'_>, sums: &mut CallSums, call: &CallDetail) {
    sums.count = sums.count.saturating_add(1);
    let charge = i128::from(call.charge.get());
    let overrun = i128::from(call.overrun.get());
    let due = charge.saturating_add(overrun);
    let on_credit = i128::from(call.on_credit.get());
    let drawn = call.draws.iter().map(|d| i128::from(d.amount.get()));
    let paid = on_credit.saturating_add(drawn.sum());
    let what = || format!("{} paid by lots and credit", call.id);
    pass.findings.same(what, charge, paid);
    match call.ledger_txn.map(billing_core::id::LedgerTxnId::get) {
        None => pass.findings.must(due == 0, || {
            format!("{} is due {due} and names no ledger transaction", call.id)
        }),
        Some(txn) if pass.is_compared(txn) => {
            let lots = call.draws.iter().map(|drawn| {
                let amount = i128::from(drawn.amount.get());
                (Part::Lot(drawn.lot.get()), amount)
            });
            let rest = [
                (Part::Due, due),
                (Part::Credit, on_credit),
                (Part::Overrun, overrun),
            ];
            for (part, amount) in lots.chain(rest) {
                sums.due.add(part.of(txn), amount);
                if let Some(names) = &mut pass.names {
                    names.due(txn, part, amount);
                }
            }
        }
        Some(_) => {}
    }
    for (scope, taken) in &call.used {
        let taken = i128::from(taken.get());
        if *scope == BudgetScope::Wallet {
            let what = || format!("{} drawn from the wallet", call.id);
            pass.findings.same(what, charge, taken);
        } else if pass.is_counted(*scope) {
            sums.uses.add(scope_name(*scope), taken);
            if let Some(names) = &mut pass.names {
                names.used(*scope, taken);
            }
        }
    }
    count(pass, sums, call, [charge, overrun]);
}

fn count(pass: &mut Pass<'_>, sums: &mut CallSums, call: &CallDetail, money: [i128; 2]) {
    let started = micros(call.started_at);
    let bucket = started.saturating_sub(started.rem_euclid(BUCKET_US));
    if bucket < pass.from.since {
        return;
    }
    let counted = Counted::of(&call.usage, call.quarantined);
    let [charge, overrun] = money;
    let more: RollupSums = [
        1,
        i128::from(call.source.is_none()),
        i128::from(counted.prompt),
        i128::from(counted.cached),
        i128::from(counted.answer),
        charge,
        overrun,
    ];
    let key: RollupKey = (bucket, call.key.get(), call.model.clone());
    rollup::add(&mut sums.rollup, &key, &more);
    if let Some(names) = &mut pass.names {
        names.counted(key, more);
    }
    let Some(version) = call.plan else {
        return;
    };
    let [calls, void, prompt, cached, answer, charge, _] = more;
    let covered = call.covered.map_or(0, |covered| i128::from(covered.get()));
    for (quota, drawn) in parts(&call.used) {
        let (key, drawn) = ((bucket, version.get(), quota), i128::from(stored(drawn)));
        let more = [calls, void, prompt, cached, answer, charge, covered, drawn];
        plan_rollup::add(&mut sums.plans, key, &more);
        if let Some(names) = &mut pass.names {
            names.counted_of_plan(key, more);
        }
    }
}

async fn page<C: ConnectionTrait>(tx: &C, account: i64, after: i64) -> Result<Page, StoreError> {
    // Each side is limited by itself, so that no page sorts all that follows it.
    let side = |table| {
        format!(
            "SELECT * FROM (SELECT call_id FROM {table} WHERE account_id = ? AND call_id > ? \
             ORDER BY call_id LIMIT {PAGE}) {table}"
        )
    };
    let (listed, queued) = (side("account_call"), side("call_unlisted"));
    let text = format!(
        "SELECT l.call_id AS listed, c.* FROM ({listed} UNION {queued} ORDER BY call_id \
         LIMIT {PAGE}) l LEFT JOIN call c ON c.id = l.call_id AND c.account_id = ? \
         ORDER BY l.call_id"
    );
    let values = [account, after, account, after, account];
    let mut rows = db::all(tx, &text, values.map(Into::into).to_vec()).await?;
    let listed = rows.len();
    let last = rows.last().map(|row| get(row, "listed")).transpose()?;
    let mut is_there = Vec::with_capacity(listed);
    for row in &rows {
        is_there.push(get::<Option<i64>>(row, "id")?.is_some());
    }
    let mut is_there = is_there.into_iter();
    rows.retain(|_| is_there.next().unwrap_or(false));
    Ok(Page { rows, listed, last })
}

/// A call's charge must follow from its stored usage and the price it was authorized under.
fn rated_again(call: &CallDetail, prices: &mut Prices, findings: &mut Findings) {
    if call.source.is_none() {
        let due = call.charge.get() != 0 || call.overrun.get() != 0;
        findings.must(!due, || format!("{} is void and has a charge", call.id));
        return;
    }
    let Some(terms) = prices.terms(call) else {
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
    let rated = charge(&call.usage, &terms, &call.circumstances(), call.position());
    let split = rated.and_then(|rated| Ok(call.split(rated.exact)?));
    match split {
        Ok(split) => shared_again(call, &split, findings),
        Err(error) => findings.must(false, || format!("{} cannot be rated: {error}", call.id)),
    }
}

/// What is on record as paid by the wallet and by the plan must be what the quotas' parts make of the
/// price.
fn shared_again(call: &CallDetail, split: &Split, findings: &mut Findings) {
    let recorded = call.charge.plus(call.overrun).unwrap_or(Nanos::MAX);
    if recorded != split.due.money() {
        let what = || format!("{} rated again", call.id);
        findings.same(what, recorded, split.due.money());
    }
    let is_quota = |(scope, _): &(BudgetScope, _)| matches!(scope, BudgetScope::Quota { .. });
    let covered = call
        .used
        .iter()
        .any(is_quota)
        .then(|| split.covered.money());
    if call.covered != covered {
        findings.must(false, || {
            let [kept, derived] = [call.covered, covered].map(Option::unwrap_or_default);
            format!(
                "{} covered by its plan: {kept} on record, {derived} by its quotas",
                call.id
            )
        });
    }
}
