//! The end of a window: what is still due or to be given back.

use time::{Duration, OffsetDateTime};

use super::{TierPrice, TierPricing, TierSchedule, TierTerms, TierWindow};
use crate::budget::Amount;
use crate::charge_model::minor::prorated;
use crate::id::AccountId;
use crate::money::{Exact, MoneyError, Nanos};
use crate::period::Period;
use crate::price::RatingError;
use crate::reach::Audience;

/// What is known of a window that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// How much was used in it.
    pub used: Amount,
    /// What its calls should have cost, each by itself.
    pub charged: Amount,
    /// What of that the house bore.
    pub overrun: Amount,
    /// What its calls were adjusted by since.
    pub adjusted: Nanos,
    /// What was charged (above zero) or given back when it was closed before: calls may end after
    /// their window was.
    pub trued_up: Nanos,
}

/// How long after its end a window is closed, so that nearly all its calls are settled by then. One
/// that ends later opens it again.
pub const GRACE: Duration = Duration::HOUR;

/// What closing a window comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// What all of it costs.
    pub total: Nanos,
    /// What is charged now (above zero) or given back (below).
    pub true_up: Nanos,
}

impl TierSchedule {
    /// The account that owes the minimum of every window, whether or not it used anything in it: one
    /// that the schedule is for and nobody else. `None` where nobody does.
    pub fn committed(&self) -> Option<AccountId> {
        let minimum = self.terms.as_ref()?.minimum?;
        match self.reach.audience {
            Audience::Account(account) if !minimum.is_zero() => Some(account),
            Audience::Account(_) | Audience::Plan(_) | Audience::Everyone => None,
        }
    }

    /// The first second (Unix time) of the window that is not over at an instant; `None` where none
    /// ever is, or where closing one comes to nothing.
    pub fn over_before(&self, now: OffsetDateTime) -> Option<i64> {
        let terms = self.terms.as_ref().filter(|terms| terms.is_closed())?;
        let is_ever_over = !matches!(terms.window, TierWindow::Lifetime);
        is_ever_over.then(|| terms.window_start(now, None))
    }

    /// The first seconds (Unix time) of the windows that a schedule was in force in, that were over
    /// at an instant, and that began after one that is known already.
    pub fn windows_over(
        &self,
        in_force: Period,
        known: Option<i64>,
        now: OffsetDateTime,
    ) -> Vec<i64> {
        let mut starts = Vec::new();
        let Some(terms) = &self.terms else {
            return starts;
        };
        let known = known.and_then(|known| OffsetDateTime::from_unix_timestamp(known).ok());
        let mut at = known.map_or(in_force.start, |known| known.max(in_force.start));
        while let Some(end) = terms.window_end(at).filter(|end| *end <= now) {
            let start = terms.window_start(at, None);
            if known.is_none_or(|known| known.unix_timestamp() < start) {
                starts.push(start);
            }
            if end >= in_force.end {
                break;
            }
            at = end;
        }
        starts
    }

    /// Closes a window of the schedule. Of its minimum so much is due as it was in force of the
    /// window.
    ///
    /// # Errors
    /// [`RatingError`] where an amount does not fit.
    pub fn close(
        &self,
        in_force: Period,
        window_start: i64,
        window: &Close,
    ) -> Result<Option<Closed>, RatingError> {
        let Some(terms) = &self.terms else {
            return Ok(None);
        };
        let minimum = match terms.minimum {
            Some(minimum) => Some(terms.minimum_in(minimum, in_force, window_start)?),
            None => None,
        };
        let terms = TierTerms {
            minimum,
            ..(**terms).clone()
        };
        terms.close(window).map(Some)
    }
}

impl TierTerms {
    fn minimum_in(
        &self,
        minimum: Nanos,
        in_force: Period,
        window_start: i64,
    ) -> Result<Nanos, MoneyError> {
        let start = OffsetDateTime::from_unix_timestamp(window_start).ok();
        let Some((start, end)) = start.and_then(|start| Some((start, self.window_end(start)?)))
        else {
            return Ok(minimum);
        };
        let whole = Period { start, end };
        let part = Period {
            start: in_force.start.clamp(start, end),
            end: in_force.end.clamp(start, end),
        };
        let [part, whole] =
            [part, whole].map(|period| u64::try_from(period.seconds()).unwrap_or(0));
        let nanos = prorated(minimum.get(), part, whole);
        nanos.map(Nanos::new).map_err(|_| MoneyError::OutOfRange)
    }

    /// Closes a window: by volume all of it costs what the reached tier says, and no less than the
    /// minimum is due.
    ///
    /// # Errors
    /// [`RatingError`] where an amount does not fit.
    pub fn close(&self, window: &Close) -> Result<Closed, RatingError> {
        let used = self.measure.quantity(window.used);
        let charged = window.charged.money().plus(window.adjusted)?;
        let total = match &self.pricing {
            TierPricing::Graduated(_) | TierPricing::Package(_) | TierPricing::PerCall(_) => {
                charged
            }
            TierPricing::Volume(tiers) => {
                let reached = tiers.all().get(tiers.reached_by(used));
                let Some(tier) = reached.filter(|_| !window.used.is_zero()) else {
                    return self.with_minimum(charged, window);
                };
                let whole = match &tier.price {
                    TierPrice::Discount(percent) => {
                        let rest = percent.rest().unwrap_or_default();
                        rest.of(Exact::of(charged)?)?
                    }
                    TierPrice::PerUnit(unit) => used.at(*unit)?,
                    TierPrice::Rates(_) => Exact::of(charged)?,
                };
                whole.plus(tier.flat)?.settle()?
            }
        };
        self.with_minimum(total, window)
    }

    fn with_minimum(&self, total: Nanos, window: &Close) -> Result<Closed, RatingError> {
        let total = total.max(self.minimum.unwrap_or(Nanos::ZERO));
        let so_far = window.charged.less(window.overrun).money();
        let so_far = so_far.plus(window.adjusted)?.plus(window.trued_up)?;
        let short = total.minus(so_far)?;
        // What the house bore stays with it, also where more is due than was paid.
        let true_up = if short.is_negative() {
            short
        } else {
            Amount::of(short).less(window.overrun).money()
        };
        Ok(Closed { total, true_up })
    }
}
