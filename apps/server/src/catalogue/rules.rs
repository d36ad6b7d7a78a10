//! Rules files: what is asked for models beside what they cost, and how that falls with use. TOML,
//! YAML or JSON, written by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use billing_core::id::{SaleRuleId, TierScheduleId};
use billing_core::reach::Reach;
use billing_core::sale::SaleRule;
use billing_core::tier_schedule::TierSchedule;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

mod stated;

use stated::{StatedSale, StatedTiers};

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
    let file: RulesFile = parse(name, bytes)?;
    let stated = file.sale.len() + file.tiers.len();
    if stated > MOST {
        let what = format!("{stated} rules; one file states at most {MOST}: give it in parts");
        return Err(ImportError::Rules(what));
    }
    Ok(file)
}

/// Reads a file that was written by hand: YAML where its name says so, else JSON where it is an
/// object, else TOML.
///
/// # Errors
/// As [`read`].
pub(crate) fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, ImportError> {
    let fault = |what: String| ImportError::Rules(what.trim().to_owned());
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| fault(format!("not UTF-8: {e}")))?;
    if is_yaml(name) {
        tree::read(&yaml::parse(text)?)
    } else if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|e| fault(e.to_string()))
    } else {
        toml::from_str(text).map_err(|e| fault(e.to_string()))
    }
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
        let wrong = |what: String| ImportError::Rules(what);
        let mut places = BTreeMap::new();
        let mut sales = Vec::with_capacity(self.sale.len());
        for (number, stated) in (1..).zip(self.sale) {
            let (audience, models) = (stated.audience, stated.models.clone());
            let reach = Reach { audience, models };
            once(&mut places, &reach, "sale", number).map_err(wrong)?;
            let price = stated.into_price();
            let price = price.map_err(|what| wrong(format!("sale {number}: {what}")))?;
            sales.push(SaleRule {
                id: SaleRuleId::new(next_id()),
                reach,
                price,
                effective_from: from,
            });
        }
        places.clear();
        let mut tiers = Vec::with_capacity(self.tiers.len());
        for (number, stated) in (1..).zip(self.tiers) {
            let (audience, models) = (stated.audience, stated.models.clone());
            let reach = Reach { audience, models };
            once(&mut places, &reach, "tiers", number).map_err(wrong)?;
            let terms = stated.into_terms();
            let terms = terms.map_err(|what| wrong(format!("tiers {number}: {what}")))?;
            tiers.push(TierSchedule {
                id: TierScheduleId::new(next_id()),
                reach,
                terms: terms.map(Arc::new),
                effective_from: from,
            });
        }
        Ok((sales, tiers))
    }
}

/// Refuses a second rule for the same accounts and models: only one of the two could hold.
fn once(
    places: &mut BTreeMap<Reach, usize>,
    reach: &Reach,
    list: &str,
    number: usize,
) -> Result<(), String> {
    match places.insert(reach.clone(), number) {
        None => Ok(()),
        Some(first) => Err(format!(
            "{list} {first} and {list} {number} are both {reach}; keep one of the two"
        )),
    }
}

#[cfg(test)]
mod tests;
