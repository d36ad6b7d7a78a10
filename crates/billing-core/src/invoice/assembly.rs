//! Putting an invoice together: fees, true-up to a minimum, credit of progressive invoices, discounts,
//! given credit, taxes; in this order.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::discount::{
    AppliedDiscount, Discount, SkippedDiscount, TakenOff, spend_promo, take_off,
};
use super::group::groups;
use super::line::{Component, Line, LineItem, LineUnit};
use super::party::{Locale, Party, PartyError, check_line, is_printable};
use super::tax::{Levied, TaxCategory, TaxFault, TaxTotal, TaxTreatment, levy};
use crate::charge_model::Quantity;
use crate::id::{AccountId, InvoiceId};
use crate::money::{Currency, Minor, MoneyError, Nanos};
use crate::period::Period;

/// What an invoice says at its head and foot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceHead {
    /// Its id.
    pub id: InvoiceId,
    /// Who owes it.
    pub account: AccountId,
    /// The currency of every amount.
    pub currency: Currency,
    /// Who sells.
    pub seller: Party,
    /// Who buys.
    pub buyer: Party,
    /// The language that it is written in.
    pub locale: Locale,
    /// What time it is for.
    pub period: Option<Period>,
    /// What it says at its foot, a paragraph each.
    pub notes: Vec<String>,
}

/// What an invoice is put together from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceParts {
    /// Head and foot.
    pub head: InvoiceHead,
    /// What is charged and credited.
    pub items: Vec<LineItem>,
    /// A minimum that the account agreed to.
    pub minimum: Option<Minimum>,
    /// What rounding has left in the account's books so far, and how it is taxed once it is listed.
    pub carried: Option<Carried>,
    /// Discounts, in the order in which they are taken off.
    pub discounts: Vec<Discount>,
    /// Given credit that may be used.
    pub promo: Minor,
    /// How each category is taxed.
    pub treatments: BTreeMap<TaxCategory, TaxTreatment>,
}

/// A minimum that usage is filled up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minimum {
    /// The line that fills it up. Its exact amount is the minimum.
    pub item: LineItem,
    /// What counts towards it and is not on this invoice.
    pub met: Nanos,
}

/// What rounding has left in an account's books: the balance of its
/// [`Rounding`](crate::ledger::LedgerCode::Rounding).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// How much; below zero, what was charged too early.
    pub amount: Nanos,
    /// How it is taxed.
    pub tax_category: TaxCategory,
}

/// An invoice that can still change. It has no number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Head and foot.
    pub head: InvoiceHead,
    /// Its lines, in the order of assembly.
    pub lines: Vec<Line>,
    /// Discounts that it gives.
    pub discounts: Vec<AppliedDiscount>,
    /// Discounts that it does not give, and why.
    pub skipped: Vec<SkippedDiscount>,
    /// How the categories of its lines are taxed.
    pub treatments: BTreeMap<TaxCategory, TaxTreatment>,
    /// Its taxes, rate by rate.
    pub taxes: Vec<TaxTotal>,
    /// What it comes to.
    pub totals: Totals,
}

/// What an invoice comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// The sum of what the lines show.
    pub lines: Minor,
    /// What discounts take off.
    pub discount: Minor,
    /// What is paid with given credit.
    pub promo: Minor,
    /// What is left without tax.
    pub net: Minor,
    /// All taxes.
    pub tax: Minor,
    /// What is to be paid: net and tax.
    pub total: Minor,
    /// What rounding has left in the account's books once the invoice is final: charged by a later
    /// one as soon as it makes a minor unit.
    pub carried: Nanos,
}

