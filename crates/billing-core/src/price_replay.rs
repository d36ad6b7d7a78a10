//! Past calls under other prices: what they would have brought in, and what they would have cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::budget::Amount;
use crate::charge::{amount, charge};
use crate::id::{AccountId, TierScheduleId};
use crate::money::{Currency, Nanos};
use crate::period::Period;
use crate::port::reports::CallDetail;
use crate::price_book::{PriceBook, SoldKey};
use crate::reach::Buyer;
use crate::terms::{InTiers, Terms};
use crate::tier_schedule::{Close, TierSchedule, TierTerms};

/// Sums over calls, in nanos of one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// How many calls.
    pub calls: u64,
    /// Of these, how many could not be rated: the other prices have none for them. They are in no
    /// sum of what comes after.
    pub unpriced: u64,
    /// What accounts paid.
    pub revenue: [i128; 2],
    /// What the house paid, as far as that is known.
    pub cost: [i128; 2],
}

/// Which of two figures of [`Replayed`]: as it was, and as it would have been.
const BEFORE: usize = 0;
const AFTER: usize = 1;

impl Replayed {
    /// What was left of the revenue: as it was, and as it would have been.
    pub fn margin(&self) -> [i128; 2] {
        let [paid, cost] = [self.revenue, self.cost];
        [BEFORE, AFTER].map(|at| {
            let [paid, cost] = [paid, cost].map(|sum| sum.get(at).copied().unwrap_or_default());
            paid.saturating_sub(cost)
        })
    }

    fn add(&mut self, call: &One) {
        self.calls = self.calls.saturating_add(1);
        let [was_paid, was_cost] = call.before;
        let add = |sums: &mut [i128; 2], at: usize, amount: Nanos| {
            if let Some(sum) = sums.get_mut(at) {
                *sum = sum.saturating_add(i128::from(amount.get()));
            }
        };
        add(&mut self.revenue, BEFORE, was_paid);
        add(&mut self.cost, BEFORE, was_cost);
        match call.after {
            None => self.unpriced = self.unpriced.saturating_add(1),
            Some([paid, cost]) => {
                add(&mut self.revenue, AFTER, paid);
                add(&mut self.cost, AFTER, cost);
            }
        }
    }
}

/// One call: what was paid and what it cost, and what would have been.
struct One {
    before: [Nanos; 2],
    after: Option<[Nanos; 2]>,
}

/// Calls put through other prices, one account after the other, each in the order of its calls.
#[derive(Debug)]
pub struct Replay<'a> {
    book: &'a PriceBook,
    from: OffsetDateTime,
    currency: Currency,
    sold: BTreeMap<SoldKey, Option<Terms>>,
    /// As they were on record, and as they would have been.
    windows: [BTreeMap<(AccountId, TierScheduleId, i64), Window>; 2],
    by_model: BTreeMap<String, Replayed>,
    by_account: BTreeMap<AccountId, Replayed>,
    total: Replayed,
}

#[derive(Debug)]
struct Window {
    terms: Arc<TierTerms>,
    used: Amount,
    charged: Amount,
    overrun: Amount,
    adjusted: Nanos,
}

impl Window {
    fn of(terms: &Arc<TierTerms>) -> Self {
        Self {
            terms: Arc::clone(terms),
            used: Amount::ZERO,
            charged: Amount::ZERO,
            overrun: Amount::ZERO,
            adjusted: Nanos::ZERO,
        }
    }

    fn add(&mut self, counted: Amount, charged: Amount, overrun: Amount) {
        self.used = self.used.plus(counted);
        self.charged = self.charged.plus(charged);
        self.overrun = self.overrun.plus(overrun);
    }

