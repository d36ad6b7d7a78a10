//! Invoices and credit notes, in memory.

mod port;

use std::collections::BTreeMap;

use billing_core::budget::Amount;
use billing_core::id::{AccountId, CreditNoteId, InvoiceId, LotId, SubscriptionId};
use billing_core::invoice::{
    BillingDetails, Booked as Happened, CreditAsk, CreditLine, CreditNote, CreditTo, Credited,
    Deferral, DocumentNumber, FeesSold, Invoice, InvoiceError, InvoiceStatus, Invoicing, Numbering,
    SoldFee, recognition, wallet_change,
};
use billing_core::ledger::{Entry, LedgerHead, LedgerKind, LedgerTxn};
use billing_core::money::{Currency, Minor, Nanos};
use billing_core::period::Period;
use billing_core::port::invoices::InvoicesError;
use billing_core::port::subscriptions::RecordError;
use billing_core::subscription::{EndReason, Fee, FeeKind, State as Stands, Subscription};
use billing_core::wallet::{Lot, LotKind};
use time::{OffsetDateTime, Time};

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

    /// Invoices fees that were just recorded.
    pub(super) fn invoice_fees(
        &mut self,
        subscription: &Subscription,
        fees: &[Fee],
        now: OffsetDateTime,
    ) -> Result<(), RecordError> {
        let fees: Vec<&Fee> = fees.iter().filter(|fee| fee.amount != 0).collect();
        if fees.is_empty() {
            return Ok(());
        }
        let net: i64 = fees.iter().map(|fee| fee.amount).sum();
        if net < 0 {
            return self.credit_change(subscription, Minor::new(-net), now);
        }
        let account = subscription.account;
        let unearned = self.unearned(subscription.id);
        let sold = self.sold(subscription, &fees, &unearned, now);
        let (id, currency) = (sold.id, sold.currency);
        let house = self.documents.house.clone();
        let fault = |error: &dyn std::error::Error| RecordError::Inconsistent(error.to_string());
        let draft = house.draft(sold, now).map_err(|error| fault(&error))?;
        let (number, at) = self.next_number(&house.invoices, now);
        let deferrals = draft.deferrals().unwrap();
        let credits = draft.lines.iter().map(|line| line.income().unwrap());
        let mut credited: i64 = credits.map(|line| line.get().min(0)).sum();
        let unit = Minor::new(1).nanos(currency).unwrap().get();
        credited *= -unit;
        let issued = draft.finalize(house.issue(number, at), &[]);
        let Happened { invoice, entries } = issued.map_err(|error| fault(&error))?;
        let of = (account, currency, LedgerKind::Invoice);
        self.book_document(of, invoice.key(), entries, now);
        for (of, line, before) in unearned {
            let part = Nanos::new(credited.min(before.left.get()));
            if part > Nanos::ZERO {
                credited -= part.get();
                self.take_back(of, line, part, Some(now));
            }
        }
        let kept = Kept {
            // One that asks for nothing is paid as it is.
            earns: matches!(invoice.status, InvoiceStatus::Paid(_)),
            invoice,
            subscription: subscription.id,
            lines: deferrals.into_iter().collect(),
        };
        self.documents.invoices.insert((account, id), kept);
        let of_fees = fees.iter().map(|fee| (fee.key.clone(), (account, id)));
        self.documents.of_fees.extend(of_fees);
        Ok(())
    }

    fn sold(
        &mut self,
        subscription: &Subscription,
        fees: &[&Fee],
        unearned: &[((AccountId, InvoiceId), usize, Deferral)],
        now: OffsetDateTime,
    ) -> FeesSold {
        let account = subscription.account;
        let currency = self.books[&account].wallet.currency;
        let (code, version) = self.version(subscription.version).unwrap();
        let left: i64 = unearned.iter().map(|(_, _, left)| left.left.get()).sum();
        let id = InvoiceId::new(self.txn_id(now).get());
        let sold = fees.iter().map(|fee| {
            let before = unearned.first().filter(|_| fee.kind == FeeKind::Unused);
            let before = before.map(|(of, line, _)| {
                let lines = &self.documents.invoices[of].invoice.content.lines;
                lines[*line].item.clone()
            });
            SoldFee {
                fee: (*fee).clone(),
                subject: before.as_ref().map_or_else(
                    || self.plan_names[&code].clone(),
                    |before| before.subject.clone(),
                ),
                plan: before.map_or(Some(version.plan), |before| before.plan),
                quantity: subscription.quantity,
                unearned: Nanos::new(left),
            }
        });
        FeesSold {
            id,
            account,
            currency,
            buyer: self.buyer(account),
            fees: sold.collect(),
        }
    }

    /// What is not earned of a subscription's fees, the newest first.
    fn unearned(
        &self,
        subscription: SubscriptionId,
    ) -> Vec<((AccountId, InvoiceId), usize, Deferral)> {
        let of = self.documents.invoices.iter().rev();
        let of = of.filter(|(_, kept)| {
            let counts = matches!(
                kept.invoice.status,
                InvoiceStatus::Open | InvoiceStatus::Paid(_)
            );
            kept.subscription == subscription && counts
        });
        let lines = of.flat_map(|(id, kept)| kept.lines.iter().map(|(line, d)| (*id, *line, *d)));
        lines
            .filter(|(_, _, left)| left.left > Nanos::ZERO)
            .collect()
    }

    fn take_back(
        &mut self,
        of: (AccountId, InvoiceId),
        line: usize,
        amount: Nanos,
        ends_at: Option<OffsetDateTime>,
    ) {
        let kept = self.documents.invoices.get_mut(&of).unwrap();
        if let Some(deferral) = kept.lines.get_mut(&line) {
            *deferral = deferral.taken_back(amount).1;
            if let Some(end) = ends_at {
                let latest = deferral.until.max(deferral.from);
                deferral.until = end.clamp(deferral.from, latest);
            }
        }
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
            let period = invoice.content.head.period;
            let is_first = period.is_some_and(|period| period.start == subscription.started_at);
            let is_untouched =
                invoice.paid.total().unwrap().is_zero() && invoice.credited == Credited::default();
            if is_untouched && (why == EndReason::NeverPaid || is_first) {
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
        if !invoice.paid.total().unwrap().is_zero() {
            return Err(InvoiceError::Touched(invoice.number).into());
        }
        if invoice.status != InvoiceStatus::Open {
            let was = invoice.status.name();
            return Err(InvoiceError::NotOpen(invoice.number, was).into());
        }
        let journal = &self.books[&id.0].journal;
        let booked = journal
            .iter()
            .find(|booked| booked.txn.key() == invoice.key());
        let booked = booked.map_or_else(Vec::new, |booked| booked.txn.entries().to_vec());
        let done = invoice.void(&booked, Nanos::ZERO, now)?;
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

    /// What can still be given back of each line.
    fn creditable(&self, invoice: &Invoice) -> Vec<(usize, Minor)> {
        let notes = self.notes_of(invoice.content.head.id);
        let whole = invoice.content.creditable().unwrap();
        let left = whole.into_iter().enumerate().map(|(line, whole)| {
            let given = notes.iter().flat_map(|note| &note.lines);
            let given = given.filter(|given| given.line == line);
            let given: i64 = given.map(|given| given.amount.get()).sum();
            (line, Minor::new(whole.amount.get() - given))
        });
        left.filter(|(_, left)| *left > Minor::ZERO).collect()
    }

    fn credit_change(
        &mut self,
        subscription: &Subscription,
        back: Minor,
        now: OffsetDateTime,
    ) -> Result<(), RecordError> {
        let mut rest = back.get();
        let of = self.documents.invoices.iter().rev();
        let of = of.filter(|(_, kept)| kept.subscription == subscription.id);
        let ids: Vec<_> = of.map(|(id, _)| *id).collect();
        for id in ids {
            let invoice = self.documents.invoices[&id].invoice.clone();
            let counts = matches!(invoice.status, InvoiceStatus::Open | InvoiceStatus::Paid(_));
            let mut lines = Vec::new();
            for (line, left) in self.creditable(&invoice) {
                let part = left.get().min(rest);
                if counts && part > 0 {
                    lines.push((line, Minor::new(part)));
                    rest -= part;
                }
            }
            if lines.is_empty() {
                continue;
            }
            let key = format!(
                "change:{}:{}:{}",
                subscription.id, subscription.revision, id.1
            );
            let said = ("change of plan", key.clone(), key);
            self.issue_note(id, lines, said, now).unwrap();
        }
        if rest > 0 {
            let what = format!("{} would give back more than was charged", subscription.id);
            return Err(RecordError::Inconsistent(what));
        }
        Ok(())
    }

    fn issue_note(
        &mut self,
        id: (AccountId, InvoiceId),
        lines: Vec<(usize, Minor)>,
        (reason, key, wish): (&str, String, String),
        now: OffsetDateTime,
    ) -> Result<CreditNote, InvoicesError> {
        let invoice = self.documents.invoices[&id].invoice.clone();
        let unearned = self.documents.invoices[&id].lines.clone();
        let notes = self.notes_of(id.1);
        let left = |line| {
            unearned
                .get(&line)
                .map_or(Nanos::ZERO, |d: &Deferral| d.left)
        };
        let lines = lines.into_iter().map(|(line, amount)| CreditLine {
            line,
            amount,
            unused: left(line),
        });
        let numbering = self.documents.house.credit_notes.clone();
        let before = self.documents.series.clone();
        let (number, at) = self.next_number(&numbering, now);
        let lot = LotId::new(self.txn_id(now).get());
        let ask = CreditAsk {
            id: CreditNoteId::new(self.txn_id(now).get()),
            number,
            at,
            reason: reason.to_owned(),
            lines: lines.collect(),
            to: CreditTo::Wallet(lot),
        };
        let issued = match invoice.credit(&notes, ask) {
            Ok(issued) => issued,
            Err(refusal) => {
                self.documents.series = before;
                return Err(refusal.into());
            }
        };
        let note = issued.note;
        for credited in &note.lines {
            let net = credited.net().unwrap().nanos(note.currency).unwrap();
            let part = net.min(left(credited.line));
            self.take_back(id, credited.line, part, None);
        }
        let back = note.back.nanos(note.currency).unwrap();
        if back > Nanos::ZERO {
            let amount = Amount::of(back);
            self.books.get_mut(&id.0).unwrap().lots.push(Lot {
                id: lot,
                kind: LotKind::Paid,
                priority: 0,
                effective_at: now,
                expires_at: None,
                created_at: now,
                granted: amount,
                remaining: amount,
            });
        }
        let of = (id.0, note.currency, LedgerKind::CreditNote);
        self.book_document(of, note.key(), issued.entries, now);
        self.documents.invoices.get_mut(&id).unwrap().invoice = issued.invoice;
        self.documents.notes.push((note.clone(), key, wish));
        Ok(note)
    }

    fn recognize(&mut self, now: OffsetDateTime) -> u32 {
        let midnight = now.replace_time(Time::MIDNIGHT);
        let mut due = Vec::new();
        for (id, kept) in self
            .documents
            .invoices
            .iter()
            .filter(|(_, kept)| kept.earns)
        {
            for (line, left) in &kept.lines {
                let upto = if left.until <= now {
                    left.until
                } else {
                    midnight
                };
                let is_due = left.until <= now || left.from < midnight;
                if left.left > Nanos::ZERO && left.from <= now && is_due {
                    due.push((*id, *line, upto));
                }
            }
        }
        for (id, line, upto) in &due {
            let kept = self.documents.invoices.get_mut(id).unwrap();
            let currency = kept.invoice.content.head.currency;
            let deferral = kept.lines.get_mut(line).unwrap();
            let (earned, rest) = deferral.earned(*upto);
            *deferral = rest;
            let key = format!(
                "recognition:{}:{line}:{}:{}",
                id.1,
                rest.from,
                rest.left.get()
            );
            let of = (id.0, currency, LedgerKind::Recognition);
            self.book_document(of, key, recognition(earned).unwrap(), now);
        }
        u32::try_from(due.len()).unwrap()
    }
}
