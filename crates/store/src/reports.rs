//! Read models: lists, receipts and totals.

use std::collections::BTreeMap;

use async_trait::async_trait;
use billing_core::budget::BudgetScope;
use billing_core::id::{AccountId, CallId, KeyId, LedgerTxnId, LotId, TierScheduleId};
use billing_core::ledger::{LedgerCode, LedgerKind};
use billing_core::money::Nanos;
use billing_core::port::reports::{
    AdjustmentLine, CallDetail, CallFilter, CreditTotals, LedgerLine, ReportError, ReportedDay,
    Reports, UsageGroup, UsageLine,
};
use billing_core::quota::carry::Counted;
use sea_orm::QueryResult;
use time::OffsetDateTime;

use crate::adjustment_list;
use crate::books::load;
use crate::call_list::{Page, bucket_of};
use crate::call_row;
use crate::db;
use crate::error::StoreError;
use crate::instant::{amount, get, instant, micros};
use crate::open::Store;

mod totals;

use self::totals::Span;

/// What is added up of a roll-up.
const USED: [&str; 6] = [
    "calls",
    "void_calls",
    "prompt_tokens",
    "cache_read_tokens",
    "answer_tokens",
    "charge",
];

#[async_trait]
impl Reports for Store {
    async fn call(
        &self,
        account: AccountId,
        call: CallId,
    ) -> Result<Option<CallDetail>, ReportError> {
        Ok(call_row::find(&self.db.reader, account, call).await?)
    }

    async fn call_by_idempotency_key(
        &self,
        account: AccountId,
        key: &str,
    ) -> Result<Option<CallId>, ReportError> {
        let text = "SELECT call_id FROM call_idempotency WHERE account_id = ? AND key = ?";
        let values = vec![account.get().into(), key.into()];
        let row = db::one(&self.db.reader, text, values).await?;
        Ok(row
            .map(|r| get(&r, "call_id"))
            .transpose()?
            .map(CallId::new))
    }

    async fn calls(
        &self,
        account: AccountId,
        filter: CallFilter,
        before: Option<CallId>,
        limit: u32,
    ) -> Result<Vec<CallDetail>, ReportError> {
        let page = Page {
            account,
            filter,
            before,
            limit,
        };
        Ok(db::patiently(page.read(&self.db)).await?)
    }

    async fn call_adjustments(
        &self,
        account: AccountId,
        calls: &[CallId],
    ) -> Result<BTreeMap<CallId, Vec<AdjustmentLine>>, ReportError> {
        let found = adjustment_list::of_calls(&self.db.reader, account, calls);
        Ok(db::patiently(found).await?)
    }

    async fn window_adjustments(
        &self,
        account: AccountId,
        schedule: TierScheduleId,
        window_start: i64,
    ) -> Result<Vec<AdjustmentLine>, ReportError> {
        let reader = &self.db.reader;
        let found = adjustment_list::of_window(reader, account, schedule, window_start);
        Ok(db::patiently(found).await?)
    }

    async fn usage(
        &self,
        account: AccountId,
        from: OffsetDateTime,
        to: OffsetDateTime,
        group: UsageGroup,
    ) -> Result<Vec<UsageLine>, ReportError> {
        let span = Span {
            account,
            from: bucket(from),
            to: micros(to),
        };
        let mut lines = span.lines(&self.db, group).await?;
        if lines.is_empty() && group == UsageGroup::Total {
            lines.push(UsageLine::default());
        }
        Ok(lines)
    }

    async fn usage_by_day(
        &self,
        account: AccountId,
        days: &[ReportedDay],
    ) -> Result<Vec<UsageLine>, ReportError> {
        let (Some(first), Some(last)) = (days.first(), days.last()) else {
            return Ok(Vec::new());
        };
        // By quarter hours, of which each day has a whole number in any zone: what a day is, no
        // database says alike.
        let text = format!(
            "SELECT bucket_start AS line, {} FROM usage_rollup \
             WHERE account_id = ? AND bucket_start >= ? AND bucket_start < ? \
             GROUP BY 1 ORDER BY 1",
            sums(&USED)
        );
        let (from, to) = (bucket(first.start), micros(last.end));
        let values = vec![account.get().into(), from.into(), to.into()];
        let rows = db::patiently(db::all(&self.db.reader, &text, values)).await?;
        let mut lines: Vec<UsageLine> = Vec::new();
        let mut days = days.iter().peekable();
        for row in &rows {
            let at: i64 = get(row, "line")?;
            while days.next_if(|day| micros(day.end) <= at).is_some() {}
            let Some(day) = days.peek().filter(|day| bucket(day.start) <= at) else {
                continue;
            };
            let more = line_of(row, day.date.to_string())?;
            match lines.last_mut().filter(|line| line.group == more.group) {
                Some(line) => line.add(&more),
                None => lines.push(more),
            }
        }
        Ok(lines)
    }