    /// What closing it comes to: as `schedule` has it, of whose minimum as much is due as it is in
    /// force of the window, or as if what it says had been in force all the time.
    fn true_up(&self, schedule: Option<(&TierSchedule, Period, i64)>) -> i128 {
        let close = Close {
            overrun: self.overrun,
            adjusted: self.adjusted,
            used: self.used,
            charged: self.charged,
            trued_up: Nanos::ZERO,
        };
        if !self.terms.is_closed() {
            return 0;
        }
        let closed = match schedule {
            None => self.terms.close(&close).ok(),
            Some((schedule, in_force, start)) => {
                let closed = schedule.close(in_force, start, &close);
                closed.ok().flatten()
            }
        };
        closed.map_or(0, |closed| i128::from(closed.true_up.get()))
    }
}

/// What a replay came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplayReport {
    /// All calls.
    pub total: Replayed,
    /// Model by model.
    pub by_model: BTreeMap<String, Replayed>,
    /// Account by account.
    pub by_account: BTreeMap<AccountId, Replayed>,
    /// What closing the windows of volume prices and minimums charges (above zero) or gives back
    /// for these calls: as it was, and as it would have been. It is in the revenue of the total and
    /// of the accounts, not in that of the models.
    pub true_ups: [i128; 2],
}

impl<'a> Replay<'a> {
    /// A replay, for wallets in one currency, under the prices that a book has at an instant. Tiers
    /// begin to count with the first call, so a replay should begin where windows do.
    pub const fn new(book: &'a PriceBook, from: OffsetDateTime, currency: Currency) -> Self {
        Self {
            book,
            from,
            currency,
            sold: BTreeMap::new(),
            windows: [BTreeMap::new(), BTreeMap::new()],
            by_model: BTreeMap::new(),
            by_account: BTreeMap::new(),
            total: Replayed {
                calls: 0,
                unpriced: 0,
                revenue: [0; 2],
                cost: [0; 2],
            },
        }
    }

    /// The next call of a buyer, with what it was adjusted by since.
    pub fn call(&mut self, buyer: &Buyer, call: &CallDetail, adjusted: Nanos) {
        let known = self.book.version(&call.model, call.price_version);
        let is_ours = known.is_none_or(|version| version.currency() == self.currency);
        // Of a usage that is not believed nobody knows what it cost; what was paid in another currency
        // is in no sum of this one.
        let cost = match call.cost {
            _ if !is_ours => Nanos::ZERO,
            Some(cost) => cost,
            None if call.quarantined => Nanos::ZERO,
            None => self.cost_of(call),
        };
        let paid = call.charge.plus(adjusted).unwrap_or(call.charge);
        let before = [paid, cost];
        self.note_window(call, adjusted);
        let after = self.again(buyer, call);
        let one = One { before, after };
        self.total.add(&one);
        let by_model = self.by_model.entry(call.model.clone()).or_default();
        by_model.add(&one);
        self.by_account.entry(call.account).or_default().add(&one);
    }

    /// Counts a call in the window that it is on record in, where closing that comes to something.
    fn note_window(&mut self, call: &CallDetail, adjusted: Nanos) {
        let Some(record) = call.rating.tiers.filter(|_| !call.quarantined) else {
            return;
        };
        let terms = self
            .book
            .terms(&call.model, call.price_version, &call.rating);
        let tiers = terms.as_ref().and_then(|terms| terms.tiers.as_ref());
        let Some((terms, tiers)) = terms.as_ref().zip(tiers) else {
            return;
        };
        if !tiers.terms.is_closed() {
            return;
        }
        let charged = charge(&call.usage, terms, &call.circumstances(), call.position());
        let counted = charged.ok().and_then(|charged| {
            let split = call.split(charged.exact).ok()?;
            Some(split.left_of(charged.tiers?.counted, tiers.terms.measure.unit()))
        });
        let counted = counted.unwrap_or_default();
        let key = (call.account, record.schedule, record.window_start);
        let [was, _] = &mut self.windows;
        let window = was.entry(key).or_insert_with(|| Window::of(&tiers.terms));
        let overrun = Amount::of(call.overrun);
        window.add(counted, Amount::of(call.charge).plus(overrun), overrun);
        window.adjusted = window.adjusted.plus(adjusted).unwrap_or(window.adjusted);
    }

