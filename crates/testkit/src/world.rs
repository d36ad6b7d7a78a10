//! A small world for a test: an account with a key, a node, a model that costs a nano a token.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use billing_core::budget::{Amount, BudgetScope, LimitWindow};
use billing_core::call::{Attempt, Basis, CallFacts, Settlement, UsageBounds, UsageSource};
use billing_core::id::{AccountId, CallId, KeyId, LotId, NodeId, PriceVersionId, UserId};
use billing_core::lease::{LeaseAsk, LeaseGrant, LeaseReturn, LeaseSeq};
use billing_core::meter::{Meter, Usage};
use billing_core::money::{Currency, Nanos};
use billing_core::port::books::{Books, BooksError, Settled};
use billing_core::port::catalogue::{Catalogue, PriceEdition};
use billing_core::port::clock::Clock;
use billing_core::port::coupons::Coupons;
use billing_core::port::directory::{
    Account, AccountTerms, ApiKey, Directory, DirectoryError, KeyLimit, SecretHash, User,
};
use billing_core::port::invoices::Invoices;
use billing_core::port::messages::Messages;
use billing_core::port::nodes::{NodeJoin, Nodes, NodesError, Replaces};
use billing_core::port::orders::Orders;
use billing_core::port::plans::Plans;
use billing_core::port::proofs::Proofs;
use billing_core::port::reports::Reports;
use billing_core::port::subscriptions::{Collector, Subscriptions};
use billing_core::price::{Attributes, ModelName, PriceVersion, Rate, ServiceTier};
use billing_core::price_book::ModelFacts;
use billing_core::terms::Terms;
use billing_core::wallet::{AccountStatus, Credit, LotKind};
use time::OffsetDateTime;
use time::macros::datetime;

use crate::ManualClock;

/// The ports under test, over one set of books.
pub struct Ports {
    /// Handles on the same books; more than one where several nodes can have them.
    pub books: Vec<Arc<dyn Books>>,
    /// Handles on the record of nodes of the same store.
    pub nodes: Vec<Arc<dyn Nodes>>,
    /// Who is who.
    pub directory: Arc<dyn Directory>,
    /// What costs what.
    pub catalogue: Arc<dyn Catalogue>,
    /// What can be subscribed to.
    pub plans: Arc<dyn Plans>,
    /// Who is billed for it.
    pub subscriptions: Arc<dyn Subscriptions>,
    /// What they ask for.
    pub orders: Arc<dyn Orders>,
    /// What their fees are paid with.
    pub collector: Arc<dyn Collector>,
    /// What asks for these fees on paper.
    pub invoices: Arc<dyn Invoices>,
    /// What comes off them.
    pub coupons: Arc<dyn Coupons>,
    /// What is told of it.
    pub messages: Arc<dyn Messages>,
    /// What can be looked up.
    pub reports: Arc<dyn Reports>,
    /// What is proved.
    pub proofs: Arc<dyn Proofs>,
    /// The clock that the books were opened with.
    pub clock: ManualClock,
    /// What lives as long as the test: a folder, a database.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl Ports {
    /// One store that is all of them; `keep` lives as long as the test.
    pub fn of<T>(store: Arc<T>, clock: ManualClock, keep: impl Any + Send + Sync) -> Self
    where
        T: Books
            + Nodes
            + Directory
            + Catalogue
            + Plans
            + Subscriptions
            + Orders
            + Collector
            + Invoices
            + Coupons
            + Messages
            + Reports
            + Proofs
            + 'static,
    {
        Self {
            books: vec![store.clone()],
            nodes: vec![store.clone()],
            directory: store.clone(),
            catalogue: store.clone(),
            plans: store.clone(),
            subscriptions: store.clone(),
            orders: store.clone(),
            collector: store.clone(),
            invoices: store.clone(),
            coupons: store.clone(),
            messages: store.clone(),
            reports: store.clone(),
            proofs: store,
            clock,
            keep: Box::new(keep),
        }
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports")
            .field("books", &self.books.len())
            .finish_non_exhaustive()
    }
}

/// Noon of the day on which most tests happen.
pub const NOON: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

/// Two accounts' worth of set scenery over [`Ports`].
#[derive(Debug)]
pub struct World {
    /// The ports.
    pub ports: Ports,
    /// An account without funds.
    pub account: AccountId,
    /// Its key, without a limit.
    pub key: KeyId,
    /// A node that has joined.
    pub node: NodeId,
    /// One nano for each output token, two for each input token.
    pub price: Arc<PriceVersion>,
    next: AtomicI64,
}

