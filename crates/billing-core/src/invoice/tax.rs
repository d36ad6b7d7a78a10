//! Taxes: which are due, and each line's part of them.
//!
//! A tax is rounded once, on the sum of what it is due on, and spread over the lines by largest
//! remainder: the lines' parts add up to it, so no set of credit notes can give back more.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::group::{Group, add_to_lines, spread_over};
use super::line::LineTax;
use crate::charge_model::Percent;
use crate::charge_model::minor::{included_in, share_of};
use crate::money::{Minor, MoneyError};

/// How many characters a category may have.
const LONGEST: usize = 40;

/// A class of things that are taxed alike, such as `standard` or `electronic_services`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaxCategory(String);

/// A tax: who levies it, and how much it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaxRate {
    /// What it is called on the invoice: `VAT`, `GST`, `增值税`.
    pub name: String,
    /// Who levies it: a country, or a state of one, such as `DE` or `CA-QC`.
    pub jurisdiction: String,
    /// How much of the net amount it is.
    pub percent: Percent,
    /// Whether prices include it already.
    pub included: bool,
}

/// How something is taxed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "treatment", rename_all = "snake_case")]
pub enum TaxTreatment {
    /// At these rates, each on the net amount.
    Taxed {
        /// The rates: at least one, all included in prices or none.
        rates: Vec<TaxRate>,
    },
    /// Not at all, and the invoice says why.
    Exempt {
        /// Why.
        reason: String,
    },
    /// The buyer owes the tax; the invoice says so.
    ReverseCharge,
}

/// A tax of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxTotal {
    /// The tax.
    pub rate: TaxRate,
    /// The net amount that it is due on.
    pub taxable: Minor,
    /// How much it is.
    pub amount: Minor,
}

/// Why something is no tax.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TaxFault {
    /// The text is no category.
    #[error(
        "\"{0}\" is not a tax category; give at most {LONGEST} small letters, digits and underscores"
    )]
    NotACategory(String),
    /// No rate is given.
    #[error("a taxed treatment needs at least one rate; say that it is exempt, and why")]
    NoRate,
    /// A rate is given twice.
    #[error("{0} is given twice")]
    Twice(String),
    /// Some rates are included in prices, others are not.
    #[error("rates that are taken together are all included in prices, or none is")]
    Mixed,
}

impl TaxTreatment {
    /// Whether the rates can be taken together.
    ///
    /// # Errors
    /// [`TaxFault`].
    pub fn check(&self) -> Result<(), TaxFault> {
        let Self::Taxed { rates } = self else {
            return Ok(());
        };
        let Some(first) = rates.first() else {
            return Err(TaxFault::NoRate);
        };
        if rates.iter().any(|rate| rate.included != first.included) {
            return Err(TaxFault::Mixed);
        }
        let mut seen = rates.iter().enumerate();
        let twice = seen.find(|(at, rate)| rates.iter().take(*at).any(|other| other == *rate));
        match twice {
            Some((_, rate)) => Err(TaxFault::Twice(rate.name.clone())),
            None => Ok(()),
        }
    }

    /// The rates; none where nothing is due.
    pub fn rates(&self) -> &[TaxRate] {
        match self {
            Self::Taxed { rates } => rates,
            Self::Exempt { .. } | Self::ReverseCharge => &[],
        }
    }
}

impl TaxCategory {
    /// What is sold where nothing else is said.
    pub fn standard() -> Self {
        Self("standard".to_owned())
    }
}

impl FromStr for TaxCategory {
    type Err = TaxFault;
    fn from_str(text: &str) -> Result<Self, TaxFault> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !text.is_empty() && text.len() <= LONGEST && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(TaxFault::NotACategory(text.chars().take(40).collect()))
    }
}

impl fmt::Display for TaxCategory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for TaxCategory {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TaxCategory {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The taxes of an invoice, and each line's part of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Levied {
    /// Each tax, in the order in which lines first come under it.
    pub(super) totals: Vec<TaxTotal>,
    /// Each line's part of each of its taxes.
    pub(super) of_lines: Vec<Vec<LineTax>>,
}

/// The taxes on what lines charge. No group of lines charges less than nothing.
pub(super) fn levy(groups: &[Group<'_>], charged: &[Minor]) -> Result<Levied, MoneyError> {
    let mut rates: Vec<&TaxRate> = Vec::new();
    for rate in groups.iter().flat_map(|group| group.treatment.rates()) {
        if !rates.contains(&rate) {
            rates.push(rate);
        }
    }
    let included = included_by_group(groups, charged)?;
    let mut totals = Vec::with_capacity(rates.len());
    let mut of_lines = vec![Vec::new(); charged.len()];
    for rate in rates {
        let under = |group: &&Group<'_>| group.treatment.rates().contains(rate);
        let under: Vec<&Group<'_>> = groups.iter().filter(under).collect();
        let mut taxable = Vec::with_capacity(under.len());
        for group in &under {
            let first = group.lines.first().copied().unwrap_or_default();
            let inside = included.get(&first).map(|(all, _)| *all);
            let net = group.total(charged)?.minus(inside.unwrap_or(Minor::ZERO))?;
            taxable.push(net);
        }
        let base = Minor::total(taxable.iter().copied())?;
        let parts = if rate.included {
            let of = |group: &&Group<'_>| {
                let first = group.lines.first().copied().unwrap_or_default();
                let parts = included.get(&first).map(|(_, parts)| parts);
                let part = parts.and_then(|parts| parts.iter().find(|(of, _)| *of == rate));
                part.map_or(Minor::ZERO, |(_, part)| *part)
            };
            under.iter().map(of).collect()
        } else {
            let tax = Minor::new(share_of(base.get(), rate.percent)?);
            spread_over(tax, &taxable)?
        };
        let amount = Minor::total(parts.iter().copied())?;
        totals.push(TaxTotal {
            rate: rate.clone(),
            taxable: base,
            amount,
        });
        hand_out(rate, &under, &parts, charged, &mut of_lines)?;
    }
    Ok(Levied { totals, of_lines })
}

/// Gives each line of the groups under a rate its part of the groups' parts.
fn hand_out(
    rate: &TaxRate,
    under: &[&Group<'_>],
    parts: &[Minor],
    charged: &[Minor],
    of_lines: &mut [Vec<LineTax>],
) -> Result<(), MoneyError> {
    let mut amounts = vec![Minor::ZERO; charged.len()];
    for (group, part) in under.iter().zip(parts) {
        add_to_lines(*part, group, charged, &mut amounts)?;
    }
    for line in under.iter().flat_map(|group| &group.lines) {
        let amount = amounts.get(*line).copied().unwrap_or(Minor::ZERO);
        if let Some(taxes) = of_lines.get_mut(*line) {
            taxes.push(LineTax {
                rate: rate.clone(),
                amount,
            });
        }
    }
    Ok(())
}

/// What of a group's amount is tax: all of it, and by rate.
type Inside<'a> = (Minor, Vec<(&'a TaxRate, Minor)>);

