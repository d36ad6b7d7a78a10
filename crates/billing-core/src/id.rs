//! Typed ids. Each is a time-ordered 64-bit number inside and a prefixed text on the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a valid id: expected {prefix}… followed by 13 characters")]
pub struct IdError {
    prefix: &'static str,
}

/// Digits of the wire form: Crockford's base 32, lower case, in ascending order.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 13 digits of 5 bits hold 64 bits.
const WIDTH: usize = 13;

fn encode(value: i64) -> String {
    let bits = value.unsigned_abs();
    (0..WIDTH)
        .rev()
        .map(|place| {
            let shift = u32::try_from(place.saturating_mul(5)).unwrap_or(0);
            let digit = usize::try_from((bits >> shift) & 31).unwrap_or(0);
            char::from(DIGITS.get(digit).copied().unwrap_or(b'0'))
        })
        .collect()
}

fn decode(text: &str) -> Option<i64> {
    if text.len() != WIDTH {
        return None;
    }
    let value = text.bytes().try_fold(0_u128, |value, byte| {
        let digit = DIGITS.iter().position(|d| *d == byte)?;
        Some((value << 5) | u128::try_from(digit).ok()?)
    })?;
    i64::try_from(value).ok()
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// What the wire form begins with.
            pub const PREFIX: &'static str = $prefix;

            /// The id that is this number inside.
            pub const fn new(value: i64) -> Self {
                Self(value)
            }

            /// The number inside: time-ordered, never negative.
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .and_then(decode)
                    .map(Self)
                    .ok_or(IdError { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A login.
    UserId "usr_";
    /// Who pays.
    AccountId "acc_";
    /// One API key.
    KeyId "key_";
    /// One API call; also its idempotency key in the books and its `x-request-id`.
    CallId "req_";
    /// A slice of a wallet, with its own kind, priority and expiry.
    LotId "lot_";
    /// One balanced transaction of the journal.
    LedgerTxnId "txn_";
    /// One immutable price of one model.
    PriceVersionId "prv_";
    /// What can be subscribed to.
    PlanId "pln_";
    /// One version of a plan.
    PlanVersionId "plv_";
    /// One quota of a plan version.
    QuotaId "quo_";
    /// A sale rule.
    SaleRuleId "sal_";
    /// A tier schedule.
    TierScheduleId "tis_";
    /// An account on a plan version.
    SubscriptionId "sub_";
    /// What a change of a subscription was said to do and cost.
    ChangeQuoteId "chq_";
    /// An invoice, from its draft on.
    InvoiceId "inv_";
    /// A credit note.
    CreditNoteId "crn_";
    /// A coupon.
    CouponId "cpn_";
    /// Something that was said to whoever looks after an account.
    MessageId "msg_";
    /// One running process that takes leases.
    NodeId "nod_";
}

/// Milliseconds between the Unix epoch and the one that ids count from (2024-01-01T00:00:00Z).
const ID_EPOCH_MS: i64 = 1_704_067_200_000;
/// Low bits that count within one millisecond.
const SEQUENCE_BITS: u32 = 12;
/// Bits above those that name the node.
const NODE_BITS: u32 = 10;

/// Makes time-ordered ids: 41 bits of milliseconds, 10 of node, 12 of sequence.
///
/// Ids of one sequence strictly increase, even when the clock it is given goes back.
#[derive(Debug)]
pub struct IdSequence {
    node: i64,
    last: i64,
}

impl IdSequence {
    /// A sequence for the node with this number (its low ten bits count).
    pub const fn new(node: u16) -> Self {
        let mask = (1_i64 << NODE_BITS) - 1;
        #[expect(clippy::as_conversions, reason = "widening in a const fn")]
        let node = node as i64;
        Self {
            node: node & mask,
            last: 0,
        }
    }

    /// Goes on under another node number, with ids that begin after these milliseconds since the
    /// Unix epoch and after all that were made so far.
    pub fn renumber(&mut self, node: u16, after_unix_ms: i64) {
        let time = after_unix_ms.saturating_sub(ID_EPOCH_MS).max(0);
        let floor = time.saturating_add(1) << SEQUENCE_BITS;
        self.node = Self::new(node).node;
        self.last = self.last.max(floor.saturating_sub(1));
    }

    /// The next number, given the milliseconds since the Unix epoch.
    pub fn next(&mut self, unix_ms: i64) -> i64 {
        let per_ms = 1_i64 << SEQUENCE_BITS;
        let time = unix_ms.saturating_sub(ID_EPOCH_MS).max(0);
        let tick = (time << SEQUENCE_BITS).max(self.last.saturating_add(1));
        self.last = tick;
        let (ms, sequence) = (tick >> SEQUENCE_BITS, tick & per_ms.saturating_sub(1));
        (ms << (SEQUENCE_BITS.saturating_add(NODE_BITS))) | (self.node << SEQUENCE_BITS) | sequence
    }
}

/// The lowest id that is handed out at or after an instant, given in milliseconds since the Unix
/// epoch.
pub fn first_id_at(unix_ms: i64) -> i64 {
    let ms = unix_ms.saturating_sub(ID_EPOCH_MS).max(0);
    ms.saturating_mul(1_i64 << SEQUENCE_BITS.saturating_add(NODE_BITS))
}

/// When an id was handed out, in milliseconds since the Unix epoch, by the clock of who did.
pub fn time_of_id(id: i64) -> i64 {
    (id >> SEQUENCE_BITS.saturating_add(NODE_BITS)).saturating_add(ID_EPOCH_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_reads_back_and_keeps_order() {
        let mut sequence = IdSequence::new(3);
        let ids: Vec<AccountId> = (0..5000)
            .map(|_| AccountId::new(sequence.next(1_800_000_000_000)))
            .collect();
        assert!(
            ids.windows(2)
                .all(|w| w[0] < w[1] && w[0].to_string() < w[1].to_string())
        );
        for id in ids {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn a_foreign_prefix_is_refused() {
        let key = KeyId::new(7).to_string();
        assert!(key.parse::<AccountId>().is_err());
        assert!("acc_".parse::<AccountId>().is_err());
        assert!("acc_zzzzzzzzzzzzz".parse::<AccountId>().is_err());
        assert!("acc_é000000000000".parse::<AccountId>().is_err());
    }

    #[test]
    fn an_id_tells_when_it_was_handed_out() {
        let now = 1_800_000_000_123;
        let id = IdSequence::new(1023).next(now);
        assert_eq!(time_of_id(id), now);
        assert!(first_id_at(now) <= id && id < first_id_at(now + 1));
    }

    #[test]
    fn a_number_is_taken_over_without_repeating_ids() {
        let mut earlier = IdSequence::new(5);
        let last = earlier.next(1_800_000_000_007);
        let mut later = IdSequence::new(700);
        let own = later.next(1_700_000_000_000);
        later.renumber(5, 1_800_000_000_007);
        // Its clock is three years behind.
        let first = later.next(1_700_000_000_000);
        assert!(first > last && first > own);
        assert_eq!((first >> 12) & 1023, 5);
    }

    #[test]
    fn a_clock_that_goes_back_does_not_repeat_ids() {
        let mut sequence = IdSequence::new(0);
        let a = sequence.next(1_800_000_000_000);
        let b = sequence.next(1_700_000_000_000);
        assert!(b > a);
    }
}
