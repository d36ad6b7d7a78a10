//! The directory: users, accounts, keys and sessions.

use std::error::Error;
use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;
use time::OffsetDateTime;

use crate::budget::{Amount, LimitWindow};
use crate::id::{AccountId, KeyId, UserId};
use crate::money::Currency;
use crate::plan::Subscribed;
use crate::reach::Buyer;
use crate::wallet::AccountStatus;

/// The SHA-256 of a key or session secret. The secret itself is never kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash(pub [u8; 32]);

impl Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// Who is who, and who may do what.
#[async_trait]
pub trait Directory: Send + Sync + Debug {
    /// The caller that a key's hash stands for; `None` when no key has it. A revoked or expired
    /// key is found, and says so.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`].
    async fn caller(&self, hash: SecretHash) -> Result<Option<Caller>, DirectoryError>;

    /// Makes an account with an empty wallet.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`].
    async fn create_account(&self, account: Account) -> Result<(), DirectoryError>;

    /// One account.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`].
    async fn account(&self, id: AccountId) -> Result<Option<Account>, DirectoryError>;

    /// Accounts after one, in order of id; of a user's memberships where a user is given, else all.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`].
    async fn accounts(
        &self,
        of: Option<UserId>,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Account>, DirectoryError>;

    /// Stops an account or lets it go on, and sets how far it may owe, if its terms are still the
    /// expected ones: of several that start from the same terms one wins. Noted as a change.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`]; [`DirectoryError::Stale`] when the terms are not the expected
    /// ones; [`DirectoryError::Conflict`] when the credit limit would fall
    /// below what is owed or on lease; [`DirectoryError::Unavailable`].
    async fn update_account(
        &self,
        id: AccountId,
        expected: AccountTerms,
        terms: AccountTerms,
        now: OffsetDateTime,
    ) -> Result<Account, DirectoryError>;

    /// Makes a key.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] for an unknown account, or a user who is no member of it;
    /// [`DirectoryError::Unavailable`].
    async fn create_key(&self, key: ApiKey, hash: SecretHash) -> Result<(), DirectoryError>;

    /// The keys of an account after one, in order of id, revoked ones included.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`].
    async fn keys(
        &self,
        account: AccountId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<ApiKey>, DirectoryError>;

    /// Revokes a key for good. Again changes nothing. Noted as a change.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`], [`DirectoryError::Unavailable`].
    async fn revoke_key(
        &self,
        account: AccountId,
        key: KeyId,
        now: OffsetDateTime,
    ) -> Result<ApiKey, DirectoryError>;

    /// Makes a user.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] when the email is taken, [`DirectoryError::Unavailable`].
    async fn create_user(&self, user: User, password_hash: &str) -> Result<(), DirectoryError>;

    /// The user with an email, and the hash of the password.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`].
    async fn user_by_email(&self, email: &str) -> Result<Option<(User, String)>, DirectoryError>;

    /// Makes a user a member of an account. Again changes the role.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`], [`DirectoryError::Unavailable`].
    async fn add_member(
        &self,
        account: AccountId,
        user: UserId,
        role: Role,
    ) -> Result<(), DirectoryError>;

    /// The role of a user in an account.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`].
    async fn role(&self, account: AccountId, user: UserId) -> Result<Option<Role>, DirectoryError>;

    /// Opens a session.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`].
    async fn open_session(
        &self,
        hash: SecretHash,
        user: UserId,
        now: OffsetDateTime,
        expires_at: OffsetDateTime,
    ) -> Result<(), DirectoryError>;

    /// The user of a session that has not expired.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`].
    async fn session(
        &self,
        hash: SecretHash,
        now: OffsetDateTime,
    ) -> Result<Option<User>, DirectoryError>;

    /// Ends a session. Again changes nothing.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`].
    async fn close_session(&self, hash: SecretHash) -> Result<(), DirectoryError>;

    /// Changes noted after a position, in order, at most `limit`: what nodes must forget.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`].
    async fn changes(&self, after: i64, limit: u32) -> Result<Vec<Change>, DirectoryError>;

    /// The position of the newest change.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`].
    async fn newest_change(&self) -> Result<i64, DirectoryError>;
}

/// Why the directory did not do what was asked.
#[derive(Debug, ThisError)]
pub enum DirectoryError {
    /// There is no such account, key or user.
    #[error("not found")]
    NotFound,
    /// It has changed since it was looked at.
    #[error("it has changed since")]
    Stale,
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// Nodes have on lease what the change would take away. It is recalled from them: the same
    /// change may go through a moment later.
    #[error("calls under way hold what this would take away; try again in a moment")]
    OnLease,
    /// A stored row is not what it should be.
    #[error("a stored {table} cannot be read: {why}")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The store cannot be reached.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// Who makes a call: a key, its account and what they may do. A snapshot, renewed on each change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key.
    pub key: ApiKey,
    /// The currency of the account's wallet.
    pub currency: Currency,
    /// Whether the account may make calls.
    pub status: AccountStatus,
    /// What the account is subscribed to.
    pub subscribed: Option<Arc<Subscribed>>,
}

impl Caller {
    /// As who it asks for prices at an instant.
    pub fn buyer(&self, at: OffsetDateTime) -> Buyer {
        Buyer::on(self.key.account, self.subscribed.as_deref(), at)
    }

    /// Whether a key works at an instant.
    pub fn is_valid_at(&self, now: OffsetDateTime) -> bool {
        self.key.revoked_at.is_none() && self.key.expires_at.is_none_or(|end| now < end)
    }

    /// Whether the key may use a model.
    pub fn may_use(&self, model: &str) -> bool {
        self.key.models.is_empty() || self.key.models.iter().any(|p| matches_model(p, model))
    }
}

/// Whether a pattern such as `gpt-*` names a model. Only a `*` at the end means anything.
pub fn matches_model(pattern: &str, model: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => model.starts_with(prefix),
        None => pattern == model,
    }
}

/// Who pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// What people call it.
    pub name: String,
    /// The currency of its wallet.
    pub currency: Currency,
    /// The IANA zone in which its days are cut.
    pub zone: String,
    /// Whether it may make calls.
    pub status: AccountStatus,
    /// How far it may owe.
    pub credit_limit: Amount,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// What an operator sets of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountTerms {
    /// Whether it may make calls.
    pub status: AccountStatus,
    /// How far it may owe.
    pub credit_limit: Amount,
}

