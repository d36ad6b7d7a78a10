//! Orders: what somebody asks of a subscription is done whole, with what it costs, or not at all.
//!
//! Whoever records an order locks the wallet, loads everything of one moment ([`Footing`]), asks
//! [`carry_out`] and writes all that it says in one transaction. A preview asks the same and writes
//! nothing.

use std::error::Error;

use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;
use time::OffsetDateTime;

use crate::billing_run::{Saving, due_at};
use crate::budget::Amount;
use crate::fee_payment::{FeeError, FeePayment, PaidFee, bought, give_back, pay_from_wallet};
use crate::id::{AccountId, ChangeQuoteId, LotId};
use crate::money::{Currency, Money, MoneyError, Nanos};
use crate::period::Period;
use crate::plan::PlanVersion;
use crate::port::subscriptions::{RecordError, Standing};
use crate::proration::{ProrationUnit, Share};
use crate::settlement::Booking;
use crate::subscription::change::{ChangeAsk, ChangeQuote};
use crate::subscription::{
    Dunning, Effect, Fee, FeeKind, Paid, State, Subscription, SubscriptionError,
};
use crate::wallet::{AccountStatus, Lot, Wallet};

/// What is asked of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// To do what a quote says.
    Take(ChangeQuoteId),
    /// To let it end with its period, or its trial.
    CancelAtEnd,
    /// To end it at once.
    CancelNow {
        /// Whether what was paid and not used is given back.
        is_credited: bool,
    },
    /// To take back that it is to end, or to become something else.
    Resume,
    /// To let it rest.
    Pause,
    /// To take it up again, with a period that begins now.
    Unpause,
}

/// What an order is carried out on, all of one moment.
#[derive(Debug, Clone)]
pub struct Footing<'a> {
    /// The subscription.
    pub standing: &'a Standing,
    /// What a quote that is to be taken says, and the version that it changes to.
    pub quote: Option<(&'a ChangeQuote, &'a PlanVersion)>,
    /// The account's wallet.
    pub wallet: Wallet,
    /// Its lots that hold anything.
    pub lots: Vec<Lot>,
    /// What is left of the plan's quotas that are given with a whole period, the least.
    pub unused: Share,
    /// What was paid for the subscription so far less what was given back, in minor units.
    pub paid_so_far: i64,
}

/// What carrying out an order changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedOut {
    /// What becomes of the subscription, with the fees, credit and messages that follow.
    pub saving: Saving,
    /// The books, where money moves.
    pub books: Option<PaidFee>,
    /// What is answered.
    pub done: Done,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The subscription after it.
    pub subscription: Subscription,
    /// What was charged and credited, item by item.
    pub items: Vec<Fee>,
    /// What that comes to, in minor units; below zero what was given back.
    pub net: i64,
    /// The currency of all amounts.
    pub currency: Currency,
    /// Credit that came with it.
    pub granted: Amount,
    /// The wallet's balance after it.
    pub balance: Nanos,
    /// Whether it was done before, under the same key.
    #[serde(skip)]
    pub is_replayed: bool,
}

