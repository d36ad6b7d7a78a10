//! Plans on record, and who is on them.

use std::error::Error;
use std::fmt::Debug;

use async_trait::async_trait;
use thiserror::Error as ThisError;
use time::OffsetDateTime;

use crate::id::{AccountId, PlanId, PlanVersionId, QuotaId, SubscriptionId};
use crate::invoice::{CouponCode, CouponError};
use crate::money::Currency;
use crate::plan::{AfterQuota, PlanTerms, PlanTermsError, PlanVersion, Subscribed};
use crate::subscription::{Subscription, SubscriptionError};

/// What can be subscribed to, and what accounts are.
#[async_trait]
pub trait Plans: Send + Sync + Debug {
    /// Records a version of a plan and publishes it; the plan itself where there is none of the code
    /// yet. Terms that the newest version has already change nothing and give that one, unless it is
    /// off sale.
    ///
    /// # Errors
    /// [`PlansError::Terms`], [`PlansError::Unavailable`].
    async fn publish(&self, made: NewVersion) -> Result<PlanVersion, PlansError>;

    /// What each plan is, by the newest version, in order of code: those that are no longer sold too.
    ///
    /// # Errors
    /// [`PlansError::Unavailable`].
    async fn offers(&self) -> Result<Vec<Offer>, PlansError>;

    /// What a version says, with the names of its plan; `None` where there is none.
    ///
    /// # Errors
    /// [`PlansError::Unavailable`].
    async fn offer(&self, version: PlanVersionId) -> Result<Option<Offer>, PlansError>;

    /// Takes a plan off sale, with every version of it; who is on one keeps it. Says whether any was
    /// on sale.
    ///
    /// # Errors
    /// [`PlansError::Unavailable`].
    async fn archive(&self, code: &str, now: OffsetDateTime) -> Result<bool, PlansError>;

    /// The newest version of a plan, by the plan's code.
    ///
    /// # Errors
    /// [`PlansError::Unavailable`].
    async fn newest(&self, code: &str) -> Result<Option<PlanVersion>, PlansError>;

    /// Gives an account a version of a plan, from an instant on until it is ended: nothing is billed
    /// for it, so no coupon is redeemed. Noted as a change.
    ///
    /// # Errors
    /// [`PlansError::NoSuchAccount`], [`PlansError::NotOnSale`], [`PlansError::Currency`],
    /// [`PlansError::Already`], [`PlansError::Quantity`], [`PlansError::Unavailable`].
    async fn subscribe(&self, made: NewSubscription) -> Result<Subscribed, PlansError>;

    /// Puts an account on a version of a plan from an instant on, as [`Subscription::start`] says:
    /// with its trial, where it had none of the plan before, and billed period after period from
    /// then on. Noted as a change.
    ///
    /// # Errors
    /// As [`Plans::subscribe`], and [`PlansError::Start`], [`PlansError::Coupon`].
    async fn begin(&self, made: NewSubscription) -> Result<Subscription, PlansError>;

    /// What an account is subscribed to.
    ///
    /// # Errors
    /// [`PlansError::Unavailable`].
    async fn subscribed(&self, account: AccountId) -> Result<Option<Subscribed>, PlansError>;

    /// Who is on any version of a plan, after one in order of the subscriptions' ids.
    ///
    /// # Errors
    /// [`PlansError::Unavailable`].
    async fn subscribers(
        &self,
        plan: PlanId,
        after: Option<SubscriptionId>,
        limit: u32,
    ) -> Result<Vec<Subscriber>, PlansError>;

    /// Ends the subscription of an account, where it has one; says whether it had. Noted as a change.
    ///
    /// # Errors
    /// [`PlansError::Unavailable`].
    async fn end(&self, account: AccountId, now: OffsetDateTime) -> Result<bool, PlansError>;
}

/// A version of a plan, with what the plan is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The version.
    pub version: PlanVersionId,
    /// What the plan is called by machines: `pro`.
    pub code: String,
    /// What people call it.
    pub name: String,
    /// Which of the plan's versions, from 1.
    pub number: u32,
    /// What it says.
    pub terms: PlanTerms,
    /// From when on it can be subscribed to.
    pub published_at: Option<OffsetDateTime>,
    /// From when on it no longer can.
    pub archived_at: Option<OffsetDateTime>,
}

