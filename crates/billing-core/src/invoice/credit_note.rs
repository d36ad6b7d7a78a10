//! Credit notes: what of an invoice is given back, line by line.
//!
//! All notes of an invoice together never give back more than it charged, in amount and in each tax:
//! a line's tax is given back in proportion to what of the line was, counted from the first note on,
//! so that a line that is given back in full has given back all its tax and no more.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use super::assembly::Draft;
use super::group::{groups, spread_over};
use super::issued::{Credited, Invoice, InvoiceStatus};
use super::line::{Component, Line, LineTax};
use super::number::DocumentNumber;
use super::posting::leg;
use super::tax::TaxTreatment;
use crate::charge_model::minor::portion;
use crate::id::{AccountId, CreditNoteId, InvoiceId, LotId};
use crate::ledger::{Entry, LedgerCode};
use crate::money::{Currency, Minor, MoneyError, Nanos};

/// A document that gives something back of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditNote {
    /// Its id.
    pub id: CreditNoteId,
    /// Its number, from a series of its own.
    pub number: DocumentNumber,
    /// The invoice.
    pub invoice: InvoiceId,
    /// The invoice's number.
    pub invoice_number: DocumentNumber,
    /// Whose.
    pub account: AccountId,
    /// The currency of every amount.
    pub currency: Currency,
    /// When it was issued.
    pub issued_at: OffsetDateTime,
    /// Why.
    pub reason: String,
    /// What it gives back of which line.
    pub lines: Vec<CreditedLine>,
    /// Without taxes.
    pub net: Minor,
    /// Taxes.
    pub tax: Minor,
    /// Both.
    pub total: Minor,
    /// What of it lowers what was still to be paid.
    pub offset: Minor,
    /// What of it is given back of what was paid.
    pub back: Minor,
    /// Where that goes.
    pub to: CreditTo,
}

/// What is given back of one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditedLine {
    /// The line's place on the invoice, from zero.
    pub line: usize,
    /// How much: with taxes where prices include them, else without.
    pub amount: Minor,
    /// The taxes that go with it.
    pub taxes: Vec<LineTax>,
}

/// Where what was paid goes back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CreditTo {
    /// It is credit for later invoices.
    Balance,
    /// It is a new lot of the wallet.
    Wallet(LotId),
    /// Payments are refunded.
    Refund,
}

/// What is to be given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditAsk {
    /// The id of the note.
    pub id: CreditNoteId,
    /// The next number of the series of credit notes, taken in the same transaction.
    pub number: DocumentNumber,
    /// Now.
    pub at: OffsetDateTime,
    /// Why.
    pub reason: String,
    /// Of which lines.
    pub lines: Vec<CreditLine>,
    /// Where what was paid goes back to.
    pub to: CreditTo,
}

/// What is to be given back of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreditLine {
    /// The line's place on the invoice, from zero.
    pub line: usize,
    /// How much: with taxes where prices include them, else without.
    pub amount: Minor,
    /// What of the line was not used: of a fee what is not earned yet, of bought credit what is left
    /// of its lot.
    pub unused: Nanos,
}

/// A note, the invoice after it, and what that books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditIssued {
    /// The note.
    pub note: CreditNote,
    /// The invoice.
    pub invoice: Invoice,
    /// The entries of one ledger transaction.
    pub entries: Vec<Entry>,
}

