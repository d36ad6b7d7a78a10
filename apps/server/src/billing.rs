//! The billing run: does what is due to subscriptions. What that is, billing-core says; this reads,
//! records and collects, for as long as there is something to do.
//!
//! Every node may do so at once. Whoever is second with something finds it done.

use std::time::Duration;

use billing_core::billing_run::{Next, SANE, Saving, collected, due_at, next, payable};
use billing_core::fee_payment::FEE_WAITS;
use billing_core::id::{AccountId, SubscriptionId};
use billing_core::money::{Currency, Money};
use billing_core::period::Period;
use billing_core::port::clock::Clock;
use billing_core::port::invoices::{Invoices, InvoicesError};
use billing_core::port::subscriptions::{
    Collected, Collector, RecordError, Standing, Subscriptions,
};
use billing_core::subscription::{Dunned, Dunning, Effect, Fee, State};

/// How many subscriptions are read at a time.
const PAGE: u32 = 200;
/// How many lines of invoices are looked at together for what they have earned.
const EARNING: u32 = 200;
/// How often it is looked whether nodes have given back what pays a fee.
const AGAIN: Duration = Duration::from_millis(100);

/// What has happened to a subscription, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) account: AccountId,
    pub(crate) subscription: SubscriptionId,
    pub(crate) what: What,
    /// Its state after it.
    pub(crate) state: &'static str,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A fee is charged for a period.
    Charged(Money, Period),
    /// A fee is to be collected.
    Collects(Money, Period),
    /// It was.
    Paid(Money, Period),
    /// It could not be.
    Declined(Money, Period),
    /// Nodes have on lease what would pay it.
    Waits(Money, Period),
    /// Credit was given that comes with a period.
    Granted(Money),
    /// Its state is another.
    Became,
    /// It was set aside, because of this.
    Parked(String),
    /// It owes this, and dunning has come so far (dry run).
    Owes(Money, Dunned),
}

/// What became of all that was due.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub(crate) done: Vec<Done>,
    /// Subscriptions to which nothing could be done; `None` where it could not even be asked to which
    /// something is due.
    pub(crate) failed: Vec<(Option<SubscriptionId>, RecordError)>,
}

impl Ran {
    pub(crate) fn parked(&self) -> usize {
        let is_parked = |done: &&Done| matches!(done.what, What::Parked(_));
        self.done.iter().filter(is_parked).count()
    }
}

/// How the run goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BillingRun<'a> {
    pub(crate) subscriptions: &'a dyn Subscriptions,
    pub(crate) collector: &'a dyn Collector,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) dunning: &'a Dunning,
    /// Whether it is only said what would be done first to each.
    pub(crate) is_dry: bool,
}

