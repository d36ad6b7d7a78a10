//! One lease of one budget: what is leased, what of it is held, and what the store last said.

use time::Duration;

use super::decision::{Order, Refusal, RefusalCause};
use super::policy::{LeasePolicy, Sizing};
use crate::budget::{Amount, BudgetScope};
use crate::id::AccountId;
use crate::lease::{CLAIM_FOR, LeaseGrant, LeaseSeq};
use crate::steady::Steady;

/// For how long a call may keep from others what it waits with. Long enough for others to give it
/// the rest; so that nodes that each have a part of what both need do not swap it for ever.
const KEEP_FOR: Duration = CLAIM_FOR;

/// A node's share of one budget.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slice {
    /// Reserved for this node in the store and not charged yet.
    leased: Amount,
    /// The part of `leased` that is under open holds.
    held: Amount,
    /// What the store was told or asked last and has not answered. There is one at a time.
    errand: Option<Errand>,
    /// What the store said last, while that is believed.
    word: Option<Word>,
    /// What other nodes want of it, to be given back as soon as the store has answered.
    recalled: Amount,
    /// Since when others want what a call here waits with.
    kept_since: Option<Steady>,
    /// What was charged lately.
    spent: Spent,
}

/// What the store said of a budget.
#[derive(Debug, Clone, Copy)]
struct Word {
    available: Amount,
    elsewhere: Amount,
    believed_until: Steady,
}

/// A message to the store that is to be answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errand {
    seq: LeaseSeq,
    kind: ErrandKind,
    /// How often it went unanswered.
    failures: u32,
    /// When it is to be repeated; `None` while it is under way.
    repeat_at: Option<Steady>,
}

#[derive(Debug, Clone, Copy)]
enum ErrandKind {
    Lease {
        needed: Amount,
        wanted: Amount,
        under_way: bool,
    },
    GiveBack {
        amount: Amount,
    },
}

/// What was charged in the present half of a horizon and in the one before.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    half: i64,
    now: Amount,
    before: Amount,
}

impl Slice {
    pub(super) const fn leased(&self) -> Amount {
        self.leased
    }

    pub(super) const fn held(&self) -> Amount {
        self.held
    }

    /// Whether an answer of the store is outstanding.
    pub(super) const fn is_asked(&self) -> bool {
        self.errand.is_some()
    }

    /// Whether the store has been asked in vain.
    pub(super) fn is_cut_off(&self) -> bool {
        self.errand.is_some_and(|errand| errand.failures > 0)
    }

    pub(super) const fn free(&self) -> Amount {
        self.leased.less(self.held)
    }

    pub(super) const fn hold(&mut self, amount: Amount) {
        self.held = self.held.plus(amount);
    }

    pub(super) const fn free_up(&mut self, amount: Amount) {
        self.held = self.held.less(amount);
    }

    /// A part of the lease was charged. What is held is covered first.
    pub(super) fn spend(&mut self, amount: Amount, policy: LeasePolicy, now: Steady) {
        self.leased = self.leased.less(amount).max(self.held);
        if let Sizing::Demand { horizon } = policy.sizing {
            self.spent.add(amount, horizon, now);
        }
    }

    /// The store granted; `false` when that was not what it was asked last.
    pub(super) fn grant(
        &mut self,
        seq: LeaseSeq,
        grant: LeaseGrant,
        policy: LeasePolicy,
        now: Steady,
    ) -> bool {
        let is_lease = |e: &Errand| e.seq == seq && matches!(e.kind, ErrandKind::Lease { .. });
        if !self.errand.as_ref().is_some_and(is_lease) {
            return false;
        }
        self.errand = None;
        self.leased = self.leased.plus(grant.granted);
        let believed_for = if grant.elsewhere.is_zero() {
            policy.dry_for
        } else {
            policy.recheck_after
        };
        self.word = Some(Word {
            available: grant.available,
            elsewhere: grant.elsewhere,
            believed_until: now.saturating_add(believed_for),
        });
        true
    }

