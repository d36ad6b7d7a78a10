//! Orders of customers, in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use billing_core::budget::BudgetScope;
use billing_core::id::{AccountId, ChangeQuoteId};
use billing_core::lease::{Claim, HOUSE, HOUSE_CLAIM_FOR};
use billing_core::plan::PlanVersion;
use billing_core::port::orders::{KeptQuote, NewOrder, Orders, QuoteAsk};
use billing_core::port::subscriptions::{RecordError, Standing};
use billing_core::proration::Share;
use billing_core::settlement::Booking;
use billing_core::subscription::change::{ChangeAsk, ChangeQuote};
use billing_core::subscription_order::{
    CarriedOut, Done, FeeDraw, Footing, Order, OrderError, carry_out, quote,
};
use time::OffsetDateTime;

use super::{Booked, Memory, State};

/// What was asked of subscriptions.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    /// Quotes with whose they are, and whether each was taken.
    quotes: BTreeMap<ChangeQuoteId, (AccountId, ChangeQuote, bool)>,
    /// What came of each order, by key.
    done: BTreeMap<(AccountId, String), (String, Done)>,
}

impl State {
    /// What an account is billed for, as it stands.
    fn standing_order(
        &mut self,
        account: AccountId,
        now: OffsetDateTime,
    ) -> Option<(Standing, bool)> {
        let (id, is_parked) = self.billed.live(account)?;
        Some((self.standing(id, now)?, is_parked))
    }

    fn unused(&self, standing: &Standing, now: OffsetDateTime) -> Share {
        let subscription = &standing.subscription;
        let page = &self.books[&subscription.account];
        let quotas = subscription
            .whole_quotas(&standing.version, now)
            .into_iter();
        Share::least_left(quotas.map(|(scope, gives)| {
            let of = page.uses.get(&scope).copied().unwrap_or_default();
            let (came, _) = page.carried.get(&scope).copied().unwrap_or_default();
            (gives, of.used.plus(of.leased).less(came))
        }))
    }

    fn carry(&mut self, made: &NewOrder) -> Result<CarriedOut, OrderError> {
        let quote = if let Order::Take(id) = made.order {
            let kept = self.ordered.quotes.get(&id);
            let kept = kept.filter(|(of, ..)| *of == made.account);
            let (_, quote, is_taken) = kept.cloned().ok_or(OrderError::NoSuchQuote)?;
            if is_taken {
                return Err(OrderError::Taken);
            }
            let to: PlanVersion = self.version(quote.to).unwrap().1;
            Some((quote, to))
        } else {
            None
        };
        let found = self.standing_order(made.account, made.now);
        let (standing, is_parked) = found.ok_or(OrderError::NoSubscription)?;
        if is_parked {
            return Err(OrderError::Parked);
        }
        let house = self.documents.house.clone();
        let to = quote.as_ref().map_or(&standing.version, |(_, to)| to);
        let bill_to = self.bill_to(&house, (&standing.subscription, to.id), made.now);
        let page = &self.books[&made.account];
        let footing = Footing {
            quote: quote.as_ref().map(|(quote, to)| (quote, to)),
            wallet: page.wallet,
            lots: page.lots.clone(),
            unused: self.unused(&standing, made.now),
            paid_so_far: self.billed.paid_for(standing.subscription.id),
            bill_to,
            standing: &standing,
        };
        carry_out(made.order, &footing, (&self.dunning, made.now))
    }

    fn write(&mut self, made: &NewOrder, carried: CarriedOut) -> Result<(), RecordError> {
        let page = self.books.get_mut(&made.account).unwrap();
        page.claims.remove(&(HOUSE, BudgetScope::Wallet));
        let saving = &carried.saving;
        let subscription = &saving.subscription;
        self.stand(saving)?;
        let fees = self.charge_all(subscription, &saving.effects)?;
        let documents = (fees.as_slice(), carried.documents);
        self.document_fees(subscription, documents, made.now)?;
        if let Some(payment) = carried.payment {
            self.pay_order(made, payment);
        }
        for fee in &fees {
            self.billed.paid(fee, made.now);
        }
        self.follow(subscription, &saving.effects, made.now);
        self.sync(subscription.id, made.now);
        Ok(())
    }

