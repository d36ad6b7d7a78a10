//! Rules of totals by plan, quota and member: whatever is grouped by, it adds up to one total.

use std::collections::BTreeMap;

use billing_core::adjustment::{Adjustment, CallPart};
use billing_core::budget::{Amount, BudgetScope, BudgetUnit};
use billing_core::call::{Basis, UsageSource};
use billing_core::id::{CallId, KeyId, LotId, PlanVersionId, UserId};
use billing_core::meter::{Meter, Usage};
use billing_core::money::{Currency, Nanos};
use billing_core::plan::Subscribed;
use billing_core::port::directory::Role;
use billing_core::port::reports::{About, NOBODY, UsageGroup, UsageLine};
use billing_core::price::ModelName;
use billing_core::quota::QuotaWindow;
use billing_core::settlement::SettledCall;
use billing_core::wallet::LotKind;
use time::{Duration, OffsetDateTime};

use crate::World;
use crate::contract::plans::{quota, subscribe, terms};
use crate::world::{NOON, api_key, hash, user};

/// What a line says, without its group: calls, void ones, answer tokens, charge, covered, drawn.
type Figures = (u64, u64, u64, i64, i64, u64);

/// A call that was settled, with all that it is grouped by.
#[derive(Debug)]
struct Made {
    member: String,
    plan: String,
    at: OffsetDateTime,
    tokens: Option<u64>,
    settled: SettledCall,
}

impl Made {
    /// What it drew of each quota.
    fn drawn(&self) -> Vec<(String, u64)> {
        // Quotas of a call without a plan are counted nowhere: its roll-up is of an earlier build.
        let used = self.settled.used.iter().filter(|_| self.plan != NOBODY);
        let drawn = used.filter_map(|(scope, taken)| {
            let BudgetScope::Quota { quota, .. } = scope else {
                return None;
            };
            Some((quota.to_string(), taken.get()))
        });
        drawn.filter(|(_, taken)| *taken > 0).collect()
    }

    fn figures(&self, drawn: u64, with_plan: bool) -> Figures {
        let covered = self.settled.covered.unwrap_or_default().get();
        (
            1,
            u64::from(self.tokens.is_none()),
            self.tokens.unwrap_or(0),
            self.settled.charge.get(),
            if with_plan { covered } else { 0 },
            drawn,
        )
    }
}

/// Under a plan with quotas, under one without, and under none; void, covered, split and paid by the
/// wallet; over any span of quarter hours. What was corrected later changes no total.
pub async fn every_grouping_adds_up_to_the_total(world: World) {
    world.top_up(1_000_000).await;
    world.lease(BudgetScope::Wallet, 500_000).await.unwrap();
    let keys = [
        (member_key(&world, "ada@example.com").await),
        (member_key(&world, "bob@example.com").await),
        (world.key, NOBODY.to_owned()),
    ];
    let plain = subscribe(&world, world.account, terms(Vec::new())).await;
    let ended = world.ports.plans.end(world.account, NOON).await;
    assert!(ended.unwrap());
    let quotas = vec![
        quota("m", BudgetUnit::Calls, 500, QuotaWindow::Daily),
        quota("m", BudgetUnit::Tokens, 9_000, QuotaWindow::Daily),
        quota("*", BudgetUnit::Nanos, 5_000, QuotaWindow::Monthly),
    ];
    let rich = subscribe(&world, world.account, terms(quotas)).await;
    for open in rich.all_open(NOON) {
        world.lease(open.scope, open.amount.get()).await.unwrap();
    }
    let mut made = Vec::new();
    let mut random = Random(20_261_124);
    for _ in 0..120 {
        made.push(settle_any(&world, &mut random, &keys, [&plain, &rich]).await);
    }
    correct(&world, made[0].settled.call).await;
    for (from, to) in [(0, 96), (0, 1), (3, 20), (20, 96), (95, 96)] {
        adds_up(&world, &made, from, to).await;
    }
    world.assert_sound().await;
}

