//! What an invoice lists: lines as they are handed in, and as they stand on it.

use serde::{Deserialize, Serialize};

use super::assembly::AssemblyError;
use super::tax::{TaxCategory, TaxRate};
use crate::charge_model::Quantity;
use crate::id::{InvoiceId, LotId, PlanId, PriceVersionId};
use crate::meter::Meter;
use crate::money::{Currency, Minor, Money, MoneyError, Nanos};
use crate::period::Period;
use crate::price::UnitPrice;
use crate::subscription::FeeKind;

/// A line as it is handed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineItem {
    /// What it is made of, in a form that finds it again: unique on the invoice, and with the account
    /// for ever, so that nothing is invoiced twice.
    pub key: String,
    /// What is charged, or credited.
    pub component: Component,
    /// What that is called: the model, the plan, the pack.
    pub subject: String,
    /// When it was used, or may be.
    pub period: Option<Period>,
    /// How much of it.
    pub quantity: Quantity,
    /// In what the quantity counts.
    pub unit: LineUnit,
    /// What one costs, where one price says it.
    pub unit_price: Option<StatedPrice>,
    /// What the usage consists of, meter by meter.
    pub meters: Vec<(Meter, u64)>,
    /// What is due for it, exactly: of usage the sum that its calls were settled at.
    pub exact: Nanos,
    /// Which taxes are due on it.
    pub tax_category: TaxCategory,
    /// Whether coupons take something off it. Proration items have their discount inside already.
    pub discountable: bool,
    /// The plan that it belongs to.
    pub plan: Option<PlanId>,
}

/// What a line charges, or, with an amount below zero, credits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "component", rename_all = "snake_case")]
pub enum Component {
    /// Usage on credit of one model at one price version.
    Usage {
        /// The model.
        model: String,
        /// The version that its calls were rated with.
        price_version: PriceVersionId,
    },
    /// The fee of a plan for a period.
    PlanFee,
    /// A pack beside a plan.
    AddOn,
    /// What a changed plan costs for the rest of a period.
    ProrationCharge,
    /// What of a fee is given back because its plan was changed.
    ProrationCredit {
        /// How much of that fee the books have not earned yet.
        unearned: Nanos,
    },
    /// Credit that is bought: a lot of the wallet.
    TopUp {
        /// The lot.
        lot: LotId,
    },
    /// What is missing to a minimum that was agreed on.
    MinimumTrueUp,
    /// What an earlier invoice of the same period has charged for lines of this one.
    ProgressiveCredit {
        /// The earlier invoice.
        invoice: InvoiceId,
        /// What it charged for them, before discounts.
        billed: Minor,
    },
    /// What earlier invoices left of amounts smaller than a minor unit.
    Carried,
}

/// What the quantity of a line counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineUnit {
    /// API calls.
    Calls,
    /// Model tokens.
    Tokens,
    /// Billing periods.
    Periods,
    /// Seats.
    Seats,
    /// Packs.
    Packs,
    /// Anything else.
    Units,
}

/// A price as it is shown: for so many units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatedPrice {
    /// What one unit costs.
    pub price: UnitPrice,
    /// For how many of them it is shown: a million, for tokens.
    pub per: u64,
}

/// A line as it stands on an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What was handed in.
    pub item: LineItem,
    /// What is shown: the exact amount, rounded once, half away from zero.
    pub amount: Minor,
    /// Its part of the coupons and discounts.
    pub discount: Minor,
    /// Its part of the given credit that is used.
    pub promo: Minor,
    /// Its part of each tax.
    pub taxes: Vec<LineTax>,
}

/// A line's part of a tax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineTax {
    /// The tax.
    pub rate: TaxRate,
    /// The part.
    pub amount: Minor,
}

impl Component {
    /// What a fee of a subscription is. Of what is credited, so much is not earned yet.
    pub const fn of_fee(kind: FeeKind, unearned: Nanos) -> Self {
        match kind {
            FeeKind::Plan => Self::PlanFee,
            FeeKind::Unused => Self::ProrationCredit { unearned },
            FeeKind::Rest => Self::ProrationCharge,
        }
    }
}

impl LineItem {
    /// What the line shows.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub(super) fn amount(&self, currency: Currency) -> Result<Minor, MoneyError> {
        if let Component::ProgressiveCredit { billed, .. } = &self.component {
            return billed.negated();
        }
        Ok(Minor::rounded(Money::new(self.exact, currency)))
    }

    /// Whether it is for used calls. Their exact amount stands in the books already, so rounding it
    /// leaves something; and it counts against the credit limit until it is paid.
    pub(super) const fn is_usage(&self) -> bool {
        matches!(
            self.component,
            Component::Usage { .. } | Component::ProgressiveCredit { .. } | Component::Carried
        )
    }

    /// In which part of the invoice it stands: the order of assembly.
    pub(super) const fn stage(&self) -> u8 {
        match self.component {
            Component::MinimumTrueUp => 1,
            Component::ProgressiveCredit { .. } => 2,
            Component::Carried => 3,
            Component::Usage { .. }
            | Component::PlanFee
            | Component::AddOn
            | Component::ProrationCharge
            | Component::ProrationCredit { .. }
            | Component::TopUp { .. } => 0,
        }
    }

    /// Whether a charge is at least zero, a credit at most, and the period is one.
    pub(super) fn check(&self) -> Result<(), AssemblyError> {
        let charges = self.exact >= Nanos::ZERO;
        let credits = self.exact <= Nanos::ZERO;
        let fits = match &self.component {
            // Corrections of usage are usage below zero.
            Component::Usage { .. } | Component::Carried => true,
            Component::PlanFee
            | Component::AddOn
            | Component::ProrationCharge
            | Component::MinimumTrueUp
            | Component::TopUp { .. } => charges,
            Component::ProrationCredit { .. } => credits,
            Component::ProgressiveCredit { billed, .. } => credits && !billed.is_negative(),
        };
        if !fits {
            return Err(AssemblyError::WrongSign(self.key.clone()));
        }
        if self.period.is_some_and(|period| period.end < period.start) {
            return Err(AssemblyError::PeriodEndsBeforeItBegins(self.key.clone()));
        }
        Ok(())
    }
}

impl Line {
    /// What is charged for it after discounts and given credit: with its taxes where they are
    /// included in prices, else without.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn charged(&self) -> Result<Minor, MoneyError> {
        self.amount.minus(self.discount)?.minus(self.promo)
    }

    /// All its taxes.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn tax(&self) -> Result<Minor, MoneyError> {
        Minor::total(self.taxes.iter().map(|tax| tax.amount))
    }

    /// Those of its taxes that are included in what it shows.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn included_tax(&self) -> Result<Minor, MoneyError> {
        let included = self.taxes.iter().filter(|tax| tax.rate.included);
        Minor::total(included.map(|tax| tax.amount))
    }

    /// What it brings without tax.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn net(&self) -> Result<Minor, MoneyError> {
        self.charged()?.minus(self.included_tax()?)
    }

    /// What it brings the house: without tax, and without what discounts take off. Given credit was
    /// an expense when it was given, so what is paid with it counts.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn income(&self) -> Result<Minor, MoneyError> {
        self.net()?.plus(self.promo)
    }

    /// What rounding it has left: to be charged later, or, below zero, charged already.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub(super) fn residue(&self, currency: Currency) -> Result<Nanos, MoneyError> {
        if self.item.is_usage() {
            self.item.exact.minus(self.amount.nanos(currency)?)
        } else {
            Ok(Nanos::ZERO)
        }
    }
}
