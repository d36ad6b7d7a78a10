//! The tax rates that an operator states: by country, region and category, each from a day on.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use super::party::{Country, Party};
use super::tax::{TaxCategory, TaxFault, TaxTreatment};

/// How sales to a place are taxed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxRule {
    /// The buyer's country.
    pub country: Country,
    /// The buyer's state or province; `None` for all of the country.
    pub region: Option<String>,
    /// What is sold; `None` for everything.
    pub category: Option<TaxCategory>,
    /// From when on; `None` for ever before.
    pub from: Option<OffsetDateTime>,
    /// Up to when; `None` until another rule says so.
    pub until: Option<OffsetDateTime>,
    /// How it is taxed.
    pub treatment: TaxTreatment,
    /// Whether a buyer with a tax number owes the tax where the seller is of another country.
    pub reverse_charge: bool,
}

/// All rules, and what holds where none does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaxTable {
    rules: Vec<TaxRule>,
    elsewhere: TaxTreatment,
}

/// Why rules make no table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TaxTableError {
    /// A treatment is none.
    #[error("the rule for {place}: {fault}")]
    Fault {
        /// The country.
        place: Country,
        /// Why.
        fault: TaxFault,
    },
    /// The treatment of sales elsewhere is none.
    #[error("the rule for elsewhere: {0}")]
    Elsewhere(#[source] TaxFault),
    /// A rule ends before it begins.
    #[error("the rule for {0} ends before it begins")]
    NoTime(Country),
    /// Two rules hold for the same sales at the same time.
    #[error("two rules for {0} hold for the same sales at the same time; end the first one")]
    Overlap(Country),
}

impl TaxTable {
    /// A table by which no tax is due, and nothing is said of it.
    pub const fn untaxed() -> Self {
        Self {
            rules: Vec::new(),
            elsewhere: TaxTreatment::Exempt {
                reason: String::new(),
            },
        }
    }

    /// A table of rules.
    ///
    /// # Errors
    /// [`TaxTableError`], naming the country of the rule.
    pub fn new(rules: Vec<TaxRule>, elsewhere: TaxTreatment) -> Result<Self, TaxTableError> {
        elsewhere.check().map_err(TaxTableError::Elsewhere)?;
        for (at, rule) in rules.iter().enumerate() {
            let place = rule.country;
            let fault = |fault| TaxTableError::Fault { place, fault };
            rule.treatment.check().map_err(fault)?;
            if matches!((rule.from, rule.until), (Some(from), Some(until)) if until <= from) {
                return Err(TaxTableError::NoTime(place));
            }
            if rules.iter().take(at).any(|other| other.collides(rule)) {
                return Err(TaxTableError::Overlap(place));
            }
        }
        Ok(Self { rules, elsewhere })
    }

    /// How a sale is taxed: the rule that says most of it decides, region before category.
    pub fn treatment(
        &self,
        seller: &Party,
        buyer: &Party,
        category: &TaxCategory,
        at: OffsetDateTime,
    ) -> TaxTreatment {
        let holding = self.rules.iter().filter(|r| r.holds(buyer, category, at));
        let rule = holding.max_by_key(|rule| (rule.region.is_some(), rule.category.is_some()));
        let Some(rule) = rule else {
            return self.elsewhere.clone();
        };
        let abroad = seller.country != buyer.country;
        if rule.reverse_charge && abroad && buyer.tax_id.is_some() {
            return TaxTreatment::ReverseCharge;
        }
        rule.treatment.clone()
    }
}

impl TaxRule {
    fn holds(&self, buyer: &Party, category: &TaxCategory, at: OffsetDateTime) -> bool {
        let begun = self.from.is_none_or(|from| from <= at);
        let ended = self.until.is_some_and(|until| until <= at);
        let same_region = self.region.is_none() || self.region == buyer.region;
        let same_category = self.category.as_ref().is_none_or(|own| own == category);
        self.country == buyer.country && same_region && same_category && begun && !ended
    }

