//! Moves the subscribers of a plan to its newest version: each when the period is over that it has
//! paid, by an order like those of customers.

use billing_core::id::ChangeQuoteId;
use billing_core::plan::PlanVersion;
use billing_core::port::clock::Clock;
use billing_core::port::orders::{NewOrder, Orders, QuoteAsk};
use billing_core::port::plans::{Plans, PlansError, Subscriber};
use billing_core::port::subscriptions::RecordError;
use billing_core::proration::ProrationUnit;
use billing_core::subscription::change::{ChangeWay, Timing};
use billing_core::subscription::{Stays, Subscription};
use billing_core::subscription_order::{Order, OrderError};
use thiserror::Error;
use time::OffsetDateTime;

use crate::ids::Ids;
use crate::orders;

/// How many subscribers are read at once.
const PAGE: u32 = 200;

/// What moves subscribers.
pub(crate) struct Moving<'a> {
    pub(crate) plans: &'a dyn Plans,
    pub(crate) orders: &'a dyn Orders,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) ids: &'a Ids,
    /// Whether it is only looked what would come of it.
    pub(crate) is_preview: bool,
}

/// What comes of one subscriber.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is on the newer version from an instant on.
    Moves {
        /// When its period is over.
        at: OffsetDateTime,
        /// What a period costs it now, in minor units, before taxes and coupons.
        fee: i64,
        /// What one costs it from then on.
        new_fee: i64,
    },
    /// It stays where it is.
    Stays(Stays),
    /// It was to be moved and could not.
    Refused(OrderError),
}

/// Why not all subscribers were looked at. Those that were told of are as told.
#[derive(Debug, Error)]
pub(crate) enum MovingError {
    /// The plan cannot be read.
    #[error(transparent)]
    Plans(#[from] PlansError),
    /// A subscription cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The books cannot be reached.
    #[error(transparent)]
    Order(OrderError),
}

impl Moving<'_> {
    /// Moves all subscribers of a version's plan to it, and tells what comes of each.
    ///
    /// # Errors
    /// [`MovingError`].
    pub(crate) async fn all(
        &self,
        to: &PlanVersion,
        tell: &mut (dyn FnMut(&Subscriber, Outcome) + Send),
    ) -> Result<(), MovingError> {
        let mut after = None;
        loop {
            let page = self.plans.subscribers(to.plan, after, PAGE).await?;
            for subscriber in &page {
                let outcome = self.one(subscriber, to).await?;
                tell(subscriber, outcome);
            }
            match page.last() {
                Some(last) => after = Some(last.subscription),
                None => return Ok(()),
            }
        }
    }

    async fn one(&self, of: &Subscriber, to: &PlanVersion) -> Result<Outcome, MovingError> {
        let now = self.clock.now();
        let standing = self.orders.standing_of(of.account, now).await?;
        let Some(standing) = standing.filter(|s| s.subscription.id == of.subscription) else {
            return Ok(Outcome::Stays(Stays::Given));
        };
        let subscription = standing.subscription;
        if let Some(stays) = subscription.stays(to.id) {
            return Ok(Outcome::Stays(stays));
        }
        let fees = (subscription.fee(&standing.version), subscription.fee(to));
        match self.moved(&subscription, to, now).await {
            Ok(at) => Ok(match fees {
                (Ok(fee), Ok(new_fee)) => Outcome::Moves { at, fee, new_fee },
                (Err(error), _) | (_, Err(error)) => {
                    Outcome::Refused(OrderError::Rule(error.into()))
                }
            }),
            Err(error @ OrderError::Unavailable(_)) => Err(MovingError::Order(error)),
            Err(error) => Ok(Outcome::Refused(error)),
        }
    }

    /// Says when it is on the other version.
    async fn moved(
        &self,
        subscription: &Subscription,
        to: &PlanVersion,
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, OrderError> {
        let ask = QuoteAsk {
            id: ChangeQuoteId::new(self.ids.next()),
            account: subscription.account,
            to: to.id,
            quantity: None,
            timing: Some(Timing::PeriodEnd),
            by: ProrationUnit::Second,
            is_kept: !self.is_preview,
            now,
        };
        let kept = self.orders.quote(&ask).await?;
        let at = match kept.quote.way {
            ChangeWay::AtPeriodEnd(end) => end,
            ChangeWay::InPlace | ChangeWay::Reset(_) | ChangeWay::InTrial(_) => kept.quote.at,
        };
        if self.is_preview {
            return Ok(at);
        }
        // Whoever else moves it in this moment does it once.
        let (id, revision) = (subscription.id, subscription.revision);
        let made = NewOrder {
            account: subscription.account,
            order: Order::Take(kept.id),
            key: format!("move:{id}:{}:{revision}", to.id),
            now,
        };
        match orders::place(self.orders, self.clock, made).await {
            Ok(_) | Err(OrderError::KeyReused) => Ok(at),
            Err(error) => Err(error),
        }
    }
}