impl AccountTerms {
    /// Whether an account of a status may be given these terms: one that is parked is let go by
    /// [`Proofs::unpark`](crate::port::proofs::Proofs::unpark) alone.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`].
    pub fn check_after(&self, status: AccountStatus) -> Result<(), DirectoryError> {
        if status == AccountStatus::Parked && self.status != status {
            let why = "the account is parked because its books failed a proof; mend them, then \
                       run `tollgate accounts unpark`";
            return Err(DirectoryError::Conflict(why.to_owned()));
        }
        Ok(())
    }
}

impl Account {
    /// What an operator set.
    pub const fn terms(&self) -> AccountTerms {
        AccountTerms {
            status: self.status,
            credit_limit: self.credit_limit,
        }
    }
}

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// Whose it is.
    pub account: AccountId,
    /// The member of the account whose it is, for good: usage is reported by it. `None` for nobody's.
    pub member: Option<UserId>,
    /// What people call it.
    pub name: String,
    /// The first characters of the secret, to recognize it by.
    pub visible_prefix: String,
    /// The most that may be spent with it.
    pub limit: Option<KeyLimit>,
    /// The models that it may use, as names or prefixes with `*`; empty for all.
    pub models: Vec<String>,
    /// Whether to shorten an answer to what the funds allow instead of refusing the call.
    pub cap_output: bool,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it stops working by itself.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was revoked.
    pub revoked_at: Option<OffsetDateTime>,
}

/// The most that may be spent with a key in each window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyLimit {
    /// Nanos of the account's currency.
    pub amount: Amount,
    /// How often it starts anew.
    pub window: LimitWindow,
}

/// A login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The address it signs in with, in lower case.
    pub email: String,
    /// Whether it runs this Tollgate: sees and changes every account.
    pub operator: bool,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// What a member may do in an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, members included.
    Owner,
    /// Keys and money.
    Admin,
    /// Look.
    Member,
}

impl Role {
    /// The storage and wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }

    /// The role that a name means.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Owner, Self::Admin, Self::Member]
            .into_iter()
            .find(|r| r.name() == name)
    }
}

/// Something that nodes have in memory has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Its position; grows.
    pub position: i64,
    /// What changed.
    pub subject: ChangeSubject,
}

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeSubject {
    /// An account, one of its keys, or its funds.
    Account(AccountId),
    /// The price book.
    Prices,
    /// How far the date is ahead of the machine's.
    Date,
}