/// Why no invoice can be put together, or why one is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AssemblyError {
    /// There is nothing to list.
    #[error("an invoice needs at least one line")]
    NoLines,
    /// The seller cannot stand on it.
    #[error("the seller: {0}")]
    Seller(#[source] PartyError),
    /// The buyer cannot stand on it.
    #[error("the buyer: {0}")]
    Buyer(#[source] PartyError),
    /// A text cannot stand on it.
    #[error(transparent)]
    Text(PartyError),
    /// Two lines are made of the same.
    #[error("two lines are made of the same: \"{0}\"")]
    SameKey(String),
    /// A charge is below zero, or a credit above.
    #[error("the line \"{0}\" is a charge below zero or a credit above zero")]
    WrongSign(String),
    /// A period ends before it begins.
    #[error("the period of the line \"{0}\" ends before it begins")]
    PeriodEndsBeforeItBegins(String),
    /// Nobody said how a category is taxed.
    #[error("it is not known how \"{0}\" is taxed; state a rule for it, or that it is exempt")]
    NoTreatment(TaxCategory),
    /// What was said is no treatment.
    #[error("how \"{0}\" is taxed: {1}")]
    Treatment(TaxCategory, #[source] TaxFault),
    /// Credits are more than charges.
    #[error(
        "credits of lines that are taxed alike exceed their charges by {0}; give them back by a \
         credit note"
    )]
    CreditsExceedCharges(String),
    /// Totals are not what the lines come to.
    #[error("the invoice contradicts itself: {0}")]
    Contradiction(&'static str),
    /// An amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// Puts an invoice together.
///
/// # Errors
/// [`AssemblyError`], naming the line or the category.
pub fn assemble(parts: InvoiceParts) -> Result<Draft, AssemblyError> {
    let currency = parts.head.currency;
    let items = listed(&parts)?;
    check_texts(&parts.head, &items)?;
    let amounts: Result<Vec<_>, _> = items.iter().map(|item| item.amount(currency)).collect();
    let amounts = amounts?;
    let treatments = treatments_of(&items, &parts.treatments)?;
    let groups = groups(&treatments);
    for group in &groups {
        let total = group.total(&amounts)?;
        if total.is_negative() {
            let by = total.negated()?.text(currency);
            return Err(AssemblyError::CreditsExceedCharges(by));
        }
    }
    let off = take_off(&parts.discounts, &items, &amounts, &groups)?;
    let left = less(&amounts, &off.of_lines)?;
    let promo = spend_promo(parts.promo, &items, &left, &groups)?;
    let charged = less(&left, &promo)?;
    let levied = levy(&groups, &charged)?;
    let used: BTreeSet<&TaxCategory> = items.iter().map(|item| &item.tax_category).collect();
    let mut treatments = parts.treatments.clone();
    treatments.retain(|category, _| used.contains(category));
    let mut draft = draft_of(parts, items.clone(), &amounts, off, &promo, levied);
    draft.treatments = treatments;
    draft.totals = draft.sums()?;
    Ok(draft)
}

impl Draft {
    /// Whether it may wait for the next invoice: it has nothing but usage, and comes to less than
    /// the least that is worth a payment. The usage then stays where it is and is listed again.
    pub fn may_wait(&self, least: Minor) -> bool {
        let waits = |line: &Line| {
            matches!(
                line.item.component,
                Component::Usage { .. } | Component::Carried
            )
        };
        self.totals.total < least.max(Minor::new(1)) && self.lines.iter().all(waits)
    }

    /// Proves that it is what its lines come to.
    ///
    /// # Errors
    /// [`AssemblyError::Contradiction`], naming the figure.
    pub fn check(&self) -> Result<(), AssemblyError> {
        let currency = self.head.currency;
        for line in &self.lines {
            line.item.check()?;
            if line.amount != line.item.amount(currency)? {
                return Err(AssemblyError::Contradiction("a line's amount"));
            }
        }
        let discounts = Minor::total(self.discounts.iter().map(|d| d.amount))?;
        if discounts != self.totals.discount {
            return Err(AssemblyError::Contradiction("the sum of discounts"));
        }
        for tax in &self.taxes {
            let lines = self.lines.iter().flat_map(|line| &line.taxes);
            let parts = lines.filter(|part| part.rate == tax.rate);
            if Minor::total(parts.map(|part| part.amount))? != tax.amount {
                return Err(AssemblyError::Contradiction(
                    "a tax and the lines' parts of it",
                ));
            }
        }
        let taxes = Minor::total(self.taxes.iter().map(|tax| tax.amount))?;
        let net_and_tax = self.totals.net.plus(self.totals.tax)?;
        if taxes != self.totals.tax || net_and_tax != self.totals.total {
            return Err(AssemblyError::Contradiction("net and tax"));
        }
        let mut sums = self.sums()?;
        // What was carried in and is not listed yet stands in no line.
        sums.carried = self.totals.carried;
        if sums != self.totals || self.totals.total.is_negative() {
            return Err(AssemblyError::Contradiction("the totals"));
        }
        Ok(())
    }

    /// What its lines come to.
    fn sums(&self) -> Result<Totals, MoneyError> {
        let mut sums = Totals {
            carried: self.totals.carried,
            ..Totals::default()
        };
        for line in &self.lines {
            let included = line.included_tax()?;
            let tax = line.tax()?;
            sums.lines = sums.lines.plus(line.amount)?;
            sums.discount = sums.discount.plus(line.discount)?;
            sums.promo = sums.promo.plus(line.promo)?;
            sums.net = sums.net.plus(line.net()?)?;
            sums.tax = sums.tax.plus(tax)?;
            let charged = line.charged()?.plus(tax.minus(included)?)?;
            sums.total = sums.total.plus(charged)?;
            sums.carried = sums.carried.plus(line.residue(self.head.currency)?)?;
        }
        Ok(sums)
    }
}

/// All lines: those handed in, the true-up, and what is carried where it makes a minor unit.
fn listed(parts: &InvoiceParts) -> Result<Vec<LineItem>, AssemblyError> {
    let mut items = parts.items.clone();
    items.extend(
        parts
            .minimum
            .as_ref()
            .map(|m| m.true_up(&parts.items))
            .transpose()?
            .flatten(),
    );
    items.sort_by_key(LineItem::stage);
    let mut keys = BTreeSet::new();
    for item in &items {
        item.check()?;
        if !keys.insert(&item.key) {
            return Err(AssemblyError::SameKey(item.key.clone()));
        }
    }
    items.extend(carried_line(parts, &items)?);
    if items.is_empty() {
        return Err(AssemblyError::NoLines);
    }
    Ok(items)
}

impl Minimum {
    /// The line that fills up what the items of its plan lack; `None` where they lack nothing.
    fn true_up(&self, items: &[LineItem]) -> Result<Option<LineItem>, AssemblyError> {
        let counts = |item: &&LineItem| {
            let same_plan = self.item.plan.is_none() || self.item.plan == item.plan;
            matches!(item.component, Component::Usage { .. }) && same_plan
        };
        let used = items.iter().filter(counts).map(|item| item.exact);
        let used = used.into_iter().try_fold(self.met, Nanos::plus)?;
        let missing = self.item.exact.minus(used)?;
        let line = LineItem {
            component: Component::MinimumTrueUp,
            exact: missing,
            ..self.item.clone()
        };
        Ok((missing > Nanos::ZERO).then_some(line))
    }
}

/// The line of what earlier invoices have left; `None` where it makes no minor unit yet, or where
/// what was charged too early has nothing that it could be taken off.
fn carried_line(
    parts: &InvoiceParts,
    items: &[LineItem],
) -> Result<Option<LineItem>, AssemblyError> {
    let Some(carried) = &parts.carried else {
        return Ok(None);
    };
    let line = LineItem {
        key: format!("carried:{}", parts.head.id),
        component: Component::Carried,
        subject: String::new(),
        period: None,
        quantity: Quantity::whole(1),
        unit: LineUnit::Units,
        unit_price: None,
        meters: Vec::new(),
        exact: carried.amount,
        tax_category: carried.tax_category.clone(),
        discountable: false,
        plan: None,
    };
    let currency = parts.head.currency;
    let amount = line.amount(currency)?;
    if amount.is_zero() {
        return Ok(None);
    }
    let treatment = parts.treatments.get(&carried.tax_category);
    let alike = items
        .iter()
        .filter(|item| parts.treatments.get(&item.tax_category) == treatment);
    let mut room = amount;
    for item in alike {
        room = room.plus(item.amount(currency)?)?;
    }
    Ok((!room.is_negative()).then_some(line))
}

fn check_texts(head: &InvoiceHead, items: &[LineItem]) -> Result<(), AssemblyError> {
    head.seller.check().map_err(AssemblyError::Seller)?;
    head.buyer.check().map_err(AssemblyError::Buyer)?;
    for item in items {
        check_line("line", &item.subject).map_err(AssemblyError::Text)?;
    }
    for note in &head.notes {
        if !is_printable(note) {
            return Err(AssemblyError::Text(PartyError::Control("note")));
        }
    }
    Ok(())
}

fn treatments_of<'a>(
    items: &[LineItem],
    known: &'a BTreeMap<TaxCategory, TaxTreatment>,
) -> Result<Vec<&'a TaxTreatment>, AssemblyError> {
    let of = |item: &LineItem| {
        let category = &item.tax_category;
        let treatment = known.get(category);
        let treatment = treatment.ok_or_else(|| AssemblyError::NoTreatment(category.clone()))?;
        let fault = |fault| AssemblyError::Treatment(category.clone(), fault);
        treatment.check().map_err(fault)?;
        Ok(treatment)
    };
    items.iter().map(of).collect()
}

