//! Invoices and credit notes on record, and to whom they are written.
//!
//! Nobody makes an invoice by hand: what is charged gets one in the transaction that charges it
//! ([`Subscriptions`](super::subscriptions::Subscriptions)), and what becomes of it there becomes of it
//! here. What a person can do to one is in this port.

use std::error::Error;
use std::fmt::{self, Debug};
use std::str::FromStr;

use async_trait::async_trait;
use thiserror::Error as ThisError;
use time::OffsetDateTime;

use crate::id::{AccountId, InvoiceId};
use crate::invoice::{
    BillingDetails, CreditError, CreditNote, Invoice, InvoiceError, PartyError, Statement,
    StatementError,
};
use crate::money::Minor;
use crate::period::Period;

/// How an invoice is named by whoever asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvoiceName {
    /// By its id.
    Id(InvoiceId),
    /// By its number.
    Number(String),
}

/// What is to be given back of an invoice, into the account's wallet; what is not paid yet is lowered
/// first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditWish {
    /// Of which lines how much, by their place from zero; none for all that is left.
    pub lines: Vec<(usize, Minor)>,
    /// Why.
    pub reason: String,
    /// Under which the account gets one credit note.
    pub key: String,
}

/// A credit note that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteIssued {
    /// The note.
    pub note: CreditNote,
    /// Whether its key was used before, so that nothing was issued now.
    pub replayed: bool,
}

/// The durable side of invoices. Every method is one atomic fact.
#[async_trait]
pub trait Invoices: Send + Sync + Debug {
    /// Invoices of an account, newest first, before one.
    ///
    /// # Errors
    /// [`InvoicesError::Inconsistent`], [`InvoicesError::Unavailable`].
    async fn list(
        &self,
        account: AccountId,
        before: Option<InvoiceId>,
        limit: u32,
    ) -> Result<Vec<Invoice>, InvoicesError>;

    /// An invoice of an account.
    ///
    /// # Errors
    /// [`InvoicesError::Inconsistent`], [`InvoicesError::Unavailable`].
    async fn find(
        &self,
        account: AccountId,
        name: &InvoiceName,
    ) -> Result<Option<Invoice>, InvoicesError>;

    /// The credit notes of an invoice, in the order in which they were issued.
    ///
    /// # Errors
    /// [`InvoicesError::Inconsistent`], [`InvoicesError::Unavailable`].
    async fn credit_notes(
        &self,
        account: AccountId,
        invoice: InvoiceId,
    ) -> Result<Vec<CreditNote>, InvoicesError>;

    /// Voids an invoice of which nothing was paid or credited: what was booked for it is undone, and
    /// its fees are forgiven.
    ///
    /// # Errors
    /// [`InvoicesError`]. Nothing has changed then.
    async fn void(
        &self,
        account: AccountId,
        invoice: InvoiceId,
        now: OffsetDateTime,
    ) -> Result<Invoice, InvoicesError>;

    /// Gives something back of an invoice by a credit note; once for its key.
    ///
    /// # Errors
    /// [`InvoicesError`]. Nothing has changed then.
    async fn credit(
        &self,
        account: AccountId,
        invoice: InvoiceId,
        wish: &CreditWish,
        now: OffsetDateTime,
    ) -> Result<NoteIssued, InvoicesError>;

    /// To whom an account's invoices are written; `None` where it has not said.
    ///
    /// # Errors
    /// [`InvoicesError::NoSuchAccount`], [`InvoicesError::Inconsistent`],
    /// [`InvoicesError::Unavailable`].
    async fn billing_details(
        &self,
        account: AccountId,
    ) -> Result<Option<BillingDetails>, InvoicesError>;

    /// Says to whom later invoices of an account are written.
    ///
    /// # Errors
    /// [`InvoicesError::Party`], [`InvoicesError::NoSuchAccount`], [`InvoicesError::Unavailable`].
    async fn set_billing_details(
        &self,
        account: AccountId,
        details: &BillingDetails,
    ) -> Result<(), InvoicesError>;

    /// What moved an account's wallet in a period, as far as it is over by an instant; days are cut by
    /// the account's zone.
    ///
    /// A transaction is in the period in which its id was made.
    ///
    /// # Errors
    /// [`InvoicesError::NoSuchAccount`], [`InvoicesError::Statement`],
    /// [`InvoicesError::Inconsistent`], [`InvoicesError::Unavailable`].
    async fn statement(
        &self,
        account: AccountId,
        period: Period,
        now: OffsetDateTime,
    ) -> Result<Statement, InvoicesError>;

    /// Books what fees that were billed in advance have earned up to the last midnight of UTC, or to
    /// their period's end, of some of those that have earned anything since it was booked last; says
    /// of how many. Each day of a fee is booked once, whoever asks.
    ///
    /// # Errors
    /// [`InvoicesError::Inconsistent`], [`InvoicesError::Unavailable`].
    async fn recognize(&self, now: OffsetDateTime, limit: u32) -> Result<u32, InvoicesError>;
}

/// Why something cannot be done with an invoice.
#[derive(Debug, ThisError)]
pub enum InvoicesError {
    /// There is no such account.
    #[error("no such account")]
    NoSuchAccount,
    /// The account has no such invoice.
    #[error("no such invoice")]
    NotFound,
    /// It is no statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// A party cannot stand on an invoice.
    #[error(transparent)]
    Party(#[from] PartyError),
    /// This cannot happen to it.
    #[error(transparent)]
    Refused(#[from] InvoiceError),
    /// This cannot be given back.
    #[error(transparent)]
    Credit(#[from] CreditError),
    /// The key stands for another credit note.
    #[error("this key was used for another credit note")]
    KeyReused,
    /// What is stored contradicts itself.
    #[error("the record contradicts itself: {0}")]
    Inconsistent(String),
    /// The store cannot be reached or did not commit. Repeating is safe.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

impl FromStr for InvoiceName {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = text.parse().map(Self::Id);
        Ok(id.unwrap_or_else(|_| Self::Number(text.to_owned())))
    }
}

impl fmt::Display for InvoiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => fmt::Display::fmt(id, f),
            Self::Number(number) => f.write_str(number),
        }
    }
}
