//! What the store does with what it hears, and what is checked of that.

use std::collections::BTreeMap;
use std::rc::Rc;

use billing_core::budget::Amount;
use billing_core::call::Basis;
use billing_core::id::AccountId;

use super::message::{Body, Handed, Reply, Request};
use super::page::SCOPES;
use super::plan::Price;
use super::setup::{MS, SILENCE};
use super::store::{NodeRow, Posted};
use super::{Event, Timer, World, plan, tiers};

/// Settlements of one account that are committed together, and who handed them in.
type Batch = Vec<(Rc<Request>, Rc<Handed>)>;

impl World {
    pub(super) fn store_hears(&mut self, request: &Rc<Request>) -> bool {
        let (now, who) = (self.now, request.who);
        self.trace.mark(request.id);
        self.trace.note(|| {
            format!(
                "{now:>9} store hears of node {who}: {:?}",
                Brief(&request.body)
            )
        });
        if self.away_until > now {
            match self.rng.below(10) {
                0 => {
                    // It was carried out, and nobody will be told.
                    self.tally.carried_out_unheard += 1;
                    if let Body::Settle { handed, .. } = &request.body {
                        self.settle(std::slice::from_ref(handed));
                    } else {
                        self.carry_out(request);
                    }
                }
                1..=4 => self.answer(request, Reply::Unavailable),
                _ => {}
            }
            return true;
        }
        if let Body::Settle { .. } = request.body {
            if self.gathered.is_empty() {
                let linger = self.rng.span(0, 4 * MS);
                self.later(linger, Event::Commit);
            }
            self.gathered.push(request.clone());
            return true;
        }
        let reply = self.carry_out(request);
        self.answer(request, reply);
        true
    }

    fn carry_out(&mut self, request: &Rc<Request>) -> Reply {
        let now = self.now;
        match &request.body {
            Body::Lease(ask) => {
                self.touched.0.push(ask.account);
                let (reply, claims) = self.store.lease(ask, now);
                if claims {
                    self.tally.claims_told += 1;
                    self.nudge(request.who, ask.account);
                }
                reply
            }
            Body::GiveBack(back) => {
                self.touched.0.push(back.account);
                self.store.give_back(back, now)
            }
            Body::Recalls => self.store.recalls(request.node, now),
            Body::Beat { clock, news } => self.store.beat(request.node, (*clock, *news), now),
            Body::Join { ended } => {
                self.store.join(request.node, *ended, request.who, now);
                let row = self.store.nodes.get(&request.node);
                let overtaken = row.is_some_and(|row| row.fenced.is_some());
                self.tally.nodes_overtaken += u64::from(overtaken);
                Reply::Done
            }
            Body::Leave(id) => {
                self.store.leave(*id, now);
                Reply::Done
            }
            Body::StillSettles(id) => {
                self.store.still_settles(*id, now);
                Reply::Done
            }
            Body::Fence { peer, pulse } => {
                if let Some(silent) = self.store.fence(*peer, *pulse, now) {
                    self.tally.fences_by_silence += 1;
                    if silent < SILENCE {
                        self.fail(|| {
                            format!("{peer} was fenced {silent} µs after it was heard of")
                        });
                    }
                }
                Reply::Done
            }
            Body::Reclaim { peer, account } => {
                self.touched.0.push(*account);
                let freed = self.store.reclaim(*peer, *account, now);
                self.tally.reclaimed_leases += u64::from(freed > 0);
                Reply::Done
            }
            // Settlements are gathered.
            Body::Settle { .. } => Reply::Unavailable,
        }
    }

    /// Tells the other nodes that one lacks something. Who does not hear of it looks now and then.
    fn nudge(&mut self, from: usize, account: AccountId) {
        let page = &self.store.pages[&account];
        let holds = |id| (0..SCOPES).any(|place| page.lease(id, place).is_some());
        let others = (0..self.nodes.len()).filter(|who| *who != from);
        let holders: Vec<usize> = others.filter(|who| holds(self.nodes[*who].id)).collect();
        for who in holders {
            if !self.is_lost(who) {
                let wait = self.delay();
                self.timer(who, wait, Timer::Nudge);
            }
        }
    }

    /// Commits what was gathered, account by account, and answers. In an outage it is either lost
    /// with its answers, or the answers alone are.
    pub(super) fn commit(&mut self) -> bool {
        let gathered = std::mem::take(&mut self.gathered);
        let away = self.away_until > self.now;
        if away && self.rng.chance(500) {
            return true;
        }
        let mut batches: BTreeMap<AccountId, Batch> = BTreeMap::new();
        for request in gathered {
            if let Body::Settle { handed, .. } = &request.body {
                let batch = batches.entry(handed.settlement.account).or_default();
                let handed = handed.clone();
                batch.push((request, handed));
            }
        }
        for batch in batches.into_values() {
            let handed: Vec<Rc<Handed>> = batch.iter().map(|(_, handed)| handed.clone()).collect();
            let posted = self.settle(&handed);
            for ((request, _), posted) in batch.iter().zip(posted) {
                if away {
                    self.tally.carried_out_unheard += 1;
                } else {
                    self.answer(request, Reply::Settled(posted.call));
                }
            }
        }
        true
    }

