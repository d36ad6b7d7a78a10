//! The durable side in memory, and what fees are paid with: both can be cut off at any operation,
//! before it has done anything or after it has done all.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use billing_core::billing_run::Saving;
use billing_core::id::{AccountId, PlanVersionId, SubscriptionId};
use billing_core::period::Period;
use billing_core::plan::PlanVersion;
use billing_core::port::subscriptions::{
    Collected, Collector, RecordError, Standing, Subscriptions,
};
use billing_core::subscription::{Dunning, Effect, Fee, FeeKind, State, Subscription};
use time::OffsetDateTime;

use super::people::plans;
use super::rng::mix;

#[derive(Debug)]
pub(crate) struct House(Mutex<Books>);

#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) subscriptions: BTreeMap<SubscriptionId, Subscription>,
    pub(crate) versions: BTreeMap<PlanVersionId, PlanVersion>,
    /// Fees that were charged, by key: whose, and what for.
    pub(crate) fees: BTreeMap<String, (SubscriptionId, Fee)>,
    pub(crate) invoices: Vec<Invoice>,
    /// What has moved: the account, from and to, in minor units.
    pub(crate) ledger: Vec<(AccountId, &'static str, i64)>,
    pub(crate) grants: BTreeMap<String, SubscriptionId>,
    /// What the payer was asked, by key and try, and what came of it.
    pub(crate) payments: BTreeMap<(String, u8), Collected>,
    /// What was given up of a paid period.
    pub(crate) forfeits: Vec<(SubscriptionId, Period)>,
    /// Periods that cost nothing.
    pub(crate) free: Vec<(SubscriptionId, Period)>,
    /// Accounts whose payments are declined.
    pub(crate) broke: BTreeMap<AccountId, bool>,
    pub(crate) parked: Vec<(SubscriptionId, String)>,
    pub(crate) events: BTreeMap<&'static str, u64>,
    seed: u64,
    /// How many operations are left until it is cut off; none for never.
    left: Option<u64>,
}

/// A numbered invoice of one fee.
#[derive(Debug)]
pub(crate) struct Invoice {
    pub(crate) number: u64,
    pub(crate) subscription: SubscriptionId,
    pub(crate) fee: Fee,
}

impl House {
    pub(crate) fn new(seed: u64) -> Self {
        let versions = plans().into_iter().map(|plan| (plan.id, plan));
        Self(Mutex::new(Books {
            versions: versions.collect(),
            seed,
            ..Books::default()
        }))
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }

    /// Cuts it off after so many operations; after none, never.
    pub(crate) fn cut_after(&self, operations: u64) {
        self.books().left = (operations > 0).then_some(operations);
    }

    pub(crate) fn figures(&self) -> String {
        let books = self.books();
        let events = books.events.iter();
        let events: Vec<String> = events.map(|(what, n)| format!("\"{what}\":{n}")).collect();
        format!(
            "\"subscriptions\":{},\"invoices\":{},\"payments\":{},{}",
            books.subscriptions.len(),
            books.invoices.len(),
            books.payments.len(),
            events.join(",")
        )
    }
}

fn cut() -> RecordError {
    RecordError::Unavailable(Box::new(io::Error::other("cut off")))
}

impl Books {
    /// Does an operation, unless it is cut off before it, or says that it was after it.
    fn operate<T>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> Result<T, RecordError>,
    ) -> Result<T, RecordError> {
        let Some(left) = self.left else {
            return operation(self);
        };
        self.left = left.checked_sub(1);
        if left > 0 {
            self.left = Some(left - 1);
            return operation(self);
        }
        if mix(self.seed ^ self.invoices.len() as u64).is_multiple_of(2) {
            operation(self)?;
        }
        Err(cut())
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.events.entry(what).or_default() += 1;
    }

    /// Records a subscription that nobody has changed since.
    pub(crate) fn put(
        &mut self,
        revision: Option<u64>,
        subscription: &Subscription,
        effects: &[Effect],
    ) -> Result<(), RecordError> {
        let id = subscription.id;
        let stands = self.subscriptions.get(&id).map(|known| known.revision);
        if stands != revision {
            return Err(RecordError::Changed);
        }
        let before = self.subscriptions.insert(id, subscription.clone());
        self.note_free(before.as_ref(), subscription, effects);
        for effect in effects {
            match effect {
                Effect::Charge(fee) => {
                    let other = self.fees.insert(fee.key.clone(), (id, fee.clone()));
                    assert_eq!(other, None, "{} is charged twice", fee.key);
                }
                Effect::Retry(fee) => assert!(self.fees.contains_key(&fee.key), "{fee:?}"),
                Effect::Grant { key, .. } => {
                    let other = self.grants.insert(key.clone(), id);
                    assert_eq!(other, None, "{key} is granted twice");
                }
                Effect::Tell(_) => {}
            }
        }
        Ok(())
    }

    /// A period that costs nothing is not charged, and covers its time all the same.
    fn note_free(&mut self, before: Option<&Subscription>, now: &Subscription, effects: &[Effect]) {
        let is_new = before.is_none_or(|before| before.billed_through != now.billed_through);
        let is_charged = effects.iter().any(|e| matches!(e, Effect::Charge(_)));
        if is_new && !is_charged && now.state == State::Active && now.charged == 0 {
            let (_, period) = now.billed_period().unwrap();
            self.free.push((now.id, period));
        }
    }

    /// Invoices a fee that is paid, or a credit, under the next number.
    pub(crate) fn invoice(&mut self, subscription: &Subscription, fee: &Fee) {
        let account = subscription.account;
        let number = self.invoices.len() as u64 + 1;
        for (code, amount) in [
            ("receivable", fee.amount),
            ("revenue", -fee.amount),
            ("cash", fee.amount),
            ("receivable", -fee.amount),
        ] {
            self.ledger.push((account, code, amount));
        }
        self.invoices.push(Invoice {
            number,
            subscription: subscription.id,
            fee: fee.clone(),
        });
    }

    /// Whether a payment goes through is decided once for its key and try.
    pub(crate) fn pay(&mut self, account: AccountId, fee: &Fee, attempt: u8) -> Collected {
        let is_broke = self.broke.get(&account).copied().unwrap_or(false);
        let chance = mix(self.seed ^ u64::from(attempt) ^ mix(self.payments.len() as u64)) % 100;
        let key = (fee.key.clone(), attempt);
        let payments = &mut self.payments;
        let known = payments.entry(key).or_insert(match chance {
            _ if is_broke => Collected::Declined,
            0..4 => Collected::Declined,
            4..6 => Collected::Unknown,
            _ => Collected::Paid,
        });
        let answer = *known;
        // What is not known today is tomorrow.
        if answer == Collected::Unknown {
            *known = Collected::Paid;
        }
        answer
    }
}