    /// What a call cost the house, whose record does not say so: by the price it was rated with.
    fn cost_of(&self, call: &CallDetail) -> Nanos {
        let cost = self.book.version(&call.model, call.price_version);
        let cost = cost.map(|cost| amount(&call.usage, cost, &call.circumstances()));
        cost.and_then(Result::ok).unwrap_or_default()
    }

    /// What is paid for a call, and what it costs; `None` where it has no price.
    fn again(&mut self, buyer: &Buyer, call: &CallDetail) -> Option<[Nanos; 2]> {
        if call.source.is_none() || call.quarantined {
            // Nothing was delivered, or the hold was charged: other prices do not change that.
            return Some([call.charge, call.cost.unwrap_or_default()]);
        }
        // A plan's discount is the plan's, and stays as it was.
        let buyer = &Buyer {
            discount: call.rating.discount,
            ..*buyer
        };
        let terms = self.terms(buyer, &call.model, call.started_at)?;
        if terms.price.currency() != self.currency {
            // Such a call would be refused.
            return None;
        }
        let position = terms.tiers.as_ref().map(|tiers| self.used(buyer, tiers));
        let circumstances = call.circumstances();
        let position = position.unwrap_or_default();
        let charged = charge(&call.usage, &terms, &circumstances, position).ok()?;
        let cost = Some(terms.cost()).filter(|cost| cost.currency() == self.currency);
        let cost = cost.and_then(|cost| amount(&call.usage, cost, &circumstances).ok());
        // What quotas gave then, they would give again.
        let split = call.split(charged.exact).ok()?;
        let overrun = Amount::of(call.overrun);
        if let (Some(tiers), Some(tiered)) = (&terms.tiers, &charged.tiers) {
            let counted = split.left_of(tiered.counted, tiers.terms.measure.unit());
            let window = self.window(buyer, tiers);
            window.add(counted, split.due, overrun.min(split.due));
        }
        // What the house bore then, it would bear again.
        let paid = split.due.less(overrun);
        Some([paid.money(), cost.unwrap_or_default()])
    }

    fn terms(&mut self, buyer: &Buyer, model: &str, at: OffsetDateTime) -> Option<Terms> {
        let offer = self.book.offer(Some(buyer), model, self.from).ok()?;
        let terms = self.sold.entry(offer.key());
        let terms = terms.or_insert_with(|| offer.terms().ok()).clone()?;
        let window = offer
            .tiers
            .and_then(|tiers| tiers.window(at, None, |_| Amount::ZERO));
        Some(terms.in_tiers(window))
    }

    fn used(&mut self, buyer: &Buyer, tiers: &InTiers) -> Amount {
        self.window(buyer, tiers).used
    }

    fn window(&mut self, buyer: &Buyer, tiers: &InTiers) -> &mut Window {
        let key = (buyer.account, tiers.schedule, tiers.window_start);
        let [_, after] = &mut self.windows;
        after.entry(key).or_insert_with(|| Window::of(&tiers.terms))
    }

    /// What it came to, with all windows closed.
    pub fn report(mut self) -> ReplayReport {
        let mut true_ups = [0_i128; 2];
        for ((windows, all), at) in self.windows.iter().zip(&mut true_ups).zip([BEFORE, AFTER]) {
            for ((account, schedule, start), window) in windows {
                // Of a draft it is asked what it would have come to, had it been in force.
                let tiers = self.book.tiers();
                let schedule = tiers.get(schedule.get()).filter(|_| at == BEFORE);
                let schedule = schedule.map(|of| (&**of, tiers.in_force(of), *start));
                let more = window.true_up(schedule);
                *all = all.saturating_add(more);
                let of_account = self.by_account.entry(*account).or_default();
                for sums in [of_account, &mut self.total] {
                    if let Some(sum) = sums.revenue.get_mut(at) {
                        *sum = sum.saturating_add(more);
                    }
                }
            }
        }
        ReplayReport {
            total: self.total,
            by_model: self.by_model,
            by_account: self.by_account,
            true_ups,
        }
    }
}
