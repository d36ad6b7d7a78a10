//! Fees that are paid from wallets: once for a fee, and one answer for a try.

use async_trait::async_trait;
use billing_core::fee_payment::{FEE_WAITS, FeePayment, PaidFee, pay_from_wallet, payment_key};
use billing_core::id::AccountId;
use billing_core::port::subscriptions::{Collected, Collector, RecordError};
use billing_core::settlement::Booking;
use billing_core::subscription::Fee;
use billing_core::wallet::Lot;
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use crate::books::keyed::{self, Recorded};
use crate::books::{lease, load, lots};
use crate::db;
use crate::error::StoreError;
use crate::instant::{get, instant, micros};
use crate::invoices::{deferral, row};
use crate::open::Store;

#[async_trait]
impl Collector for Store {
    async fn collect(
        &self,
        account: AccountId,
        fee: &Fee,
        attempt: u8,
        now: OffsetDateTime,
    ) -> Result<Collected, RecordError> {
        let booking = Booking {
            txn: self.ids.next(now),
            now,
        };
        let tx = self.db.begin().await?;
        let result = collect(&tx, account, (fee, attempt), booking).await;
        let result = db::finish(tx, result).await;
        self.committer.forget(account);
        result
    }
}

async fn collect<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    (fee, attempt): (&Fee, u8),
    booking: Booking,
) -> Result<Collected, RecordError> {
    let wallet = load::locked_wallet(tx, account).await?;
    let wallet =
        wallet.ok_or_else(|| RecordError::Inconsistent(format!("{account} is no more")))?;
    let fingerprint = format!("fee {} {}", fee.amount, wallet.currency);
    match keyed::recorded(tx, account, &payment_key(fee), &fingerprint).await? {
        Recorded::Nothing => {}
        Recorded::Same(..) => return Ok(Collected::Paid),
        Recorded::Other => {
            let what = format!("{} was paid as another amount", fee.key);
            return Err(RecordError::Inconsistent(what));
        }
    }
    let waits_since = match tried(tx, fee, attempt).await? {
        Some((outcome, _)) if outcome == "declined" => return Ok(Collected::Declined),
        Some((_, since)) => Some(since),
        None => None,
    };
    let before = lots::holding(tx, account).await?;
    let invoice = row::of_fee(tx, account, fee).await?;
    let paid = pay_from_wallet(account, wallet, before.clone(), (fee, invoice), booking);
    let paid = paid.map_err(|error| RecordError::Inconsistent(error.to_string()))?;
    let gave_up = waits_since.is_some_and(|since| booking.now >= since.saturating_add(FEE_WAITS));
    let (outcome, collected) = match &paid {
        FeePayment::Paid(paid) => {
            let texts = (fingerprint.as_str(), "fee of a subscription");
            write(tx, paid, &before, texts).await?;
            ("paid", Collected::Paid)
        }
        FeePayment::Forgiven => ("paid", Collected::Paid),
        FeePayment::OnLease(missing) if !gave_up => {
            lease::claim_for_house(tx, account, *missing, booking.now).await?;
            ("waits", Collected::Unknown)
        }
        FeePayment::OnLease(_) | FeePayment::Short => ("declined", Collected::Declined),
    };
    if collected != Collected::Unknown {
        lease::drop_claim_of_house(tx, account).await?;
    }
    note(tx, (fee, attempt), outcome, booking.now).await?;
    Ok(collected)
}

/// What came of a try so far, and since when.
async fn tried<C: ConnectionTrait>(
    tx: &C,
    fee: &Fee,
    attempt: u8,
) -> Result<Option<(String, OffsetDateTime)>, StoreError> {
    let text = "SELECT outcome, began_at FROM fee_try WHERE fee_key = ? AND number = ?";
    let values = vec![fee.key.as_str().into(), i64::from(attempt).into()];
    let found = db::one(tx, text, values).await?;
    found
        .map(|row| {
            Ok((
                get(&row, "outcome")?,
                instant("fee_try", get(&row, "began_at")?)?,
            ))
        })
        .transpose()
}

async fn note<C: ConnectionTrait>(
    tx: &C,
    (fee, attempt): (&Fee, u8),
    outcome: &str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let text = "INSERT INTO fee_try (fee_key, number, outcome, began_at) VALUES (?, ?, ?, ?) \
                ON CONFLICT (fee_key, number) DO UPDATE SET outcome = excluded.outcome";
    let values = vec![
        fee.key.as_str().into(),
        i64::from(attempt).into(),
        outcome.into(),
        micros(now).into(),
    ];
    db::run(tx, text, values).await?;
    Ok(())
}

/// Writes what was booked, with a fingerprint and a note, over the lots that were there before.
pub(super) async fn write<C: ConnectionTrait>(
    tx: &C,
    paid: &PaidFee,
    before: &[Lot],
    texts: (&str, &str),
) -> Result<(), StoreError> {
    let account = paid.txn.account();
    lots::write(tx, account, (before, &paid.lots)).await?;
    keyed::book(tx, &paid.txn, texts, paid.wallet.posted).await?;
    if let Some(invoice) = &paid.invoice {
        row::update(tx, invoice).await?;
        deferral::begin(tx, invoice).await?;
    }
    let at = micros(paid.txn.booked_at());
    db::note_change(tx, "account", Some(account.get()), at).await?;
    Ok(())
}
