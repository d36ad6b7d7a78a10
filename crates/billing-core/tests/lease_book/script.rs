//! What may happen, as data: a script shrinks, and its printed form is the failing case.

use std::fmt;

use proptest::prelude::*;

/// How an account begins, in nanos.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) paid: u64,
    pub(crate) promo: u64,
    pub(crate) credit: u64,
    pub(crate) limit: u64,
}

/// One event. A `pick` chooses among what there is, and does nothing where there is nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// A call wants a hold on the wallet (0), wallet and key limit (1), or the limit alone (2).
    Authorize {
        seat: usize,
        account: usize,
        on: u8,
        amount: u64,
        patience: i64,
    },
    /// A call under way wants to hold more.
    Extend {
        pick: usize,
        amount: u64,
        patience: i64,
    },
    /// The store hears one of the wishes, in any order.
    Hear { pick: usize },
    /// A wish never reaches the store, or its answer never comes back.
    Lose { pick: usize, answer: bool },
    /// One of the store's answers arrives, in any order.
    Arrive { pick: usize },
    /// A part of a lease that was given back reaches the store.
    Return { pick: usize },
    /// A call ends with so much of its hold used, in percent; the node hears of it later.
    Settle { pick: usize, percent: u64 },
    /// A call ends with nothing delivered.
    Void { pick: usize },
    /// A settled call is settled again.
    Repeat { pick: usize },
    /// A node hears what became of a settlement.
    Acknowledge { pick: usize },
    /// A call ends before anything was asked of the store.
    Release { pick: usize },
    /// Time goes on.
    Pass { seconds: i64 },
    /// A node looks at the time.
    Tick { seat: usize },
    /// Credit is added; the nodes are told at once, or never.
    TopUp {
        account: usize,
        amount: u64,
        told: bool,
    },
    /// The store wants a part of a lease back.
    Recall {
        seat: usize,
        account: usize,
        limit: bool,
        amount: u64,
    },
    /// A node dies, and another takes its place.
    Crash { seat: usize },
    /// A node was silent for so long that the store took it for dead; it comes back.
    Fence { seat: usize },
}

/// A whole run.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) seats: usize,
    pub(crate) slice: u64,
    /// Whether holds lapse while their calls go on.
    pub(crate) lapses: bool,
    pub(crate) accounts: Vec<Opening>,
    pub(crate) steps: Vec<Step>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seats,
            slice,
            lapses,
            ..
        } = self;
        writeln!(f, "seats {seats}, slice {slice}, lapses {lapses}")?;
        self.accounts
            .iter()
            .try_for_each(|opening| writeln!(f, "  {opening:?}"))?;
        self.steps
            .iter()
            .try_for_each(|step| writeln!(f, "    {step:?}"))
    }
}

fn opening() -> impl Strategy<Value = Opening> {
    (0..400_u64, 0..100_u64, 0..100_u64, 50..500_u64).prop_map(|(paid, promo, credit, limit)| {
        Opening {
            paid,
            promo,
            credit,
            limit,
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let pick = 0..64_usize;
    let (seat, account) = (0..3_usize, 0..3_usize);
    let patience = prop_oneof![Just(0_i64), 1..8_i64];
    prop_oneof![
        8 => (seat.clone(), account.clone(), 0..3_u8, 0..150_u64, patience.clone()).prop_map(
            |(seat, account, on, amount, patience)| Step::Authorize {
                seat, account, on, amount, patience
            }
        ),
        2 => (pick.clone(), 1..80_u64, patience)
            .prop_map(|(pick, amount, patience)| Step::Extend { pick, amount, patience }),
        8 => pick.clone().prop_map(|pick| Step::Hear { pick }),
        1 => (pick.clone(), any::<bool>()).prop_map(|(pick, answer)| Step::Lose { pick, answer }),
        8 => pick.clone().prop_map(|pick| Step::Arrive { pick }),
        3 => pick.clone().prop_map(|pick| Step::Return { pick }),
        5 => (pick.clone(), prop_oneof![Just(100_u64), 0..100_u64, 100..400_u64])
            .prop_map(|(pick, percent)| Step::Settle { pick, percent }),
        1 => pick.clone().prop_map(|pick| Step::Void { pick }),
        2 => pick.clone().prop_map(|pick| Step::Repeat { pick }),
        6 => pick.clone().prop_map(|pick| Step::Acknowledge { pick }),
        1 => pick.prop_map(|pick| Step::Release { pick }),
        3 => (1..6_i64).prop_map(|seconds| Step::Pass { seconds }),
        3 => seat.clone().prop_map(|seat| Step::Tick { seat }),
        1 => (account.clone(), 1..200_u64, any::<bool>())
            .prop_map(|(account, amount, told)| Step::TopUp { account, amount, told }),
        2 => (seat.clone(), account, any::<bool>(), 1..200_u64)
            .prop_map(|(seat, account, limit, amount)| Step::Recall { seat, account, limit, amount }),
        1 => seat.clone().prop_map(|seat| Step::Crash { seat }),
        1 => seat.prop_map(|seat| Step::Fence { seat }),
    ]
}

/// Any run of two or three accounts on one to three nodes.
pub(crate) fn scripts(lapses: bool) -> impl Strategy<Value = Script> {
    let slice = prop_oneof![Just(u64::MAX), 1..120_u64];
    let accounts = prop::collection::vec(opening(), 2..=3);
    let steps = prop::collection::vec(step(), 1..120);
    (1..=3_usize, slice, accounts, steps).prop_map(move |(seats, slice, accounts, steps)| Script {
        seats,
        slice,
        lapses,
        accounts,
        steps,
    })
}
