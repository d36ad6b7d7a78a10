//! Books that are slow, away or forgetful: every call ends in time, and is charged once.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use async_trait::async_trait;
use billing_core::adjustment::{AdjustedSoFar, Adjustment};
use billing_core::budget::BudgetScope;
use billing_core::id::{AccountId, CallId, NodeId, TierScheduleId};
use billing_core::lease::{LeaseAsk, LeaseGrant, LeaseReturn, Recall};
use billing_core::lease_book::{HoldAsk, LeasePolicy};
use billing_core::port::books::{
    AccountProof, Adjusted, Books, Credited, Lapsed, Lapsing, OpenWindow, Settled,
};
use billing_core::tier_schedule::TierSchedule;
use billing_core::wallet::{Credit, Lot, Wallet};
use testkit::world::NOON;
use testkit::{ManualClock, Memory, MemorySpool, Ports, World};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::gate::Prices;
use crate::gate::replay::{Progress, Round};

const PATIENCE: Duration = Duration::from_millis(100);
const HELD: u64 = 100;
const DUE: u64 = 40;

/// What the books do with a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// Take it.
    Answer,
    /// Take it, and say so much later.
    Slow,
    /// Take it, and say that they did not.
    Lost,
    /// Do not take it.
    Away,
    /// Say nothing at all.
    Hang,
}

#[derive(Debug)]
struct Moody {
    books: Arc<Memory>,
    mood: Mutex<Mood>,
}

impl Moody {
    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }
}

fn unavailable() -> BooksError {
    BooksError::Unavailable("away".into())
}

#[async_trait]
impl Books for Moody {
    async fn settle(&self, settlement: Arc<Settlement>) -> Result<Settled, BooksError> {
        match self.mood() {
            Mood::Answer => self.books.settle(settlement).await,
            Mood::Slow => {
                let settled = self.books.settle(settlement).await;
                tokio::time::sleep(PATIENCE * 5).await;
                settled
            }
            Mood::Lost => {
                self.books.settle(settlement).await?;
                Err(unavailable())
            }
            Mood::Away => Err(unavailable()),
            Mood::Hang => std::future::pending().await,
        }
    }

    async fn lease(&self, ask: LeaseAsk) -> Result<LeaseGrant, BooksError> {
        self.books.lease(ask).await
    }

    async fn give_back(&self, lease: LeaseReturn) -> Result<(), BooksError> {
        self.books.give_back(lease).await
    }

    async fn recalls(&self, node: NodeId) -> Result<Vec<Recall>, BooksError> {
        self.books.recalls(node).await
    }

    async fn add_credit(
        &self,
        account: AccountId,
        credit: Credit,
        now: OffsetDateTime,
    ) -> Result<Credited, BooksError> {
        self.books.add_credit(account, credit, now).await
    }

    async fn adjust(
        &self,
        account: AccountId,
        adjustment: Adjustment,
        now: OffsetDateTime,
    ) -> Result<Adjusted, BooksError> {
        self.books.adjust(account, adjustment, now).await
    }

