//! What the rules of money cost per call: find its price, rate it, hold it, settle it.
//!
//! Divan prints the table. After it the rules that a bound is set for are timed once more and
//! judged: one line of JSON, and an exit code that is not zero when a bound is passed.
#![expect(clippy::unwrap_used, reason = "a benchmark may fall over")]

#[path = "per_call/catalogue.rs"]
mod catalogue;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::call::{Basis, CallFacts, Settlement, UsageBounds, UsageSource};
use billing_core::charge::rate;
use billing_core::id::{AccountId, CallId, KeyId, LedgerTxnId, LotId, NodeId, PriceVersionId};
use billing_core::lease::LeaseGrant;
use billing_core::lease_book::{Decision, Held, HoldAsk, LeaseBook, LeasePolicy, Order};
use billing_core::meter::{Meter, Usage};
use billing_core::money::Currency;
use billing_core::price::{
    Attributes, Circumstances, Foreseen, ModelName, PriceVersion, Rate, ServiceTier,
};
use billing_core::settlement::{AccountState, Booking, BudgetUse, settle};
use billing_core::steady::Steady;
use billing_core::terms::Terms;
use billing_core::wallet::{AccountStatus, Lot, LotKind, Wallet};
use catalogue::Named;
use divan::Bencher;
use time::{Duration, OffsetDateTime};

const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const NOW: Steady = Steady::ORIGIN;
const NODE: NodeId = NodeId::new(1);
const LIMIT: BudgetScope = BudgetScope::KeyLimit {
    key: KeyId::new(1),
    window_start: 0,
};
const BATCH: u64 = 64;

fn main() -> ExitCode {
    // Under a test runner, or asked for a list or a part, there is nothing to judge.
    let judged = std::env::args().skip(1).all(|arg| arg == "--bench");
    // Before anything else: memory that was used and freed would be used again.
    let catalogue = judged.then(catalogue::weighed);
    divan::main();
    catalogue.map_or(ExitCode::SUCCESS, |(book, bytes)| judge(&book, bytes))
}

#[divan::bench]
fn rate_four_meters(bencher: Bencher<'_, '_>) {
    let (price, usage) = (price(), usage());
    let standard = Circumstances::new(ServiceTier::Standard, START);
    bencher.bench(|| rate(black_box(&usage), black_box(&price), &standard));
}

/// A model of a whole catalogue, each time another, at an instant between its versions.
#[divan::bench]
fn resolve_in_catalogue(bencher: Bencher<'_, '_>) {
    bencher.bench_local(resolutions(&catalogue::book()));
}

/// The same for a buyer, where every model has a rule of its own.
#[divan::bench]
fn offer_by_rules(bencher: Bencher<'_, '_>) {
    let book = catalogue::with_rules(&catalogue::book());
    bencher.bench_local(offers(&book));
}

#[divan::bench]
fn worst_case(bencher: Bencher<'_, '_>) {
    let (price, ceiling) = (price(), usage());
    let foreseen = Foreseen::new(&[ServiceTier::Priority], START);
    bencher.bench(|| price.worst_case(black_box(&ceiling), &foreseen));
}

/// Authorize and settled: a call's two visits to the book, with a wallet and a key limit.
#[divan::bench(args = [1, 10_000])]
fn authorize_and_settled(bencher: Bencher<'_, '_>, accounts: i64) {
    bencher.bench_local(visits(accounts));
}

/// The settlement of a batch of 64 calls, over so many accounts.
#[divan::bench(args = [1, 64])]
fn settle_batch_of_64(bencher: Bencher<'_, '_>, accounts: u64) {
    let batches = batches(accounts);
    bencher
        .with_inputs(|| batches.clone())
        .bench_local_values(settle_all);
}

