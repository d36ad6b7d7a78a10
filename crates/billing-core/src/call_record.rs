//! A settlement as a node keeps it on its own disk until the books take it.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::budget::{Amount, BudgetRow, BudgetScope};
use crate::call::{Attempt, Basis, CallFacts, Settlement, UsageBounds, UsageSource};
use crate::id::{AccountId, CallId, KeyId, NodeId, PlanVersionId, PriceVersionId};
use crate::meter::Usage;
use crate::price::{ModelName, ServiceTier};
use crate::terms::{RatingRecord, Terms};

/// The shape that is written now.
const SHAPE: u32 = 1;

/// All that a [`Settlement`] says, but for its terms, which are named by ids: versions and rules
/// never change, so the catalogue gives the same ones back.
///
/// It is read by later versions of the program too: a field is only ever added, with a default.
/// One that this version does not know is an error, so that nothing of a charge is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallRecord {
    shape: u32,
    call: CallId,
    account: AccountId,
    key: KeyId,
    node: NodeId,
    model: ModelName,
    price: PriceVersionId,
    tier: ServiceTier,
    #[serde(default, skip_serializing_if = "RatingRecord::is_empty")]
    rating: RatingRecord,
    /// The version of the plan that the account was on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plan: Option<PlanVersionId>,
    /// What was delivered; `None` where nothing was.
    delivered: Option<DeliveredRecord>,
    bounds: [u64; 2],
    held: Vec<HeldRecord>,
    promised: Option<Amount>,
    facts: FactsRecord,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeliveredRecord {
    usage: Usage,
    source: UsageSource,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldRecord {
    kind: i16,
    subject: i64,
    unit: i16,
    window_start: i64,
    amount: Amount,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FactsRecord {
    endpoint: String,
    outcome: String,
    streamed: bool,
    status: u16,
    upstream_id: Option<String>,
    finish_reason: Option<String>,
    /// Nanoseconds since the Unix epoch.
    started_at_ns: i64,
    first_byte_ms: Option<u32>,
    latency_ms: u32,
    attempts: Vec<Attempt>,
    idempotency_key: Option<String>,
}

/// Why a record is not a settlement.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// It was written by a version that says more.
    #[error("it has the shape {0}, which this version does not know")]
    UnknownShape(u32),
    /// A budget or instant that is none.
    #[error("its {0} cannot be read")]
    Unreadable(&'static str),
    /// The price version is another one than it names.
    #[error("it was rated with price version {0}, and another was given")]
    OtherPrice(PriceVersionId),
}

impl CallRecord {
    /// The record of a settlement.
    ///
    /// # Errors
    /// [`RecordError::Unreadable`] for an instant beyond the year 2262.
    pub fn of(settlement: &Settlement) -> Result<Self, RecordError> {
        let facts = &settlement.facts;
        let started_at_ns = i64::try_from(facts.started_at.unix_timestamp_nanos())
            .map_err(|_| RecordError::Unreadable("beginning"))?;
        let delivered = match settlement.basis {
            Basis::Delivered { usage, source } => Some(DeliveredRecord { usage, source }),
            Basis::Void => None,
        };
        Ok(Self {
            shape: SHAPE,
            call: settlement.call,
            account: settlement.account,
            key: settlement.key,
            node: settlement.node,
            model: settlement.model.clone(),
            price: settlement.terms.price_version(),
            tier: settlement.tier,
            rating: settlement.rating(None),
            plan: settlement.terms.plan,
            delivered,
            bounds: [
                settlement.bounds.prompt_tokens,
                settlement.bounds.answer_tokens,
            ],
            held: settlement.held.iter().map(HeldRecord::of).collect(),
            promised: settlement.promised,
            facts: FactsRecord {
                endpoint: facts.endpoint.clone(),
                outcome: facts.outcome.clone(),
                streamed: facts.streamed,
                status: facts.status,
                upstream_id: facts.upstream_id.clone(),
                finish_reason: facts.finish_reason.clone(),
                started_at_ns,
                first_byte_ms: facts.first_byte_ms,
                latency_ms: facts.latency_ms,
                attempts: facts.attempts.clone(),
                idempotency_key: facts.idempotency_key.clone(),
            },
        })
    }

    /// The call.
    pub const fn call(&self) -> CallId {
        self.call
    }

    /// Who pays.
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// The model, by the name that the price is under.
    pub const fn model(&self) -> &ModelName {
        &self.model
    }

    /// The price version that the settlement needs.
    pub const fn price(&self) -> PriceVersionId {
        self.price
    }

    /// What else its charge follows from.
    pub const fn rating(&self) -> &RatingRecord {
        &self.rating
    }

    /// The settlement, with the terms that it names.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn into_settlement(self, terms: Terms) -> Result<Settlement, RecordError> {
        if self.shape != SHAPE {
            return Err(RecordError::UnknownShape(self.shape));
        }
        let tiers = terms.tiers.as_ref().map(|tiers| tiers.record(tiers.known));
        let RatingRecord { rule, discount, .. } = self.rating;
        let is_same =
            (terms.rule(), terms.discount(), tiers) == (rule, discount, self.rating.tiers);
        if terms.price_version() != self.price || !is_same {
            return Err(RecordError::OtherPrice(self.price));
        }
        let basis = self.delivered.map_or(Basis::Void, |d| Basis::Delivered {
            usage: d.usage,
            source: d.source,
        });
        let started_at = OffsetDateTime::from_unix_timestamp_nanos(self.facts.started_at_ns.into())
            .map_err(|_| RecordError::Unreadable("beginning"))?;
        let [prompt_tokens, answer_tokens] = self.bounds;
        let facts = self.facts;
        Ok(Settlement {
            call: self.call,
            account: self.account,
            key: self.key,
            node: self.node,
            model: self.model,
            terms: terms.under(self.plan),
            tier: self.tier,
            attributes: self.rating.attributes,
            basis,
            bounds: UsageBounds {
                prompt_tokens,
                answer_tokens,
            },
            held: self
                .held
                .iter()
                .map(HeldRecord::read)
                .collect::<Option<_>>()
                .ok_or(RecordError::Unreadable("budget"))?,
            promised: self.promised,
            facts: CallFacts {
                endpoint: facts.endpoint,
                outcome: facts.outcome,
                streamed: facts.streamed,
                status: facts.status,
                upstream_id: facts.upstream_id,
                finish_reason: facts.finish_reason,
                started_at,
                first_byte_ms: facts.first_byte_ms,
                latency_ms: facts.latency_ms,
                attempts: facts.attempts,
                idempotency_key: facts.idempotency_key,
            },
        })
    }
}

impl HeldRecord {
    fn of((scope, amount): &(BudgetScope, Amount)) -> Self {
        let BudgetRow {
            kind,
            subject,
            unit,
            window_start,
        } = scope.row();
        Self {
            kind,
            subject,
            unit,
            window_start,
            amount: *amount,
        }
    }

    fn read(&self) -> Option<(BudgetScope, Amount)> {
        let row = BudgetRow {
            kind: self.kind,
            subject: self.subject,
            unit: self.unit,
            window_start: self.window_start,
        };
        Some((BudgetScope::of_row(row)?, self.amount))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charge_model::Percent;
    use crate::id::{QuotaId, UserId};
    use crate::meter::Meter;
    use crate::money::Currency;
    use crate::price::{Attribute, Attributes, PriceVersion, Rate};
    use std::sync::Arc;

    fn price(id: i64) -> Arc<PriceVersion> {
        let rate = Rate {
            meter: Meter::Input,
            tier: ServiceTier::Standard,
            above: None,
            price: "0.000002".parse().unwrap(),
        };
        let (id, model) = (PriceVersionId::new(id), ModelName::new("m"));
        let from = OffsetDateTime::UNIX_EPOCH;
        Arc::new(PriceVersion::new(id, model, Currency::USD, from, vec![rate]).unwrap())
    }

    fn settlement(basis: &Basis) -> Settlement {
        let quota = BudgetScope::Quota {
            quota: QuotaId::new(9),
            unit: crate::budget::BudgetUnit::Tokens,
            window_start: 1_700_000_000,
        };
        let member = BudgetScope::MemberLimit {
            user: UserId::new(8),
            window_start: 0,
        };
        let held = [BudgetScope::Wallet, member, quota];
        Settlement {
            call: CallId::new(1),
            account: AccountId::new(2),
            key: KeyId::new(3),
            node: NodeId::new(4),
            model: ModelName::new("m\"\u{fc}"),
            terms: Terms::listed(price(5)).under(Some(PlanVersionId::new(6))),
            tier: ServiceTier::Flex,
            attributes: Attributes::NONE,
            basis: *basis,
            bounds: UsageBounds {
                prompt_tokens: u64::MAX,
                answer_tokens: 7,
            },
            held: held.map(|scope| (scope, Amount::new(44))).to_vec(),
            promised: Some(Amount::new(33)),
            facts: CallFacts {
                endpoint: "chat.completions".to_owned(),
                outcome: "completed".to_owned(),
                streamed: true,
                status: 200,
                upstream_id: Some("chatcmpl-1".to_owned()),
                finish_reason: None,
                started_at: OffsetDateTime::from_unix_timestamp_nanos(1_795_348_800_123_456_789)
                    .unwrap(),
                first_byte_ms: Some(12),
                latency_ms: 345,
                attempts: vec![Attempt {
                    channel: "a".to_owned(),
                    status: Some(503),
                    outcome: "failed".to_owned(),
                    latency_ms: 3,
                }],
                idempotency_key: Some("k".to_owned()),
            },
        }
    }

    fn delivered() -> Basis {
        Basis::Delivered {
            usage: Usage::NONE.with(Meter::Input, 5).with(Meter::Output, 6),
            source: UsageSource::Estimated,
        }
    }

    #[test]
    fn nothing_of_a_settlement_is_lost() {
        for basis in [delivered(), Basis::Void] {
            let before = settlement(&basis);
            let text = serde_json::to_string(&CallRecord::of(&before).unwrap()).unwrap();
            let record: CallRecord = serde_json::from_str(&text).unwrap();
            assert_eq!(record.price(), before.terms.price.id());
            let after = record.into_settlement(Terms::listed(price(5))).unwrap();
            assert_eq!(format!("{before:?}"), format!("{after:?}"));
        }
    }

    #[test]
    fn a_call_is_rated_with_what_its_plan_took_off_and_nothing_else() {
        let off = |percent| Terms::sold(price(5), None, Some(Percent::whole(percent))).unwrap();
        let mut before = settlement(&delivered());
        before.terms = off(20);
        let record = CallRecord::of(&before).unwrap();
        assert_eq!(record.rating().discount, Some(Percent::whole(20)));
        for others in [Terms::listed(price(5)), off(21)] {
            assert!(record.clone().into_settlement(others).is_err());
        }
        let after = record.into_settlement(off(20)).unwrap();
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
    }

    /// What an earlier version wrote; it is never edited.
    const SHAPE_1: &str = r#"{"shape":1,"call":"req_0000000000001","account":"acc_0000000000002","key":"key_0000000000003","node":"nod_0000000000004","model":"m\"\u00fc","price":"prv_0000000000005","tier":"flex","delivered":{"usage":{"input":5,"output":6},"source":"estimated"},"bounds":[18446744073709551615,7],"held":[{"kind":0,"subject":0,"unit":0,"window_start":0,"amount":44},{"kind":2,"subject":8,"unit":0,"window_start":0,"amount":44},{"kind":3,"subject":9,"unit":2,"window_start":1700000000,"amount":44}],"promised":33,"facts":{"endpoint":"chat.completions","outcome":"completed","streamed":true,"status":200,"upstream_id":"chatcmpl-1","finish_reason":null,"started_at_ns":1795348800123456789,"first_byte_ms":12,"latency_ms":345,"attempts":[{"channel":"a","status":503,"outcome":"failed","latency_ms":3}],"idempotency_key":"k"}}"#;

    #[test]
    fn what_is_known_of_a_call_is_kept_with_it() {
        let mut before = settlement(&delivered());
        before.attributes = Attributes::NONE.with(Attribute::Region, "e\"u");
        let text = serde_json::to_string(&CallRecord::of(&before).unwrap()).unwrap();
        let record: CallRecord = serde_json::from_str(&text).unwrap();
        let after = record.into_settlement(Terms::listed(price(5))).unwrap();
        assert_eq!(after.circumstances(), before.circumstances());
    }

    #[test]
    fn what_was_written_stays_readable() {
        let record: CallRecord = serde_json::from_str(SHAPE_1).unwrap();
        let mut then = settlement(&delivered());
        then.terms = Terms::listed(price(5));
        assert_eq!(record, CallRecord::of(&then).unwrap());
    }

    #[test]
    fn a_record_is_not_guessed_at() {
        let later = SHAPE_1.replacen("\"shape\":1", "\"shape\":2", 1);
        let later: CallRecord = serde_json::from_str(&later).unwrap();
        let unknown = later.into_settlement(Terms::listed(price(5))).unwrap_err();
        assert_eq!(unknown, RecordError::UnknownShape(2));
        let more = SHAPE_1.replacen("\"shape\":1", "\"shape\":1,\"discount\":5", 1);
        assert!(serde_json::from_str::<CallRecord>(&more).is_err());
        let record: CallRecord = serde_json::from_str(SHAPE_1).unwrap();
        assert!(record.into_settlement(Terms::listed(price(6))).is_err());
    }
}
