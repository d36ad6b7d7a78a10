//! Prices that fall with use: the schedules of some accounts, and what must be true of their windows.
//!
//! What a call costs is the real rules' to say. What all calls of a window cost together is said here
//! once more, in whole numbers and from the total alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::call::Settlement;
use billing_core::charge::charge;
use billing_core::charge_model::{Percent, Quantity, Tier, Tiers};
use billing_core::id::{AccountId, TierScheduleId};
use billing_core::meter::{Meter, Usage};
use billing_core::money::{Currency, Exact, Nanos};
use billing_core::price::{Circumstances, Foreseen, PriceVersion, Rate, ServiceTier, UnitPrice};
use billing_core::reach::{Audience, ModelScope, Reach};
use billing_core::settlement::SettledCall;
use billing_core::terms::Terms;
use billing_core::tier_schedule::{
    CALLS_MEANWHILE, Measure, TierPrice, TierPricing, TierSchedule, TierTerms, TierWindow,
};
use billing_core::zone::Zone;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::flaw::Flaw;
use super::plan::Price;
use super::rng::Rng;
use super::setup::Micros;

/// The steps of an exact amount in a thousandth of a nano.
const MILLI: i128 = 1_000_000_000_000_000;
/// When a day, a week and a month begin.
const MIDNIGHT: OffsetDateTime = datetime!(2027-03-01 00:00 UTC);

/// The schedule of an account: as the rules read it, and in plain numbers.
#[derive(Debug)]
pub(crate) struct Schedule {
    rule: TierSchedule,
    measure: Measure,
    tiers: Vec<Plain>,
}

/// A tier in plain numbers.
#[derive(Debug, Clone, Copy)]
struct Plain {
    /// After how many units it begins, and ends.
    begin: u64,
    end: Option<u64>,
    /// What a token in it costs, or a call, in thousandths of a nano.
    price: i128,
    of_a_call: bool,
    /// What is due when it is entered, in nanos.
    fee: i128,
}

/// What a call counted in its window.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// What had been counted before it.
    from: u64,
    /// What it is rated for, and what it counts: less where its plan pays a part.
    rated: u64,
    counted: u64,
    tokens: u64,
    /// What it costs, unrounded.
    exact: i128,
}

/// The windows of an account, by the counter of each.
#[derive(Debug, Default)]
pub(crate) struct Windows(BTreeMap<BudgetScope, Vec<Part>>);

/// What was found out about a call that the books have taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    /// What it should cost.
    pub(crate) price: Price,
    /// Whether it crossed a threshold.
    pub(crate) crosses: bool,
    /// Whether it is the first of its window.
    pub(crate) opens: bool,
}

/// When a call began whose node's wall clock showed so much, if that shows `midnight` at midnight.
pub(crate) fn began(wall: Micros, midnight: Micros) -> OffsetDateTime {
    MIDNIGHT + Duration::microseconds(wall - midnight)
}

/// So many tokens of the one meter there is.
pub(crate) fn usage(tokens: u64) -> Usage {
    Usage::NONE.with(Meter::Input, tokens)
}

impl Schedule {
    /// One that prices fall by, and now and then rise.
    pub(crate) fn draw(rng: &mut Rng, account: AccountId) -> Self {
        let measure = rng.one_of(&[Measure::Calls, Measure::Tokens, Measure::Spend]);
        let widest = if measure == Measure::Calls { 8 } else { 500 };
        let count = rng.between(2, 6);
        let mut tiers = Vec::new();
        let mut plain: Vec<Plain> = Vec::new();
        for place in 1..=count {
            let begin = plain.last().and_then(|before| before.end).unwrap_or(0);
            let end = (place < count).then(|| begin + rng.between(1, widest));
            let fee = rng.one_of(&[0, 0, 0, 3, 7]);
            let (price, plainly, of_a_call) = price(rng, measure);
            let tier = match end.map(|end| quantity(measure, end)) {
                Some(end) => Tier::up_to(end, price),
                None => Tier::open(price),
            };
            tiers.push(tier.with_flat(Exact::new(fee * 1_000 * MILLI)));
            plain.push(Plain {
                begin,
                end,
                price: plainly,
                of_a_call,
                fee,
            });
        }
        let windows = [
            TierWindow::Day,
            TierWindow::Week,
            TierWindow::Month,
            TierWindow::Lifetime,
        ];
        let zone = rng.one_of(&["UTC", "UTC", "Asia/Shanghai"]);
        let terms = TierTerms {
            currency: Currency::USD,
            measure,
            window: rng.one_of(&windows),
            zone: zone.parse::<Zone>().unwrap(),
            pricing: TierPricing::Graduated(Tiers::new(tiers).unwrap()),
            minimum: None,
        };
        terms.check().unwrap();
        let reach = Reach {
            audience: Audience::Account(account),
            models: ModelScope::All,
        };
        let rule = TierSchedule {
            id: TierScheduleId::new(account.get()),
            reach,
            terms: Some(Arc::new(terms)),
            effective_from: OffsetDateTime::UNIX_EPOCH,
        };
        Self {
            rule,
            measure,
            tiers: plain,
        }
    }