/// Why nothing is given back.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CreditError {
    /// The invoice does not count.
    #[error("the invoice {0} is void; there is nothing to give back")]
    Void(DocumentNumber),
    /// The invoice was given up.
    #[error("the invoice {0} was given up; nothing of it was paid that could be given back")]
    WrittenOff(DocumentNumber),
    /// The note would be empty.
    #[error("a credit note of nothing")]
    Nothing,
    /// The invoice has no such line, or the note names it twice.
    #[error("the invoice has no line {0}, or it is named twice")]
    NoLine(usize),
    /// More than is left of a line.
    #[error("{left} is left of line {line} to give back, not {asked}")]
    TooMuch {
        /// The line.
        line: usize,
        /// What was asked.
        asked: String,
        /// What is left.
        left: String,
    },
    /// More than was paid by payments.
    #[error(
        "{left} of the payments can be refunded, not {asked}; credit the rest to the balance or the \
         wallet"
    )]
    NotPaid {
        /// What was asked.
        asked: String,
        /// What can be refunded.
        left: String,
    },
    /// Bought credit that was used.
    #[error("line {line} is bought credit of which {unused} is left")]
    Used {
        /// The line.
        line: usize,
        /// What is left of the lot.
        unused: Nanos,
    },
    /// An amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// What can be given back of a line, all notes together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creditable {
    /// How much: with taxes where prices include them, else without.
    pub amount: Minor,
    /// The taxes that go with it.
    pub taxes: Vec<LineTax>,
}

impl CreditNote {
    /// The key under which the account's books hold it once.
    pub fn key(&self) -> String {
        format!("credit_note:{}", self.id)
    }
}

impl Draft {
    /// What can be given back of each line. A line that credits something has lowered what the lines
    /// taxed like it brought, so it lowers what can be given back of them.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn creditable(&self) -> Result<Vec<Creditable>, MoneyError> {
        let nothing = TaxTreatment::ReverseCharge;
        let treatment = |category| self.treatments.get(category).unwrap_or(&nothing);
        let lines = self.lines.iter();
        let treatments: Vec<_> = lines
            .map(|line| treatment(&line.item.tax_category))
            .collect();
        let charged: Result<Vec<_>, _> = self.lines.iter().map(Line::charged).collect();
        let charged = charged?;
        let mut creditable: Vec<Creditable> = self.lines.iter().map(|_| Creditable::NONE).collect();
        for group in groups(&treatments) {
            let amounts = group.pick(&charged);
            let (credits, charges): (Vec<_>, Vec<_>) = amounts
                .iter()
                .map(|amount| ((*amount).min(Minor::ZERO), (*amount).max(Minor::ZERO)))
                .unzip();
            let lowered = spread_over(Minor::total(credits)?, &charges)?;
            let mut left = Vec::with_capacity(charges.len());
            for (charge, lowered) in charges.iter().zip(lowered) {
                left.push(charge.plus(lowered)?);
            }
            for (line, amount) in group.lines.iter().zip(&left) {
                if let Some(creditable) = creditable.get_mut(*line) {
                    creditable.amount = *amount;
                }
            }
            for rate in group.treatment.rates() {
                let lines = group.lines.iter().filter_map(|line| self.lines.get(*line));
                let taxes = lines.flat_map(|line| &line.taxes);
                let of_rate = taxes.filter(|tax| tax.rate == *rate);
                let tax = Minor::total(of_rate.map(|tax| tax.amount))?;
                for (line, amount) in group.lines.iter().zip(spread_over(tax, &left)?) {
                    let rate = rate.clone();
                    if let Some(creditable) = creditable.get_mut(*line) {
                        creditable.taxes.push(LineTax { rate, amount });
                    }
                }
            }
        }
        Ok(creditable)
    }
}

impl Creditable {
    const NONE: Self = Self {
        amount: Minor::ZERO,
        taxes: Vec::new(),
    };
}

