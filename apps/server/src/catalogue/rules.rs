//! Rules files: what is asked for models beside what they cost, and how that falls with use. TOML,
//! YAML or JSON, written by hand.

use std::sync::Arc;

use billing_core::id::{SaleRuleId, TierScheduleId};
use billing_core::money::Currency;
use billing_core::price::{ContextThreshold, PriceError, Rate, ServiceTier, UnitPrice};
use billing_core::reach::{Audience, ModelScope, Reach};
use billing_core::sale::{Factor, SalePrice, SaleRule};
use billing_core::tier_schedule::{TierSchedule, TierTerms};
use rust_decimal::Decimal;
use serde::Deserialize;
use time::OffsetDateTime;

use super::{ImportError, extension, tree, yaml};

/// The most rules that one file may state.
const MOST: usize = 100_000;

/// What a rules file states.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RulesFile {
    /// What is asked for models.
    #[serde(default)]
    sale: Vec<StatedSale>,
    /// How prices fall with use.
    #[serde(default)]
    tiers: Vec<StatedTiers>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedSale {
    audience: Audience,
    models: ModelScope,
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
    meter: billing_core::meter::Meter,
    #[serde(default)]
    service_tier: ServiceTier,
    above_prompt_tokens: Option<u64>,
    per_million_tokens: Option<String>,
    per_second: Option<String>,
    per_unit: Option<String>,
    #[serde(default)]
    free: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedTiers {
    audience: Audience,
    models: ModelScope,
    terms: Option<TierTerms>,
    #[serde(default)]
    withdrawn: bool,
}

/// Whether a file is one of rules: an object with a list of `sale` or `tiers`.
pub(crate) fn is_rules(name: &str, bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let lists = ["[[sale]]", "[[tiers]]"];
    let is_toml = text.lines().any(|line| lists.contains(&line.trim()));
    let keys = ["sale:", "tiers:"];
    let is_key = |line: &str| keys.iter().any(|key| line.starts_with(key));
    let is_yaml = is_yaml(name) && text.trim_start_matches('\u{feff}').lines().any(is_key);
    let names = ["\"sale\"", "\"tiers\""];
    let start: String = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .take(8)
        .collect();
    is_toml
        || is_yaml
        || names
            .iter()
            .any(|name| start.starts_with(&format!("{{{name}")))
}

fn is_yaml(name: &str) -> bool {
    matches!(extension(name), "yaml" | "yml")
}

/// Reads a rules file: YAML where its name says so, else JSON where it is an object, else TOML.
///
/// # Errors
/// [`ImportError::Rules`] or [`ImportError::Line`], with the place and what is wrong there.
pub(crate) fn read(name: &str, bytes: &[u8]) -> Result<RulesFile, ImportError> {
    let fault = |what: String| ImportError::Rules(what.trim().to_owned());
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| fault(format!("not UTF-8: {e}")))?;
    let file: RulesFile = if is_yaml(name) {
        tree::read(&yaml::parse(text)?)?
    } else if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|e| fault(e.to_string()))?
    } else {
        toml::from_str(text).map_err(|e| fault(e.to_string()))?
    };
    let stated = file.sale.len() + file.tiers.len();
    if stated > MOST {
        let what = format!("{stated} rules; one file states at most {MOST}: give it in parts");
        return Err(fault(what));
    }
    Ok(file)
}

impl RulesFile {
    /// Its rules, from an instant on.
    ///
    /// # Errors
    /// [`ImportError::Rules`], with the place and what is wrong there.
    pub(crate) fn into_rules(
        self,
        from: OffsetDateTime,
        mut next_id: impl FnMut() -> i64,
    ) -> Result<(Vec<SaleRule>, Vec<TierSchedule>), ImportError> {
        let mut sales = Vec::with_capacity(self.sale.len());
        for (number, stated) in (1..).zip(self.sale) {
            let (audience, models) = (stated.audience, stated.models.clone());
            let price = stated.into_price();
            let price =
                price.map_err(|what| ImportError::Rules(format!("sale {number}: {what}")))?;
            sales.push(SaleRule {
                id: SaleRuleId::new(next_id()),
                reach: Reach { audience, models },
                price,
                effective_from: from,
            });
        }
        let mut tiers = Vec::with_capacity(self.tiers.len());
        for (number, stated) in (1..).zip(self.tiers) {
            let fault = |what: String| ImportError::Rules(format!("tiers {number}: {what}"));
            if stated.terms.is_some() == stated.withdrawn {
                return Err(fault(
                    "give either `terms` or `withdrawn = true`".to_owned(),
                ));
            }
            if let Some(terms) = &stated.terms {
                terms.check().map_err(|e| fault(e.to_string()))?;
            }
            tiers.push(TierSchedule {
                id: TierScheduleId::new(next_id()),
                reach: Reach {
                    audience: stated.audience,
                    models: stated.models,
                },
                terms: stated.terms.map(Arc::new),
                effective_from: from,
            });
        }
        Ok((sales, tiers))
    }
}

impl StatedSale {
    fn into_price(self) -> Result<SalePrice, String> {
        let rates: Result<Vec<Rate>, String> = (1..)
            .zip(self.rates)
            .map(|(n, rate)| rate.read(n))
            .collect();
        let rates = rates?;
        match (self.withdrawn, self.markup, self.currency) {
            (true, None, None) if rates.is_empty() => Ok(SalePrice::Withdrawn),
            (true, _, _) => Err("`withdrawn` stands alone".to_owned()),
            (false, Some(factor), None) => Ok(SalePrice::Markup { factor, rates }),
            (false, Some(_), Some(_)) => {
                Err("a `markup` is in the currency of the cost; leave `currency` out".to_owned())
            }
            (false, None, Some(currency)) if !rates.is_empty() => Ok(SalePrice::Fixed {
                currency,
                rates,
                variants: Vec::new(),
            }),
            (false, None, _) => Err(
                "give a `markup`, or a `currency` and `rates`, or `withdrawn = true`".to_owned(),
            ),
        }
    }
}

impl StatedRate {
    fn read(self, number: usize) -> Result<Rate, String> {
        let fault = |what: &str| format!("rate {number} ({}): {what}", self.meter);
        let decimal = |text: &str| {
            Decimal::from_str_exact(text).map_err(|_| fault(&format!("\"{text}\" is not a number")))
        };
        let price = |made: Result<UnitPrice, PriceError>| made.map_err(|e| fault(&e.to_string()));
        let stated = [&self.per_million_tokens, &self.per_second, &self.per_unit];
        let count = stated.iter().filter(|price| price.is_some()).count() + usize::from(self.free);
        if count != 1 {
            return Err(fault(
                "give one of `per_million_tokens`, `per_second`, `per_unit` and `free = true`",
            ));
        }
        let price = match (&self.per_million_tokens, &self.per_second, &self.per_unit) {
            (Some(text), _, _) => price(UnitPrice::per_million(decimal(text)?))?,
            (_, Some(text), _) | (_, _, Some(text)) => price(UnitPrice::per_unit(decimal(text)?))?,
            (None, None, None) => UnitPrice::FREE,
        };
        let above = self
            .above_prompt_tokens
            .map(|prompt_tokens| ContextThreshold {
                prompt_tokens,
                inclusive: false,
            });
        let (meter, tier) = (self.meter, self.service_tier);
        Ok(Rate {
            meter,
            tier,
            above,
            price,
        })
    }
}

#[cfg(test)]
mod tests;
