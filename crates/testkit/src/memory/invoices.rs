//! Invoices and credit notes, in memory.

mod port;
mod statement;

use std::collections::BTreeMap;

use billing_core::id::{AccountId, CreditNoteId, InvoiceId, LotId, PlanVersionId, SubscriptionId};
use billing_core::invoice::{
    BillTo, BillingDetails, Booked as Happened, CreditError, CreditNote, Deferral, DocumentNumber,
    FeeDocuments, Invoice, InvoiceStatus, Invoiced, Invoicing, LeftOpen, NoteIssue, NotePlan,
    Numbering, Redemption, recognition, wallet_change,
};
use billing_core::ledger::{Entry, LedgerHead, LedgerKind, LedgerTxn};
use billing_core::money::{Currency, Nanos};
use billing_core::period::Period;
use billing_core::port::invoices::InvoicesError;
use billing_core::port::subscriptions::RecordError;
use billing_core::subscription::{Fee, State as Stands, Subscription};
use time::OffsetDateTime;

use super::{Booked, Memory, State};

/// Documents, and what makes them.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub(super) house: Invoicing,
    series: BTreeMap<String, (u64, OffsetDateTime)>,
    invoices: BTreeMap<(AccountId, InvoiceId), Kept>,
    /// Notes with the key and the wish of whoever asked.
    notes: Vec<(CreditNote, String, String)>,
    of_fees: BTreeMap<String, (AccountId, InvoiceId)>,
    details: BTreeMap<AccountId, BillingDetails>,
}

#[derive(Debug)]
struct Kept {
    invoice: Invoice,
    subscription: SubscriptionId,
    /// What is not earned, line by line.
    lines: BTreeMap<usize, Deferral>,
    /// Whether it is paid, so that it is earned.
    earns: bool,
}

impl Memory {
    /// The same, for a house that says so much of itself on invoices.
    #[must_use]
    pub fn invoicing(self, house: Invoicing) -> Self {
        self.state().documents.house = house;
        self
    }
}

impl State {
    fn next_number(
        &mut self,
        numbering: &Numbering,
        now: OffsetDateTime,
    ) -> (DocumentNumber, OffsetDateTime) {
        let series = numbering.series(now);
        let kept = self.documents.series.entry(series.prefix().to_owned());
        let (last, at) = kept.or_insert((0, now));
        let number = series.after(Some(*last));
        (*last, *at) = (number.sequence, (*at).max(now));
        (number, *at)
    }

    fn book_document(
        &mut self,
        (account, currency, kind): (AccountId, Currency, LedgerKind),
        key: String,
        entries: Vec<Entry>,
        now: OffsetDateTime,
    ) {
        let id = self.txn_id(now);
        let head = LedgerHead {
            id,
            account,
            currency,
            kind,
            key: key.clone(),
            booked_at: now,
        };
        let txn = LedgerTxn::new(head, entries).unwrap();
        if txn.entries().is_empty() {
            return;
        }
        let page = self.books.get_mut(&account).unwrap();
        let change = i64::try_from(wallet_change(txn.entries())).unwrap();
        page.wallet.posted = page.wallet.posted.plus(Nanos::new(change)).unwrap();
        let taken = page
            .keys
            .insert(key, (String::new(), id, page.wallet.posted));
        assert!(taken.is_none(), "a document is booked twice");
        let note = String::new();
        page.journal.push(Booked { txn, note });
    }

    fn buyer(&self, account: AccountId) -> BillingDetails {
        let said = self.documents.details.get(&account).cloned();
        said.unwrap_or_else(|| {
            let name = &self.accounts[&account].name;
            self.documents.house.unnamed_buyer(account, name)
        })
    }