impl Invoice {
    /// Gives something back. What is still to be paid is lowered first; the rest comes out of what
    /// was paid.
    ///
    /// # Errors
    /// [`CreditError`]. Nothing has changed then.
    pub fn credit(
        &self,
        earlier: &[CreditNote],
        ask: CreditAsk,
    ) -> Result<CreditIssued, CreditError> {
        let Reckoned {
            lines,
            sums,
            offset,
            back,
        } = self.reckon(earlier, &ask.lines)?;
        let mut entries = self.income_legs(&lines, &ask.lines)?;
        let currency = self.content.head.currency;
        let tax = sums.tax.nanos(currency)?;
        entries.push(leg(LedgerCode::TaxPayable, tax));
        let mut invoice = self.clone();
        let (rest, off) = invoice.owed.less_usage(offset, sums.usage)?;
        entries.extend(invoice.owe(rest, off, ask.at)?);
        invoice.credited.offset = invoice.credited.offset.plus(offset)?;
        if !back.is_zero() {
            entries.push(invoice.give_back(back, ask.to)?);
        }
        let note = CreditNote {
            id: ask.id,
            number: ask.number,
            invoice: self.content.head.id,
            invoice_number: self.number.clone(),
            account: self.content.head.account,
            currency,
            issued_at: ask.at,
            reason: ask.reason,
            lines,
            net: sums.total.minus(sums.tax)?,
            tax: sums.tax,
            total: sums.total,
            offset,
            back,
            to: ask.to,
        };
        Ok(CreditIssued {
            note,
            invoice,
            entries,
        })
    }

    /// What a note would come to, and what of that is given back of what was paid.
    ///
    /// # Errors
    /// [`CreditError`].
    pub(super) fn reckon(
        &self,
        earlier: &[CreditNote],
        asked: &[CreditLine],
    ) -> Result<Reckoned, CreditError> {
        if let InvoiceStatus::Void(_) = self.status {
            return Err(CreditError::Void(self.number.clone()));
        }
        if let InvoiceStatus::Uncollectible(_) = self.status {
            return Err(CreditError::WrittenOff(self.number.clone()));
        }
        let lines = self.credited_lines(earlier, asked)?;
        let sums = Sums::of(&lines, &self.content)?;
        if sums.total.is_zero() {
            return Err(CreditError::Nothing);
        }
        let offset = self.owed.total()?.min(sums.total);
        let back = sums.total.minus(offset)?;
        Ok(Reckoned {
            lines,
            sums,
            offset,
            back,
        })
    }

    /// What is given back of each line, with the taxes that go with it.
    fn credited_lines(
        &self,
        earlier: &[CreditNote],
        asked: &[CreditLine],
    ) -> Result<Vec<CreditedLine>, CreditError> {
        let currency = self.content.head.currency;
        let creditable = self.content.creditable()?;
        let mut credited: Vec<CreditedLine> = Vec::with_capacity(asked.len());
        for ask in asked {
            let line = ask.line;
            let whole = creditable.get(line).ok_or(CreditError::NoLine(line))?;
            if credited.iter().any(|credited| credited.line == line) {
                return Err(CreditError::NoLine(line));
            }
            if ask.amount <= Minor::ZERO {
                return Err(CreditError::Nothing);
            }
            let notes = earlier.iter().flat_map(|note| &note.lines);
            let before: Vec<_> = notes.filter(|credited| credited.line == line).collect();
            let given = Minor::total(before.iter().map(|credited| credited.amount))?;
            let left = whole.amount.minus(given)?;
            if ask.amount > left {
                return Err(CreditError::TooMuch {
                    line,
                    asked: ask.amount.text(currency),
                    left: left.text(currency),
                });
            }
            let after = given.plus(ask.amount)?;
            let mut taxes = Vec::with_capacity(whole.taxes.len());
            for tax in &whole.taxes {
                let parts = before.iter().flat_map(|credited| &credited.taxes);
                let given = parts.filter(|part| part.rate == tax.rate);
                let given = Minor::total(given.map(|part| part.amount))?;
                let due = portion(tax.amount.get(), after.get(), whole.amount.get())?;
                taxes.push(LineTax {
                    rate: tax.rate.clone(),
                    amount: Minor::new(due).minus(given)?,
                });
            }
            credited.push(CreditedLine {
                line,
                amount: ask.amount,
                taxes,
            });
        }
        Ok(credited)
    }

