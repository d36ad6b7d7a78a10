//! Subscriptions, quotes and what came of orders, on the wire.

use billing_core::id::{AccountId, PlanVersionId};
use billing_core::money::{Currency, Money, Nanos};
use billing_core::period::Period;
use billing_core::plan::Subscribed;
use billing_core::port::orders::KeptQuote;
use billing_core::port::plans::Plans;
use billing_core::port::reports::Reports;
use billing_core::port::subscriptions::Standing;
use billing_core::subscription::change::ChangeWay;
use billing_core::subscription::{Access, Dunned, Dunning, Fee, ManagedBy, State, Subscription};
use billing_core::subscription_order::Done;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::http::api::error::ApiError;
use crate::http::api::wire::{MoneyDto, instant};
use crate::http::quotas::{self, CallLimitLeft, QuotaLeft, RateLimitsDto};

/// A version of a plan, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanRef {
    /// The plan's code.
    #[schema(example = "pro")]
    code: String,
    /// What people call it.
    name: String,
    /// Which of its versions.
    version: u32,
}

/// A half-open span of time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PeriodDto {
    /// Its first instant.
    #[schema(format = DateTime)]
    start: String,
    /// The first instant after it.
    #[schema(format = DateTime)]
    end: String,
}

impl PeriodDto {
    fn of(period: Period) -> Self {
        Self {
            start: instant(period.start),
            end: instant(period.end),
        }
    }
}

/// What a subscription is to become when its period is over.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PendingDto {
    /// The plan.
    plan: PlanRef,
    /// How many of it.
    quantity: u32,
    /// When.
    #[schema(format = DateTime)]
    at: String,
}

/// How far it has come with a fee that could not be collected.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DunningDto {
    /// How often it was tried, the first time too.
    tries: u8,
    /// How many tries there are in all.
    most: u8,
    /// When it is tried again; null after the last try.
    #[schema(format = DateTime)]
    next_try_at: Option<String>,
    /// When calls stop, or have stopped.
    #[schema(format = DateTime)]
    grace_until: String,
    /// When the subscription ends unless it is paid by then; null where it does not end by itself.
    #[schema(format = DateTime)]
    ends_at: Option<String>,
}

impl DunningDto {
    fn of(dunned: Dunned) -> Self {
        Self {
            tries: dunned.tries,
            most: dunned.most,
            next_try_at: dunned.next_try_at.map(instant),
            grace_until: instant(dunned.grace_until),
            ends_at: dunned.ends_at.map(instant),
        }
    }
}

/// The subscription of an account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubscriptionDto {
    /// Its id.
    #[schema(example = "sub_0001fv5kz4y00")]
    id: String,
    /// What it is on.
    plan: PlanRef,
    /// How many of it.
    quantity: u32,
    /// `incomplete`, `trialing`, `active`, `grace`, `past_due`, `paused`, `ended`.
    #[schema(value_type = String, example = "active")]
    state: &'static str,
    /// `house` where it is billed to the wallet, `gateway` where it was bought elsewhere, `operator`
    /// where it is given and nothing is billed.
    #[schema(value_type = String, example = "house")]
    managed_by: &'static str,
    /// What a period costs.
    fee: MoneyDto,
    /// The period that was billed last; null before the first.
    period: Option<PeriodDto>,
    /// Whether another period follows.
    auto_renew: bool,
    /// Whether its quotas are open.
    entitled: bool,
    /// Until when they are; null where they are closed, or open until something happens.
    #[schema(format = DateTime)]
    access_until: Option<String>,
    /// When its trial ends; null where it is in none.
    #[schema(format = DateTime)]
    trial_ends_at: Option<String>,
    /// When it is to end; null where it is not.
    #[schema(format = DateTime)]
    cancel_at: Option<String>,
    /// What it is to become.
    pending: Option<PendingDto>,
    /// What is owed.
    owed: Option<MoneyDto>,
    /// How far it has come with what is owed; null where nothing is.
    dunning: Option<DunningDto>,
    /// When it began.
    #[schema(format = DateTime)]
    started_at: Option<String>,
    /// What is left of its quotas, where that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    quotas: Option<Vec<QuotaLeft>>,
    /// What is left of the calls that it lets the account make, where it sets a limit and that is
    /// asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    call_limit: Option<CallLimitLeft>,
    /// The most that may be sent, where it sets a limit and that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limits: Option<RateLimitsDto>,
}

/// Something that is charged, or credited.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ItemDto {
    /// `plan` for a period, `rest` for the rest of one, `unused` for what was paid and not used.
    #[schema(value_type = String, example = "rest")]
    kind: &'static str,
    /// For when.
    period: PeriodDto,
    /// How much; below zero for what is credited.
    amount: MoneyDto,
}

