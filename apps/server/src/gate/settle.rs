//! Paying for a call that is over.

use std::time::Instant;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::call::{
    Attempt, Basis, CallFacts, Settlement, UsageBounds, UsageSource as Source,
};
use billing_core::charge::charge;
use billing_core::plan::AfterQuota;
use billing_core::port::books::BooksError;
use billing_core::price::{Attributes, Circumstances, ServiceTier};
use billing_core::quota::cover::tokens_of;
use billing_core::quota::hold::Worst;
use gateway_core::metering::{Anomaly, Metered, Reported, UsageSource};

use super::Gate;
use super::admit::OpenCall;
use super::hand_in::Paid;
use super::quotas::OfPlan;
use crate::clock::millis_since;
use crate::metrics::{self, METRICS};

/// How long a text of the upstream may be to be kept on record, in characters.
const LONGEST_TEXT: usize = 200;

/// How a call ended, as far as its record needs it.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) status: u16,
    pub(crate) upstream_id: Option<String>,
    pub(crate) finish_reason: Option<String>,
    pub(crate) service_tier: Option<String>,
    /// What the reply, or else the upstream's configuration, says of it that prices depend on.
    pub(crate) attributes: Attributes,
    pub(crate) first_byte_ms: Option<u32>,
}

impl Gate {
    /// Settles a call. When this answers, its charge is durable: in the books, or in the spool,
    /// from where the books will take it as it stands.
    pub(crate) async fn settle(
        &self,
        call: &mut OpenCall,
        metered: &Metered,
        ending: Ending,
    ) -> Result<Paid, BooksError> {
        let came_to = came_to(call, metered, &ending);
        if let Some(pace) = &mut call.pace
            && (metered.is_void() || !came_to.tokens.is_zero())
        {
            pace.came_to(came_to.tokens);
        }
        if let Some(plan) = &call.plan {
            Box::pin(self.extend_plan(call, plan, came_to)).await;
        } else {
            let missing = came_to.money.less(call.held_money());
            if !missing.is_zero() {
                Box::pin(self.extend_hold(call, missing)).await;
            }
        }
        let settlement = settlement(call, metered, ending);
        // From here on nothing but its settlement ends the hold: what was delivered is not freed.
        call.is_over();
        if metered.is_void() {
            self.leases.released(settlement.account, settlement.call);
        }
        metrics::add(METRICS.calls.of(metered.outcome), 1);
        metrics::add(&METRICS.settling, 1);
        let over = Instant::now();
        let paid = self.replay.hand_in(settlement, &self.leases).await;
        METRICS.settle.note(over.elapsed());
        metrics::take(&METRICS.settling, 1);
        paid
    }

    /// Extends the hold of a call on a plan that came to more than its ceiling.
    async fn extend_plan(&self, call: &OpenCall, plan: &OfPlan, came_to: Worst) {
        let extended = self.extend_by_plan(call, plan, came_to, false);
        // The store may have to be asked, and its client waits already.
        let held = tokio::time::timeout(self.replay.patience(), extended).await;
        if !matches!(held, Ok(true)) {
            tracing::warn!(call = %call.incoming.id,
                "a call outgrew what is left of its plan's quotas; the house bears the rest");
        }
    }

    /// Extends the hold of a call that cost so much more than its ceiling.
    async fn extend_hold(&self, call: &OpenCall, missing: Amount) {
        let mut ask = self.ask(call, missing.money());
        ask.wait_until = self.leases.now();
        // The store may have to be asked, and its client waits already.
        let held = tokio::time::timeout(self.replay.patience(), self.leases.hold(ask)).await;
        if !matches!(held, Ok(Ok(()))) {
            tracing::warn!(call = %call.incoming.id, missing = %missing,
                "a call outgrew its hold; the house bears the rest");
        }
    }
}

impl Ending {
    /// The tier that the provider says it gave.
    fn tier(&self) -> ServiceTier {
        let named = self.service_tier.as_deref().map(ServiceTier::of_provider);
        named.unwrap_or_default()
    }

    /// What decides which prices apply to a call that ended so.
    fn circumstances(&self, call: &OpenCall) -> Circumstances {
        Circumstances {
            tier: self.tier(),
            at: call.incoming.started_at,
            attributes: self.attributes.clone(),
        }
    }
}