/// Why an order was not carried out. Nothing has changed then.
#[derive(Debug, ThisError)]
pub enum OrderError {
    /// Nothing is billed to the account.
    #[error("the account has no subscription that is billed to it")]
    NoSubscription,
    /// It is set aside.
    #[error("the subscription is set aside until somebody has looked at it")]
    Parked,
    /// There is no such quote, or it is another account's.
    #[error("no such quote")]
    NoSuchQuote,
    /// The quote was taken.
    #[error("this quote was taken already")]
    Taken,
    /// There is no such version.
    #[error("this version of the plan is not there")]
    NoSuchVersion,
    /// It neither ends nor changes.
    #[error("there is nothing to take back: it is neither to end nor to change")]
    NothingToResume,
    /// The rules of subscriptions.
    #[error(transparent)]
    Rule(#[from] SubscriptionError),
    /// The wallet has too little bought credit.
    #[error("it costs {needed}, and the wallet has {has} of bought credit; top it up first")]
    Short {
        /// What is to be paid.
        needed: Money,
        /// What there is to pay it with.
        has: Money,
    },
    /// There is enough, and calls that are running hold so much of it. It is recalled from them.
    #[error("calls that are running hold {0} of what would pay it; try again shortly")]
    OnLease(Money),
    /// The account is stopped, so that no money moves.
    #[error("the account is {}, so that no money moves", .0.name())]
    Stopped(AccountStatus),
    /// More would be given back than was ever paid.
    #[error("it would give back {back} minor units, and {paid} were paid")]
    TooMuch {
        /// What would be given back, in minor units.
        back: i64,
        /// What was paid and not given back yet.
        paid: i64,
    },
    /// The key stands for another order.
    #[error("the key was used before for something else")]
    KeyReused,
    /// What is stored contradicts itself.
    #[error("the record contradicts itself: {0}")]
    Inconsistent(String),
    /// The store cannot be reached or did not commit. Repeating under the same key is safe.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

impl Order {
    /// What must be the same when its key comes again.
    pub fn fingerprint(self) -> String {
        match self {
            Self::Take(quote) => format!("take {quote}"),
            Self::CancelAtEnd => "cancel at end".to_owned(),
            Self::CancelNow { is_credited } => format!("cancel now, credited {is_credited}"),
            Self::Resume => "resume".to_owned(),
            Self::Pause => "pause".to_owned(),
            Self::Unpause => "unpause".to_owned(),
        }
    }
}

/// What a change would do and cost, where the clock has not gone back.
///
/// # Errors
/// [`SubscriptionError`].
pub fn quote(
    standing: &Standing,
    ask: &ChangeAsk<'_>,
    now: OffsetDateTime,
) -> Result<ChangeQuote, SubscriptionError> {
    let subscription = &standing.subscription;
    check_clock(subscription, now)?;
    subscription.quote(&standing.version, ask, now)
}

/// What becomes of a subscription, its fees and the wallet when an order is carried out. `lot` holds
/// what is given back.
///
/// # Errors
/// [`OrderError`].
pub fn carry_out(
    order: Order,
    footing: &Footing<'_>,
    (dunning, lot, booking): (&Dunning, LotId, Booking),
) -> Result<CarriedOut, OrderError> {
    let before = &footing.standing.subscription;
    check_clock(before, booking.now)?;
    let mut subscription = before.clone();
    let effects = done_to(&mut subscription, order, footing, booking)?;
    subscription.changed_at = Some(booking.now);
    let items = charged(&effects);
    let mut amounts = items.iter().map(|item| item.amount);
    let net = amounts.try_fold(0_i64, i64::checked_add);
    let net = net.ok_or(MoneyError::OutOfRange)?;
    let period = Period {
        start: booking.now,
        end: subscription.billed_through.max(booking.now),
    };
    let whole = Fee {
        key: format!("{}:r{}:net", subscription.id, subscription.revision),
        kind: if net < 0 {
            FeeKind::Unused
        } else {
            FeeKind::Plan
        },
        period,
        amount: net,
    };
    let books = settled(subscription.account, footing, (&whole, lot), booking)?;
    let granted = granted(&effects);
    let posted = books.as_ref().map_or(footing.wallet, |books| books.wallet);
    let done = Done {
        subscription: subscription.clone(),
        items,
        net,
        currency: footing.wallet.currency,
        granted,
        balance: posted.posted.plus(granted.money())?,
        is_replayed: false,
    };
    let saving = Saving {
        revision: before.revision,
        due_at: due_at(&subscription, dunning),
        subscription,
        effects,
        paid: None,
    };
    Ok(CarriedOut {
        saving,
        books,
        done,
    })
}

/// Time does not go back behind what has happened to it.
fn check_clock(subscription: &Subscription, now: OffsetDateTime) -> Result<(), SubscriptionError> {
    let since = match subscription.state {
        State::Paused { since } => since,
        State::Grace(owed) | State::PastDue(owed) => owed.since,
        State::Incomplete { .. } | State::Trialing { .. } | State::Active | State::Ended { .. } => {
            subscription.started_at
        }
    };
    let period = subscription.billed_period().map(|(_, period)| period.start);
    let billed = period.filter(|_| subscription.state == State::Active);
    let known = [Some(subscription.started_at), Some(since), billed];
    let last = known.into_iter().chain([subscription.changed_at]).flatten();
    if last.max().is_some_and(|last| now < last) {
        return Err(SubscriptionError::ClockBehind);
    }
    Ok(())
}

fn done_to(
    subscription: &mut Subscription,
    order: Order,
    footing: &Footing<'_>,
    booking: Booking,
) -> Result<Vec<Effect>, OrderError> {
    let (version, now) = (&footing.standing.version, booking.now);
    let mut effects = match order {
        Order::Take(_) => {
            let (quote, to) = footing.quote.ok_or(OrderError::NoSuchQuote)?;
            let unused = footing.unused;
            let mut taken = subscription.clone();
            let effects = taken.take(quote, to, now)?;
            subscription.check_unused((version, to), quote, unused)?;
            *subscription = taken;
            effects
        }
        Order::CancelAtEnd => {
            subscription.cancel_at_end()?;
            Vec::new()
        }
        Order::CancelNow { is_credited } => {
            let unused = (ProrationUnit::Second, footing.unused);
            subscription.cancel_now(version, unused, is_credited, now)?
        }
        Order::Resume => {
            let resumed = subscription.resume(version);
            if resumed == Err(SubscriptionError::Same) {
                return Err(OrderError::NothingToResume);
            }
            resumed?;
            Vec::new()
        }
        Order::Pause => subscription.pause(now)?,
        Order::Unpause => taken_up(subscription, version, booking)?,
    };
    // Two periods may begin in one second, and each has its credit.
    let revision = subscription.revision;
    for effect in &mut effects {
        if let Effect::Grant { key, .. } = effect {
            *key = format!("{key}:r{revision}");
        }
    }
    Ok(effects)
}

/// It is paid at once, or stays as it is.
fn taken_up(
    subscription: &mut Subscription,
    version: &PlanVersion,
    booking: Booking,
) -> Result<Vec<Effect>, OrderError> {
    let mut effects = subscription.unpause(version, booking.now)?;
    let revision = subscription.revision;
    let mut period = None;
    for effect in &mut effects {
        if let Effect::Charge(fee) = effect {
            fee.key = format!("{}:r{revision}", fee.key);
            period = Some(fee.period);
        }
    }
    if let Some(period) = period {
        let at = booking.now;
        effects.extend(subscription.paid(Paid { period, at }, version));
    }
    Ok(effects)
}

/// Moves what an order comes to; nothing where that is nothing.
fn settled(
    account: AccountId,
    footing: &Footing<'_>,
    (whole, lot): (&Fee, LotId),
    booking: Booking,
) -> Result<Option<PaidFee>, OrderError> {
    let (wallet, net) = (footing.wallet, whole.amount);
    let currency = wallet.currency;
    if footing.standing.version.terms.currency != currency {
        return Err(SubscriptionError::Currency.into());
    }
    if net == 0 {
        return Ok(None);
    }
    if wallet.status != AccountStatus::Active {
        return Err(OrderError::Stopped(wallet.status));
    }
    let lots = footing.lots.clone();
    if net < 0 {
        let (back, paid) = (net.saturating_neg(), footing.paid_so_far);
        if back > paid {
            return Err(OrderError::TooMuch { back, paid });
        }
        let given = give_back(account, wallet, lots, (whole, lot), booking);
        return Ok(Some(given?));
    }
    let has = bought(&lots, booking.now).min(Amount::of(wallet.posted));
    match pay_from_wallet(account, wallet, lots, (whole, None), booking)? {
        FeePayment::Paid(paid) => Ok(Some(*paid)),
        FeePayment::Forgiven => Ok(None),
        FeePayment::OnLease(missing) => {
            Err(OrderError::OnLease(Money::new(missing.money(), currency)))
        }
        FeePayment::Short => Err(OrderError::Short {
            needed: Money::of_minor(net, currency)?,
            has: Money::new(has.money(), currency),
        }),
    }
}

fn charged(effects: &[Effect]) -> Vec<Fee> {
    let fee = |effect: &Effect| match effect {
        Effect::Charge(fee) => Some(fee.clone()),
        Effect::Retry(_) | Effect::Grant { .. } | Effect::Tell(_) => None,
    };
    effects.iter().filter_map(fee).collect()
}

fn granted(effects: &[Effect]) -> Amount {
    let amount = |effect: &Effect| match effect {
        Effect::Grant { amount, .. } => Some(*amount),
        Effect::Charge(_) | Effect::Retry(_) | Effect::Tell(_) => None,
    };
    let amounts = effects.iter().filter_map(amount);
    amounts.fold(Amount::ZERO, Amount::plus)
}

impl From<MoneyError> for OrderError {
    fn from(error: MoneyError) -> Self {
        Self::Rule(SubscriptionError::Money(error))
    }
}

impl From<FeeError> for OrderError {
    fn from(error: FeeError) -> Self {
        match error {
            FeeError::Money(error) => error.into(),
            FeeError::Nothing(_)
            | FeeError::NotBack(_)
            | FeeError::Invoice(_)
            | FeeError::Ledger(_) => Self::Inconsistent(error.to_string()),
        }
    }
}

impl From<RecordError> for OrderError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Changed => Self::Rule(SubscriptionError::Changed),
            RecordError::Inconsistent(why) => Self::Inconsistent(why),
            RecordError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}
