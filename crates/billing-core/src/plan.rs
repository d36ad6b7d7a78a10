//! Plans: what can be subscribed to. A published version never changes; who subscribed to it keeps
//! it until they are moved by somebody.

mod subscribed;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::budget::Amount;
use crate::charge_model::Percent;
use crate::id::{PlanId, PlanVersionId};
use crate::money::{Currency, Money, Nanos};
use crate::period::Interval;
use crate::quota::{Quota, QuotaError, QuotaTerms};
pub use subscribed::{CallLimit, OpenQuota, Subscribed};

/// How a plan is billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Billing {
    /// In advance for each period, until it is cancelled.
    Every(Interval),
    /// Once, for a single period after which it ends.
    Once(Interval),
}

/// What happens to calls that no quota covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterQuota {
    /// The wallet pays them.
    #[default]
    Wallet,
    /// They are refused until the window begins anew.
    Stop,
}

/// The most that an account on a plan may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// Requests in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Tokens in a minute, prompts and answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Calls at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_calls: Option<u32>,
}

/// What a version of a plan says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanTerms {
    /// Of its price, credit and quotas of money.
    pub currency: Currency,
    /// What one of it costs for a period; whole minor units.
    pub price: Nanos,
    /// How it is billed.
    pub billing: Billing,
    /// How many days are free at first, for who had no trial of this plan before.
    #[serde(default)]
    pub trial_days: u16,
    /// How many calls there may be in a period, whatever their model; `None` for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_limit: Option<u64>,
    /// What it gives of which models.
    #[serde(default)]
    pub quotas: Vec<QuotaTerms>,
    /// What happens to calls that no quota covers. An account may choose otherwise for itself.
    #[serde(default)]
    pub after_quota: AfterQuota,
    /// Promotional credit that comes with each period and lapses with it.
    #[serde(default)]
    pub included_credit: Nanos,
    /// How much is taken off prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discount: Option<Percent>,
    /// The most that may be sent.
    #[serde(default)]
    pub rate_limits: RateLimits,
    /// Whether its calls go by the fast lane.
    #[serde(default)]
    pub speed_boost: bool,
    /// What else it is said to have.
    #[serde(default)]
    pub features: Vec<String>,
}

/// A version of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanVersion {
    /// Its id.
    pub id: PlanVersionId,
    /// Of which plan.
    pub plan: PlanId,
    /// Which of its versions, from 1.
    pub number: u32,
    /// What it says, its quotas apart.
    pub terms: PlanTerms,
    /// Its quotas, with their ids.
    pub quotas: Vec<Quota>,
    /// From when on it can be subscribed to; `None` while it is a draft.
    pub published_at: Option<OffsetDateTime>,
    /// From when on it no longer can; who has it keeps it.
    pub archived_at: Option<OffsetDateTime>,
}

/// Why terms are no plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanTermsError {
    /// A price below zero, or finer than the currency's minor unit.
    #[error("the {what} is {amount} {currency}; give zero or more, in whole minor units")]
    Amount {
        /// Of what.
        what: &'static str,
        /// How much.
        amount: Nanos,
        /// Of which currency.
        currency: Currency,
    },
    /// A trial of a year or more.
    #[error("a trial of {0} days; give at most 365")]
    Trial(u16),
    /// A discount of more than all.
    #[error("{0} % off prices; give at most 100")]
    Discount(Percent),
    /// A rate limit of nothing.
    #[error("{0} is 0, so that no call could be made; leave it out where there is no limit")]
    NoCalls(&'static str),
    /// A quota that is none.
    #[error("quota {number}: {why}")]
    Quota {
        /// Which, from 1.
        number: usize,
        /// Why not.
        why: QuotaError,
    },
    /// Two quotas that say the same thing differently.
    #[error("quotas {0} and {1} are of the same models, unit and window; give one of them")]
    Twice(usize, usize),
}

impl Billing {
    /// How long a period is.
    pub const fn interval(self) -> Interval {
        match self {
            Self::Every(interval) | Self::Once(interval) => interval,
        }
    }

    /// Whether it goes on by itself.
    pub const fn renews(self) -> bool {
        matches!(self, Self::Every(_))
    }
}