fn judge(book: &Named, catalogue_bytes: u64) -> ExitCode {
    let resolve_ns = median_ns(1_000, 1, resolutions(book));
    let offer_ns = median_ns(1_000, 1, offers(&catalogue::with_rules(book)));
    let (price, usage) = (price(), usage());
    let standard = Circumstances::new(ServiceTier::Standard, START);
    let rate_ns = median_ns(1_000, 1, || {
        drop(black_box(rate(black_box(&usage), &price, &standard)));
    });
    let worst_ns = median_ns(1_000, 1, || {
        drop(black_box(price.worst_case(
            black_box(&usage),
            &Foreseen::new(&[ServiceTier::Priority], START),
        )));
    });
    let [one, many] = [1, 10_000].map(|accounts| median_ns(1_000, 1, visits(accounts)));
    let [settle_one, settle_many] = [1, BATCH].map(|accounts| {
        let batches = batches(accounts);
        // What it costs to make the state that the rule consumes is no part of the rule.
        let copy = median_ns(20, BATCH, || drop(black_box(batches.clone())));
        let whole = median_ns(20, BATCH, || settle_all(batches.clone()));
        whole.saturating_sub(copy)
    });
    let figures = [
        ("catalogue_bytes", catalogue_bytes, 40_000_000),
        ("resolve_ns", resolve_ns, 200),
        ("offer_by_rules_ns", offer_ns, 1_000),
        ("rate_ns", rate_ns, 1_000),
        ("worst_case_ns", worst_ns, 2_000),
        ("authorize_and_settled_1_account_ns", one, 2_000),
        ("authorize_and_settled_10000_accounts_ns", many, 2_000),
        ("settle_1_account_ns", settle_one, 5_000),
        ("settle_64_accounts_ns", settle_many, 5_000),
    ];
    let kept = figures.iter().all(|(_, seen, bound)| seen <= bound);
    let fields =
        figures.map(|(name, seen, bound)| format!(r#""{name}":{seen},"{name}_max":{bound}"#));
    say(&format!(
        r#"{{"bench":"per_call",{},"verdict":"{}"}}"#,
        fields.join(","),
        if kept { "pass" } else { "fail" }
    ));
    if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the figures are what a benchmark is for"
)]
fn say(line: &str) {
    println!("{line}");
}

/// The median over 201 rounds of what one of `calls` calls costs in a round of `times`.
fn median_ns(times: u64, calls: u64, mut work: impl FnMut()) -> u64 {
    let mut rounds: Vec<u64> = (0..201)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..times {
                work();
            }
            u64::try_from(start.elapsed().as_nanos()).unwrap() / (times * calls)
        })
        .collect();
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}

/// A price of four meters in two tiers, with a threshold, as catalogues have them.
fn price() -> PriceVersion {
    let rate = |meter, tier, price: &str| Rate {
        meter,
        tier,
        above: None,
        price: price.parse().unwrap(),
    };
    let priced = [
        (Meter::Input, "0.0000025", "0.000005"),
        (Meter::CacheRead, "0.00000125", "0.0000025"),
        (Meter::Output, "0.00001", "0.00002"),
        (Meter::Reasoning, "0.00001", "0.00002"),
    ];
    let rates = priced.into_iter().flat_map(|(meter, standard, priority)| {
        [
            rate(meter, ServiceTier::Standard, standard),
            rate(meter, ServiceTier::Priority, priority),
        ]
    });
    let (id, model) = (PriceVersionId::new(1), ModelName::new("m"));
    PriceVersion::new(id, model, Currency::USD, START, rates.collect()).unwrap()
}

fn usage() -> Usage {
    Usage::NONE
        .with(Meter::Input, 1_200)
        .with(Meter::CacheRead, 800)
        .with(Meter::Output, 300)
        .with(Meter::Reasoning, 150)
}

/// Looks for models in no order that a cache would like.
fn resolutions((names, book): &Named) -> impl FnMut() {
    let at = START + Duration::days(150);
    let mut n = 0;
    move || {
        n = (n + 1_009) % names.len();
        let (_, version) = book.resolve(black_box(&names[n]), at).unwrap();
        assert_eq!(black_box(version).id(), PriceVersionId::new(1));
    }
}

fn offers((names, book): &Named) -> impl FnMut() {
    let at = START + Duration::days(150);
    let mut n = 0;
    move || {
        n = (n + 1_009) % names.len();
        let offer = book.offer(Some(&catalogue::BUYER), black_box(&names[n]), at);
        assert!(black_box(offer.unwrap()).sale.is_some());
    }
}

