//! The billing run: does what time has made due to subscriptions.
//!
//! Any number of nodes may run it at once, and any may stop at any point. Nobody leads: what is
//! recorded is recorded for one revision of the subscription, and what is charged, granted or
//! collected has a key under which that happens once. A run that is cut off is taken up by the next.

use thiserror::Error;
use time::OffsetDateTime;

use crate::id::SubscriptionId;
use crate::port::subscriptions::{Collected, Collector, RecordError, Standing, Subscriptions};
use crate::subscription::{Due, Dunning, Effect, Fee, Paid, State, SubscriptionError};

/// More than this is never due to one subscription in one run. It is set aside instead of being
/// billed for it.
const SANE: u32 = 120;
/// How many subscriptions are read at a time.
const PAGE: u32 = 200;

/// What the billing run needs.
#[derive(Debug, Clone, Copy)]
pub struct BillingRun<'a> {
    /// The subscriptions.
    pub subscriptions: &'a dyn Subscriptions,
    /// What their fees are paid with.
    pub collector: &'a dyn Collector,
    /// How unpaid fees are tried again.
    pub dunning: &'a Dunning,
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunReport {
    /// How many subscriptions something was due to.
    pub subscriptions: u64,
    /// How many things were done.
    pub steps: u64,
    /// How many fees were paid.
    pub paid: u64,
    /// How many could not be collected.
    pub declined: u64,
    /// How many subscriptions were set aside.
    pub parked: u64,
}

/// Why a run stopped. What it did stays done; another run goes on.
#[derive(Debug, Error)]
pub enum RunError {
    /// The store.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A subscription contradicts itself, and was set aside.
    #[error("{id}: {why}")]
    Subscription {
        /// Which.
        id: SubscriptionId,
        /// What is wrong.
        why: SubscriptionError,
    },
}