    /// What is taken away from income, or from what is not earned yet.
    fn income_legs(
        &self,
        lines: &[CreditedLine],
        asked: &[CreditLine],
    ) -> Result<Vec<Entry>, CreditError> {
        let currency = self.content.head.currency;
        let mut entries = Vec::new();
        for (credited, ask) in lines.iter().zip(asked) {
            let number = credited.line;
            let line = self.content.lines.get(number);
            let line = line.ok_or(CreditError::NoLine(number))?;
            let net = credited.net()?.nanos(currency)?;
            let unused = ask.unused.max(Nanos::ZERO);
            match &line.item.component {
                Component::Usage { .. }
                | Component::Carried
                | Component::ProgressiveCredit { .. } => {
                    entries.push(leg(LedgerCode::RevenueAdjustment, net));
                }
                Component::PlanFee
                | Component::AddOn
                | Component::ProrationCharge
                | Component::ProrationCredit { .. } => {
                    let deferred = net.min(unused);
                    entries.push(leg(LedgerCode::DeferredSubscription, deferred));
                    let earned = net.minus(deferred)?;
                    entries.push(leg(LedgerCode::RevenueSubscription, earned));
                }
                Component::MinimumTrueUp => entries.push(leg(LedgerCode::RevenueOther, net)),
                Component::TopUp { lot } => {
                    if net > unused {
                        let line = number;
                        return Err(CreditError::Used { line, unused });
                    }
                    entries.push(Entry {
                        code: LedgerCode::WalletPaid,
                        amount: net,
                        lot: Some(*lot),
                    });
                }
            }
        }
        Ok(entries)
    }

    /// Gives back of what was paid; answers with the leg of where it goes.
    fn give_back(&mut self, back: Minor, to: CreditTo) -> Result<Entry, CreditError> {
        let currency = self.content.head.currency;
        let nanos = back.nanos(currency)?.negated()?;
        let Credited {
            to_balance,
            to_wallet,
            refunded,
            ..
        } = &mut self.credited;
        match to {
            CreditTo::Balance => {
                *to_balance = to_balance.plus(back)?;
                Ok(leg(LedgerCode::CustomerCredit, nanos))
            }
            CreditTo::Wallet(lot) => {
                *to_wallet = to_wallet.plus(back)?;
                Ok(Entry {
                    code: LedgerCode::WalletPaid,
                    amount: nanos,
                    lot: Some(lot),
                })
            }
            CreditTo::Refund => {
                let left = self.paid.by_payment.minus(*refunded)?;
                if back > left {
                    let (asked, left) = (back.text(currency), left.text(currency));
                    return Err(CreditError::NotPaid { asked, left });
                }
                *refunded = refunded.plus(back)?;
                Ok(leg(LedgerCode::RefundPayable, nanos))
            }
        }
    }
}

impl CreditedLine {
    /// All its taxes.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn tax(&self) -> Result<Minor, MoneyError> {
        Minor::total(self.taxes.iter().map(|tax| tax.amount))
    }

    /// Without taxes.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn net(&self) -> Result<Minor, MoneyError> {
        let included = self.taxes.iter().filter(|tax| tax.rate.included);
        let included = Minor::total(included.map(|tax| tax.amount))?;
        self.amount.minus(included)
    }
}

/// What a note would give back.
pub(super) struct Reckoned {
    lines: Vec<CreditedLine>,
    pub(super) sums: Sums,
    offset: Minor,
    /// Of what was paid.
    pub(super) back: Minor,
}

/// What lines come to.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) tax: Minor,
    pub(super) total: Minor,
    /// What of the total is for used calls, without taxes that are not included in prices.
    usage: Minor,
}

impl Sums {
    fn of(lines: &[CreditedLine], content: &Draft) -> Result<Self, MoneyError> {
        let mut sums = Self::default();
        for line in lines {
            let tax = line.tax()?;
            sums.tax = sums.tax.plus(tax)?;
            sums.total = sums.total.plus(line.net()?)?.plus(tax)?;
            let item = content.lines.get(line.line);
            if item.is_some_and(|line| line.item.is_usage()) {
                sums.usage = sums.usage.plus(line.amount)?;
            }
        }
        Ok(sums)
    }
}
