//! Changes to another plan or quantity.
//!
//! A change of plan is quoted first. The quote is what is executed, at the instant that it was made
//! for, so that what was shown is what is charged; it expires, and it is good for one state of the
//! subscription.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::step::{Effect, Fee, FeeKind, fee_key};
use super::{
    ManagedBy, Pending, State, Subscription, SubscriptionError, bears_credit, check_quantity,
    fee_of,
};
use crate::id::{PlanVersionId, SubscriptionId};
use crate::invoice::Taxes;
use crate::money::MoneyError;
use crate::period::{Cycle, Period};
use crate::plan::PlanVersion;
use crate::proration::{ProrationUnit, Share, capped_credit};

/// How long a quote holds.
pub const QUOTE_HOLDS: Duration = Duration::minutes(30);

/// When a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timing {
    /// At once.
    Now,
    /// When the period is over.
    PeriodEnd,
}

/// A wish for another plan or quantity.
#[derive(Debug, Clone, Copy)]
pub struct ChangeAsk<'a> {
    /// To what.
    pub to: &'a PlanVersion,
    /// How many.
    pub quantity: u32,
    /// When; left out, at once where more is paid, and at the end of the period where less is.
    pub timing: Option<Timing>,
    /// By what periods are divided.
    pub by: ProrationUnit,
    /// What is left of what came with the period: of its credit and quotas, the least.
    pub unused: Share,
}

/// What a change of plan does and costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeQuote {
    /// Of which subscription.
    pub subscription: SubscriptionId,
    /// In which state of it.
    pub revision: u64,
    /// To which version.
    pub to: PlanVersionId,
    /// How many.
    pub quantity: u32,
    /// When it was made. What it charges is reckoned for this instant.
    pub at: OffsetDateTime,
    /// Until when it can be taken.
    pub expires_at: OffsetDateTime,
    /// How it is done.
    pub way: ChangeWay,
    /// By what periods were divided.
    pub by: ProrationUnit,
    /// What is credited and charged at once, item by item.
    pub items: Vec<Fee>,
    /// What comes off that, in minor units. What is prorated has its discount inside already.
    #[serde(default)]
    pub discount: i64,
    /// The taxes on what is left.
    #[serde(default)]
    pub taxes: Taxes,
}

/// How a change is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeWay {
    /// The running period goes on, its rest on the other plan.
    InPlace,
    /// A whole period of the other plan begins.
    Reset(Cycle),
    /// Nothing changes before the period is over.
    AtPeriodEnd(OffsetDateTime),
    /// The trial goes on as the other plan's, from the same start.
    InTrial(OffsetDateTime),
}

impl ChangeQuote {
    /// What is charged at once, with taxes, in minor units; below zero what is credited.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn total(&self) -> Result<i64, MoneyError> {
        let mut amounts = self.items.iter().map(|item| item.amount);
        let total = amounts.try_fold(self.taxes.on_top, i64::checked_add);
        let total = total.and_then(|total| total.checked_sub(self.discount));
        total.ok_or(MoneyError::OutOfRange)
    }
}

