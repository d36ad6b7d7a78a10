//! What moved an account's wallet in a period, from the journal.

use billing_core::id::{AccountId, first_id_at};
use billing_core::invoice::{MOST_BOOKED, Moved, MovedBy, Statement, StatementOf};
use billing_core::ledger::{LedgerCode, LedgerKind};
use billing_core::money::{Currency, MoneyError, Nanos};
use billing_core::period::Period;
use billing_core::port::invoices::InvoicesError;
use billing_core::port::reports::ReportedDay;
use billing_core::zone::Zone;
use sea_orm::{ConnectionTrait, QueryResult};
use time::OffsetDateTime;

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, instant};
use crate::open::Store;
use crate::plans;
use crate::reports::{halves, sum};

/// What a wallet's balance is made of, in the journal.
const OF_BALANCE: [LedgerCode; 4] = [
    LedgerCode::WalletPaid,
    LedgerCode::WalletPromo,
    LedgerCode::Unbilled,
    LedgerCode::ReceivableUsage,
];

/// A statement of a period, as far as it is over by an instant.
pub(super) async fn of_period(
    store: &Store,
    account: AccountId,
    period: Period,
    now: OffsetDateTime,
) -> Result<Statement, InvoicesError> {
    let is_open = now < period.end;
    let period = Period {
        end: period.end.min(now).max(period.start),
        ..period
    };
    let tx = store.db.snapshot().await?;
    let read = read(&tx, store, account, (period, is_open)).await;
    let (of, moved) = db::finish(tx, read).await?;
    Ok(store.invoicing.statement(of, moved)?)
}

async fn read<C: ConnectionTrait>(
    tx: &C,
    store: &Store,
    account: AccountId,
    (period, is_open): (Period, bool),
) -> Result<(StatementOf, Moved), InvoicesError> {
    let text = "SELECT a.name, a.zone, a.currency, a.billing_details, w.posted FROM account a \
                JOIN wallet w ON w.account_id = a.id WHERE a.id = ?";
    let row = db::one(tx, text, vec![account.get().into()]).await?;
    let row = row.ok_or(InvoicesError::NoSuchAccount)?;
    let (name, zone): (String, String) = (get(&row, "name")?, get(&row, "zone")?);
    let zone: Zone = zone.parse().map_err(unreadable)?;
    let currency: String = get(&row, "currency")?;
    let details: Option<String> = get(&row, "billing_details")?;
    let buyer = match details {
        Some(text) => plans::read("account", &text)?,
        None => store.invoicing.unnamed_buyer(account, &name),
    };
    let of = StatementOf {
        account,
        currency: Currency::parse(&currency).map_err(unreadable)?,
        buyer,
        period,
    };
    let days = ReportedDay::of_period(&zone, period.start, period.end);
    let mut ids = Ids {
        first: first_id(period.start),
        ends: days.iter().map(|day| first_id(day.end)).collect(),
    };
    if let Some(last) = ids.ends.last_mut().filter(|_| is_open) {
        *last = i64::MAX;
    }
    let booked = booked(tx, account, &ids).await?;
    let (by_day, later) = changes(tx, account, &ids).await?;
    let now = Nanos::new(get(&row, "posted")?);
    let moved = moved(&days, by_day, booked, (now, later));
    Ok((of, moved.map_err(|error| unfit(&error))?))
}

/// Which transactions are of which day, by their ids.
struct Ids {
    first: i64,
    /// Each day's first id that is of the next one.
    ends: Vec<i64>,
}

/// Puts it together: what calls changed on a day is what changed less what else was booked on it.
fn moved(
    days: &[ReportedDay],
    mut by_day: Vec<Nanos>,
    booked: Vec<(usize, MovedBy)>,
    (now, later): (Nanos, Nanos),
) -> Result<Moved, MoneyError> {
    let closing = now.minus(later)?;
    let all = by_day
        .iter()
        .try_fold(Nanos::ZERO, |sum, day| sum.plus(*day))?;
    for (day, by) in &booked {
        if let Some(changed) = by_day.get_mut(*day) {
            *changed = changed.minus(by.amount)?;
        }
    }
    let usage = days.iter().copied().zip(by_day);
    Ok(Moved {
        opening: closing.minus(all)?,
        usage: usage.filter(|(_, changed)| !changed.is_zero()).collect(),
        booked: booked.into_iter().map(|(_, by)| by).collect(),
        closing,
    })
}

