//! Pages of an account's calls, newest first.
//!
//! A page without a filter reads its own rows. What a filter rarely lets through is not looked for
//! call by call: the roll-ups say in which quarter hours there are such calls, and only those are
//! read. So no index is kept for filters, which every settlement would pay for.

use billing_core::id::{AccountId, CallId, first_id_at, time_of_id};
use billing_core::port::reports::{CallDetail, CallFilter};
use sea_orm::{QueryResult, Value};
use time::OffsetDateTime;

use crate::books::save::BUCKET_US;
use crate::call_row;
use crate::db::{self, Db};
use crate::error::StoreError;
use crate::instant::{get, micros};

/// How far the time in a call's id may be from its start. A node takes both from its own clock, one
/// right after the other; so this is by how much that clock may be set back at once.
const APART_US: i64 = 5 * 60 * 1_000_000;
/// Calls may be kept for so long after the line of retention.
const KEPT_US: i64 = 4 * 3600 * 1_000_000;
/// How many quarter hours are looked up first, and at most, at a time.
const BUCKETS: (usize, usize) = (4, 256);

/// The start of the quarter of an hour that holds an instant; both in microseconds.
pub(crate) fn bucket_of(at: i64) -> i64 {
    at.saturating_sub(at.rem_euclid(BUCKET_US))
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) account: AccountId,
    pub(crate) filter: CallFilter,
    pub(crate) before: Option<CallId>,
    /// How many calls at most.
    pub(crate) limit: u32,
}

/// Ids from the first on, below the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ids {
    first: i64,
    end: i64,
}

/// Where the calls of an account stand in order.
#[derive(Debug, Clone, Copy)]
enum List {
    /// In the table of calls: its key leads with the account.
    ByKey,
    /// In a table of their ids.
    In(&'static str),
}

impl Page {
    /// Reads the calls.
    pub(crate) async fn read(&self, db: &Db) -> Result<Vec<CallDetail>, StoreError> {
        let span = self.span();
        let mut rows = Vec::new();
        let list = if db.backend() == sea_orm::DbBackend::Sqlite {
            // The queue first: a call that moves meanwhile is found in the list.
            let queue = List::In("call_unlisted");
            rows.extend(self.rows(db, queue, span, self.limit).await?);
            List::In("account_call")
        } else {
            List::ByKey
        };
        if self.filter.key.is_none() && self.filter.model.is_none() {
            rows.extend(self.rows(db, list, span, self.limit).await?);
        } else {
            rows.extend(self.filtered(db, list, span).await?);
        }
        let mut calls = call_row::details(&db.reader, &rows).await?;
        calls.sort_by_key(|call| std::cmp::Reverse(call.id));
        calls.dedup_by_key(|call| call.id);
        calls.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
        Ok(calls)
    }

    /// The ids that the page and the times of the filter leave.
    fn span(&self) -> Ids {
        let edge = |at: OffsetDateTime, by: i64| first_id(micros(at).saturating_add(by));
        let before = self.before.map_or(i64::MAX, CallId::get);
        let end = self.filter.to.map_or(before, |to| edge(to, APART_US));
        Ids {
            first: self.filter.from.map_or(0, |from| edge(from, -APART_US)),
            end: end.min(before),
        }
    }

    /// From the newest quarter hour on that has such calls. Each of them has one at least, so there
    /// are no more look-ups than calls.
    async fn filtered(
        &self,
        db: &Db,
        list: List,
        span: Ids,
    ) -> Result<Vec<QueryResult>, StoreError> {
        let mut rows = Vec::new();
        let mut end = span.end;
        let (mut many, most) = BUCKETS;
        let newest = time_of_id(span.end).saturating_mul(1000);
        let mut below = newest.saturating_add(APART_US).saturating_add(1);
        loop {
            let buckets = self.buckets(db, below, many).await?;
            for part in read_together(&buckets) {
                let part = Ids {
                    first: part.first.max(span.first),
                    end: part.end.min(end),
                };
                let found = u32::try_from(rows.len()).unwrap_or(u32::MAX);
                let missing = self.limit.saturating_sub(found);
                if missing == 0 {
                    return Ok(rows);
                }
                if part.first < part.end {
                    rows.extend(self.rows(db, list, part, missing).await?);
                    end = part.first;
                }
            }
            match buckets.last() {
                Some(last) if buckets.len() == many => below = *last,
                _ => return Ok(rows),
            }
            many = many.saturating_mul(4).min(most);
        }
    }

