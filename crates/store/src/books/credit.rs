//! Credit: added once for its key.

use billing_core::budget::Amount;
use billing_core::id::{AccountId, LedgerTxnId};
use billing_core::ledger::{Entry, LedgerCode, LedgerError, LedgerHead, LedgerKind, LedgerTxn};
use billing_core::money::{MoneyError, Nanos};
use billing_core::port::books::{BooksError, Credited};
use billing_core::settlement::code_of;
use billing_core::wallet::{Credit, Lot, LotKind};
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use super::load;
use super::save::{ENTRIES, TXNS, push_entries};
use crate::db;
use crate::error::StoreError;
use crate::instant::{get, micros, stored};

/// Adds credit inside a transaction.
pub(crate) async fn add_credit<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    credit: &Credit,
    id: LedgerTxnId,
    now: OffsetDateTime,
) -> Result<Credited, BooksError> {
    let Some(wallet) = load::locked_wallet(tx, account).await? else {
        return Err(BooksError::NoSuchBudget);
    };
    if let Some(earlier) = recorded(tx, account, credit).await? {
        return earlier;
    }
    let balance = credit.check(&wallet)?;
    let txn = journal(account, credit, id, now)?;
    write(tx, &txn, credit, balance).await?;
    db::note_change(tx, "account", Some(account.get()), micros(now)).await?;
    Ok(Credited {
        txn: id,
        balance,
        replayed: false,
    })
}

/// What must be the same when a key comes again.
fn fingerprint(credit: &Credit) -> String {
    let (kind, amount) = (credit.kind.name(), credit.amount.get());
    format!("{kind} {amount} {}", credit.currency)
}

async fn recorded<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    credit: &Credit,
) -> Result<Option<Result<Credited, BooksError>>, StoreError> {
    let text = "SELECT id, fingerprint, balance_after FROM ledger_txn \
                WHERE account_id = ? AND idem_key = ?";
    let values = vec![account.get().into(), credit.key.as_str().into()];
    let Some(row) = db::one(tx, text, values).await? else {
        return Ok(None);
    };
    if get::<Option<String>>(&row, "fingerprint")? != Some(fingerprint(credit)) {
        return Ok(Some(Err(BooksError::KeyReused)));
    }
    Ok(Some(Ok(Credited {
        txn: LedgerTxnId::new(get(&row, "id")?),
        balance: Nanos::new(get(&row, "balance_after")?),
        replayed: true,
    })))
}

fn journal(
    account: AccountId,
    credit: &Credit,
    id: LedgerTxnId,
    now: OffsetDateTime,
) -> Result<LedgerTxn, BooksError> {
    let (kind, debit) = match credit.kind {
        LotKind::Paid => (LedgerKind::TopUp, LedgerCode::PaymentClearing),
        LotKind::Promo => (LedgerKind::Promo, LedgerCode::PromoExpense),
    };
    let head = LedgerHead {
        id,
        account,
        currency: credit.currency,
        kind,
        key: credit.key.clone(),
        booked_at: now,
    };
    let entries = [
        Entry {
            code: debit,
            amount: credit.amount,
            lot: None,
        },
        Entry {
            code: code_of(credit.kind),
            amount: credit.amount.negated()?,
            lot: Some(credit.lot),
        },
    ];
    LedgerTxn::new(head, entries).map_err(|error| match error {
        LedgerError::Money(error) => error.into(),
        LedgerError::Unbalanced(_) => MoneyError::OutOfRange.into(),
    })
}

async fn write<C: ConnectionTrait>(
    tx: &C,
    txn: &LedgerTxn,
    credit: &Credit,
    balance: Nanos,
) -> Result<(), StoreError> {
    let backend = tx.get_database_backend();
    let (account, at) = (txn.account().get(), micros(txn.booked_at()));
    let lot = Lot {
        id: credit.lot,
        kind: credit.kind,
        priority: credit.priority,
        effective_at: txn.booked_at(),
        expires_at: credit.expires_at,
        created_at: txn.booked_at(),
        granted: Amount::of(credit.amount),
        remaining: Amount::of(credit.amount),
    };
    insert_lot(tx, account, &lot).await?;
    let fingerprint = fingerprint(credit);
    let mut head = TXNS.rows(backend);
    head.push([
        account.into(),
        txn.id().get().into(),
        txn.kind().name().into(),
        txn.key().into(),
        fingerprint.as_str().into(),
        at.into(),
        balance.get().into(),
        credit.note.as_str().into(),
    ]);
    head.run(tx).await?;
    let mut legs = ENTRIES.rows(backend);
    push_entries(&mut legs, txn);
    legs.run(tx).await?;
    let text = "UPDATE wallet SET posted = ?, version = version + 1 WHERE account_id = ?";
    db::run(tx, text, vec![balance.get().into(), account.into()]).await?;
    Ok(())
}

/// A lot that is new.
pub(crate) async fn insert_lot<C: ConnectionTrait>(
    tx: &C,
    account: i64,
    lot: &Lot,
) -> Result<(), StoreError> {
    let text = "INSERT INTO lot (account_id, id, kind, priority, effective_at, expires_at, \
                created_at, granted, remaining) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = vec![
        account.into(),
        lot.id.get().into(),
        lot.kind.name().into(),
        i64::from(lot.priority).into(),
        micros(lot.effective_at).into(),
        lot.expires_at.map(micros).into(),
        micros(lot.created_at).into(),
        stored(lot.granted).into(),
        stored(lot.remaining).into(),
    ];
    db::run(tx, text, values).await?;
    Ok(())
}
