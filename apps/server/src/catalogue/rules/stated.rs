//! What a rules file says as people write it: every price with its unit in its name, every amount of
//! money as decimal text.

use std::collections::BTreeMap;
use std::fmt;

use billing_core::charge_model::{Package, Percent, Tier, TierError, Tiers};
use billing_core::meter::{Meter, MeterUnit};
use billing_core::money::{Currency, Nanos};
use billing_core::price::{
    ContextThreshold, PriceError, Rate, ServiceTier, UnitPrice, Variant, When,
};
use billing_core::reach::{Audience, ModelScope};
use billing_core::sale::{Factor, SalePrice};
use billing_core::tier_schedule::{Measure, TierPrice, TierPricing, TierTerms, TierWindow};
use billing_core::zone::Zone;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// What is asked for models.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatedSale {
    pub(super) audience: Audience,
    pub(super) models: ModelScope,
    /// What the cost is multiplied by; left out where the rates are all there is.
    markup: Option<Factor>,
    currency: Option<Currency>,
    #[serde(default)]
    rates: Vec<StatedRate>,
    #[serde(default)]
    withdrawn: bool,
}

/// A rate, with the unit of its price in the name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedRate {
    meter: Meter,
    #[serde(default)]
    service_tier: ServiceTier,
    above_prompt_tokens: Option<u64>,
    from_prompt_tokens: Option<u64>,
    when: Option<When>,
    per_million_tokens: Option<String>,
    per_second: Option<String>,
    per_unit: Option<String>,
    #[serde(default)]
    free: bool,
}

/// How prices fall with use.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatedTiers {
    pub(super) audience: Audience,
    pub(super) models: ModelScope,
    terms: Option<StatedTerms>,
    #[serde(default)]
    withdrawn: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedTerms {
    currency: Currency,
    measure: Measure,
    window: TierWindow,
    #[serde(default = "Zone::utc")]
    zone: Zone,
    pricing: StatedPricing,
    minimum: Option<Money>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StatedPricing {
    Graduated(Tiers<StatedPrice>),
    Volume(Tiers<StatedPrice>),
    Package(Package),
    PerCall(Package),
}

/// What holds in a tier.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StatedPrice {
    Discount(Percent),
    Rates(Vec<StatedRate>),
    PerUnit(UnitPrice),
}

/// An amount in the currency's major unit.
#[derive(Debug, Clone, Copy)]
struct Money(Nanos);

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AsText;
        impl Visitor<'_> for AsText {
            type Value = Money;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of money as text, such as \"50.00\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Money, E> {
                Nanos::parse(text).map(Money).map_err(E::custom)
            }
        }
        from.deserialize_str(AsText)
    }
}

impl StatedSale {
    /// What it asks.
    ///
    /// # Errors
    /// What is wrong, with its place in the rule and the cure.
    pub(super) fn into_price(self) -> Result<SalePrice, String> {
        let mut rates = Vec::with_capacity(self.rates.len());
        let mut varied: BTreeMap<When, Vec<Rate>> = BTreeMap::new();
        for (number, stated) in (1..).zip(self.rates) {
            match (stated.when.clone(), self.markup) {
                (None, _) => rates.push(stated.read(number)?),
                (Some(when), None) => varied.entry(when).or_default().push(stated.read(number)?),
                (Some(_), Some(_)) => return Err(stated.fault(
                    number,
                    "beside a `markup` a rate holds whatever the conditions; leave `when` out, or \
                     give a `currency` and all `rates`",
                )),
            }
        }
        match (self.withdrawn, self.markup, self.currency) {
            (true, None, None) if rates.is_empty() && varied.is_empty() => Ok(SalePrice::Withdrawn),
            (true, _, _) => Err("`withdrawn` stands alone".to_owned()),
            (false, Some(factor), None) => Ok(SalePrice::Markup { factor, rates }),
            (false, Some(_), Some(_)) => {
                Err("a `markup` is in the currency of the cost; leave `currency` out".to_owned())
            }
            (false, None, Some(currency)) if !rates.is_empty() => {
                let variant = |(when, rates)| Variant::new(when, rates);
                let variants: Result<_, PriceError> = varied.into_iter().map(variant).collect();
                Ok(SalePrice::Fixed {
                    currency,
                    rates,
                    variants: variants.map_err(|e| e.to_string())?,
                })
            }
            (false, None, _) => Err(
                "give a `markup`, or a `currency` and `rates`, or `withdrawn = true`".to_owned(),
            ),
        }
    }
}

impl StatedRate {
    fn fault(&self, number: usize, what: &str) -> String {
        format!("rate {number} ({}): {what}", self.meter)
    }

    fn read(self, number: usize) -> Result<Rate, String> {
        Ok(Rate {
            meter: self.meter,
            tier: self.service_tier,
            above: self.threshold(number)?,
            price: self.price(number)?,
        })
    }