    /// The store has what was given back; `false` when that was not what it was told last.
    pub(super) fn returned(&mut self, seq: LeaseSeq) -> bool {
        let is_return = |e: &Errand| e.seq == seq && matches!(e.kind, ErrandKind::GiveBack { .. });
        let heard = self.errand.as_ref().is_some_and(is_return);
        if heard {
            self.errand = None;
            // It has more now than it said.
            self.word = None;
        }
        heard
    }

    /// No answer came: says when to repeat. `None` when the store was not asked that.
    pub(super) fn unanswered(
        &mut self,
        seq: LeaseSeq,
        policy: LeasePolicy,
        now: Steady,
    ) -> Option<Steady> {
        let errand = self.errand.as_mut().filter(|e| e.seq == seq)?;
        let pause = policy
            .repeat_after
            .saturating_mul(2_i32.saturating_pow(errand.failures.min(5)));
        let repeat_at = now.saturating_add(pause);
        errand.failures = errand.failures.saturating_add(1);
        errand.repeat_at = Some(repeat_at);
        self.word = None;
        Some(repeat_at)
    }

    /// The store may have more than it said.
    pub(super) const fn doubt(&mut self) {
        self.word = None;
    }

    /// When time alone makes a difference to a call that waits for this budget.
    pub(super) fn due(&self) -> Option<Steady> {
        match self.errand {
            Some(errand) => errand.repeat_at,
            None => self.word.map(|word| word.believed_until),
        }
    }

    /// When an errand is to be repeated.
    pub(super) fn repeat_due(&self) -> Option<Steady> {
        self.errand.and_then(|errand| errand.repeat_at)
    }

    /// The errand again, when its time has come.
    pub(super) fn repeat(&mut self, now: Steady) -> Option<Errand> {
        let errand = self.errand.as_mut()?;
        errand.repeat_at.filter(|at| *at <= now)?;
        errand.repeat_at = None;
        Some(*errand)
    }

    /// Others want a part of it: it goes back when the store is free to hear of it.
    pub(super) fn recall(&mut self, wanted: Amount) {
        self.recalled = self.recalled.max(wanted);
    }

    /// What is to be given back now. What the first call in line has of it, and waits with for
    /// the rest of what it needs, is kept from others, but not for long.
    pub(super) fn give_back(
        &mut self,
        waits_with: Amount,
        now: Steady,
        seq: &mut LeaseSeq,
    ) -> Option<Errand> {
        if waits_with.is_zero() {
            self.kept_since = None;
        }
        if self.errand.is_some() || self.recalled.is_zero() {
            return None;
        }
        let since = *self.kept_since.get_or_insert(now);
        let kept = if now < since.saturating_add(KEEP_FOR) {
            waits_with
        } else {
            Amount::ZERO
        };
        let recalled = std::mem::take(&mut self.recalled);
        let amount = self.free().less(kept).min(recalled);
        if amount.is_zero() {
            return None;
        }
        self.leased = self.leased.less(amount);
        self.word = None;
        Some(self.send(seq, ErrandKind::GiveBack { amount }))
    }

    /// What the store is known to have, while its word is believed.
    fn believed(&self, now: Steady) -> Option<Word> {
        self.word.filter(|word| now < word.believed_until)
    }

    /// What is missing for a demand of a call that holds `own` already; `None` when it fits.
    pub(super) fn shortfall(
        &self,
        scope: BudgetScope,
        needed: Amount,
        own: Amount,
        now: Steady,
    ) -> Option<Shortfall> {
        if self.free() >= needed {
            return None;
        }
        let word = self.believed(now);
        let missing = needed.less(self.free());
        let in_store = word.map_or(Amount::ZERO, |word| word.available.plus(word.elsewhere));
        let store_may_help = self.is_asked() || word.is_none() || in_store >= missing;
        // What the call itself holds does not come free while it goes on.
        let left = self.leased.less(own).plus(in_store);
        Some(Shortfall {
            scope,
            needed,
            left,
            store_may_help,
        })
    }

