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
use crate::fee_payment::{Reckoned, WalletDraw, bought, reckon};
use crate::id::ChangeQuoteId;
use crate::invoice::{BillTo, FeeDocuments, FeeDocumentsError, GiveBackError, Taxes};
use crate::message::MessageKind;
use crate::money::{Currency, Minor, Money, MoneyError, Nanos};
use crate::period::Period;
use crate::plan::PlanVersion;
use crate::port::subscriptions::{RecordError, Standing};
use crate::proration::{ProrationUnit, Share};
use crate::subscription::change::{ChangeAsk, ChangeQuote};
use crate::subscription::{
    Dunning, Effect, Fee, FeeKind, Paid, State, Subscription, SubscriptionError, charged,
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
    /// To whom and how it is invoiced.
    pub bill_to: BillTo<'a>,
}

/// What carrying out an order changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedOut {
    /// What becomes of the subscription, with the fees, credit and messages that follow.
    pub saving: Saving,
    /// What documents the fees.
    pub documents: FeeDocuments,
    /// What pays the invoice, where it asks for anything.
    pub payment: Option<FeeDraw>,
    /// What is answered.
    pub done: Done,
}

/// What is taken from the wallet for the invoice of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeeDraw {
    /// The fee under whose key the books hold it.
    pub fee: Fee,
    /// What is taken.
    pub draw: WalletDraw,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The subscription after it.
    pub subscription: Subscription,
    /// What was charged and credited, item by item.
    pub items: Vec<Fee>,
    /// What came off that, in minor units. What is prorated has its discount inside already.
    #[serde(default)]
    pub discount: i64,
    /// What is left of that without taxes that come on top, in minor units; below zero what was given
    /// back.
    pub net: i64,
    /// The taxes on it.
    #[serde(default)]
    pub taxes: Taxes,
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
    /// The taxes on a change are not those that its quote showed: they have changed, or what is known
    /// of the buyer has, or an invoice was credited since.
    #[error("the taxes on it are not what the quote showed; ask for another quote")]
    TaxChanged,
    /// What comes off a change is not what its quote showed: a coupon was redeemed, or given back,
    /// since.
    #[error("the discount on it is not what the quote showed; ask for another quote")]
    DiscountChanged,
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

impl Done {
    /// What was taken from the wallet, in minor units; below zero what was given back.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn total(&self) -> Result<i64, MoneyError> {
        let total = self.net.checked_add(self.taxes.on_top);
        total.ok_or(MoneyError::OutOfRange)
    }
}

/// What a change would do and cost, where the clock has not gone back.
///
/// # Errors
/// [`OrderError`].
pub fn quote(
    standing: &Standing,
    ask: &ChangeAsk<'_>,
    bill_to: &BillTo<'_>,
    now: OffsetDateTime,
) -> Result<ChangeQuote, OrderError> {
    let subscription = &standing.subscription;
    check_clock(subscription, now)?;
    let quote = subscription.quote(&standing.version, ask, now)?;
    let currency = standing.version.terms.currency;
    let documents = bill_to.documents((subscription, currency), &quote.items, now)?;
    let taxes = documents.taxes().map_err(FeeDocumentsError::from)?;
    Ok(ChangeQuote {
        discount: documents.discount()?.get(),
        taxes,
        ..quote
    })
}

/// What becomes of a subscription, its fees and the wallet when an order is carried out.
///
/// # Errors
/// [`OrderError`].
pub fn carry_out(
    order: Order,
    footing: &Footing<'_>,
    (dunning, now): (&Dunning, OffsetDateTime),
) -> Result<CarriedOut, OrderError> {
    let before = &footing.standing.subscription;
    check_clock(before, now)?;
    let mut subscription = before.clone();
    let effects = done_to(&mut subscription, order, footing, now)?;
    subscription.changed_at = Some(now);
    let items = charged(&effects);
    let currency = footing.wallet.currency;
    if footing.standing.version.terms.currency != currency {
        return Err(SubscriptionError::Currency.into());
    }
    let billed = (&mut subscription, currency);
    let documents = footing.bill_to.bill(billed, &items, now)?;
    let discount = documents.discount()?.get();
    let net = sum(&items)?.checked_sub(discount);
    let net = net.ok_or(MoneyError::OutOfRange)?;
    check_moving(footing, net)?;
    let taxes = documents.taxes().map_err(FeeDocumentsError::from)?;
    if let (Order::Take(_), Some((quote, _))) = (order, footing.quote) {
        check_shown(quote, discount, taxes)?;
    }
    let payment = payment(footing, &items, documents.due(), now)?;
    let back = documents.back().map_err(FeeDocumentsError::from)?;
    let posted = payment
        .as_ref()
        .map_or(footing.wallet, |paid| paid.draw.wallet)
        .posted
        .plus(back.nanos(currency)?)?;
    let granted = granted(&effects);
    Ok(CarriedOut {
        done: Done {
            subscription: subscription.clone(),
            items,
            discount,
            net,
            taxes,
            currency,
            granted,
            balance: posted.plus(granted.money())?,
            is_replayed: false,
        },
        saving: Saving {
            revision: before.revision,
            due_at: due_at(&subscription, dunning),
            subscription,
            effects,
            paid: None,
        },
        documents,
        payment,
    })
}

