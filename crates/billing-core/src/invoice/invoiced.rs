//! Invoices with what has become of them: what can still be given back of each, and is.

use time::OffsetDateTime;

use super::credit_note::{CreditAsk, CreditError, CreditLine, CreditNote, CreditTo};
use super::deferral::Deferral;
use super::issued::Invoice;
use super::number::DocumentNumber;
use crate::budget::Amount;
use crate::id::{CreditNoteId, InvoiceId, LotId};
use crate::ledger::Entry;
use crate::money::{Minor, MoneyError, Nanos};
use crate::subscription::Subscription;
use crate::wallet::{Lot, LotKind};

/// An invoice with what has become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoiced {
    /// The invoice.
    pub invoice: Invoice,
    /// Its credit notes, in the order in which they were issued.
    pub notes: Vec<CreditNote>,
    /// What of its lines is not earned yet, by the line's place.
    pub unearned: Vec<(usize, Deferral)>,
}

/// A credit note that is to be issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotePlan {
    /// Of which invoice.
    pub of: Invoiced,
    /// Of which lines how much, by their place.
    pub lines: Vec<(usize, Minor)>,
    /// Why.
    pub reason: String,
    /// Under which the account gets it once.
    pub key: String,
}

/// What a credit note comes to, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivesBack {
    /// Its lines, as prices are stated: with taxes where these are included, else without.
    pub lines: Minor,
    /// Its taxes.
    pub tax: Minor,
    /// All of it.
    pub total: Minor,
    /// What of that goes to the wallet; the rest was not paid yet.
    pub back: Minor,
}

/// What makes a planned note a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteIssue {
    /// Its id.
    pub id: CreditNoteId,
    /// The next number of the series of credit notes, taken in the same transaction.
    pub number: DocumentNumber,
    /// When that counts as taken.
    pub at: OffsetDateTime,
    /// The lot of what is given back.
    pub lot: LotId,
    /// Now.
    pub now: OffsetDateTime,
}

/// A note that was issued, and all that changes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteMade {
    /// The note.
    pub note: CreditNote,
    /// The invoice after it.
    pub invoice: Invoice,
    /// What of the lines that it names is not earned after it.
    pub unearned: Vec<(usize, Deferral)>,
    /// What is given back, as bought credit.
    pub lot: Option<Lot>,
    /// The entries of one ledger transaction.
    pub entries: Vec<Entry>,
}

impl Invoiced {
    /// What can still be given back of each line, where there is anything.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn creditable(&self) -> Result<Vec<(usize, Minor)>, MoneyError> {
        let mut lines = Vec::new();
        for (line, whole) in self.invoice.content.creditable()?.into_iter().enumerate() {
            let given = self.notes.iter().flat_map(|note| &note.lines);
            let given = given.filter(|given| given.line == line);
            let given = Minor::total(given.map(|given| given.amount))?;
            let left = whole.amount.minus(given)?;
            if left > Minor::ZERO {
                lines.push((line, left));
            }
        }
        Ok(lines)
    }

    /// Its id.
    pub const fn id(&self) -> InvoiceId {
        self.invoice.content.head.id
    }

    /// What is not earned of a line.
    fn unearned_of(&self, line: usize) -> Option<Deferral> {
        let mut lines = self.unearned.iter();
        lines.find(|(of, _)| *of == line).map(|(_, left)| *left)
    }

    fn asked(&self, lines: &[(usize, Minor)]) -> Vec<CreditLine> {
        let asked = lines.iter().map(|(line, amount)| CreditLine {
            line: *line,
            amount: *amount,
            unused: self
                .unearned_of(*line)
                .map_or(Nanos::ZERO, |left| left.left),
        });
        asked.collect()
    }
}

impl NotePlan {
    /// The notes by which a subscription gives something back: of its invoices, the newest first, as
    /// much as is left of each line.
    ///
    /// # Errors
    /// [`GiveBackError::NotCharged`] where less was charged than that.
    pub fn of_change(
        subscription: &Subscription,
        invoices: &[Invoiced],
        back: Minor,
    ) -> Result<Vec<Self>, GiveBackError> {
        let mut plans = Vec::new();
        let mut rest = back;
        for of in invoices {
            let mut lines = Vec::new();
            for (line, left) in of.creditable()? {
                let part = left.min(rest);
                if part > Minor::ZERO {
                    lines.push((line, part));
                    rest = rest.minus(part)?;
                }
            }
            if !lines.is_empty() {
                let (id, revision) = (subscription.id, subscription.revision);
                plans.push(Self {
                    lines,
                    reason: "change of plan".to_owned(),
                    key: format!("change:{id}:{revision}:{}", of.id()),
                    of: of.clone(),
                });
            }
        }
        if rest > Minor::ZERO {
            let left = back.minus(rest)?;
            return Err(GiveBackError::NotCharged { back, left });
        }
        Ok(plans)
    }

    /// What it comes to.
    ///
    /// # Errors
    /// [`CreditError`], as [`NotePlan::issue`].
    pub fn gives_back(&self) -> Result<GivesBack, CreditError> {
        let asked = self.of.asked(&self.lines);
        let reckoned = self.of.invoice.reckon(&self.of.notes, &asked)?;
        Ok(GivesBack {
            lines: Minor::total(self.lines.iter().map(|(_, amount)| *amount))?,
            tax: reckoned.sums.tax,
            total: reckoned.sums.total,
            back: reckoned.back,
        })
    }

    /// Issues it. What was paid goes into the wallet.
    ///
    /// # Errors
    /// [`CreditError`]. Nothing has changed then.
    pub fn issue(&self, issue: NoteIssue) -> Result<NoteMade, CreditError> {
        let ask = CreditAsk {
            id: issue.id,
            number: issue.number,
            at: issue.at,
            reason: self.reason.clone(),
            lines: self.of.asked(&self.lines),
            to: CreditTo::Wallet(issue.lot),
        };
        let issued = self.of.invoice.credit(&self.of.notes, ask)?;
        let note = issued.note;
        let mut unearned = Vec::new();
        for credited in &note.lines {
            if let Some(before) = self.of.unearned_of(credited.line) {
                let (_, rest) = before.taken_back(credited.net()?.nanos(note.currency)?);
                unearned.push((credited.line, rest));
            }
        }
        let back = Amount::of(note.back.nanos(note.currency)?);
        let lot = Lot {
            id: issue.lot,
            kind: LotKind::Paid,
            priority: 0,
            effective_at: issue.now,
            expires_at: None,
            created_at: issue.now,
            granted: back,
            remaining: back,
        };
        Ok(NoteMade {
            note,
            invoice: issued.invoice,
            unearned,
            lot: (!back.is_zero()).then_some(lot),
            entries: issued.entries,
        })
    }
}

/// Why a subscription gives nothing back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GiveBackError {
    /// Less was charged.
    #[error("{} minor units would be given back, and {} of what was invoiced are left", .back.get(), .left.get())]
    NotCharged {
        /// What would be given back.
        back: Minor,
        /// What of what was charged was not given back before.
        left: Minor,
    },
    /// An amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}