impl BillingRun<'_> {
    /// Does everything that is due by an instant.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn run(&self, now: OffsetDateTime) -> Result<RunReport, RunError> {
        let mut report = RunReport::default();
        let mut after = None;
        loop {
            let ids = self.subscriptions.due(now, after, PAGE).await?;
            for id in &ids {
                self.one(*id, now, &mut report).await?;
            }
            after = ids.last().copied().or(after);
            if u32::try_from(ids.len()).is_ok_and(|read| read < PAGE) {
                return Ok(report);
            }
        }
    }

    /// Tries once to collect what a subscription owes, because somebody asks for it; `None` where it
    /// owes nothing.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn pay_now(
        &self,
        id: SubscriptionId,
        now: OffsetDateTime,
    ) -> Result<Option<Collected>, RunError> {
        let Some(standing) = self.subscriptions.load(id).await? else {
            return Ok(None);
        };
        let Some(fee) = standing.open_fee.clone() else {
            return Ok(None);
        };
        let mut report = RunReport::default();
        let collected = self.collect(standing, &fee, now, &mut report).await?;
        Ok(Some(collected))
    }

    /// Does what is due to one subscription by an instant.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn one(
        &self,
        id: SubscriptionId,
        now: OffsetDateTime,
        report: &mut RunReport,
    ) -> Result<(), RunError> {
        report.subscriptions = report.subscriptions.saturating_add(1);
        for _ in 0..SANE {
            let Some(standing) = self.subscriptions.load(id).await? else {
                return Ok(());
            };
            // A fee that was charged and never tried, because a run was cut off there.
            if let Some(fee) = standing.open_fee.clone().filter(|_| standing.is_untried()) {
                if self.collect(standing, &fee, now, report).await? == Collected::Unknown {
                    return Ok(());
                }
                continue;
            }
            let due = standing.subscription.due(self.dunning);
            let Some((at, due)) = due.filter(|(at, _)| *at <= now) else {
                return Ok(());
            };
            if self.do_due(standing, (at, due), now, report).await? == Went::Later {
                return Ok(());
            }
        }
        let why = format!("more than {SANE} things are due to it at once");
        self.subscriptions.park(id, &why).await?;
        report.parked = report.parked.saturating_add(1);
        Ok(())
    }

    async fn do_due(
        &self,
        mut standing: Standing,
        due: (OffsetDateTime, Due),
        now: OffsetDateTime,
        report: &mut RunReport,
    ) -> Result<Went, RunError> {
        let id = standing.subscription.id;
        let revision = standing.subscription.revision;
        let versions = (&standing.version, standing.next.as_ref());
        let done = standing.subscription.step(due, versions, standing.can_pay);
        let effects = match done {
            Ok(effects) => effects,
            Err(why) => {
                self.subscriptions.park(id, &why.to_string()).await?;
                report.parked = report.parked.saturating_add(1);
                return Err(RunError::Subscription { id, why });
            }
        };
        let saved = self
            .subscriptions
            .save(revision, &standing.subscription, &effects, now);
        match saved.await {
            Ok(()) => {}
            // Another node did it, or somebody changed it: it is looked at again.
            Err(RecordError::Changed) => return Ok(Went::On),
            Err(error) => return Err(error.into()),
        }
        report.steps = report.steps.saturating_add(1);
        let fee = effects.iter().find_map(|effect| match effect {
            Effect::Charge(fee) | Effect::Retry(fee) => Some(fee.clone()),
            Effect::Grant { .. } | Effect::Tell(_) => None,
        });
        let Some(fee) = fee else {
            return Ok(Went::On);
        };
        let collected = self.collect(standing, &fee, now, report).await?;
        Ok(match collected {
            Collected::Paid | Collected::Declined => Went::On,
            Collected::Unknown => Went::Later,
        })
    }

    /// Collects a fee and records what came of it.
    async fn collect(
        &self,
        mut standing: Standing,
        fee: &Fee,
        now: OffsetDateTime,
        report: &mut RunReport,
    ) -> Result<Collected, RunError> {
        let account = standing.subscription.account;
        let attempt = standing.tries();
        let collected = self.collector.collect(account, fee, attempt, now).await?;
        let revision = standing.subscription.revision;
        let subscription = &mut standing.subscription;
        let saved = match collected {
            Collected::Unknown => return Ok(collected),
            Collected::Paid => {
                let paid = Paid {
                    period: fee.period,
                    at: now,
                };
                let next = standing.next.as_ref();
                let next = next.filter(|next| next.id == subscription.version);
                let effects = subscription.paid(paid, next.unwrap_or(&standing.version));
                report.paid = report.paid.saturating_add(1);
                // What is paid late may be for a period that begins only now.
                let billed = subscription.billed_period();
                let fee = Fee {
                    period: billed.map_or(fee.period, |(_, period)| period),
                    ..fee.clone()
                };
                self.subscriptions
                    .save_paid(revision, subscription, &fee, &effects, now)
                    .await
            }
            Collected::Declined => {
                let effects = subscription.not_paid(now);
                report.declined = report.declined.saturating_add(1);
                self.subscriptions
                    .save(revision, subscription, &effects, now)
                    .await
            }
        };
        match saved {
            // Who changed it meanwhile meets the same fee, and its payment under the same key.
            Ok(()) | Err(RecordError::Changed) => Ok(collected),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether there may be more to do at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Went {
    On,
    Later,
}

impl Standing {
    /// How often the open fee was tried.
    fn tries(&self) -> u8 {
        match self.subscription.state {
            State::Grace(owed) | State::PastDue(owed) => owed.tries,
            State::Incomplete { tries, .. } => tries,
            State::Trialing { .. } | State::Active | State::Paused { .. } | State::Ended { .. } => {
                0
            }
        }
    }

    fn is_untried(&self) -> bool {
        let is_owed = matches!(
            self.subscription.state,
            State::Incomplete { .. } | State::Grace(_)
        );
        is_owed && self.tries() == 0
    }
}
