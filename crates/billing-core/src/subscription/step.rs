//! What happens to a subscription when something is due, or a fee was paid or not.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Access, Due, EndReason, Owed, Pending, State, Subscription, SubscriptionError};
use crate::budget::Amount;
use crate::id::{PlanVersionId, SubscriptionId};
use crate::message::MessageKind;
use crate::period::{Cycle, Period};
use crate::plan::PlanVersion;
use crate::proration::{ProrationUnit, Share};

/// What is to be done because a subscription has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A fee is invoiced and collected; what came of it is told by [`Subscription::paid`] and
    /// [`Subscription::not_paid`].
    Charge(Fee),
    /// The same fee is tried again.
    Retry(Fee),
    /// Promotional credit is given, once for its key. It lapses at an instant.
    Grant {
        /// Its key.
        key: String,
        /// How much.
        amount: Amount,
        /// Until when.
        expires_at: OffsetDateTime,
    },
    /// Somebody is to be told.
    Tell(MessageKind),
}

/// Something that is charged for, or credited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fee {
    /// Under which it is charged once.
    pub key: String,
    /// What for.
    pub kind: FeeKind,
    /// For when.
    pub period: Period,
    /// How much, in minor units; below zero for what is credited.
    pub amount: i64,
}

/// The fees among what is to be done, which are charged together.
pub fn charged(effects: &[Effect]) -> Vec<Fee> {
    let fee = |effect: &Effect| match effect {
        Effect::Charge(fee) => Some(fee.clone()),
        Effect::Retry(_) | Effect::Grant { .. } | Effect::Tell(_) => None,
    };
    effects.iter().filter_map(fee).collect()
}

/// What a fee is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeeKind {
    /// A period of a plan.
    Plan,
    /// What was left of what was paid for.
    Unused,
    /// The rest of a period on another plan.
    Rest,
}

impl FeeKind {
    /// The storage and wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Unused => "unused",
            Self::Rest => "rest",
        }
    }
}

/// A fee that was paid, as it was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paid {
    /// For when.
    pub period: Period,
    /// When it was paid.
    pub at: OffsetDateTime,
}

impl Subscription {
    /// Does what is due at an instant. `version` is what it is on, and `next` what it is to become,
    /// where that is known; `can_pay` says whether there is anything to pay a first fee with.
    ///
    /// # Errors
    /// [`SubscriptionError`]; nothing has changed then.
    pub fn step(
        &mut self,
        (at, due): (OffsetDateTime, Due),
        (version, next): (&PlanVersion, Option<&PlanVersion>),
        can_pay: bool,
    ) -> Result<Vec<Effect>, SubscriptionError> {
        let before = self.clone();
        let done = self.do_due((at, due), (version, next), can_pay);
        match done {
            Ok(effects) => {
                self.revision = before.revision.saturating_add(1);
                Ok(effects)
            }
            Err(error) => {
                *self = before;
                Err(error)
            }
        }
    }

    fn do_due(
        &mut self,
        (at, due): (OffsetDateTime, Due),
        (version, next): (&PlanVersion, Option<&PlanVersion>),
        can_pay: bool,
    ) -> Result<Vec<Effect>, SubscriptionError> {
        match due {
            Due::Cancel => Ok(self.end(at, EndReason::Cancelled)),
            Due::Expire => Ok(self.end(at, EndReason::NeverPaid)),
            Due::GiveUp => Ok(self.end(at, EndReason::Unpaid)),
            Due::RemindTrial => {
                if let State::Trialing { ends_at } = self.state {
                    self.reminded_of = Some(ends_at);
                }
                Ok(vec![Effect::Tell(MessageKind::TrialEnding)])
            }
            Due::ConvertTrial if !self.auto_renew && version.terms.billing.renews() => {
                Ok(self.end(at, EndReason::RanOut))
            }
            Due::ConvertTrial if !can_pay && version.terms.minor_price() > 0 => {
                self.state = State::Paused { since: at };
                Ok(vec![Effect::Tell(MessageKind::Paused)])
            }
            Due::ConvertTrial => self.bill_next(version),
            Due::PeriodOver if !self.auto_renew => Ok(self.end(at, EndReason::RanOut)),
            Due::PeriodOver => {
                let version = self.become_pending(next, at).unwrap_or(version);
                self.bill_next(version)
            }
            Due::Retry => Ok(self.retry()),
            Due::CloseGrace => {
                if let State::Grace(owed) = self.state {
                    self.state = State::PastDue(owed);
                }
                Ok(vec![Effect::Tell(MessageKind::AccessClosed)])
            }
        }
    }