impl Subscription {
    /// What a change would do and cost, before taxes. `from` is the version that it is on.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub fn quote(
        &self,
        from: &PlanVersion,
        ask: &ChangeAsk<'_>,
        now: OffsetDateTime,
    ) -> Result<ChangeQuote, SubscriptionError> {
        self.check_changeable()?;
        check_quantity(ask.quantity)?;
        if (ask.to.id, ask.quantity) == (self.version, self.quantity) {
            return Err(SubscriptionError::Same);
        }
        if ask.to.terms.currency != from.terms.currency {
            return Err(SubscriptionError::Currency);
        }
        // Another quantity of what one has may be had when it is no longer sold.
        if ask.to.id != self.version && !ask.to.is_on_sale(now) {
            return Err(SubscriptionError::NotOnSale);
        }
        let (way, items) = match self.state {
            State::Trialing { ends_at } => (self.in_trial(ask, ends_at, now), Vec::new()),
            State::Active => self.while_active(from, ask, now)?,
            State::Grace(_) | State::PastDue(_) => return Err(SubscriptionError::Owes),
            State::Ended { .. } => return Err(SubscriptionError::Ended),
            State::Incomplete { .. } | State::Paused { .. } => {
                return Err(SubscriptionError::State(self.state.name()));
            }
        };
        Ok(ChangeQuote {
            subscription: self.id,
            revision: self.revision,
            to: ask.to.id,
            quantity: ask.quantity,
            at: now,
            expires_at: now.saturating_add(QUOTE_HOLDS),
            way,
            by: ask.by,
            items,
            discount: 0,
            taxes: Taxes::default(),
        })
    }

    fn in_trial(
        &self,
        ask: &ChangeAsk<'_>,
        ends_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> ChangeWay {
        let days = i64::from(ask.to.terms.trial_days);
        let zone = &self.cycle.anchor.zone;
        let ends = if ask.to.id == self.version {
            ends_at
        } else {
            zone.days_later(self.started_at, days)
        };
        ChangeWay::InTrial(ends.max(now))
    }

    fn while_active(
        &self,
        from: &PlanVersion,
        ask: &ChangeAsk<'_>,
        now: OffsetDateTime,
    ) -> Result<(ChangeWay, Vec<Fee>), SubscriptionError> {
        let (_, period) = self.billed_period().ok_or(SubscriptionError::Calendar)?;
        if now < period.start {
            return Err(SubscriptionError::ClockBehind);
        }
        let (old, new) = (self.fee(from)?, fee_of(ask.to, ask.quantity)?);
        let same_interval = ask.to.terms.billing.interval() == self.cycle.interval;
        let timing = ask.timing.unwrap_or(if same_interval && new < old {
            Timing::PeriodEnd
        } else {
            Timing::Now
        });
        if timing == Timing::PeriodEnd || now >= period.end {
            return Ok((ChangeWay::AtPeriodEnd(period.end), Vec::new()));
        }
        let zone = &self.cycle.anchor.zone;
        let whole = self.whole_of(period)?;
        let rest = Period {
            start: now,
            end: period.end,
        };
        let left = Share::of_part(rest, whole, ask.by, zone);
        let back = left.of(self.refundable(from)?)?;
        let unused = capped_credit(back, self.charged, self.credited);
        let item = |kind, period, amount| Fee {
            key: format!("{}:r{}:{kind:?}", fee_key(self.id, period), self.revision),
            kind,
            period,
            amount,
        };
        // Where a period gives something that can be used up, its rest is not sold by the second:
        // who had used it all would have it again for a day's price.
        if same_interval && !bears_credit(from) && !bears_credit(ask.to) {
            let new = self.discounted((ask.to.plan, new))?;
            let items = vec![
                item(FeeKind::Unused, rest, minus(unused)?),
                item(FeeKind::Rest, rest, left.of(new)?),
            ];
            return Ok((ChangeWay::InPlace, items));
        }
        let unused = if bears_credit(from) {
            unused.min(ask.unused.of(self.charged)?)
        } else {
            unused
        };
        let interval = ask.to.terms.billing.interval();
        let cycle = Cycle::anniversary(zone.clone(), now, interval);
        let (_, first) = cycle.period_at(now).ok_or(SubscriptionError::Calendar)?;
        let items = vec![
            item(FeeKind::Unused, rest, minus(unused)?),
            item(FeeKind::Plan, first, new),
        ];
        Ok((ChangeWay::Reset(cycle), items))
    }

    /// The whole period of its number: a short first one was charged its share of it.
    pub(super) fn whole_of(&self, period: Period) -> Result<Period, SubscriptionError> {
        let number = self.cycle.period_at(period.start).map(|(number, _)| number);
        let whole = number.and_then(|number| self.cycle.whole(number));
        whole.ok_or(SubscriptionError::Calendar)
    }

    /// Whether a quote still credits no more than what is left of the plan: time does not say that of
    /// a plan which gives something that can be used up.
    ///
    /// # Errors
    /// [`SubscriptionError::UsedSince`], and as [`Subscription::quote`].
    pub fn check_unused(
        &self,
        (from, to): (&PlanVersion, &PlanVersion),
        quote: &ChangeQuote,
        unused: Share,
    ) -> Result<(), SubscriptionError> {
        if quote.items.is_empty() || !bears_credit(from) {
            return Ok(());
        }
        let ask = ChangeAsk {
            to,
            quantity: quote.quantity,
            timing: Some(Timing::Now),
            by: quote.by,
            unused,
        };
        let again = self.quote(from, &ask, quote.at)?;
        let credited = |quote: &ChangeQuote| {
            let items = quote.items.iter();
            let unused = items.filter(|item| item.kind == FeeKind::Unused);
            unused.map(|item| item.amount).min()
        };
        if credited(&again) > credited(quote) {
            return Err(SubscriptionError::UsedSince);
        }
        Ok(())
    }

    /// Does what a quote says. Where it charges more than it credits, the caller does this once that
    /// is paid; a quote that is taken twice is refused the second time.
    ///
    /// # Errors
    /// [`SubscriptionError`]; nothing has changed then.
    pub fn take(
        &mut self,
        quote: &ChangeQuote,
        to: &PlanVersion,
        now: OffsetDateTime,
    ) -> Result<Vec<Effect>, SubscriptionError> {
        self.check_changeable()?;
        if quote.subscription != self.id || quote.to != to.id {
            return Err(SubscriptionError::ForeignQuote);
        }
        if quote.revision != self.revision {
            return Err(SubscriptionError::Changed);
        }
        if now >= quote.expires_at {
            return Err(SubscriptionError::QuoteExpired);
        }
        if now < quote.at {
            return Err(SubscriptionError::ClockBehind);
        }
        if to.id != self.version && !to.is_on_sale(now) {
            return Err(SubscriptionError::NotOnSale);
        }
        let pending = Pending {
            version: quote.to,
            quantity: quote.quantity,
        };
        let mut effects: Vec<Effect> = quote.items.iter().cloned().map(Effect::Charge).collect();
        let sum = |wanted: &dyn Fn(FeeKind) -> bool| {
            let items = quote.items.iter().filter(|item| wanted(item.kind));
            let sum = items
                .map(|item| item.amount)
                .try_fold(0_i64, i64::checked_add);
            sum.ok_or(MoneyError::OutOfRange)
        };
        let credited = sum(&|kind| kind == FeeKind::Unused)?;
        let charged = sum(&|kind| kind != FeeKind::Unused)?;
        match &quote.way {
            ChangeWay::AtPeriodEnd(_) => {
                self.pending = Some(pending);
                // There is a next period now, whatever was to be.
                (self.auto_renew, self.cancel_at) = (true, None);
                self.revision = self.revision.saturating_add(1);
                return Ok(effects);
            }
            ChangeWay::InTrial(ends_at) => {
                self.state = State::Trialing { ends_at: *ends_at };
                let interval = to.terms.billing.interval();
                let zone = self.cycle.anchor.zone.clone();
                self.cycle = Cycle::anniversary(zone, *ends_at, interval);
                self.billed_through = *ends_at;
            }
            ChangeWay::InPlace => {
                self.charged = self
                    .charged
                    .checked_add(charged)
                    .ok_or(MoneyError::OutOfRange)?;
                let credit = credited.checked_neg().ok_or(MoneyError::OutOfRange)?;
                self.credited = self
                    .credited
                    .checked_add(credit)
                    .ok_or(MoneyError::OutOfRange)?;
            }
            ChangeWay::Reset(cycle) => {
                let (_, first) = cycle
                    .period_at(quote.at)
                    .ok_or(SubscriptionError::Calendar)?;
                self.cycle = cycle.clone();
                self.billed_through = first.end;
                (self.charged, self.credited, self.discounts) = (charged, 0, Vec::new());
                effects.extend(self.granted_of(to, quote.quantity, first));
            }
        }
        self.give((quote.to, quote.quantity), now);
        self.auto_renew = to.terms.billing.renews();
        // A newer change takes the place of what was to come.
        (self.pending, self.cancel_at) = (None, None);
        self.revision = self.revision.saturating_add(1);
        Ok(effects)
    }

    fn granted_of(&self, to: &PlanVersion, quantity: u32, period: Period) -> Option<Effect> {
        let new = Self {
            quantity,
            ..self.clone()
        };
        new.granted(to, period)
    }

    pub(super) const fn check_changeable(&self) -> Result<(), SubscriptionError> {
        match self.managed_by {
            ManagedBy::House => Ok(()),
            ManagedBy::Gateway => Err(SubscriptionError::ManagedElsewhere),
        }
    }
}

pub(super) fn minus(amount: i64) -> Result<i64, MoneyError> {
    amount.checked_neg().ok_or(MoneyError::OutOfRange)
}
