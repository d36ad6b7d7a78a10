//! Read models: lists, receipts and totals. They decide nothing.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;
use time::{Date, OffsetDateTime};

use crate::budget::{Amount, BudgetScope, BudgetUnit};
use crate::call::{Attempt, UsageSource};
use crate::id::{
    AccountId, CallId, KeyId, LedgerTxnId, LotId, PlanVersionId, PriceVersionId, TierScheduleId,
};
use crate::ledger::{LedgerCode, LedgerKind};
use crate::meter::Usage;
use crate::money::{Exact, MoneyError, Nanos};
use crate::price::{Circumstances, ServiceTier};
use crate::quota::QuotaWindow;
use crate::quota::carry::Counted;
use crate::quota::cover::{Cost, Split};
use crate::reach::ModelScope;
use crate::terms::RatingRecord;
use crate::wallet::LotDraw;
use crate::zone::Zone;

/// What can be looked up. Lists are paged by key, newest first.
#[async_trait]
pub trait Reports: Send + Sync + Debug {
    /// One call of an account. A call is found from the moment its charge is durable.
    ///
    /// # Errors
    /// [`ReportError`].
    async fn call(
        &self,
        account: AccountId,
        call: CallId,
    ) -> Result<Option<CallDetail>, ReportError>;

    /// The call that an account made under an idempotency key.
    ///
    /// # Errors
    /// [`ReportError`].
    async fn call_by_idempotency_key(
        &self,
        account: AccountId,
        key: &str,
    ) -> Result<Option<CallId>, ReportError>;

    /// The calls of an account before one, newest first. A filter relies on it that a call's id was
    /// made within five minutes of its start.
    ///
    /// # Errors
    /// [`ReportError`].
    async fn calls(
        &self,
        account: AccountId,
        filter: CallFilter,
        before: Option<CallId>,
        limit: u32,
    ) -> Result<Vec<CallDetail>, ReportError>;

    /// What calls of an account were adjusted by after they were settled, each one's part, oldest
    /// first; those that never were are missing.
    ///
    /// # Errors
    /// [`ReportError`].
    async fn call_adjustments(
        &self,
        account: AccountId,
        calls: &[CallId],
    ) -> Result<BTreeMap<CallId, Vec<AdjustmentLine>>, ReportError>;

    /// What closing the window of a tier schedule that began in a second (Unix time) came to, oldest
    /// first; nothing where it is not closed, or nothing was left to settle.
    ///
    /// # Errors
    /// [`ReportError`].
    async fn window_adjustments(
        &self,
        account: AccountId,
        schedule: TierScheduleId,
        window_start: i64,
    ) -> Result<Vec<AdjustmentLine>, ReportError>;

    /// Totals of an account from the roll-ups, over whole quarter hours.
    ///
    /// # Errors
    /// [`ReportError`].
    async fn usage(
        &self,
        account: AccountId,
        from: OffsetDateTime,
        to: OffsetDateTime,
        group: UsageGroup,
    ) -> Result<Vec<UsageLine>, ReportError>;

    /// Totals of an account on each of these days on which anything was used, from the roll-ups.
    ///
    /// # Errors
    /// [`ReportError`].
    async fn usage_by_day(
        &self,
        account: AccountId,
        days: &[ReportedDay],
    ) -> Result<Vec<UsageLine>, ReportError>;

    /// What was charged through a key since an instant, from the roll-ups.
    ///
    /// # Errors
    /// [`ReportError`].
    async fn key_spend(
        &self,
        account: AccountId,
        key: KeyId,
        since: OffsetDateTime,
    ) -> Result<Nanos, ReportError>;

    /// How far budgets of an account have been used, in the order in which they are asked for; nothing
    /// where nothing was counted yet. The wallet has no such count.
    ///
    /// # Errors
    /// [`ReportError`].
    async fn used(
        &self,
        account: AccountId,
        scopes: &[BudgetScope],
    ) -> Result<Vec<Amount>, ReportError> {
        let counted = self.counted(account, scopes).await?;
        Ok(counted.into_iter().map(|counted| counted.used).collect())
    }

