//! What somebody asks of a subscription beside another plan: cancelling, resuming, pausing.

use time::OffsetDateTime;

use super::change::minus;
use super::step::{Effect, Fee, FeeKind, fee_key};
use super::{EndReason, State, Subscription, SubscriptionError, bears_credit};
use crate::message::MessageKind;
use crate::period::{Cycle, Period};
use crate::plan::PlanVersion;
use crate::proration::{ProrationUnit, Share, capped_credit};

impl Subscription {
    /// Lets it run out: when its period is over, or its trial.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub fn cancel_at_end(&mut self) -> Result<(), SubscriptionError> {
        self.check_changeable()?;
        self.cancel_at = match self.state {
            State::Trialing { ends_at } => Some(ends_at),
            State::Active => Some(self.billed_through),
            State::Ended { .. } => return Err(SubscriptionError::Ended),
            State::Incomplete { .. }
            | State::Grace(_)
            | State::PastDue(_)
            | State::Paused { .. } => return Err(SubscriptionError::State(self.state.name())),
        };
        (self.auto_renew, self.pending) = (false, None);
        self.revision = self.revision.saturating_add(1);
        Ok(())
    }

    /// Ends it at once. What was paid and not used is credited where that is wished.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub fn cancel_now(
        &mut self,
        from: &PlanVersion,
        (by, unused): (ProrationUnit, Share),
        is_credited: bool,
        now: OffsetDateTime,
    ) -> Result<Vec<Effect>, SubscriptionError> {
        self.check_changeable()?;
        let mut effects = Vec::new();
        if let (State::Active, true, Some((_, period))) =
            (self.state, is_credited, self.billed_period())
            && now < period.end
        {
            let rest = Period {
                start: now.max(period.start),
                end: period.end,
            };
            let whole = self.whole_of(period)?;
            let left = Share::of_part(rest, whole, by, &self.cycle.anchor.zone);
            let back = left.of(self.refundable(from)?)?;
            let mut credit = capped_credit(back, self.charged, self.credited);
            if bears_credit(from) {
                credit = credit.min(unused.of(self.charged)?);
            }
            if credit > 0 {
                effects.push(Effect::Charge(Fee {
                    key: format!("{}:end", fee_key(self.id, rest)),
                    kind: FeeKind::Unused,
                    period: rest,
                    amount: minus(credit)?,
                }));
            }
        }
        if matches!(self.state, State::Ended { .. }) {
            return Err(SubscriptionError::Ended);
        }
        effects.extend(self.end(now, EndReason::Cancelled));
        self.revision = self.revision.saturating_add(1);
        Ok(effects)
    }

    /// Takes back that it is to end, or to become something else.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub fn resume(&mut self, version: &PlanVersion) -> Result<(), SubscriptionError> {
        self.check_changeable()?;
        if self.cancel_at.is_none() && self.pending.is_none() {
            return Err(SubscriptionError::Same);
        }
        if matches!(self.state, State::Ended { .. }) {
            return Err(SubscriptionError::Ended);
        }
        self.auto_renew = version.terms.billing.renews();
        (self.cancel_at, self.pending) = (None, None);
        self.revision = self.revision.saturating_add(1);
        Ok(())
    }

    /// Lets it rest. What is left of its period is lost, so nothing is credited.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub fn pause(&mut self, now: OffsetDateTime) -> Result<Vec<Effect>, SubscriptionError> {
        self.check_changeable()?;
        if !matches!(self.state, State::Active | State::Trialing { .. }) {
            return Err(SubscriptionError::State(self.state.name()));
        }
        self.state = State::Paused { since: now };
        self.revision = self.revision.saturating_add(1);
        Ok(vec![Effect::Tell(MessageKind::Paused)])
    }

    /// Takes it up again: a period begins now and is billed.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub fn unpause(
        &mut self,
        version: &PlanVersion,
        now: OffsetDateTime,
    ) -> Result<Vec<Effect>, SubscriptionError> {
        self.check_changeable()?;
        let State::Paused { since } = self.state else {
            return Err(SubscriptionError::State(self.state.name()));
        };
        if now < since {
            return Err(SubscriptionError::ClockBehind);
        }
        let zone = self.cycle.anchor.zone.clone();
        self.cycle = Cycle::anniversary(zone, now, version.terms.billing.interval());
        self.billed_through = now;
        self.given_since = Some(now);
        self.auto_renew = version.terms.billing.renews();
        self.revision = self.revision.saturating_add(1);
        self.bill_next(version)
    }
}
