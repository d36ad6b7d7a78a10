//! Instants as stored: microseconds since the Unix epoch, UTC.

use billing_core::budget::Amount;
use sea_orm::QueryResult;
use time::OffsetDateTime;

use crate::error::StoreError;

pub(crate) fn micros(at: OffsetDateTime) -> i64 {
    let micros = at.unix_timestamp_nanos().div_euclid(1000);
    i64::try_from(micros).unwrap_or(i64::MAX)
}

pub(crate) fn instant(table: &'static str, micros: i64) -> Result<OffsetDateTime, StoreError> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros).saturating_mul(1000))
        .map_err(|e| StoreError::unreadable(table, e.to_string()))
}

/// An amount as stored.
pub(crate) fn stored(amount: Amount) -> i64 {
    amount.money().get()
}

/// A stored amount.
pub(crate) fn amount(value: i64) -> Amount {
    Amount::new(u64::try_from(value).unwrap_or(0))
}

/// One column of a row.
pub(crate) fn get<T: sea_orm::TryGetable>(row: &QueryResult, name: &str) -> Result<T, StoreError> {
    Ok(row.try_get("", name)?)
}