    /// What a call that begins at an instant is rated with; `known` is how far a counter is known to
    /// have come.
    pub(crate) fn terms(
        &self,
        price: &Arc<PriceVersion>,
        at: OffsetDateTime,
        known: impl FnOnce(BudgetScope) -> Amount,
    ) -> Terms {
        let window = self.rule.window(at, None, known);
        Terms::listed(Arc::clone(price)).in_tiers(window)
    }

    /// What a part of a window costs, in thousandths of a nano: `counted` units after `from`, of a
    /// call of so many tokens where calls are counted.
    fn cost(&self, from: u64, counted: u64, tokens: u64) -> i128 {
        let to = from + counted;
        let within = |tier: &Plain| {
            let begin = tier.begin.max(from);
            let end = tier.end.map_or(to, |end| end.min(to));
            let units = end.saturating_sub(begin);
            let size = match (self.measure, tier.of_a_call) {
                (Measure::Calls, false) => units * tokens,
                _ => units,
            };
            let enters = (from..to).contains(&tier.begin);
            let fee = if enters { tier.fee * 1_000 } else { 0 };
            i128::from(size) * tier.price + fee
        };
        self.tiers.iter().map(within).sum()
    }
}

/// A price as the rules read it; the same of a token, or of a call, in thousandths of a nano.
fn price(rng: &mut Rng, measure: Measure) -> (TierPrice, i128, bool) {
    match (rng.below(10), measure) {
        (0..=2, _) => {
            let (price, plainly) = rng.one_of(&[("0.0000000005", 500), ("0.0000000015", 1_500)]);
            let rate = Rate {
                meter: Meter::Input,
                tier: ServiceTier::Standard,
                above: None,
                price: price.parse().unwrap(),
            };
            (TierPrice::Rates(vec![rate]), plainly, false)
        }
        (3..=5, Measure::Calls) => {
            let nanos = rng.between(1, 80);
            let price: UnitPrice = Nanos::new(i64::try_from(nanos).unwrap())
                .to_string()
                .parse()
                .unwrap();
            (TierPrice::PerUnit(price), i128::from(nanos) * 1_000, true)
        }
        (3, Measure::Tokens) => {
            let price = "0.00000000025".parse().unwrap();
            (TierPrice::PerUnit(price), 250, false)
        }
        _ => {
            let percent: u32 = rng.one_of(&[0, 10, 25, 50, 90]);
            let price = TierPrice::Discount(Percent::whole(percent));
            (price, i128::from(1_000 - 10 * percent), false)
        }
    }
}

fn quantity(measure: Measure, units: u64) -> Quantity {
    match measure {
        Measure::Calls | Measure::Tokens => Quantity::whole(units),
        Measure::Spend => Quantity::of_money(Amount::new(units).money()),
    }
}

/// What is to be held for a call of at most so many tokens that holds `before` of them already.
pub(crate) fn hold(terms: &Terms, before: u64, more: u64, at: OffsetDateTime, flaw: Flaw) -> u64 {
    let most = |tokens| {
        let usage = usage(tokens);
        if let (Flaw::HoldsAtTheKnownTier, Some(tiers)) = (flaw, &terms.tiers) {
            let circumstances = Circumstances::new(ServiceTier::Standard, at);
            let charge = charge(&usage, terms, &circumstances, tiers.known);
            return charge.unwrap().amount;
        }
        terms.worst_case(&usage, &Foreseen::new(&[], at)).unwrap()
    };
    let held = if before == 0 {
        Nanos::ZERO
    } else {
        most(before)
    };
    Amount::of(most(before + more)).less(Amount::of(held)).get()
}

