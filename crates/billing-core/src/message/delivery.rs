//! How often and how long it is tried to send a message.

use time::{Duration, OffsetDateTime};

/// After how long it is tried again, from the try before; after the last it is given up.
const AFTER: [Duration; 7] = [
    Duration::seconds(10),
    Duration::minutes(1),
    Duration::minutes(10),
    Duration::hours(1),
    Duration::hours(6),
    Duration::hours(12),
    Duration::hours(24),
];

/// For how long whoever has claimed messages may take to send them; then another may.
pub const CLAIM_FOR: Duration = Duration::minutes(5);

/// How far it has come with sending a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// How often it was tried.
    pub tries: u32,
    /// What became of it.
    pub state: DeliveryState,
}

/// What became of sending a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is sent then, or again.
    Waits(OffsetDateTime),
    /// It was taken by its receiver.
    Sent(OffsetDateTime),
    /// It was not, and is not tried any more.
    GivenUp(OffsetDateTime),
}

impl DeliveryState {
    /// The wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waits(_) => "waits",
            Self::Sent(_) => "sent",
            Self::GivenUp(_) => "given_up",
        }
    }

    /// What becomes of a message that was tried so often, by what came of the last try.
    pub fn after(tries: u32, is_taken: bool, now: OffsetDateTime) -> Self {
        if is_taken {
            return Self::Sent(now);
        }
        let before = usize::try_from(tries.saturating_sub(1)).ok();
        let wait = before.and_then(|before| AFTER.get(before));
        wait.map_or(Self::GivenUp(now), |wait| {
            Self::Waits(now.saturating_add(*wait))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_taken_is_given_up_after_eight_tries() {
        let (mut now, mut tries) = (OffsetDateTime::UNIX_EPOCH, 1);
        while let DeliveryState::Waits(next) = DeliveryState::after(tries, false, now) {
            assert!(next > now);
            (now, tries) = (next, tries + 1);
        }
        assert_eq!(tries, 8);
        let sent = DeliveryState::after(tries, true, now);
        assert_eq!(sent, DeliveryState::Sent(now));
    }
}
