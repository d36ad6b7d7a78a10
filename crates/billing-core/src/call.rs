//! One call, as the books know it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::budget::{Amount, BudgetScope};
use crate::id::{AccountId, CallId, KeyId, NodeId};
use crate::meter::Usage;
use crate::price::{Attributes, Circumstances, ModelName, ServiceTier};
use crate::terms::{InTiers, RatingRecord, Terms};

/// Where the figures of a usage come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The provider reported it.
    Provider,
    /// Counted here from what was delivered, because the provider reported nothing.
    Estimated,
}

impl UsageSource {
    /// The storage and wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Estimated => "estimated",
        }
    }

    /// The source that a name means.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Provider, Self::Estimated]
            .into_iter()
            .find(|s| s.name() == name)
    }
}

/// What a call is charged on.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every call delivers; a box would cost each"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Something was delivered: this usage.
    Delivered {
        /// What was consumed.
        usage: Usage,
        /// Who says so.
        source: UsageSource,
    },
    /// Nothing was delivered, so nothing is charged.
    Void,
}

/// One try at an upstream channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The channel.
    pub channel: String,
    /// The upstream's HTTP status; `None` when no answer came.
    pub status: Option<u16>,
    /// What came of it: `ok`, `rejected`, `unavailable`, `timeout`, …
    pub outcome: String,
    /// How long it took, in milliseconds.
    pub latency_ms: u32,
}

/// What is on record of a call beside its charge. The books keep it and decide nothing by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFacts {
    /// The endpoint: `chat.completions`, `embeddings`, …
    pub endpoint: String,
    /// How it ended: `completed`, `cut_mid_stream`, `client_gone`, …
    pub outcome: String,
    /// Whether the answer was streamed.
    pub streamed: bool,
    /// The HTTP status that the caller got.
    pub status: u16,
    /// The provider's own id of the answer.
    pub upstream_id: Option<String>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// When the call came in.
    pub started_at: OffsetDateTime,
    /// Milliseconds until the first byte of the answer left; `None` when none did.
    pub first_byte_ms: Option<u32>,
    /// Milliseconds until the upstream's answer was over.
    pub latency_ms: u32,
    /// The upstream tries, in order.
    pub attempts: Vec<Attempt>,
    /// What the caller sent as `Idempotency-Key`.
    pub idempotency_key: Option<String>,
}

/// A call that is over and waits to be settled.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The call; settles once, however often it is handed in.
    pub call: CallId,
    /// Who pays.
    pub account: AccountId,
    /// The key that it was made with.
    pub key: KeyId,
    /// The node whose leases hold it.
    pub node: NodeId,
    /// The model that was asked for.
    pub model: ModelName,
    /// What it was authorized under.
    pub terms: Terms,
    /// The tier that the provider says it gave.
    pub tier: ServiceTier,
    /// What else is known of it that prices depend on.
    pub attributes: Attributes,
    /// What it is charged on.
    pub basis: Basis,
    /// The largest usage that the model can produce; beyond it a report is not believed.
    pub bounds: UsageBounds,
    /// What is held for it, by budget.
    pub held: Vec<(BudgetScope, Amount)>,
    /// What its caller is told that it costs, whether or not the books have answered by then
    /// ([`crate::settlement::promised`]): no more is charged. `None` where nobody is told.
    pub promised: Option<Amount>,
    /// What else is put on record.
    pub facts: CallFacts,
}

impl Settlement {
    /// Every limit, quota and counter that it draws on, the wallet apart.
    pub fn uses(&self) -> impl Iterator<Item = BudgetScope> {
        let held = self.held.iter().map(|(scope, _)| *scope);
        let held = held.filter(|scope| *scope != BudgetScope::Wallet);
        held.chain(self.terms.tiers.iter().flat_map(InTiers::scopes))
    }

    /// What is kept on record of how it is rated: at the position in its tiers that the books took
    /// it at, or before that at the one that was known.
    pub fn rating(&self, position: Option<Amount>) -> RatingRecord {
        let tiers = self.terms.tiers.as_ref();
        RatingRecord {
            rule: self.terms.rule(),
            discount: self.terms.discount(),
            tiers: tiers.map(|tiers| tiers.record(position.unwrap_or(tiers.known))),
            attributes: self.attributes.clone(),
        }
    }

    /// What decides which rates apply to it.
    pub fn circumstances(&self) -> Circumstances {
        Circumstances {
            tier: self.tier,
            at: self.facts.started_at,
            attributes: self.attributes.clone(),
        }
    }
}

/// The largest prompt and answer that a report may claim and be believed, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageBounds {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer, over all choices.
    pub answer_tokens: u64,
}

impl UsageBounds {
    /// Whether a usage goes beyond them.
    pub fn are_passed_by(&self, usage: &Usage) -> bool {
        usage.prompt_tokens() > self.prompt_tokens || usage.answer_tokens() > self.answer_tokens
    }
}