/// What a change of plan does and costs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuoteDto {
    /// What to send to take it.
    #[schema(example = "chq_0001fv5kz4y00")]
    id: String,
    /// Of which subscription.
    subscription: String,
    /// To what.
    plan: PlanRef,
    /// How many of it.
    quantity: u32,
    /// `in_place`: the period goes on, its rest on the other plan. `reset`: a whole period of the
    /// other plan begins. `at_period_end`: nothing changes before. `in_trial`: the trial goes on.
    #[schema(value_type = String, example = "in_place")]
    way: &'static str,
    /// From when on it is on the other plan.
    #[schema(format = DateTime)]
    effective_at: String,
    /// When the trial ends, in one.
    #[schema(format = DateTime)]
    trial_ends_at: Option<String>,
    /// What is charged and credited at once, item by item; without taxes that come on top.
    items: Vec<ItemDto>,
    /// What coupons take off the fee of a whole period. What is prorated has it inside already.
    discount: MoneyDto,
    /// What is left with all taxes; below zero it goes back to the wallet.
    total: MoneyDto,
    /// The taxes in it.
    tax: MoneyDto,
    /// For which instant it was reckoned.
    #[schema(format = DateTime)]
    made_at: String,
    /// Until when it can be taken.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// What came of what was asked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DoneDto {
    /// Whether it was only looked what would come of it.
    preview: bool,
    /// The subscription after it.
    subscription: SubscriptionDto,
    /// What was charged and credited, item by item; without taxes that come on top.
    items: Vec<ItemDto>,
    /// What coupons took off the fee of a whole period. What is prorated has it inside already.
    discount: MoneyDto,
    /// What was left with all taxes; below zero it went back to the wallet.
    total: MoneyDto,
    /// The taxes in it.
    tax: MoneyDto,
    /// Credit that came with it.
    granted: MoneyDto,
    /// The wallet's balance after it.
    balance_after: MoneyDto,
}

/// Shows things as they are at an instant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) plans: &'a dyn Plans,
    pub(crate) dunning: &'a Dunning,
    pub(crate) now: OffsetDateTime,
}