    /// Asks the store for what a demand lacks; `None` when asking is of no use now.
    pub(super) fn ask(
        &mut self,
        (demand, under_way): (Amount, bool),
        policy: LeasePolicy,
        now: Steady,
        seq: &mut LeaseSeq,
    ) -> Option<Errand> {
        let needed = demand.less(self.free());
        let hopeless = self
            .believed(now)
            .is_some_and(|word| word.available < needed);
        if needed.is_zero() || self.errand.is_some() || hopeless {
            return None;
        }
        let wanted = match policy.sizing {
            Sizing::All => Amount::MAX,
            Sizing::Demand { horizon } => self.target(demand, horizon, now).less(self.free()),
        };
        let wanted = wanted.max(needed);
        let kind = ErrandKind::Lease {
            needed,
            wanted,
            under_way,
        };
        Some(self.send(seq, kind))
    }

    /// What should be free so that the store need not be asked again soon: a few calls of this
    /// size, as many as run now, and what a horizon uses.
    fn target(&self, demand: Amount, horizon: Duration, now: Steady) -> Amount {
        let few = demand.plus(demand).plus(demand).plus(demand);
        few.plus(self.held).plus(self.spent.lately(horizon, now))
    }

    fn send(&mut self, seq: &mut LeaseSeq, kind: ErrandKind) -> Errand {
        *seq = seq.next();
        let errand = Errand {
            seq: *seq,
            kind,
            failures: 0,
            repeat_at: None,
        };
        self.errand = Some(errand);
        errand
    }
}

impl Errand {
    /// As the shell is told of it.
    pub(super) const fn order(self, account: AccountId, scope: BudgetScope) -> Order {
        let seq = self.seq;
        match self.kind {
            ErrandKind::Lease {
                needed,
                wanted,
                under_way,
            } => Order::Lease {
                account,
                scope,
                seq,
                needed,
                wanted,
                under_way,
            },
            ErrandKind::GiveBack { amount } => Order::GiveBack {
                account,
                scope,
                seq,
                amount,
            },
        }
    }
}

impl Spent {
    fn add(&mut self, amount: Amount, horizon: Duration, now: Steady) {
        *self = self.at(horizon, now);
        self.now = self.now.plus(amount);
    }

    fn lately(self, horizon: Duration, now: Steady) -> Amount {
        let here = self.at(horizon, now);
        here.now.plus(here.before)
    }

    /// The same sums, seen from an instant.
    fn at(self, horizon: Duration, now: Steady) -> Self {
        let length = horizon.whole_seconds().max(2) >> 1;
        let half = now.after_origin().whole_seconds().div_euclid(length);
        match half.saturating_sub(self.half) {
            0 => self,
            1 => Self {
                half,
                now: Amount::ZERO,
                before: self.now,
            },
            _ => Self {
                half,
                ..Self::default()
            },
        }
    }
}

/// What keeps a demand from being held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shortfall {
    scope: BudgetScope,
    needed: Amount,
    left: Amount,
    /// Whether the store has more, or may have.
    pub(super) store_may_help: bool,
}

impl Shortfall {
    pub(super) const fn none(scope: BudgetScope) -> Self {
        let nothing = Amount::ZERO;
        Self {
            scope,
            needed: nothing,
            left: nothing,
            store_may_help: true,
        }
    }

    /// Whether neither the store nor the end of other calls can bring what is needed.
    pub(super) fn is_final(&self) -> bool {
        !self.store_may_help && self.left < self.needed
    }

    pub(super) const fn refusal(&self, cause: RefusalCause) -> Refusal {
        Refusal {
            scope: self.scope,
            needed: self.needed,
            left: self.left,
            cause,
        }
    }
}
