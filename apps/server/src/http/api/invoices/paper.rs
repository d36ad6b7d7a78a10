//! Invoices on paper: PDF and HTML.

use billing_core::invoice::{Invoice, Locale};
use billing_core::zone::Zone;
use documents::Document;

/// What an invoice is set on.
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
        let document = Document::invoice(invoice, locale, &zone);
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
