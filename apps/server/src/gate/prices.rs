//! The price book in memory: a snapshot that is replaced when prices change.

use std::sync::{Arc, PoisonError, RwLock};

use billing_core::id::PriceVersionId;
use billing_core::port::catalogue::{Catalogue, CatalogueError};
use billing_core::price::PriceVersion;
use billing_core::price_book::{PriceBook, PricedModel};

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

    /// A version, whether or not it holds now.
    pub(crate) fn version(&self, model: &str, id: PriceVersionId) -> Option<Arc<PriceVersion>> {
        let book = self.book();
        let own = book.get(model).into_iter();
        let mut versions = own.chain(book.models()).flat_map(PricedModel::versions);
        versions.find(|version| version.id() == id).map(Arc::clone)
    }

    /// Reads the price book again.
    pub(crate) async fn reload(&self) -> Result<(), CatalogueError> {
        let book = Arc::new(self.catalogue.price_book().await?);
        *self.book.write().unwrap_or_else(PoisonError::into_inner) = book;
        Ok(())
    }
}
