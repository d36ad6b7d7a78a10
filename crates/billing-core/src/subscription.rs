//! Subscriptions: an account on a version of a plan, through all of its life.
//!
//! A state carries its facts. What is orthogonal to it stands beside it: whether it renews, when it
//! is to end, what it is to change to, who manages it. Everything that time brings about is found by
//! [`Subscription::due`] and done by [`Subscription::step`]; what somebody asks for is in
//! [`change`]. Neither reads a clock, moves money or writes anything: they say what changes and what
//! is to be done about it ([`Effect`]), each under a key that makes it happen once.

pub mod change;
mod dunning;
mod moving;
mod pause;
mod run;
mod step;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

pub use dunning::{AtEnd, Dunned, Dunning, DunningError};
pub use moving::Stays;
pub use run::Due;
pub use step::{Effect, Fee, FeeKind, Paid, charged};

use crate::id::{AccountId, PlanId, PlanVersionId, SubscriptionId};
use crate::invoice::{AppliedDiscount, Discount, off_price};
use crate::message::MessageKind;
use crate::money::{Minor, Money, MoneyError};
use crate::period::{Cycle, Period};
use crate::plan::{Billing, PlanVersion};
use crate::zone::Zone;

/// Who decides when it renews and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManagedBy {
    /// This house.
    House,
    /// A payment gateway or a store: what it says is followed, and nothing is billed here.
    Gateway,
}

/// Where a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum State {
    /// Its first fee is not paid yet.
    Incomplete {
        /// When it ends if it stays so.
        expires_at: OffsetDateTime,
        /// How often it was tried.
        tries: u8,
    },
    /// It is free for now.
    Trialing {
        /// When the first fee is due.
        ends_at: OffsetDateTime,
    },
    /// It is paid.
    Active,
    /// A fee is owed; its calls go on.
    Grace(Owed),
    /// A fee is owed; its quotas are closed. What is in the wallet can be used.
    PastDue(Owed),
    /// It rests: nothing is billed and nothing given.
    Paused {
        /// Since when.
        since: OffsetDateTime,
    },
    /// It is over, for good.
    Ended {
        /// When.
        at: OffsetDateTime,
        /// Why.
        why: EndReason,
    },
}

/// A fee that could not be collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// The period that it is for.
    pub period: Period,
    /// How much, in minor units.
    pub amount: i64,
    /// Since when.
    pub since: OffsetDateTime,
    /// How often it was tried, the first time too.
    pub tries: u8,
}

/// Why a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// It was cancelled.
    Cancelled,
    /// It was for once, or not to be renewed.
    RanOut,
    /// Its first fee was never paid.
    NeverPaid,
    /// A later fee was not paid.
    Unpaid,
}

/// For how long quotas are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// They are closed.
    Closed,
    /// Until then.
    Until(OffsetDateTime),
    /// Until something happens to the subscription.
    Open,
}

/// What it is to become at the end of its period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Which version.
    pub version: PlanVersionId,
    /// How many.
    pub quantity: u32,
}

/// An account on a version of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Whose it is.
    pub account: AccountId,
    /// Of which version.
    pub version: PlanVersionId,
    /// How many of it: its fee, quotas and credit are so many times those of the plan.
    pub quantity: u32,
    /// Who manages it.
    pub managed_by: ManagedBy,
    /// Where it stands.
    pub state: State,
    /// Whether another period follows this one.
    pub auto_renew: bool,
    /// When it is to end, where somebody said so.
    pub cancel_at: Option<OffsetDateTime>,
    /// What it is to become when its period is over.
    pub pending: Option<Pending>,
    /// Its periods. They begin anew where it was reset or taken up again.
    pub cycle: Cycle,
    /// Up to when periods have been billed: the end of the last one, or the cycle's start.
    pub billed_through: OffsetDateTime,
    /// What was charged for the running period, in minor units.
    pub charged: i64,
    /// What of that was credited since.
    pub credited: i64,
    /// What came off the fee of the running period: it holds for the rest of it, also on another
    /// plan. `charged` is without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discounts: Vec<Discount>,
    /// When it began, its trial too.
    pub started_at: OffsetDateTime,
    /// Of which end of its trial it was told that it is near; `None` before that.
    #[serde(default)]
    pub reminded_of: Option<OffsetDateTime>,
    /// Since when its calls have been given what it gives now, without a break; `None` for since it
    /// began.
    #[serde(default)]
    pub given_since: Option<OffsetDateTime>,
    /// When somebody last changed it; `None` before that.
    #[serde(default)]
    pub changed_at: Option<OffsetDateTime>,
    /// Counts what has changed about it, so that of two changes at once one is refused.
    pub revision: u64,
}

