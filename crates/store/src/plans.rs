//! Plans, their versions, and who is subscribed to them.

use std::sync::Arc;

use async_trait::async_trait;
use billing_core::billing_run::due_at;
use billing_core::budget::BudgetUnit;
use billing_core::id::{AccountId, PlanId, PlanVersionId, QuotaId, SubscriptionId};
use billing_core::invoice::FeeDocuments;
use billing_core::period::{Cycle, Interval};
use billing_core::plan::{AfterQuota, PlanTerms, PlanVersion, Subscribed};
use billing_core::port::coupons::CouponsError;
use billing_core::port::plans::{
    NewSubscription, NewVersion, Offer, Plans, PlansError, Subscriber,
};
use billing_core::port::subscriptions::RecordError;
use billing_core::proration::{ProrationUnit, Share};
use billing_core::quota::{Quota, QuotaTerms};
use billing_core::subscription::{Start, Subscription};
use billing_core::zone::Zone;
use sea_orm::{ConnectionTrait, QueryResult};
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::books::load;
use crate::coupons;
use crate::db;
use crate::error::StoreError;
use crate::instant::{get, instant, micros, stored};
use crate::invoices::Desk;
use crate::open::Store;
use crate::subscriptions::{self, row, standing_code};

type Result<T> = std::result::Result<T, PlansError>;

/// What cannot be read or asked, whatever was to come of it.
pub(crate) type Stored<T> = std::result::Result<T, StoreError>;

mod offers;

const VERSION: &str = "plan_version";
const SUBSCRIPTION: &str = "subscription";

#[async_trait]
impl Plans for Store {
    async fn publish(&self, made: NewVersion) -> Result<PlanVersion> {
        made.check()?;
        let tx = self.db.begin().await?;
        let result = publish(&tx, &made).await;
        db::finish(tx, result).await
    }

    async fn offers(&self) -> Result<Vec<Offer>> {
        Ok(offers::all(&self.db.reader).await?)
    }

    async fn offer(&self, version: PlanVersionId) -> Result<Option<Offer>> {
        Ok(offers::one(&self.db.reader, version).await?)
    }

    async fn archive(&self, code: &str, now: OffsetDateTime) -> Result<bool> {
        let tx = self.db.begin().await?;
        let result = offers::archive(&tx, code, now).await;
        Ok(db::finish(tx, result).await?)
    }

    async fn newest(&self, code: &str) -> Result<Option<PlanVersion>> {
        Ok(newest(&self.db.reader, code).await?)
    }

    async fn subscribe(&self, made: NewSubscription) -> Result<Subscribed> {
        let tx = self.db.begin().await?;
        let result = subscribe(&tx, &made).await;
        db::finish(tx, result).await
    }

    async fn begin(&self, made: NewSubscription) -> Result<Subscription> {
        let tx = self.db.begin().await?;
        let result = begin(&tx, &made, self.desk()).await;
        let result = db::finish(tx, result).await;
        self.committer.forget(made.account);
        result
    }

    async fn subscribed(&self, account: AccountId) -> Result<Option<Subscribed>> {
        Ok(subscribed(&self.db.reader, account).await?)
    }

    async fn subscribers(
        &self,
        plan: PlanId,
        after: Option<SubscriptionId>,
        limit: u32,
    ) -> Result<Vec<Subscriber>> {
        Ok(offers::subscribers(&self.db.reader, plan, (after, limit)).await?)
    }

    async fn end(&self, account: AccountId, now: OffsetDateTime) -> Result<bool> {
        let tx = self.db.begin().await?;
        let result = end(&tx, account, self.desk(), now).await;
        let result = db::finish(tx, result).await;
        self.committer.forget(account);
        result
    }
}

