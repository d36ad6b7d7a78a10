//! What is asked of invoices, in memory.

use async_trait::async_trait;
use billing_core::id::{AccountId, InvoiceId};
use billing_core::invoice::{BillingDetails, CreditNote, Invoice, NotePlan, Statement};
use billing_core::period::Period;
use billing_core::port::invoices::{CreditWish, InvoiceName, Invoices, InvoicesError, NoteIssued};
use time::OffsetDateTime;

use crate::memory::Memory;

#[async_trait]
impl Invoices for Memory {
    async fn list(
        &self,
        account: AccountId,
        before: Option<InvoiceId>,
        limit: u32,
    ) -> Result<Vec<Invoice>, InvoicesError> {
        let state = self.state();
        let of = state.documents.invoices.iter().rev();
        let of = of.filter(|((whose, id), _)| {
            *whose == account && before.is_none_or(|before| *id < before)
        });
        let limit = usize::try_from(limit).unwrap();
        Ok(of
            .take(limit)
            .map(|(_, kept)| kept.invoice.clone())
            .collect())
    }

    async fn find(
        &self,
        account: AccountId,
        name: &InvoiceName,
    ) -> Result<Option<Invoice>, InvoicesError> {
        let state = self.state();
        let mut of = state.documents.invoices.iter();
        let found = of.find(|((whose, id), kept)| {
            *whose == account
                && match name {
                    InvoiceName::Id(named) => id == named,
                    InvoiceName::Number(number) => kept.invoice.number.to_string() == *number,
                }
        });
        Ok(found.map(|(_, kept)| kept.invoice.clone()))
    }

    async fn credit_notes(
        &self,
        _: AccountId,
        invoice: InvoiceId,
    ) -> Result<Vec<CreditNote>, InvoicesError> {
        Ok(self.state().notes_of(invoice))
    }

    async fn void(
        &self,
        account: AccountId,
        invoice: InvoiceId,
        now: OffsetDateTime,
    ) -> Result<Invoice, InvoicesError> {
        self.state().void_invoice((account, invoice), now)
    }

    async fn credit(
        &self,
        account: AccountId,
        invoice: InvoiceId,
        wish: &CreditWish,
        now: OffsetDateTime,
    ) -> Result<NoteIssued, InvoicesError> {
        let mut state = self.state();
        let said = format!("{invoice} {:?} {}", wish.lines, wish.reason);
        let mut notes = state.documents.notes.iter();
        let before = notes.find(|(note, key, _)| note.account == account && *key == wish.key);
        if let Some((note, _, wished)) = before {
            if *wished != said {
                return Err(InvoicesError::KeyReused);
            }
            return Ok(NoteIssued {
                note: note.clone(),
                replayed: true,
            });
        }
        let id = (account, invoice);
        if !state.documents.invoices.contains_key(&id) {
            return Err(InvoicesError::NotFound);
        }
        let of = state.invoiced_as(id);
        let lines = if wish.lines.is_empty() {
            of.creditable().unwrap()
        } else {
            wish.lines.clone()
        };
        let plan = NotePlan {
            of,
            lines,
            reason: wish.reason.clone(),
            key: wish.key.clone(),
        };
        let note = state.issue_note(&plan, said, now)?;
        Ok(NoteIssued {
            note,
            replayed: false,
        })
    }

    async fn billing_details(
        &self,
        account: AccountId,
    ) -> Result<Option<BillingDetails>, InvoicesError> {
        let state = self.state();
        if !state.accounts.contains_key(&account) {
            return Err(InvoicesError::NoSuchAccount);
        }
        Ok(state.documents.details.get(&account).cloned())
    }

    async fn set_billing_details(
        &self,
        account: AccountId,
        details: &BillingDetails,
    ) -> Result<(), InvoicesError> {
        details.check()?;
        let mut state = self.state();
        if !state.accounts.contains_key(&account) {
            return Err(InvoicesError::NoSuchAccount);
        }
        state.documents.details.insert(account, details.clone());
        Ok(())
    }

    async fn statement(
        &self,
        account: AccountId,
        period: Period,
        now: OffsetDateTime,
    ) -> Result<Statement, InvoicesError> {
        self.state().statement(account, period, now)
    }

    async fn recognize(&self, now: OffsetDateTime, _: u32) -> Result<u32, InvoicesError> {
        Ok(self.state().recognize(now))
    }
}
