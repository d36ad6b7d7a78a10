//! What quotas cover of a call, and what they leave to the wallet.
//!
//! A call is rated once. What is not covered is its exact price times the share of its tokens that
//! no quota gave, or its price less the money that a quota gave, rounded half to even. The split
//! follows from what was drawn alone, so that it can be made again from the record.

use crate::budget::{Amount, BudgetScope, BudgetUnit};
use crate::charge_model::mul_div;
use crate::meter::Usage;
use crate::money::{Exact, MoneyError};

/// What the quotas of one level give to a call: of each unit the least that any of them has.
/// `None` where no quota of the level counts the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// Calls.
    pub calls: Option<Amount>,
    /// Tokens.
    pub tokens: Option<Amount>,
    /// Money, in nanos.
    pub money: Option<Amount>,
}

/// What a call costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Its tokens, prompt and answer.
    pub tokens: Amount,
    /// Its price, unrounded.
    pub exact: Exact,
    /// Its price in nanos.
    pub price: Amount,
}

/// How a call is shared between its quotas and the wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Split {
    /// What each quota in calls gives.
    pub calls: Amount,
    /// What each quota in tokens gives.
    pub tokens: Amount,
    /// What the plan pays: what each quota in money gives.
    pub covered: Amount,
    /// What is left to the wallet. With what is covered it is the price.
    pub due: Amount,
}

impl Room {
    /// The least of each unit over quotas and what each gives; other budgets are passed over.
    pub fn of(parts: impl IntoIterator<Item = (BudgetScope, Amount)>) -> Self {
        let mut room = Self::default();
        for (scope, amount) in parts {
            let BudgetScope::Quota { unit, .. } = scope else {
                continue;
            };
            let least = room.unit_mut(unit);
            *least = Some(least.map_or(amount, |least| least.min(amount)));
        }
        room
    }

    /// Whether there is no quota at all.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    const fn unit_mut(&mut self, unit: BudgetUnit) -> &mut Option<Amount> {
        match unit {
            BudgetUnit::Calls => &mut self.calls,
            BudgetUnit::Tokens => &mut self.tokens,
            BudgetUnit::Nanos => &mut self.money,
        }
    }
}

impl Cost {
    /// What a usage costs that was rated so.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn of(usage: &Usage, exact: Exact) -> Result<Self, MoneyError> {
        Ok(Self {
            tokens: tokens_of(usage),
            exact,
            price: Amount::of(exact.settle()?),
        })
    }

    /// What the tokens that no quota gave cost, when quotas gave so many of them.
    fn beyond(&self, given: Amount) -> Result<Amount, MoneyError> {
        let rest = self.tokens.less(given);
        if rest.is_zero() {
            return Ok(Amount::ZERO);
        }
        if rest == self.tokens {
            return Ok(self.price);
        }
        let exact = u128::try_from(self.exact.get()).unwrap_or(0);
        let part = mul_div(exact, u128::from(rest.get()), self.tokens.get());
        let (steps, cut) = part.ok_or(MoneyError::OutOfRange)?;
        // What was cut off must still be seen where it decides between up and down. Halves of a
        // nano are an even number of steps.
        let steps = steps | u128::from(cut != 0);
        let steps = i128::try_from(steps).map_err(|_| MoneyError::OutOfRange)?;
        Ok(Amount::of(Exact::new(steps).settle()?))
    }
}

impl Split {
    /// A call that no quota covers any of.
    pub const fn uncovered(price: Amount) -> Self {
        let nothing = Amount::ZERO;
        Self {
            calls: nothing,
            tokens: nothing,
            covered: nothing,
            due: price,
        }
    }