async fn publish<C: ConnectionTrait>(tx: &C, made: &NewVersion) -> Result<PlanVersion> {
    let insert = "INSERT INTO plan (id, code, name, created_at) VALUES (?, ?, ?, ?) \
                  ON CONFLICT (code) DO UPDATE SET name = excluded.name";
    let values = vec![
        made.plan.get().into(),
        made.code.as_str().into(),
        made.name.as_str().into(),
        micros(made.now).into(),
    ];
    // It locks the plan, so that two versions do not get one number.
    db::run(tx, insert, values).await?;
    let last = newest(tx, &made.code).await?;
    let is_same = |last: &&PlanVersion| last.terms == made.terms && last.archived_at.is_none();
    if let Some(last) = last.as_ref().filter(is_same) {
        return Ok(last.clone());
    }
    let text = "SELECT id FROM plan WHERE code = ?";
    let plan = db::one(tx, text, vec![made.code.as_str().into()]).await?;
    let plan = plan.map(|row| get::<i64>(&row, "id")).transpose()?;
    let terms = made.terms.quotas.iter().cloned();
    let quotas = made.quotas.iter().zip(terms);
    let version = PlanVersion {
        id: made.version,
        plan: plan.map_or(made.plan, PlanId::new),
        number: last.map_or(1, |last| last.number.saturating_add(1)),
        terms: made.terms.clone(),
        quotas: quotas.map(|(id, terms)| Quota { id: *id, terms }).collect(),
        published_at: Some(made.now),
        archived_at: None,
    };
    insert_version(tx, &version).await?;
    Ok(version)
}

async fn insert_version<C: ConnectionTrait>(tx: &C, version: &PlanVersion) -> Result<()> {
    let terms = &version.terms;
    let (unit, count) = match terms.billing.interval() {
        Interval::Days(days) => ("day", days),
        Interval::Months(months) => ("month", months),
    };
    let text = "INSERT INTO plan_version (id, plan_id, version, currency, price, period_unit, \
                period_count, trial_days, call_limit, speed_boost, features, published_at, terms) \
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let call_limit = terms
        .call_limit
        .map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    let values = vec![
        version.id.get().into(),
        version.plan.get().into(),
        i64::from(version.number).into(),
        terms.currency.code().into(),
        terms.price.get().into(),
        unit.into(),
        i64::from(count.get()).into(),
        i64::from(terms.trial_days).into(),
        call_limit.into(),
        terms.speed_boost.into(),
        json(&terms.features)?.into(),
        version.published_at.map(micros).into(),
        json(terms)?.into(),
    ];
    db::run(tx, text, values).await?;
    for quota in &version.quotas {
        let text = "INSERT INTO plan_quota (id, plan_version_id, models, unit, amount, \
                    quota_window, rollover) VALUES (?, ?, ?, ?, ?, ?, ?)";
        let values = vec![
            quota.id.get().into(),
            version.id.get().into(),
            quota.terms.models.to_string().into(),
            i64::from(quota.terms.unit.code()).into(),
            stored(quota.terms.amount).into(),
            json(&quota.terms.window)?.into(),
            stored(quota.terms.rollover).into(),
        ];
        db::run(tx, text, values).await?;
    }
    Ok(())
}

async fn newest<C: ConnectionTrait>(tx: &C, code: &str) -> Stored<Option<PlanVersion>> {
    let text = "SELECT v.* FROM plan_version v JOIN plan p ON p.id = v.plan_id \
                WHERE p.code = ? AND v.published_at IS NOT NULL ORDER BY v.version DESC LIMIT 1";
    let row = db::one(tx, text, vec![code.into()]).await?;
    match row {
        Some(row) => Ok(Some(version(tx, &row).await?)),
        None => Ok(None),
    }
}

async fn version<C: ConnectionTrait>(tx: &C, row: &QueryResult) -> Stored<PlanVersion> {
    let id: i64 = get(row, "id")?;
    let number: i64 = get(row, "version")?;
    let at = |column| -> Stored<_> {
        let at: Option<i64> = get(row, column)?;
        at.map(|at| instant(VERSION, at)).transpose()
    };
    let terms: PlanTerms = read(VERSION, &get::<String>(row, "terms")?)?;
    Ok(PlanVersion {
        id: PlanVersionId::new(id),
        plan: PlanId::new(get(row, "plan_id")?),
        number: u32::try_from(number).unwrap_or(u32::MAX),
        quotas: quotas(tx, id, &terms).await?,
        terms,
        published_at: at("published_at")?,
        archived_at: at("archived_at")?,
    })
}