impl BillingRun<'_> {
    /// Does everything that is due. One subscription to which nothing can be done keeps no other
    /// from it; a store that is away ends it.
    pub(crate) async fn all(self) -> Ran {
        let mut ran = Ran::default();
        let mut after = None;
        loop {
            let ids = match self.subscriptions.due(self.clock.now(), after, PAGE).await {
                Ok(ids) => ids,
                Err(error) => {
                    ran.failed.push((None, error));
                    return ran;
                }
            };
            for id in &ids {
                match self.one(*id, &mut ran.done).await {
                    Ok(()) => {}
                    Err(error) => {
                        let is_away = matches!(error, RecordError::Unavailable(_));
                        ran.failed.push((Some(*id), error));
                        if is_away {
                            return ran;
                        }
                    }
                }
            }
            after = ids.last().copied();
            if is_last(&ids) {
                break;
            }
        }
        if self.is_dry
            && let Err(error) = self.foresee_dunning(&mut ran.done).await
        {
            ran.failed.push((None, error));
        }
        ran
    }

    /// Reckons anew, by this ladder, when each subscription that owes is to be looked at: it may
    /// have been reckoned by another, before the deployment was configured so. Says of how many.
    pub(crate) async fn reckon(self) -> Result<usize, RecordError> {
        let (mut after, mut reckoned) = (None, 0_usize);
        loop {
            let ids = self.subscriptions.owing(after, PAGE).await?;
            for id in &ids {
                let now = self.clock.now();
                if let Some(standing) = self.subscriptions.load(*id, now).await? {
                    self.look_later(&standing).await?;
                    reckoned = reckoned.saturating_add(1);
                }
            }
            after = ids.last().copied();
            if is_last(&ids) {
                return Ok(reckoned);
            }
        }
    }

    async fn look_later(self, standing: &Standing) -> Result<(), RecordError> {
        let subscription = &standing.subscription;
        let due_at = due_at(subscription, self.dunning);
        let (id, revision) = (subscription.id, subscription.revision);
        self.subscriptions.look_at(id, revision, due_at).await
    }

    /// Says of each subscription that owes how far dunning has come, and what would be done by this
    /// ladder where another said that nothing is due yet.
    async fn foresee_dunning(self, done: &mut Vec<Done>) -> Result<(), RecordError> {
        let mut after = None;
        loop {
            let ids = self.subscriptions.owing(after, PAGE).await?;
            for id in &ids {
                let now = self.clock.now();
                let Some(standing) = self.subscriptions.load(*id, now).await? else {
                    continue;
                };
                if !done.iter().any(|done| done.subscription == *id) {
                    done.extend(foreseen(&standing, &next(&standing, self.dunning, now)));
                }
                done.extend(owes(&standing, self.dunning));
            }
            after = ids.last().copied();
            if is_last(&ids) {
                return Ok(());
            }
        }
    }

    /// Does everything that is due to a subscription. One that contradicts itself, or to which more
    /// is due than can be, is set aside.
    pub(crate) async fn one(
        self,
        id: SubscriptionId,
        done: &mut Vec<Done>,
    ) -> Result<(), RecordError> {
        for turn in 0..SANE {
            let now = self.clock.now();
            let Some(standing) = self.subscriptions.load(id, now).await? else {
                return Ok(());
            };
            let step = next(&standing, self.dunning, now);
            if self.is_dry {
                done.extend(foreseen(&standing, &step));
                return Ok(());
            }
            let saving = match step {
                // It was reckoned by another ladder when it is to be looked at.
                Next::Nothing if turn == 0 => return self.look_later(&standing).await,
                Next::Nothing => return Ok(()),
                Next::Park(why) => return self.park(&standing, why, done).await,
                Next::Save(saving) => *saving,
                Next::Collect { fee, attempt } => {
                    let answer = self.collect(&standing, &fee, attempt).await?;
                    done.push(of_fee(&standing, &fee, answer));
                    let now = self.clock.now();
                    match collected(&standing, &fee, answer, (self.dunning, now)) {
                        Some(saving) => saving,
                        None => return Ok(()),
                    }
                }
            };
            match self.subscriptions.save(&saving, self.clock.now()).await {
                Ok(()) => done.extend(of_saving(&standing, &saving)),
                // Another was first; what it did is seen now.
                Err(RecordError::Changed) => {}
                Err(RecordError::Inconsistent(why)) => {
                    return self.park(&standing, why, done).await;
                }
                Err(error) => return Err(error),
            }
        }
        let now = self.clock.now();
        match self.subscriptions.load(id, now).await? {
            Some(standing) => {
                let why = format!("more than {SANE} things are due to it at once");
                self.park(&standing, why, done).await
            }
            None => Ok(()),
        }
    }

    /// Tries to pay what a subscription owes now; says whether it owed anything.
    pub(crate) async fn pay(
        self,
        id: SubscriptionId,
        done: &mut Vec<Done>,
    ) -> Result<bool, RecordError> {
        let now = self.clock.now();
        let Some(standing) = self.subscriptions.load(id, now).await? else {
            return Ok(false);
        };
        let Some((fee, attempt)) = payable(&standing) else {
            return Ok(false);
        };
        let answer = self.collect(&standing, &fee, attempt).await?;
        done.push(of_fee(&standing, &fee, answer));
        let now = self.clock.now();
        if let Some(saving) = collected(&standing, &fee, answer, (self.dunning, now)) {
            match self.subscriptions.save(&saving, now).await {
                Ok(()) => done.extend(of_saving(&standing, &saving)),
                // What was paid is on record: who was first, or who comes next, sees it.
                Err(RecordError::Changed) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    async fn park(
        self,
        standing: &Standing,
        why: String,
        done: &mut Vec<Done>,
    ) -> Result<(), RecordError> {
        let (id, now) = (standing.subscription.id, self.clock.now());
        tracing::error!(subscription = %id, account = %standing.subscription.account, why,
            "a subscription is set aside and not billed: look at it, then `tollgate billing unpark`");
        self.subscriptions.park(id, &why, now).await?;
        done.push(of(standing, What::Parked(why)));
        Ok(())
    }

    /// Collects a fee. What nodes have on lease is waited for.
    async fn collect(
        self,
        standing: &Standing,
        fee: &Fee,
        attempt: u8,
    ) -> Result<Collected, RecordError> {
        let account = standing.subscription.account;
        let until = self
            .clock
            .now()
            .saturating_add(FEE_WAITS)
            .saturating_add(time::Duration::SECOND);
        loop {
            let now = self.clock.now();
            let answer = self.collector.collect(account, fee, attempt, now).await?;
            if answer != Collected::Unknown || now >= until {
                return Ok(answer);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Books what fees have earned by now; says of how many lines of invoices. Each day of a line is booked
/// once, however many do so.
///
/// # Errors
/// [`InvoicesError`]. What was booked before stays so.
pub(crate) async fn recognize(
    invoices: &dyn Invoices,
    clock: &dyn Clock,
) -> Result<u32, InvoicesError> {
    let mut all = 0_u32;
    loop {
        let booked = invoices.recognize(clock.now(), EARNING).await?;
        all = all.saturating_add(booked);
        if booked < EARNING {
            return Ok(all);
        }
    }
}

fn of(standing: &Standing, what: What) -> Done {
    let subscription = &standing.subscription;
    Done {
        account: subscription.account,
        subscription: subscription.id,
        what,
        state: subscription.state.name(),
    }
}

fn of_fee(standing: &Standing, fee: &Fee, answer: Collected) -> Done {
    let money = money(fee, standing.version.terms.currency);
    let what = match answer {
        Collected::Paid => What::Paid(money, fee.period),
        Collected::Declined => What::Declined(money, fee.period),
        Collected::Unknown => What::Waits(money, fee.period),
    };
    of(standing, what)
}

/// What a saving does.
fn of_saving(standing: &Standing, saving: &Saving) -> Vec<Done> {
    let currency = standing.version.terms.currency;
    let (before, after) = (standing.subscription.state, saving.subscription.state);
    let becomes = (before.name() != after.name()).then_some(What::Became);
    let effects = saving.effects.iter().filter_map(|effect| match effect {
        Effect::Charge(fee) => Some(What::Charged(money(fee, currency), fee.period)),
        Effect::Grant { amount, .. } => {
            let nanos = amount.money();
            Some(What::Granted(Money::new(nanos, currency)))
        }
        Effect::Retry(_) | Effect::Tell(_) => None,
    });
    let whats = becomes.into_iter().chain(effects);
    let done = |what| Done {
        state: after.name(),
        ..of(standing, what)
    };
    whats.map(done).collect()
}

/// What would be done first.
fn foreseen(standing: &Standing, step: &Next) -> Vec<Done> {
    match step {
        Next::Nothing => Vec::new(),
        Next::Park(why) => vec![of(standing, What::Parked(why.clone()))],
        Next::Save(saving) => of_saving(standing, saving),
        Next::Collect { fee, .. } => {
            let money = money(fee, standing.version.terms.currency);
            vec![of(standing, What::Collects(money, fee.period))]
        }
    }
}

/// What a subscription owes, and how far dunning has come; `None` where it was not dunned yet.
fn owes(standing: &Standing, dunning: &Dunning) -> Option<Done> {
    let (State::Grace(owed) | State::PastDue(owed)) = standing.subscription.state else {
        return None;
    };
    let dunned = standing.subscription.dunned(dunning)?;
    let money = minor(owed.amount, standing.version.terms.currency);
    Some(of(standing, What::Owes(money, dunned)))
}

fn is_last(ids: &[SubscriptionId]) -> bool {
    u32::try_from(ids.len()).is_ok_and(|read| read < PAGE)
}

/// What a fee comes to. One that does not fit was never charged.
fn money(fee: &Fee, currency: Currency) -> Money {
    minor(fee.amount, currency)
}

fn minor(amount: i64, currency: Currency) -> Money {
    let money = Money::of_minor(amount, currency);
    money.unwrap_or_else(|_| Money::new(billing_core::money::Nanos::MAX, currency))
}

#[cfg(test)]
mod tests;
