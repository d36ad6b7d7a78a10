//! Orders of customers: the subscription, its fees, the wallet, credit and messages in one
//! transaction, which locks the wallet first.

use async_trait::async_trait;
use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, SubscriptionId};
use billing_core::plan::PlanVersion;
use billing_core::port::orders::{KeptQuote, NewOrder, Orders, QuoteAsk};
use billing_core::port::subscriptions::{RecordError, Standing};
use billing_core::proration::Share;
use billing_core::settlement::Booking;
use billing_core::subscription::change::{ChangeAsk, ChangeQuote};
use billing_core::subscription_order::{
    CarriedOut, Done, FeeDraw, Footing, Order, OrderError, carry_out, quote,
};
use billing_core::wallet::Wallet;
use sea_orm::{ConnectionTrait, Value};
use time::OffsetDateTime;

use super::{charge_all, follow, of_facts, paid, payment, row};
use crate::books::{lease, load, lots};
use crate::db;
use crate::error::StoreError;
use crate::instant::{amount, get, micros};
use crate::invoices::{Desk, issue};
use crate::open::Store;
use crate::plans;

type Result<T> = std::result::Result<T, OrderError>;
type Stored<T> = std::result::Result<T, StoreError>;

const QUOTE: &str = "subscription_quote";
const ORDER: &str = "subscription_order";

/// For how long a quote that nobody took is kept after it has expired, in days.
const KEPT_DAYS: i64 = 7;

#[async_trait]
impl Orders for Store {
    async fn standing_of(
        &self,
        account: AccountId,
        now: OffsetDateTime,
    ) -> std::result::Result<Option<Standing>, RecordError> {
        let tx = self.db.snapshot().await?;
        let result = standing_of(&tx, account, (self.desk(), now)).await;
        let found = db::finish(tx, result).await?;
        Ok(found.map(|(standing, _)| standing))
    }

    async fn quote(&self, ask: &QuoteAsk) -> Result<KeptQuote> {
        let tx = self.db.begin().await?;
        let result = quoted(&tx, ask, self.desk()).await;
        db::finish(tx, result).await
    }

    async fn preview(&self, made: &NewOrder) -> Result<Done> {
        let tx = self.db.begin().await?;
        let result = match locked_wallet(&tx, made.account).await {
            Ok(wallet) => carried(&tx, made, wallet, self.desk()).await,
            Err(error) => Err(error),
        };
        let carried = db::finish(tx, result).await?;
        Ok(carried.done)
    }

    async fn place(&self, made: &NewOrder) -> Result<Done> {
        let tx = self.db.begin().await?;
        let result = place(&tx, made, self.desk()).await;
        let result = db::finish(tx, result).await;
        self.committer.forget(made.account);
        match result? {
            Placed::Done(done) => Ok(*done),
            Placed::Waits(error) => Err(error),
        }
    }
}

/// What is written of an order.
enum Placed {
    /// All of it.
    Done(Box<Done>),
    /// Nothing but that nodes are to give back what would pay it.
    Waits(OrderError),
}

async fn locked_wallet<C: ConnectionTrait>(tx: &C, account: AccountId) -> Result<Wallet> {
    let wallet = load::locked_wallet(tx, account).await?;
    wallet.ok_or(OrderError::NoSubscription)
}

/// What an account is billed for as it stands, and whether it is set aside.
async fn standing_of<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    at: (Desk<'_>, OffsetDateTime),
) -> Stored<Option<(Standing, bool)>> {
    let text = "SELECT facts, parked_at FROM subscription \
                WHERE account_id = ? AND ended_at IS NULL ORDER BY id DESC LIMIT 1";
    let Some(found) = db::one(tx, text, vec![account.get().into()]).await? else {
        return Ok(None);
    };
    let Some(subscription) = row::facts(&found)? else {
        return Ok(None);
    };
    let is_parked = get::<Option<i64>>(&found, "parked_at")?.is_some();
    let standing = of_facts(tx, subscription, at).await?;
    Ok(Some((standing, is_parked)))
}

async fn to_be_changed<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    at: (Desk<'_>, OffsetDateTime),
) -> Result<Standing> {
    match standing_of(tx, account, at).await? {
        Some((_, true)) => Err(OrderError::Parked),
        Some((standing, false)) => Ok(standing),
        None => Err(OrderError::NoSubscription),
    }
}

/// What is left of the quotas that come with a whole period, the least.
async fn unused<C: ConnectionTrait>(
    tx: &C,
    standing: &Standing,
    now: OffsetDateTime,
) -> Stored<Share> {
    let subscription = &standing.subscription;
    let mut budgets = Vec::new();
    for (scope, gives) in subscription.whole_quotas(&standing.version, now) {
        let used = used(tx, subscription.account, scope).await?;
        budgets.push((gives, used));
    }
    Ok(Share::least_left(budgets))
}

