//! The price book in memory: a snapshot that is replaced when prices change.

use std::sync::{Arc, PoisonError, RwLock};

use billing_core::port::catalogue::{Catalogue, CatalogueError};
use billing_core::price_book::PriceBook;

/// The present price book.
#[derive(Debug)]
pub(crate) struct Prices {
    book: RwLock<Arc<PriceBook>>,
    catalogue: Arc<dyn Catalogue>,
}

impl Prices {
    /// Reads the price book for the first time.
    pub(crate) async fn load(catalogue: Arc<dyn Catalogue>) -> Result<Self, CatalogueError> {
        let book = catalogue.price_book().await?;
        Ok(Self {
            book: RwLock::new(Arc::new(book)),
            catalogue,
        })
    }

    /// The book as it stands. A call keeps the one it began with.
    pub(crate) fn book(&self) -> Arc<PriceBook> {
        Arc::clone(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the price book again.
    pub(crate) async fn reload(&self) -> Result<(), CatalogueError> {
        let book = Arc::new(self.catalogue.price_book().await?);
        *self.book.write().unwrap_or_else(PoisonError::into_inner) = book;
        Ok(())
    }
}