    /// To whom and how fees of a subscription to a version are invoiced.
    pub(super) fn bill_to<'a>(
        &mut self,
        house: &'a Invoicing,
        (subscription, version): (&Subscription, PlanVersionId),
        now: OffsetDateTime,
    ) -> BillTo<'a> {
        let (code, version) = self.version(version).unwrap();
        BillTo {
            house,
            buyer: self.buyer(subscription.account),
            invoice: InvoiceId::new(self.txn_id(now).get()),
            plan: version.plan,
            subject: self.plan_names[&code].clone(),
            discounts: self.discounts(subscription.account),
            earlier: self.invoiced(subscription.id),
        }
    }

    /// The invoices of a subscription that are open or paid, the newest first.
    fn invoiced(&self, subscription: SubscriptionId) -> Vec<Invoiced> {
        let of = self.documents.invoices.iter().rev();
        let of = of.filter(|(_, kept)| {
            let status = kept.invoice.status;
            let counts = matches!(status, InvoiceStatus::Open | InvoiceStatus::Paid(_));
            kept.subscription == subscription && counts
        });
        of.map(|(id, _)| self.invoiced_as(*id)).collect()
    }

    fn invoiced_as(&self, id: (AccountId, InvoiceId)) -> Invoiced {
        let kept = &self.documents.invoices[&id];
        let lines = kept.lines.iter();
        Invoiced {
            invoice: kept.invoice.clone(),
            notes: self.notes_of(id.1),
            unearned: lines.map(|(line, left)| (*line, *left)).collect(),
        }
    }

    /// Makes the documents of fees that were just recorded final.
    pub(super) fn document_fees(
        &mut self,
        subscription: &Subscription,
        (fees, documents): (&[Fee], FeeDocuments),
        now: OffsetDateTime,
    ) -> Result<(), RecordError> {
        let account = subscription.account;
        let fault = |error: &dyn std::error::Error| RecordError::Inconsistent(error.to_string());
        self.change_coupons(account, documents.discounts(), Redemption::applied);
        let discount = documents.discount().map_err(|error| fault(&error))?;
        self.billed.discounted(fees, discount);
        let made = match documents {
            FeeDocuments::Nothing => return Ok(()),
            FeeDocuments::Notes(notes) => {
                for plan in notes.plans {
                    let key = plan.key.clone();
                    self.issue_note(&plan, key, now)
                        .map_err(|error| fault(&error))?;
                }
                return Ok(());
            }
            FeeDocuments::Invoice(made) => made,
        };
        let house = self.documents.house.clone();
        let (number, at) = self.next_number(&house.invoices, now);
        let deferrals = made.draft.deferrals().unwrap();
        let (id, currency) = (made.draft.head.id, made.draft.head.currency);
        let issued = made.draft.finalize(house.issue(number, at), &[]);
        let Happened { invoice, entries } = issued.map_err(|error| fault(&error))?;
        let of = (account, currency, LedgerKind::Invoice);
        self.book_document(of, invoice.key(), entries, now);
        for taken in made.taken {
            let of = (account, taken.invoice);
            let kept = self.documents.invoices.get_mut(&of).unwrap();
            kept.lines.insert(taken.line, taken.rest);
        }
        let kept = Kept {
            // One that asks for nothing is paid as it is.
            earns: matches!(invoice.status, InvoiceStatus::Paid(_)),
            invoice,
            subscription: subscription.id,
            lines: deferrals.into_iter().collect(),
        };
        self.documents.invoices.insert((account, id), kept);
        let fees = fees.iter().filter(|fee| fee.amount != 0);
        let of_fees = fees.map(|fee| (fee.key.clone(), (account, id)));
        self.documents.of_fees.extend(of_fees);
        Ok(())
    }

    /// The newest invoice of a subscription.
    pub(super) fn newest_invoice(&self, subscription: SubscriptionId) -> Option<Invoice> {
        let all = self.documents.invoices.iter();
        let of = all.filter(|(_, kept)| kept.subscription == subscription);
        let newest = of.max_by_key(|((_, id), _)| *id);
        newest.map(|(_, kept)| kept.invoice.clone())
    }

    /// The invoice that asks for a fee.
    pub(super) fn invoice_of(&self, fee: &Fee) -> Option<Invoice> {
        let id = self.documents.of_fees.get(&fee.key)?;
        Some(self.documents.invoices[id].invoice.clone())
    }

    /// The invoice of a fee was paid.
    pub(super) fn invoice_paid(&mut self, invoice: Invoice) {
        let head = &invoice.content.head;
        let kept = self.documents.invoices.get_mut(&(head.account, head.id));
        let kept = kept.unwrap();
        (kept.invoice, kept.earns) = (invoice, true);
    }

    /// A fee turned out to be for another period than its invoice says.
    pub(super) fn paid_for(&mut self, fee: &Fee) {
        let Some(id) = self.documents.of_fees.get(&fee.key) else {
            return;
        };
        let kept = self.documents.invoices.get_mut(id).unwrap();
        for (line, said) in kept.invoice.content.lines.iter().enumerate() {
            let is_other = said.item.key == fee.key && said.item.period != Some(fee.period);
            if let Some(deferral) = kept.lines.get_mut(&line).filter(|_| is_other) {
                let Period { start, end } = fee.period;
                (deferral.from, deferral.until) = (start, end);
            }
        }
    }

    /// A subscription has ended: what it still owes is given up.
    pub(super) fn end_invoices(&mut self, subscription: &Subscription, now: OffsetDateTime) {
        let Stands::Ended { why, .. } = subscription.state else {
            return;
        };
        let open = self.documents.invoices.iter().rev().filter(|(_, kept)| {
            kept.subscription == subscription.id && kept.invoice.status == InvoiceStatus::Open
        });
        let open: Vec<_> = open.map(|(id, _)| *id).collect();
        for id in open {
            let kept = &self.documents.invoices[&id];
            let invoice = kept.invoice.clone();
            if invoice.left_open(subscription, why).unwrap() == LeftOpen::Void {
                self.void_invoice(id, now).unwrap();
                continue;
            }
            let left: i64 = kept.lines.values().map(|line| line.left.get()).sum();
            let done = invoice.write_off(Nanos::new(left), now).unwrap();
            self.close_invoice(id, done, LedgerKind::WriteOff, now);
        }
    }

    fn void_invoice(
        &mut self,
        id: (AccountId, InvoiceId),
        now: OffsetDateTime,
    ) -> Result<Invoice, InvoicesError> {
        let kept = self.documents.invoices.get(&id);
        let invoice = kept.ok_or(InvoicesError::NotFound)?.invoice.clone();
        invoice.check_voidable()?;
        let journal = &self.books[&id.0].journal;
        let booked = journal
            .iter()
            .find(|booked| booked.txn.key() == invoice.key());
        let booked = booked.map_or_else(Vec::new, |booked| booked.txn.entries().to_vec());
        let off = invoice.content.discounts.clone();
        let done = invoice.void(&booked, Nanos::ZERO, now)?;
        self.change_coupons(id.0, &off, Redemption::given_back);
        Ok(self.close_invoice(id, done, LedgerKind::InvoiceVoid, now))
    }

    fn close_invoice(
        &mut self,
        id: (AccountId, InvoiceId),
        done: Happened,
        kind: LedgerKind,
        now: OffsetDateTime,
    ) -> Invoice {
        let Happened { invoice, entries } = done;
        let of = (id.0, invoice.content.head.currency, kind);
        self.book_document(of, invoice.end_key(), entries, now);
        let kept = self.documents.invoices.get_mut(&id).unwrap();
        (kept.invoice, kept.earns) = (invoice.clone(), false);
        kept.lines.clear();
        invoice
    }

    fn notes_of(&self, invoice: InvoiceId) -> Vec<CreditNote> {
        let notes = self.documents.notes.iter().map(|(note, ..)| note);
        notes
            .filter(|note| note.invoice == invoice)
            .cloned()
            .collect()
    }

    fn issue_note(
        &mut self,
        plan: &NotePlan,
        wish: String,
        now: OffsetDateTime,
    ) -> Result<CreditNote, CreditError> {
        let account = plan.of.invoice.content.head.account;
        let numbering = self.documents.house.credit_notes.clone();
        let before = self.documents.series.clone();
        let (number, at) = self.next_number(&numbering, now);
        let issue = NoteIssue {
            id: CreditNoteId::new(self.txn_id(now).get()),
            number,
            at,
            lot: LotId::new(self.txn_id(now).get()),
            now,
        };
        let made = match plan.issue(issue) {
            Ok(made) => made,
            Err(refusal) => {
                self.documents.series = before;
                return Err(refusal);
            }
        };
        self.books.get_mut(&account).unwrap().lots.extend(made.lot);
        let note = made.note;
        let of = (account, note.currency, LedgerKind::CreditNote);
        self.book_document(of, note.key(), made.entries, now);
        let kept = self.documents.invoices.get_mut(&(account, note.invoice));
        let kept = kept.unwrap();
        kept.invoice = made.invoice;
        kept.lines.extend(made.unearned);
        let key = plan.key.clone();
        self.documents.notes.push((note.clone(), key, wish));
        Ok(note)
    }

    fn recognize(&mut self, now: OffsetDateTime) -> u32 {
        let mut due = Vec::new();
        let earning = self.documents.invoices.iter();
        for (id, kept) in earning.filter(|(_, kept)| kept.earns) {
            for (line, left) in &kept.lines {
                due.extend(left.booked(now).map(|booked| (*id, *line, booked)));
            }
        }
        for (id, line, (earned, rest)) in &due {
            let kept = self.documents.invoices.get_mut(id).unwrap();
            let currency = kept.invoice.content.head.currency;
            kept.lines.insert(*line, *rest);
            let key = format!(
                "recognition:{}:{line}:{}:{}",
                id.1,
                rest.from,
                rest.left.get()
            );
            let of = (id.0, currency, LedgerKind::Recognition);
            self.book_document(of, key, recognition(*earned).unwrap(), now);
        }
        u32::try_from(due.len()).unwrap()
    }
}
