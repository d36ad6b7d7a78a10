//! Subscriptions that are billed: what is due to them, how they stand, what becomes of them.
//!
//! A subscription is recorded for the revision that it was read at, in one transaction with the fees,
//! grants and messages that follow; whoever is second with a revision records nothing. So any number
//! of nodes may do what is due, and any may stop at any point.

mod orders;
mod payment;
pub(crate) mod row;

use async_trait::async_trait;
use billing_core::billing_run::Saving;
use billing_core::id::{AccountId, LotId, SubscriptionId};
use billing_core::invoice::{FeeDocuments, gives_back};
use billing_core::money::Currency;
use billing_core::port::books::BooksError;
use billing_core::port::subscriptions::{RecordError, Standing, Subscriptions};
use billing_core::subscription::{Effect, Fee, State, Subscription, charged};
use billing_core::subscription_order::can_pay;
use billing_core::wallet::{Credit, LotKind};
use sea_orm::{ConnectionTrait, QueryResult};
use time::OffsetDateTime;

use crate::books::{credit, load, lots};
use crate::db;
use crate::error::StoreError;
use crate::instant::{get, micros};
use crate::invoices::{self, Desk, Fault};
use crate::messages;
use crate::open::Store;
use crate::plans;

type Result<T> = std::result::Result<T, RecordError>;

const FEE: &str = "subscription_fee";

#[async_trait]
impl Subscriptions for Store {
    async fn due(
        &self,
        by: OffsetDateTime,
        after: Option<SubscriptionId>,
        limit: u32,
    ) -> Result<Vec<SubscriptionId>> {
        let text = "SELECT id FROM subscription WHERE due_at <= ? AND id > ? ORDER BY id LIMIT ?";
        let values = vec![
            micros(by).into(),
            after.map_or(i64::MIN, SubscriptionId::get).into(),
            i64::from(limit).into(),
        ];
        let rows = db::all(&self.db.reader, text, values).await?;
        let id = |row: &QueryResult| Ok(SubscriptionId::new(get(row, "id")?));
        rows.iter().map(id).collect()
    }

    async fn owing(
        &self,
        after: Option<SubscriptionId>,
        limit: u32,
    ) -> Result<Vec<SubscriptionId>> {
        let text = "SELECT id FROM subscription WHERE state IN ('grace', 'past_due') \
                    AND managed_by = 'house' AND id > ? ORDER BY id LIMIT ?";
        let values = vec![
            after.map_or(i64::MIN, SubscriptionId::get).into(),
            i64::from(limit).into(),
        ];
        let rows = db::all(&self.db.reader, text, values).await?;
        let id = |row: &QueryResult| Ok(SubscriptionId::new(get(row, "id")?));
        rows.iter().map(id).collect()
    }

    async fn look_at(
        &self,
        id: SubscriptionId,
        revision: u64,
        due_at: Option<OffsetDateTime>,
    ) -> Result<()> {
        let text = "UPDATE subscription SET due_at = ? \
                    WHERE id = ? AND revision = ? AND parked_at IS NULL";
        let values = vec![
            due_at.map(micros).into(),
            id.get().into(),
            row::revision(revision).into(),
        ];
        let tx = self.db.begin().await?;
        let result = db::run(&tx, text, values).await;
        db::finish(tx, result).await?;
        Ok(())
    }

    async fn load(&self, id: SubscriptionId, now: OffsetDateTime) -> Result<Option<Standing>> {
        // A fee and the subscription that owes it are of one moment.
        let tx = self.db.snapshot().await?;
        let result = standing(&tx, id, (self.desk(), now)).await;
        Ok(db::finish(tx, result).await?)
    }

    async fn save(&self, saving: &Saving, now: OffsetDateTime) -> Result<()> {
        let tx = self.db.begin().await?;
        let result = save(&tx, saving, self.desk(), now).await;
        let result = db::finish(tx, result).await;
        self.committer.forget(saving.subscription.account);
        result
    }

    async fn park(&self, id: SubscriptionId, why: &str, now: OffsetDateTime) -> Result<()> {
        let text = "UPDATE subscription SET due_at = NULL, parked_at = ?, parked_why = ? \
                    WHERE id = ?";
        let values = vec![micros(now).into(), why.into(), id.get().into()];
        let tx = self.db.begin().await?;
        let result = db::run(&tx, text, values).await;
        db::finish(tx, result).await?;
        Ok(())
    }

    async fn parked(&self) -> Result<Vec<(SubscriptionId, String)>> {
        let text =
            "SELECT id, parked_why FROM subscription WHERE parked_at IS NOT NULL ORDER BY id";
        let rows = db::all(&self.db.reader, text, Vec::new()).await?;
        let parked = |row: &QueryResult| {
            let why: Option<String> = get(row, "parked_why")?;
            Ok((
                SubscriptionId::new(get(row, "id")?),
                why.unwrap_or_default(),
            ))
        };
        rows.iter().map(parked).collect()
    }

