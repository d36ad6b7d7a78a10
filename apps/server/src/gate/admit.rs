//! Letting a call in: read it, price its worst case, and hold that on every budget.

use std::sync::Arc;
use std::time::Instant;

use billing_core::budget::{Amount, BudgetScope, BudgetUnit};
use billing_core::id::{CallId, NodeId};
use billing_core::lease_book::{HoldAsk, Refusal, RefusalCause};
use billing_core::meter::{Meter, Usage};
use billing_core::money::Nanos;
use billing_core::plan::{CallLimit, RateLimits};
use billing_core::port::directory::Caller;
use billing_core::price::{Foreseen, Prospect, RatingError, ServiceTier};
use billing_core::price_book::{ModelFacts, Unpriced};
use billing_core::quota::cover::tokens_of;
use billing_core::quota::hold::Worst;
use billing_core::rate_limit::RateLeft;
use billing_core::terms::Terms;
use bytes::Bytes;
use gateway_core::ceiling::{ModelBounds, ceiling};
use gateway_core::endpoint::Endpoint;
use gateway_core::lanes::Lane;
use gateway_core::request::{self, RequestHead};
use gateway_core::route::base_model;
use time::{Duration, OffsetDateTime};

use super::idempotency::KeyInUse;
use super::paces::InPace;
use super::places::Place;
use super::prices::NoTerms;
use super::quotas::{HoldFault, OfPlan};
use super::{Gate, Leases};
use crate::http::v1::error::{FundsError, V1Error};

/// An answer shorter than this is of no use, so a call is refused rather than capped below it.
const SHORTEST_ANSWER: u64 = 16;

/// A request as it came in.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) id: CallId,
    pub(crate) endpoint: Endpoint,
    pub(crate) body: Bytes,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) started: Instant,
    pub(crate) started_at: OffsetDateTime,
    #[expect(dead_code, reason = "it is held until the call is over")]
    pub(crate) place: Place,
}

/// A call that holds its funds. Dropping it before it is settled frees them.
#[derive(Debug)]
pub(crate) struct OpenCall {
    pub(crate) incoming: Incoming,
    pub(crate) caller: Arc<Caller>,
    pub(crate) head: RequestHead,
    pub(crate) terms: Terms,
    /// What is known of its attributes before an upstream answers.
    prospect: Arc<Prospect>,
    /// Whether it goes before others at a channel.
    pub(crate) lane: Lane,
    pub(crate) bounds: ModelBounds,
    pub(crate) ceiling: Usage,
    /// The limit that was put on the answer so that the call fits the funds.
    pub(crate) max_output: Option<u64>,
    pub(crate) key_in_use: Option<KeyInUse>,
    /// What the caller's plan gives of the model.
    pub(crate) plan: Option<Box<OfPlan>>,
    /// How many calls the plan lets an account make.
    pub(crate) call_limit: Option<CallLimit>,
    /// How it counts in what the plan lets an account send.
    pub(crate) pace: Option<InPace>,
    leases: Arc<Leases>,
    over: bool,
}

impl OpenCall {
    /// What it holds now, by budget, and under which id the node has the leases that cover it.
    pub(crate) fn held(&self) -> (NodeId, Vec<(BudgetScope, Amount)>) {
        self.leases
            .held_by(self.caller.key.account, self.incoming.id)
    }

    /// What it holds now of the wallet.
    pub(crate) fn held_money(&self) -> Amount {
        let (account, id) = (self.caller.key.account, self.incoming.id);
        self.leases.held_of_wallet(account, id)
    }

    /// What it must hold beside what it holds for an answer of `covered` tokens, should that come to
    /// so many more.
    pub(crate) fn extension(&self, covered: u64, more: u64) -> Result<Nanos, RatingError> {
        self.terms
            .extension(&self.grown_to(covered), more, &self.foreseen())
    }

