//! Invoices and credit notes on the wire.

use billing_core::invoice::{
    AppliedDiscount, CreditNote, CreditedLine, Invoice, Line, Party, TaxTotal,
};
use billing_core::money::{Currency, Minor};
use billing_core::period::Period;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::api::wire::{MoneyDto, instant};

/// An invoice in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvoiceSummaryDto {
    /// Its id.
    #[schema(example = "inv_0001fv5kz4y00")]
    id: String,
    /// Its number.
    #[schema(example = "INV-000001")]
    number: String,
    /// `open`, `paid`, `void` or `uncollectible`.
    #[schema(example = "paid")]
    status: &'static str,
    /// When it became final.
    #[schema(format = DateTime)]
    issued_at: String,
    /// By when it is to be paid.
    #[schema(format = DateTime)]
    due_at: String,
    /// Without tax.
    net: MoneyDto,
    /// All taxes.
    tax: MoneyDto,
    /// Both.
    total: MoneyDto,
    /// What is not paid; of one that was given up, what will not be.
    owed: MoneyDto,
}

/// An invoice.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvoiceDto {
    #[serde(flatten)]
    summary: InvoiceSummaryDto,
    /// Whose.
    account: String,
    /// What was paid from the wallet.
    paid_from_wallet: MoneyDto,
    /// Its language.
    #[schema(example = "zh-CN")]
    locale: &'static str,
    /// Who sells.
    seller: PartyDto,
    /// Who buys.
    buyer: PartyDto,
    /// What time it is for; null where its lines differ.
    period: Option<InvoicePeriodDto>,
    /// What it lists.
    lines: Vec<InvoiceLineDto>,
    /// What coupons take off, in the order in which they do.
    discounts: Vec<InvoiceDiscountDto>,
    /// Its taxes, rate by rate.
    taxes: Vec<TaxDto>,
    /// What stands at its foot.
    notes: Vec<String>,
    /// What was given back of it.
    credit_notes: Vec<CreditNoteDto>,
}

/// Who sells or buys.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PartyDto {
    /// Name of a company or person.
    #[schema(example = "上海示例科技有限公司")]
    pub(crate) name: String,
    /// Lines of the address.
    pub(crate) address: Vec<String>,
    /// Two letters of ISO 3166-1; null where it is not known.
    #[schema(example = "CN")]
    pub(crate) country: Option<String>,
    /// State or province.
    pub(crate) region: Option<String>,
    /// The tax number.
    pub(crate) tax_id: Option<TaxIdDto>,
    /// Where they can be reached.
    pub(crate) email: Option<String>,
}

/// A tax number and what it is called.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TaxIdDto {
    /// What it is called.
    #[schema(example = "VAT")]
    pub(crate) kind: String,
    /// The number.
    pub(crate) value: String,
}

/// A time, up to its end.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvoicePeriodDto {
    /// Its first instant.
    #[schema(format = DateTime)]
    start: String,
    /// The instant after its last.
    #[schema(format = DateTime)]
    end: String,
}

/// A line of an invoice.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvoiceLineDto {
    /// Its place, from 0: what a credit note names it by.
    line: usize,
    /// What is charged, or credited.
    #[schema(value_type = Object)]
    component: serde_json::Value,
    /// What that is called.
    #[schema(example = "Pro")]
    subject: String,
    /// The plan that it belongs to.
    plan: Option<String>,
    /// For when.
    period: Option<InvoicePeriodDto>,
    /// How much of it.
    #[schema(example = "1")]
    quantity: String,
    /// What it shows; with taxes where prices include them, else without.
    amount: MoneyDto,
    /// Its part of what coupons take off.
    discount: MoneyDto,
    /// Its taxes.
    tax: MoneyDto,
    /// What is left without tax.
    net: MoneyDto,
}

/// What a coupon takes off an invoice.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvoiceDiscountDto {
    /// The coupon's code.
    #[schema(example = "SPRING-26")]
    code: Option<String>,
    /// What it is called.
    name: String,
    /// How much it takes off; with taxes where prices include them, else without.
    amount: MoneyDto,
}

/// A tax of an invoice.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaxDto {
    /// What it is called.
    #[schema(example = "VAT")]
    name: String,
    /// Who levies it.
    #[schema(example = "DE")]
    jurisdiction: String,
    /// How much of the net amount it is.
    #[schema(example = "19")]
    percent: String,
    /// Whether prices include it.
    included: bool,
    /// What it is due on.
    taxable: MoneyDto,
    /// How much it is.
    amount: MoneyDto,
}

/// A credit note.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreditNoteDto {
    /// Its id.
    #[schema(example = "crn_0001fv5kz4y00")]
    id: String,
    /// Its number.
    #[schema(example = "CN-000001")]
    number: String,
    /// The invoice's number.
    #[schema(example = "INV-000001")]
    invoice: String,
    /// When it was issued.
    #[schema(format = DateTime)]
    issued_at: String,
    /// Why.
    reason: String,
    /// What it gives back of which line.
    lines: Vec<CreditedLineDto>,
    /// Without tax.
    net: MoneyDto,
    /// Taxes.
    tax: MoneyDto,
    /// Both.
    total: MoneyDto,
    /// What of it lowered what was still to be paid.
    offset: MoneyDto,
    /// What of it went into the wallet.
    to_wallet: MoneyDto,
}

