//! Fees that are charged together get one invoice, in the transaction that charges them; what gives
//! back more than it charges gets credit notes.

use billing_core::id::{AccountId, InvoiceId, PlanId, PlanVersionId, SubscriptionId};
use billing_core::invoice::{BillTo, BillingDetails, Draft, FeeDocuments, Invoice, InvoiceStatus};
use billing_core::ledger::{LedgerHead, LedgerKind};
use billing_core::subscription::{Fee, FeeKind, Subscription};
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use super::deferral::{self, LineOf};
use super::{Desk, Fault, book, credit, row};
use crate::books::load;
use crate::coupons;
use crate::db;
use crate::error::StoreError;
use crate::instant::get;
use crate::plans;

/// To whom and how fees of a subscription to a version are invoiced; with its earlier invoices where
/// they are asked for.
pub(crate) async fn bill_to<'a, C: ConnectionTrait>(
    tx: &C,
    (subscription, version): (&Subscription, PlanVersionId),
    with_earlier: bool,
    desk: Desk<'a>,
    now: OffsetDateTime,
) -> Result<BillTo<'a>, StoreError> {
    let account = subscription.account;
    let (plan, subject) = plan(tx, version).await?;
    let earlier = if with_earlier {
        credit::of_subscription(tx, (account, subscription.id)).await?
    } else {
        Vec::new()
    };
    Ok(BillTo {
        house: desk.house,
        buyer: buyer(tx, account, desk).await?,
        invoice: InvoiceId::new(desk.ids.next(now).get()),
        plan,
        subject,
        discounts: coupons::discounts(tx, account).await?,
        earlier,
    })
}

/// Makes the documents of fees that were just recorded final; answers with their invoice.
pub(crate) async fn documents<C: ConnectionTrait>(
    tx: &C,
    subscription: &Subscription,
    (fees, documents): (&[Fee], FeeDocuments),
    desk: Desk<'_>,
    now: OffsetDateTime,
) -> Result<Option<Invoice>, Fault> {
    note_discounts(tx, subscription.account, fees, &documents).await?;
    match documents {
        FeeDocuments::Nothing => Ok(None),
        FeeDocuments::Notes(notes) => {
            for plan in notes.plans {
                credit::issue(tx, &plan, &plan.key, desk, now).await?;
            }
            Ok(None)
        }
        FeeDocuments::Invoice(made) => {
            let invoice = issue(tx, made.draft, Some(subscription.id), desk, now).await?;
            let (account, id) = (subscription.account, invoice.content.head.id);
            for fee in fees.iter().filter(|fee| fee.amount != 0) {
                let text = "UPDATE subscription_fee SET invoice_id = ? WHERE fee_key = ?";
                let values = vec![id.get().into(), fee.key.as_str().into()];
                db::run(tx, text, values).await?;
            }
            for taken in made.taken {
                let (invoice, line) = (taken.invoice, taken.line);
                let of = LineOf {
                    account,
                    invoice,
                    line,
                };
                deferral::set(tx, of, taken.rest).await?;
            }
            Ok(Some(invoice))
        }
    }
}

/// Notes what coupons took off, and that they did.
async fn note_discounts<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    fees: &[Fee],
    documents: &FeeDocuments,
) -> Result<(), Fault> {
    coupons::applied(tx, account, documents.discounts()).await?;
    let discount = documents.discount()?;
    let whole = fees.iter().find(|fee| fee.kind == FeeKind::Plan);
    if let Some(fee) = whole.filter(|_| !discount.is_zero()) {
        let text = "UPDATE subscription_fee SET discount = ? WHERE fee_key = ?";
        let values = vec![discount.get().into(), fee.key.as_str().into()];
        db::run(tx, text, values).await?;
    }
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
) -> Result<Invoice, Fault> {
    let account = draft.head.account;
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
    Ok(invoice)
}

async fn plan<C: ConnectionTrait>(
    tx: &C,
    version: PlanVersionId,
) -> Result<(PlanId, String), StoreError> {
    let text = "SELECT p.id, p.name FROM plan_version v JOIN plan p ON p.id = v.plan_id \
                WHERE v.id = ?";
    let row = db::one(tx, text, vec![version.get().into()]).await?;
    let row = row.ok_or_else(|| StoreError::unreadable("plan_version", "it is not there"))?;
    Ok((PlanId::new(get(&row, "id")?), get(&row, "name")?))
}

async fn buyer<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    desk: Desk<'_>,
) -> Result<BillingDetails, StoreError> {
    let text = "SELECT name, billing_details FROM account WHERE id = ?";
    let row = db::one(tx, text, vec![account.get().into()]).await?;
    let row = row.ok_or_else(|| StoreError::unreadable("account", "it is not there"))?;
    if let Some(details) = get::<Option<String>>(&row, "billing_details")? {
        return plans::read("account", &details);
    }
    let name: String = get(&row, "name")?;
    Ok(desk.house.unnamed_buyer(account, &name))
}