/// Why a subscription cannot begin or be changed. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubscriptionError {
    /// The plan version cannot be subscribed to.
    #[error("this version of the plan is not on sale")]
    NotOnSale,
    /// None, or more than can be reckoned with.
    #[error("a quantity of {0}; give 1 to 100000")]
    Quantity(u32),
    /// It is over.
    #[error("the subscription has ended")]
    Ended,
    /// It does not stand where this could be done.
    #[error("this cannot be done to a subscription that is {0}")]
    State(&'static str),
    /// Another manages it.
    #[error("the subscription is managed where it was bought; change it there")]
    ManagedElsewhere,
    /// It is what it should become.
    #[error("the subscription is of this plan and quantity already")]
    Same,
    /// The plan is in another currency.
    #[error("the plan is priced in another currency than the subscription")]
    Currency,
    /// A fee is owed.
    #[error("a fee is owed; pay it first")]
    Owes,
    /// Time went back.
    #[error("the clock is behind what has happened to the subscription already")]
    ClockBehind,
    /// The quote is of something else.
    #[error("the quote is not of this subscription")]
    ForeignQuote,
    /// The quote is too old.
    #[error("the quote has expired; ask for another")]
    QuoteExpired,
    /// Something changed since the quote was made.
    #[error("the subscription has changed since; ask for another quote")]
    Changed,
    /// More of the plan was used since the quote was made, so that less is credited for it.
    #[error("more of the plan has been used since the quote was made; ask for another quote")]
    UsedSince,
    /// It lies beyond the calendar.
    #[error("the period lies beyond the calendar")]
    Calendar,
    /// An amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// The most that one subscription may be of.
pub const MOST_QUANTITY: u32 = 100_000;
/// How long a first fee may stay unpaid.
const INCOMPLETE_FOR: time::Duration = time::Duration::hours(23);

/// For how long after its end a period that renews gives what it gave, until the next is billed.
const SLACK: time::Duration = time::Duration::HOUR;

/// How a subscription is to begin.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// Its id.
    pub id: SubscriptionId,
    /// Whose it is.
    pub account: AccountId,
    /// Of which version.
    pub version: &'a PlanVersion,
    /// How many.
    pub quantity: u32,
    /// In whose calendar.
    pub zone: Zone,
    /// Whether the account may have the plan's trial: nobody has one twice.
    pub may_try: bool,
}