    /// What is known of it before an upstream answers.
    fn foreseen(&self) -> Foreseen<'_> {
        let tiers = ServiceTier::foreseen_of(self.head.service_tier.as_deref());
        self.prospect.foreseen(tiers, self.incoming.started_at)
    }

    /// The most that it can come to with an answer of so many tokens.
    pub(crate) fn worst_of(&self, answer: u64) -> Result<Worst, RatingError> {
        let ceiling = self.grown_to(answer);
        let money = self.terms.worst_case(&ceiling, &self.foreseen())?;
        Ok(Worst {
            tokens: tokens_of(&ceiling),
            money: Amount::of(money),
        })
    }

    /// Its ceiling, with an answer of at least so many tokens.
    fn grown_to(&self, answer: u64) -> Usage {
        let grown = answer.saturating_sub(self.ceiling.answer_tokens());
        let output = self.ceiling.get(Meter::Output).saturating_add(grown);
        self.ceiling.with(Meter::Output, output)
    }

    /// What it takes of the number of calls that the plan lets an account make.
    pub(super) fn limited(&self) -> Option<(BudgetScope, Amount)> {
        let limit = self.call_limit.as_ref()?;
        Some((limit.scope, Amount::new(1)))
    }

    /// The hold was ended by a settlement.
    pub(crate) fn is_over(&mut self) {
        self.over = true;
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if !self.over {
            self.leases
                .released(self.caller.key.account, self.incoming.id);
        }
    }
}

impl Gate {
    /// Lets a call in, or says why not. Nothing but memory is asked, unless a lease has run dry.
    pub(crate) async fn admit(
        &self,
        caller: Arc<Caller>,
        incoming: Incoming,
    ) -> Result<Box<OpenCall>, V1Error> {
        let mut call = self.open(caller, incoming)?;
        let key = call.incoming.idempotency_key.as_deref();
        call.key_in_use = self.use_key(&call.caller, key).await?;
        call.pace = self.pace(&call)?;
        self.hold(&mut call).await?;
        Ok(call)
    }

    /// A call that may be made, and holds nothing yet. On the heap from the beginning: it is large,
    /// and handed on from one to the other.
    fn open(&self, caller: Arc<Caller>, incoming: Incoming) -> Result<Box<OpenCall>, V1Error> {
        if self.closing.is_cancelled() {
            return Err(V1Error::Stopping);
        }
        if self.replay.has_no_room() {
            return Err(V1Error::SpoolFull);
        }
        if self.node.clock_is_off() {
            return Err(V1Error::ClockOff);
        }
        let head = request::read(incoming.endpoint, &incoming.body).map_err(V1Error::BadRequest)?;
        let model = base_model(&head.model);
        if !caller.may_use(model) {
            return Err(V1Error::ModelNotAllowed(head.model));
        }
        let (facts, terms) = self.terms(&caller, &head, incoming.started_at)?;
        let subscribed = caller.subscribed.as_ref();
        let is_boosted = subscribed.is_some_and(|of| of.is_boosted(incoming.started_at));
        let lane = Lane::of(is_boosted);
        let Some(prospect) = self.routes.prospect(model, lane) else {
            return Err(V1Error::NoChannel(head.model));
        };
        let (bounds, ceiling) = bounded(
            incoming.endpoint,
            &head,
            incoming.body.len(),
            &facts,
            self.limits.default_output_tokens,
        );
        let plan = subscribed.and_then(|of| OfPlan::of(of, model, incoming.started_at));
        let call_limit = subscribed.and_then(|of| of.call_limit(incoming.started_at));
        Ok(Box::new(OpenCall {
            incoming,
            caller,
            terms,
            prospect,
            lane,
            bounds,
            ceiling,
            max_output: None,
            key_in_use: None,
            plan,
            call_limit,
            pace: None,
            head,
            leases: Arc::clone(&self.leases),
            over: false,
        }))
    }

