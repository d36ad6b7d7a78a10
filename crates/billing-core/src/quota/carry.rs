//! What is left of a quota's window and comes on top in the next.
//!
//! It is moved from one budget to the other when somebody first asks for the newer one, and again as
//! nodes give back what they had of the older one on lease: never more than is left there, and never
//! more altogether than rolls over. So what all windows of a quota give together is what the plan
//! gives, and no window more than its own and what rolls over.

use crate::budget::{Amount, BudgetScope};

/// What may come on top of a window from the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carry {
    /// The budget of the window before.
    pub from: BudgetScope,
    /// What that window was given by itself.
    pub gives: Amount,
    /// How much may come of it altogether.
    pub most: Amount,
}

/// How far a budget has been used, and what was moved into it and out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// What was used of it.
    pub used: Amount,
    /// What came on top from the window before.
    pub came: Amount,
    /// What went on to the window after.
    pub went: Amount,
}

impl Carry {
    /// How much more comes on top, where so much has come and so much is left of the window before.
    pub fn more(&self, came: Amount, left: Amount) -> Amount {
        left.min(self.most.less(came))
    }

    /// How much more may come, of what nodes have of the window before on lease.
    pub fn coming(&self, came: Amount, leased: Amount) -> Amount {
        leased.min(self.most.less(came))
    }
}

impl Counted {
    /// What is left of a window that was given so much by itself.
    pub const fn left(&self, gives: Amount) -> Amount {
        gives.plus(self.came).less(self.went).less(self.used)
    }

    /// What was used of what the window was given by itself: what came on top is used first.
    #[must_use]
    pub const fn of_its_own(&self) -> Amount {
        self.used.less(self.came)
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may fall over")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::budget::BudgetUnit;
    use crate::id::QuotaId;

    const GIVES: Amount = Amount::new(100);

    fn carry(most: u64) -> Carry {
        Carry {
            from: BudgetScope::Quota {
                quota: QuotaId::new(1),
                unit: BudgetUnit::Calls,
                window_start: 0,
            },
            gives: GIVES,
            most: Amount::new(most),
        }
    }

    #[test]
    fn no_more_comes_than_is_left_and_than_rolls_over() {
        let carry = carry(50);
        let more = |came, left| carry.more(Amount::new(came), Amount::new(left)).get();
        assert_eq!(more(0, 70), 50);
        assert_eq!(more(0, 20), 20);
        assert_eq!(more(20, 70), 30);
        assert_eq!(more(50, 70), 0);
    }

    proptest! {
        /// Whatever is used when: all windows together give what the plan gives them, and none more
        /// than its own and what rolls over.
        #[test]
        fn what_rolls_over_is_given_once(
            most in 0_u64..=100,
            asks in prop::collection::vec((0_usize..6, 0_u64..120), 1..60),
        ) {
            let carry = carry(most);
            let mut windows = [Counted::default(); 6];
            let mut newest = 0;
            for (window, wanted) in asks {
                newest = newest.max(window);
                if window > 0 {
                    let before = windows[window - 1];
                    let more = carry.more(windows[window].came, before.left(GIVES));
                    windows[window].came = windows[window].came.plus(more);
                    windows[window - 1].went = before.went.plus(more);
                }
                let now = windows[window];
                windows[window].used = now.used.plus(now.left(GIVES).min(Amount::new(wanted)));
            }
            let used: u64 = windows.iter().map(|window| window.used.get()).sum();
            prop_assert!(used <= 100 * u64::try_from(newest + 1).unwrap());
            for window in windows {
                prop_assert!(window.used.get() <= 100 + most);
                prop_assert!(window.came.get() <= most);
                prop_assert!(window.used.plus(window.went) <= GIVES.plus(window.came));
            }
        }
    }
}