/// How each day changed the balance, and what came after the last.
async fn changes<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    ids: &Ids,
) -> Result<(Vec<Nanos>, Nanos), StoreError> {
    let is_before = |(place, end): (usize, &i64)| format!("WHEN txn_id < {end} THEN {place} ");
    let cases: String = ids.ends.iter().enumerate().map(is_before).collect();
    let after = ids.ends.len();
    let place = if cases.is_empty() {
        after.to_string()
    } else {
        format!("CASE {cases}ELSE {after} END")
    };
    let (codes, sums) = (codes(), halves("amount", ""));
    let text = format!(
        "SELECT CAST({place} AS BIGINT) AS place, {sums} FROM ledger_leg \
         WHERE account_id = ? AND txn_id >= ? AND code IN ({codes}) GROUP BY 1"
    );
    let values = vec![account.get().into(), ids.first.into()];
    let mut by_day = vec![Nanos::ZERO; after];
    let mut later = Nanos::ZERO;
    for row in db::all(tx, &text, values).await? {
        let place = usize::try_from(get::<i64>(&row, "place")?).unwrap_or(after);
        let changed = Nanos::new(sum(&row, "amount")?).negated();
        let changed = changed.map_err(|error| unfit(&error))?;
        match by_day.get_mut(place) {
            Some(day) => *day = changed,
            None => later = changed,
        }
    }
    Ok((by_day, later))
}

/// What was booked beside settlements, with the place of its day.
async fn booked<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    ids: &Ids,
) -> Result<Vec<(usize, MovedBy)>, StoreError> {
    let codes = codes();
    let text = format!(
        "SELECT t.id, t.kind, t.booked_at, t.note, CAST(-SUM(e.amount) AS BIGINT) AS amount \
         FROM account_journal t CROSS JOIN ledger_entry e \
         WHERE t.account_id = ? AND t.id >= ? AND t.id < ? AND t.kind <> 'settlement' \
         AND e.account_id = t.account_id AND e.txn_id = t.id AND e.code IN ({codes}) \
         GROUP BY t.id, t.kind, t.booked_at, t.note ORDER BY t.id LIMIT ?"
    );
    let values = vec![
        account.get().into(),
        ids.first.into(),
        ids.ends.last().copied().unwrap_or(ids.first).into(),
        i64::from(MOST_BOOKED).saturating_add(1).into(),
    ];
    let rows = db::all(tx, &text, values).await?;
    rows.iter().map(|row| booked_of(row, ids)).collect()
}

fn booked_of(row: &QueryResult, ids: &Ids) -> Result<(usize, MovedBy), StoreError> {
    let (id, kind): (i64, String) = (get(row, "id")?, get(row, "kind")?);
    let unknown = || StoreError::unreadable("ledger_txn", format!("\"{kind}\""));
    let by = MovedBy {
        at: instant("ledger_txn", get(row, "booked_at")?)?,
        kind: LedgerKind::of_name(&kind).ok_or_else(unknown)?,
        note: get(row, "note")?,
        amount: Nanos::new(get(row, "amount")?),
    };
    let day = ids.ends.iter().position(|end| id < *end);
    Ok((day.unwrap_or(ids.ends.len()), by))
}

fn codes() -> String {
    OF_BALANCE
        .map(|code| format!("'{}'", code.name()))
        .join(", ")
}

/// The first id that can have been made at an instant.
fn first_id(at: OffsetDateTime) -> i64 {
    let ms = at.unix_timestamp_nanos().div_euclid(1_000_000);
    first_id_at(i64::try_from(ms).unwrap_or(0))
}

fn unfit(error: &MoneyError) -> StoreError {
    StoreError::unreadable("ledger_leg", error.to_string())
}

fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::unreadable("account", error.to_string())
}