/// The quotas of a version, in the order in which it names them.
async fn quotas<C: ConnectionTrait>(tx: &C, version: i64, terms: &PlanTerms) -> Stored<Vec<Quota>> {
    if terms.quotas.is_empty() {
        return Ok(Vec::new());
    }
    let text = "SELECT * FROM plan_quota WHERE plan_version_id = ? ORDER BY id";
    let rows = db::all(tx, text, vec![version.into()]).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let unit: i64 = get(row, "unit")?;
        let unit = i16::try_from(unit).ok().and_then(BudgetUnit::of_code);
        let unreadable = |why: String| StoreError::unreadable("plan_quota", why);
        let models: String = get(row, "models")?;
        found.push(Quota {
            id: QuotaId::new(get(row, "id")?),
            terms: QuotaTerms {
                models: models.parse().map_err(|e| unreadable(format!("{e}")))?,
                unit: unit.ok_or_else(|| unreadable("its unit is none".to_owned()))?,
                amount: crate::instant::amount(get(row, "amount")?),
                window: read("plan_quota", &get::<String>(row, "quota_window")?)?,
                rollover: crate::instant::amount(get(row, "rollover")?),
            },
        });
    }
    Ok(found)
}

/// A version that an account can be put on. Of two at once for an account one comes after the other.
async fn allowed<C: ConnectionTrait>(tx: &C, made: &NewSubscription) -> Result<PlanVersion> {
    let wallet = load::locked_wallet(tx, made.account).await?;
    let wallet = wallet.ok_or(PlansError::NoSuchAccount)?;
    let found = find_version(tx, made.version).await?;
    let version = found.ok_or(PlansError::NotOnSale)?;
    made.check(&version, wallet.currency)?;
    match standing_code(tx, made.account).await? {
        Some(before) => Err(PlansError::Already(before)),
        None => Ok(version),
    }
}

async fn begin<C: ConnectionTrait>(
    tx: &C,
    made: &NewSubscription,
    desk: Desk<'_>,
) -> Result<Subscription> {
    let version = allowed(tx, made).await?;
    // Nobody has a plan's trial twice, whatever they changed to since.
    let text = "SELECT h.plan_version_id FROM plan_held h \
                JOIN plan_version v ON v.id = h.plan_version_id \
                WHERE h.account_id = ? AND v.plan_id = ? LIMIT 1";
    let values = vec![made.account.get().into(), version.plan.get().into()];
    let start = Start {
        id: made.id,
        account: made.account,
        version: &version,
        quantity: made.quantity,
        zone: zone_of(tx, made.account).await?,
        may_try: db::one(tx, text, values).await?.is_none(),
    };
    let (mut subscription, effects) = Subscription::start(start, made.now)?;
    let currency = version.terms.currency;
    if let Some(code) = &made.coupon {
        let on = (currency, Some(version.plan));
        let redeemed = coupons::redeem(tx, (made.account, code), on, made.now).await;
        redeemed.map_err(not_redeemed)?;
    }
    let of = (&mut subscription, currency);
    let bills = subscriptions::bill(tx, of, &effects, desk, made.now).await;
    let bills = bills.map_err(|error| not_recorded(error, SUBSCRIPTION))?;
    let due_at = due_at(&subscription, desk.dunning);
    row::insert(tx, &subscription, due_at, made.after_quota).await?;
    let of = (&subscription, currency);
    let applied = subscriptions::apply(tx, of, (&effects, bills), desk, made.now).await;
    applied.map_err(|error| not_recorded(error, SUBSCRIPTION))?;
    Ok(subscription)
}

