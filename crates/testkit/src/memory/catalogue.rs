//! The catalogue in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use billing_core::port::catalogue::{Catalogue, CatalogueError, PriceEdition};
use billing_core::port::directory::ChangeSubject;
use billing_core::price::ModelName;
use billing_core::price_book::{PriceBook, PricedModel};
use time::OffsetDateTime;

use super::Memory;

#[async_trait]
impl Catalogue for Memory {
    async fn price_book(&self) -> Result<PriceBook, CatalogueError> {
        Ok(self.state().prices.clone())
    }

    async fn record(&self, edition: PriceEdition, _: OffsetDateTime) -> Result<(), CatalogueError> {
        let mut state = self.state();
        let ids = edition.versions.iter().map(|(v, _)| v.id().get());
        let mut known = state.price_ids.clone();
        for id in ids {
            if !known.insert(id) {
                let taken = format!("price version {id} is on record");
                return Err(CatalogueError::Unavailable(taken.into()));
            }
        }
        let mut models: BTreeMap<ModelName, PricedModel> = state
            .prices
            .models()
            .map(|m| (m.name.clone(), m.clone()))
            .collect();
        for (version, facts) in edition.versions {
            let name = version.model().clone();
            let mut versions = models
                .get(&name)
                .map(|m| m.versions().to_vec())
                .unwrap_or_default();
            versions.push(Arc::new(version));
            models.insert(name.clone(), PricedModel::new(name, facts, versions));
        }
        for (name, facts) in edition.facts {
            let name = ModelName::new(&name);
            let model = models
                .entry(name.clone())
                .or_insert_with(|| PricedModel::new(name, facts.clone(), Vec::new()));
            model.facts = facts;
        }
        state.price_ids = known;
        let sales = state.prices.sales().iter().map(|rule| (**rule).clone());
        let sales: Vec<_> = sales.chain(edition.sales).collect();
        let tiers = state.prices.tiers().iter().map(|rule| (**rule).clone());
        let tiers: Vec<_> = tiers.chain(edition.tiers).collect();
        let book = PriceBook::new(models.into_values()).with_sales(sales);
        state.prices = book.with_tiers(tiers);
        state.changes.push(ChangeSubject::Prices);
        Ok(())
    }
}