    /// The starts of the newest quarter hours before one in which such calls began, the newest
    /// first.
    async fn buckets(&self, db: &Db, below: i64, many: usize) -> Result<Vec<i64>, StoreError> {
        let mut text = "SELECT bucket_start FROM usage_rollup WHERE account_id = ? \
            AND bucket_start < ? AND bucket_start >= ? AND bucket_start > \
            COALESCE((SELECT calls_since FROM retention WHERE id = 1), 0) - ?"
            .to_owned();
        let from = self
            .filter
            .from
            .map_or(i64::MIN, |at| bucket_of(micros(at)));
        let below = self.filter.to.map_or(below, |to| below.min(micros(to)));
        let mut values: Vec<Value> = vec![
            self.account.get().into(),
            below.into(),
            from.into(),
            KEPT_US.into(),
        ];
        if let Some(key) = self.filter.key {
            text.push_str(" AND key_id = ?");
            values.push(key.get().into());
        }
        if let Some(model) = &self.filter.model {
            text.push_str(" AND model = ?");
            values.push(model.as_str().into());
        }
        text.push_str(" GROUP BY bucket_start ORDER BY bucket_start DESC LIMIT ?");
        values.push(i64::try_from(many).unwrap_or(i64::MAX).into());
        let rows = db::all(&db.reader, &text, values).await?;
        rows.iter().map(|row| get(row, "bucket_start")).collect()
    }

    async fn rows(
        &self,
        db: &Db,
        list: List,
        ids: Ids,
        limit: u32,
    ) -> Result<Vec<QueryResult>, StoreError> {
        let (mut text, last) = match list {
            List::ByKey => (
                "SELECT c.* FROM call c WHERE c.account_id = ? AND c.id >= ? AND c.id < ?"
                    .to_owned(),
                " ORDER BY c.id DESC LIMIT ?",
            ),
            List::In(table) => (
                format!(
                    "SELECT c.* FROM {table} l CROSS JOIN call c \
                     WHERE c.id = l.call_id AND c.account_id = l.account_id \
                     AND l.account_id = ? AND l.call_id >= ? AND l.call_id < ?"
                ),
                " ORDER BY l.call_id DESC LIMIT ?",
            ),
        };
        let mut values: Vec<Value> =
            vec![self.account.get().into(), ids.first.into(), ids.end.into()];
        let mut wanted = Vec::new();
        let mut narrow = |condition, value: Value| {
            wanted.push(condition);
            values.push(value);
        };
        if let Some(key) = self.filter.key {
            narrow("c.key_id = ?", key.get().into());
        }
        if let Some(model) = &self.filter.model {
            narrow("c.model = ?", model.as_str().into());
        }
        if let Some(from) = self.filter.from {
            narrow("c.started_at >= ?", micros(from).into());
        }
        if let Some(to) = self.filter.to {
            narrow("c.started_at < ?", micros(to).into());
        }
        if !wanted.is_empty() {
            // Hidden from PostgreSQL's planner, which would think that few calls pass, and read and
            // sort all of them instead of going down the key until the page is full.
            let wanted = wanted.join(" AND ");
            text = format!("{text} AND CASE WHEN {wanted} THEN true ELSE false END");
        }
        text.push_str(last);
        values.push(i64::from(limit).into());
        db::all(&db.reader, &text, values).await
    }
}

fn first_id(at_us: i64) -> i64 {
    first_id_at(at_us.div_euclid(1000))
}

/// The ids of the calls of these quarter hours, the newest first; those that touch are one part.
fn read_together(buckets: &[i64]) -> Vec<Ids> {
    let mut parts: Vec<Ids> = Vec::new();
    for start in buckets {
        let first = first_id(start.saturating_sub(APART_US));
        let end = first_id(start.saturating_add(BUCKET_US).saturating_add(APART_US));
        match parts.last_mut() {
            Some(part) if part.first <= end => part.first = first,
            _ => parts.push(Ids { first, end }),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarter_hours_that_touch_are_read_together() {
        let noon = 1_795_348_800_000_000;
        let (quarter, edge) = (BUCKET_US, APART_US);
        let parts = read_together(&[noon, noon - quarter, noon - 4 * quarter]);
        let expected = [
            (noon - quarter - edge, noon + quarter + edge),
            (noon - 4 * quarter - edge, noon - 3 * quarter + edge),
        ];
        let expected = expected.map(|(first, end)| Ids {
            first: first_id(first),
            end: first_id(end),
        });
        assert_eq!(parts, expected);
    }
}
