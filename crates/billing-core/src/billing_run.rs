//! The billing run: what is to be done about a subscription to which something is due.
//!
//! Any number of nodes may run it at once, and any may stop at any point. Nobody leads: what is
//! recorded is recorded for one revision of the subscription, and what is charged, granted or
//! collected has a key under which that happens once. A run that is cut off is taken up by the next.
//!
//! ```text
//! load ─► next ─► Save ────► save ─────────────────────────► load …
//!              ├► Collect ─► collect ─► collected ─► save ──► load …
//!              ├► Park ────► park
//!              └► Nothing
//! ```

use time::OffsetDateTime;

use crate::port::subscriptions::{Collected, Standing};
use crate::subscription::{Due, Dunning, Effect, Fee, Paid, State, Subscription};

/// More than this is never due to one subscription in one run. It is set aside instead of being
/// billed for it.
pub const SANE: u32 = 120;

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// What has become of it is recorded.
    Save(Box<Saving>),
    /// A fee is collected; what came of it is told to [`collected`].
    Collect {
        /// The fee.
        fee: Fee,
        /// The number of the try, from 0.
        attempt: u8,
    },
    /// It contradicts itself and is set aside, with the reason.
    Park(String),
    /// Nothing is due to it yet.
    Nothing,
}

/// What is recorded of a subscription that stood at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saving {
    /// The revision.
    pub revision: u64,
    /// What it is now.
    pub subscription: Subscription,
    /// What is to be done about it.
    pub effects: Vec<Effect>,
    /// A fee that was paid, for the period that it turned out to be for.
    pub paid: Option<Fee>,
    /// When it is to be looked at next; `None` where nothing happens to it by itself.
    pub due_at: Option<OffsetDateTime>,
}

/// When a subscription is to be looked at: when something is due to it, and at once while a fee of
/// it was never tried.
pub fn due_at(subscription: &Subscription, dunning: &Dunning) -> Option<OffsetDateTime> {
    let due = subscription.due(dunning).map(|(at, _)| at);
    let since = match subscription.state {
        State::Incomplete { .. } => Some(subscription.started_at),
        State::Grace(owed) | State::PastDue(owed) => Some(owed.since),
        State::Trialing { .. } | State::Active | State::Paused { .. } | State::Ended { .. } => None,
    };
    let untried = since.filter(|_| tries(subscription) == 0);
    untried.into_iter().chain(due).min()
}

/// What is to be done next about a subscription as it stands.
pub fn next(standing: &Standing, dunning: &Dunning, now: OffsetDateTime) -> Next {
    let attempt = tries(&standing.subscription);
    let collect = |fee: &Fee| Next::Collect {
        fee: fee.clone(),
        attempt,
    };
    // A fee that was charged and not tried yet: just now, or by a run that was cut off there.
    if let Some(fee) = standing.open_fee.as_ref().filter(|_| attempt == 0) {
        return collect(fee);
    }
    let due = standing.subscription.due(dunning);
    let Some((at, due)) = due.filter(|(at, _)| *at <= now) else {
        return Next::Nothing;
    };
    if due == Due::Retry {
        let missing = || Next::Park("it owes a fee that is not on record".to_owned());
        return standing.open_fee.as_ref().map_or_else(missing, collect);
    }
    let mut subscription = standing.subscription.clone();
    let versions = (&standing.version, standing.next.as_ref());
    match subscription.step((at, due), versions, standing.can_pay) {
        Ok(effects) => Next::Save(Box::new(Saving {
            revision: standing.subscription.revision,
            due_at: due_at(&subscription, dunning),
            subscription,
            effects,
            paid: None,
        })),
        Err(why) => Next::Park(why.to_string()),
    }
}

/// What somebody may try to pay now, because they ask for it; `None` where nothing is owed.
pub fn payable(standing: &Standing) -> Option<(Fee, u8)> {
    let fee = standing.open_fee.clone()?;
    Some((fee, tries(&standing.subscription)))
}

/// What is recorded after a fee was collected or declined; `None` while nobody knows which.
pub fn collected(
    standing: &Standing,
    fee: &Fee,
    collected: Collected,
    (dunning, now): (&Dunning, OffsetDateTime),
) -> Option<Saving> {
    let mut subscription = standing.subscription.clone();
    let (effects, is_paid) = match collected {
        Collected::Unknown => return None,
        Collected::Declined => (subscription.not_paid(now), false),
        Collected::Paid => {
            let paid = Paid {
                period: fee.period,
                at: now,
            };
            let next = standing.next.as_ref();
            let next = next.filter(|next| next.id == subscription.version);
            let version = next.unwrap_or(&standing.version);
            (subscription.paid(paid, version), true)
        }
    };
    // What is paid late may be for a period that begins only now.
    let billed = subscription.billed_period().map(|(_, period)| period);
    let paid = is_paid.then(|| Fee {
        period: billed.unwrap_or(fee.period),
        ..fee.clone()
    });
    Some(Saving {
        revision: standing.subscription.revision,
        due_at: due_at(&subscription, dunning),
        subscription,
        effects,
        paid,
    })
}

/// How often its open fee was tried.
const fn tries(subscription: &Subscription) -> u8 {
    match subscription.state {
        State::Grace(owed) | State::PastDue(owed) => owed.tries,
        State::Incomplete { tries, .. } => tries,
        State::Trialing { .. } | State::Active | State::Paused { .. } | State::Ended { .. } => 0,
    }
}