fn not_recorded(error: RecordError, table: &'static str) -> PlansError {
    match error {
        RecordError::Unavailable(error) => PlansError::Unavailable(error),
        error @ (RecordError::Changed | RecordError::Inconsistent(_)) => PlansError::Unreadable {
            table,
            why: error.to_string(),
        },
    }
}

fn not_redeemed(error: CouponsError) -> PlansError {
    match error {
        CouponsError::Refused(error) => error.into(),
        CouponsError::NoSuchAccount => PlansError::NoSuchAccount,
        CouponsError::Unavailable(error) => PlansError::Unavailable(error),
        error @ (CouponsError::CodeTaken(_)
        | CouponsError::NoSuchPlan(_)
        | CouponsError::Inconsistent(_)) => PlansError::Unreadable {
            table: "coupon",
            why: error.to_string(),
        },
    }
}

async fn subscribe<C: ConnectionTrait>(tx: &C, made: &NewSubscription) -> Result<Subscribed> {
    let version = allowed(tx, made).await?;
    let zone = zone_of(tx, made.account).await?;
    let interval = version.terms.billing.interval();
    let cycle = Cycle::anniversary(zone, made.now, interval);
    let beyond =
        || StoreError::unreadable(SUBSCRIPTION, "its period is beyond the calendar".to_owned());
    let (_, period) = cycle.period_at(made.now).ok_or_else(beyond)?;
    let text = "INSERT INTO subscription (id, account_id, plan_version_id, state, anchor, \
                period_start, period_end, auto_renew, managed_by, created_at, after_quota, \
                quantity, access_until) \
                VALUES (?, ?, ?, 'active', ?, ?, ?, ?, 'operator', ?, ?, ?, ?)";
    let after = made.after_quota.map(|after| json(&after)).transpose()?;
    let goes_on = version.terms.billing.renews();
    let access_until = (!goes_on).then_some(period.end);
    let values = vec![
        made.id.get().into(),
        made.account.get().into(),
        made.version.get().into(),
        micros(made.now).into(),
        micros(period.start).into(),
        micros(period.end).into(),
        goes_on.into(),
        micros(made.now).into(),
        after.into(),
        i64::from(made.quantity).into(),
        access_until.map(micros).into(),
    ];
    db::run(tx, text, values).await?;
    row::hold(tx, (made.account, made.version), made.quantity).await?;
    db::note_change(tx, "account", Some(made.account.get()), micros(made.now)).await?;
    let made = subscribed(tx, made.account).await?;
    let lost = || StoreError::unreadable(SUBSCRIPTION, "it is not there once made".to_owned());
    Ok(made.ok_or_else(lost)?)
}

async fn end<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<bool> {
    let Some(wallet) = load::locked_wallet(tx, account).await? else {
        return Ok(false);
    };
    let text = "SELECT id, facts FROM subscription WHERE account_id = ? AND ended_at IS NULL \
                ORDER BY id DESC LIMIT 1";
    let Some(found) = db::one(tx, text, vec![account.get().into()]).await? else {
        return Ok(false);
    };
    let Some(mut subscription) = row::facts(&found)? else {
        let text = "UPDATE subscription SET ended_at = ?, state = 'ended' WHERE id = ?";
        let values = vec![micros(now).into(), get::<i64>(&found, "id")?.into()];
        db::run(tx, text, values).await?;
        db::note_change(tx, "account", Some(account.get()), micros(now)).await?;
        return Ok(true);
    };
    let version = version_of(tx, subscription.version).await?;
    let stood_at = subscription.revision;
    let nothing = (ProrationUnit::Second, Share::new(0, 1));
    let effects = subscription.cancel_now(&version, nothing, false, now)?;
    if !row::update(tx, &subscription, None, stood_at).await? {
        return Err(PlansError::Parked);
    }
    // What is not credited is documented by nothing.
    let of = (&subscription, wallet.currency);
    let nothing = (effects.as_slice(), FeeDocuments::Nothing);
    let applied = subscriptions::apply(tx, of, nothing, desk, now).await;
    applied.map_err(|error| not_recorded(error, SUBSCRIPTION))?;
    Ok(true)
}

