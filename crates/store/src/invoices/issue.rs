//! Fees that are charged together get one invoice, in the transaction that charges them; what gives
//! back more than it charges gets credit notes.

use billing_core::id::{AccountId, InvoiceId, PlanId, SubscriptionId};
use billing_core::invoice::{
    BillingDetails, Deferral, Draft, FeesSold, Invoice, InvoiceStatus, SoldFee,
};
use billing_core::ledger::{LedgerHead, LedgerKind};
use billing_core::money::{Currency, Minor, MoneyError, Nanos};
use billing_core::port::subscriptions::RecordError;
use billing_core::subscription::{Fee, FeeKind, Subscription};
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use super::deferral::{self, LineOf};
use super::{Desk, Fault, book, credit, row};
use crate::books::load;
use crate::db;
use crate::error::StoreError;
use crate::instant::get;
use crate::plans;

/// A fee that was invoiced before, of which something is not earned.
#[derive(Debug)]
struct Earlier {
    of: LineOf,
    left: Deferral,
    subject: String,
    plan: Option<PlanId>,
}

/// Invoices fees that were just recorded.
pub(crate) async fn fees<C: ConnectionTrait>(
    tx: &C,
    (subscription, currency): (&Subscription, Currency),
    fees: &[&Fee],
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<(), RecordError> {
    let fees: Vec<&Fee> = fees.iter().copied().filter(|fee| fee.amount != 0).collect();
    if fees.is_empty() {
        return Ok(());
    }
    let net = fees.iter().map(|fee| Minor::new(fee.amount));
    let net = Minor::total(net).map_err(Fault::from)?;
    if net.is_negative() {
        let back = net.negated().map_err(Fault::from)?;
        return credit::of_change(tx, subscription, back, desk, now).await;
    }
    let earlier = earlier(tx, subscription.id).await?;
    let sold = sold(tx, (subscription, currency), (&fees, &earlier), desk, now).await?;
    let draft = desk.house.draft(sold, now);
    let draft = draft.map_err(|error| Fault::Invoice(error.into()))?;
    let credited = credited(&draft).map_err(Fault::from)?;
    let id = issue(tx, draft, Some(subscription.id), desk, now).await?;
    for fee in fees {
        let text = "UPDATE subscription_fee SET invoice_id = ? WHERE fee_key = ?";
        let values = vec![id.get().into(), fee.key.as_str().into()];
        db::run(tx, text, values).await?;
    }
    take_back(tx, &earlier, credited, now).await?;
    Ok(())
}

/// A fee that is paid may be for another period than its invoice says: it is earned over that one.
pub(crate) async fn paid_for<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    fee: &Fee,
) -> Result<(), StoreError> {
    let Some(invoice) = row::of_fee(tx, account, fee).await? else {
        return Ok(());
    };
    for (line, said) in invoice.content.lines.iter().enumerate() {
        let is_other = said.item.key == fee.key && said.item.period != Some(fee.period);
        if is_other {
            deferral::move_to(tx, &invoice, line, fee.period).await?;
        }
    }
    Ok(())
}