    async fn key_spend(
        &self,
        account: AccountId,
        key: KeyId,
        since: OffsetDateTime,
    ) -> Result<Nanos, ReportError> {
        let text = format!(
            "SELECT {} FROM usage_rollup WHERE account_id = ? AND bucket_start >= ? AND key_id = ?",
            sums(&["charge"])
        );
        let values = vec![account.get().into(), bucket(since).into(), key.get().into()];
        let row = db::patiently(db::one(&self.db.reader, &text, values)).await?;
        let charge = row.map(|r| sum(&r, "charge")).transpose()?;
        Ok(Nanos::new(charge.unwrap_or(0)))
    }

    async fn counted(
        &self,
        account: AccountId,
        scopes: &[BudgetScope],
    ) -> Result<Vec<Counted>, ReportError> {
        const IS: &str = "(kind = ? AND subject = ? AND unit = ? AND window_start = ?)";
        if scopes.is_empty() {
            return Ok(Vec::new());
        }
        let mut values = vec![account.get().into()];
        for scope in scopes {
            let row = scope.row();
            let (kind, unit) = (i64::from(row.kind), i64::from(row.unit));
            let key = [kind, row.subject, unit, row.window_start];
            values.extend(key.map(sea_orm::Value::from));
        }
        let any = vec![IS; scopes.len()].join(" OR ");
        let text = format!(
            "SELECT kind, subject, unit, window_start, used, came, went FROM quota_usage \
             WHERE account_id = ? AND ({any})"
        );
        let rows = db::patiently(db::all(&self.db.reader, &text, values)).await?;
        let mut counted = BTreeMap::new();
        for row in &rows {
            let of_window = Counted {
                used: amount(get(row, "used")?),
                came: amount(get(row, "came")?),
                went: amount(get(row, "went")?),
            };
            counted.insert(load::scope(row)?, of_window);
        }
        let counted = scopes.iter().map(|scope| counted.get(scope).copied());
        Ok(counted.map(Option::unwrap_or_default).collect())
    }

    async fn credits(&self, account: AccountId) -> Result<CreditTotals, ReportError> {
        let text = format!(
            "SELECT w.*, {}, {} FROM wallet w WHERE w.account_id = ?",
            halves("granted", "FROM lot WHERE account_id = w.account_id"),
            halves(
                "charge",
                "FROM usage_rollup WHERE account_id = w.account_id"
            ),
        );
        let values = vec![account.get().into()];
        let row = db::patiently(db::one(&self.db.reader, &text, values)).await?;
        let Some(row) = row else {
            return Ok(CreditTotals::default());
        };
        let wallet = load::wallet(&row)?;
        Ok(CreditTotals {
            credited: Nanos::new(sum(&row, "granted")?),
            charged: Nanos::new(sum(&row, "charge")?),
            balance: wallet.posted,
            credit_limit: wallet.credit_limit,
        })
    }

