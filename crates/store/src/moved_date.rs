//! How far the date is ahead of the machine's.

use async_trait::async_trait;
use billing_core::port::clock::{Advance, MoveError, MovedDate, moved};
use sea_orm::ConnectionTrait;
use time::{Duration, OffsetDateTime};

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, micros};
use crate::open::Store;

#[async_trait]
impl MovedDate for Store {
    async fn ahead(&self) -> Result<Duration, MoveError> {
        Ok(ahead(&self.db.reader, "").await?)
    }

    async fn advance(&self, by: Advance, machine: OffsetDateTime) -> Result<Duration, MoveError> {
        let tx = self.db.begin().await?;
        let result = advance(&tx, by, machine).await;
        db::finish(tx, result).await
    }
}

async fn advance<C: ConnectionTrait>(
    tx: &C,
    by: Advance,
    machine: OffsetDateTime,
) -> Result<Duration, MoveError> {
    // Made first, so that there is a row to lock for whoever moves it at the same time.
    let row = "INSERT INTO moved_date (one, ahead) VALUES (1, 0) ON CONFLICT (one) DO NOTHING";
    db::run(tx, row, Vec::new()).await?;
    let ahead = moved(ahead(tx, "{lock}").await?, by, machine)?;
    let stored = i64::try_from(ahead.whole_microseconds())
        .map_err(|_| StoreError::unreadable("moved_date", "it is too far ahead"))?;
    let text = "UPDATE moved_date SET ahead = ?";
    db::run(tx, text, vec![stored.into()]).await?;
    db::note_change(tx, "date", None, micros(machine.saturating_add(ahead))).await?;
    Ok(ahead)
}

async fn ahead<C: ConnectionTrait>(db: &C, lock: &str) -> Result<Duration, StoreError> {
    let text = format!("SELECT ahead FROM moved_date{lock}");
    let row = db::one(db, &text, Vec::new()).await?;
    let ahead = row.map(|row| get::<i64>(&row, "ahead")).transpose()?;
    Ok(Duration::microseconds(ahead.unwrap_or(0)))
}
