//! What fees that are charged together are documented by: one invoice, or credit notes of earlier ones
//! where they give back more than they charge.
//!
//! A preview asks what they come to and goes no further. Whoever charges them takes the next number
//! and makes the same documents final.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use super::assembly::{AssemblyError, Draft};
use super::credit_note::CreditError;
use super::deferral::Deferral;
use super::discount::{AppliedDiscount, Discount, off_price};
use super::house::{BillingDetails, FeesSold, Invoicing, SoldFee};
use super::invoiced::{GiveBackError, Invoiced, NotePlan};
use crate::id::{InvoiceId, PlanId};
use crate::money::{Currency, Minor, MoneyError, Nanos};
use crate::subscription::{Fee, FeeKind, Subscription};

/// To whom fees of a subscription are invoiced, by whom, and what was invoiced before.
#[derive(Debug, Clone)]
pub struct BillTo<'a> {
    /// Who sells, and how it is numbered and taxed.
    pub house: &'a Invoicing,
    /// Who buys.
    pub buyer: BillingDetails,
    /// The id of the invoice, where one is made.
    pub invoice: InvoiceId,
    /// What is sold.
    pub plan: PlanId,
    /// What that is called.
    pub subject: String,
    /// What coupons of the account take off a fee of a whole period, in the order in which they were
    /// redeemed.
    pub discounts: Vec<Discount>,
    /// The invoices of the subscription that are open or paid, the newest first. They may be left
    /// out where [`gives_back`] says that nothing is given back of them.
    pub earlier: Vec<Invoiced>,
}

/// What documents fees that are charged together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeeDocuments {
    /// Nothing: they are none, or of nothing.
    Nothing,
    /// An invoice.
    Invoice(Box<FeeInvoice>),
    /// Credit notes.
    Notes(FeeNotes),
}

/// What gives back more than fees charge, before it is final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeeNotes {
    /// The notes.
    pub plans: Vec<NotePlan>,
    /// What came off the fees first: as much more is given back.
    pub discounts: Vec<AppliedDiscount>,
}

/// An invoice of fees, before it is final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeeInvoice {
    /// What it lists.
    pub draft: Draft,
    /// What is left to be earned of lines of earlier invoices, of which it credits something.
    pub taken: Vec<TakenBack>,
}

/// What is not earned of a line after something was taken back. Its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenBack {
    /// Of which invoice.
    pub invoice: InvoiceId,
    /// The line's place.
    pub line: usize,
    /// What is left.
    pub rest: Deferral,
}

/// The taxes on fees that are charged together, in minor units; below zero what is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct Taxes {
    /// All of them.
    pub all: i64,
    /// What of them comes on top of prices; the rest is included.
    pub on_top: i64,
}