fn less(amounts: &[Minor], parts: &[Minor]) -> Result<Vec<Minor>, MoneyError> {
    let pairs = amounts.iter().zip(parts);
    pairs.map(|(amount, part)| amount.minus(*part)).collect()
}

fn draft_of(
    parts: InvoiceParts,
    items: Vec<LineItem>,
    amounts: &[Minor],
    off: TakenOff,
    promo: &[Minor],
    levied: Levied,
) -> Draft {
    let is_listed = items
        .iter()
        .any(|item| item.component == Component::Carried);
    let waiting = parts.carried.filter(|_| !is_listed);
    let amounts = amounts.iter().zip(&off.of_lines).zip(promo);
    let lines = items.into_iter().zip(amounts).zip(levied.of_lines);
    let lines = lines.map(|((item, ((amount, discount), promo)), taxes)| Line {
        item,
        amount: *amount,
        discount: *discount,
        promo: *promo,
        taxes,
    });
    Draft {
        head: parts.head,
        lines: lines.collect(),
        discounts: off.applied,
        skipped: off.skipped,
        treatments: BTreeMap::new(),
        taxes: levied.totals,
        totals: Totals {
            carried: waiting.map_or(Nanos::ZERO, |carried| carried.amount),
            ..Totals::default()
        },
    }
}
