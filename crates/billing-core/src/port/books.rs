//! The books: where money is held, moved and proved.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error as ThisError;
use time::OffsetDateTime;

use crate::adjustment::{AdjustedSoFar, Adjustment};
use crate::budget::Amount;
use crate::call::Settlement;
use crate::id::{AccountId, CallId, LedgerTxnId, LotId, NodeId, TierScheduleId};
use crate::lease::{LeaseAsk, LeaseGrant, LeaseReturn, Recall};
use crate::money::{Currency, MoneyError, Nanos};
use crate::settlement::SettledCall;
use crate::tier_schedule::{Close, Closed, TierSchedule};
use crate::wallet::{Credit, Lot, LotKind, Wallet};

/// The durable side of every budget.
///
/// Every method is one atomic fact. One that takes an id or a key may be repeated with it until it
/// answers: a repetition changes nothing and gives the first answer again.
#[async_trait]
pub trait Books: Send + Sync + Debug {
    /// Reserves a slice of a budget for a node, durably. The rule is [`crate::lease::grant`].
    ///
    /// # Errors
    /// [`BooksError::NoSuchBudget`], [`BooksError::Unavailable`].
    async fn lease(&self, ask: LeaseAsk) -> Result<LeaseGrant, BooksError>;

    /// Gives a part of a lease back. The rule is [`crate::lease::take_back`].
    ///
    /// # Errors
    /// [`BooksError::Unavailable`].
    async fn give_back(&self, lease: LeaseReturn) -> Result<(), BooksError>;

    /// What other nodes have more need of than this one. The rule is [`crate::lease::recalled`].
    ///
    /// # Errors
    /// [`BooksError::Unavailable`].
    async fn recalls(&self, node: NodeId) -> Result<Vec<Recall>, BooksError>;

    /// Settles a call. Answers when its charge is durable, together with all that waited. Who hands
    /// it in keeps it too, so that it can be handed in again.
    ///
    /// The rule is [`crate::settlement::settle`]; a settlement whose lease is gone still posts. A
    /// call that is already on record answers with what it was charged, and changes nothing. Where
    /// old calls are deleted, one that is older than all that are kept is refused: nothing is left
    /// to tell whether it was charged.
    ///
    /// # Errors
    /// [`BooksError::NoSuchBudget`], [`BooksError::Unavailable`], [`BooksError::Inconsistent`],
    /// [`BooksError::NoLongerKept`].
    async fn settle(&self, settlement: Arc<Settlement>) -> Result<Settled, BooksError>;

    /// Adds credit to a wallet, once for its key.
    ///
    /// # Errors
    /// [`BooksError::KeyReused`] when the key already recorded another amount, kind or currency,
    /// [`BooksError::Money`], [`BooksError::NoSuchBudget`], [`BooksError::Unavailable`].
    async fn add_credit(
        &self,
        account: AccountId,
        credit: Credit,
        now: OffsetDateTime,
    ) -> Result<Credited, BooksError>;

    /// Gives an account back what it was charged wrongly, or charges it afterwards, once for the key.
    /// The rule is [`crate::adjustment::adjust`].
    ///
    /// # Errors
    /// [`BooksError::KeyReused`] when the key already recorded another amount or currency,
    /// [`BooksError::Money`], [`BooksError::NoSuchBudget`], [`BooksError::Inconsistent`],
    /// [`BooksError::OnLease`] unless it takes what is there, [`BooksError::AdjustedMeanwhile`],
    /// [`BooksError::Unavailable`].
    async fn adjust(
        &self,
        account: AccountId,
        adjustment: Adjustment,
        now: OffsetDateTime,
    ) -> Result<Adjusted, BooksError>;

