//! Invoices: made where something is charged, and what a person does with them.
//!
//! Whoever changes one holds the account's wallet. A number is taken after that and before anything is
//! told to the nodes, so that those who issue wait for each other in one order.

pub(crate) mod credit;
pub(crate) mod deferral;
pub(crate) mod end;
pub(crate) mod issue;
pub(crate) mod row;
mod statement;

use async_trait::async_trait;
use billing_core::id::{AccountId, InvoiceId};
use billing_core::invoice::{BillingDetails, CreditNote, Invoice, InvoiceError, Statement};
use billing_core::ledger::{Entry, LedgerError, LedgerHead, LedgerTxn};
use billing_core::money::{MoneyError, Nanos};
use billing_core::period::Period;
use billing_core::port::invoices::{CreditWish, InvoiceName, Invoices, InvoicesError, NoteIssued};
use billing_core::port::subscriptions::RecordError;
use billing_core::wallet::Wallet;
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use crate::books::{keyed, load};
use crate::db;
use crate::error::StoreError;
use crate::instant::get;
use crate::open::Store;
use crate::plans;
use crate::txn_ids::TxnIds;

type Result<T> = std::result::Result<T, InvoicesError>;

/// What is needed to record what happens to subscriptions, and to make documents: ids, what the house
/// says of itself, and by which ladder fees are tried again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Desk<'a> {
    pub(crate) ids: &'a TxnIds,
    pub(crate) house: &'a billing_core::invoice::Invoicing,
    pub(crate) dunning: &'a billing_core::subscription::Dunning,
    pub(crate) sends_messages: bool,
}

impl Store {
    /// What makes documents here.
    pub(crate) fn desk(&self) -> Desk<'_> {
        Desk {
            ids: &self.ids,
            house: &self.invoicing,
            dunning: &self.dunning,
            sends_messages: self.sends_messages,
        }
    }
}

#[async_trait]
impl Invoices for Store {
    async fn list(
        &self,
        account: AccountId,
        before: Option<InvoiceId>,
        limit: u32,
    ) -> Result<Vec<Invoice>> {
        let text = "SELECT facts FROM invoice WHERE account_id = ? AND id < ? \
                    ORDER BY id DESC LIMIT ?";
        let values = vec![
            account.get().into(),
            before.map_or(i64::MAX, InvoiceId::get).into(),
            i64::from(limit).into(),
        ];
        let rows = db::all(&self.db.reader, text, values).await?;
        Ok(rows
            .iter()
            .map(row::invoice)
            .collect::<std::result::Result<_, _>>()?)
    }

    async fn find(&self, account: AccountId, name: &InvoiceName) -> Result<Option<Invoice>> {
        Ok(row::find(&self.db.reader, account, name).await?)
    }

    async fn credit_notes(
        &self,
        account: AccountId,
        invoice: InvoiceId,
    ) -> Result<Vec<CreditNote>> {
        Ok(row::notes(&self.db.reader, account, invoice).await?)
    }

    async fn void(
        &self,
        account: AccountId,
        invoice: InvoiceId,
        now: OffsetDateTime,
    ) -> Result<Invoice> {
        let tx = self.db.begin().await?;
        let result = end::void_by_hand(&tx, (account, invoice), self.desk(), now).await;
        let result = db::finish(tx, result).await;
        self.committer.forget(account);
        result
    }

    async fn credit(
        &self,
        account: AccountId,
        invoice: InvoiceId,
        wish: &CreditWish,
        now: OffsetDateTime,
    ) -> Result<NoteIssued> {
        let tx = self.db.begin().await?;
        let result = credit::by_hand(&tx, (account, invoice), wish, self.desk(), now).await;
        let result = db::finish(tx, result).await;
        self.committer.forget(account);
        result
    }

    async fn billing_details(&self, account: AccountId) -> Result<Option<BillingDetails>> {
        let text = "SELECT billing_details FROM account WHERE id = ?";
        let row = db::one(&self.db.reader, text, vec![account.get().into()]).await?;
        let row = row.ok_or(InvoicesError::NoSuchAccount)?;
        let details: Option<String> = get(&row, "billing_details")?;
        let details = details.map(|text| plans::read("account", &text));
        Ok(details.transpose()?)
    }

    async fn set_billing_details(
        &self,
        account: AccountId,
        details: &BillingDetails,
    ) -> Result<()> {
        details.check()?;
        let text = "UPDATE account SET billing_details = ? WHERE id = ?";
        let values = vec![plans::json(details)?.into(), account.get().into()];
        let tx = self.db.begin().await?;
        let result = db::run(&tx, text, values).await;
        match db::finish(tx, result).await? {
            0 => Err(InvoicesError::NoSuchAccount),
            _ => Ok(()),
        }
    }

    async fn statement(
        &self,
        account: AccountId,
        period: Period,
        now: OffsetDateTime,
    ) -> Result<Statement> {
        statement::of_period(self, account, period, now).await
    }

    async fn recognize(&self, now: OffsetDateTime, limit: u32) -> Result<u32> {
        let mut booked = 0_u32;
        for due in deferral::due(&self.db.reader, now, limit).await? {
            let tx = self.db.begin().await?;
            let result = deferral::recognize(&tx, &due, &self.ids, now).await;
            let result = db::finish(tx, result).await;
            self.committer.forget(due.account);
            match result.map_err(InvoicesError::from) {
                Ok(()) => booked = booked.saturating_add(1),
                Err(error @ InvoicesError::Unavailable(_)) => return Err(error),
                // One that contradicts itself keeps no other from it.
                Err(error) => {
                    tracing::warn!(account = %due.account, invoice = %due.invoice, %error,
                        "what a fee has earned cannot be booked");
                }
            }
        }
        Ok(booked)
    }
}

/// The wallet of an account whose documents change, locked.
async fn locked<C: ConnectionTrait>(tx: &C, account: AccountId) -> Result<Wallet> {
    let wallet = load::locked_wallet(tx, account).await?;
    wallet.ok_or(InvoicesError::NoSuchAccount)
}

/// Books entries under their key, where there are any, and the wallet's balance after them.
async fn book<C: ConnectionTrait>(
    tx: &C,
    head: LedgerHead,
    entries: Vec<Entry>,
    note: &str,
    posted: Nanos,
) -> std::result::Result<(), Fault> {
    let txn = LedgerTxn::new(head, entries)?;
    if txn.entries().is_empty() {
        return Ok(());
    }
    let change = billing_core::invoice::wallet_change(txn.entries());
    let change = i64::try_from(change).map_err(|_| MoneyError::OutOfRange)?;
    let balance = posted.plus(Nanos::new(change))?;
    keyed::book(tx, &txn, (note, note), balance).await?;
    Ok(())
}

/// Why a document was not made, whatever asked for it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Invoice(#[from] InvoiceError),
    #[error(transparent)]
    Credit(#[from] billing_core::invoice::CreditError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Documents(#[from] billing_core::invoice::FeeDocumentsError),
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl From<Fault> for RecordError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Store(error) => error.into(),
            fault @ (Fault::Invoice(_)
            | Fault::Credit(_)
            | Fault::Ledger(_)
            | Fault::Documents(_)
            | Fault::Money(_)) => Self::Inconsistent(format!("no document can be made: {fault}")),
        }
    }
}

impl From<Fault> for InvoicesError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Store(error) => error.into(),
            Fault::Invoice(error) => Self::Refused(error),
            Fault::Credit(error) => Self::Credit(error),
            fault @ (Fault::Ledger(_) | Fault::Documents(_) | Fault::Money(_)) => {
                Self::Inconsistent(fault.to_string())
            }
        }
    }
}
