//! Credit: added once for its key.

use billing_core::budget::Amount;
use billing_core::id::{AccountId, LedgerTxnId};
use billing_core::ledger::{Entry, LedgerCode, LedgerError, LedgerHead, LedgerKind, LedgerTxn};
use billing_core::money::MoneyError;
use billing_core::port::books::{BooksError, Credited};
use billing_core::settlement::code_of;
use billing_core::wallet::{Credit, Lot, LotKind};
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use super::keyed::{self, Recorded};
use super::{load, lots};
use crate::db;
use crate::instant::micros;

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
    let fingerprint = fingerprint(credit);
    match keyed::recorded(tx, account, &credit.key, &fingerprint).await? {
        Recorded::Nothing => {}
        Recorded::Other => return Err(BooksError::KeyReused),
        Recorded::Same(txn, balance) => {
            return Ok(Credited {
                txn,
                balance,
                replayed: true,
            });
        }
    }
    let balance = credit.check(&wallet)?;
    let txn = journal(account, credit, id, now)?;
    lots::insert(tx, account, &lot(credit, now)).await?;
    keyed::book(tx, &txn, (&fingerprint, &credit.note), balance).await?;
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
    let end = credit.expires_at.map(micros);
    let end = end.map_or_else(String::new, |end| format!(" until {end}"));
    format!("{kind} {amount} {}{end}", credit.currency)
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

fn lot(credit: &Credit, now: OffsetDateTime) -> Lot {
    Lot {
        id: credit.lot,
        kind: credit.kind,
        priority: credit.priority,
        effective_at: now,
        expires_at: credit.expires_at,
        created_at: now,
        granted: Amount::of(credit.amount),
        remaining: Amount::of(credit.amount),
    }
}
