//! Coupons on record, and which accounts have redeemed them.
//!
//! What a coupon takes off is taken where fees are charged
//! ([`Subscriptions`](super::subscriptions::Subscriptions), [`Orders`](super::orders::Orders)), in
//! the transaction that makes their invoice.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Debug;

use async_trait::async_trait;
use thiserror::Error as ThisError;
use time::OffsetDateTime;

use crate::id::{AccountId, CouponId};
use crate::invoice::{Coupon, CouponCode, CouponError, RedeemAsk, Redemption};

/// A coupon that is to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCoupon {
    /// Its id.
    pub id: CouponId,
    /// What it says. Its plans are those of `plans`.
    pub coupon: Coupon,
    /// The codes of the plans whose fees it applies to; none for all.
    pub plans: BTreeSet<String>,
    /// The instant.
    pub now: OffsetDateTime,
}

/// A coupon on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCoupon {
    /// Its id.
    pub id: CouponId,
    /// What it says.
    pub coupon: Coupon,
    /// The codes of its plans.
    pub plans: BTreeSet<String>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// From when on nobody can redeem it; who has keeps it.
    pub archived_at: Option<OffsetDateTime>,
    /// How many accounts have redeemed it.
    pub redemptions: u64,
}

/// A coupon that an account has redeemed, and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redeemed {
    /// Which.
    pub id: CouponId,
    /// What it says.
    pub coupon: Coupon,
    /// What is left of it.
    pub redemption: Redemption,
}

/// The durable side of coupons. Every method is one atomic fact.
#[async_trait]
pub trait Coupons: Send + Sync + Debug {
    /// Records a coupon. One that says the same under its code, and can be redeemed, changes nothing
    /// and is given back.
    ///
    /// # Errors
    /// [`CouponsError::Refused`], [`CouponsError::CodeTaken`], [`CouponsError::NoSuchPlan`],
    /// [`CouponsError::Inconsistent`], [`CouponsError::Unavailable`].
    async fn create(&self, made: NewCoupon) -> Result<KeptCoupon, CouponsError>;

    /// Coupons, newest first, before one.
    ///
    /// # Errors
    /// [`CouponsError::Inconsistent`], [`CouponsError::Unavailable`].
    async fn list(
        &self,
        before: Option<CouponId>,
        limit: u32,
    ) -> Result<Vec<KeptCoupon>, CouponsError>;

    /// The coupon of a code.
    ///
    /// # Errors
    /// [`CouponsError::Inconsistent`], [`CouponsError::Unavailable`].
    async fn find(&self, code: &CouponCode) -> Result<Option<KeptCoupon>, CouponsError>;

    /// Lets nobody redeem a coupon any more; who has keeps it. Says what it is then; `None` where
    /// there is none of the code. One that is archived stays as it is.
    ///
    /// # Errors
    /// [`CouponsError::Inconsistent`], [`CouponsError::Unavailable`].
    async fn archive(
        &self,
        code: &CouponCode,
        now: OffsetDateTime,
    ) -> Result<Option<KeptCoupon>, CouponsError>;

    /// Redeems a coupon for an account, once, for the plan that it is on: later fees of whole periods
    /// are less. Of several at once no more do than may.
    ///
    /// # Errors
    /// [`CouponsError`]. Nothing has changed then.
    async fn redeem(
        &self,
        account: AccountId,
        code: &CouponCode,
        now: OffsetDateTime,
    ) -> Result<Redeemed, CouponsError>;

    /// What an account has redeemed, in the order in which it did; also what is used up.
    ///
    /// # Errors
    /// [`CouponsError::Inconsistent`], [`CouponsError::Unavailable`].
    async fn redeemed(&self, account: AccountId) -> Result<Vec<Redeemed>, CouponsError>;
}

impl KeptCoupon {
    /// Redeems it for an account.
    ///
    /// # Errors
    /// [`CouponError`]. Nothing has changed then.
    pub fn redeem(&self, ask: &RedeemAsk) -> Result<Redeemed, CouponError> {
        let is_archived = self.archived_at.is_some_and(|at| at <= ask.now);
        if is_archived && !ask.redeemed_before {
            return Err(CouponError::Archived(self.coupon.code.clone()));
        }
        Ok(Redeemed {
            id: self.id,
            coupon: self.coupon.clone(),
            redemption: self.coupon.redeem(ask)?,
        })
    }

    /// Whether a coupon that is to be made is this one, so that nothing is to be done.
    ///
    /// # Errors
    /// [`CouponsError::CodeTaken`] where it is another.
    pub fn is_again(&self, made: &NewCoupon) -> Result<(), CouponsError> {
        let coupon = Coupon {
            plans: self.coupon.plans.clone(),
            ..made.coupon.clone()
        };
        let is_same = self.coupon == coupon && self.plans == made.plans;
        if is_same && self.archived_at.is_none() {
            return Ok(());
        }
        Err(CouponsError::CodeTaken(self.coupon.code.clone()))
    }
}

/// Why something cannot be done with a coupon. Nothing has changed then.
#[derive(Debug, ThisError)]
pub enum CouponsError {
    /// It is none, or cannot be redeemed.
    #[error(transparent)]
    Refused(#[from] CouponError),
    /// Another coupon has its code.
    #[error("there is another coupon {0}; a code is given once, also when it is archived")]
    CodeTaken(CouponCode),
    /// There is no such plan.
    #[error("there is no plan \"{0}\"")]
    NoSuchPlan(String),
    /// There is no such account.
    #[error("no such account")]
    NoSuchAccount,
    /// What is stored contradicts itself.
    #[error("the record contradicts itself: {0}")]
    Inconsistent(String),
    /// The store cannot be reached or did not commit. Repeating is safe.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}