/// What was used of a budget, with what nodes have on lease of it.
async fn used<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    scope: BudgetScope,
) -> Stored<Amount> {
    let row = scope.row();
    let text = "SELECT used, leased, came FROM quota_usage WHERE account_id = ? AND kind = ? \
                AND subject = ? AND unit = ? AND window_start = ?";
    let values: Vec<Value> = vec![
        account.get().into(),
        i64::from(row.kind).into(),
        row.subject.into(),
        i64::from(row.unit).into(),
        row.window_start.into(),
    ];
    let Some(found) = db::one(tx, text, values).await? else {
        return Ok(Amount::ZERO);
    };
    // What came from the window before is used first, and is none of this period's.
    let taken = amount(get(&found, "used")?).plus(amount(get(&found, "leased")?));
    Ok(taken.less(amount(get(&found, "came")?)))
}

async fn quoted<C: ConnectionTrait>(tx: &C, ask: &QuoteAsk, desk: Desk<'_>) -> Result<KeptQuote> {
    // Of a quote and an order at once one comes after the other.
    locked_wallet(tx, ask.account).await?;
    let standing = to_be_changed(tx, ask.account, (desk, ask.now)).await?;
    let to = plans::find_version(tx, ask.to).await?;
    let to = to.ok_or(OrderError::NoSuchVersion)?;
    let wanted = ChangeAsk {
        to: &to,
        quantity: ask.quantity.unwrap_or(standing.subscription.quantity),
        timing: ask.timing,
        by: ask.by,
        unused: unused(tx, &standing, ask.now).await?,
    };
    let of = (&standing.subscription, to.id);
    let bill_to = issue::bill_to(tx, of, true, desk, ask.now).await?;
    let quote = quote(&standing, &wanted, &bill_to, ask.now)?;
    if ask.is_kept {
        keep(tx, ask, &quote).await?;
    }
    let id = ask.id;
    Ok(KeptQuote { id, quote, to })
}

/// Keeps a quote, and forgets those that expired long ago.
async fn keep<C: ConnectionTrait>(tx: &C, ask: &QuoteAsk, quote: &ChangeQuote) -> Stored<()> {
    let old = ask.now.saturating_sub(time::Duration::days(KEPT_DAYS));
    let text = "DELETE FROM subscription_quote \
                WHERE account_id = ? AND expires_at < ? AND taken_at IS NULL";
    db::run(tx, text, vec![ask.account.get().into(), micros(old).into()]).await?;
    let text = "INSERT INTO subscription_quote (account_id, id, subscription_id, quote, \
                expires_at) VALUES (?, ?, ?, ?, ?)";
    let values = vec![
        ask.account.get().into(),
        ask.id.get().into(),
        quote.subscription.get().into(),
        plans::json(quote)?.into(),
        micros(quote.expires_at).into(),
    ];
    db::run(tx, text, values).await?;
    Ok(())
}

/// A quote of the account that was not taken yet, with the version that it changes to.
async fn to_be_taken<C: ConnectionTrait>(
    tx: &C,
    made: &NewOrder,
) -> Result<Option<(ChangeQuote, PlanVersion)>> {
    let Order::Take(id) = made.order else {
        return Ok(None);
    };
    let text = "SELECT quote, taken_at FROM subscription_quote WHERE account_id = ? AND id = ?";
    let values = vec![made.account.get().into(), id.get().into()];
    let found = db::one(tx, text, values).await?;
    let found = found.ok_or(OrderError::NoSuchQuote)?;
    if get::<Option<i64>>(&found, "taken_at")?.is_some() {
        return Err(OrderError::Taken);
    }
    let quote: ChangeQuote = plans::read(QUOTE, &get::<String>(&found, "quote")?)?;
    let to = plans::version_of(tx, quote.to).await?;
    Ok(Some((quote, to)))
}

/// What an order would change; nothing is written.
async fn carried<C: ConnectionTrait>(
    tx: &C,
    made: &NewOrder,
    wallet: Wallet,
    desk: Desk<'_>,
) -> Result<CarriedOut> {
    let quote = to_be_taken(tx, made).await?;
    let standing = to_be_changed(tx, made.account, (desk, made.now)).await?;
    let to = quote.as_ref().map_or(&standing.version, |(_, to)| to);
    let of = (&standing.subscription, to.id);
    let lots = lots::holding(tx, made.account).await?;
    let footing = Footing {
        quote: quote.as_ref().map(|(quote, to)| (quote, to)),
        wallet,
        lots,
        unused: unused(tx, &standing, made.now).await?,
        paid_so_far: paid_so_far(tx, standing.subscription.id).await?,
        bill_to: issue::bill_to(tx, of, true, desk, made.now).await?,
        standing: &standing,
    };
    carry_out(made.order, &footing, (desk.dunning, made.now))
}

