//! Calls on a plan: whatever they are, in whatever order they end, and on whichever node.
#![expect(clippy::unwrap_used, reason = "a test may fall over")]

use std::collections::BTreeMap;
use std::sync::Arc;

use billing_core::budget::{Amount, BudgetScope, BudgetUnit};
use billing_core::call::{Basis, CallFacts, Settlement, UsageBounds, UsageSource};
use billing_core::id::{
    AccountId, CallId, KeyId, LedgerTxnId, LotId, NodeId, PriceVersionId, QuotaId,
};
use billing_core::lease_book::{Refusal, RefusalCause};
use billing_core::meter::{Meter, Usage};
use billing_core::money::{Currency, Nanos};
use billing_core::plan::AfterQuota;
use billing_core::price::{Attributes, ModelName, PriceVersion, Rate, ServiceTier};
use billing_core::quota::cover::{Cost, Split};
use billing_core::quota::hold::{HoldSearch, Worst};
use billing_core::settlement::{AccountState, Booking, BudgetUse, SettledCall, promised, settle};
use billing_core::terms::Terms;
use billing_core::wallet::{AccountStatus, Lot, LotKind, Wallet};
use proptest::prelude::*;
use time::OffsetDateTime;

const ACCOUNT: AccountId = AccountId::new(1);
const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const WALLET: BudgetScope = BudgetScope::Wallet;
const LIMIT: BudgetScope = BudgetScope::KeyLimit {
    key: KeyId::new(1),
    window_start: 0,
};

const fn quota(id: i64, unit: BudgetUnit) -> BudgetScope {
    BudgetScope::Quota {
        quota: QuotaId::new(id),
        unit,
        window_start: 0,
    }
}

/// Two quotas of one model, and two of all.
const OWN: [BudgetScope; 2] = [quota(1, BudgetUnit::Calls), quota(2, BudgetUnit::Tokens)];
const ALL: [BudgetScope; 2] = [quota(3, BudgetUnit::Tokens), quota(4, BudgetUnit::Nanos)];
const PAYERS: [BudgetScope; 2] = [WALLET, LIMIT];

/// Three tenths of a nano for each input token, seven for each output token.
fn price() -> Arc<PriceVersion> {
    let rate = |meter, price: &str| Rate {
        meter,
        tier: ServiceTier::Standard,
        above: None,
        price: price.parse().unwrap(),
    };
    let rates = vec![
        rate(Meter::Input, "0.0000000003"),
        rate(Meter::Output, "0.0000000007"),
    ];
    let (id, model) = (PriceVersionId::new(1), ModelName::new("m"));
    Arc::new(PriceVersion::new(id, model, Currency::USD, NOW, rates).unwrap())
}

fn books(funds: u64, limits: [u64; 5]) -> AccountState {
    let scopes = OWN.into_iter().chain(ALL).chain([LIMIT]);
    let fresh = |limit| BudgetUse {
        limit: Some(Amount::new(limit)),
        ..BudgetUse::default()
    };
    AccountState {
        account: ACCOUNT,
        wallet: Wallet {
            currency: Currency::USD,
            posted: Amount::new(funds).money(),
            leased: Amount::ZERO,
            credit_limit: Amount::ZERO,
            status: AccountStatus::Active,
        },
        lots: vec![Lot {
            id: LotId::new(1),
            kind: LotKind::Paid,
            priority: 0,
            effective_at: NOW,
            expires_at: None,
            created_at: NOW,
            granted: Amount::new(funds),
            remaining: Amount::new(funds),
        }],
        uses: scopes.zip(limits).map(|(s, l)| (s, fresh(l))).collect(),
        leases: BTreeMap::new(),
    }
}

fn available(books: &AccountState, scope: BudgetScope) -> Amount {
    if scope == WALLET {
        return books.wallet.available();
    }
    books.uses[&scope].available()
}

/// Takes a hold from the books as leases of a node, or says what is short.
fn lease(
    books: &mut AccountState,
    node: NodeId,
    demands: &[(BudgetScope, Amount)],
) -> Option<Refusal> {
    let short = demands.iter().find(|(s, n)| available(books, *s) < *n);
    if let Some((scope, needed)) = short {
        return Some(Refusal {
            scope: *scope,
            needed: *needed,
            left: available(books, *scope),
            cause: RefusalCause::Insufficient,
        });
    }
    for (scope, amount) in demands {
        let lease = books.leases.entry((node, *scope)).or_default();
        *lease = lease.plus(*amount);
        let leased = leased_mut(books, *scope);
        *leased = leased.plus(*amount);
    }
    None
}

