//! What customers are handed: invoices, credit notes and statements, as HTML and as PDF, in English and
//! simplified Chinese.
//!
//! [`Document`] is what all of them are made into first: blocks, a table, totals and notes, in words
//! already. [`Document::html`] and [`Document::pdf`] set it. Everything here is a function of its
//! arguments: the same invoice is the same bytes, whenever and wherever it is set.
#![deny(missing_docs)]

mod bill;
mod country;
mod credit;
mod document;
mod figures;
mod html;
mod pdf;
mod statement;
mod words;

pub use document::{Block, Cell, Column, Document, Fact, Row, Side, Total, TotalKind};
pub use pdf::PdfError;
