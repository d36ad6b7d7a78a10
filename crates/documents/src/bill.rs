//! An invoice, or its draft, as a document.

use billing_core::invoice::{
    Component, Country, Draft, Invoice, InvoiceStatus, Line, Locale, Party, TaxTreatment,
};
use billing_core::money::{Currency, Minor};
use billing_core::zone::Zone;

use crate::country::country_name;
use crate::document::{Block, Cell, Column, Document, Fact, Row, Side, Total, TotalKind};
use crate::figures::{Hand, amount, money};
use crate::words::Word;

impl Document {
    /// An invoice in a language, with dates in the calendar of a zone.
    pub fn invoice(invoice: &Invoice, locale: Locale, zone: &Zone) -> Self {
        let hand = Hand { locale, zone };
        let mut document = Self::of_content(&invoice.content, hand);
        document.number = invoice.number.to_string();
        document.stamp = match invoice.status {
            // What was given up is still owed: the customer's copy says so by the amount that is due.
            InvoiceStatus::Open | InvoiceStatus::Uncollectible(_) => None,
            InvoiceStatus::Paid(_) => Some(hand.word(Word::Paid)),
            InvoiceStatus::Void(_) => Some(hand.word(Word::Void)),
        };
        let dates = [
            fact(hand, Word::Number, document.number.clone()),
            fact(hand, Word::Issued, hand.date(invoice.issued_at)),
            fact(hand, Word::Due, hand.date(invoice.due_at)),
        ];
        document.facts.splice(0..0, dates);
        document.totals.extend(settled(invoice, hand));
        document
    }

    /// A draft: what an invoice would say if it were finalized now.
    pub fn draft(draft: &Draft, locale: Locale, zone: &Zone) -> Self {
        Self::of_content(draft, Hand { locale, zone })
    }

    fn of_content(draft: &Draft, hand: Hand<'_>) -> Self {
        let head = &draft.head;
        let mut facts = Vec::new();
        if let Some(period) = head.period {
            facts.push(fact(hand, Word::Period, hand.period(period)));
        }
        facts.push(fact(hand, Word::Account, head.account.to_string()));
        let mut notes = tax_notes(draft.treatments.values(), hand);
        notes.extend(head.notes.iter().cloned());
        Self {
            locale: hand.locale,
            title: hand.word(Word::Invoice),
            number: hand.word(Word::Draft),
            stamp: None,
            seller: party(&head.seller, Word::From, hand),
            buyer: party(&head.buyer, Word::BilledTo, hand),
            facts,
            columns: columns(head.currency, hand),
            rows: draft.lines.iter().map(|l| row(l, draft, hand)).collect(),
            totals: totals(draft, hand),
            notes,
        }
    }
}

pub(crate) fn fact(hand: Hand<'_>, label: Word, value: String) -> Fact {
    let label = hand.word(label);
    Fact { label, value }
}

/// A party's lines: name, address, country, tax number, where to reach it.
pub(crate) fn party(party: &Party, heading: Word, hand: Hand<'_>) -> Block {
    let mut lines = vec![party.name.clone()];
    lines.extend(party.address.iter().cloned());
    let country = country_name(party.country, hand.locale);
    let is_known = party.country != Country::UNKNOWN;
    lines.extend(match (&party.region, hand.locale) {
        (None, _) => is_known.then_some(country),
        (Some(region), _) if !is_known => Some(region.clone()),
        (Some(region), Locale::En) => Some(format!("{region}, {country}")),
        (Some(region), Locale::ZhCn) => Some(format!("{country} {region}")),
    });
    lines.extend(
        party
            .tax_id
            .iter()
            .map(|id| format!("{} {}", id.kind, id.value)),
    );
    lines.extend(party.email.clone());
    Block {
        heading: hand.word(heading),
        lines,
    }
}

pub(crate) const fn column(heading: String, side: Side) -> Column {
    Column { heading, side }
}

pub(crate) fn total(label: String, value: String, kind: TotalKind) -> Total {
    Total { label, value, kind }
}

