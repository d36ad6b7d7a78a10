//! What is said to whoever looks after an account: kinds, facts, and the texts made of them.
//!
//! A message is kept in the transaction that does what it tells of, under a key of its step, so it is
//! kept once however many do that step. It holds facts; [`text()`] makes sentences of them, in each
//! language.

mod delivery;
mod text;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub use delivery::{CLAIM_FOR, Delivery, DeliveryState};
pub use text::{Text, text};

use crate::id::{AccountId, MessageId, SubscriptionId};
use crate::invoice::Invoice;
use crate::money::{Currency, Minor};
use crate::period::Period;
use crate::subscription::{Dunning, Effect, EndReason, State, Subscription};

/// What a message tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// A trial has begun.
    TrialBegan,
    /// A trial is about to end.
    TrialEnding,
    /// There is an invoice.
    Invoiced,
    /// It is paid.
    Paid,
    /// It is paid, after it could not be collected before.
    Recovered,
    /// A fee could not be collected.
    PaymentFailed,
    /// Its quotas are closed until it is paid.
    AccessClosed,
    /// It rests.
    Paused,
    /// It is to end with its period.
    WillEnd,
    /// It is not to end, or to change, any more.
    Resumed,
    /// It has ended.
    Ended,
}

/// What a message says. What does not belong to its kind is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MessageFacts {
    /// How much, with taxes, in minor units of `currency`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<i64>,
    /// The currency of `amount`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// The number of the invoice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice: Option<String>,
    /// What it is paid for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// How often it was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tries: Option<u8>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<OffsetDateTime>,
    /// Until when calls go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_until: Option<OffsetDateTime>,
    /// When it ends, as things stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<OffsetDateTime>,
    /// Why it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
}

/// A message to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Under which it is kept once.
    pub key: String,
    /// Whom it is for.
    pub account: AccountId,
    /// Of which subscription.
    pub subscription: SubscriptionId,
    /// What it tells of.
    pub kind: MessageKind,
    /// What it says.
    pub facts: MessageFacts,
}

/// A message that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Whom it is for.
    pub account: AccountId,
    /// Of which subscription.
    pub subscription: SubscriptionId,
    /// What it tells of.
    pub kind: MessageKind,
    /// What it says.
    pub facts: MessageFacts,
    /// When it was kept.
    pub made_at: OffsetDateTime,
    /// How far it has come with sending it; `None` where it is not to be sent.
    pub delivery: Option<Delivery>,
}

impl MessageKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::TrialBegan,
        Self::TrialEnding,
        Self::Invoiced,
        Self::Paid,
        Self::Recovered,
        Self::PaymentFailed,
        Self::AccessClosed,
        Self::Paused,
        Self::WillEnd,
        Self::Resumed,
        Self::Ended,
    ];

    /// The storage and wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TrialBegan => "trial_began",
            Self::TrialEnding => "trial_ending",
            Self::Invoiced => "invoiced",
            Self::Paid => "paid",
            Self::Recovered => "recovered",
            Self::PaymentFailed => "payment_failed",
            Self::AccessClosed => "access_closed",
            Self::Paused => "paused",
            Self::WillEnd => "will_end",
            Self::Resumed => "resumed",
            Self::Ended => "ended",
        }
    }

    /// The kind of a name; `None` where there is none.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it says what is asked for or was paid, so that it needs the invoice.
    const fn is_of_money(self) -> bool {
        matches!(
            self,
            Self::Invoiced
                | Self::Paid
                | Self::Recovered
                | Self::PaymentFailed
                | Self::AccessClosed
        )
    }
}

/// Whether what is told because of a change says what an invoice asks for.
pub fn needs_invoice(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| match effect {
        Effect::Charge(_) => true,
        Effect::Tell(kind) => kind.is_of_money(),
        Effect::Retry(_) | Effect::Grant { .. } => false,
    })
}

/// What is told because a subscription has changed, in order. `invoice` is its newest: that of what
/// it was just charged, where it was.
pub fn told(
    subscription: &Subscription,
    effects: &[Effect],
    (dunning, invoice): (&Dunning, Option<&Invoice>),
) -> Vec<NewMessage> {
    let new = |key, kind| NewMessage {
        key,
        account: subscription.account,
        subscription: subscription.id,
        kind,
        facts: facts(subscription, kind, (dunning, invoice)),
    };
    let charges = effects.iter().filter_map(|effect| match effect {
        Effect::Charge(fee) => Some(fee.amount),
        Effect::Retry(_) | Effect::Grant { .. } | Effect::Tell(_) => None,
    });
    let is_charged = charges.fold(0_i64, i64::saturating_add) > 0;
    let invoiced = invoice.filter(|_| is_charged).map(|invoice| {
        let key = format!("{}:made", invoice.content.head.id);
        new(key, MessageKind::Invoiced)
    });
    let (id, revision) = (subscription.id, subscription.revision);
    let of_step = (0..).zip(effects).filter_map(|(place, effect)| {
        let place: u32 = place;
        match effect {
            Effect::Tell(kind) => Some(new(format!("{id}:{revision}:{place}"), *kind)),
            Effect::Charge(_) | Effect::Retry(_) | Effect::Grant { .. } => None,
        }
    });
    invoiced.into_iter().chain(of_step).collect()
}

fn facts(
    subscription: &Subscription,
    kind: MessageKind,
    (dunning, invoice): (&Dunning, Option<&Invoice>),
) -> MessageFacts {
    let invoice = invoice.filter(|_| kind.is_of_money());
    let total = invoice.map(|invoice| &invoice.content.totals.total);
    let of_money = MessageFacts {
        amount: total.map(|total: &Minor| total.get()),
        currency: invoice.map(|invoice| invoice.content.head.currency),
        invoice: invoice.map(|invoice| invoice.number.to_string()),
        ..MessageFacts::default()
    };
    let period = subscription.billed_period().map(|(_, period)| period);
    match kind {
        MessageKind::TrialBegan | MessageKind::TrialEnding | MessageKind::WillEnd => {
            let trial_ends = if let State::Trialing { ends_at } = subscription.state {
                Some(ends_at)
            } else {
                None
            };
            MessageFacts {
                ends_at: subscription.cancel_at.or(trial_ends),
                ..MessageFacts::default()
            }
        }
        MessageKind::Invoiced | MessageKind::Paid | MessageKind::Recovered => {
            MessageFacts { period, ..of_money }
        }
        MessageKind::PaymentFailed | MessageKind::AccessClosed => {
            let dunned = subscription.dunned(dunning);
            let (tries, expires_at) =
                if let State::Incomplete { expires_at, tries } = subscription.state {
                    (Some(tries), Some(expires_at))
                } else {
                    (dunned.map(|dunned| dunned.tries), None)
                };
            let is_open = matches!(subscription.state, State::Grace(_));
            MessageFacts {
                period,
                tries,
                next_try_at: dunned.and_then(|dunned| dunned.next_try_at),
                grace_until: dunned.filter(|_| is_open).map(|dunned| dunned.grace_until),
                ends_at: expires_at.or(dunned.and_then(|dunned| dunned.ends_at)),
                ..of_money
            }
        }
        MessageKind::Ended => {
            let (ends_at, reason) = if let State::Ended { at, why } = subscription.state {
                (Some(at), Some(why))
            } else {
                (None, None)
            };
            MessageFacts {
                ends_at,
                reason,
                ..MessageFacts::default()
            }
        }
        MessageKind::Paused | MessageKind::Resumed => MessageFacts::default(),
    }
}