    /// The same, with what rolled over into each window and out of it.
    ///
    /// # Errors
    /// [`ReportError`].
    async fn counted(
        &self,
        account: AccountId,
        scopes: &[BudgetScope],
    ) -> Result<Vec<Counted>, ReportError>;

    /// What was ever credited to an account and charged to it.
    ///
    /// # Errors
    /// [`ReportError`].
    async fn credits(&self, account: AccountId) -> Result<CreditTotals, ReportError>;

    /// The journal of an account before a transaction, newest first.
    ///
    /// # Errors
    /// [`ReportError`].
    async fn ledger(
        &self,
        account: AccountId,
        before: Option<LedgerTxnId>,
        limit: u32,
    ) -> Result<Vec<LedgerLine>, ReportError>;
}

/// Why nothing could be read.
#[derive(Debug, ThisError)]
pub enum ReportError {
    /// A stored row is not what it should be.
    #[error("a stored {table} cannot be read: {why}")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The store cannot be reached.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// A call on record, with all that its receipt is derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallDetail {
    /// The call.
    pub id: CallId,
    /// Who pays.
    pub account: AccountId,
    /// The key it was made with.
    pub key: KeyId,
    /// The endpoint.
    pub endpoint: String,
    /// The model that was asked for.
    pub model: String,
    /// The channel that answered; empty when none did.
    pub channel: String,
    /// How it ended.
    pub outcome: String,
    /// Whether it was streamed.
    pub streamed: bool,
    /// The HTTP status that the caller got.
    pub status: u16,
    /// What was consumed.
    pub usage: Usage,
    /// Who says so; `None` when nothing was delivered.
    pub source: Option<UsageSource>,
    /// The tier that the provider gave.
    pub tier: ServiceTier,
    /// The catalogue's price that it was rated with.
    pub price_version: PriceVersionId,
    /// What else its charge follows from.
    pub rating: RatingRecord,
    /// The version of the plan that the account was on; `None` where it was on none, or an earlier
    /// build recorded the call.
    pub plan: Option<PlanVersionId>,
    /// What it costs the house, as far as that is known.
    pub cost: Option<Nanos>,
    /// What was held of the wallet.
    pub held: Nanos,
    /// What the account paid.
    pub charge: Nanos,
    /// What the house bore.
    pub overrun: Nanos,
    /// What its plan paid; `None` where it held no quota. With charge and overrun it is the price.
    pub covered: Option<Nanos>,
    /// What it drew from each budget.
    pub used: Vec<(BudgetScope, Amount)>,
    /// Whether the reported usage was not believed.
    pub quarantined: bool,
    /// The part of the charge that the account owes.
    pub on_credit: Nanos,
    /// The lots that paid.
    pub draws: Vec<LotDraw>,
    /// The wallet's balance after it.
    pub balance_after: Nanos,
    /// The ledger transaction that booked it; `None` when nothing was due.
    pub ledger_txn: Option<LedgerTxnId>,
    /// When it came in.
    pub started_at: OffsetDateTime,
    /// When it was settled.
    pub settled_at: OffsetDateTime,
    /// Milliseconds until the first byte of the answer left.
    pub first_byte_ms: Option<u32>,
    /// Milliseconds until the upstream's answer was over.
    pub latency_ms: u32,
    /// The provider's own id of the answer.
    pub upstream_id: Option<String>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// The upstream tries.
    pub attempts: Vec<Attempt>,
}

impl CallDetail {
    /// How much had been used of its tiers' window before it; nothing where it has none.
    pub fn position(&self) -> Amount {
        let tiers = self.rating.tiers.as_ref();
        tiers.map_or(Amount::ZERO, |tiers| tiers.position)
    }

    /// How it is shared between its plan and the wallet at an exact price, with what its quotas gave.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn split(&self, exact: Exact) -> Result<Split, MoneyError> {
        Split::again(&self.used, &Cost::of(&self.usage, exact)?)
    }

    /// What decided which rates applied to it.
    pub fn circumstances(&self) -> Circumstances {
        Circumstances {
            tier: self.tier,
            at: self.started_at,
            attributes: self.rating.attributes.clone(),
        }
    }
}