impl Subscription {
    /// A new subscription, and its first fee where there is one now.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub fn start(
        start: Start<'_>,
        now: OffsetDateTime,
    ) -> Result<(Self, Vec<Effect>), SubscriptionError> {
        let terms = &start.version.terms;
        if !start.version.is_on_sale(now) {
            return Err(SubscriptionError::NotOnSale);
        }
        check_quantity(start.quantity)?;
        let trial = terms.trial_days;
        let ends_at = start.zone.days_later(now, i64::from(trial));
        let is_trial = start.may_try && trial > 0;
        let first = if is_trial { ends_at } else { now };
        let state = if is_trial {
            State::Trialing { ends_at }
        } else {
            let expires_at = now.saturating_add(INCOMPLETE_FOR);
            let tries = 0;
            State::Incomplete { expires_at, tries }
        };
        let mut new = Self {
            id: start.id,
            account: start.account,
            version: start.version.id,
            quantity: start.quantity,
            managed_by: ManagedBy::House,
            state,
            auto_renew: terms.billing.renews(),
            cancel_at: None,
            pending: None,
            cycle: Cycle::anniversary(start.zone, first, terms.billing.interval()),
            billed_through: first,
            charged: 0,
            credited: 0,
            discounts: Vec::new(),
            started_at: now,
            reminded_of: None,
            given_since: None,
            changed_at: None,
            revision: 0,
        };
        let effects = if is_trial {
            vec![Effect::Tell(MessageKind::TrialBegan)]
        } else {
            new.bill_next(start.version)?
        };
        Ok((new, effects))
    }

    /// Whether its quotas are open at an instant.
    pub fn is_entitled(&self, now: OffsetDateTime) -> bool {
        match self.access() {
            Access::Closed => false,
            Access::Open => true,
            Access::Until(end) => now < end,
        }
    }

    /// For how long its quotas are open as it stands.
    pub fn access(&self) -> Access {
        let end = match self.state {
            State::Trialing { ends_at } => Some(ends_at),
            // Whoever bills the next period may be a little late.
            State::Active if self.auto_renew => Some(self.billed_through.saturating_add(SLACK)),
            State::Active => Some(self.billed_through),
            State::Grace(_) => None,
            State::Incomplete { .. }
            | State::PastDue(_)
            | State::Paused { .. }
            | State::Ended { .. } => return Access::Closed,
        };
        let first = end.into_iter().chain(self.cancel_at).min();
        first.map_or(Access::Open, Access::Until)
    }

    /// The period that was billed last; `None` before the first.
    pub fn billed_period(&self) -> Option<(i64, Period)> {
        let last = self
            .billed_through
            .checked_sub(time::Duration::NANOSECOND)?;
        self.cycle.period_at(last)
    }

    /// What of a period's fee can be given back, in minor units: credit that came with it stays with
    /// the account, so its worth is not.
    fn refundable(&self, version: &PlanVersion) -> Result<i64, MoneyError> {
        let terms = &version.terms;
        let each = Money::new(terms.included_credit, terms.currency).to_minor();
        let worth = each.saturating_mul(i64::from(self.quantity));
        let price = self.discounted((version.plan, self.fee(version)?))?;
        Ok(price.saturating_sub(worth).max(0))
    }

    /// A price of a plan with what came off the fee of the running period, in minor units.
    fn discounted(&self, (plan, price): (PlanId, i64)) -> Result<i64, MoneyError> {
        let off = off_price(&self.discounts, (plan, Minor::new(price)))?;
        let off = Minor::total(off.iter().map(|off| off.amount))?;
        Ok(Minor::new(price).minus(off)?.get())
    }

    /// Notes what came off the fee of a period that was just billed.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn note_discounts(&mut self, applied: &[AppliedDiscount]) -> Result<(), MoneyError> {
        let off = Minor::total(applied.iter().map(|off| off.amount))?;
        let less = |amount: i64| amount.checked_sub(off.get()).ok_or(MoneyError::OutOfRange);
        if off.is_zero() {
            return Ok(());
        }
        let charged = less(self.charged)?;
        if let State::Grace(owed) | State::PastDue(owed) = &mut self.state {
            owed.amount = less(owed.amount)?;
        }
        self.charged = charged;
        self.discounts = applied.iter().map(|off| off.discount.clone()).collect();
        Ok(())
    }

    /// What a period of a version costs, in minor units.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn fee(&self, version: &PlanVersion) -> Result<i64, MoneyError> {
        fee_of(version, self.quantity)
    }
}

/// What a period of so many of a version costs, in minor units.
fn fee_of(version: &PlanVersion, quantity: u32) -> Result<i64, MoneyError> {
    let price = version.terms.minor_price();
    price
        .checked_mul(i64::from(quantity))
        .ok_or(MoneyError::OutOfRange)
}

const fn check_quantity(quantity: u32) -> Result<(), SubscriptionError> {
    if quantity == 0 || quantity > MOST_QUANTITY {
        return Err(SubscriptionError::Quantity(quantity));
    }
    Ok(())
}

impl State {
    /// The storage and wire name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Incomplete { .. } => "incomplete",
            Self::Trialing { .. } => "trialing",
            Self::Active => "active",
            Self::Grace(_) => "grace",
            Self::PastDue(_) => "past_due",
            Self::Paused { .. } => "paused",
            Self::Ended { .. } => "ended",
        }
    }
}

/// Whether a plan gives something with each period that can be used up at once, so that time alone
/// does not say what is left of it.
fn bears_credit(version: &PlanVersion) -> bool {
    use crate::quota::QuotaWindow::{Period, Subscription};
    let quotas = &version.quotas;
    let is_whole = |q: &crate::quota::Quota| matches!(q.terms.window, Period | Subscription);
    !version.terms.included_credit.is_zero()
        || version.terms.call_limit.is_some()
        || matches!(version.terms.billing, Billing::Once(_))
        || quotas.iter().any(is_whole)
}