    fn settle(&mut self, batch: &[Rc<Handed>]) -> Vec<Posted> {
        if let Some(first) = batch.first() {
            self.touched.0.push(first.settlement.account);
        }
        let posted = self.store.settle(batch, self.now);
        for one in &posted {
            self.trace
                .mark(u64::try_from(one.call.charge.get()).unwrap_or(0));
            self.judge_settlement(one);
        }
        posted
    }

    /// What a call should cost, where it stands in tiers, and what its plan should pay of that; a
    /// call that used no more than it asked for never costs the wallet more than was held, unless more
    /// was settled meanwhile than a hold foresees.
    fn price(&mut self, posted: &Posted) -> Option<(u64, u64)> {
        let Posted { handed, call, .. } = posted;
        let settlement = &handed.settlement;
        let delivered = matches!(settlement.basis, Basis::Delivered { .. });
        let price = if call.quarantined {
            return Some((handed.price, 0));
        } else if settlement.terms.tiers.is_none() || !delivered {
            Price::whole(handed.price)
        } else {
            self.tally.tiered += 1;
            let page = self.store.pages.get_mut(&settlement.account)?;
            match page.windows.place(settlement, call, handed.tokens) {
                Ok(placed) => {
                    self.tally.crossed_thresholds += u64::from(placed.crosses);
                    self.tally.windows_of_tiers += u64::from(placed.opens);
                    self.tally.tiered_on_a_plan += u64::from(plan::is_held(settlement));
                    placed.price
                }
                Err(wrong) => {
                    self.fail(|| wrong);
                    return None;
                }
            }
        };
        let of_plan = plan::pays(settlement, price, handed.tokens);
        let due = price.nanos - of_plan;
        let counts = handed.tokens > 0 || !plan::is_held(settlement);
        let near = tiers::is_within_reach(settlement, call, handed.granted);
        self.tally.beyond_reach += u64::from(!near);
        if handed.fits && counts && near && due > handed.covered {
            self.fail(|| format!("{} costs {due}, {handed:?}", call.call));
        }
        Some((price.nanos, of_plan))
    }

    /// A settled call must have been charged what it was promised to be, unless its node was given
    /// up before it settled.
    fn judge_settlement(&mut self, posted: &Posted) {
        let Posted {
            handed,
            call,
            replayed,
            drawn,
            row,
        } = posted;
        if *replayed {
            self.tally.settlements_replayed += 1;
            return;
        }
        self.tally.settled += 1;
        let Some((price, promised_of_plan)) = self.price(posted) else {
            return;
        };
        let charge = u64::try_from(call.charge.get()).unwrap_or(0);
        let overrun = u64::try_from(call.overrun.get()).unwrap_or(0);
        self.tally.quarantined += u64::from(call.quarantined);
        let of_plan = call.covered.unwrap_or_default().get().unsigned_abs();
        let due = price.saturating_sub(of_plan);
        self.tally.beyond_hold += u64::from(due > handed.covered);
        self.tally.settled_after_fence +=
            u64::from(row.as_ref().is_some_and(|row| row.fenced.is_some()));
        if charge + overrun + of_plan != price {
            self.fail(|| {
                let parts = format!("{charge}, {overrun} and {of_plan}");
                format!("{}: {parts} are not {price}", call.call)
            });
        }
        // A call of a process that is dead, whose client never saw its end, was promised nothing.
        let is = |what: fn(&NodeRow) -> bool| row.as_ref().is_some_and(what);
        let unseen = is(|row| row.over) && !self.done.contains_key(&call.call);
        let excused = is(|row| row.given_up) || unseen;
        let promised = handed.settlement.promised.map(Amount::get);
        if promised.is_some_and(|promised| charge > promised) {
            self.fail(|| format!("{} was promised for {promised:?}: {call:?}", call.call));
        }
        let plan_gave_less = of_plan < promised_of_plan;
        if plan_gave_less && !excused {
            self.fail(|| format!("{} had {promised_of_plan} of its plan: {call:?}", call.call));
        }
        if promised.is_some() && of_plan > promised_of_plan {
            self.fail(|| format!("{} took more of its plan than it held: {call:?}", call.call));
        }
        self.tally.undercharged_when_given_up += u64::from(plan_gave_less && excused);
        if charge < due.min(handed.covered) {
            self.tally.undercharged_when_given_up += u64::from(excused);
            if !excused {
                self.fail(|| {
                    format!(
                        "{} cost {due} and was covered for {}, but charged {charge}: {call:?}",
                        call.call, handed.covered
                    )
                });
            }
        }
        let node = &mut self.nodes[handed.who];
        if node.id == handed.settlement.node && node.life == handed.life {
            for (place, part) in drawn.iter().enumerate().take(SCOPES) {
                *node
                    .drawn
                    .entry((handed.settlement.account, place))
                    .or_default() += part;
            }
            self.unheard
                .insert(call.call, (node.id, handed.settlement.account, *drawn));
        }
    }
}

/// A message in a few words.
struct Brief<'a>(&'a Body);

impl std::fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Body::Settle { handed, replay } = self.0 {
            let Handed {
                settlement, price, ..
            } = &**handed;
            return write!(
                f,
                "settle {} under {} held {:?} price {price} replay {replay}",
                settlement.call, settlement.node, settlement.held
            );
        }
        self.0.fmt(f)
    }
}