/// What has to be said of lines on which no tax is due.
pub(crate) fn tax_notes<'a>(
    treatments: impl Iterator<Item = &'a TaxTreatment>,
    hand: Hand<'_>,
) -> Vec<String> {
    let mut notes = Vec::new();
    for treatment in treatments {
        let note = match treatment {
            TaxTreatment::Taxed { .. } => continue,
            TaxTreatment::Exempt { reason } if reason.is_empty() => continue,
            TaxTreatment::Exempt { reason } => match hand.locale {
                Locale::En => format!("{} {reason}", hand.word(Word::Exempt)),
                Locale::ZhCn => format!("{}{reason}", hand.word(Word::Exempt)),
            },
            TaxTreatment::ReverseCharge => hand.word(Word::ReverseCharge),
        };
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}

/// What a line is for, in words.
pub(crate) fn description(line: &Line, hand: Hand<'_>) -> String {
    let (word, says_subject) = match &line.item.component {
        Component::Usage { .. } => (Word::Usage, true),
        Component::PlanFee => (Word::PlanFee, true),
        Component::AddOn => (Word::AddOn, true),
        Component::ProrationCharge => (Word::ProrationCharge, true),
        Component::ProrationCredit { .. } => (Word::ProrationCredit, true),
        Component::TopUp { .. } => (Word::TopUp, true),
        Component::MinimumTrueUp => (Word::TrueUp, true),
        Component::ProgressiveCredit { .. } => (Word::Progressive, true),
        Component::Carried => (Word::Carried, false),
    };
    let word = hand.word(word);
    if !says_subject || line.item.subject.is_empty() {
        return word;
    }
    let is_phrase = matches!(
        line.item.component,
        Component::ProrationCharge
            | Component::ProrationCredit { .. }
            | Component::ProgressiveCredit { .. }
    );
    match (hand.locale, is_phrase) {
        (Locale::En, true) => format!("{word} {}", line.item.subject),
        (Locale::En, false) => format!("{word}: {}", line.item.subject),
        (Locale::ZhCn, _) => format!("{word}：{}", line.item.subject),
    }
}

fn columns(currency: Currency, hand: Hand<'_>) -> Vec<Column> {
    let amount = format!("{} ({currency})", hand.word(Word::Amount));
    vec![
        column(hand.word(Word::Description), Side::Left),
        column(hand.word(Word::Quantity), Side::Right),
        column(hand.word(Word::UnitPrice), Side::Right),
        column(hand.word(Word::Tax), Side::Right),
        column(amount, Side::Right),
    ]
}

fn row(line: &Line, draft: &Draft, hand: Hand<'_>) -> Row {
    let item = &line.item;
    let mut details = Vec::new();
    if let Some(period) = item
        .period
        .filter(|period| draft.head.period != Some(*period))
    {
        details.push(hand.period(period));
    }
    if !item.meters.is_empty() {
        let meters = item.meters.iter();
        let meters: Vec<_> = meters
            .map(|(meter, used)| hand.meter(*meter, *used))
            .collect();
        details.push(hand.list(&meters));
    }
    let rates = line
        .taxes
        .iter()
        .map(|tax| format!("{}%", tax.rate.percent));
    let rates: Vec<String> = rates.collect();
    let tax = if rates.is_empty() {
        "–".to_owned()
    } else {
        rates.join(" + ")
    };
    let is_figure = item.component == Component::Carried;
    let quantity = if is_figure {
        String::new()
    } else {
        hand.quantity(item.quantity, item.unit)
    };
    let price = item.unit_price.and_then(|price| hand.price(price));
    Row {
        cells: vec![
            Cell {
                text: description(line, hand),
                details,
            },
            quantity.into(),
            price.unwrap_or_default().into(),
            tax.into(),
            amount(line.amount, draft.head.currency).into(),
        ],
    }
}

fn totals(draft: &Draft, hand: Hand<'_>) -> Vec<Total> {
    let currency = draft.head.currency;
    let sums = draft.totals;
    let less = |value: Minor| amount(Minor::new(value.get().saturating_neg()), currency);
    let plain = |label, value| total(label, value, TotalKind::Plain);
    let mut totals = vec![plain(
        hand.word(Word::Subtotal),
        amount(sums.lines, currency),
    )];
    for applied in &draft.discounts {
        let mut label = format!("{} · {}", hand.word(Word::Discount), applied.discount.name);
        if let Some(code) = &applied.discount.code {
            label = format!("{label} ({code})");
        }
        totals.push(plain(label, less(applied.amount)));
    }
    if !sums.promo.is_zero() {
        totals.push(plain(hand.word(Word::PromoCredit), less(sums.promo)));
    }
    let (included, added): (Vec<_>, Vec<_>) = draft.taxes.iter().partition(|tax| tax.rate.included);
    if !added.is_empty() && included.is_empty() && sums.net != sums.lines {
        totals.push(plain(hand.word(Word::Net), amount(sums.net, currency)));
    }
    for tax in added {
        let base = amount(tax.taxable, currency);
        let label = format!("{} {} {base}", hand.tax(&tax.rate), hand.word(Word::On));
        totals.push(plain(label, amount(tax.amount, currency)));
    }
    let all = money(sums.total, currency);
    totals.push(total(hand.word(Word::Total), all, TotalKind::Sum));
    for tax in included {
        let base = amount(tax.taxable, currency);
        let rate = hand.tax(&tax.rate);
        let (includes, on) = (hand.word(Word::Included), hand.word(Word::On));
        let label = format!("{includes} {rate} {on} {base}");
        totals.push(total(label, amount(tax.amount, currency), TotalKind::Part));
    }
    totals
}

/// What was paid and credited, and what is still due; nothing where none of it was.
fn settled(invoice: &Invoice, hand: Hand<'_>) -> Vec<Total> {
    let currency = invoice.content.head.currency;
    let due = invoice.owed.total().unwrap_or(Minor::ZERO);
    let parts = [
        (Word::Credited, invoice.credited.offset),
        (Word::PaidByCredit, invoice.paid.by_credit),
        (Word::PaidByWallet, invoice.paid.by_wallet),
        (Word::PaidByPayment, invoice.paid.by_payment),
    ];
    let mut totals = Vec::new();
    for (word, value) in parts.into_iter().filter(|(_, value)| !value.is_zero()) {
        let less = Minor::new(value.get().saturating_neg());
        let value = amount(less, currency);
        totals.push(total(hand.word(word), value, TotalKind::Plain));
    }
    let due = money(due, currency);
    totals.push(total(hand.word(Word::AmountDue), due, TotalKind::Sum));
    totals
}
