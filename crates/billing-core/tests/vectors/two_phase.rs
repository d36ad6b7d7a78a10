//! Two-phase transfers, told in the words of this crate.
//!
//! Their debit account is a customer, their credit account the house's income. A pending transfer
//! is a hold in a lease book: it moves nothing posted. Posting is the settlement of the call that
//! holds, voiding its release. `debits_pending` is what is held, `debits_posted` what the wallet
//! paid, `credits_posted` what the journal credits to income; a hold has one side, so
//! `credits_pending` is the hold seen from the other end. A second phase that comes again changes
//! nothing: the call is on record, and its hold is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::call::{Basis, CallFacts, Settlement, UsageBounds, UsageSource};
use billing_core::id::{AccountId, CallId, KeyId, LedgerTxnId, LotId, NodeId, PriceVersionId};
use billing_core::lease::LeaseGrant;
use billing_core::lease_book::{Decision, Held, HoldAsk, LeaseBook, LeasePolicy, Order};
use billing_core::ledger::LedgerCode;
use billing_core::meter::{Meter, Usage};
use billing_core::money::{Currency, Nanos};
use billing_core::price::{Attributes, ModelName, PriceVersion, Rate, ServiceTier};
use billing_core::settlement::{AccountState, Booking, Changes, settle};
use billing_core::steady::Steady;
use billing_core::terms::Terms;
use billing_core::wallet::{AccountStatus, Lot, LotKind, Wallet};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::text;

const ACCOUNT: AccountId = AccountId::new(1);
const NODE: NodeId = NodeId::new(1);
const WALLET: BudgetScope = BudgetScope::Wallet;
const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const NOW: Steady = Steady::ORIGIN;
/// The accounts of the cases have no limit; a wallet has, and this one is far.
const FUNDS: Amount = Amount::new(1_000_000);

struct Ledger {
    book: LeaseBook,
    opening: AccountState,
    /// Every settlement that was handed in, repetitions too.
    posts: Vec<Settlement>,
    voided: BTreeSet<CallId>,
}

pub(crate) fn run(input: &Value, expected: &Value) {
    let mut ledger = Ledger::open();
    let ops = input["ops"].as_array().unwrap();
    let results: Vec<Value> = ops.iter().map(|op| json!(ledger.apply(op))).collect();
    assert_eq!(json!(results), expected["results"]);

    let (pending, paid, earned) = ledger.balances();
    let (debtor, creditor) = (&expected["accounts"]["A"], &expected["accounts"]["B"]);
    for (account, wanted) in [
        (debtor, [pending, paid, 0, 0]),
        (creditor, [0, 0, pending, earned]),
    ] {
        let names = [
            "debits_pending",
            "debits_posted",
            "credits_pending",
            "credits_posted",
        ];
        for (name, units) in names.into_iter().zip(wanted) {
            assert_eq!(text(&account[name]), units.to_string(), "{name}");
        }
    }
}

impl Ledger {
    fn open() -> Self {
        let wallet = Wallet {
            currency: Currency::USD,
            posted: FUNDS.money(),
            leased: FUNDS,
            credit_limit: Amount::ZERO,
            status: AccountStatus::Active,
        };
        let lot = Lot {
            id: LotId::new(1),
            kind: LotKind::Paid,
            priority: 0,
            effective_at: START,
            expires_at: None,
            created_at: START,
            granted: FUNDS,
            remaining: FUNDS,
        };
        Self {
            book: book_of_all(),
            opening: AccountState {
                account: ACCOUNT,
                wallet,
                lots: vec![lot],
                uses: BTreeMap::new(),
                leases: BTreeMap::from([((NODE, WALLET), FUNDS)]),
            },
            posts: Vec::new(),
            voided: BTreeSet::new(),
        }
    }

