//! Compares the roll-ups of plans with the calls that name theirs, bucket by bucket.

use billing_core::id::{PlanVersionId, QuotaId};
use sea_orm::{ConnectionTrait, QueryResult};

use super::Pass;
use super::findings::Findings;
use super::fingerprint::{Fingerprint, Name};
use super::names::Names;
use super::sums::Walked;
use crate::books::save::plan_rollup::{ANY_QUOTA, NO_QUOTA};
use crate::db;
use crate::error::StoreError;
use crate::instant::get;

/// How many rows are looked at together.
const PAGE: usize = 1000;

/// What is added up, in the order of [`PlanSums`].
const COLUMNS: [&str; 8] = [
    "calls",
    "void_calls",
    "prompt_tokens",
    "cache_read_tokens",
    "answer_tokens",
    "charge",
    "covered",
    "drawn",
];

/// Start of the bucket, version of the plan, quota.
pub(super) type PlanKey = (i64, i64, i64);
/// Calls, void calls, prompt, cached and answer tokens, charge, what the plan covered, what was drawn.
pub(super) type PlanSums = [i128; 8];

/// Adds a row, or what one call adds to it.
pub(super) fn add(sum: &mut Fingerprint, (bucket, version, quota): PlanKey, sums: &PlanSums) {
    let row = Name::of(8).number(bucket).number(version).number(quota);
    for (column, amount) in (0..).zip(sums) {
        if *amount != 0 {
            sum.add(row.number(column), *amount);
        }
    }
}

/// Walks the roll-ups after those that were carried over; what lies before `upto` is final.
pub(super) async fn walk<C: ConnectionTrait>(
    tx: &C,
    pass: &mut Pass<'_>,
    upto: i64,
) -> Result<Walked<Fingerprint>, StoreError> {
    let from = pass.from.bucket.max(pass.from.since);
    let mut after = (from, i64::MIN, i64::MIN);
    let mut all = pass.from.plans;
    let mut sealed = all;
    loop {
        let rows = page(tx, pass.account, after).await?;
        for row in &rows {
            let (key, kept) = read(row)?;
            add(&mut all, key, &kept);
            if key.0 < upto {
                sealed = all;
            }
            if let Some(names) = &mut pass.names {
                compare(names, key, &kept, &mut pass.findings);
            }
            after = key;
        }
        if rows.len() < PAGE {
            return Ok(Walked { all, sealed, upto });
        }
    }
}

fn compare(names: &mut Names, key: PlanKey, kept: &PlanSums, findings: &mut Findings) {
    let calls = names.plans.remove(&key).unwrap_or_default();
    findings.must(*kept == calls, || {
        format!("roll-up {}: kept {kept:?}, derived {calls:?}", named(key))
    });
}

/// What calls add up to and no row says.
pub(super) fn check_missing(names: &Names, findings: &mut Findings) {
    for (key, sums) in &names.plans {
        findings.must(false, || {
            format!("roll-up {} is missing: {sums:?}", named(*key))
        });
    }
}

fn named((bucket, version, quota): PlanKey) -> String {
    let version = PlanVersionId::new(version);
    match quota {
        NO_QUOTA => format!("{bucket} of {version} without a quota"),
        ANY_QUOTA => format!("{bucket} of {version} with any quota"),
        quota => format!("{bucket} of {version} and {}", QuotaId::new(quota)),
    }
}

async fn page<C: ConnectionTrait>(
    tx: &C,
    account: i64,
    (bucket, version, quota): PlanKey,
) -> Result<Vec<QueryResult>, StoreError> {
    let text = format!(
        "SELECT * FROM plan_rollup \
         WHERE account_id = ? AND (bucket_start, plan_version_id, quota_id) > (?, ?, ?) \
         ORDER BY bucket_start, plan_version_id, quota_id LIMIT {PAGE}"
    );
    let values = [account, bucket, version, quota].map(Into::into);
    db::all(tx, &text, values.to_vec()).await
}

fn read(row: &QueryResult) -> Result<(PlanKey, PlanSums), StoreError> {
    let key = (
        get(row, "bucket_start")?,
        get(row, "plan_version_id")?,
        get(row, "quota_id")?,
    );
    let mut sums = PlanSums::default();
    for (sum, column) in sums.iter_mut().zip(COLUMNS) {
        *sum = get::<i64>(row, column)?.into();
    }
    Ok((key, sums))
}
