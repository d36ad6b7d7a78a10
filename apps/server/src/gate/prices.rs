//! The price book in memory: a snapshot that is replaced when prices change.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use billing_core::budget::{Amount, BudgetScope};
use billing_core::call::Settlement;
use billing_core::id::{AccountId, PriceVersionId, SaleRuleId};
use billing_core::port::catalogue::{Catalogue, CatalogueError};
use billing_core::price::PriceError;
use billing_core::price_book::{ModelFacts, Offer, PriceBook, SoldKey, Unpriced};
use billing_core::reach::Buyer;
use billing_core::settlement::SettledCall;
use billing_core::terms::{RatingRecord, Terms};
use thiserror::Error;
use time::OffsetDateTime;

/// How many counters are remembered. Those of windows that are over go with the rest.
const MOST_SEEN: usize = 100_000;

/// The present price book.
#[derive(Debug)]
pub(crate) struct Prices {
    book: RwLock<Arc<PriceBook>>,
    sold: RwLock<Sold>,
    seen: RwLock<Figures>,
    rolled: RwLock<Figures>,
    catalogue: Arc<dyn Catalogue>,
}

/// Figures of budgets.
type Figures = HashMap<(AccountId, BudgetScope), Amount>;

/// What rules and discounts made of price versions: always the same, so that it is made once.
type Sold = HashMap<SoldKey, Terms>;

/// Why a call has no price.
#[derive(Debug, Error)]
pub(crate) enum NoTerms {
    /// The book has none.
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
    /// The rule, or the plan's discount, and the cost do not make a price.
    #[error("{} no price of it: {why}", match rule {
        Some(rule) => format!("the rule {rule} makes"),
        None => "the discount of the plan leaves".to_owned(),
    })]
    Unsellable {
        /// The rule, where there is one.
        rule: Option<SaleRuleId>,
        /// What is wrong.
        why: PriceError,
    },
}

impl Prices {
    /// Reads the price book for the first time.
    pub(crate) async fn load(catalogue: Arc<dyn Catalogue>) -> Result<Self, CatalogueError> {
        let book = catalogue.price_book().await?;
        Ok(Self {
            book: RwLock::new(Arc::new(book)),
            sold: RwLock::default(),
            seen: RwLock::default(),
            rolled: RwLock::default(),
            catalogue,
        })
    }

    /// The book as it stands. A call keeps the one it began with.
    pub(crate) fn book(&self) -> Arc<PriceBook> {
        Arc::clone(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a call of a buyer is rated with, should it begin at an instant; and what else is known
    /// of its model.
    pub(crate) fn terms(
        &self,
        buyer: &Buyer,
        model: &str,
        at: OffsetDateTime,
    ) -> Result<(ModelFacts, Terms), NoTerms> {
        let book = self.book();
        let offer = book.offer(Some(buyer), model, at)?;
        let terms = self.sold(&offer)?;
        let known = |scope| self.seen(buyer.account, scope);
        let tiers = offer.tiers.and_then(|tiers| tiers.window(at, None, known));
        Ok((offer.model.facts.clone(), terms.in_tiers(tiers)))
    }

    /// How far a counter of an account is known to have come.
    pub(crate) fn seen(&self, account: AccountId, scope: BudgetScope) -> Amount {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        seen.get(&(account, scope)).copied().unwrap_or_default()
    }

    /// The same; `None` where nothing was heard of it.
    pub(crate) fn known(&self, account: AccountId, scope: BudgetScope) -> Option<Amount> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        seen.get(&(account, scope)).copied()
    }

    /// What is known to have rolled over into a window; `None` where nobody looked yet.
    pub(crate) fn rolled(&self, account: AccountId, scope: BudgetScope) -> Option<Amount> {
        let rolled = self.rolled.read().unwrap_or_else(PoisonError::into_inner);
        rolled.get(&(account, scope)).copied()
    }

    /// Notes how far a settled call found its counter, so that the next one holds less, and how far
    /// it brought its quotas, so that callers can be told.
    pub(crate) fn note(&self, settlement: &Settlement, settled: &SettledCall) {
        let account = settlement.account;
        if let (Some(tiers), Some(position)) = (&settlement.terms.tiers, settled.position) {
            self.note_used(account, tiers.position(), position);
        }
        for (scope, used) in &settled.used_after {
            self.note_used(account, *scope, *used);
        }
    }

    /// Notes how far a counter has come.
    pub(crate) fn note_used(&self, account: AccountId, scope: BudgetScope, used: Amount) {
        raise(&self.seen, (account, scope), used);
    }

    /// Notes what has rolled over into a window.
    pub(crate) fn note_rolled(&self, account: AccountId, scope: BudgetScope, came: Amount) {
        raise(&self.rolled, (account, scope), came);
    }

    /// The terms of an offer.
    pub(crate) fn sold(&self, offer: &Offer<'_>) -> Result<Terms, NoTerms> {
        if offer.sale.is_none() && offer.discount.is_none() {
            return Ok(Terms::listed(Arc::clone(offer.cost)));
        }
        let key = offer.key();
        let sold = self.sold.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(terms) = sold.get(&key) {
            return Ok(terms.clone());
        }
        drop(sold);
        let terms = offer.terms().map_err(|why| NoTerms::Unsellable {
            rule: offer.sale.map(|rule| rule.id),
            why,
        })?;
        let mut sold = self.sold.write().unwrap_or_else(PoisonError::into_inner);
        sold.insert(key, terms.clone());
        Ok(terms)
    }

    /// The terms that are on record of a call, whether or not they hold now.
    pub(crate) fn on_record(
        &self,
        model: &str,
        price: PriceVersionId,
        rating: &RatingRecord,
    ) -> Option<Terms> {
        self.book().terms(model, price, rating)
    }

    /// Reads the price book again.
    pub(crate) async fn reload(&self) -> Result<(), CatalogueError> {
        let book = Arc::new(self.catalogue.price_book().await?);
        *self.book.write().unwrap_or_else(PoisonError::into_inner) = book;
        self.sold
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        Ok(())
    }
}

/// Raises a figure; what is known does not fall.
fn raise(figures: &RwLock<Figures>, of: (AccountId, BudgetScope), to: Amount) {
    let mut figures = figures.write().unwrap_or_else(PoisonError::into_inner);
    if figures.len() >= MOST_SEEN {
        figures.clear();
    }
    let known = figures.entry(of).or_default();
    *known = to.max(*known);
}