/// The taxes that are included in what groups charge, by the group's first line. What several rates
/// make up together is rounded once and split between them.
fn included_by_group<'a>(
    groups: &[Group<'a>],
    charged: &[Minor],
) -> Result<BTreeMap<usize, Inside<'a>>, MoneyError> {
    let mut inside = BTreeMap::new();
    for group in groups {
        let rates = group.treatment.rates();
        let Some(first) = group.lines.first() else {
            continue;
        };
        if !rates.iter().any(|rate| rate.included) {
            continue;
        }
        let percents = rates.iter().map(|rate| rate.percent);
        let together = percents.clone().try_fold(Percent::ZERO, Percent::plus)?;
        let all = Minor::new(included_in(group.total(charged)?.get(), together)?);
        let weights = percents.map(|percent| Minor::new(percent.weight()));
        let parts = spread_over(all, &weights.collect::<Vec<_>>())?;
        inside.insert(*first, (all, rates.iter().zip(parts).collect()));
    }
    Ok(inside)
}

#[cfg(test)]
mod tests {
    use super::super::group::groups;
    use super::*;

    fn rate(name: &str, percent: &str, included: bool) -> TaxRate {
        TaxRate {
            name: name.to_owned(),
            jurisdiction: "XX".to_owned(),
            percent: percent.parse().unwrap(),
            included,
        }
    }

    fn taxed(rates: Vec<TaxRate>) -> TaxTreatment {
        TaxTreatment::Taxed { rates }
    }

    fn levied(lines: &[(i64, &TaxTreatment)]) -> Levied {
        let charged: Vec<Minor> = lines
            .iter()
            .map(|(amount, _)| Minor::new(*amount))
            .collect();
        let treatments: Vec<_> = lines.iter().map(|(_, treatment)| *treatment).collect();
        levy(&groups(&treatments), &charged).unwrap()
    }

    fn amounts(levied: &Levied) -> Vec<(i64, i64)> {
        let totals = levied.totals.iter();
        totals.map(|t| (t.taxable.get(), t.amount.get())).collect()
    }

    #[test]
    fn a_rate_over_several_groups_is_rounded_once() {
        let (gst, pst) = (rate("GST", "5", false), rate("PST", "7", false));
        let both = taxed(vec![gst.clone(), pst]);
        let federal = taxed(vec![gst]);
        let levied = levied(&[(10, &both), (10, &federal), (30, &both)]);
        // 5 % of 50 is 2.5, of 40 and 10 it would be 2 and 0.5.
        assert_eq!(amounts(&levied), [(50, 3), (40, 3)]);
        let first = &levied.of_lines[0];
        assert_eq!(first.len(), 2);
        assert_eq!(levied.of_lines[1].len(), 1);
    }

    #[test]
    fn an_included_tax_is_taken_out_of_the_sum() {
        let vat = taxed(vec![rate("增值税", "6", true)]);
        let levied = levied(&[(100, &vat), (200, &vat)]);
        // 300 · 6 / 106 = 16.98.
        assert_eq!(amounts(&levied), [(283, 17)]);
        let two = taxed(vec![rate("A", "10", true), rate("B", "5", true)]);
        let levied = self::levied(&[(115, &two)]);
        assert_eq!(amounts(&levied), [(100, 10), (100, 5)]);
    }

    #[test]
    fn lines_that_cancel_out_bear_no_tax() {
        let (a, b) = (
            taxed(vec![rate("VAT", "19", false)]),
            taxed(vec![rate("VAT", "19", false), rate("City", "1", false)]),
        );
        let levied = levied(&[(777, &a), (20, &b), (-20, &b)]);
        assert_eq!(amounts(&levied), [(777, 148), (0, 0)]);
        let of = |line: usize| levied.of_lines[line][0].amount.get();
        assert_eq!((of(0), of(1), of(2)), (148, 0, 0));
    }

    #[test]
    fn rates_that_do_not_go_together_are_refused() {
        let vat = rate("VAT", "19", false);
        assert_eq!(taxed(Vec::new()).check(), Err(TaxFault::NoRate));
        let mixed = taxed(vec![vat.clone(), rate("City", "1", true)]);
        assert_eq!(mixed.check(), Err(TaxFault::Mixed));
        let twice = taxed(vec![vat.clone(), vat]);
        assert_eq!(twice.check(), Err(TaxFault::Twice("VAT".to_owned())));
        assert!("Standard Rate".parse::<TaxCategory>().is_err());
    }
}