/// What an account is subscribed to. One that is not costs one query.
pub(crate) async fn subscribed<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
) -> Stored<Option<Subscribed>> {
    let text = "SELECT s.id AS subscription_id, s.facts, s.plan_version_id, s.anchor, \
                s.access_until, s.after_quota, s.quantity, p.code, a.zone \
                FROM subscription s JOIN plan_version v ON v.id = s.plan_version_id \
                JOIN plan p ON p.id = v.plan_id JOIN account a ON a.id = s.account_id \
                WHERE s.account_id = ? AND s.state IN ('active', 'trialing', 'grace') \
                ORDER BY s.id DESC LIMIT 1";
    let Some(row) = db::one(tx, text, vec![account.get().into()]).await? else {
        return Ok(None);
    };
    let version = PlanVersionId::new(get(&row, "plan_version_id")?);
    let version = version_of(tx, version).await?;
    let code: String = get(&row, "code")?;
    let own: Option<String> = get(&row, "after_quota")?;
    let own: Option<AfterQuota> = own.map(|own| read(SUBSCRIPTION, &own)).transpose()?;
    let zone = zone(&get::<String>(&row, "zone")?)?;
    if let Some(subscription) = row::facts(&row)? {
        return Ok(subscription.subscribed((code, version), own, zone));
    }
    let start = instant(SUBSCRIPTION, get(&row, "anchor")?)?;
    let interval = version.terms.billing.interval();
    let ends_at: Option<i64> = get(&row, "access_until")?;
    let ends_at = ends_at.map(|at| instant(SUBSCRIPTION, at)).transpose()?;
    let quantity: i64 = get(&row, "quantity")?;
    Ok(Some(Subscribed {
        subscription: SubscriptionId::new(get(&row, "subscription_id")?),
        plan: version.plan,
        code,
        version: version.id,
        after_quota: own.unwrap_or(version.terms.after_quota),
        terms: Arc::new(version.terms),
        quotas: version.quotas.into(),
        cycle: Cycle::anniversary(zone.clone(), start, interval),
        zone,
        quantity: u32::try_from(quantity).unwrap_or(1),
        given_since: start,
        ends_at,
    }))
}

pub(crate) async fn find_version<C: ConnectionTrait>(
    tx: &C,
    id: PlanVersionId,
) -> Stored<Option<PlanVersion>> {
    let text = "SELECT * FROM plan_version WHERE id = ?";
    match db::one(tx, text, vec![id.get().into()]).await? {
        Some(row) => Ok(Some(version(tx, &row).await?)),
        None => Ok(None),
    }
}

/// A version that something on record is of.
pub(crate) async fn version_of<C: ConnectionTrait>(
    tx: &C,
    id: PlanVersionId,
) -> Stored<PlanVersion> {
    let found = find_version(tx, id).await?;
    found.ok_or_else(|| StoreError::unreadable(VERSION, format!("{id} is not there")))
}

async fn zone_of<C: ConnectionTrait>(tx: &C, account: AccountId) -> Stored<Zone> {
    let text = "SELECT zone FROM account WHERE id = ?";
    let row = db::one(tx, text, vec![account.get().into()]).await?;
    let name: Option<String> = row.map(|row| get(&row, "zone")).transpose()?;
    zone(name.as_deref().unwrap_or("UTC"))
}

fn zone(name: &str) -> Stored<Zone> {
    name.parse()
        .map_err(|e| StoreError::unreadable("account", format!("{e}")))
}

/// A value as a text.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Stored<String> {
    serde_json::to_string(value).map_err(|e| StoreError::unreadable(VERSION, e.to_string()))
}

/// A value from its text.
pub(crate) fn read<T: DeserializeOwned>(table: &'static str, text: &str) -> Stored<T> {
    serde_json::from_str(text).map_err(|e| StoreError::unreadable(table, e.to_string()))
}