impl Part {
    /// Whether it counts as much as the wallet pays of it, rounded up; a call whole or not at all.
    fn counts_what_is_paid(&self, price: u64, call: &SettledCall) -> bool {
        let of_plan = call.covered.map_or(0, |covered| Amount::of(covered).get());
        match (of_plan, price - of_plan) {
            // What costs nothing may have drawn a quota all the same, and counts nothing then.
            (0, 0) if call.covered.is_some() => [0, self.rated].contains(&self.counted),
            (0, _) => self.counted == self.rated,
            (_, paid) => {
                let part = u128::from(self.rated) * u128::from(paid);
                u128::from(self.counted) == part.div_ceil(u128::from(price))
            }
        }
    }
}

/// Whether a call of at most so many tokens stands no further than its hold foresaw.
pub(crate) fn is_within_reach(settlement: &Settlement, call: &SettledCall, most: u64) -> bool {
    let tiers = settlement.terms.tiers.as_ref();
    tiers.zip(call.position).is_none_or(|(tiers, position)| {
        let most = if tiers.terms.measure == Measure::Calls {
            1
        } else {
            most
        };
        position.get() <= tiers.known.get() + CALLS_MEANWHILE * most
    })
}

impl Windows {
    /// Notes a call of a schedule that the books have just taken, and says what it should cost, or
    /// what is wrong with where it stands.
    pub(crate) fn place(
        &mut self,
        settlement: &Settlement,
        call: &SettledCall,
        tokens: u64,
    ) -> Result<Placed, String> {
        let (Some(tiers), Some(position)) = (&settlement.terms.tiers, call.position) else {
            return Err(format!("{} is in no tier: {call:?}", call.call));
        };
        let scope = tiers.position();
        let counted = call.used.iter().find(|(used, _)| *used == scope);
        let counted = counted.map_or(0, |(_, counted)| counted.get());
        let parts = self.0.entry(scope).or_default();
        let from = parts.last().map_or(0, |last| last.from + last.counted);
        if position.get() != from || tiers.known.get() > from {
            let known = tiers.known;
            return Err(format!(
                "{} is rated at {position} of {scope}, where {from} were counted and {known} known",
                call.call
            ));
        }
        let usage = usage(tokens);
        let rated = charge(
            &usage,
            &settlement.terms,
            &settlement.circumstances(),
            position,
        );
        let rated = rated.map_err(|error| format!("{}: {error}", call.call))?;
        let price = Price {
            exact: rated.exact.get(),
            nanos: Amount::of(rated.amount).get(),
        };
        let counts_calls = tiers.terms.measure == Measure::Calls;
        let part = Part {
            from,
            rated: if counts_calls { 1 } else { tokens },
            counted,
            tokens,
            exact: price.exact,
        };
        if !part.counts_what_is_paid(price.nanos, call) {
            return Err(format!(
                "{} counts {counted} of {scope}: {call:?}",
                call.call
            ));
        }
        parts.push(part);
        let lines = rated.tiers.map_or(0, |tiered| tiered.lines.len());
        Ok(Placed {
            price,
            crosses: lines > 1,
            opens: parts.len() == 1,
        })
    }

    /// The first window whose counter is not what its calls counted, in words.
    pub(crate) fn miscounted(
        &self,
        used: impl Fn(&BudgetScope) -> Option<Amount>,
    ) -> Option<String> {
        self.0.iter().find_map(|(scope, parts)| {
            let last = parts.last()?;
            let (counted, used) = (last.from + last.counted, used(scope).map(Amount::get));
            (used != Some(counted)).then(|| {
                let calls = parts.len();
                format!("{scope} stands at {used:?}, its {calls} calls counted {counted}")
            })
        })
    }

    /// The first window whose calls together do not cost what its total does, in words.
    pub(crate) fn mischarged(&self, schedule: &Schedule) -> Option<String> {
        self.0.iter().find_map(|(scope, parts)| {
            let total = parts.last().map_or(0, |last| last.from + last.counted);
            let counts_all = parts.iter().all(|part| part.counted == part.rated);
            let wanted = if schedule.measure == Measure::Calls || !counts_all {
                // Calls differ, so it matters which came first; and one that its plan pays for is
                // rated for more than it counts.
                let parts = parts.iter();
                parts
                    .map(|part| schedule.cost(part.from, part.rated, part.tokens))
                    .sum()
            } else {
                schedule.cost(0, total, 0)
            };
            let charged: i128 = parts.iter().map(|part| part.exact).sum();
            (charged != wanted * MILLI).then(|| {
                format!(
                    "the calls of {scope} cost {charged}, {total} of it cost {wanted} thousandths \
                     of a nano: {parts:?}"
                )
            })
        })
    }
}