/// What a node still has on lease of the hold of an ended call goes back; the model has one lease a
/// call, so it is what was held less what was drawn.
fn free(books: &mut AccountState, call: &Settlement, used: &[(BudgetScope, Amount)]) {
    for (scope, held) in &call.held {
        let drawn = used
            .iter()
            .find(|(s, _)| s == scope)
            .map_or(Amount::ZERO, |(_, n)| *n);
        let rest = held.less(drawn.min(*held));
        let Some(lease) = books.leases.get_mut(&(call.node, *scope)) else {
            continue;
        };
        let rest = rest.min(*lease);
        *lease = lease.less(rest);
        unlease(books, *scope, rest);
    }
}

/// A node is taken for dead: its leases are free again, before its calls have settled.
fn fence(books: &mut AccountState, node: i64) {
    let gone = books.leases.extract_if(.., |(of, _), _| of.get() == node);
    for ((_, scope), amount) in gone.collect::<Vec<_>>() {
        unlease(books, scope, amount);
    }
}

fn leased_mut(books: &mut AccountState, scope: BudgetScope) -> &mut Amount {
    if scope == WALLET {
        return &mut books.wallet.leased;
    }
    &mut books.uses.get_mut(&scope).unwrap().leased
}

/// So much of a budget is no longer on lease.
fn unlease(books: &mut AccountState, scope: BudgetScope, amount: Amount) {
    let leased = leased_mut(books, scope);
    *leased = leased.less(amount);
}

fn usage(input: u64, output: u64) -> Usage {
    Usage::NONE
        .with(Meter::Input, input)
        .with(Meter::Output, output)
}

fn call(
    id: i64,
    node: NodeId,
    held: Vec<(BudgetScope, Amount)>,
    usage: Option<&Usage>,
) -> Settlement {
    let price = price();
    Settlement {
        call: CallId::new(id),
        account: ACCOUNT,
        key: KeyId::new(1),
        node,
        model: price.model().clone(),
        terms: Terms::listed(price),
        tier: ServiceTier::Standard,
        attributes: Attributes::NONE,
        basis: usage.map_or(Basis::Void, |usage| Basis::Delivered {
            usage: *usage,
            source: UsageSource::Provider,
        }),
        bounds: UsageBounds {
            prompt_tokens: 150,
            answer_tokens: 150,
        },
        held,
        promised: None,
        facts: CallFacts {
            endpoint: "chat.completions".to_owned(),
            outcome: "completed".to_owned(),
            streamed: false,
            status: 200,
            upstream_id: None,
            finish_reason: None,
            started_at: NOW,
            first_byte_ms: None,
            latency_ms: 1,
            attempts: Vec::new(),
            idempotency_key: None,
        },
    }
}

/// One call of a sequence.
#[derive(Debug, Clone)]
struct Planned {
    node: i64,
    ceiling: (u64, u64),
    /// What it really came to, at most twice the ceiling; `None` where nothing was delivered.
    came_to: Option<(u64, u64)>,
    after: AfterQuota,
    /// Whether its caller was told what it costs before the books had it.
    is_told: bool,
    /// Where in the line of open calls it ends.
    ends: prop::sample::Index,
}

fn planned() -> impl Strategy<Value = Planned> {
    let ceiling = (0..100_u64, 0..100_u64);
    let came_to = proptest::option::weighted(0.9, (0..170_u64, 0..170_u64));
    let after = prop_oneof![Just(AfterQuota::Wallet), Just(AfterQuota::Stop)];
    let rest = (any::<bool>(), any::<bool>(), any::<prop::sample::Index>());
    (0..3_i64, ceiling, came_to, after, rest).prop_map(
        |(node, ceiling, came_to, after, (is_told, within, ends))| Planned {
            node,
            ceiling,
            came_to: came_to.map(|(i, o)| {
                if within {
                    (i.min(ceiling.0), o.min(ceiling.1))
                } else {
                    (i, o)
                }
            }),
            after,
            is_told,
            ends,
        },
    )
}

/// What a call is held by, found as the gate finds it.
fn hold(books: &mut AccountState, planned: &Planned) -> Option<Vec<(BudgetScope, Amount)>> {
    let ceiling = usage(planned.ceiling.0, planned.ceiling.1);
    let cost = billing_core::charge::exact(&ceiling, &price(), &circumstances()).unwrap();
    let worst = Worst {
        tokens: Amount::new(planned.ceiling.0 + planned.ceiling.1),
        money: Amount::of(cost.ceiling().unwrap()),
    };
    let levels = [&OWN[..], &ALL[..]];
    let mut search = HoldSearch::new(levels, &PAYERS, worst, planned.after);
    loop {
        let attempt = search.next(|scope| available(books, scope)).unwrap()?;
        match lease(books, NodeId::new(planned.node), &attempt.demands) {
            None => return Some(attempt.demands),
            Some(refusal) => search.refused(refusal),
        }
    }
}

fn circumstances() -> billing_core::price::Circumstances {
    billing_core::price::Circumstances::new(ServiceTier::Standard, NOW)
}