    async fn ledger(
        &self,
        account: AccountId,
        before: Option<LedgerTxnId>,
        limit: u32,
    ) -> Result<Vec<LedgerLine>, ReportError> {
        let text = "SELECT id, kind, booked_at, note FROM account_journal \
                    WHERE account_id = ? AND id < ? ORDER BY id DESC LIMIT ?";
        let values = vec![
            account.get().into(),
            before.map_or(i64::MAX, LedgerTxnId::get).into(),
            i64::from(limit).into(),
        ];
        let heads = db::patiently(db::all(&self.db.reader, text, values)).await?;
        let ids: Vec<i64> = heads
            .iter()
            .map(|row| get(row, "id"))
            .collect::<Result<_, _>>()?;
        let (Some(newest), Some(oldest)) = (ids.first(), ids.last()) else {
            return Ok(Vec::new());
        };
        // By a range: a view is not searched by what is joined with it. A receipt reads one.
        let (ids_are, ends) = if oldest == newest {
            ("txn_id = ?", vec![*newest])
        } else {
            ("txn_id >= ? AND txn_id <= ?", vec![*oldest, *newest])
        };
        let text = format!(
            "SELECT txn_id, code, amount, lot_id FROM ledger_leg \
             WHERE account_id = ? AND {ids_are} ORDER BY txn_id DESC, leg"
        );
        let values = [account.get()].into_iter().chain(ends);
        let values = values.map(sea_orm::Value::from).collect();
        let legs = db::patiently(db::all(&self.db.reader, &text, values)).await?;
        let mut heads = ids.into_iter().zip(&heads).peekable();
        let mut lines = Vec::with_capacity(legs.len());
        for leg in &legs {
            let of = get::<i64>(leg, "txn_id")?;
            while heads.next_if(|(id, _)| *id > of).is_some() {}
            if let Some((_, head)) = heads.peek().filter(|(id, _)| *id == of) {
                lines.push(ledger_line(head, leg)?);
            }
        }
        Ok(lines)
    }
}

/// Sums of columns, zero of no rows, in two halves each: neither overflows, whatever is summed.
fn sums(columns: &[&str]) -> String {
    let sums: Vec<String> = columns.iter().map(|c| halves(c, "")).collect();
    sums.join(", ")
}

/// The halves of one sum; `source` is what follows the sum where it stands in a query of its own.
pub(crate) fn halves(column: &str, source: &str) -> String {
    let half = |of: &str, name: &str| {
        let sum = format!("SUM({column} {of})");
        let sum = if source.is_empty() {
            sum
        } else {
            format!("(SELECT {sum} {source})")
        };
        format!("CAST(COALESCE({sum}, 0) AS BIGINT) AS {column}_{name}")
    };
    let (high, low) = (half(">> 32", "high"), half("& 4294967295", "low"));
    format!("{high}, {low}")
}

/// A sum from its halves; the largest number that fits where it is larger.
pub(crate) fn sum(row: &QueryResult, column: &str) -> Result<i64, StoreError> {
    let half = |name| get::<i64>(row, &format!("{column}_{name}")).map(i128::from);
    let (high, low) = (half("high")?, half("low")?);
    let sum = high.saturating_mul(1 << 32).saturating_add(low);
    Ok(i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX }))
}

/// The start of the quarter of an hour that holds an instant.
fn bucket(at: OffsetDateTime) -> i64 {
    bucket_of(micros(at))
}

fn line_of(row: &QueryResult, group: String) -> Result<UsageLine, StoreError> {
    let count = |column| Ok::<_, StoreError>(u64::try_from(sum(row, column)?).unwrap_or(0));
    Ok(UsageLine {
        group,
        calls: count("calls")?,
        void_calls: count("void_calls")?,
        prompt_tokens: count("prompt_tokens")?,
        cache_read_tokens: count("cache_read_tokens")?,
        answer_tokens: count("answer_tokens")?,
        charge: Nanos::new(sum(row, "charge")?),
        about: None,
    })
}

fn ledger_line(head: &QueryResult, leg: &QueryResult) -> Result<LedgerLine, StoreError> {
    let kind: String = get(head, "kind")?;
    let code: String = get(leg, "code")?;
    let unknown = |what: &str| StoreError::unreadable("ledger_leg", format!("\"{what}\""));
    Ok(LedgerLine {
        txn: LedgerTxnId::new(get(head, "id")?),
        kind: LedgerKind::of_name(&kind).ok_or_else(|| unknown(&kind))?,
        booked_at: instant("ledger_txn", get(head, "booked_at")?)?,
        code: LedgerCode::of_name(&code).ok_or_else(|| unknown(&code))?,
        amount: Nanos::new(get(leg, "amount")?),
        lot: get::<Option<i64>>(leg, "lot_id")?.map(LotId::new),
        note: get(head, "note")?,
    })
}