/// A later correction of what an account was charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdjustmentLine {
    /// The ledger transaction that booked it.
    pub txn: LedgerTxnId,
    /// Above zero it was charged, below zero given back. Of a call it is the call's part.
    pub amount: Nanos,
    /// When it was booked.
    pub booked_at: OffsetDateTime,
    /// What the statement says of it.
    pub note: String,
}

/// Which calls a list holds. Empty means all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallFilter {
    /// Made with this key.
    pub key: Option<KeyId>,
    /// Of this model.
    pub model: Option<String>,
    /// That came in at or after this instant.
    pub from: Option<OffsetDateTime>,
    /// That came in before this instant.
    pub to: Option<OffsetDateTime>,
}

/// What totals are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageGroup {
    /// One line for all.
    Total,
    /// A line a model.
    Model,
    /// A line a key.
    Key,
    /// A line a member, by whose the keys are; and [`NOBODY`] for keys of nobody.
    Member,
    /// A line a version of a plan that calls were authorized under, and [`NOBODY`] for the others.
    Plan,
    /// A line a quota of which something was drawn, and [`NOBODY`] for calls that drew none. A call
    /// that draws several quotas is in the line of each; the others add up to the total.
    Quota,
}

/// The group of what belongs to no member, no plan or no quota.
pub const NOBODY: &str = "none";

/// A day in some zone, or the part of it that is reported of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedDay {
    /// The day.
    pub date: Date,
    /// The first instant.
    pub start: OffsetDateTime,
    /// The first instant after it.
    pub end: OffsetDateTime,
}

impl ReportedDay {
    /// The days of a zone from one instant up to another, the first and the last cut there.
    pub fn of_period(zone: &Zone, from: OffsetDateTime, to: OffsetDateTime) -> Vec<Self> {
        let mut days = Vec::new();
        let mut next = Some(zone.local(from).date());
        while let Some(date) = next {
            let start = zone.start_of_day(date).max(from);
            next = date.next_day();
            let end = next.map_or(to, |next| zone.start_of_day(next)).min(to);
            if start >= to {
                break;
            }
            // A day that a zone skipped has no instant.
            if start < end {
                days.push(Self { date, start, end });
            }
        }
        days
    }
}

/// Totals of one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageLine {
    /// The model, key, day (`2026-11-22`), member, version of a plan or quota, or [`NOBODY`]; empty
    /// for the total.
    pub group: String,
    /// Calls that were settled, void ones included.
    pub calls: u64,
    /// Calls of which nothing was delivered.
    pub void_calls: u64,
    /// Prompt tokens, cached ones included.
    pub prompt_tokens: u64,
    /// Prompt tokens read from a cache.
    pub cache_read_tokens: u64,
    /// Answer tokens, reasoning included.
    pub answer_tokens: u64,
    /// What was charged.
    pub charge: Nanos,
    /// What else is said of the group; `None` where it says all itself.
    pub about: Option<About>,
}

/// What is said of a group beside its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Of a member: the address that it signs in with.
    Member(String),
    /// Of a version of a plan.
    Plan {
        /// Which.
        plan: PlanName,
        /// What the plan paid of these calls.
        covered: Nanos,
    },
    /// Of a quota.
    Quota {
        /// The version of the plan that gives it.
        plan: PlanName,
        /// Of which models.
        models: ModelScope,
        /// What it counts.
        unit: BudgetUnit,
        /// In which windows.
        window: QuotaWindow,
        /// What these calls drew of it, in its unit.
        drawn: Amount,
        /// What the plan paid of these calls, by all quotas that they drew.
        covered: Nanos,
    },
}

/// A version of a plan, as people name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlanName {
    /// The plan's code.
    pub code: String,
    /// The number of the version, from 1 on.
    pub version: u32,
}

