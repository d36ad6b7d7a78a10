//! Compares the roll-ups with the calls, bucket by bucket.

use billing_core::id::KeyId;
use sea_orm::{ConnectionTrait, QueryResult};

use super::Pass;
use super::findings::Findings;
use super::fingerprint::{Fingerprint, Name};
use super::names::Names;
use super::sums::Walked;
use crate::db;
use crate::error::StoreError;
use crate::instant::get;

/// How many rows are looked at together.
const PAGE: usize = 1000;

/// Start of the bucket, key and model.
pub(super) type RollupKey = (i64, i64, String);
/// Calls, void calls, prompt, cached and answer tokens, charge, overrun.
pub(super) type RollupSums = [i128; 7];

/// Adds a row, or what one call adds to it.
pub(super) fn add(sum: &mut Fingerprint, (bucket, key, model): &RollupKey, sums: &RollupSums) {
    let row = Name::of(6).number(*bucket).number(*key).text(model);
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
    let mut after = (from, i64::MIN, String::new());
    let mut all = pass.from.rollup;
    let mut sealed = all;
    loop {
        let rows = page(tx, pass.account, &after).await?;
        for row in &rows {
            let (key, kept) = read(row)?;
            add(&mut all, &key, &kept);
            if key.0 < upto {
                sealed = all;
            }
            if let Some(names) = &mut pass.names {
                compare(names, &key, &kept, &mut pass.findings);
            }
            after = key;
        }
        if rows.len() < PAGE {
            return Ok(Walked { all, sealed, upto });
        }
    }
}

fn compare(names: &mut Names, key: &RollupKey, kept: &RollupSums, findings: &mut Findings) {
    let calls = names.rollup.remove(key).unwrap_or_default();
    findings.must(*kept == calls, || {
        let (bucket, id, model) = key;
        let id = KeyId::new(*id);
        format!("roll-up {bucket} of {id} and {model}: kept {kept:?}, derived {calls:?}")
    });
}

/// What calls add up to and no row says.
pub(super) fn check_missing(names: &Names, findings: &mut Findings) {
    for ((bucket, key, model), sums) in &names.rollup {
        findings.must(false, || {
            let key = KeyId::new(*key);
            format!("roll-up {bucket} of {key} and {model} is missing: {sums:?}")
        });
    }
}

async fn page<C: ConnectionTrait>(
    tx: &C,
    account: i64,
    (bucket, key, model): &RollupKey,
) -> Result<Vec<QueryResult>, StoreError> {
    let text = format!(
        "SELECT * FROM usage_rollup \
         WHERE account_id = ? AND (bucket_start, key_id, model) > (?, ?, ?) \
         ORDER BY bucket_start, key_id, model LIMIT {PAGE}"
    );
    let values = vec![
        account.into(),
        (*bucket).into(),
        (*key).into(),
        model.as_str().into(),
    ];
    db::all(tx, &text, values).await
}

fn read(row: &QueryResult) -> Result<(RollupKey, RollupSums), StoreError> {
    let key = (
        get(row, "bucket_start")?,
        get(row, "key_id")?,
        get(row, "model")?,
    );
    let column = |name| get::<i64>(row, name).map(i128::from);
    let sums = [
        column("calls")?,
        column("void_calls")?,
        column("prompt_tokens")?,
        column("cache_read_tokens")?,
        column("answer_tokens")?,
        column("charge")?,
        column("overrun")?,
    ];
    Ok((key, sums))
}