#[async_trait]
impl Subscriptions for House {
    async fn due(
        &self,
        by: OffsetDateTime,
        after: Option<SubscriptionId>,
        limit: u32,
    ) -> Result<Vec<SubscriptionId>, RecordError> {
        let dunning = Dunning::default();
        self.books().operate(|books| {
            let due = books.subscriptions.values().filter(|s| {
                let is_due = s.due(&dunning).is_some_and(|(at, _)| at <= by);
                is_due || matches!(s.state, State::Incomplete { tries: 0, .. })
            });
            let due = due.map(|s| s.id).filter(|id| Some(*id) > after);
            Ok(due.take(usize::try_from(limit).unwrap()).collect())
        })
    }

    async fn owing(
        &self,
        after: Option<SubscriptionId>,
        limit: u32,
    ) -> Result<Vec<SubscriptionId>, RecordError> {
        self.books().operate(|books| {
            let all = books.subscriptions.values();
            let owing = all.filter(|s| matches!(s.state, State::Grace(_) | State::PastDue(_)));
            let owing = owing.map(|s| s.id).filter(|id| Some(*id) > after);
            Ok(owing.take(usize::try_from(limit).unwrap()).collect())
        })
    }

    /// What is due is reckoned each time that it is asked for.
    async fn look_at(
        &self,
        _: SubscriptionId,
        _: u64,
        _: Option<OffsetDateTime>,
    ) -> Result<(), RecordError> {
        Ok(())
    }

    async fn load(
        &self,
        id: SubscriptionId,
        _: OffsetDateTime,
    ) -> Result<Option<Standing>, RecordError> {
        self.books().operate(|books| {
            let Some(subscription) = books.subscriptions.get(&id).cloned() else {
                return Ok(None);
            };
            let version = books.versions[&subscription.version].clone();
            let next = subscription.pending.map(|next| next.version);
            let next = next.map(|next| books.versions[&next].clone());
            let is_owed = matches!(
                subscription.state,
                State::Incomplete { .. } | State::Grace(_) | State::PastDue(_)
            );
            let period = subscription.billed_period().map(|(_, period)| period);
            let mut fees = books.fees.values().filter(|(of, _)| *of == id && is_owed);
            let open =
                fees.find(|(_, fee)| Some(fee.period) == period && fee.kind == FeeKind::Plan);
            let is_broke = books.broke.get(&subscription.account).copied();
            Ok(Some(Standing {
                open_fee: open.map(|(_, fee)| fee.clone()),
                can_pay: !is_broke.unwrap_or(false),
                subscription,
                version,
                next,
            }))
        })
    }

    async fn save(&self, saving: &Saving, _: OffsetDateTime) -> Result<(), RecordError> {
        let subscription = &saving.subscription;
        self.books().operate(|books| {
            books.put(Some(saving.revision), subscription, &saving.effects)?;
            if let Some(fee) = &saving.paid {
                books.invoice(subscription, fee);
            }
            Ok(())
        })
    }

    async fn park(
        &self,
        id: SubscriptionId,
        why: &str,
        _: OffsetDateTime,
    ) -> Result<(), RecordError> {
        self.books().parked.push((id, why.to_owned()));
        Ok(())
    }

    async fn parked(&self) -> Result<Vec<(SubscriptionId, String)>, RecordError> {
        Ok(self.books().parked.clone())
    }

    async fn unpark(&self, id: SubscriptionId, _: OffsetDateTime) -> Result<bool, RecordError> {
        let parked = &mut self.books().parked;
        let before = parked.len();
        parked.retain(|(other, _)| *other != id);
        Ok(parked.len() < before)
    }
}

#[async_trait]
impl Collector for House {
    async fn collect(
        &self,
        account: AccountId,
        fee: &Fee,
        attempt: u8,
        _: OffsetDateTime,
    ) -> Result<Collected, RecordError> {
        self.books()
            .operate(|books| Ok(books.pay(account, fee, attempt)))
    }
}