impl UsageLine {
    /// What is left of a total beside these lines, as the line of [`NOBODY`]; `None` where that is
    /// nothing.
    pub fn rest<'a>(mut self, lines: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        for line in lines {
            self.calls = self.calls.saturating_sub(line.calls);
            self.void_calls = self.void_calls.saturating_sub(line.void_calls);
            self.prompt_tokens = self.prompt_tokens.saturating_sub(line.prompt_tokens);
            self.cache_read_tokens = self
                .cache_read_tokens
                .saturating_sub(line.cache_read_tokens);
            self.answer_tokens = self.answer_tokens.saturating_sub(line.answer_tokens);
            let charge = self.charge.minus(line.charge).unwrap_or_default();
            self.charge = charge.max(Nanos::ZERO);
        }
        (self.group, self.about) = (NOBODY.to_owned(), None);
        (self.calls > 0).then_some(self)
    }

    /// Adds another line's figures; each stops at the largest that fits.
    pub fn add(&mut self, more: &Self) {
        let counts = [
            (&mut self.calls, more.calls),
            (&mut self.void_calls, more.void_calls),
            (&mut self.prompt_tokens, more.prompt_tokens),
            (&mut self.cache_read_tokens, more.cache_read_tokens),
            (&mut self.answer_tokens, more.answer_tokens),
        ];
        for (count, more) in counts {
            *count = count.saturating_add(more).min(i64::MAX.unsigned_abs());
        }
        self.charge = self.charge.plus(more.charge).unwrap_or(Nanos::MAX);
    }
}

/// What an account ever got and paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CreditTotals {
    /// All credit ever added.
    pub credited: Nanos,
    /// All charges.
    pub charged: Nanos,
    /// The balance now.
    pub balance: Nanos,
    /// How far it may go below zero.
    pub credit_limit: Amount,
}

/// One leg of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerLine {
    /// Its transaction.
    pub txn: LedgerTxnId,
    /// What that records.
    pub kind: LedgerKind,
    /// When it counts.
    pub booked_at: OffsetDateTime,
    /// The ledger account.
    pub code: LedgerCode,
    /// Debit above zero.
    pub amount: Nanos,
    /// The lot it touches.
    pub lot: Option<LotId>,
    /// What is said of it.
    pub note: String,
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    #[test]
    fn days_tile_a_period_as_the_clocks_of_the_zone_cut_it() {
        for (name, from, to, count, longest_h) in [
            (
                "UTC",
                datetime!(2026-11-20 10:00 UTC),
                datetime!(2026-11-22 0:00 UTC),
                2,
                24,
            ),
            // Clocks went back on the first of November: a day of 25 hours.
            (
                "America/New_York",
                datetime!(2026-10-31 4:00 UTC),
                datetime!(2026-11-03 5:00 UTC),
                3,
                25,
            ),
            // Samoa had no 30 December 2011.
            (
                "Pacific/Apia",
                datetime!(2011-12-29 10:00 UTC),
                datetime!(2012-01-01 10:00 UTC),
                3,
                24,
            ),
        ] {
            let zone: Zone = name.parse().unwrap();
            let days = ReportedDay::of_period(&zone, from, to);
            assert_eq!(days.len(), count, "{name}: {days:?}");
            assert_eq!((days[0].start, days[count - 1].end), (from, to));
            assert!(days.windows(2).all(|two| two[0].end == two[1].start));
            let longest = days.iter().map(|day| day.end - day.start).max().unwrap();
            assert_eq!(longest.whole_hours(), longest_h, "{name}");
        }
    }

    #[test]
    fn a_day_begins_where_its_zone_begins_it() {
        let zone: Zone = "Asia/Shanghai".parse().unwrap();
        let (from, to) = (
            datetime!(2026-11-22 15:59 UTC),
            datetime!(2026-11-22 16:01 UTC),
        );
        let days = ReportedDay::of_period(&zone, from, to);
        let dates: Vec<Date> = days.iter().map(|day| day.date).collect();
        assert_eq!(dates, [date!(2026 - 11 - 22), date!(2026 - 11 - 23)]);
        assert_eq!(ReportedDay::of_period(&zone, to, to), []);
    }
}
