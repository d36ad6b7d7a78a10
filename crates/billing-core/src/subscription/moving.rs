//! Moving the subscribers of a plan to another version of it.
//!
//! Who is on a version keeps it until an operator moves all of them, at the end of the period that
//! each has paid. Nothing is moved that somebody asked to be otherwise, or that would cost at once.

use std::fmt;

use super::{ManagedBy, State, Subscription};
use crate::id::PlanVersionId;

/// Why a subscription stays on its version when those of its plan are moved to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stays {
    /// It is on that version, or will be when its period is over.
    There,
    /// It is managed where it was bought.
    Elsewhere,
    /// It is in its trial, which the other version may end at once.
    Trial,
    /// It ends with its period.
    Ends,
    /// Its owner chose what it becomes when its period is over.
    Changes,
    /// A fee of it is not paid.
    Unpaid,
    /// It rests.
    Rests,
    /// It is over.
    Over,
    /// An operator gave it, so that it has no period that is paid.
    Given,
}

impl Stays {
    /// What machines call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Elsewhere => "managed_elsewhere",
            Self::Trial => "trial",
            Self::Ends => "ends",
            Self::Changes => "changes",
            Self::Unpaid => "unpaid",
            Self::Rests => "rests",
            Self::Over => "over",
            Self::Given => "given",
        }
    }
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::There => "it is there, or is to be",
            Self::Elsewhere => "it is managed where it was bought",
            Self::Trial => "it is in its trial",
            Self::Ends => "it ends with its period",
            Self::Changes => "its owner chose what it becomes",
            Self::Unpaid => "a fee of it is not paid",
            Self::Rests => "it rests",
            Self::Over => "it is over",
            Self::Given => "an operator gave it; end it and give the other",
        })
    }
}

impl Subscription {
    /// Why it stays on its version when those of its plan are moved to another; `None` where it
    /// becomes that when its period is over.
    pub fn stays(&self, to: PlanVersionId) -> Option<Stays> {
        match self.managed_by {
            ManagedBy::House => {}
            ManagedBy::Gateway => return Some(Stays::Elsewhere),
        }
        match self.state {
            State::Active => {}
            State::Trialing { .. } => return Some(Stays::Trial),
            State::Incomplete { .. } | State::Grace(_) | State::PastDue(_) => {
                return Some(Stays::Unpaid);
            }
            State::Paused { .. } => return Some(Stays::Rests),
            State::Ended { .. } => return Some(Stays::Over),
        }
        if self.cancel_at.is_some() || !self.auto_renew {
            return Some(Stays::Ends);
        }
        let becomes = self.pending.map(|pending| pending.version);
        match becomes {
            None if self.version == to => Some(Stays::There),
            None => None,
            Some(version) if version == to => Some(Stays::There),
            Some(_) => Some(Stays::Changes),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::id::{AccountId, SubscriptionId};
    use crate::period::Cycle;
    use crate::subscription::{EndReason, Owed, Pending};
    use crate::zone::Zone;

    const TO: PlanVersionId = PlanVersionId::new(9);

    fn paid() -> Subscription {
        let start = datetime!(2026-01-01 0:00 UTC);
        let month = "P1M".parse().unwrap();
        Subscription {
            id: SubscriptionId::new(1),
            account: AccountId::new(2),
            version: PlanVersionId::new(3),
            quantity: 1,
            managed_by: ManagedBy::House,
            state: State::Active,
            auto_renew: true,
            cancel_at: None,
            pending: None,
            cycle: Cycle::anniversary(Zone::utc(), start, month),
            billed_through: datetime!(2026-02-01 0:00 UTC),
            charged: 900,
            credited: 0,
            discounts: Vec::new(),
            started_at: start,
            reminded_of: None,
            given_since: None,
            changed_at: None,
            revision: 4,
        }
    }

    #[test]
    fn who_has_paid_and_goes_on_is_moved_and_nobody_else() {
        assert_eq!(paid().stays(TO), None);
        let stays = |change: fn(&mut Subscription)| {
            let mut subscription = paid();
            change(&mut subscription);
            subscription.stays(TO)
        };
        let at = datetime!(2026-02-01 0:00 UTC);
        let becomes = |version| {
            let quantity = 1;
            Some(Pending { version, quantity })
        };
        assert_eq!(stays(|s| s.version = TO), Some(Stays::There));
        let mut to_be = paid();
        to_be.pending = becomes(TO);
        assert_eq!(to_be.stays(TO), Some(Stays::There));
        // Also where it is another quantity of what it has.
        for version in [PlanVersionId::new(3), PlanVersionId::new(5)] {
            to_be.pending = becomes(version);
            assert_eq!(to_be.stays(TO), Some(Stays::Changes));
        }
        assert_eq!(stays(|s| s.auto_renew = false), Some(Stays::Ends));
        assert_eq!(
            stays(|s| s.cancel_at = Some(s.billed_through)),
            Some(Stays::Ends)
        );
        assert_eq!(
            stays(|s| s.managed_by = ManagedBy::Gateway),
            Some(Stays::Elsewhere)
        );
        let (_, period) = paid().cycle.period_at(at).unwrap();
        let owed = Owed {
            period,
            amount: 900,
            since: at,
            tries: 1,
        };
        let states = [
            (State::Trialing { ends_at: at }, Stays::Trial),
            (
                State::Incomplete {
                    expires_at: at,
                    tries: 1,
                },
                Stays::Unpaid,
            ),
            (State::Grace(owed), Stays::Unpaid),
            (State::PastDue(owed), Stays::Unpaid),
            (State::Paused { since: at }, Stays::Rests),
            (
                State::Ended {
                    at,
                    why: EndReason::Cancelled,
                },
                Stays::Over,
            ),
        ];
        for (state, why) in states {
            let subscription = Subscription { state, ..paid() };
            assert_eq!(subscription.stays(TO), Some(why), "{subscription:?}");
        }
    }
}