    fn threshold(&self, number: usize) -> Result<Option<ContextThreshold>, String> {
        let (prompt_tokens, inclusive) = match (self.above_prompt_tokens, self.from_prompt_tokens) {
            (None, None) => return Ok(None),
            (Some(above), None) => (above, false),
            (None, Some(from)) => (from, true),
            (Some(_), Some(_)) => {
                let what = "give one of `above_prompt_tokens` and `from_prompt_tokens`";
                return Err(self.fault(number, what));
            }
        };
        Ok(Some(ContextThreshold {
            prompt_tokens,
            inclusive,
        }))
    }

    fn price(&self, number: usize) -> Result<UnitPrice, String> {
        let fault = |what: &str| self.fault(number, what);
        let stated = [
            (
                "per_million_tokens",
                &self.per_million_tokens,
                MeterUnit::Token,
            ),
            ("per_second", &self.per_second, MeterUnit::Millisecond),
            ("per_unit", &self.per_unit, MeterUnit::Each),
        ];
        let mut prices = stated.iter().filter_map(|(name, text, unit)| {
            let text = text.as_deref()?;
            Some((*name, text, *unit))
        });
        let (name, text, unit) = match (prices.next(), prices.next(), self.free) {
            (Some(price), None, false) => price,
            (None, None, true) => return Ok(UnitPrice::FREE),
            _ => {
                return Err(fault(
                    "give one of `per_million_tokens`, `per_second`, `per_unit` and `free = true`",
                ));
            }
        };
        let number = Decimal::from_str_exact(text);
        let number = number.map_err(|_| fault(&format!("\"{text}\" is not a number")))?;
        let price = match unit {
            MeterUnit::Token => UnitPrice::per_million(number),
            MeterUnit::Millisecond | MeterUnit::Each => UnitPrice::per_unit(number),
        };
        let price = price.map_err(|e: PriceError| fault(&e.to_string()))?;
        let own = stated.iter().find(|(.., unit)| *unit == self.meter.unit());
        if let Some((own, ..)) = own.filter(|_| unit != self.meter.unit()) {
            let what = format!("it is not priced `{name}`, but `{own}`");
            return Err(fault(&what));
        }
        Ok(price)
    }
}

impl StatedTiers {
    /// What it says; `None` where it ends an earlier one.
    ///
    /// # Errors
    /// What is wrong, with its place in the schedule and the cure.
    pub(super) fn into_terms(self) -> Result<Option<TierTerms>, String> {
        let stated = match (self.terms, self.withdrawn) {
            (Some(stated), false) => stated,
            (None, true) => return Ok(None),
            _ => return Err("give either `terms` or `withdrawn = true`".to_owned()),
        };
        let pricing = match stated.pricing {
            StatedPricing::Graduated(tiers) => TierPricing::Graduated(read_tiers(&tiers)?),
            StatedPricing::Volume(tiers) => TierPricing::Volume(read_tiers(&tiers)?),
            StatedPricing::Package(package) => TierPricing::Package(package),
            StatedPricing::PerCall(package) => TierPricing::PerCall(package),
        };
        let terms = TierTerms {
            currency: stated.currency,
            measure: stated.measure,
            window: stated.window,
            zone: stated.zone,
            pricing,
            minimum: stated.minimum.map(|money| money.0),
        };
        terms.check().map_err(|e| e.to_string())?;
        Ok(Some(terms))
    }
}

fn read_tiers(stated: &Tiers<StatedPrice>) -> Result<Tiers<TierPrice>, String> {
    let mut tiers = Vec::with_capacity(stated.all().len());
    for (number, tier) in (1_usize..).zip(stated.all()) {
        let price = match tier.price.clone() {
            StatedPrice::Discount(percent) => TierPrice::Discount(percent),
            StatedPrice::PerUnit(price) => TierPrice::PerUnit(price),
            StatedPrice::Rates(rates) => {
                let rates = read_rates(rates).map_err(|what| format!("tier {number}: {what}"))?;
                TierPrice::Rates(rates)
            }
        };
        tiers.push(Tier {
            up_to: tier.up_to,
            price,
            flat: tier.flat,
            cap: tier.cap,
        });
    }
    Tiers::new(tiers).map_err(|e: TierError| e.to_string())
}

fn read_rates(stated: Vec<StatedRate>) -> Result<Vec<Rate>, String> {
    let mut rates = Vec::with_capacity(stated.len());
    for (number, rate) in (1..).zip(stated) {
        if rate.when.is_some() {
            let what = "the rates of a tier hold whatever the conditions; leave `when` out";
            return Err(rate.fault(number, what));
        }
        rates.push(rate.read(number)?);
    }
    Ok(rates)
}