/// Some call, at some time of a day.
async fn settle_any(
    world: &World,
    random: &mut Random,
    keys: &[(KeyId, String); 3],
    [plain, rich]: [&Subscribed; 2],
) -> Made {
    let mut call = world.call(400, 0);
    let (key, member) = &keys[random.below(3)];
    let minutes = i64::try_from(random.below(24 * 60)).unwrap();
    (call.key, call.facts.started_at) = (*key, NOON + Duration::minutes(minutes));
    call.model = ModelName::new(["m", "n"][random.below(2)]);
    let plan = [None, Some(plain), Some(rich)][random.below(3)];
    call.terms.plan = plan.map(|plan| plan.version);
    // What an earlier build settled names no plan, and draws its quotas all the same.
    let is_earlier = plan.is_none() && random.below(2) == 0;
    if is_earlier || plan.is_some_and(|plan| plan.version == rich.version) {
        let levels = rich.open(call.model.as_str(), NOON);
        let few = [5, 400][random.below(2)];
        call.held.extend(levels[0].iter().map(|quota| {
            let is_calls = quota.scope.unit() == BudgetUnit::Calls;
            (quota.scope, Amount::new(if is_calls { 1 } else { few }))
        }));
    }
    let tokens = u64::try_from(random.below(200)).unwrap();
    let tokens = (random.below(6) > 0).then_some(tokens);
    call.basis = tokens.map_or(Basis::Void, |tokens| Basis::Delivered {
        usage: Usage::NONE.with(Meter::Output, tokens),
        source: UsageSource::Provider,
    });
    let plan = call.terms.plan.map(|plan| plan.to_string());
    Made {
        member: member.clone(),
        plan: plan.unwrap_or_else(|| NOBODY.to_owned()),
        at: call.facts.started_at,
        tokens,
        settled: world.settle(call).await.call,
    }
}

async fn adds_up(world: &World, made: &[Made], from: i64, to: i64) {
    let at = |quarters| NOON + Duration::minutes(15 * quarters);
    let (from, to) = (at(from), at(to));
    let read = async |group| {
        let reports = &world.ports.reports;
        reports.usage(world.account, from, to, group).await.unwrap()
    };
    let total = read(UsageGroup::Total).await.remove(0);
    let made = || made.iter().filter(|made| (from..to).contains(&made.at));
    let expected = grouped(made().map(|m| (String::new(), m.figures(0, false))));
    let whole = figures(&total);
    assert_eq!(expected.get("").copied().unwrap_or_default(), whole);
    for group in [UsageGroup::Model, UsageGroup::Key, UsageGroup::Member] {
        let lines = read(group).await;
        let sum = lines.iter().map(figures).fold(Figures::default(), plus);
        assert_eq!(sum, whole, "{group:?}");
    }
    let by_member = grouped(made().map(|m| (m.member.clone(), m.figures(0, false))));
    assert_eq!(named(&read(UsageGroup::Member).await), by_member);
    let by_plan = grouped(made().map(|m| (m.plan.clone(), m.figures(0, m.plan != NOBODY))));
    let lines = read(UsageGroup::Plan).await;
    assert_eq!(named(&lines), by_plan);
    let mut sum = lines.iter().map(figures).fold(Figures::default(), plus);
    sum.4 = 0;
    assert_eq!(sum, whole);
    let by_quota = grouped(made().flat_map(|m| {
        let mut parts = m.drawn();
        if parts.is_empty() {
            parts.push((NOBODY.to_owned(), 0));
        }
        parts.into_iter().map(|(quota, drawn)| {
            let is_drawn = quota != NOBODY;
            (quota, m.figures(drawn, is_drawn))
        })
    }));
    let lines = read(UsageGroup::Quota).await;
    assert_eq!(named(&lines), by_quota);
    // Whoever drew several is in several lines; the line of nobody is what all of them leave.
    let drew = made().filter(|m| !m.drawn().is_empty());
    let drew = drew.map(|m| m.figures(0, false));
    let rest = lines.iter().filter(|line| line.group == NOBODY);
    let sum = drew.chain(rest.map(figures));
    assert_eq!(sum.fold(Figures::default(), plus), whole);
}

fn grouped(parts: impl Iterator<Item = (String, Figures)>) -> BTreeMap<String, Figures> {
    let mut groups = BTreeMap::new();
    for (group, more) in parts {
        let sum: &mut Figures = groups.entry(group).or_default();
        *sum = plus(*sum, more);
    }
    groups
}