impl World {
    /// Sets the scene.
    pub async fn new(ports: Ports) -> Self {
        let price = Arc::new(price(PriceVersionId::new(900), "m", NOON));
        let edition = PriceEdition {
            source: "test".to_owned(),
            versions: vec![((*price).clone(), ModelFacts::default())],
            ..PriceEdition::default()
        };
        ports.catalogue.record(edition, NOON).await.unwrap();
        let mut world = Self {
            ports,
            account: AccountId::new(1),
            key: KeyId::new(2),
            node: NodeId::new(3),
            price,
            next: AtomicI64::new(1000),
        };
        world.account = world.new_account(0).await;
        world.key = world.new_key(world.account, None).await;
        world.node = world.join("node").await;
        world
    }

    /// The books.
    pub fn books(&self) -> &dyn Books {
        self.ports.books.first().unwrap().as_ref()
    }

    /// A number that was not used yet.
    pub fn number(&self) -> i64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    /// What the clock shows.
    pub fn now(&self) -> OffsetDateTime {
        self.ports.clock.now()
    }

    /// Another account in dollars.
    pub async fn new_account(&self, credit_limit: u64) -> AccountId {
        let id = AccountId::new(self.number());
        let account = account(id, credit_limit);
        self.ports.directory.create_account(account).await.unwrap();
        id
    }

    /// Sets the terms of the account, whatever they are.
    ///
    /// # Errors
    /// Those of the directory.
    pub async fn set_terms(
        &self,
        status: AccountStatus,
        credit_limit: Amount,
    ) -> Result<Account, DirectoryError> {
        let directory = &self.ports.directory;
        let before = directory.account(self.account).await?.unwrap();
        let terms = AccountTerms {
            status,
            credit_limit,
        };
        let now = self.now();
        directory
            .update_account(self.account, before.terms(), terms, now)
            .await
    }

    /// Another key.
    pub async fn new_key(&self, account: AccountId, limit: Option<u64>) -> KeyId {
        let number = self.number();
        let mut key = api_key(KeyId::new(number), account);
        key.limit = limit.map(|amount| KeyLimit {
            amount: Amount::new(amount),
            window: LimitWindow::Lifetime,
        });
        let hash = hash(number);
        self.ports.directory.create_key(key, hash).await.unwrap();
        KeyId::new(number)
    }

    /// The record of nodes.
    pub fn nodes(&self) -> &dyn Nodes {
        self.ports.nodes.first().unwrap().as_ref()
    }

    /// What a node of this name and a new id says of itself.
    pub fn newcomer(&self, name: &str, replaces: Replaces) -> NodeJoin {
        NodeJoin {
            node: NodeId::new(self.number()),
            name: name.to_owned(),
            replaces,
            now: self.now(),
        }
    }

    /// Another node; one that had its name has ended, and what it had is free again.
    pub async fn join(&self, name: &str) -> NodeId {
        let mut join = self.newcomer(name, Replaces::Nobody);
        if let Err(NodesError::NameTaken(holder)) = self.nodes().join(join.clone()).await {
            join.replaces = Replaces::Ended(holder.node);
            self.nodes().join(join.clone()).await.unwrap();
        }
        self.reclaim().await;
        join.node
    }

    /// Frees all that nodes that are gone have on lease; says how many leases.
    pub async fn reclaim(&self) -> u64 {
        let mut leases = 0;
        loop {
            let reclaimed = self.nodes().reclaim(100).await.unwrap();
            leases += reclaimed.leases;
            if !reclaimed.more {
                return leases;
            }
        }
    }

    /// Pays into the account.
    pub async fn top_up(&self, nanos: i64) {
        let number = self.number();
        let credit = credit(number, nanos, &format!("top-up {number}"));
        self.books()
            .add_credit(self.account, credit, self.now())
            .await
            .unwrap();
    }

    /// Asks for exactly this much of a budget for the node.
    pub async fn lease(&self, scope: BudgetScope, nanos: u64) -> Result<LeaseGrant, BooksError> {
        self.books().lease(self.ask(scope, nanos, nanos)).await
    }

    /// Gives a part of the node's lease back.
    pub async fn give_back(&self, scope: BudgetScope, nanos: u64) {
        let back = LeaseReturn {
            node: self.node,
            account: self.account,
            scope,
            seq: self.seq(),
            amount: Amount::new(nanos),
        };
        self.books().give_back(back).await.unwrap();
    }

    /// A wish of the node for a slice of the account's budget.
    pub fn ask(&self, scope: BudgetScope, needed: u64, wanted: u64) -> LeaseAsk {
        LeaseAsk {
            node: self.node,
            account: self.account,
            scope,
            seq: self.seq(),
            needed: Amount::new(needed),
            wanted: Amount::new(wanted),
            under_way: false,
        }
    }