    /// Accounts that hold credit whose time is over by an instant, after one in order of id, each with
    /// how much of it is left.
    ///
    /// # Errors
    /// [`BooksError::Unavailable`].
    async fn lapsing(
        &self,
        by: OffsetDateTime,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Lapsing>, BooksError>;

    /// Takes away what an account holds of credit whose time is over. The rule is
    /// [`crate::lapse::lapse`]; what nodes have on lease of it is recalled from them, and lapses by a
    /// repetition.
    ///
    /// # Errors
    /// [`BooksError::NoSuchBudget`], [`BooksError::Money`], [`BooksError::Inconsistent`],
    /// [`BooksError::Unavailable`].
    async fn lapse(&self, account: AccountId, now: OffsetDateTime) -> Result<Lapsed, BooksError>;

    /// The lots of an account that hold something, in the order in which they are drawn, at most
    /// `limit` of them.
    ///
    /// # Errors
    /// [`BooksError::Unavailable`].
    async fn lots(&self, account: AccountId, limit: u32) -> Result<Vec<Lot>, BooksError>;

    /// What calls of an account were adjusted by so far; those that never were are missing.
    ///
    /// # Errors
    /// [`BooksError::Unavailable`].
    async fn adjustments(
        &self,
        account: AccountId,
        calls: &[CallId],
    ) -> Result<BTreeMap<CallId, AdjustedSoFar>, BooksError>;

    /// Windows of a tier schedule that began before a second (Unix time) and are not closed as they
    /// stand: never, or a call was settled in them since, or funds did not cover all that was due and
    /// there are some now.
    ///
    /// # Errors
    /// [`BooksError::Unavailable`].
    async fn open_windows(
        &self,
        schedule: TierScheduleId,
        before: i64,
        limit: u32,
    ) -> Result<Vec<OpenWindow>, BooksError>;

    /// The last window of a schedule that an account has had closed: its first second (Unix time).
    ///
    /// # Errors
    /// [`BooksError::Unavailable`].
    async fn last_closed(
        &self,
        account: AccountId,
        schedule: TierScheduleId,
    ) -> Result<Option<i64>, BooksError>;

    /// Notes windows of a schedule in which nothing may have been used, so that they are found open.
    /// What is known of them already stays.
    ///
    /// # Errors
    /// [`BooksError::Unavailable`].
    async fn note_windows(
        &self,
        account: AccountId,
        schedule: &TierSchedule,
        window_starts: &[i64],
    ) -> Result<(), BooksError>;

    /// Closes a window as it was read, with what that comes to; once, whoever else does so too. One
    /// that others have closed since is left as it is: where it is still open, it can be read again.
    ///
    /// # Errors
    /// As [`Books::adjust`].
    async fn close_window(
        &self,
        window: &OpenWindow,
        adjustment: Option<Adjustment>,
        now: OffsetDateTime,
    ) -> Result<Option<Adjusted>, BooksError>;

    /// The wallet as it stands.
    ///
    /// # Errors
    /// [`BooksError::NoSuchBudget`], [`BooksError::Unavailable`].
    async fn wallet(&self, account: AccountId) -> Result<Wallet, BooksError>;

    /// Proves the books of the accounts after one, in order of id, at most `limit` of them.
    ///
    /// # Errors
    /// [`BooksError::Unavailable`].
    async fn verify(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountProof>, BooksError>;
}

/// Why the books did not do what was asked.
#[derive(Debug, ThisError)]
pub enum BooksError {
    /// There is no such account or budget.
    #[error("no such account or budget")]
    NoSuchBudget,
    /// The node was taken for dead; its leases are gone.
    #[error("this node was taken for dead and must join again")]
    Fenced,
    /// The key already stands for something else.
    #[error("the key was used before with another content")]
    KeyReused,
    /// The amount cannot be recorded.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// Nodes have on lease what this would take. It was recalled from them: try again soon.
    #[error("nodes hold what this would take; it was recalled from them, try again")]
    OnLease,
    /// A call was adjusted by others since this adjustment was worked out.
    #[error("{0} was adjusted by somebody else meanwhile; look at it again")]
    AdjustedMeanwhile(CallId),
    /// What is stored contradicts itself.
    #[error("the books contradict themselves: {0}")]
    Inconsistent(String),
    /// The call is older than all that are kept, so that it may have been charged and deleted.
    #[error("the call is older than all that are kept: it may have been charged already")]
    NoLongerKept,
    /// The store cannot be reached or did not commit. Repeating is safe.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// The answer to a settlement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// What the call was charged, and how.
    pub call: SettledCall,
    /// Whether it had been settled before.
    pub replayed: bool,
}

/// Credit of an account whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lapsing {
    /// Whose.
    pub account: AccountId,
    /// Of which money.
    pub currency: Currency,
    /// How much is left of it.
    pub amount: Nanos,
}

/// What became of credit whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lapsed {
    /// How much was taken away.
    pub amount: Nanos,
    /// How much could not be, because nodes have it on lease.
    pub on_lease: Amount,
    /// The transaction that booked it; `None` where nothing was taken.
    pub txn: Option<LedgerTxnId>,
    /// The balance after it.
    pub balance: Nanos,
}

/// The answer to a credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credited {
    /// The ledger transaction.
    pub txn: LedgerTxnId,
    /// The wallet's balance after it.
    pub balance: Nanos,
    /// Whether it had been recorded before.
    pub replayed: bool,
}

/// The answer to an adjustment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjusted {
    /// The ledger transaction; `None` where nothing could be charged.
    pub txn: Option<LedgerTxnId>,
    /// What of a charge the account's funds did not cover; not said again when it is repeated.
    pub uncollected: Nanos,
    /// The wallet's balance after it.
    pub balance: Nanos,
    /// Whether it had been recorded before.
    pub replayed: bool,
}

/// A window of a tier schedule that is to be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWindow {
    /// Whose.
    pub account: AccountId,
    /// Of which schedule.
    pub schedule: TierScheduleId,
    /// Its first second (Unix time).
    pub window_start: i64,
    /// What is known of it.
    pub close: Close,
    /// How often it was closed before.
    pub times: i64,
}

impl OpenWindow {
    /// The key under which a window's close is booked that was closed so often before.
    pub fn key(schedule: TierScheduleId, window_start: i64, times: i64) -> String {
        format!("close:{schedule}:{window_start}:{times}")
    }

    /// What closing it books for what it comes to; `None` where that is nothing. It has the same key
    /// whoever closes it.
    pub fn adjustment(
        &self,
        closed: &Closed,
        currency: Currency,
        lot: LotId,
    ) -> Option<Adjustment> {
        let amount = closed.true_up;
        (!amount.is_zero()).then(|| Adjustment {
            key: Self::key(self.schedule, self.window_start, self.times),
            amount,
            currency,
            lot,
            kind: LotKind::Paid,
            calls: Vec::new(),
            note: format!("{}: its window is over", self.schedule),
            takes_what_is_there: false,
        })
    }
}

/// What proving one account's books found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountProof {
    /// The account.
    pub account: AccountId,
    /// How many calls were looked at.
    pub calls: u64,
    /// How many ledger transactions were looked at.
    pub transactions: u64,
    /// Each broken invariant, in words; empty when the books hold.
    pub broken: Vec<String>,
}
