//! A document as PDF: A4, with the parts of the fonts that it uses.

mod face;
mod layout;
mod page;
mod wrap;
mod write;

use thiserror::Error;

use crate::document::Document;

/// Why a PDF could not be made. Both would be faults of the program, not of the document.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PdfError {
    /// A font that is built in cannot be read.
    #[error("a built-in font cannot be read")]
    Font,
    /// A font's part could not be made.
    #[error("a part of a font could not be made: {0}")]
    Subset(String),
}

impl Document {
    /// The document as a PDF file.
    ///
    /// # Errors
    /// [`PdfError`].
    pub fn pdf(&self) -> Result<Vec<u8>, PdfError> {
        let faces = face::Faces::load()?;
        let pages = layout::lay_out(self, &faces);
        write::file(self, &pages, &faces)
    }
}