impl Shown<'_> {
    /// The subscription of an account with what is left of its quotas and its limits: the one that is billed, else
    /// the one that was given.
    pub(crate) async fn standing(
        self,
        (account, reports): (AccountId, &dyn Reports),
        standing: Option<Standing>,
    ) -> Result<SubscriptionDto, ApiError> {
        let open = self.plans.subscribed(account).await?;
        let (left, call_limit) = match &open {
            Some(open) => (
                quotas::left(reports, (account, open), self.now).await?,
                quotas::calls_left(reports, (account, open), self.now).await?,
            ),
            None => (Vec::new(), None),
        };
        let rate_limits = open.as_ref().and_then(|open| open.rate_limits(self.now));
        let shown = match (standing, open) {
            (Some(standing), _) => self.subscription(&standing.subscription).await?,
            (None, Some(given)) => self.given(&given).await?,
            (None, None) => return Err(ApiError::NotFound("subscription")),
        };
        Ok(SubscriptionDto {
            quotas: Some(left),
            call_limit,
            rate_limits: rate_limits.map(RateLimitsDto::of),
            ..shown
        })
    }

    /// A subscription without its quotas.
    pub(crate) async fn subscription(self, of: &Subscription) -> Result<SubscriptionDto, ApiError> {
        let (plan, (price, currency)) = self.plan(of.version).await?;
        let pending = match of.pending {
            None => None,
            Some(pending) => Some(PendingDto {
                plan: self.plan(pending.version).await?.0,
                quantity: pending.quantity,
                at: instant(of.billed_through),
            }),
        };
        let access_until = match of.access() {
            Access::Until(end) => Some(end),
            Access::Open | Access::Closed => None,
        };
        let (owed, trial_ends_at) = match of.state {
            State::Grace(owed) | State::PastDue(owed) => (Some(owed.amount), None),
            State::Incomplete { .. } => (Some(of.charged), None),
            State::Trialing { ends_at } => (None, Some(ends_at)),
            State::Active | State::Paused { .. } | State::Ended { .. } => (None, None),
        };
        let has_period = !matches!(of.state, State::Trialing { .. });
        let period = of.billed_period().filter(|_| has_period);
        Ok(SubscriptionDto {
            id: of.id.to_string(),
            plan,
            quantity: of.quantity,
            state: of.state.name(),
            managed_by: match of.managed_by {
                ManagedBy::House => "house",
                ManagedBy::Gateway => "gateway",
            },
            fee: fee(price, of.quantity, currency),
            period: period.map(|(_, period)| PeriodDto::of(period)),
            auto_renew: of.auto_renew,
            entitled: of.is_entitled(self.now),
            access_until: access_until.map(instant),
            trial_ends_at: trial_ends_at.map(instant),
            cancel_at: of.cancel_at.map(instant),
            pending,
            owed: owed.map(|owed| minor(owed, currency)),
            dunning: of.dunned(self.dunning).map(DunningDto::of),
            started_at: Some(instant(of.started_at)),
            quotas: None,
            call_limit: None,
            rate_limits: None,
        })
    }

    async fn given(self, given: &Subscribed) -> Result<SubscriptionDto, ApiError> {
        let (plan, (price, currency)) = self.plan(given.version).await?;
        let period = given.cycle.period_at(self.now);
        Ok(SubscriptionDto {
            id: given.subscription.to_string(),
            plan,
            quantity: given.quantity,
            state: State::Active.name(),
            managed_by: "operator",
            fee: fee(price, given.quantity, currency),
            period: period.map(|(_, period)| PeriodDto::of(period)),
            auto_renew: given.ends_at.is_none(),
            entitled: given.ends_at.is_none_or(|end| self.now < end),
            access_until: given.ends_at.map(instant),
            trial_ends_at: None,
            cancel_at: None,
            pending: None,
            owed: None,
            dunning: None,
            started_at: None,
            quotas: None,
            call_limit: None,
            rate_limits: None,
        })
    }

    async fn plan(self, version: PlanVersionId) -> Result<(PlanRef, (Nanos, Currency)), ApiError> {
        let offer = self.plans.offer(version).await?;
        let offer = offer.ok_or(ApiError::Internal)?;
        let price = (offer.terms.price, offer.terms.currency);
        let plan = PlanRef {
            code: offer.code,
            name: offer.name,
            version: offer.number,
        };
        Ok((plan, price))
    }

    /// A quote.
    pub(crate) async fn quote(self, kept: &KeptQuote) -> Result<QuoteDto, ApiError> {
        let quote = &kept.quote;
        let (plan, (_, currency)) = self.plan(quote.to).await?;
        let (way, effective_at, trial_ends_at) = match &quote.way {
            ChangeWay::InPlace => ("in_place", quote.at, None),
            ChangeWay::Reset(_) => ("reset", quote.at, None),
            ChangeWay::AtPeriodEnd(end) => ("at_period_end", *end, None),
            ChangeWay::InTrial(end) => ("in_trial", quote.at, Some(instant(*end))),
        };
        Ok(QuoteDto {
            id: kept.id.to_string(),
            subscription: quote.subscription.to_string(),
            plan,
            quantity: quote.quantity,
            way,
            effective_at: instant(effective_at),
            trial_ends_at,
            items: items(&quote.items, currency),
            discount: minor(quote.discount, currency),
            total: minor(quote.total().map_err(|_| ApiError::Internal)?, currency),
            tax: minor(quote.taxes.all, currency),
            made_at: instant(quote.at),
            expires_at: instant(quote.expires_at),
        })
    }

    /// What came of an order, or would.
    pub(crate) async fn done(self, done: &Done, preview: bool) -> Result<DoneDto, ApiError> {
        let at = done.subscription.changed_at.unwrap_or(self.now);
        // As it was then, however late it is asked for again.
        let then = Self { now: at, ..self };
        Ok(DoneDto {
            preview,
            subscription: then.subscription(&done.subscription).await?,
            items: items(&done.items, done.currency),
            discount: minor(done.discount, done.currency),
            total: minor(done.total().map_err(|_| ApiError::Internal)?, done.currency),
            tax: minor(done.taxes.all, done.currency),
            granted: MoneyDto::of_amount(done.granted, done.currency),
            balance_after: MoneyDto::of(done.balance, done.currency),
        })
    }
}

fn items(fees: &[Fee], currency: Currency) -> Vec<ItemDto> {
    let item = |fee: &Fee| ItemDto {
        kind: fee.kind.name(),
        period: PeriodDto::of(fee.period),
        amount: minor(fee.amount, currency),
    };
    fees.iter().map(item).collect()
}

fn minor(amount: i64, currency: Currency) -> MoneyDto {
    let money = Money::of_minor(amount, currency).map(Money::nanos);
    MoneyDto::of(money.unwrap_or(Nanos::MAX), currency)
}

/// What so many of a price come to.
fn fee(price: Nanos, quantity: u32, currency: Currency) -> MoneyDto {
    let whole = price.get().saturating_mul(i64::from(quantity));
    MoneyDto::of(Nanos::new(whole), currency)
}
