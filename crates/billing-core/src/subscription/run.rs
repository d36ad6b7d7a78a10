//! What time brings about.

use time::OffsetDateTime;

use super::{Dunning, ManagedBy, State, Subscription};

/// How long before its end it is told that a trial is about to end.
const REMIND: time::Duration = time::Duration::days(3);

/// Something that is due to happen to a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Due {
    /// It ends as somebody said.
    Cancel,
    /// Its first fee was not paid in time.
    Expire,
    /// Its trial is about to end, and somebody is to be told.
    RemindTrial,
    /// Its trial is over: the first fee is due.
    ConvertTrial,
    /// Its period is over: what it is to become it becomes, and the next period is billed or it
    /// ends.
    PeriodOver,
    /// A fee that is owed is tried again.
    Retry,
    /// Its calls stop until what is owed is paid.
    CloseGrace,
    /// Nobody pays what is owed: it ends.
    GiveUp,
}

impl Subscription {
    /// What happens to it next by itself, and when; `None` where nothing does. What is due at the
    /// same instant comes in the order of [`Due`].
    pub fn due(&self, dunning: &Dunning) -> Option<(OffsetDateTime, Due)> {
        if self.managed_by == ManagedBy::Gateway {
            return None;
        }
        let cancel = self.cancel_at.map(|at| (at, Due::Cancel));
        let next = match self.state {
            State::Ended { .. } => return None,
            State::Incomplete { expires_at, .. } => Some((expires_at, Due::Expire)),
            State::Trialing { ends_at } => Some(
                self.reminds_at(ends_at)
                    .map_or((ends_at, Due::ConvertTrial), |at| (at, Due::RemindTrial)),
            ),
            State::Active => Some((self.billed_through, Due::PeriodOver)),
            State::Grace(owed) => {
                let close = (dunning.grace_until(&owed), Due::CloseGrace);
                let retry = dunning.next_try(&owed).map(|at| (at, Due::Retry));
                Some(retry.map_or(close, |retry| retry.min(close)))
            }
            State::PastDue(owed) => match dunning.next_try(&owed) {
                Some(at) => Some((at, Due::Retry)),
                None => dunning.given_up_at(&owed).map(|at| (at, Due::GiveUp)),
            },
            State::Paused { .. } => None,
        };
        cancel.into_iter().chain(next).min()
    }

    /// When it is told that its trial is about to end; `None` where it was, where the trial is no
    /// longer than that, and where nothing is paid after it.
    fn reminds_at(&self, ends_at: OffsetDateTime) -> Option<OffsetDateTime> {
        let at = ends_at.saturating_sub(REMIND);
        let is_wanted = self.auto_renew && self.reminded_of != Some(ends_at);
        (is_wanted && at > self.started_at).then_some(at)
    }
}
