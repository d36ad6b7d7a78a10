//! Quotes for a file: usages in, a JSON object a line, and what each costs out, in the same order.
//!
//! Pure: bytes in, bytes out, over one price book. A line that cannot be rated is answered with the
//! reason and the cure, and the next one is rated as if it had not been there.

mod answer;
mod asked;
mod lines;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::charge::charge;
use billing_core::money::{Currency, Nanos};
use billing_core::price::{Circumstances, RatingError};
use billing_core::price_book::{Offer, PriceBook, SoldKey, Unpriced};
use billing_core::reach::Buyer;
use billing_core::terms::{InTiers, Terms};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use asked::Asked;
pub(crate) use lines::{Line, Lines};

/// The most counters of an account that are remembered: a file may name any number of windows.
const MOST_USED: usize = 100_000;

/// Rates usages with a price book, as it would charge anybody, or one account.
#[derive(Debug)]
pub(crate) struct Quoter<'a> {
    book: &'a PriceBook,
    /// Whose prices; `None` for those of everybody, tiers apart.
    buyer: Option<Buyer>,
    /// How far the account has come in windows of tier schedules.
    used: HashMap<BudgetScope, Amount>,
    /// The instant of usages that name none.
    now: OffsetDateTime,
    /// What rules and discounts make of versions: made once for all usages of them.
    sold: HashMap<SoldKey, Terms>,
    /// A name that is put together of provider and model.
    name: String,
    tally: Tally,
}

/// What came of the lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Lines that were rated.
    pub(crate) rated: u64,
    /// Lines that could not be.
    pub(crate) failed: u64,
    /// What the rated ones cost together, in nanos.
    pub(crate) totals: BTreeMap<Currency, i128>,
}

/// Why a line cannot be rated, with its cure.
#[derive(Debug, PartialEq, Eq)]
struct Fault(String);

/// Why a line is not rated.
#[derive(Debug)]
enum Stop {
    /// It cannot be.
    Wrong(Fault),
    /// Not before it is known how far a counter of the account has come.
    Unknown(BudgetScope),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Wrong(fault)
    }
}

impl<'a> Quoter<'a> {
    /// Rates with the prices of a book, at an instant where a usage names none: with those of an
    /// account, from where it stands in tiers; else with those of everybody, tiers apart.
    pub(crate) fn new(book: &'a PriceBook, buyer: Option<Buyer>, now: OffsetDateTime) -> Self {
        Self {
            book,
            buyer,
            used: HashMap::new(),
            now,
            sold: HashMap::new(),
            name: String::new(),
            tally: Tally::default(),
        }
    }

    /// Answers one line, which is the `number`-th of its file. Where a counter comes back, nothing was
    /// answered: [learn](Self::learn) how far it has come, and ask again.
    #[must_use]
    pub(crate) fn answer(
        &mut self,
        line: &Line<'_>,
        number: u64,
        out: &mut Vec<u8>,
    ) -> Option<BudgetScope> {
        let answered = match line {
            Line::Whole(bytes) => self.rated(bytes, out),
            Line::TooLong => Err(Stop::Wrong(Fault(format!(
                "the line is longer than {} bytes; give one usage a line",
                lines::LONGEST
            )))),
        };
        match answered {
            Ok((currency, amount)) => {
                self.tally.rated += 1;
                *self.tally.totals.entry(currency).or_default() += i128::from(amount.get());
            }
            Err(Stop::Wrong(fault)) => {
                self.tally.failed += 1;
                answer::write_fault(&fault.0, number, out);
            }
            Err(Stop::Unknown(counter)) => return Some(counter),
        }
        None
    }

    /// How far a counter of the account has come.
    pub(crate) fn learn(&mut self, counter: BudgetScope, used: Amount) {
        if self.used.len() >= MOST_USED {
            self.used.clear();
        }
        self.used.insert(counter, used);
    }

    /// What came of all lines so far.
    pub(crate) fn into_tally(self) -> Tally {
        self.tally
    }