fn named(lines: &[UsageLine]) -> BTreeMap<String, Figures> {
    let named: BTreeMap<_, _> = lines
        .iter()
        .map(|line| (line.group.clone(), figures(line)))
        .collect();
    assert_eq!(named.len(), lines.len(), "a line a group: {lines:?}");
    named
}

fn figures(line: &UsageLine) -> Figures {
    let (covered, drawn) = match &line.about {
        Some(About::Plan { covered, .. }) => (covered.get(), 0),
        Some(About::Quota { covered, drawn, .. }) => (covered.get(), drawn.get()),
        Some(About::Member(_)) | None => (0, 0),
    };
    (
        line.calls,
        line.void_calls,
        line.answer_tokens,
        line.charge.get(),
        covered,
        drawn,
    )
}

fn plus(a: Figures, b: Figures) -> Figures {
    (
        a.0 + b.0,
        a.1 + b.1,
        a.2 + b.2,
        a.3 + b.3,
        a.4 + b.4,
        a.5 + b.5,
    )
}

/// As people know them: an address, a plan's code and number, what a quota says. Those of nobody come
/// last.
pub async fn lines_say_what_they_are_of(world: World) {
    let (key, ada) = member_key(&world, "ada@example.com").await;
    let tokens = vec![quota("m*", BudgetUnit::Tokens, 50, QuotaWindow::Daily)];
    let subscribed = subscribe(&world, world.account, terms(tokens)).await;
    let scope = subscribed.all_open(NOON)[0].scope;
    world.lease(scope, 50).await.unwrap();
    world.settle(world.call(0, 0)).await;
    let mut call = world.call(0, 30);
    call.held.push((scope, Amount::new(40)));
    (call.key, call.terms.plan) = (key, Some(subscribed.version));
    world.settle(call).await;
    let read = async |group| {
        let end = NOON + Duration::hours(1);
        let reports = &world.ports.reports;
        let lines = reports.usage(world.account, NOON, end, group).await;
        lines
            .unwrap()
            .into_iter()
            .map(|line| (line.group, line.about))
            .collect::<Vec<_>>()
    };
    let nobody = (NOBODY.to_owned(), None);
    let member = Some(About::Member("ada@example.com".to_owned()));
    let members = read(UsageGroup::Member).await;
    assert_eq!(members, [(ada, member), nobody.clone()]);
    let plan = billing_core::port::reports::PlanName {
        code: subscribed.code.clone(),
        version: 1,
    };
    let covered = Nanos::new(30);
    let about = About::Plan {
        plan: plan.clone(),
        covered,
    };
    let version: PlanVersionId = subscribed.version;
    let plans = read(UsageGroup::Plan).await;
    assert_eq!(plans, [(version.to_string(), Some(about)), nobody.clone()]);
    let about = About::Quota {
        plan,
        models: "m*".parse().unwrap(),
        unit: BudgetUnit::Tokens,
        window: QuotaWindow::Daily,
        drawn: Amount::new(30),
        covered,
    };
    let quota = subscribed.quotas[0].id.to_string();
    let quotas = read(UsageGroup::Quota).await;
    assert_eq!(quotas, [(quota, Some(about)), nobody]);
}

/// A key of a new member of the account, and the member.
async fn member_key(world: &World, email: &str) -> (KeyId, String) {
    let directory = &world.ports.directory;
    let id = UserId::new(world.number());
    directory
        .create_user(user(id, email), "hash")
        .await
        .unwrap();
    let added = directory.add_member(world.account, id, Role::Member).await;
    added.unwrap();
    let number = world.number();
    let mut key = api_key(KeyId::new(number), world.account);
    key.member = Some(id);
    directory.create_key(key, hash(number)).await.unwrap();
    (KeyId::new(number), id.to_string())
}

async fn correct(world: &World, call: CallId) {
    let amount = Nanos::new(7);
    let adjustment = Adjustment {
        key: "correct".to_owned(),
        amount,
        currency: Currency::USD,
        lot: LotId::new(world.number()),
        kind: LotKind::Paid,
        calls: vec![CallPart {
            call,
            amount,
            after: 0,
            window: None,
        }],
        note: "a wrong price".to_owned(),
        takes_what_is_there: true,
    };
    let adjusted = world.books().adjust(world.account, adjustment, world.now());
    adjusted.await.unwrap();
}

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}