    /// Pays the invoice of what an order charges.
    fn pay_order(&mut self, made: &NewOrder, FeeDraw { fee, draw }: FeeDraw) {
        let booking = Booking {
            txn: self.txn_id(made.now),
            now: made.now,
        };
        let invoice = self.invoice_of(&fee);
        let page = self.books.get_mut(&made.account).unwrap();
        let paid = draw.pay(made.account, (&fee, invoice), booking).unwrap();
        (page.wallet, page.lots) = (paid.wallet, paid.lots);
        let txn = paid.txn;
        let heard = (format!("fee {}", fee.amount), txn.id(), page.wallet.posted);
        page.keys.insert(txn.key().to_owned(), heard);
        page.journal.push(Booked {
            txn,
            note: "change of a subscription".to_owned(),
        });
        if let Some(invoice) = paid.invoice {
            self.invoice_paid(invoice);
        }
    }
}

#[async_trait]
impl Orders for Memory {
    async fn standing_of(
        &self,
        account: AccountId,
        now: OffsetDateTime,
    ) -> Result<Option<Standing>, RecordError> {
        let found = self.state().standing_order(account, now);
        Ok(found.map(|(standing, _)| standing))
    }

    async fn quote(&self, ask: &QuoteAsk) -> Result<KeptQuote, OrderError> {
        let mut state = self.state();
        let found = state.standing_order(ask.account, ask.now);
        let (standing, is_parked) = found.ok_or(OrderError::NoSubscription)?;
        if is_parked {
            return Err(OrderError::Parked);
        }
        let (_, to) = state.version(ask.to).ok_or(OrderError::NoSuchVersion)?;
        let wanted = ChangeAsk {
            to: &to,
            quantity: ask.quantity.unwrap_or(standing.subscription.quantity),
            timing: ask.timing,
            by: ask.by,
            unused: state.unused(&standing, ask.now),
        };
        let house = state.documents.house.clone();
        let bill_to = state.bill_to(&house, (&standing.subscription, to.id), ask.now);
        let quote = quote(&standing, &wanted, &bill_to, ask.now)?;
        if ask.is_kept {
            let kept = (ask.account, quote.clone(), false);
            state.ordered.quotes.insert(ask.id, kept);
        }
        let id = ask.id;
        Ok(KeptQuote { id, quote, to })
    }

    async fn preview(&self, made: &NewOrder) -> Result<Done, OrderError> {
        self.state().carry(made).map(|carried| carried.done)
    }

    async fn place(&self, made: &NewOrder) -> Result<Done, OrderError> {
        let mut state = self.state();
        let key = (made.account, made.key.clone());
        let fingerprint = made.order.fingerprint();
        if let Some((before, done)) = state.ordered.done.get(&key) {
            if *before != fingerprint {
                return Err(OrderError::KeyReused);
            }
            return Ok(Done {
                is_replayed: true,
                ..done.clone()
            });
        }
        let carried = match state.carry(made) {
            Ok(carried) => carried,
            Err(OrderError::OnLease(missing)) => {
                let claim = Claim {
                    node: HOUSE,
                    since: made.now,
                    wanted: billing_core::budget::Amount::of(missing.nanos()),
                    expires_at: made.now + HOUSE_CLAIM_FOR,
                };
                let page = state.books.get_mut(&made.account).unwrap();
                page.claims.insert((HOUSE, BudgetScope::Wallet), claim);
                return Err(OrderError::OnLease(missing));
            }
            Err(error) => return Err(error),
        };
        let done = carried.done.clone();
        state.write(made, carried)?;
        if let Order::Take(id) = made.order {
            state.ordered.quotes.get_mut(&id).unwrap().2 = true;
        }
        let kept = (fingerprint, done.clone());
        state.ordered.done.insert(key, kept);
        Ok(done)
    }
}