/// Calls that come and go, each at another of so many accounts with large leases.
fn visits(accounts: i64) -> impl FnMut() {
    let mut book = LeaseBook::new(LeasePolicy::default(), NODE);
    let parts = [
        (BudgetScope::Wallet, Amount::new(9_000)),
        (LIMIT, Amount::new(9_000)),
    ];
    for n in 0..accounts {
        lease_plenty(&mut book, AccountId::new(n), &parts);
    }
    let used = parts.map(|(scope, _)| (scope, Amount::new(1)));
    let mut n = 0_i64;
    move || {
        n += 1;
        // A stride that visits the accounts out of order.
        let account = AccountId::new(n.wrapping_mul(7_919) % accounts);
        let call = CallId::new(n);
        let ask = HoldAsk {
            account,
            call,
            demands: parts.to_vec(),
            wait_until: NOW,
        };
        assert_eq!(book.authorize(ask, NOW), Decision::Held);
        let held = Held {
            node: NODE,
            parts: &parts,
        };
        book.settled(account, call, held, &used, NOW);
    }
}

/// Lets the book ask for these budgets and have more of each than will ever be used.
fn lease_plenty(book: &mut LeaseBook, account: AccountId, parts: &[(BudgetScope, Amount)]) {
    let grant = LeaseGrant {
        granted: Amount::new(u64::MAX / 2),
        ..LeaseGrant::default()
    };
    let call = CallId::new(0);
    let ask = HoldAsk {
        account,
        call,
        demands: parts.to_vec(),
        wait_until: NOW,
    };
    assert_eq!(book.authorize(ask, NOW), Decision::Waiting);
    for order in book.take_orders() {
        if let Order::Lease { scope, seq, .. } = order {
            book.granted(account, scope, seq, grant, NOW);
        }
    }
    book.released(account, call, NOW);
    book.take_orders();
}

type Batch = (AccountState, Vec<Settlement>);

fn settle_all(batches: Vec<Batch>) {
    let txn = LedgerTxnId::new(1);
    for (state, batch) in batches {
        drop(black_box(
            settle(state, &batch, Booking { txn, now: START }).unwrap(),
        ));
    }
}

fn batches(accounts: u64) -> Vec<Batch> {
    let price = Arc::new(price());
    (0..accounts)
        .map(|n| {
            let account = AccountId::new(i64::try_from(n).unwrap());
            let calls = (0..BATCH / accounts).map(|call| settlement(account, call, &price));
            (books(account), calls.collect())
        })
        .collect()
}

fn books(account: AccountId) -> AccountState {
    let plenty = Amount::new(1_000_000_000_000);
    let lot = |n, kind| Lot {
        id: LotId::new(n),
        kind,
        priority: 0,
        effective_at: START,
        expires_at: None,
        created_at: START,
        granted: plenty,
        remaining: plenty,
    };
    let use_of_limit = BudgetUse {
        limit: Some(plenty.plus(plenty)),
        used: Amount::ZERO,
        leased: plenty,
    };
    let leases = [BudgetScope::Wallet, LIMIT].map(|scope| ((NODE, scope), plenty));
    AccountState {
        account,
        wallet: Wallet {
            currency: Currency::USD,
            posted: plenty.plus(plenty).money(),
            leased: plenty,
            credit_limit: Amount::ZERO,
            status: AccountStatus::Active,
        },
        lots: vec![lot(1, LotKind::Paid), lot(2, LotKind::Promo)],
        uses: BTreeMap::from([(LIMIT, use_of_limit)]),
        leases: BTreeMap::from(leases),
    }
}

fn settlement(account: AccountId, call: u64, price: &Arc<PriceVersion>) -> Settlement {
    let hold = Amount::new(20_000_000);
    Settlement {
        call: CallId::new(i64::try_from(call).unwrap()),
        account,
        key: KeyId::new(1),
        node: NODE,
        model: price.model().clone(),
        terms: Terms::listed(price.clone()),
        tier: ServiceTier::Standard,
        attributes: Attributes::NONE,
        basis: Basis::Delivered {
            usage: usage(),
            source: UsageSource::Provider,
        },
        bounds: UsageBounds {
            prompt_tokens: 200_000,
            answer_tokens: 100_000,
        },
        held: vec![(BudgetScope::Wallet, hold), (LIMIT, hold)],
        promised: None,
        facts: CallFacts {
            endpoint: "chat.completions".to_owned(),
            outcome: "completed".to_owned(),
            streamed: false,
            status: 200,
            upstream_id: None,
            finish_reason: None,
            started_at: START,
            first_byte_ms: None,
            latency_ms: 1,
            attempts: Vec::new(),
            idempotency_key: None,
        },
    }
}
