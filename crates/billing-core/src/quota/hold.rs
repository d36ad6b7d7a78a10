//! What a call holds of quotas and wallet, before it is known what it costs.
//!
//! The first level that has room for the whole worst case is held alone. Where none has, and the
//! wallet pays after a quota, the first level that has anything left is taken to its end and the
//! wallet holds the rest; where none has anything, the wallet holds all. A hold is on all of these
//! budgets at once or on none.

use crate::budget::{Amount, BudgetScope, BudgetUnit};
use crate::lease_book::{Refusal, RefusalCause};
use crate::money::MoneyError;
use crate::plan::AfterQuota;

use super::cover::{Room, share_up};

/// What a call may come to at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Worst {
    /// Tokens, prompt and answer.
    pub tokens: Amount,
    /// Its price, in nanos.
    pub money: Amount,
}

impl Worst {
    /// What a budget of this unit must have for all of it.
    pub const fn of_unit(&self, unit: BudgetUnit) -> Amount {
        match unit {
            BudgetUnit::Calls => Amount::new(1),
            BudgetUnit::Tokens => self.tokens,
            BudgetUnit::Nanos => self.money,
        }
    }

    /// The most that a call within it leaves to the wallet, when its quotas give so much.
    ///
    /// The more tokens and the dearer, the more is left, so the largest call within the bounds
    /// leaves the most.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn left_to_wallet(&self, given: &Room) -> Result<Amount, MoneyError> {
        if given.is_nothing() {
            return Ok(self.money);
        }
        let by_tokens = match given.tokens {
            Some(given) if given < self.tokens => {
                share_up(self.money, self.tokens.less(given), self.tokens)?
            }
            Some(_) | None => Amount::ZERO,
        };
        let by_money = given.money.map_or(Amount::ZERO, |m| self.money.less(m));
        Ok(by_tokens.max(by_money))
    }
}

/// How much of which budgets.
pub type Demands = Vec<(BudgetScope, Amount)>;

/// What is to be tried next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What is to be held, on all budgets at once.
    pub demands: Demands,
    /// Whether the call may wait for what other calls hold.
    pub may_wait: bool,
}

impl Attempt {
    const fn at_once(demands: Demands) -> Self {
        let may_wait = false;
        Self { demands, may_wait }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A level alone.
    Whole(usize),
    /// What a level has left, and the wallet.
    Rest(usize),
    /// The wallet alone.
    Wallet,
    /// The first level that other calls hold, for as long as the call may wait.
    Wait,
    Over,
}

/// Looks for what a call can hold: each [`Attempt`] is tried, until one is held or none is left.
#[derive(Debug)]
pub struct HoldSearch<'a> {
    levels: Vec<&'a [BudgetScope]>,
    payers: &'a [BudgetScope],
    worst: Worst,
    after: AfterQuota,
    step: Step,
    tried: Step,
    /// The first level that has room once other calls have ended.
    busy: Option<usize>,
    refusal: Option<Refusal>,
}

impl<'a> HoldSearch<'a> {
    /// A search over the quotas of each level, the most specific first, and the budgets that hold
    /// what the wallet pays.
    ///
    /// A level of which the call counts nothing does not cover it.
    pub fn new(
        levels: impl IntoIterator<Item = &'a [BudgetScope]>,
        payers: &'a [BudgetScope],
        worst: Worst,
        after: AfterQuota,
    ) -> Self {
        let counts = |scope: &BudgetScope| !worst.of_unit(scope.unit()).is_zero();
        let levels = levels.into_iter().filter(|level| level.iter().any(counts));
        Self {
            levels: levels.collect(),
            payers,
            worst,
            after,
            step: Step::Whole(0),
            tried: Step::Over,
            busy: None,
            refusal: None,
        }
    }

    /// Whether no level covers the call, so that it is paid as if there were no plan.
    pub fn is_uncovered(&self) -> bool {
        self.levels.is_empty()
    }

