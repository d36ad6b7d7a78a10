//! The store's time: that of the database where it may be on another machine, so that what several
//! nodes compare was dated by one clock.

use sea_orm::{ConnectionTrait, DbBackend, Value};
use time::OffsetDateTime;

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, micros};

/// What PostgreSQL's clock shows now, not when the transaction began: microseconds.
const DATABASE_TIME: &str = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";

/// The store's time as a column `at` of one row `v`, to select from first, and what is to be bound
/// for it before all else.
pub(crate) fn row_of_time(backend: DbBackend, now: OffsetDateTime) -> (String, Option<Value>) {
    if backend == DbBackend::Sqlite {
        let text = "(SELECT CAST(? AS INTEGER) AS at) v".to_owned();
        return (text, Some(micros(now).into()));
    }
    (format!("(SELECT {DATABASE_TIME} AS at) v"), None)
}

/// A statement in which `{now}` is the store's time in microseconds. `{most}` is the greater of two
/// numbers.
pub(crate) fn dated(backend: DbBackend, text: &str, now: OffsetDateTime) -> String {
    if backend == DbBackend::Sqlite {
        let now = micros(now).to_string();
        return text.replace("{now}", &now).replace("{most}", "MAX");
    }
    text.replace("{now}", DATABASE_TIME)
        .replace("{most}", "GREATEST")
}

/// The store's time; `now` is that of this process.
pub(crate) async fn store_time<C: ConnectionTrait>(
    db: &C,
    now: OffsetDateTime,
) -> Result<i64, StoreError> {
    let text = dated(db.get_database_backend(), "SELECT {now} AS at", now);
    let row = db::one(db, &text, Vec::new()).await?;
    row.map_or(Ok(micros(now)), |row| get(&row, "at"))
}
