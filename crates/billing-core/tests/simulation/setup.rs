//! What one seed means: how many nodes and accounts, and what goes wrong how often.

use billing_core::budget::Amount;
use billing_core::lease_book::{LeasePolicy, Sizing, StaleRule, Staleness};
use time::Duration;

use super::flaw::Flaw;
use super::rng::Rng;

/// Microseconds of the simulation's own time, which no node sees.
pub(crate) type Micros = i64;

pub(crate) const MS: Micros = 1_000;
pub(crate) const SECOND: Micros = 1_000_000;
/// How long a message can be under way. Rows of empty leases are kept for longer.
pub(crate) const LONGEST: Micros = 2_000 * MS;
/// How often a node says that it is alive.
pub(crate) const BEAT: Micros = 80 * MS;
/// For how long a node must have been silent to be taken for dead.
pub(crate) const SILENCE: Micros = 500 * MS;
/// For how long the leases of a node that was taken for dead are kept for it.
pub(crate) const KEEP: Micros = 600 * MS;
/// For how long a node trusts a confirmation.
pub(crate) const FRESH: Micros = 300 * MS;
/// After how long a node gives a request up.
pub(crate) const TIMEOUT: Micros = 120 * MS;
/// Within how long what others do not need must have been recalled.
pub(crate) const RECALL: Micros = 1_000 * MS;

/// What a seed means.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) flaw: Flaw,
    pub(crate) nodes: usize,
    pub(crate) accounts: usize,
    pub(crate) policy: LeasePolicy,
    /// Nothing goes wrong: what must not be refused can be told exactly.
    pub(crate) calm: bool,
    /// Of a thousand messages, how many are lost, come twice, and come late.
    pub(crate) lost: u64,
    pub(crate) twice: u64,
    pub(crate) late: u64,
    /// The mean time between calls, and between faults of each kind; 0 never.
    pub(crate) calls_every: Micros,
    pub(crate) credits_every: Micros,
    /// How often a node looks for what others lack.
    pub(crate) recalls_every: Micros,
    pub(crate) crashes_every: Micros,
    pub(crate) pauses_every: Micros,
    /// A whole machine stands still, its clocks too.
    pub(crate) standstills_every: Micros,
    /// A wall clock is set, which harms nobody, in calm neither.
    pub(crate) steps_every: Micros,
    pub(crate) cuts_every: Micros,
    pub(crate) outages_every: Micros,
    /// How far the wall clocks of the nodes are apart when they start.
    pub(crate) skew: Micros,
    /// The largest worst case of a call.
    pub(crate) largest: u64,
    /// What a wall clock that is right shows when a day, a week and a month begin.
    pub(crate) midnight: Micros,
}

impl Setup {
    pub(crate) fn draw(rng: &mut Rng, flaw: Flaw) -> Self {
        let nodes = rng.one_of(&[1, 2, 2, 3, 3, 4, 5]);
        let calm = rng.chance(200);
        let trouble = |rng: &mut Rng, often: u64, low: Micros, high: Micros| {
            let on = rng.chance(often) && !calm;
            let every = rng.span(low, high) * MS;
            if on { every } else { 0 }
        };
        let rate = |rng: &mut Rng, highest: u64| {
            let on = rng.chance(600) && !calm;
            let rate = rng.between(1, highest);
            if on { rate } else { 0 }
        };
        Self {
            flaw,
            nodes,
            accounts: rng.one_of(&[1, 1, 2, 3]),
            policy: policy(rng, nodes, flaw),
            calm,
            lost: rate(rng, 80),
            twice: rate(rng, 100),
            late: rate(rng, 80),
            calls_every: rng.one_of(&[4, 8, 15, 40]) * MS,
            credits_every: rng.one_of(&[100, 300, 1_000]) * MS,
            recalls_every: rng.one_of(&[50, 250]) * MS,
            crashes_every: trouble(rng, 600, 300, 3_000),
            pauses_every: trouble(rng, 500, 200, 2_000),
            standstills_every: trouble(rng, 300, 200, 2_000),
            steps_every: rng.one_of(&[0, 100, 1_000]) * MS,
            cuts_every: trouble(rng, 500, 200, 2_000),
            outages_every: trouble(rng, 400, 400, 3_000),
            skew: rng.one_of(&[0, 50, 5_000, 600_000]) * MS,
            largest: rng.one_of(&[20, 60, 150]),
            midnight: rng.span(0, 6_000) * MS,
        }
    }
}

fn policy(rng: &mut Rng, nodes: usize, flaw: Flaw) -> LeasePolicy {
    let horizon = Duration::seconds(rng.one_of(&[2, 4, 10]));
    let sizing = if nodes == 1 && rng.chance(700) {
        Sizing::All
    } else {
        Sizing::Demand { horizon }
    };
    let wallet = if rng.chance(300) {
        StaleRule::UpTo(Amount::new(40))
    } else {
        StaleRule::Refuse
    };
    let staleness = Staleness {
        fresh_for: Duration::microseconds(FRESH),
        wallet,
        limits: StaleRule::Refuse,
        quotas: StaleRule::Refuse,
    };
    let looks = nodes > 1 && flaw != Flaw::IgnoresStaleness;
    LeasePolicy {
        sizing,
        dry_for: Duration::milliseconds(rng.one_of(&[100, 400, 1_000])),
        recheck_after: Duration::milliseconds(rng.one_of(&[20, 50])),
        repeat_after: Duration::milliseconds(rng.one_of(&[20, 60, 100])),
        max_waiting: rng.one_of(&[4, 16, 64]),
        idle_after: Duration::milliseconds(rng.one_of(&[150, 600, 2_000])),
        hold_for: Duration::hours(2),
        staleness: looks.then_some(staleness),
    }
}