/// What was paid for a subscription less what was given back, in minor units.
async fn paid_so_far<C: ConnectionTrait>(tx: &C, id: SubscriptionId) -> Stored<i64> {
    let text = "SELECT CAST(COALESCE(SUM(amount - discount), 0) AS BIGINT) AS paid FROM subscription_fee \
                WHERE subscription_id = ? AND paid_at IS NOT NULL";
    let found = db::one(tx, text, vec![id.get().into()]).await?;
    found.map_or(Ok(0), |row| get(&row, "paid"))
}

async fn place<C: ConnectionTrait>(tx: &C, made: &NewOrder, desk: Desk<'_>) -> Result<Placed> {
    let wallet = locked_wallet(tx, made.account).await?;
    if let Some(before) = done_before(tx, made).await? {
        return Ok(Placed::Done(Box::new(before)));
    }
    let carried = match carried(tx, made, wallet, desk).await {
        Ok(carried) => carried,
        Err(OrderError::OnLease(missing)) => {
            let wanted = Amount::of(missing.nanos());
            lease::claim_for_house(tx, made.account, wanted, made.now).await?;
            return Ok(Placed::Waits(OrderError::OnLease(missing)));
        }
        Err(error) => return Err(error),
    };
    lease::drop_claim_of_house(tx, made.account).await?;
    let done = carried.done.clone();
    record(tx, carried, wallet, (desk, made.now)).await?;
    note(tx, made, &done).await?;
    Ok(Placed::Done(Box::new(done)))
}

/// Records what becomes of the subscription, with its fees, what documents them, and what pays it.
async fn record<C: ConnectionTrait>(
    tx: &C,
    carried: CarriedOut,
    wallet: Wallet,
    (desk, now): (Desk<'_>, OffsetDateTime),
) -> Result<()> {
    let saving = &carried.saving;
    let subscription = &saving.subscription;
    if !row::update(tx, subscription, saving.due_at, saving.revision).await? {
        return Err(RecordError::Changed.into());
    }
    let fees = charge_all(tx, subscription, &saving.effects, now).await?;
    let documents = (fees.as_slice(), carried.documents);
    let invoice = issue::documents(tx, subscription, documents, desk, now).await;
    let invoice = invoice.map_err(RecordError::from)?;
    if let Some(FeeDraw { fee, draw }) = carried.payment {
        let before = lots::holding(tx, subscription.account).await?;
        let txn = desk.ids.next(now);
        let booking = Booking { txn, now };
        let paid = draw.pay(subscription.account, (&fee, invoice), booking);
        let paid = paid.map_err(|error| OrderError::Inconsistent(error.to_string()))?;
        let fingerprint = format!("fee {} {}", fee.amount, wallet.currency);
        let texts = (fingerprint.as_str(), "change of a subscription");
        payment::write(tx, &paid, &before, texts).await?;
    }
    for fee in &fees {
        paid(tx, subscription.account, fee, now).await?;
    }
    let of = (subscription, wallet.currency);
    follow(tx, of, &saving.effects, desk, now).await?;
    Ok(())
}

/// What came of the order when its key was used before.
async fn done_before<C: ConnectionTrait>(tx: &C, made: &NewOrder) -> Result<Option<Done>> {
    let text = "SELECT fingerprint, done FROM subscription_order \
                WHERE account_id = ? AND idem_key = ?";
    let values = vec![made.account.get().into(), made.key.as_str().into()];
    let Some(found) = db::one(tx, text, values).await? else {
        return Ok(None);
    };
    if get::<String>(&found, "fingerprint")? != made.order.fingerprint() {
        return Err(OrderError::KeyReused);
    }
    let done: Done = plans::read(ORDER, &get::<String>(&found, "done")?)?;
    Ok(Some(Done {
        is_replayed: true,
        ..done
    }))
}

/// Keeps what came of an order, and that its quote is taken.
async fn note<C: ConnectionTrait>(tx: &C, made: &NewOrder, done: &Done) -> Result<()> {
    let text = "INSERT INTO subscription_order (account_id, idem_key, subscription_id, \
                fingerprint, done, made_at) VALUES (?, ?, ?, ?, ?, ?)";
    let values = vec![
        made.account.get().into(),
        made.key.as_str().into(),
        done.subscription.id.get().into(),
        made.order.fingerprint().into(),
        plans::json(done)?.into(),
        micros(made.now).into(),
    ];
    db::run(tx, text, values).await?;
    if let Order::Take(id) = made.order {
        let text = "UPDATE subscription_quote SET taken_at = ? WHERE account_id = ? AND id = ?";
        let values = vec![
            micros(made.now).into(),
            made.account.get().into(),
            id.get().into(),
        ];
        db::run(tx, text, values).await?;
    }
    Ok(())
}