/// What is given back of a line.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreditedLineDto {
    /// The line's place, from 0.
    line: usize,
    /// How much.
    amount: MoneyDto,
}

fn money(amount: Minor, currency: Currency) -> MoneyDto {
    MoneyDto {
        amount: amount.text(currency),
        currency: currency.code().to_owned(),
    }
}

impl InvoiceSummaryDto {
    pub(crate) fn of(invoice: &Invoice) -> Self {
        let head = &invoice.content.head;
        let totals = invoice.content.totals;
        let of = |amount| money(amount, head.currency);
        Self {
            id: head.id.to_string(),
            number: invoice.number.to_string(),
            status: invoice.status.name(),
            issued_at: instant(invoice.issued_at),
            due_at: instant(invoice.due_at),
            net: of(totals.net),
            tax: of(totals.tax),
            total: of(totals.total),
            owed: of(invoice.owed.total().unwrap_or(Minor::ZERO)),
        }
    }
}

impl InvoiceDto {
    pub(crate) fn of(invoice: &Invoice, notes: &[CreditNote]) -> Self {
        let head = &invoice.content.head;
        let lines = invoice.content.lines.iter().enumerate();
        Self {
            summary: InvoiceSummaryDto::of(invoice),
            account: head.account.to_string(),
            paid_from_wallet: money(invoice.paid.by_wallet, head.currency),
            locale: head.locale.name(),
            seller: PartyDto::of(&head.seller),
            buyer: PartyDto::of(&head.buyer),
            period: head.period.map(InvoicePeriodDto::of),
            lines: lines
                .map(|(place, line)| InvoiceLineDto::of(place, line, head.currency))
                .collect(),
            discounts: invoice
                .content
                .discounts
                .iter()
                .map(|off| InvoiceDiscountDto::of(off, head.currency))
                .collect(),
            taxes: invoice
                .content
                .taxes
                .iter()
                .map(|tax| TaxDto::of(tax, head.currency))
                .collect(),
            notes: head.notes.clone(),
            credit_notes: notes.iter().map(CreditNoteDto::of).collect(),
        }
    }
}

impl PartyDto {
    pub(crate) fn of(party: &Party) -> Self {
        let country = Some(party.country).filter(|c| *c != billing_core::invoice::Country::UNKNOWN);
        Self {
            name: party.name.clone(),
            address: party.address.clone(),
            country: country.map(|country| country.to_string()),
            region: party.region.clone(),
            tax_id: party.tax_id.as_ref().map(|id| TaxIdDto {
                kind: id.kind.clone(),
                value: id.value.clone(),
            }),
            email: party.email.clone(),
        }
    }
}

impl InvoicePeriodDto {
    fn of(period: Period) -> Self {
        Self {
            start: instant(period.start),
            end: instant(period.end),
        }
    }
}

impl InvoiceLineDto {
    fn of(place: usize, line: &Line, currency: Currency) -> Self {
        let item = &line.item;
        Self {
            line: place,
            component: serde_json::to_value(&item.component).unwrap_or_default(),
            subject: item.subject.clone(),
            plan: item.plan.map(|plan| plan.to_string()),
            period: item.period.map(InvoicePeriodDto::of),
            quantity: item.quantity.to_string(),
            amount: money(line.amount, currency),
            discount: money(line.discount, currency),
            tax: money(line.tax().unwrap_or(Minor::ZERO), currency),
            net: money(line.net().unwrap_or(Minor::ZERO), currency),
        }
    }
}

impl InvoiceDiscountDto {
    fn of(off: &AppliedDiscount, currency: Currency) -> Self {
        let code = off.discount.code.as_ref();
        Self {
            code: code.map(ToString::to_string),
            name: off.discount.name.clone(),
            amount: money(off.amount, currency),
        }
    }
}

impl TaxDto {
    fn of(tax: &TaxTotal, currency: Currency) -> Self {
        Self {
            name: tax.rate.name.clone(),
            jurisdiction: tax.rate.jurisdiction.clone(),
            percent: tax.rate.percent.to_string(),
            included: tax.rate.included,
            taxable: money(tax.taxable, currency),
            amount: money(tax.amount, currency),
        }
    }
}

impl CreditNoteDto {
    pub(crate) fn of(note: &CreditNote) -> Self {
        let of = |amount| money(amount, note.currency);
        let line = |line: &CreditedLine| CreditedLineDto {
            line: line.line,
            amount: of(line.amount),
        };
        Self {
            id: note.id.to_string(),
            number: note.number.to_string(),
            invoice: note.invoice_number.to_string(),
            issued_at: instant(note.issued_at),
            reason: note.reason.clone(),
            lines: note.lines.iter().map(line).collect(),
            net: of(note.net),
            tax: of(note.tax),
            total: of(note.total),
            offset: of(note.offset),
            to_wallet: of(note.back),
        }
    }
}