/// Whether a wallet has what the fee of a first period comes to, with taxes. What is on lease counts:
/// it can be recalled.
pub fn can_pay(
    (subscription, version): (&Subscription, &PlanVersion),
    (wallet, lots): (Wallet, Vec<Lot>),
    bill_to: &BillTo<'_>,
    now: OffsetDateTime,
) -> bool {
    let Ok(amount) = subscription.fee(version) else {
        return false;
    };
    let fee = Fee {
        key: format!("{}:first", subscription.id),
        kind: FeeKind::Plan,
        period: Period {
            start: now,
            end: now,
        },
        amount,
    };
    let currency = version.terms.currency;
    let documents = bill_to.documents((subscription, currency), &[fee], now);
    let due = documents.map(|documents| documents.due().nanos(currency));
    let Ok(Ok(due)) = due else {
        return false;
    };
    let reckoned = reckon(wallet, lots, Amount::of(due), now);
    due.is_zero() || !matches!(reckoned, Err(_) | Ok(Reckoned::Short))
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
    now: OffsetDateTime,
) -> Result<Vec<Effect>, OrderError> {
    let version = &footing.standing.version;
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
            vec![Effect::Tell(MessageKind::WillEnd)]
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
            vec![Effect::Tell(MessageKind::Resumed)]
        }
        Order::Pause => subscription.pause(now)?,
        Order::Unpause => taken_up(subscription, version, now)?,
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
    at: OffsetDateTime,
) -> Result<Vec<Effect>, OrderError> {
    let mut effects = subscription.unpause(version, at)?;
    let revision = subscription.revision;
    let mut period = None;
    for effect in &mut effects {
        if let Effect::Charge(fee) = effect {
            fee.key = format!("{}:r{revision}", fee.key);
            period = Some(fee.period);
        }
    }
    if let Some(period) = period {
        effects.extend(subscription.paid(Paid { period, at }, version));
    }
    Ok(effects)
}

/// Nothing is charged that was not shown.
fn check_shown(quote: &ChangeQuote, discount: i64, taxes: Taxes) -> Result<(), OrderError> {
    if quote.discount != discount {
        return Err(OrderError::DiscountChanged);
    }
    if quote.taxes != taxes {
        return Err(OrderError::TaxChanged);
    }
    Ok(())
}

fn sum(items: &[Fee]) -> Result<i64, MoneyError> {
    let mut amounts = items.iter().map(|item| item.amount);
    let sum = amounts.try_fold(0_i64, i64::checked_add);
    sum.ok_or(MoneyError::OutOfRange)
}

/// Whether so much may move.
fn check_moving(footing: &Footing<'_>, net: i64) -> Result<(), OrderError> {
    let status = footing.wallet.status;
    if net != 0 && status != AccountStatus::Active {
        return Err(OrderError::Stopped(status));
    }
    let (back, paid) = (net.saturating_neg(), footing.paid_so_far);
    if net < 0 && back > paid {
        return Err(OrderError::TooMuch { back, paid });
    }
    Ok(())
}

/// What pays what is due, taxes included; nothing where that is nothing.
fn payment(
    footing: &Footing<'_>,
    items: &[Fee],
    due: Minor,
    now: OffsetDateTime,
) -> Result<Option<FeeDraw>, OrderError> {
    let (wallet, lots) = (footing.wallet, &footing.lots);
    let currency = wallet.currency;
    let charged = items.iter().find(|item| item.amount > 0);
    let Some(fee) = charged.filter(|_| due > Minor::ZERO) else {
        return Ok(None);
    };
    let needed = due.nanos(currency)?;
    match reckon(wallet, lots.clone(), Amount::of(needed), now)? {
        Reckoned::Enough(draw) => Ok(Some(FeeDraw {
            fee: fee.clone(),
            draw,
        })),
        Reckoned::OnLease(missing) => {
            Err(OrderError::OnLease(Money::new(missing.money(), currency)))
        }
        Reckoned::Short => {
            let has = bought(lots, now).min(Amount::of(wallet.posted));
            Err(OrderError::Short {
                needed: Money::new(needed, currency),
                has: Money::new(has.money(), currency),
            })
        }
    }
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

impl From<FeeDocumentsError> for OrderError {
    fn from(error: FeeDocumentsError) -> Self {
        match error {
            FeeDocumentsError::GiveBack(GiveBackError::NotCharged { back, left }) => {
                Self::TooMuch {
                    back: back.get(),
                    paid: left.get(),
                }
            }
            FeeDocumentsError::Money(error)
            | FeeDocumentsError::GiveBack(GiveBackError::Money(error)) => error.into(),
            FeeDocumentsError::Assembly(_) | FeeDocumentsError::Credit(_) => {
                Self::Inconsistent(error.to_string())
            }
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