/// Makes a draft final: its number, its entries, its row.
pub(super) async fn issue<C: ConnectionTrait>(
    tx: &C,
    draft: Draft,
    subscription: Option<SubscriptionId>,
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<InvoiceId, Fault> {
    let (id, account) = (draft.head.id, draft.head.account);
    let wallet = load::locked_wallet(tx, account).await?;
    let wallet = wallet.ok_or_else(|| StoreError::unreadable("wallet", "it is not there"))?;
    deferral::insert(tx, &draft).await?;
    let (number, at) = row::next_number(tx, &desk.house.invoices, now).await?;
    let booked = draft.finalize(desk.house.issue(number, at), &[])?;
    let invoice = booked.invoice;
    let head = LedgerHead {
        id: desk.ids.next(now),
        account,
        currency: invoice.content.head.currency,
        kind: LedgerKind::Invoice,
        key: invoice.key(),
        booked_at: now,
    };
    let note = format!("invoice {}", invoice.number);
    book(tx, head, booked.entries, &note, wallet.posted).await?;
    row::insert(tx, &invoice, subscription).await?;
    // One that asks for nothing is paid as it is.
    if let InvoiceStatus::Paid(_) = invoice.status {
        deferral::begin(tx, &invoice).await?;
    }
    Ok(id)
}

/// What a draft takes back of earlier fees, without tax.
fn credited(draft: &Draft) -> Result<Nanos, MoneyError> {
    let currency = draft.head.currency;
    let mut sum = Minor::ZERO;
    for line in &draft.lines {
        sum = sum.plus(line.income()?.min(Minor::ZERO))?;
    }
    sum.negated()?.nanos(currency)
}

async fn sold<C: ConnectionTrait>(
    tx: &C,
    (subscription, currency): (&Subscription, Currency),
    (fees, earlier): (&[&Fee], &[Earlier]),
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<FeesSold, Fault> {
    let (plan, name) = plan(tx, subscription).await?;
    let unearned = earlier.iter().map(|earlier| earlier.left.left);
    let unearned = unearned.into_iter().try_fold(Nanos::ZERO, Nanos::plus)?;
    let of = |fee: &&Fee| {
        let before = earlier.first().filter(|_| fee.kind == FeeKind::Unused);
        SoldFee {
            fee: (*fee).clone(),
            subject: before.map_or_else(|| name.clone(), |before| before.subject.clone()),
            plan: before.map_or(Some(plan), |before| before.plan),
            quantity: subscription.quantity,
            unearned,
        }
    };
    Ok(FeesSold {
        id: InvoiceId::new(desk.ids.next(now).get()),
        account: subscription.account,
        currency,
        buyer: buyer(tx, subscription, desk).await?,
        fees: fees.iter().map(of).collect(),
    })
}

async fn plan<C: ConnectionTrait>(
    tx: &C,
    subscription: &Subscription,
) -> Result<(PlanId, String), StoreError> {
    let text = "SELECT p.id, p.name FROM plan_version v JOIN plan p ON p.id = v.plan_id \
                WHERE v.id = ?";
    let row = db::one(tx, text, vec![subscription.version.get().into()]).await?;
    let row = row.ok_or_else(|| StoreError::unreadable("plan_version", "it is not there"))?;
    Ok((PlanId::new(get(&row, "id")?), get(&row, "name")?))
}

async fn buyer<C: ConnectionTrait>(
    tx: &C,
    subscription: &Subscription,
    desk: Desk<'_>,
) -> Result<BillingDetails, StoreError> {
    let account = subscription.account;
    let text = "SELECT name, billing_details FROM account WHERE id = ?";
    let row = db::one(tx, text, vec![account.get().into()]).await?;
    let row = row.ok_or_else(|| StoreError::unreadable("account", "it is not there"))?;
    if let Some(details) = get::<Option<String>>(&row, "billing_details")? {
        return plans::read("account", &details);
    }
    let name: String = get(&row, "name")?;
    Ok(desk.house.unnamed_buyer(account, &name))
}

/// What earlier invoices of a subscription have not earned yet, the newest first.
async fn earlier<C: ConnectionTrait>(
    tx: &C,
    subscription: SubscriptionId,
) -> Result<Vec<Earlier>, StoreError> {
    let mut earlier = Vec::new();
    for invoice in row::of_subscription(tx, subscription, ["open", "paid"]).await? {
        for (line, left) in deferral::of_invoice(tx, &invoice).await? {
            let item = invoice.content.lines.get(line).map(|line| &line.item);
            earlier.extend(
                item.filter(|_| left.left > Nanos::ZERO)
                    .map(|item| Earlier {
                        of: line_of(&invoice, line),
                        left,
                        subject: item.subject.clone(),
                        plan: item.plan,
                    }),
            );
        }
        // What is older is earned.
        if earlier.is_empty() {
            break;
        }
    }
    Ok(earlier)
}

pub(super) const fn line_of(invoice: &Invoice, line: usize) -> LineOf {
    LineOf {
        account: invoice.content.head.account,
        invoice: invoice.content.head.id,
        line,
    }
}

/// Takes what was credited back from what is not earned, the newest first. Those fees have no time
/// left.
async fn take_back<C: ConnectionTrait>(
    tx: &C,
    earlier: &[Earlier],
    credited: Nanos,
    now: OffsetDateTime,
) -> Result<(), Fault> {
    let mut rest = credited;
    for line in earlier {
        if rest <= Nanos::ZERO {
            break;
        }
        let part = rest.min(line.left.left);
        deferral::take_back(tx, line.of, (line.left, part), Some(now)).await?;
        rest = rest.minus(part)?;
    }
    Ok(())
}
