//! Invoices: from settled usage and fees to a numbered document and its postings.
//!
//! [`assemble`] puts a [`Draft`] together from plain values. A line's exact nanos become minor units
//! once, half away from zero; what that leaves stays in the account's books
//! ([`Rounding`](crate::ledger::LedgerCode::Rounding)) and is listed by a later invoice as soon as it
//! makes a minor unit, so nothing is lost and nothing is charged twice. Taxes are rounded once per
//! rate and spread over the lines.

mod assembly;
mod coupon;
mod credit_note;
mod deferral;
mod discount;
mod ending;
mod fee_documents;
mod group;
mod house;
mod invoiced;
mod issued;
mod line;
mod number;
mod party;
mod posting;
mod statement;
mod tax;
mod tax_table;

pub use assembly::{
    AssemblyError, Carried, Draft, InvoiceHead, InvoiceParts, Minimum, Totals, assemble,
};
pub use coupon::{
    Coupon, CouponCode, CouponDuration, CouponError, CouponOff, RedeemAsk, Redemption,
};
pub use credit_note::{
    CreditAsk, CreditError, CreditIssued, CreditLine, CreditNote, CreditTo, Creditable,
    CreditedLine,
};
pub use deferral::{Deferral, recognition};
pub(crate) use discount::off_price;
pub use discount::{AppliedDiscount, Discount, Off, Skipped, SkippedDiscount, coupons};
pub use ending::LeftOpen;
pub use fee_documents::{
    BillTo, FeeDocuments, FeeDocumentsError, FeeInvoice, FeeNotes, TakenBack, Taxes, gives_back,
};
pub use house::{BillingDetails, FeesSold, Invoicing, SoldFee};
pub use invoiced::{GiveBackError, GivesBack, Invoiced, NoteIssue, NoteMade, NotePlan};
pub use issued::{
    AppliedCredit, Booked, Credited, Invoice, InvoiceError, InvoiceStatus, Issue, Owed, Paid,
};
pub use line::{Component, Line, LineItem, LineTax, LineUnit, StatedPrice};
pub use number::{DocumentNumber, NotASeries, Numbering, Series, broken_at};
pub use party::{Country, Locale, Party, PartyError, TaxId};
pub use posting::wallet_change;
pub use statement::{
    MOST_BOOKED, Moved, MovedBy, Movement, MovementKind, Statement, StatementError, StatementMonth,
    StatementOf,
};
pub use tax::{TaxCategory, TaxFault, TaxRate, TaxTotal, TaxTreatment};
pub use tax_table::{TaxRule, TaxTable, TaxTableError};