    /// The number of the next ask or return.
    pub fn seq(&self) -> LeaseSeq {
        LeaseSeq::new(self.number().unsigned_abs())
    }

    /// A call of the account that is over: so many nanos held of the wallet, so many due.
    pub fn call(&self, held: u64, due: u64) -> Settlement {
        Settlement {
            call: CallId::new(self.number()),
            account: self.account,
            key: self.key,
            node: self.node,
            model: ModelName::new("m"),
            terms: Terms::listed(Arc::clone(&self.price)),
            tier: ServiceTier::Standard,
            attributes: Attributes::NONE,
            basis: Basis::Delivered {
                usage: Usage::NONE.with(Meter::Output, due),
                source: UsageSource::Provider,
            },
            bounds: UsageBounds {
                prompt_tokens: 1_000_000_000_000,
                answer_tokens: 1_000_000_000_000,
            },
            held: vec![(BudgetScope::Wallet, Amount::new(held))],
            promised: None,
            facts: facts(self.now()),
        }
    }

    /// Settles a call.
    pub async fn settle(&self, call: Settlement) -> Settled {
        self.books().settle(Arc::new(call)).await.unwrap()
    }

    /// Takes from the wallet what a call holds, then settles it.
    pub async fn lease_and_settle(&self, held: u64, due: u64) -> Settled {
        self.lease(BudgetScope::Wallet, held).await.unwrap();
        self.settle(self.call(held, due)).await
    }

    /// The balance of the account and what is leased of it.
    pub async fn balance(&self) -> (i64, u64) {
        let wallet = self.books().wallet(self.account).await.unwrap();
        (wallet.posted.get(), wallet.leased.get())
    }

    /// Proves all books.
    pub async fn assert_sound(&self) {
        for proof in self.books().verify(None, 1000).await.unwrap() {
            assert_eq!(proof.broken, Vec::<String>::new(), "{}", proof.account);
        }
    }
}

/// A price of one nano for each output token and two for each input token.
pub fn price(id: PriceVersionId, model: &str, from: OffsetDateTime) -> PriceVersion {
    let rate = |meter, price: &str| Rate {
        meter,
        tier: ServiceTier::Standard,
        above: None,
        price: price.parse().unwrap(),
    };
    let rates = vec![
        rate(Meter::Input, "0.000000002"),
        rate(Meter::Output, "0.000000001"),
    ];
    PriceVersion::new(id, ModelName::new(model), Currency::USD, from, rates).unwrap()
}

/// An account in dollars.
pub fn account(id: AccountId, credit_limit: u64) -> Account {
    Account {
        id,
        name: "Ada's".to_owned(),
        currency: Currency::USD,
        zone: "Europe/Berlin".to_owned(),
        status: AccountStatus::Active,
        credit_limit: Amount::new(credit_limit),
        created_at: NOON,
    }
}

/// A key without a limit.
pub fn api_key(id: KeyId, account: AccountId) -> ApiKey {
    ApiKey {
        id,
        account,
        member: None,
        name: "test".to_owned(),
        visible_prefix: "tg-abc".to_owned(),
        limit: None,
        models: Vec::new(),
        cap_output: false,
        created_at: NOON,
        expires_at: None,
        revoked_at: None,
    }
}

/// A user.
pub fn user(id: UserId, email: &str) -> User {
    User {
        id,
        email: email.to_owned(),
        operator: false,
        created_at: NOON,
    }
}

/// The hash of some secret.
pub fn hash(number: i64) -> SecretHash {
    let mut hash = [7; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    SecretHash(hash)
}

/// Bought dollars.
pub fn credit(lot: i64, nanos: i64, key: &str) -> Credit {
    Credit {
        lot: LotId::new(lot),
        kind: LotKind::Paid,
        amount: Nanos::new(nanos),
        currency: Currency::USD,
        priority: 0,
        expires_at: None,
        key: key.to_owned(),
        note: "thanks".to_owned(),
    }
}

fn facts(now: OffsetDateTime) -> CallFacts {
    CallFacts {
        endpoint: "chat.completions".to_owned(),
        outcome: "completed".to_owned(),
        streamed: true,
        status: 200,
        upstream_id: Some("chatcmpl-1".to_owned()),
        finish_reason: Some("stop".to_owned()),
        started_at: now,
        first_byte_ms: Some(12),
        latency_ms: 34,
        attempts: vec![Attempt {
            channel: "sim".to_owned(),
            status: Some(200),
            outcome: "ok".to_owned(),
            latency_ms: 33,
        }],
        idempotency_key: None,
    }
}