    /// Whether it holds for the same sales as another, at some time.
    fn collides(&self, other: &Self) -> bool {
        let same = (self.country, &self.region, &self.category)
            == (other.country, &other.region, &other.category);
        let over = |first: &Self, second: &Self| matches!((first.until, second.from), (Some(until), Some(from)) if until <= from);
        same && !over(self, other) && !over(other, self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::party::TaxId;
    use super::super::tax::TaxRate;
    use super::*;
    use time::Duration;

    const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn party(country: &str, region: Option<&str>, tax_id: Option<&str>) -> Party {
        Party {
            name: "Example".to_owned(),
            address: Vec::new(),
            country: country.parse().unwrap(),
            region: region.map(str::to_owned),
            tax_id: tax_id.map(|value| TaxId {
                kind: "VAT".to_owned(),
                value: value.to_owned(),
            }),
            email: None,
        }
    }

    fn vat(percent: &str) -> TaxTreatment {
        TaxTreatment::Taxed {
            rates: vec![TaxRate {
                name: "VAT".to_owned(),
                jurisdiction: "XX".to_owned(),
                percent: percent.parse().unwrap(),
                included: false,
            }],
        }
    }

    fn rule(country: &str, percent: &str) -> TaxRule {
        TaxRule {
            country: country.parse().unwrap(),
            region: None,
            category: None,
            from: None,
            until: None,
            treatment: vat(percent),
            reverse_charge: true,
        }
    }

    fn outside() -> TaxTreatment {
        TaxTreatment::Exempt {
            reason: "outside the scope of VAT".to_owned(),
        }
    }

    #[test]
    fn the_rule_that_says_most_decides() {
        let books = "books".parse::<TaxCategory>().unwrap();
        let standard = "standard".parse().unwrap();
        let mut reduced = rule("DE", "7");
        reduced.category = Some(books.clone());
        let mut island = rule("DE", "0");
        island.region = Some("Helgoland".to_owned());
        let rules = vec![rule("DE", "19"), reduced, island];
        let table = TaxTable::new(rules, outside()).unwrap();
        let seller = party("DE", None, Some("DE1"));
        let of = |buyer: Party, category| table.treatment(&seller, &buyer, category, EPOCH);
        assert_eq!(of(party("DE", None, None), &standard), vat("19"));
        assert_eq!(of(party("DE", None, None), &books), vat("7"));
        let there = party("DE", Some("Helgoland"), None);
        assert_eq!(of(there, &books), vat("0"));
        assert_eq!(of(party("US", None, None), &standard), outside());
    }

    #[test]
    fn a_buyer_abroad_with_a_tax_number_owes_the_tax() {
        let table = TaxTable::new(vec![rule("FR", "20")], outside()).unwrap();
        let standard = "standard".parse().unwrap();
        let of = |seller: &str, number| {
            let buyer = party("FR", None, number);
            table.treatment(&party(seller, None, None), &buyer, &standard, EPOCH)
        };
        assert_eq!(of("DE", Some("FR1")), TaxTreatment::ReverseCharge);
        assert_eq!(of("DE", None), vat("20"));
        assert_eq!(of("FR", Some("FR1")), vat("20"));
    }

    #[test]
    fn a_rate_changes_at_an_instant_and_never_holds_twice() {
        let change = EPOCH.saturating_add(Duration::days(1));
        let (mut old, mut new) = (rule("DE", "16"), rule("DE", "19"));
        let open = TaxTable::new(vec![old.clone(), new.clone()], outside());
        assert!(matches!(open, Err(TaxTableError::Overlap(_))));
        old.until = Some(change);
        new.from = Some(change);
        let table = TaxTable::new(vec![old, new.clone()], outside()).unwrap();
        let buyer = party("DE", None, None);
        let standard = "standard".parse().unwrap();
        let at = |at| table.treatment(&buyer, &buyer, &standard, at);
        assert_eq!(at(change.saturating_sub(Duration::SECOND)), vat("16"));
        assert_eq!(at(change), vat("19"));
        new.until = Some(change);
        let none = TaxTable::new(vec![new], outside());
        assert!(matches!(none, Err(TaxTableError::NoTime(_))));
    }
}
