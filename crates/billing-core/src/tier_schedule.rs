//! Tier schedules: how the price of models falls with what an account uses of them.
//!
//! A [`TierSchedule`] counts calls, tokens or spend in a window, and says what holds in each tier.
//! How much was used before a call is its *position*, taken by the transaction that settles it, so
//! that it does not matter which node settles or in which order calls end. A call that crosses a
//! threshold is split at it ([`crate::charge::charge`]).
//!
//! Volume pricing, where everything used costs what the reached tier says, can fall back as more is
//! used. So it is never charged call by call: until the window is over a call costs its list price,
//! and the difference is credited or charged once it is ([`Close`]).

mod check;
mod close;
mod rating;
mod worst;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub use check::TierTermsError;
pub use close::{Close, Closed, GRACE};
pub use rating::{TierLine, TierStep, Tiered};
pub use worst::CALLS_MEANWHILE;

use std::sync::Arc;

use crate::budget::{Amount, BudgetScope, BudgetUnit};
use crate::charge_model::{Package, Percent, Quantity, Tier, Tiers};
use crate::id::TierScheduleId;
use crate::meter::Usage;
use crate::money::{Currency, Nanos};
use crate::price::{Rate, UnitPrice};
use crate::reach::{Reach, Rule};
use crate::terms::{InTiers, TierRecord};
use crate::zone::{CalendarSpan, Zone};

/// What a schedule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Calls for which something was delivered.
    Calls,
    /// Tokens of prompts and answers.
    Tokens,
    /// Money at list prices, in the currency's major unit. Of all measures the only one by which the
    /// total does not depend on which calls come first.
    Spend,
}

/// When a schedule begins to count anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TierWindow {
    /// Each day of the schedule's zone.
    Day,
    /// Each Monday.
    Week,
    /// Each first of a month.
    Month,
    /// With each billing period of the account's subscription; where it has none, each first of a
    /// month.
    Period,
    /// Never.
    Lifetime,
}

/// What holds in a tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TierPrice {
    /// The list price less so much percent of it.
    Discount(Percent),
    /// These rates instead of the list's, meter by meter.
    Rates(Vec<Rate>),
    /// So much for each call or token, whatever the list says.
    PerUnit(UnitPrice),
}

/// How the tiers make a price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TierPricing {
    /// What falls into a tier costs what the tier says.
    Graduated(Tiers<TierPrice>),
    /// All that was used in the window costs what the tier says that the total falls into.
    Volume(Tiers<TierPrice>),
    /// A price for every so many calls or tokens of the window, begun ones whole, whatever the list
    /// says.
    Package(Package),
    /// The same, counted anew for each call: blocks of tokens, of which some may be free.
    PerCall(Package),
}

/// What a schedule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierTerms {
    /// Of flat fees, caps, prices and the minimum; the price that the tiers change must be in it.
    pub currency: Currency,
    /// What is counted.
    pub measure: Measure,
    /// When counting begins anew.
    pub window: TierWindow,
    /// In whose days, weeks and months.
    #[serde(default = "Zone::utc")]
    pub zone: Zone,
    /// The tiers.
    pub pricing: TierPricing,
    /// What the account pays for a window at least; the difference is charged when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Nanos>,
}

/// A schedule for some accounts and models, from an instant on. It never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierSchedule {
    /// Its id.
    pub id: TierScheduleId,
    /// For whom and for which models. All that it reaches is counted together, for each account.
    pub reach: Reach,
    /// What it says; `None` ends an earlier one of the same reach.
    pub terms: Option<Arc<TierTerms>>,
    /// From when on.
    pub effective_from: OffsetDateTime,
}

impl Measure {
    /// In which unit a position is kept: spend in nanos.
    pub const fn unit(self) -> BudgetUnit {
        match self {
            Self::Calls => BudgetUnit::Calls,
            Self::Tokens => BudgetUnit::Tokens,
            Self::Spend => BudgetUnit::Nanos,
        }
    }

    /// A position as the quantity that thresholds are given in.
    pub fn quantity(self, position: Amount) -> Quantity {
        match self {
            Self::Calls | Self::Tokens => Quantity::whole(position.get()),
            Self::Spend => Quantity::of_money(position.money()),
        }
    }

