//! Credit whose time is over: found, and taken away once.

use billing_core::id::AccountId;
use billing_core::lapse::lapse;
use billing_core::ledger::LedgerTxn;
use billing_core::money::{Currency, Nanos};
use billing_core::port::books::{BooksError, Lapsed, Lapsing};
use billing_core::settlement::Booking;
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use super::{keyed, lease, load, lots};
use crate::db;
use crate::error::StoreError;
use crate::instant::{get, micros};

/// Accounts with lots whose time is over and that were not found empty since.
pub(crate) async fn due<C: ConnectionTrait>(
    db: &C,
    by: OffsetDateTime,
    after: Option<AccountId>,
    limit: u32,
) -> Result<Vec<Lapsing>, StoreError> {
    let text = "SELECT l.account_id, w.currency, CAST(SUM(l.remaining) AS BIGINT) AS amount \
                FROM lot l JOIN wallet w ON w.account_id = l.account_id \
                WHERE l.expires_at <= ? AND l.lapsed_at IS NULL AND l.account_id > ? \
                GROUP BY l.account_id, w.currency ORDER BY l.account_id LIMIT ?";
    let values = vec![
        micros(by).into(),
        after.map_or(i64::MIN, AccountId::get).into(),
        i64::from(limit).into(),
    ];
    let rows = db::all(db, text, values).await?;
    let lapsing = rows.iter().map(|row| {
        let code: String = get(row, "currency")?;
        let currency = Currency::parse(&code);
        Ok(Lapsing {
            account: AccountId::new(get(row, "account_id")?),
            currency: currency.map_err(|e| StoreError::unreadable("wallet", e.to_string()))?,
            amount: Nanos::new(get(row, "amount")?),
        })
    });
    lapsing.collect()
}

/// Takes away what is over inside a transaction, and recalls what nodes have of it.
pub(crate) async fn lapse_lots<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    booking: Booking,
) -> Result<Lapsed, BooksError> {
    let wallet = load::locked_wallet(tx, account).await?;
    let wallet = wallet.ok_or(BooksError::NoSuchBudget)?;
    let before = lots::holding(tx, account).await?;
    let after = lapse(account, wallet, before.clone(), booking)
        .map_err(|error| BooksError::Inconsistent(error.to_string()))?;
    if after.on_lease.is_zero() {
        lease::drop_claim_of_house(tx, account).await?;
    } else {
        lease::claim_for_house(tx, account, after.on_lease, booking.now).await?;
    }
    lots::write(tx, account, (&before, &after.lots)).await?;
    note_empty(tx, account, booking.now).await?;
    if let Some(txn) = &after.txn {
        let fingerprint = format!("expiry {} {}", after.lapsed, wallet.currency);
        keyed::book(tx, txn, (&fingerprint, ""), after.wallet.posted).await?;
        let at = micros(booking.now);
        db::note_change(tx, "account", Some(account.get()), at).await?;
    }
    Ok(Lapsed {
        amount: after.lapsed.money(),
        on_lease: after.on_lease,
        txn: after.txn.as_ref().map(LedgerTxn::id),
        balance: after.wallet.posted,
    })
}

/// Lots of which nothing is left are not looked at again. Nothing is ever given back to a lot.
async fn note_empty<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let text = "UPDATE lot SET lapsed_at = ? WHERE account_id = ? AND expires_at <= ? \
                AND lapsed_at IS NULL AND remaining = 0";
    let now = micros(now);
    db::run(tx, text, vec![now.into(), account.get().into(), now.into()]).await?;
    Ok(())
}
