//! How calls end, and what their nodes hear of it.

use billing_core::budget::Amount;
use billing_core::call::{Basis, CallFacts, Settlement, UsageBounds, UsageSource};
use billing_core::id::KeyId;
use billing_core::meter::{Meter, Usage};
use billing_core::price::ServiceTier;
use time::OffsetDateTime;

use super::{Ack, Open, World, chosen, taken};
use crate::store::Flaw;

impl World {
    pub(super) fn settle(&mut self, pick: usize, percent: Option<u64>) -> bool {
        let Some(open) = taken(&mut self.opens, pick) else {
            return false;
        };
        let settlement = self.settlement(&open, percent);
        let Settlement {
            node,
            account,
            call,
            ..
        } = settlement;
        let rows: Vec<Amount> = settlement
            .held
            .iter()
            .map(|(s, _)| self.store.row(node, account, *s))
            .collect();
        let posted = self.store.settle(&settlement, self.now);
        if posted.replayed {
            self.wrong = Some(format!("{call} was settled before"));
        }
        let used = posted.call.used.clone();
        let from_lease = settlement
            .held
            .iter()
            .zip(rows)
            .map(|((scope, held), row)| {
                let drawn = used.iter().find(|(s, _)| s == scope);
                (
                    *scope,
                    drawn.map_or(Amount::ZERO, |(_, a)| a.min(held).min(&row).to_owned()),
                )
            });
        let from_lease = from_lease.collect();
        let mine = self.seats[open.seat].node == node;
        let held = if mine {
            settlement.held.clone()
        } else {
            Vec::new()
        };
        self.settled.push((settlement, posted.call.charge));
        if !open.lost {
            let node = self.seats[open.seat].node;
            self.acks.push(Ack {
                seat: open.seat,
                node,
                account,
                call,
                held,
                used,
                from_lease,
            });
        }
        true
    }

    /// What the shell hands in: under the node whose lease holds the call, if one still does.
    fn settlement(&self, open: &Open, percent: Option<u64>) -> Settlement {
        let seat = &self.seats[open.seat];
        let now_held = seat
            .book
            .held_by(open.account, open.call)
            .unwrap_or_default();
        let (node, held) = if open.lost || now_held.is_empty() {
            (open.node, open.held.clone())
        } else {
            (seat.node, now_held.to_vec())
        };
        let most = held.iter().map(|(_, a)| a.get()).max().unwrap_or(0);
        let basis = percent.map_or(Basis::Void, |percent| Basis::Delivered {
            usage: Usage::NONE.with(Meter::Input, most * percent / 100),
            source: UsageSource::Provider,
        });
        Settlement {
            call: open.call,
            account: open.account,
            key: KeyId::new(open.account.get()),
            node,
            model: self.price.model().clone(),
            price: self.price.clone(),
            tier: ServiceTier::Standard,
            basis,
            // The wildest reports are not believed.
            bounds: UsageBounds {
                prompt_tokens: 500,
                answer_tokens: 500,
            },
            held,
            promised: None,
            facts: no_facts(self.now),
        }
    }

    pub(super) fn repeat(&mut self, pick: usize) -> bool {
        let Some((settlement, charge)) = chosen(&self.settled, pick).cloned() else {
            return false;
        };
        let posted = self.store.settle(&settlement, self.now);
        if !posted.replayed || posted.call.charge != charge {
            self.wrong = Some(format!("{} was charged twice", settlement.call));
        }
        true
    }

    pub(super) fn acknowledge(&mut self, pick: usize) -> bool {
        let Some(ack) = taken(&mut self.acks, pick) else {
            return false;
        };
        let idle = ack.used.iter().all(|(_, amount)| amount.is_zero());
        if self.seats[ack.seat].node == ack.node && !(idle && self.flaw == Flaw::ForgetsToRelease) {
            self.waiters.retain(|w| w.ask.call != ack.call);
            let book = &mut self.seats[ack.seat].book;
            book.settled(ack.account, ack.call, &ack.held, &ack.used, self.now);
        }
        self.obey(ack.seat)
    }

    pub(super) fn release(&mut self, pick: usize) -> bool {
        let Some(open) = taken(&mut self.opens, pick) else {
            return false;
        };
        if !open.lost {
            self.waiters.retain(|w| w.ask.call != open.call);
            self.seats[open.seat]
                .book
                .released(open.account, open.call, self.now);
        }
        self.obey(open.seat)
    }
}

fn no_facts(now: OffsetDateTime) -> CallFacts {
    CallFacts {
        endpoint: "chat.completions".to_owned(),
        outcome: "completed".to_owned(),
        streamed: false,
        status: 200,
        upstream_id: None,
        finish_reason: None,
        started_at: now,
        first_byte_ms: None,
        latency_ms: 1,
        attempts: Vec::new(),
        idempotency_key: None,
    }
}