    /// Takes what it is to become. Periods of another length begin anew here.
    fn become_pending<'a>(
        &mut self,
        next: Option<&'a PlanVersion>,
        at: OffsetDateTime,
    ) -> Option<&'a PlanVersion> {
        let Pending { version, quantity } = self.pending?;
        let next = next.filter(|next| next.id == version)?;
        self.pending = None;
        self.give((version, quantity), at);
        self.auto_renew = next.terms.billing.renews();
        let interval = next.terms.billing.interval();
        if interval != self.cycle.interval {
            self.cycle = Cycle::anniversary(self.cycle.anchor.zone.clone(), at, interval);
        }
        Some(next)
    }

    /// Gives so many of a version from an instant on.
    pub(crate) fn give(&mut self, (version, quantity): (PlanVersionId, u32), at: OffsetDateTime) {
        if version != self.version || quantity > self.quantity {
            self.given_since = Some(at);
        }
        (self.version, self.quantity) = (version, quantity);
    }

    /// Bills the period that begins where the last one ended.
    pub(super) fn bill_next(
        &mut self,
        version: &PlanVersion,
    ) -> Result<Vec<Effect>, SubscriptionError> {
        let begins = self.billed_through.max(self.cycle.start);
        let (number, period) = self
            .cycle
            .period_at(begins)
            .ok_or(SubscriptionError::Calendar)?;
        let whole = self
            .cycle
            .whole(number)
            .ok_or(SubscriptionError::Calendar)?;
        let zone = &self.cycle.anchor.zone;
        // A first period that is short costs its share.
        let share = Share::of_part(period, whole, ProrationUnit::Second, zone);
        let amount = share.of(self.fee(version)?)?;
        self.billed_through = period.end;
        (self.charged, self.credited) = (amount, 0);
        self.discounts.clear();
        if amount == 0 {
            self.state = State::Active;
            return Ok(self.granted(version, period).into_iter().collect());
        }
        let fee = Fee {
            key: fee_key(self.id, period),
            kind: FeeKind::Plan,
            period,
            amount,
        };
        // Until it is known to be paid it is owed; a first fee keeps its own state.
        if !matches!(self.state, State::Incomplete { .. }) {
            self.state = State::Grace(Owed {
                period,
                amount,
                since: period.start,
                tries: 0,
            });
        }
        Ok(vec![Effect::Charge(fee)])
    }

    /// What was charged last is paid. What was paid after its period was over, with calls stopped,
    /// is for a period that begins now.
    pub fn paid(&mut self, paid: Paid, version: &PlanVersion) -> Vec<Effect> {
        let Some((_, mut period)) = self.billed_period().filter(|(_, p)| *p == paid.period) else {
            return Vec::new();
        };
        match self.state {
            State::Incomplete { .. } | State::Grace(_) => {}
            State::PastDue(_) if paid.at < period.end => {}
            State::PastDue(_) => {
                let zone = self.cycle.anchor.zone.clone();
                self.cycle = Cycle::anniversary(zone, paid.at, self.cycle.interval);
                let Some((_, again)) = self.cycle.period_at(paid.at) else {
                    return Vec::new();
                };
                self.billed_through = again.end;
                period = again;
            }
            State::Trialing { .. } | State::Active | State::Paused { .. } | State::Ended { .. } => {
                return Vec::new();
            }
        }
        let had_failed =
            matches!(self.state, State::Grace(owed) | State::PastDue(owed) if owed.tries > 0);
        let kind = if had_failed {
            MessageKind::Recovered
        } else {
            MessageKind::Paid
        };
        if matches!(self.access(), Access::Closed) {
            self.given_since = Some(paid.at);
        }
        self.state = State::Active;
        self.revision = self.revision.saturating_add(1);
        let mut effects = vec![Effect::Tell(kind)];
        effects.extend(self.granted(version, period));
        effects
    }

    /// What was charged last could not be collected.
    pub fn not_paid(&mut self, at: OffsetDateTime) -> Vec<Effect> {
        let owed = match self.state {
            State::Incomplete { expires_at, tries } => {
                let tries = tries.saturating_add(1);
                self.state = State::Incomplete { expires_at, tries };
                self.revision = self.revision.saturating_add(1);
                return vec![Effect::Tell(MessageKind::PaymentFailed)];
            }
            State::Grace(owed) | State::PastDue(owed) => owed,
            State::Trialing { .. } | State::Active | State::Paused { .. } | State::Ended { .. } => {
                return Vec::new();
            }
        };
        let since = if owed.tries == 0 { at } else { owed.since };
        let tries = owed.tries.saturating_add(1);
        let owed = Owed {
            since,
            tries,
            ..owed
        };
        self.state = if matches!(self.state, State::PastDue(_)) {
            State::PastDue(owed)
        } else {
            State::Grace(owed)
        };
        self.revision = self.revision.saturating_add(1);
        vec![Effect::Tell(MessageKind::PaymentFailed)]
    }

    fn retry(&self) -> Vec<Effect> {
        let (State::Grace(owed) | State::PastDue(owed)) = self.state else {
            return Vec::new();
        };
        vec![Effect::Retry(Fee {
            key: fee_key(self.id, owed.period),
            kind: FeeKind::Plan,
            period: owed.period,
            amount: owed.amount,
        })]
    }

    /// The credit that comes with a period.
    pub(super) fn granted(&self, version: &PlanVersion, period: Period) -> Option<Effect> {
        let each = version.terms.credit().get();
        let amount = Amount::new(each.saturating_mul(u64::from(self.quantity)));
        (!amount.is_zero()).then(|| Effect::Grant {
            key: format!("{}:grant", fee_key(self.id, period)),
            amount,
            expires_at: period.end,
        })
    }

    pub(super) fn end(&mut self, at: OffsetDateTime, why: EndReason) -> Vec<Effect> {
        self.state = State::Ended { at, why };
        (self.auto_renew, self.pending, self.cancel_at) = (false, None, None);
        vec![Effect::Tell(MessageKind::Ended)]
    }
}

/// The key of a period's fee.
pub(super) fn fee_key(subscription: SubscriptionId, period: Period) -> String {
    format!("{subscription}:{}", period.start.unix_timestamp())
}
