//! The catalogue in memory.

use async_trait::async_trait;
use billing_core::port::catalogue::{Catalogue, CatalogueError, PriceEdition};
use billing_core::port::directory::ChangeSubject;
use billing_core::price::ModelName;
use billing_core::price_book::PriceBook;
use time::OffsetDateTime;

use super::Memory;

#[async_trait]
impl Catalogue for Memory {
    async fn price_book(&self) -> Result<PriceBook, CatalogueError> {
        Ok(self.state().prices.clone())
    }

    async fn record(
        &self,
        edition: PriceEdition,
        now: OffsetDateTime,
    ) -> Result<(), CatalogueError> {
        let mut state = self.state();
        let is_sold = |model: &str| state.prices.is_sold(&ModelName::new(model));
        edition.ahead_of(now, is_sold)?;
        let ids = edition.versions.iter().map(|(v, _)| v.id().get());
        let mut known = state.price_ids.clone();
        for id in ids {
            if !known.insert(id) {
                let taken = format!("price version {id} is on record");
                return Err(CatalogueError::Unavailable(taken.into()));
            }
        }
        state.price_ids = known;
        state.prices = state.prices.amended(&edition);
        state.changes.push(ChangeSubject::Prices);
        Ok(())
    }
}