/// What is true of each call by itself.
fn check_call(call: &Settlement, settled: &SettledCall) {
    let Basis::Delivered { usage, .. } = &call.basis else {
        assert_eq!(
            (settled.charge, settled.overrun),
            (Nanos::ZERO, Nanos::ZERO)
        );
        assert!(settled.used.iter().all(|(_, taken)| taken.is_zero()));
        return;
    };
    if settled.quarantined {
        return;
    }
    let exact = billing_core::charge::exact(usage, &price(), &circumstances()).unwrap();
    let parts = [
        settled.charge,
        settled.overrun,
        settled.covered.unwrap_or_default(),
    ];
    let sum = parts
        .into_iter()
        .try_fold(Nanos::ZERO, Nanos::plus)
        .unwrap();
    assert_eq!(sum, exact.settle().unwrap());
    let again = Split::again(&settled.used, &Cost::of(usage, exact).unwrap()).unwrap();
    let due = settled.charge.plus(settled.overrun).unwrap();
    assert_eq!(again.due.money(), due, "rated again from the record");
    assert_eq!(again.covered.money(), settled.covered.unwrap_or_default());
    for (scope, taken) in &settled.used {
        if !scope.is_payer() && call.promised.is_some() {
            let held = call.held.iter().find(|(s, _)| s == scope).unwrap().1;
            assert!(*taken <= held, "{scope} gave {taken} of {held}");
        }
    }
}

fn check_books(books: &AccountState, used: &BTreeMap<BudgetScope, Amount>) {
    let funds = i128::from(books.wallet.posted.get());
    assert!(
        funds >= i128::from(books.wallet.leased.get()),
        "the wallet is passed"
    );
    for (scope, of) in &books.uses {
        assert!(
            of.used.plus(of.leased) <= of.limit.unwrap(),
            "{scope} is passed"
        );
        let sum = used.get(scope).copied().unwrap_or_default();
        assert_eq!(of.used, sum, "{scope} is the sum of what calls took");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_quota_is_passed_in_any_order_on_any_node(
        calls in proptest::collection::vec(planned(), 1..40),
        funds in 0..400_u64,
        limits in [0..8_u64, 0..900_u64, 0..900_u64, 0..300_u64, 0..300_u64],
        fenced in proptest::option::of((0..3_i64, 0..40_usize)),
    ) {
        let mut state = books(funds, limits);
        let mut open: Vec<Settlement> = Vec::new();
        let mut used: BTreeMap<BudgetScope, Amount> = BTreeMap::new();
        let mut paid = Nanos::ZERO;
        let count = calls.len();
        for (n, planned) in calls.into_iter().enumerate() {
            if let Some(held) = hold(&mut state, &planned) {
                let came_to = planned.came_to.map(|(input, output)| usage(input, output));
                let id = i64::try_from(n).unwrap();
                let mut call = call(id, NodeId::new(planned.node), held, came_to.as_ref());
                let promise = promised(&call);
                if planned.is_told {
                    call.promised = Some(Amount::of(promise.charge));
                } else if planned.after == AfterQuota::Stop
                    && call.held.iter().any(|(s, _)| !s.is_payer())
                {
                    call.promised = Some(Amount::ZERO);
                }
                open.push(call);
            }
            if let Some((node, _)) = fenced.filter(|(_, at)| *at == n) {
                fence(&mut state, node);
            }
            let ends = if n + 1 == count { open.len() } else { open.len() / 2 };
            for _ in 0..ends {
                let ended = open.remove(planned.ends.index(open.len()));
                let booking = Booking { txn: LedgerTxnId::new(1), now: NOW };
                let mut changes = settle(state, std::slice::from_ref(&ended), booking).unwrap();
                let settled = changes.calls.remove(0);
                state = changes.state;
                check_call(&ended, &settled);
                let was_fenced = fenced.is_some_and(|(node, at)| node == ended.node.get() && at <= n);
                if !was_fenced {
                    let promise = promised(&ended);
                    if ended.promised.is_some() {
                        prop_assert_eq!(settled.charge, promise.charge);
                    }
                    prop_assert_eq!(settled.quarantined, promise.quarantined);
                }
                for (scope, taken) in &settled.used {
                    let sum = used.entry(*scope).or_default();
                    *sum = sum.plus(*taken);
                }
                paid = paid.plus(settled.charge).unwrap();
                free(&mut state, &ended, &settled.used);
                check_books(&state, &used);
            }
        }
        prop_assert_eq!(paid, Amount::new(funds).money().minus(state.wallet.posted).unwrap());
        prop_assert_eq!(used.get(&WALLET).copied().unwrap_or_default(), Amount::of(paid));
        // With all calls over nothing is left on lease.
        prop_assert!(state.leases.values().all(|lease| lease.is_zero()));
    }
}