/// An account on a version of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subscriber {
    /// Its subscription.
    pub subscription: SubscriptionId,
    /// The account.
    pub account: AccountId,
    /// Which of the plan's versions, from 1.
    pub number: u32,
}

/// A version of a plan that is to be published.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// The id of the plan, where there is none of the code yet.
    pub plan: PlanId,
    /// What the plan is called by machines: `pro`.
    pub code: String,
    /// What people call it.
    pub name: String,
    /// The version's id.
    pub version: PlanVersionId,
    /// An id for each of its quotas.
    pub quotas: Vec<QuotaId>,
    /// What it says.
    pub terms: PlanTerms,
    /// The instant.
    pub now: OffsetDateTime,
}

/// An account that is to be on a version.
#[derive(Debug, Clone)]
pub struct NewSubscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Whose it is.
    pub account: AccountId,
    /// Of which version.
    pub version: PlanVersionId,
    /// How many of it: its quotas are so many times those of the plan.
    pub quantity: u32,
    /// What happens to calls that no quota covers; `None` for what the plan says.
    pub after_quota: Option<AfterQuota>,
    /// A coupon that is redeemed with it, where it is billed.
    pub coupon: Option<CouponCode>,
    /// From when on.
    pub now: OffsetDateTime,
}

/// Why nothing was recorded. Nothing has changed then.
#[derive(Debug, ThisError)]
pub enum PlansError {
    /// The terms are no plan.
    #[error(transparent)]
    Terms(#[from] PlanTermsError),
    /// A code that is none.
    #[error(
        "\"{0}\" is no code of a plan: give lower-case letters, digits and hyphens, 40 at most"
    )]
    Code(String),
    /// There is no such account.
    #[error("no such account")]
    NoSuchAccount,
    /// The version was never published, or no longer can be subscribed to.
    #[error("this version of the plan is not on sale")]
    NotOnSale,
    /// The plan is in another currency than the account's wallet.
    #[error("the plan is in {plan} and the account's wallet in {wallet}")]
    Currency {
        /// The plan's.
        plan: Currency,
        /// The wallet's.
        wallet: Currency,
    },
    /// The account is on a plan.
    #[error("the account is on the plan {0} already; end that first")]
    Already(String),
    /// None, or more than can be reckoned with.
    #[error("a quantity of {0}; give 1 to 100000")]
    Quantity(u32),
    /// The subscription is set aside.
    #[error("the subscription is set aside; look at it with `tollgate billing parked` first")]
    Parked,
    /// It cannot begin.
    #[error(transparent)]
    Start(#[from] SubscriptionError),
    /// The coupon cannot be redeemed with it.
    #[error(transparent)]
    Coupon(#[from] CouponError),
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

impl Offer {
    /// Whether it can be subscribed to at an instant.
    pub fn is_on_sale(&self, at: OffsetDateTime) -> bool {
        self.published_at.is_some_and(|from| from <= at)
            && self.archived_at.is_none_or(|until| at < until)
    }
}

impl NewVersion {
    /// Whether it can be published.
    ///
    /// # Errors
    /// [`PlansError::Terms`], [`PlansError::Code`].
    pub fn check(&self) -> Result<(), PlansError> {
        let is_code = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let length = self.code.len();
        if !(1..=40).contains(&length) || !self.code.chars().all(is_code) {
            return Err(PlansError::Code(self.code.chars().take(60).collect()));
        }
        Ok(self.terms.check()?)
    }
}

impl NewSubscription {
    /// Whether it can begin, of a version and in a wallet's currency.
    ///
    /// # Errors
    /// [`PlansError::NotOnSale`], [`PlansError::Currency`], [`PlansError::Quantity`].
    pub fn check(&self, version: &PlanVersion, wallet: Currency) -> Result<(), PlansError> {
        if !version.is_on_sale(self.now) {
            return Err(PlansError::NotOnSale);
        }
        let plan = version.terms.currency;
        if plan != wallet {
            return Err(PlansError::Currency { plan, wallet });
        }
        if !(1..=crate::subscription::MOST_QUANTITY).contains(&self.quantity) {
            return Err(PlansError::Quantity(self.quantity));
        }
        Ok(())
    }
}