    /// What the call is rated with, and what else is known of its model.
    fn terms(
        &self,
        caller: &Caller,
        head: &RequestHead,
        at: OffsetDateTime,
    ) -> Result<(ModelFacts, Terms), V1Error> {
        let model = || head.model.clone();
        match self
            .prices
            .terms(&caller.buyer(at), base_model(&head.model), at)
        {
            Ok((facts, terms)) if terms.price.currency() == caller.currency => {
                let subscribed = caller.subscribed.as_deref();
                let plan = subscribed.and_then(|subscribed| subscribed.version_at(at));
                Ok((facts, terms.under(plan)))
            }
            Ok((_, terms)) => {
                tracing::error!(model = head.model, account = %caller.key.account,
                    price = %terms.price.currency(), wallet = %caller.currency,
                    "a price is in another currency than the wallet");
                Err(V1Error::OtherCurrency {
                    model: model(),
                    price: terms.price.currency(),
                    wallet: caller.currency,
                })
            }
            Err(NoTerms::Unpriced(Unpriced::Unknown(_))) => Err(V1Error::UnknownModel(model())),
            Err(NoTerms::Unpriced(Unpriced::NoPrice(_))) => Err(V1Error::Unpriced(model())),
            Err(error @ NoTerms::Unsellable { .. }) => {
                tracing::error!(model = head.model, %error, "a model cannot be sold");
                Err(V1Error::Unpriced(model()))
            }
        }
    }

    /// Counts the call in what its plan lets the account send, where it limits that.
    fn pace(&self, call: &OpenCall) -> Result<Option<InPace>, V1Error> {
        let limits = self.rate_limits(&call.caller, call.incoming.started_at);
        let Some(limits) = limits else {
            return Ok(None);
        };
        let (account, tokens) = (call.caller.key.account, tokens_of(&call.ceiling));
        let now = self.leases.now();
        let admitted = self.paces.admit(account, limits, tokens, now);
        admitted.map(Some).map_err(V1Error::Pace)
    }

    /// This node's part of what a caller's plan lets it send; `None` where that is not limited.
    fn rate_limits(&self, caller: &Caller, at: OffsetDateTime) -> Option<RateLimits> {
        let limits = caller.subscribed.as_ref()?.rate_limits(at)?;
        let nodes = self.node.lag().peers.saturating_add(1);
        Some(limits.share(u32::try_from(nodes).unwrap_or(u32::MAX)))
    }

    /// What is left of what a caller's plan lets it send through this node.
    pub(crate) fn rates_left(&self, caller: &Caller) -> Vec<RateLeft> {
        let limits = self.rate_limits(caller, self.clock.now());
        limits.map_or_else(Vec::new, |limits| {
            self.paces
                .left(caller.key.account, limits, self.leases.now())
        })
    }

    /// Takes the caller's idempotency key into use, unless it is or was.
    async fn use_key(
        &self,
        caller: &Caller,
        key: Option<&str>,
    ) -> Result<Option<KeyInUse>, V1Error> {
        let Some(key) = key else { return Ok(None) };
        let account = caller.key.account;
        let taken = self
            .in_flight
            .take(account, key)
            .ok_or(V1Error::Idempotency { call: None })?;
        match self.reports.call_by_idempotency_key(account, key).await {
            Ok(None) => Ok(Some(taken)),
            Ok(call @ Some(_)) => Err(V1Error::Idempotency { call }),
            Err(error) => {
                tracing::error!(%error, "an idempotency key could not be looked up");
                Err(V1Error::StoreAway)
            }
        }
    }

    /// Holds the worst case; shortens the answer instead of refusing where the key allows it.
    async fn hold(&self, call: &mut OpenCall) -> Result<(), V1Error> {
        let refusal = match self.try_hold(call).await {
            Ok(()) => return Ok(()),
            Err(HoldFault::Other(error)) => return Err(error),
            Err(HoldFault::Refused(refusal)) => refusal,
        };
        let may_cap = call.caller.key.cap_output && refusal.cause == RefusalCause::Insufficient;
        if may_cap && let Some(output) = fitting_output(call, &refusal) {
            let choices = u64::from(call.head.choices.max(1));
            call.ceiling.set(Meter::Output, output);
            call.max_output = Some((output / choices).max(1));
            if self.try_hold(call).await.is_ok() {
                return Ok(());
            }
        }
        Err(V1Error::Funds(Box::new(funds_error(call, refusal))))
    }

    async fn try_hold(&self, call: &OpenCall) -> Result<(), HoldFault> {
        if let Some(plan) = &call.plan {
            return Box::pin(self.hold_by_plan(call, plan)).await;
        }
        let worst = worst_case(call)?;
        let mut ask = self.ask(call, worst);
        ask.demands.extend(call.limited());
        let held = self.leases.hold(ask).await;
        held.map_err(HoldFault::Refused)
    }