    fn apply(&mut self, op: &Value) -> &'static str {
        let units = || Amount::new(text(&op["amount"]).parse().unwrap());
        let pending = || CallId::new(op["pending_id"].as_i64().unwrap());
        match text(&op["kind"]) {
            "pending" => {
                assert_eq!((&op["debit"], &op["credit"]), (&json!("A"), &json!("B")));
                self.hold(CallId::new(op["id"].as_i64().unwrap()), units())
            }
            "post" => self.post(pending(), units()),
            "void" => self.void(pending()),
            other => panic!("unknown kind {other}"),
        }
    }

    fn hold(&mut self, call: CallId, units: Amount) -> &'static str {
        let ask = HoldAsk {
            account: ACCOUNT,
            call,
            demands: vec![(WALLET, units)],
            wait_until: NOW,
        };
        match self.book.authorize(ask, NOW) {
            Decision::Held => "ok",
            Decision::Waiting | Decision::Refused(_) => "exceeds_credits",
        }
    }

    fn post(&mut self, call: CallId, units: Amount) -> &'static str {
        let held = self.book.held_by(ACCOUNT, call).map(|h| h.parts.to_vec());
        if held.as_ref().is_some_and(|held| held[0].1 < units) {
            return "exceeds_pending_transfer_amount";
        }
        let result = if held.is_some() {
            "ok"
        } else {
            self.resolved(call)
        };
        self.posts
            .push(settlement(call, held.unwrap_or_default(), units));
        let settled = self.settled().calls.pop().unwrap();
        if let Some(post) = self.posts.last().filter(|_| result == "ok") {
            let held = Held {
                node: post.node,
                parts: &post.held,
            };
            self.book.settled(ACCOUNT, call, held, &settled.used, NOW);
        }
        result
    }

    fn void(&mut self, call: CallId) -> &'static str {
        if self.book.held_by(ACCOUNT, call).is_none() {
            return self.resolved(call);
        }
        self.book.released(ACCOUNT, call, NOW);
        self.voided.insert(call);
        "ok"
    }

    /// How a call whose hold is gone had ended.
    fn resolved(&self, call: CallId) -> &'static str {
        if self.voided.contains(&call) {
            return "pending_transfer_already_voided";
        }
        assert!(self.posts.iter().any(|post| post.call == call));
        "pending_transfer_already_posted"
    }

    /// The books after everything that was handed in, as one batch.
    fn settled(&self) -> Changes {
        let txn = LedgerTxnId::new(1);
        settle(
            self.opening.clone(),
            &self.posts,
            Booking { txn, now: START },
        )
        .unwrap()
    }

    /// What is held, what the wallet paid, what was earned.
    fn balances(&self) -> (i64, i64, i64) {
        let (leased, held) = self.book.leased(ACCOUNT, WALLET);
        assert_eq!(self.book.broken_invariant(), None);
        let Changes { state, txn, .. } = self.settled();
        // What is not paid is on lease again, and free.
        assert_eq!(
            (leased, leased.money()),
            (state.wallet.leased, state.wallet.posted)
        );
        let paid = FUNDS.money().minus(state.wallet.posted).unwrap();
        let entries = txn
            .iter()
            .flat_map(billing_core::ledger::LedgerTxn::entries);
        let income = entries.filter(|e| e.code == LedgerCode::RevenueUsage);
        let earned: Nanos = income.map(|e| e.amount).next().unwrap_or_default();
        (held.money().get(), paid.get(), -earned.get())
    }
}

/// A call that used so many units, each a nano.
fn settlement(call: CallId, held: Vec<(BudgetScope, Amount)>, units: Amount) -> Settlement {
    let rate = Rate {
        meter: Meter::Input,
        tier: ServiceTier::Standard,
        above: None,
        price: "0.000000001".parse().unwrap(),
    };
    let (id, model) = (PriceVersionId::new(1), ModelName::new("m"));
    let price = PriceVersion::new(id, model.clone(), Currency::USD, START, vec![rate]).unwrap();
    Settlement {
        call,
        account: ACCOUNT,
        key: KeyId::new(1),
        node: NODE,
        model,
        terms: Terms::listed(Arc::new(price)),
        tier: ServiceTier::Standard,
        attributes: Attributes::NONE,
        basis: Basis::Delivered {
            usage: Usage::NONE.with(Meter::Input, units.get()),
            source: UsageSource::Provider,
        },
        bounds: UsageBounds {
            prompt_tokens: FUNDS.get(),
            answer_tokens: 0,
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
            started_at: START,
            first_byte_ms: None,
            latency_ms: 1,
            attempts: Vec::new(),
            idempotency_key: None,
        },
    }
}

/// A book that has all funds on lease.
fn book_of_all() -> LeaseBook {
    let mut book = LeaseBook::new(LeasePolicy::default(), NODE);
    let call = CallId::new(-1);
    let ask = HoldAsk {
        account: ACCOUNT,
        call,
        demands: vec![(WALLET, FUNDS)],
        wait_until: NOW,
    };
    assert_eq!(book.authorize(ask, NOW), Decision::Waiting);
    let grant = LeaseGrant {
        granted: FUNDS,
        ..LeaseGrant::default()
    };
    for order in book.take_orders() {
        if let Order::Lease { scope, seq, .. } = order {
            book.granted(ACCOUNT, scope, seq, grant, NOW);
        }
    }
    book.released(ACCOUNT, call, NOW);
    book.take_orders();
    book
}