/// Why fees cannot be documented.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FeeDocumentsError {
    /// No invoice can be put together.
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    /// Earlier invoices cannot give it back.
    #[error(transparent)]
    Credit(#[from] CreditError),
    /// They charged less.
    #[error(transparent)]
    GiveBack(#[from] GiveBackError),
    /// An amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// Whether fees give something back of earlier invoices.
pub fn gives_back(fees: &[Fee]) -> bool {
    fees.iter().any(|fee| fee.amount < 0)
}

impl BillTo<'_> {
    /// What fees of a subscription that are charged at an instant are documented by. The subscription
    /// is as it stands after them.
    ///
    /// # Errors
    /// [`FeeDocumentsError`].
    pub fn documents(
        &self,
        (subscription, currency): (&Subscription, Currency),
        fees: &[Fee],
        at: OffsetDateTime,
    ) -> Result<FeeDocuments, FeeDocumentsError> {
        let fees: Vec<&Fee> = fees.iter().filter(|fee| fee.amount != 0).collect();
        if fees.is_empty() {
            return Ok(FeeDocuments::Nothing);
        }
        let listed = Minor::total(fees.iter().map(|fee| Minor::new(fee.amount)))?;
        let discounts = self.discounts_of(&fees)?;
        let net = listed.minus(Minor::total(discounts.iter().map(|off| off.amount))?)?;
        if net.is_negative() {
            let plans = NotePlan::of_change(subscription, &self.earlier, net.negated()?)?;
            return Ok(FeeDocuments::Notes(FeeNotes { plans, discounts }));
        }
        let unearned = self.unearned();
        let sold = self.sold((subscription, currency), &fees, &unearned)?;
        let draft = self.house.draft(sold, at)?;
        let taken = taken_back(&draft, &unearned, at)?;
        let invoice = FeeInvoice { draft, taken };
        Ok(FeeDocuments::Invoice(Box::new(invoice)))
    }

    /// The same, of fees that are charged: the subscription knows from then on what came off.
    ///
    /// # Errors
    /// [`FeeDocumentsError`].
    pub fn bill(
        &self,
        (subscription, currency): (&mut Subscription, Currency),
        fees: &[Fee],
        at: OffsetDateTime,
    ) -> Result<FeeDocuments, FeeDocumentsError> {
        let documents = self.documents((subscription, currency), fees, at)?;
        subscription.note_discounts(documents.discounts())?;
        Ok(documents)
    }

    /// What comes off fees. What is prorated has its discount inside already.
    fn discounts_of(&self, fees: &[&Fee]) -> Result<Vec<AppliedDiscount>, MoneyError> {
        let whole = fees.iter().filter(|fee| fee.kind == FeeKind::Plan);
        let price = Minor::total(whole.map(|fee| Minor::new(fee.amount)))?;
        off_price(&self.discounts, (self.plan, price))
    }

    /// What is not earned of earlier lines, the newest invoice first.
    fn unearned(&self) -> Vec<(&Invoiced, usize, Deferral)> {
        let of = |invoiced: &'_ Invoiced| invoiced.unearned.clone();
        let all = self.earlier.iter().flat_map(|invoiced| {
            let lines = of(invoiced).into_iter();
            lines.map(move |(line, left)| (invoiced, line, left))
        });
        all.filter(|(_, _, left)| left.left > Nanos::ZERO).collect()
    }

    fn sold(
        &self,
        (subscription, currency): (&Subscription, Currency),
        fees: &[&Fee],
        unearned: &[(&Invoiced, usize, Deferral)],
    ) -> Result<FeesSold, MoneyError> {
        let left = unearned.iter().map(|(_, _, left)| left.left);
        let left = left.into_iter().try_fold(Nanos::ZERO, Nanos::plus)?;
        let mut lines = unearned
            .iter()
            .map(|(of, line, _)| of.invoice.content.lines.get(*line));
        let newest = lines.next().flatten().map(|line| &line.item);
        let sold = |fee: &&Fee| {
            let before = newest.filter(|_| fee.kind == FeeKind::Unused);
            SoldFee {
                fee: (*fee).clone(),
                subject: before.map_or_else(|| self.subject.clone(), |item| item.subject.clone()),
                plan: before.map_or(Some(self.plan), |item| item.plan),
                quantity: subscription.quantity,
                unearned: left,
            }
        };
        Ok(FeesSold {
            id: self.invoice,
            account: subscription.account,
            currency,
            buyer: self.buyer.clone(),
            fees: fees.iter().map(sold).collect(),
            discounts: self.discounts.clone(),
        })
    }
}

/// Takes what a draft credits from what is not earned, the newest first.
fn taken_back(
    draft: &Draft,
    unearned: &[(&Invoiced, usize, Deferral)],
    at: OffsetDateTime,
) -> Result<Vec<TakenBack>, MoneyError> {
    let mut credited = Minor::ZERO;
    for line in &draft.lines {
        credited = credited.minus(line.income()?.min(Minor::ZERO))?;
    }
    let mut rest = credited.nanos(draft.head.currency)?;
    let mut taken = Vec::new();
    for (of, line, before) in unearned {
        if rest <= Nanos::ZERO {
            break;
        }
        let (part, after) = before.taken_back(rest);
        rest = rest.minus(part)?;
        taken.push(TakenBack {
            invoice: of.id(),
            line: *line,
            rest: after.ending(at),
        });
    }
    Ok(taken)
}

impl FeeDocuments {
    /// The taxes.
    ///
    /// # Errors
    /// [`CreditError`]; [`MoneyError::OutOfRange`].
    pub fn taxes(&self) -> Result<Taxes, CreditError> {
        match self {
            Self::Nothing => Ok(Taxes::default()),
            Self::Invoice(invoice) => {
                let totals = &invoice.draft.totals;
                let charged = totals.lines.minus(totals.discount)?;
                Ok(Taxes {
                    all: totals.tax.get(),
                    on_top: totals.total.minus(charged)?.get(),
                })
            }
            Self::Notes(notes) => {
                let (mut all, mut on_top) = (Minor::ZERO, Minor::ZERO);
                for plan in &notes.plans {
                    let back = plan.gives_back()?;
                    all = all.minus(back.tax)?;
                    on_top = on_top.minus(back.total.minus(back.lines)?)?;
                }
                let (all, on_top) = (all.get(), on_top.get());
                Ok(Taxes { all, on_top })
            }
        }
    }

    /// What discounts come off, in the order in which they do.
    pub fn discounts(&self) -> &[AppliedDiscount] {
        match self {
            Self::Nothing => &[],
            Self::Invoice(invoice) => &invoice.draft.discounts,
            Self::Notes(notes) => &notes.discounts,
        }
    }

    /// What they come to, as prices are stated.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn discount(&self) -> Result<Minor, MoneyError> {
        Minor::total(self.discounts().iter().map(|off| off.amount))
    }

    /// What is to be paid.
    pub fn due(&self) -> Minor {
        match self {
            Self::Invoice(invoice) => invoice.draft.totals.total,
            Self::Nothing | Self::Notes(_) => Minor::ZERO,
        }
    }

    /// What is given back to the wallet.
    ///
    /// # Errors
    /// [`CreditError`]; [`MoneyError::OutOfRange`].
    pub fn back(&self) -> Result<Minor, CreditError> {
        let Self::Notes(notes) = self else {
            return Ok(Minor::ZERO);
        };
        let mut sum = Minor::ZERO;
        for plan in &notes.plans {
            sum = sum.plus(plan.gives_back()?.back)?;
        }
        Ok(sum)
    }
}