    /// What is to be tried next; `None` where nothing is left. `free` says how much of a budget can
    /// be held at once.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn next(
        &mut self,
        free: impl Fn(BudgetScope) -> Amount,
    ) -> Result<Option<Attempt>, MoneyError> {
        let pays = self.wallet_pays();
        loop {
            let step = self.step;
            self.tried = step;
            match step {
                Step::Whole(at) => match self.levels.get(at) {
                    Some(level) => {
                        self.step = Step::Whole(at.saturating_add(1));
                        return Ok(Some(Attempt::at_once(self.whole(level))));
                    }
                    None if pays => self.step = Step::Rest(0),
                    None => self.step = Step::Wait,
                },
                Step::Rest(at) => match self.levels.get(at) {
                    Some(level) => {
                        self.step = Step::Rest(at.saturating_add(1));
                        if let Some(demands) = self.rest(level, &free)? {
                            return Ok(Some(Attempt::at_once(demands)));
                        }
                    }
                    None => self.step = Step::Wallet,
                },
                Step::Wallet => {
                    self.step = Step::Wait;
                    let demands = self.of_payers(self.worst.money);
                    let may_wait = self.busy.is_none();
                    return Ok(Some(Attempt { demands, may_wait }));
                }
                Step::Wait => {
                    self.step = Step::Over;
                    let level = self.busy.and_then(|at| self.levels.get(at));
                    if let Some(level) = level {
                        let (demands, may_wait) = (self.whole(level), true);
                        return Ok(Some(Attempt { demands, may_wait }));
                    }
                }
                Step::Over => return Ok(None),
            }
        }
    }

    /// The last attempt was refused. Where the store cannot be asked, nothing else is tried: a call
    /// is not charged to the wallet only because its quota could not be looked at.
    pub fn refused(&mut self, refusal: Refusal) {
        match (refusal.cause, self.tried) {
            (RefusalCause::Unavailable, _) => self.step = Step::Over,
            (RefusalCause::Busy, Step::Whole(at)) if self.busy.is_none() => self.busy = Some(at),
            _ => {}
        }
        let is_first = self.refusal.is_none();
        let is_last_word = match self.tried {
            Step::Wallet => true,
            // What was waited for is gone: then it is the wallet again that lacks it.
            Step::Wait => refusal.cause != RefusalCause::Insufficient || !self.wallet_pays(),
            Step::Whole(_) | Step::Rest(_) | Step::Over => {
                refusal.cause == RefusalCause::Unavailable
            }
        };
        if is_first || is_last_word {
            self.refusal = Some(refusal);
        }
    }

    /// Whether the wallet pays what no quota covers.
    fn wallet_pays(&self) -> bool {
        self.after == AfterQuota::Wallet || self.is_uncovered()
    }

    /// Why nothing could be held: what the wallet lacks where it would have paid, else what the most
    /// specific quota lacks.
    pub const fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    fn whole(&self, level: &[BudgetScope]) -> Demands {
        let demand = |scope: &BudgetScope| (*scope, self.worst.of_unit(scope.unit()));
        level.iter().map(demand).collect()
    }

    /// What is left of a level, with what the wallet must hold beside it; `None` where one of its
    /// quotas has nothing left.
    fn rest(
        &self,
        level: &[BudgetScope],
        free: impl Fn(BudgetScope) -> Amount,
    ) -> Result<Option<Demands>, MoneyError> {
        let least = Room::of(level.iter().map(|scope| (*scope, free(*scope))));
        let mut demands = Demands::with_capacity(level.len().saturating_add(self.payers.len()));
        let mut given = Room::default();
        for scope in level {
            let (unit, needed) = (scope.unit(), self.worst.of_unit(scope.unit()));
            let (left, of_unit) = match unit {
                BudgetUnit::Calls => (least.calls, &mut given.calls),
                BudgetUnit::Tokens => (least.tokens, &mut given.tokens),
                BudgetUnit::Nanos => (least.money, &mut given.money),
            };
            let part = left.unwrap_or_default().min(needed);
            if part.is_zero() && !needed.is_zero() {
                return Ok(None);
            }
            *of_unit = Some(part);
            demands.push((*scope, part));
        }
        let left = self.worst.left_to_wallet(&given)?;
        demands.extend(self.of_payers(left));
        Ok(Some(demands))
    }

    fn of_payers(&self, amount: Amount) -> Demands {
        self.payers.iter().map(|scope| (*scope, amount)).collect()
    }
}

/// What a call that outgrows its hold must hold besides, so that it may come to `worst`: first what
/// more its quotas would have to give, where the wallet holds nothing of it yet; then what the
/// wallet must hold where they cannot. Empty where nothing is lacking or nothing may be held.
///
/// # Errors
/// [`MoneyError::OutOfRange`].
pub fn extensions(
    held: &[(BudgetScope, Amount)],
    payers: &[BudgetScope],
    worst: Worst,
    after: AfterQuota,
) -> Result<Vec<Demands>, MoneyError> {
    let given = Room::of(held.iter().copied());
    let of_wallet = held.iter().find(|(s, _)| *s == BudgetScope::Wallet);
    let of_wallet = of_wallet.map_or(Amount::ZERO, |(_, amount)| *amount);
    let mut ways = Vec::with_capacity(2);
    if !given.is_nothing() && of_wallet.is_zero() {
        let quotas = held.iter().filter(|(scope, _)| scope.is_quota());
        let more = |(scope, amount): &(BudgetScope, Amount)| {
            (*scope, worst.of_unit(scope.unit()).less(*amount))
        };
        ways.push(quotas.map(more).collect());
    }
    let may_pay = given.is_nothing() || after == AfterQuota::Wallet || !of_wallet.is_zero();
    if may_pay {
        let missing = worst.left_to_wallet(&given)?.less(of_wallet);
        ways.push(payers.iter().map(|scope| (*scope, missing)).collect());
    }
    ways.retain(|way: &Demands| way.iter().any(|(_, amount)| !amount.is_zero()));
    Ok(ways)
}

#[cfg(test)]
mod tests;