    /// How much a delivered call counts, which would cost so much at list prices.
    pub fn of(self, usage: &Usage, list: Nanos) -> Amount {
        match self {
            Self::Calls => Amount::new(1),
            Self::Tokens => {
                Amount::new(usage.prompt_tokens().saturating_add(usage.answer_tokens()))
            }
            Self::Spend => Amount::of(list),
        }
    }

    /// The name of what is counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Tokens => "tokens",
            Self::Spend => "spend",
        }
    }
}

impl TierPricing {
    /// The tiers, the first first; packages have none.
    pub fn tiers(&self) -> &[Tier<TierPrice>] {
        match self {
            Self::Graduated(tiers) | Self::Volume(tiers) => tiers.all(),
            Self::Package(_) | Self::PerCall(_) => &[],
        }
    }
}

impl TierTerms {
    /// The first second (Unix time) of the window that an instant lies in; 0 for a lifetime.
    /// `period` is that of the account's billing period, where it has a subscription.
    pub fn window_start(&self, at: OffsetDateTime, period: Option<OffsetDateTime>) -> i64 {
        let start = match (self.window, period) {
            (TierWindow::Lifetime, _) => return 0,
            (TierWindow::Period, Some(period)) => period,
            (TierWindow::Day, _) => CalendarSpan::Day.start(&self.zone, at),
            (TierWindow::Week, _) => CalendarSpan::Week.start(&self.zone, at),
            (TierWindow::Month, _) | (TierWindow::Period, None) => {
                CalendarSpan::Month.start(&self.zone, at)
            }
        };
        start.unix_timestamp()
    }

    /// When the calendar window ends that an instant lies in; `None` for what has no end that the
    /// calendar knows.
    pub fn window_end(&self, at: OffsetDateTime) -> Option<OffsetDateTime> {
        let span = match self.window {
            TierWindow::Day => CalendarSpan::Day,
            TierWindow::Week => CalendarSpan::Week,
            TierWindow::Month | TierWindow::Period => CalendarSpan::Month,
            TierWindow::Lifetime => return None,
        };
        Some(span.end(&self.zone, at))
    }

    /// Whether what calls are charged is added up, because the window is settled when it is over.
    pub const fn is_closed(&self) -> bool {
        self.minimum.is_some() || matches!(self.pricing, TierPricing::Volume(_))
    }
}

impl TierSchedule {
    /// The window that a call which begins at an instant counts in; `None` where the schedule only
    /// ends an earlier one. `known` is how much of it is known to have been used.
    pub fn window(
        &self,
        at: OffsetDateTime,
        period: Option<OffsetDateTime>,
        known: impl FnOnce(BudgetScope) -> Amount,
    ) -> Option<InTiers> {
        let terms = Arc::clone(self.terms.as_ref()?);
        let window_start = terms.window_start(at, period);
        let mut tiers = InTiers {
            schedule: self.id,
            terms,
            window_start,
            known: Amount::ZERO,
        };
        tiers.known = known(tiers.position());
        Some(tiers)
    }

    /// The counters of a window: how far it was used, and what its calls were charged where that is
    /// counted.
    pub fn scopes(&self, window_start: i64) -> Vec<BudgetScope> {
        let record = TierRecord {
            schedule: self.id,
            window_start,
            position: Amount::ZERO,
        };
        let tiers = self.on_record(&record);
        tiers.iter().flat_map(InTiers::scopes).collect()
    }

    /// The window and position that are on record of a call.
    pub fn on_record(&self, record: &TierRecord) -> Option<InTiers> {
        Some(InTiers {
            schedule: self.id,
            terms: Arc::clone(self.terms.as_ref()?),
            window_start: record.window_start,
            known: record.position,
        })
    }
}

impl Rule for TierSchedule {
    fn reach(&self) -> &Reach {
        &self.reach
    }
    fn effective_from(&self) -> OffsetDateTime {
        self.effective_from
    }
    fn number(&self) -> i64 {
        self.id.get()
    }
    fn is_withdrawal(&self) -> bool {
        self.terms.is_none()
    }
}
