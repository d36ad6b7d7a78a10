//! Proofs: the books checked again and again, and what becomes of an account that fails.

use std::fmt::Debug;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::id::AccountId;
use crate::port::books::{AccountProof, BooksError};

/// The proofs of accounts.
///
/// A proof sees one state of an account: nothing that moves meanwhile can make it fail. What held
/// is remembered durably, so that the next proof reads only what came after it.
#[async_trait]
pub trait Proofs: Send + Sync + Debug {
    /// The accounts after one, in order of id, at most `limit` of them.
    ///
    /// # Errors
    /// [`BooksError::Unavailable`].
    async fn to_prove(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<ToProve>, BooksError>;

    /// Proves accounts and remembers those whose books hold. One that does not exist is left out.
    ///
    /// # Errors
    /// [`BooksError::Unavailable`].
    async fn prove(
        &self,
        accounts: &[AccountId],
        depth: Depth,
        now: OffsetDateTime,
    ) -> Result<Vec<AccountProof>, BooksError>;

    /// Parks an account because of what a proof found: nothing is leased to it any more, and its
    /// callers are refused. Calls that are running still settle. Noted as a change. `false` when
    /// it is parked already; the first findings stand then.
    ///
    /// # Errors
    /// [`BooksError::NoSuchBudget`], [`BooksError::Unavailable`].
    async fn park(
        &self,
        account: AccountId,
        why: &[String],
        now: OffsetDateTime,
    ) -> Result<bool, BooksError>;

    /// Lets a parked account go on as it was before, and forgets its last proof, so that the next
    /// one begins at the beginning. Noted as a change. `false` when it is not parked.
    ///
    /// # Errors
    /// [`BooksError::Unavailable`].
    async fn unpark(&self, account: AccountId, now: OffsetDateTime) -> Result<bool, BooksError>;

    /// Why an account is parked; `None` when it is not.
    ///
    /// # Errors
    /// [`BooksError::Unavailable`].
    async fn parked(&self, account: AccountId) -> Result<Option<Parked>, BooksError>;

    /// What has been proved so far, and the accounts that are parked, the latest first, at most
    /// `limit` of them.
    ///
    /// # Errors
    /// [`BooksError::Unavailable`].
    async fn standing(&self, limit: u32) -> Result<Standing, BooksError>;
}

/// An account to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToProve {
    /// The account.
    pub account: AccountId,
    /// When its last proof was made; `None` when it has had none.
    pub proved_at: Option<OffsetDateTime>,
    /// Whether its money has moved since then, or it has had none.
    pub moved: bool,
}

/// How much a proof reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What came after the last proof, where there is one.
    SinceLast,
    /// Everything.
    Full,
    /// Everything where that is at most so many calls and transactions, else what came after the
    /// last proof.
    FullUpTo(u64),
}

/// An account that is parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The account.
    pub account: AccountId,
    /// Since when.
    pub since: OffsetDateTime,
    /// What the proof found, in words.
    pub why: Vec<String>,
}

/// How the proofs stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// How many accounts there are.
    pub accounts: u64,
    /// How many of them have been proved.
    pub proved: u64,
    /// The account that has waited longest since its last proof was proved then.
    pub oldest: Option<OffsetDateTime>,
    /// When the latest proof was made.
    pub newest: Option<OffsetDateTime>,
    /// How many accounts are parked.
    pub parked_accounts: u64,
    /// The latest of them.
    pub parked: Vec<Parked>,
}