    async fn lapsing(
        &self,
        by: OffsetDateTime,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Lapsing>, BooksError> {
        self.books.lapsing(by, after, limit).await
    }

    async fn lapse(&self, account: AccountId, now: OffsetDateTime) -> Result<Lapsed, BooksError> {
        self.books.lapse(account, now).await
    }

    async fn lots(&self, account: AccountId, limit: u32) -> Result<Vec<Lot>, BooksError> {
        self.books.lots(account, limit).await
    }

    async fn adjustments(
        &self,
        account: AccountId,
        calls: &[CallId],
    ) -> Result<BTreeMap<CallId, AdjustedSoFar>, BooksError> {
        self.books.adjustments(account, calls).await
    }

    async fn open_windows(
        &self,
        schedule: TierScheduleId,
        before: i64,
        limit: u32,
    ) -> Result<Vec<OpenWindow>, BooksError> {
        self.books.open_windows(schedule, before, limit).await
    }

    async fn last_closed(
        &self,
        account: AccountId,
        schedule: TierScheduleId,
    ) -> Result<Option<i64>, BooksError> {
        self.books.last_closed(account, schedule).await
    }

    async fn note_windows(
        &self,
        account: AccountId,
        schedule: &TierSchedule,
        window_starts: &[i64],
    ) -> Result<(), BooksError> {
        self.books
            .note_windows(account, schedule, window_starts)
            .await
    }

    async fn close_window(
        &self,
        window: &OpenWindow,
        adjustment: Option<Adjustment>,
        now: OffsetDateTime,
    ) -> Result<Option<Adjusted>, BooksError> {
        self.books.close_window(window, adjustment, now).await
    }

    async fn wallet(&self, account: AccountId) -> Result<Wallet, BooksError> {
        self.books.wallet(account).await
    }

    async fn verify(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountProof>, BooksError> {
        self.books.verify(after, limit).await
    }
}

struct Scene {
    world: World,
    moody: Arc<Moody>,
    spool: Arc<MemorySpool>,
    leases: Arc<Leases>,
    replay: Arc<Replay>,
}

impl Scene {
    /// An account with funds for twenty calls, and books in this mood.
    async fn new(mood: Mood) -> Self {
        let clock = ManualClock::at(NOON);
        let memory = Arc::new(Memory::new(Arc::new(clock.clone())));
        let ports = Ports::of(memory.clone(), clock.clone(), ());
        let world = World::new(ports).await;
        world.top_up(20 * i64::try_from(HELD).unwrap()).await;
        let moody = Arc::new(Moody {
            books: memory.clone(),
            mood: Mutex::new(mood),
        });
        let books: Arc<dyn Books> = moody.clone();
        let spool = Arc::new(MemorySpool::new(1000));
        let leases = Arc::new(Leases::new(
            Arc::clone(&books),
            Arc::new(clock.clone()),
            TaskTracker::new(),
            world.node,
            LeasePolicy::default(),
        ));
        let prices = Arc::new(Prices::load(memory).await.unwrap());
        let port: Arc<dyn billing_core::port::spool::Spool> = spool.clone();
        let replay = Arc::new(Replay::new(port, books, prices, Arc::new(clock), PATIENCE));
        Self {
            world,
            moody,
            spool,
            leases,
            replay,
        }
    }

    fn set(&self, mood: Mood) {
        *self.moody.mood.lock().unwrap() = mood;
    }

    /// A call that holds its funds and is over.
    async fn call(&self, due: u64) -> Settlement {
        let settlement = self.world.call(HELD, due);
        let ask = HoldAsk {
            account: settlement.account,
            call: settlement.call,
            demands: settlement.held.clone(),
            wait_until: self.leases.now(),
        };
        self.leases.hold(ask).await.unwrap();
        settlement
    }

    async fn ends(&self, settlement: Settlement) -> (Result<Paid, BooksError>, Duration) {
        let start = Instant::now();
        let paid = self.replay.hand_in(settlement, &self.leases).await;
        (paid, start.elapsed())
    }

    /// Replays until nothing waits; says how many left the spool.
    async fn replays(&self) -> u64 {
        let (mut progress, mut took) = (Progress::default(), 0);
        loop {
            match self.replay.round(&mut progress, Some(&self.leases)).await {
                Round::Took(calls) => took += calls,
                Round::Empty => return took,
                Round::Away | Round::Kept => tokio::time::sleep(PATIENCE / 10).await,
            }
        }
    }

    async fn posted(&self) -> i64 {
        let wallet = self.world.books().wallet(self.world.account).await;
        wallet.unwrap().posted.get()
    }

    /// What was charged in all.
    async fn charged(&self) -> u64 {
        let funds = 20 * i64::try_from(HELD).unwrap();
        u64::try_from(funds - self.posted().await).unwrap()
    }

    async fn is_proved(&self) -> bool {
        let proofs = self.world.books().verify(None, 10).await.unwrap();
        proofs.iter().all(|proof| proof.broken.is_empty())
    }

    fn held(&self, call: &Settlement) -> bool {
        !self.leases.held_by(call.account, call.call).1.is_empty()
    }
}

fn nanos(amount: u64) -> Nanos {
    Amount::new(amount).money()
}

/// Whatever the books do, and whether or not they did it: the caller is told in time, and what it
/// is told is what is charged.
#[tokio::test]
async fn a_call_ends_in_time_and_is_charged_once_whatever_the_books_do() {
    for mood in [Mood::Answer, Mood::Slow, Mood::Lost, Mood::Away, Mood::Hang] {
        let scene = Scene::new(mood).await;
        for number in 1..=4_u64 {
            let call = scene.call(DUE).await;
            let (paid, took) = scene.ends(call.clone()).await;
            assert_eq!(paid.unwrap().charge, Some(nanos(DUE)), "{mood:?}");
            assert!(took < PATIENCE * 3, "{mood:?}: {took:?}");
            let is_first = number == 1;
            assert!(
                is_first || took < PATIENCE,
                "{mood:?} are waited for again: {took:?}"
            );
            assert_eq!(scene.held(&call), mood != Mood::Answer, "{mood:?}");
        }
        scene.set(Mood::Answer);
        let spooled = if mood == Mood::Answer { 0 } else { 4 };
        assert_eq!(scene.spool_size(), spooled, "{mood:?}");
        assert_eq!(scene.replays().await, spooled, "{mood:?}");
        assert_eq!(scene.charged().await, 4 * DUE, "{mood:?}");
        assert!(scene.is_proved().await, "{mood:?}");
        let (paid, _) = scene.ends(scene.call(DUE).await).await;
        assert_eq!(paid.unwrap().charge, Some(nanos(DUE)));
        assert_eq!(scene.spool_size(), 0, "{mood:?}: the books are asked again");
    }
}

impl Scene {
    fn spool_size(&self) -> u64 {
        self.replay.backlog().entries
    }
}

/// Until the books have them, spooled calls keep what they were promised for: nobody else spends
/// it. The rest of what they held is free at once.
#[tokio::test]
async fn what_spooled_calls_cost_stays_reserved_until_the_books_have_them() {
    let scene = Scene::new(Mood::Away).await;
    let mut calls = Vec::new();
    for _ in 0..20 {
        let call = scene.call(DUE).await;
        scene.ends(call.clone()).await.0.unwrap();
        calls.push(call);
    }
    let ask = |call: &Settlement| HoldAsk {
        account: call.account,
        call: call.call,
        demands: call.held.clone(),
        wait_until: scene.leases.now(),
    };
    let rest = scene.world.call(20 * (HELD - DUE), DUE);
    scene.leases.hold(ask(&rest)).await.unwrap();
    let more = scene.world.call(1, 1);
    let refused = scene.leases.hold(ask(&more));
    assert!(
        tokio::time::timeout(PATIENCE, refused)
            .await
            .is_ok_and(|held| held.is_err())
    );
    scene.set(Mood::Answer);
    assert_eq!(scene.replays().await, 20);
    assert!(calls.iter().all(|call| !scene.held(call)));
    scene.leases.released(rest.account, rest.call);
    scene.leases.hold(ask(&more)).await.unwrap();
}

/// A node that was cut off is taken for dead, and another wants all there is. What its clients saw
/// is charged all the same, and only then are its leases free.
#[tokio::test]
async fn what_a_fenced_node_has_spooled_is_charged_in_full() {
    let scene = Scene::new(Mood::Away).await;
    let (world, before) = (&scene.world, scene.world.node);
    for _ in 0..20 {
        scene.ends(scene.call(DUE).await).await.0.unwrap();
    }
    let silent = world.nodes().nodes().await.unwrap()[0].pulse;
    world.nodes().fence(before, silent, NOON).await.unwrap();
    let other = world.join("other").await;
    let everything = LeaseAsk {
        node: other,
        ..world.ask(BudgetScope::Wallet, 20 * HELD, 20 * HELD)
    };
    let granted = world.books().lease(everything).await.unwrap().granted;
    assert_eq!(granted, Amount::ZERO);
    scene.leases.rejoined(world.join("again").await);
    assert!(!scene.leases.owe_nothing_under(before));
    scene.set(Mood::Answer);
    assert_eq!(scene.replays().await, 20);
    assert_eq!(scene.charged().await, 20 * DUE);
    assert!(scene.leases.owe_nothing_under(before));
    assert!(scene.is_proved().await);
}

/// A call that outgrew its hold: books that were never asked are bound by what was said.
#[tokio::test]
async fn a_call_that_outgrew_its_hold_costs_what_its_caller_was_told() {
    let scene = Scene::new(Mood::Away).await;
    scene.ends(scene.call(DUE).await).await.0.unwrap();
    let (paid, _) = scene.ends(scene.call(HELD + 50).await).await;
    assert_eq!(paid.unwrap().charge, Some(nanos(HELD)));
    scene.set(Mood::Answer);
    scene.replays().await;
    assert_eq!(scene.charged().await, DUE + HELD);
    // Books that answer may find more than the hold.
    scene.world.top_up(30).await;
    let (paid, _) = scene.ends(scene.call(HELD + 50).await).await;
    assert_eq!(paid.unwrap().charge, Some(nanos(HELD + 30)));
}

/// Neither books nor disk: the call waits with what it holds, new ones are refused, and it ends
/// with whichever comes back.
#[tokio::test]
async fn a_full_disk_refuses_new_calls_and_loses_none() {
    for disk_first in [true, false] {
        let scene = Scene::new(Mood::Away).await;
        scene.spool.set_full(true);
        let call = scene.call(DUE).await;
        let (replay, leases) = (Arc::clone(&scene.replay), Arc::clone(&scene.leases));
        let waiting = call.clone();
        let ending =
            TaskTracker::new().spawn(async move { replay.hand_in(waiting, &leases).await });
        while !scene.replay.has_no_room() {
            tokio::time::sleep(PATIENCE / 10).await;
        }
        assert!(!ending.is_finished() && scene.held(&call));
        if disk_first {
            scene.spool.set_full(false);
        } else {
            scene.set(Mood::Answer);
        }
        assert_eq!(ending.await.unwrap().unwrap().charge, Some(nanos(DUE)));
        assert!(!scene.replay.has_no_room(), "disk first: {disk_first}");
        scene.set(Mood::Answer);
        scene.spool.set_full(false);
        scene.replays().await;
        assert_eq!(scene.charged().await, DUE);
    }
}

/// The disk fills up once calls are in the spool: the books take them all the same, once.
#[tokio::test]
async fn a_spool_that_cannot_forget_does_not_charge_again() {
    let scene = Scene::new(Mood::Away).await;
    for _ in 0..3 {
        scene.ends(scene.call(DUE).await).await.0.unwrap();
    }
    scene.spool.set_full(true);
    scene.set(Mood::Answer);
    let mut progress = Progress::default();
    for _ in 0..3 {
        scene.replay.round(&mut progress, Some(&scene.leases)).await;
    }
    assert_eq!((scene.charged().await, scene.spool_size()), (3 * DUE, 3));
    // A process that starts anew knows nothing of the progress.
    scene.replay.round(&mut Progress::default(), None).await;
    scene.spool.set_full(false);
    assert_eq!(scene.replays().await, 3);
    assert_eq!((scene.charged().await, scene.spool_size()), (3 * DUE, 0));
    assert!(scene.is_proved().await);
}

/// One that can never be charged is set apart with the reason, and the others go on.
#[tokio::test]
async fn what_can_never_be_charged_is_set_apart() {
    let scene = Scene::new(Mood::Away).await;
    let mut nobody = scene.world.call(HELD, DUE);
    nobody.account = AccountId::new(77);
    let mut unpriced = scene.world.call(HELD, DUE);
    unpriced.terms.price = Arc::new(testkit::world::price(
        billing_core::id::PriceVersionId::new(12345),
        "never recorded",
        NOON,
    ));
    for call in [nobody.clone(), unpriced.clone(), scene.call(DUE).await] {
        scene.ends(call).await.0.unwrap();
    }
    scene.set(Mood::Answer);
    scene.replays().await;
    assert_eq!((scene.charged().await, scene.spool_size()), (DUE, 0));
    let spool: &dyn billing_core::port::spool::Spool = &*scene.spool;
    let parked = spool.parked(10).await.unwrap();
    let why: Vec<(_, &str)> = parked.iter().map(|p| (p.call, p.why.as_str())).collect();
    assert_eq!(why.len(), 2, "{why:?}");
    assert!(
        why.iter()
            .any(|(call, why)| *call == nobody.call && why.contains("no such account"))
    );
    assert!(
        why.iter()
            .any(|(call, why)| *call == unpriced.call && why.contains("never recorded"))
    );
    // Books that answer say so at once; it is kept for a person all the same.
    let mut nobody = scene.world.call(HELD, DUE);
    nobody.account = AccountId::new(78);
    assert!(scene.ends(nobody).await.0.is_err());
    assert_eq!(spool.backlog().parked, 3);
}

/// The job wakes up when a call is put.
#[tokio::test]
async fn the_spool_is_followed_until_told_to_stop() {
    let scene = Scene::new(Mood::Away).await;
    let stop = CancellationToken::new();
    let (replay, leases, until) = (scene.replay.clone(), scene.leases.clone(), stop.clone());
    let job = TaskTracker::new().spawn(async move { replay.follow(&leases, &until).await });
    scene.ends(scene.call(DUE).await).await.0.unwrap();
    scene.set(Mood::Answer);
    scene.replay.emptied().await;
    assert_eq!(scene.charged().await, DUE);
    stop.cancel();
    job.await.unwrap();
}