/// What a call really came to; nothing where that is not believed, so that its hold is due.
fn came_to(call: &OpenCall, metered: &Metered, ending: &Ending) -> Worst {
    let Basis::Delivered { usage, .. } = basis_of(metered) else {
        return Worst::default();
    };
    if usage_bounds(call).are_passed_by(&usage) {
        return Worst::default();
    }
    let circumstances = ending.circumstances(call);
    let position = call.terms.tiers.as_ref().map(|tiers| tiers.known);
    let position = position.unwrap_or_default();
    let Ok(charge) = charge(&usage, &call.terms, &circumstances, position) else {
        return Worst::default();
    };
    Worst {
        tokens: tokens_of(&usage),
        money: Amount::of(charge.amount),
    }
}

/// What a call on a plan that stops at the end of its quotas may be charged: nothing, whatever it
/// comes to, as long as quotas cover it at all.
fn promised(call: &OpenCall, held: &[(BudgetScope, Amount)]) -> Option<Amount> {
    let plan = call.plan.as_ref()?;
    let is_covered = held.iter().any(|(scope, _)| scope.is_quota());
    (plan.after == AfterQuota::Stop && is_covered).then_some(Amount::ZERO)
}

/// What is handed in.
fn settlement(call: &OpenCall, metered: &Metered, ending: Ending) -> Settlement {
    let (node, held) = call.held();
    Settlement {
        call: call.incoming.id,
        account: call.caller.key.account,
        key: call.caller.key.id,
        node,
        model: call.terms.price.model().clone(),
        terms: call.terms.clone(),
        tier: ending.tier(),
        attributes: ending.attributes.clone(),
        basis: basis_of(metered),
        bounds: usage_bounds(call),
        promised: promised(call, &held),
        held,
        facts: facts(call, metered, ending),
    }
}

fn basis_of(metered: &Metered) -> Basis {
    let source = match metered.source {
        UsageSource::None => return Basis::Void,
        UsageSource::Provider => Source::Provider,
        UsageSource::Estimated => Source::Estimated,
    };
    // What the provider claimed goes to the books as it is: they do not believe it either, and
    // charge the hold.
    let usage = match (metered.anomaly, &metered.reported) {
        (Some(Anomaly::BeyondModel), Reported::Given(claimed)) => *claimed,
        _ => metered.usage,
    };
    Basis::Delivered { usage, source }
}

fn usage_bounds(call: &OpenCall) -> UsageBounds {
    let choices = u64::from(call.head.choices.max(1));
    UsageBounds {
        prompt_tokens: call.bounds.input().saturating_mul(choices),
        answer_tokens: call.bounds.output().saturating_mul(choices),
    }
}

fn facts(call: &OpenCall, metered: &Metered, ending: Ending) -> CallFacts {
    let key = call.key_in_use.as_ref().filter(|_| !metered.is_void());
    CallFacts {
        endpoint: call.incoming.endpoint.name().to_owned(),
        outcome: metered.outcome.name().to_owned(),
        streamed: call.head.stream,
        status: ending.status,
        upstream_id: ending.upstream_id.map(recordable),
        finish_reason: ending.finish_reason.map(recordable),
        started_at: call.incoming.started_at,
        first_byte_ms: ending.first_byte_ms,
        latency_ms: millis_since(call.incoming.started),
        attempts: ending.attempts,
        // A call that cost nothing may be made again under its key.
        idempotency_key: key.map(|key| key.key().to_owned()),
    }
}

/// What an upstream calls something, as far as every database keeps it.
fn recordable(text: String) -> String {
    let fits = text.len() <= LONGEST_TEXT && !text.contains('\0');
    if fits {
        text
    } else {
        text.chars()
            .filter(|c| *c != '\0')
            .take(LONGEST_TEXT)
            .collect()
    }
}

/// The members that a settled call adds to the usage its caller sees.
pub(crate) fn cost_members(paid: Paid) -> String {
    match paid.charge {
        Some(charge) => format!("\"cost\":{charge},\"cost_nanos\":{}", charge.get()),
        None => "\"cost\":null,\"cost_nanos\":null".to_owned(),
    }
}