    fn rated(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(Currency, Nanos), Stop> {
        let asked = Asked::read(line).map_err(Fault)?;
        let at = asked.at.unwrap_or(self.now);
        let offer = self.offer(&asked, at)?;
        let model = offer.model.name.as_str();
        let tiers = self.tiers(&offer, at)?;
        let position = tiers.as_ref().map(|tiers| tiers.known).unwrap_or_default();
        let terms = self.terms(&offer)?.in_tiers(tiers);
        let circumstances = Circumstances {
            tier: asked.tier,
            at,
            attributes: asked.attributes,
        };
        let charge = charge(&asked.usage, &terms, &circumstances, position)
            .map_err(|error| Fault(unrated(&error, model)))?;
        let rule = self.buyer.and(offer.sale).map(|rule| rule.id);
        answer::write_charge(&offer, rule, &charge, terms.tiers.as_ref(), out);
        Ok((charge.currency, charge.amount))
    }

    /// The window of the account's tier schedule that a usage counts in, if there is one.
    fn tiers(&self, offer: &Offer<'a>, at: OffsetDateTime) -> Result<Option<InTiers>, Stop> {
        let schedule = self.buyer.and(offer.tiers);
        let Some(mut tiers) = schedule.and_then(|s| s.window(at, None, |_| Amount::ZERO)) else {
            return Ok(None);
        };
        let counter = tiers.position();
        tiers.known = *self.used.get(&counter).ok_or(Stop::Unknown(counter))?;
        Ok(Some(tiers))
    }

    /// What the model costs that a line asks for: the one that its provider lists under this name,
    /// where it names a provider, else the one of this name.
    fn offer(&mut self, asked: &Asked<'_>, at: OffsetDateTime) -> Result<Offer<'a>, Fault> {
        let bare = &*asked.model;
        let mut name = bare;
        if let Some(provider) = asked.provider.as_deref() {
            let known = self.book.get(bare);
            if known.is_none_or(|model| model.facts.provider != provider) {
                self.name.clear();
                self.name.extend([provider, "/", bare]);
                if self.book.get(&self.name).is_some() {
                    name = &self.name;
                }
            }
        }
        self.book
            .offer(self.buyer.as_ref(), name, at)
            .map_err(|error| {
                Fault(match error {
                    Unpriced::Unknown(_) => format!(
                        "model: the catalogue has no \"{}\"; correct the name, or give the \
                     \"provider\" under which it is listed as provider/model",
                        clipped(bare)
                    ),
                    Unpriced::NoPrice(_) => format!(
                        "at: \"{name}\" has no price in effect at {}; its prices begin later",
                        at.format(&Rfc3339).unwrap_or_default()
                    ),
                })
            })
    }

    fn terms(&mut self, offer: &Offer<'a>) -> Result<Terms, Fault> {
        if offer.sale.is_none() && offer.discount.is_none() {
            return Ok(Terms::listed(Arc::clone(offer.cost)));
        }
        let key = offer.key();
        if let Some(known) = self.sold.get(&key) {
            return Ok(known.clone());
        }
        let made = offer.terms().map_err(|error| {
            let model = &offer.model.name;
            Fault(match offer.sale {
                Some(rule) => format!(
                    "model: the sale rule {} prices \"{model}\" wrongly: {error}",
                    rule.id
                ),
                None => {
                    format!("model: the plan's discount leaves no price of \"{model}\": {error}")
                }
            })
        })?;
        self.sold.insert(key, made.clone());
        Ok(made)
    }
}

fn unrated(error: &RatingError, model: &str) -> String {
    match error {
        RatingError::NoRate { meter } => format!(
            "usage.{meter}: \"{model}\" has no price for it; count it under a meter that is \
             priced, or import a price for it"
        ),
        RatingError::Money(error) => format!(
            "usage: {error}: one usage can cost up to about 9.2 billion; split it into several"
        ),
        // What a schedule says does not fit the price or the usage.
        RatingError::OtherCurrency(..) | RatingError::Price(_) | RatingError::Quantity(_) => {
            format!("usage: {error}")
        }
    }
}

/// As much of a text as an error should repeat.
fn clipped(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