    /// A wish for so much money on each money budget of the call.
    pub(crate) fn ask(&self, call: &OpenCall, amount: Nanos) -> HoldAsk {
        let amount = Amount::of(amount);
        let key = &call.caller.key;
        let mut demands = vec![(BudgetScope::Wallet, amount)];
        demands.extend(key_limit(call).map(|limit| (limit, amount)));
        let patience = Duration::milliseconds(i64::from(self.limits.funds_wait_ms));
        HoldAsk {
            account: key.account,
            call: call.incoming.id,
            demands,
            wait_until: self.leases.now().saturating_add(patience),
        }
    }
}

/// The limit of the key that a call is made with.
fn key_limit(call: &OpenCall) -> Option<BudgetScope> {
    let key = &call.caller.key;
    key.limit.map(|limit| BudgetScope::KeyLimit {
        key: key.id,
        window_start: limit.window.start_at(call.incoming.started_at),
    })
}

/// The budgets that hold what the wallet pays of a call.
pub(super) fn payers(call: &OpenCall) -> Vec<BudgetScope> {
    let wallet = std::iter::once(BudgetScope::Wallet);
    wallet.chain(key_limit(call)).collect()
}

/// The longest answer that fits what a budget has left; `None` where none of use does.
fn fitting_output(call: &OpenCall, refusal: &Refusal) -> Option<u64> {
    let fits = match refusal.scope.unit() {
        BudgetUnit::Calls => None,
        BudgetUnit::Tokens => {
            let left = refusal.left.get().checked_sub(call.ceiling.prompt_tokens());
            left.map(|left| left.min(call.ceiling.get(Meter::Output)))
        }
        BudgetUnit::Nanos => {
            call.terms
                .most_output_within(&call.ceiling, &call.foreseen(), refusal.left.money())
        }
    };
    fits.filter(|output| *output >= SHORTEST_ANSWER)
}

fn funds_error(call: &OpenCall, refusal: Refusal) -> FundsError {
    let at = call.incoming.started_at;
    let quota = call
        .plan
        .as_ref()
        .and_then(|plan| plan.quota(refusal.scope));
    let call_limit = call.call_limit.filter(|limit| limit.scope == refusal.scope);
    let calls_again = call_limit.and_then(|limit| limit.resets_at);
    let resets_at = match (refusal.scope, call.caller.key.limit) {
        (BudgetScope::KeyLimit { .. }, Some(limit)) => limit.window.end_at(at),
        _ => quota.map_or(calls_again, |quota| quota.resets_at),
    };
    let helps_at = quota.and_then(|quota| quota.helps_at(refusal.needed));
    let helps_at = helps_at.or(calls_again);
    FundsError {
        refusal,
        currency: call.caller.currency,
        resets_at,
        wait: helps_at.map(|helps_at| helps_at - at),
    }
}

pub(super) fn worst_case(call: &OpenCall) -> Result<Nanos, V1Error> {
    let worst = call.terms.worst_case(&call.ceiling, &call.foreseen());
    worst.map_err(|error| {
        tracing::error!(model = %call.terms.price.model(), %error, "a model cannot be priced");
        V1Error::Unpriced(call.head.model.clone())
    })
}

/// The tier that a request asks for. What is charged follows the tier in the reply.
pub(crate) fn requested_tier(head: &RequestHead) -> ServiceTier {
    head.service_tier
        .as_deref()
        .map(ServiceTier::of_provider)
        .unwrap_or_default()
}

/// How large a model is, and the most that a request to it can consume.
pub(crate) fn bounded(
    endpoint: Endpoint,
    head: &RequestHead,
    body_len: usize,
    facts: &ModelFacts,
    default_output: u64,
) -> (ModelBounds, Usage) {
    let bounds = ModelBounds {
        context_tokens: None,
        max_input_tokens: facts.max_input_tokens,
        max_output_tokens: facts.max_output_tokens,
    };
    let ceiling = ceiling(endpoint, head, body_len, &bounds, default_output);
    (bounds, ceiling)
}
