//! Invoices, credit notes and statements on paper: PDF and HTML.

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use billing_core::invoice::{CreditNote, Invoice, Locale, Statement};
use billing_core::zone::Zone;
use documents::Document;

use crate::http::api::error::ApiError;

/// What a document is set on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paper {
    /// A file of pages.
    Pdf,
    /// A page for a browser.
    Html,
}

impl Paper {
    /// An invoice, in its own language or another, with dates of a zone.
    ///
    /// # Errors
    /// What is wrong with it, for the log.
    pub(crate) fn of_invoice(
        self,
        invoice: &Invoice,
        lang: Option<Locale>,
        zone: &str,
    ) -> Result<Vec<u8>, String> {
        let zone: Zone = zone.parse().map_err(|e| format!("{e}"))?;
        let locale = lang.unwrap_or(invoice.content.head.locale);
        self.set(&Document::invoice(invoice, locale, &zone))
    }

    /// A credit note of an invoice, in the language of that or another, with dates of a zone.
    ///
    /// # Errors
    /// What is wrong with it, for the log.
    pub(crate) fn of_note(
        self,
        (note, invoice): (&CreditNote, &Invoice),
        lang: Option<Locale>,
        zone: &str,
    ) -> Result<Vec<u8>, String> {
        let zone: Zone = zone.parse().map_err(|e| format!("{e}"))?;
        let locale = lang.unwrap_or(invoice.content.head.locale);
        self.set(&Document::credit_note(note, invoice, locale, &zone))
    }

    /// A statement, in the language of its account or another, with dates of a zone.
    ///
    /// # Errors
    /// What is wrong with it, for the log.
    pub(crate) fn of_statement(
        self,
        statement: &Statement,
        lang: Option<Locale>,
        zone: &str,
    ) -> Result<Vec<u8>, String> {
        let zone: Zone = zone.parse().map_err(|e| format!("{e}"))?;
        let locale = lang.unwrap_or(statement.locale);
        self.set(&Document::statement(statement, locale, &zone))
    }

    fn set(self, document: &Document) -> Result<Vec<u8>, String> {
        match self {
            Self::Pdf => document.pdf().map_err(|e| e.to_string()),
            Self::Html => Ok(document.html().into_bytes()),
        }
    }

    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Html => "text/html; charset=utf-8",
        }
    }

    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Html => "html",
        }
    }
}

/// Answers with what sets a document of this number.
pub(in crate::http::api) async fn answer(
    paper: Paper,
    number: String,
    set: impl FnOnce() -> Result<Vec<u8>, String> + Send + 'static,
) -> Result<HttpResponse, ApiError> {
    // Setting a page takes milliseconds, and no call is to wait for that.
    let set = web::block(set).await.map_err(|_| ApiError::Internal)?;
    let bytes = set.map_err(|fault| {
        tracing::error!(number, fault, "a document cannot be set on paper");
        ApiError::Internal
    })?;
    let name = number.replace('/', "-");
    let inline = format!("inline; filename=\"{name}.{}\"", paper.extension());
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, paper.content_type()))
        .insert_header((CONTENT_DISPOSITION, inline))
        .body(bytes))
}