    async fn unpark(&self, id: SubscriptionId, now: OffsetDateTime) -> Result<bool> {
        let text = "UPDATE subscription SET due_at = ?, parked_at = NULL, parked_why = NULL \
                    WHERE id = ? AND parked_at IS NOT NULL";
        let values = vec![micros(now).into(), id.get().into()];
        let tx = self.db.begin().await?;
        let result = db::run(&tx, text, values).await;
        Ok(db::finish(tx, result).await? > 0)
    }
}

async fn standing<C: ConnectionTrait>(
    tx: &C,
    id: SubscriptionId,
    at: (Desk<'_>, OffsetDateTime),
) -> std::result::Result<Option<Standing>, StoreError> {
    let text = "SELECT facts FROM subscription WHERE id = ?";
    let Some(found) = db::one(tx, text, vec![id.get().into()]).await? else {
        return Ok(None);
    };
    match row::facts(&found)? {
        Some(subscription) => Ok(Some(of_facts(tx, subscription, at).await?)),
        None => Ok(None),
    }
}

/// A subscription as it stands, by its facts.
async fn of_facts<C: ConnectionTrait>(
    tx: &C,
    subscription: Subscription,
    (desk, now): (Desk<'_>, OffsetDateTime),
) -> std::result::Result<Standing, StoreError> {
    let version = plans::version_of(tx, subscription.version).await?;
    let next = match subscription.pending {
        Some(pending) => Some(plans::version_of(tx, pending.version).await?),
        None => None,
    };
    let account = subscription.account;
    let wallet = load::wallet_of(tx, account).await?;
    let wallet = wallet.ok_or_else(|| StoreError::unreadable("wallet", "it is not there"))?;
    let lots = lots::holding(tx, account).await?;
    let of = (&subscription, version.id);
    let bill_to = invoices::issue::bill_to(tx, of, false, desk, now).await?;
    let of = (&subscription, &version);
    Ok(Standing {
        open_fee: open_fee(tx, &subscription).await?,
        can_pay: can_pay(of, (wallet, lots), &bill_to, now),
        subscription,
        version,
        next,
    })
}

/// The fee of the period that was billed last, where it is owed.
async fn open_fee<C: ConnectionTrait>(
    tx: &C,
    subscription: &Subscription,
) -> std::result::Result<Option<Fee>, StoreError> {
    let owes = matches!(
        subscription.state,
        State::Incomplete { .. } | State::Grace(_) | State::PastDue(_)
    );
    let Some((_, period)) = subscription.billed_period().filter(|_| owes) else {
        return Ok(None);
    };
    let text = "SELECT fee FROM subscription_fee WHERE subscription_id = ? AND period_start = ? \
                AND kind = 'plan' AND paid_at IS NULL ORDER BY charged_at DESC";
    let values = vec![subscription.id.get().into(), micros(period.start).into()];
    for found in db::all(tx, text, values).await? {
        let fee: Fee = plans::read(FEE, &get::<String>(&found, "fee")?)?;
        if fee.period == period {
            return Ok(Some(fee));
        }
    }
    Ok(None)
}

async fn save<C: ConnectionTrait>(
    tx: &C,
    saving: &Saving,
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<()> {
    let account = saving.subscription.account;
    // The wallet is always locked first, here and where fees are paid.
    let wallet = load::locked_wallet(tx, account).await?;
    let wallet =
        wallet.ok_or_else(|| RecordError::Inconsistent(format!("{account} is no more")))?;
    let mut subscription = saving.subscription.clone();
    let of = (&mut subscription, wallet.currency);
    let bills = bill(tx, of, &saving.effects, desk, now).await?;
    if !row::update(tx, &subscription, saving.due_at, saving.revision).await? {
        return Err(RecordError::Changed);
    }
    if let Some(fee) = &saving.paid {
        paid(tx, account, fee, now).await?;
    }
    let of = (&subscription, wallet.currency);
    apply(tx, of, (&saving.effects, bills), desk, now).await
}

/// What documents the fees of a change; the subscription knows from then on what came off them.
pub(crate) async fn bill<C: ConnectionTrait>(
    tx: &C,
    (subscription, currency): (&mut Subscription, Currency),
    effects: &[Effect],
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<FeeDocuments> {
    let fees = charged(effects);
    if fees.is_empty() {
        return Ok(FeeDocuments::Nothing);
    }
    let of = (&*subscription, subscription.version);
    let bill_to = invoices::issue::bill_to(tx, of, gives_back(&fees), desk, now).await?;
    let documents = bill_to.bill((subscription, currency), &fees, now);
    Ok(documents.map_err(Fault::from)?)
}

/// Records what follows from a change, each once for its key, and tells the nodes.
pub(crate) async fn apply<C: ConnectionTrait>(
    tx: &C,
    (subscription, currency): (&Subscription, Currency),
    (effects, documents): (&[Effect], FeeDocuments),
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<()> {
    let fees = charge_all(tx, subscription, effects, now).await?;
    invoices::issue::documents(tx, subscription, (&fees, documents), desk, now).await?;
    follow(tx, (subscription, currency), effects, desk, now).await
}

/// Records what follows from a change besides its fees. Their invoice has its number by now: one is
/// taken before anything is told to the nodes, so that two who issue never wait for each other in a
/// circle.
async fn follow<C: ConnectionTrait>(
    tx: &C,
    (subscription, currency): (&Subscription, Currency),
    effects: &[Effect],
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<()> {
    let account = subscription.account;
    let ids = desk.ids;
    invoices::end::of_ended(tx, subscription, desk, now).await?;
    messages::keep(tx, subscription, effects, desk, now).await?;
    for effect in effects {
        match effect {
            // What is charged and told is on record by now, and what is tried again was before.
            Effect::Charge(_) | Effect::Retry(_) | Effect::Tell(_) => {}
            Effect::Grant {
                key,
                amount,
                expires_at,
            } => {
                let granted = Credit {
                    lot: LotId::new(ids.next(now).get()),
                    kind: LotKind::Promo,
                    amount: amount.money(),
                    currency,
                    priority: 0,
                    expires_at: Some(*expires_at),
                    key: key.clone(),
                    note: "included in the plan".to_owned(),
                };
                let added = credit::add_credit(tx, account, &granted, ids.next(now), now).await;
                added.map_err(not_granted)?;
            }
        }
    }
    db::note_change(tx, "account", Some(account.get()), micros(now)).await?;
    Ok(())
}

fn not_granted(error: BooksError) -> RecordError {
    if let BooksError::Unavailable(error) = error {
        return RecordError::Unavailable(error);
    }
    RecordError::Inconsistent(error.to_string())
}

/// Records fees that are charged together.
async fn charge_all<C: ConnectionTrait>(
    tx: &C,
    subscription: &Subscription,
    effects: &[Effect],
    now: OffsetDateTime,
) -> Result<Vec<Fee>> {
    let fees = charged(effects);
    for fee in &fees {
        charge(tx, subscription, fee, now).await?;
    }
    Ok(fees)
}

async fn charge<C: ConnectionTrait>(
    tx: &C,
    subscription: &Subscription,
    fee: &Fee,
    now: OffsetDateTime,
) -> Result<()> {
    let text = "INSERT INTO subscription_fee (fee_key, subscription_id, account_id, kind, \
                period_start, period_end, amount, fee, charged_at) \
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (fee_key) DO NOTHING";
    let values = vec![
        fee.key.as_str().into(),
        subscription.id.get().into(),
        subscription.account.get().into(),
        fee.kind.name().into(),
        micros(fee.period.start).into(),
        micros(fee.period.end).into(),
        fee.amount.into(),
        plans::json(fee)?.into(),
        micros(now).into(),
    ];
    if db::run(tx, text, values).await? == 0 {
        let twice = format!("{} is charged twice", fee.key);
        return Err(RecordError::Inconsistent(twice));
    }
    Ok(())
}

/// Notes that a fee is paid, for the period that it turned out to be for.
async fn paid<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    fee: &Fee,
    now: OffsetDateTime,
) -> Result<()> {
    let text = "UPDATE subscription_fee SET paid_at = ?, period_start = ?, period_end = ?, fee = ? \
                WHERE fee_key = ? AND paid_at IS NULL";
    let values = vec![
        micros(now).into(),
        micros(fee.period.start).into(),
        micros(fee.period.end).into(),
        plans::json(fee)?.into(),
        fee.key.as_str().into(),
    ];
    if db::run(tx, text, values).await? == 0 {
        let what = format!("{} is paid and was not owed", fee.key);
        return Err(RecordError::Inconsistent(what));
    }
    invoices::issue::paid_for(tx, account, fee).await?;
    Ok(())
}

/// Whether any subscription of an account is on record that has not ended: the code of its plan.
pub(crate) async fn standing_code<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
) -> std::result::Result<Option<String>, StoreError> {
    let text = "SELECT p.code FROM subscription s JOIN plan_version v ON v.id = s.plan_version_id \
                JOIN plan p ON p.id = v.plan_id WHERE s.account_id = ? AND s.ended_at IS NULL \
                ORDER BY s.id DESC LIMIT 1";
    let found = db::one(tx, text, vec![account.get().into()]).await?;
    found.map(|row| get(&row, "code")).transpose()
}