impl PlanTerms {
    /// Whether they make a plan.
    ///
    /// # Errors
    /// [`PlanTermsError`], the first that is found.
    pub fn check(&self) -> Result<(), PlanTermsError> {
        let currency = self.currency;
        for (what, amount) in [
            ("price", self.price),
            ("included credit", self.included_credit),
        ] {
            let in_minor = Money::of_minor(self.minor(amount), currency);
            let is_whole = in_minor.is_ok_and(|minor| minor.nanos() == amount);
            if amount.is_negative() || !is_whole {
                return Err(PlanTermsError::Amount {
                    what,
                    amount,
                    currency,
                });
            }
        }
        if self.trial_days > 365 {
            return Err(PlanTermsError::Trial(self.trial_days));
        }
        if let Some(discount) = self.discount.filter(|off| *off > Percent::HUNDRED) {
            return Err(PlanTermsError::Discount(discount));
        }
        let limits = self.rate_limits;
        for (what, is_nothing) in [
            ("call_limit", self.call_limit == Some(0)),
            ("requests_per_minute", limits.requests_per_minute == Some(0)),
            ("tokens_per_minute", limits.tokens_per_minute == Some(0)),
            ("concurrent_calls", limits.concurrent_calls == Some(0)),
        ] {
            if is_nothing {
                return Err(PlanTermsError::NoCalls(what));
            }
        }
        self.check_quotas()
    }

    fn check_quotas(&self) -> Result<(), PlanTermsError> {
        for (number, quota) in (1..).zip(&self.quotas) {
            let checked = quota.check();
            checked.map_err(|why| PlanTermsError::Quota { number, why })?;
            let same = |other: &QuotaTerms| {
                (&other.models, other.unit, other.window)
                    == (&quota.models, quota.unit, quota.window)
            };
            let earlier = (1..).zip(&self.quotas).find(|(_, other)| same(other));
            if let Some((earlier, _)) = earlier.filter(|(earlier, _)| *earlier != number) {
                return Err(PlanTermsError::Twice(earlier, number));
            }
        }
        Ok(())
    }

    /// Its price in minor units.
    pub fn minor_price(&self) -> i64 {
        self.minor(self.price)
    }

    fn minor(&self, nanos: Nanos) -> i64 {
        Money::new(nanos, self.currency).to_minor()
    }

    /// The greatest amount of its credit, as a budget.
    pub fn credit(&self) -> Amount {
        Amount::of(self.included_credit)
    }
}

impl PlanVersion {
    /// Whether it can be subscribed to at an instant.
    pub fn is_on_sale(&self, at: OffsetDateTime) -> bool {
        self.published_at.is_some_and(|from| from <= at)
            && self.archived_at.is_none_or(|until| at < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::BudgetUnit;
    use crate::quota::QuotaWindow;

    fn quota(models: &str, unit: BudgetUnit, window: QuotaWindow) -> QuotaTerms {
        QuotaTerms {
            models: models.parse().unwrap(),
            unit,
            amount: Amount::new(100),
            window,
            rollover: Amount::ZERO,
        }
    }

    fn terms() -> PlanTerms {
        PlanTerms {
            currency: Currency::USD,
            price: Nanos::parse("9.99").unwrap(),
            billing: Billing::Every("P1M".parse().unwrap()),
            trial_days: 14,
            call_limit: None,
            quotas: vec![
                quota("gpt-4o*", BudgetUnit::Calls, QuotaWindow::Daily),
                quota("gpt-4o*", BudgetUnit::Tokens, QuotaWindow::Daily),
                quota("gpt-4o*", BudgetUnit::Calls, QuotaWindow::Period),
            ],
            after_quota: AfterQuota::Wallet,
            included_credit: Nanos::ZERO,
            discount: None,
            rate_limits: RateLimits::default(),
            speed_boost: false,
            features: Vec::new(),
        }
    }

    #[test]
    fn terms_read_back_from_their_text() {
        let text = serde_json::to_string(&terms()).unwrap();
        assert_eq!(serde_json::from_str::<PlanTerms>(&text).unwrap(), terms());
        assert_eq!(terms().minor_price(), 999);
    }

    #[test]
    fn what_makes_no_plan_is_said() {
        type Change = fn(&mut PlanTerms);
        let cases: [(Change, &str); 8] = [
            (
                |t| t.price = Nanos::parse("9.995").unwrap(),
                "price is 9.995 USD",
            ),
            (|t| t.price = Nanos::new(-1), "price is -"),
            (|t| t.trial_days = 366, "366 days"),
            (
                |t| t.discount = Some("100.5".parse().unwrap()),
                "100.5 % off",
            ),
            (|t| t.call_limit = Some(0), "call_limit is 0"),
            (
                |t| t.quotas[1].amount = Amount::ZERO,
                "quota 2: a quota gives at least 1",
            ),
            (
                |t| t.quotas[2].window = QuotaWindow::Daily,
                "quotas 1 and 3",
            ),
            (
                |t| t.quotas[0].window = QuotaWindow::Rolling(59),
                "quota 1: a rolling window of 59 s",
            ),
        ];
        assert_eq!(terms().check(), Ok(()));
        for (change, why) in cases {
            let mut terms = terms();
            change(&mut terms);
            let refused = terms.check().unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