    /// How a call is shared with quotas that have so much room.
    ///
    /// Quotas in tokens cover the share of its price that their tokens are of all its tokens, quotas
    /// in money as much of it as they have, one in calls all of it or nothing; together the least of
    /// these. Where one of them has nothing, nothing is covered and nothing drawn. A call of which
    /// nothing is counted by any quota is covered by none.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn of(room: &Room, cost: &Cost) -> Result<Self, MoneyError> {
        let uncovered = Ok(Self::uncovered(cost.price));
        let counts_nothing = room.calls.is_none() && room.money.is_none() && cost.tokens.is_zero();
        let has_none =
            |of: Option<Amount>, needed: Amount| !needed.is_zero() && of == Some(Amount::ZERO);
        if counts_nothing
            || has_none(room.calls, Amount::new(1))
            || has_none(room.tokens, cost.tokens)
            || has_none(room.money, cost.price)
        {
            return uncovered;
        }
        let given = room.tokens.unwrap_or(cost.tokens).min(cost.tokens);
        let by_tokens = cost.price.less(cost.beyond(given)?);
        let covered = by_tokens.min(room.money.unwrap_or(Amount::MAX));
        let tokens = if covered < by_tokens {
            // The money ended first: of the tokens no more is drawn than it paid.
            given.min(share_up(cost.tokens, covered, cost.price)?)
        } else {
            given
        };
        Ok(Self {
            calls: Amount::new(1),
            tokens,
            covered,
            due: cost.price.less(covered),
        })
    }

    /// How a call was shared whose quotas gave this, by its record.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn again(used: &[(BudgetScope, Amount)], cost: &Cost) -> Result<Self, MoneyError> {
        let room = Room::of(used.iter().copied());
        if room.is_nothing() {
            return Ok(Self::uncovered(cost.price));
        }
        Self::of(&room, cost)
    }

    /// Whether a quota gave anything.
    pub const fn is_drawn(&self) -> bool {
        !self.calls.is_zero()
    }

    /// What a quota of this unit gives.
    pub const fn of_unit(&self, unit: BudgetUnit) -> Amount {
        match unit {
            BudgetUnit::Calls => self.calls,
            BudgetUnit::Tokens => self.tokens,
            BudgetUnit::Nanos => self.covered,
        }
    }

    /// Of what a call counts elsewhere, as much as the wallet pays of it, rounded up; a call is
    /// counted whole where the wallet pays any of it.
    pub fn left_of(&self, counted: Amount, unit: BudgetUnit) -> Amount {
        if !self.is_drawn() {
            return counted;
        }
        if self.due.is_zero() {
            return Amount::ZERO;
        }
        match unit {
            BudgetUnit::Calls => counted,
            BudgetUnit::Tokens | BudgetUnit::Nanos => {
                let price = self.due.plus(self.covered);
                share_up(counted, self.due, price).unwrap_or(counted)
            }
        }
    }
}

/// The tokens of a usage, as quotas count them: prompt and answer.
pub fn tokens_of(usage: &Usage) -> Amount {
    Amount::new(usage.prompt_tokens().saturating_add(usage.answer_tokens()))
}

/// `whole` × `part` / `of`, rounded up.
pub(super) fn share_up(whole: Amount, part: Amount, of: Amount) -> Result<Amount, MoneyError> {
    let share = mul_div(u128::from(whole.get()), u128::from(part.get()), of.get());
    let (share, cut) = share.ok_or(MoneyError::OutOfRange)?;
    let share = u64::try_from(share).map_err(|_| MoneyError::OutOfRange)?;
    Ok(Amount::new(share.saturating_add(u64::from(cut != 0))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A call of so many tokens that costs so many thousandths of a nano.
    fn cost(tokens: u64, millis: i128) -> Cost {
        let exact = Exact::new(millis.saturating_mul(1_000_000_000_000_000));
        Cost {
            tokens: Amount::new(tokens),
            exact,
            price: Amount::of(exact.settle().unwrap()),
        }
    }

    fn room(calls: Option<u64>, tokens: Option<u64>, money: Option<u64>) -> Room {
        let [calls, tokens, money] = [calls, tokens, money].map(|n| n.map(Amount::new));
        Room {
            calls,
            tokens,
            money,
        }
    }

    /// Calls, tokens, covered and due.
    fn split(room: &Room, cost: &Cost) -> [u64; 4] {
        let split = Split::of(room, cost).unwrap();
        [split.calls, split.tokens, split.covered, split.due].map(Amount::get)
    }

    #[test]
    fn what_is_covered_and_what_is_due() {
        let call = cost(300, 900_000);
        for (room, expected, why) in [
            (room(None, Some(300), None), [1, 300, 900, 0], "all tokens"),
            (room(None, Some(100), None), [1, 100, 300, 600], "a third"),
            (room(None, Some(0), None), [0, 0, 0, 900], "no tokens"),
            (room(Some(1), None, None), [1, 300, 900, 0], "a call"),
            (room(Some(0), Some(300), None), [0, 0, 0, 900], "no call"),
            (room(None, None, Some(250)), [1, 84, 250, 650], "money"),
            (room(None, None, Some(901)), [1, 300, 900, 0], "all money"),
            (
                room(Some(9), Some(200), Some(700)),
                [1, 200, 600, 300],
                "tokens end first",
            ),
            (
                room(Some(9), Some(200), Some(500)),
                [1, 167, 500, 400],
                "money ends first",
            ),
            (
                room(Some(9), Some(200), Some(0)),
                [0, 0, 0, 900],
                "no money",
            ),
        ] {
            assert_eq!(split(&room, &call), expected, "{why}");
        }
    }

    #[test]
    fn what_counts_nothing_is_not_free_and_what_is_free_still_counts() {
        let no_tokens = cost(0, 50_000);
        assert_eq!(
            split(&room(None, Some(10), None), &no_tokens),
            [0, 0, 0, 50]
        );
        assert_eq!(
            split(&room(Some(1), Some(0), None), &no_tokens),
            [1, 0, 50, 0]
        );
        let free = cost(30, 0);
        assert_eq!(split(&room(None, Some(20), None), &free), [1, 20, 0, 0]);
        assert_eq!(split(&room(None, None, Some(0)), &free), [1, 30, 0, 0]);
    }

    #[test]
    fn the_rest_is_rounded_once_from_the_exact_amount() {
        // 7 nanos over 3 tokens: two of them are 4.67, one 2.33.
        assert_eq!(
            split(&room(None, Some(1), None), &cost(3, 7_000))[2..],
            [2, 5]
        );
        assert_eq!(
            split(&room(None, Some(2), None), &cost(3, 7_000))[2..],
            [5, 2]
        );
        // A half goes to even: 2.5 is 2, 3.5 is 4.
        assert_eq!(split(&room(None, Some(1), None), &cost(2, 5_000))[3], 2);
        assert_eq!(split(&room(None, Some(1), None), &cost(2, 7_000))[3], 4);
        // One step of 10⁻²⁷ above a half that the division cuts off.
        let exact = Exact::new(7_500_000_000_000_000_001);
        let price = Amount::new(8);
        let above = Cost {
            tokens: Amount::new(3),
            exact,
            price,
        };
        assert_eq!(split(&room(None, Some(2), None), &above)[3], 3);
    }

    fn rooms() -> impl Strategy<Value = Room> {
        let some = || proptest::option::of(0..3_000_u64);
        (proptest::option::of(0..3_u64), some(), some()).prop_map(|(c, t, m)| room(c, t, m))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever the call: nothing is drawn that is not there, the parts are the price, and the
        /// record says the same again.
        #[test]
        fn no_quota_is_passed_and_the_parts_are_the_price(
            room in rooms(), tokens in 0..2_000_u64, millis in 0..3_000_000_i128,
        ) {
            let cost = cost(tokens, millis);
            let split = Split::of(&room, &cost).unwrap();
            prop_assert_eq!(split.covered.plus(split.due), cost.price);
            let [has_calls, has_tokens, has_money] =
                [room.calls, room.tokens, room.money].map(|r| r.unwrap_or(Amount::MAX));
            prop_assert!(split.calls <= has_calls);
            prop_assert!(split.tokens <= has_tokens.min(cost.tokens));
            prop_assert!(split.covered <= has_money.min(cost.price));
            let drawn = Room {
                calls: room.calls.map(|_| split.calls),
                tokens: room.tokens.map(|_| split.tokens),
                money: room.money.map(|_| split.covered),
            };
            if !drawn.is_nothing() {
                let again = Split::of(&drawn, &cost).unwrap();
                prop_assert_eq!((again.covered, again.due), (split.covered, split.due));
            }
        }
    }
}
