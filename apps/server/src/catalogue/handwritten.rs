//! Price books written by hand, in YAML or TOML: models with prices whose units are in the names.
//!
//! Both are read into one tree first, in which a number is still the text that somebody wrote, and
//! everything knows its line.

use std::collections::BTreeSet;

use billing_core::meter::{Meter, MeterUnit};
use billing_core::money::Currency;
use billing_core::price::{ModelName, Rate, UnitPrice, Variant, When};
use billing_core::price_book::{ModelFacts, PriceDraft};

use super::own::read_rate;
use super::tree::{Node, Tree};
use super::{ImportError, MOST_ENTRIES, number, yaml};

mod toml;

/// The edition of the format.
const EDITION: &str = "1";

/// Tables of prices, by the unit that is in their name.
const TABLES: [(&str, MeterUnit); 3] = [
    ("per_million_tokens", MeterUnit::Token),
    ("per_second", MeterUnit::Millisecond),
    ("per_unit", MeterUnit::Each),
];

/// Something wrong, and on which line.
struct Fault {
    line: usize,
    what: String,
}

impl Fault {
    fn at(node: &Node, what: impl Into<String>) -> Self {
        Self {
            line: node.line,
            what: what.into(),
        }
    }
}

impl From<Fault> for ImportError {
    fn from(fault: Fault) -> Self {
        Self::Line {
            line: fault.line,
            what: fault.what,
        }
    }
}

/// Reads a price book in YAML.
///
/// # Errors
/// [`ImportError`] with the line, the key and the cure; nothing of the file is used then.
pub(super) fn read_yaml(text: &str) -> Result<Vec<PriceDraft>, ImportError> {
    Ok(book(&yaml::parse(text)?)?)
}

/// Reads a price book in TOML.
///
/// # Errors
/// As [`read_yaml`].
pub(super) fn read_toml(text: &str) -> Result<Vec<PriceDraft>, ImportError> {
    Ok(book(&toml::parse(text)?)?)
}

fn book(root: &Node) -> Result<Vec<PriceDraft>, Fault> {
    only(
        root,
        "the price book",
        &["tollgate_prices", "currency", "models"],
    )?;
    let edition = text(root, "tollgate_prices")?;
    if edition != Some(EDITION) {
        let what = format!("tollgate_prices: {EDITION} must say which edition of the format it is");
        return Err(Fault::at(root, what));
    }
    let currency = currency(root)?;
    let models = root
        .get("models")
        .ok_or_else(|| Fault::at(root, "models is missing: a table of models by name"))?;
    let entries = table(models, "models")?;
    if entries.len() > MOST_ENTRIES {
        let what = format!(
            "{} models, at most {MOST_ENTRIES}: split the file",
            entries.len()
        );
        return Err(Fault::at(models, what));
    }
    let mut names = BTreeSet::new();
    let mut drafts = Vec::with_capacity(entries.len());
    for (name, node) in entries {
        if !names.insert(name) {
            return Err(Fault::at(
                node,
                format!("{name} is listed twice; keep one of the two"),
            ));
        }
        drafts.push(draft(name, node, currency)?);
    }
    drafts.sort_by(|a, b| a.model.cmp(&b.model));
    Ok(drafts)
}

fn draft(name: &str, node: &Node, default: Option<Currency>) -> Result<PriceDraft, Fault> {
    let mut known = vec![
        "provider",
        "mode",
        "max_input_tokens",
        "max_output_tokens",
        "currency",
        "when",
    ];
    known.extend(TABLES.map(|(table, _)| table));
    only(node, name, &known)?;
    if name.is_empty() || name.len() > 300 || name.contains(char::is_control) {
        return Err(Fault::at(node, "not a model's name"));
    }
    let currency = currency(node)?.or(default).ok_or_else(|| {
        Fault::at(
            node,
            format!("{name}: no currency; state one for it or for the whole book"),
        )
    })?;
    let rates = rates_of(name, node)?;
    if rates.is_empty() {
        return Err(Fault::at(node, format!("{name} has no price")));
    }
    let mut variants: Vec<Variant> = Vec::new();
    if let Some(when) = node.get("when") {
        for (condition, node) in table(when, "when")? {
            let of = format!("{name} with {condition}");
            only(node, &of, &TABLES.map(|(table, _)| table))?;
            let rates = rates_of(&of, node)?;
            let parsed: When = condition
                .parse()
                .map_err(|e| Fault::at(node, format!("{name}: {e}")))?;
            let variant = Variant::new(parsed, rates);
            let variant = variant.map_err(|e| Fault::at(node, format!("{of}: {e}")))?;
            if variants.iter().any(|other| other.when == variant.when) {
                return Err(Fault::at(node, format!("{of} is stated twice")));
            }
            variants.push(variant);
        }
    }
    variants.sort();
    Ok(PriceDraft {
        model: ModelName::new(name),
        facts: ModelFacts {
            provider: text(node, "provider")?.unwrap_or_default().to_owned(),
            mode: text(node, "mode")?.unwrap_or("chat").to_owned(),
            max_input_tokens: tokens(node, "max_input_tokens")?,
            max_output_tokens: tokens(node, "max_output_tokens")?,
        },
        currency,
        rates,
        variants,
    })
}

/// The rates of all tables of prices.
fn rates_of(of: &str, node: &Node) -> Result<Vec<Rate>, Fault> {
    let mut rates: Vec<Rate> = Vec::new();
    for (unit_table, unit) in TABLES {
        let Some(prices) = node.get(unit_table) else {
            continue;
        };
        for (key, node) in table(prices, unit_table)? {
            let place = |what: String| Fault::at(node, format!("{of}: {unit_table}.{key}: {what}"));
            let Tree::Text(stated) = &node.tree else {
                return Err(place("not a price".to_owned()));
            };
            let price = price(stated, unit).map_err(place)?;
            let rate = read_rate(key, price).map_err(place)?;
            if rate.meter.unit() != unit {
                let own = table_of(rate.meter);
                return Err(place(format!("{} is priced in {own}", rate.meter)));
            }
            let same = |r: &Rate| (r.meter, r.tier, r.above) == (rate.meter, rate.tier, rate.above);
            if rates.iter().any(same) {
                return Err(place("it is priced twice; keep one of the two".to_owned()));
            }
            rates.push(rate);
        }
    }
    rates.sort_unstable();
    Ok(rates)
}

/// The table that a meter is priced in.
fn table_of(meter: Meter) -> &'static str {
    let mut tables = TABLES.iter();
    let own = tables.find(|(_, unit)| *unit == meter.unit());
    own.map_or("", |(table, _)| table)
}

fn price(stated: &str, unit: MeterUnit) -> Result<UnitPrice, String> {
    if stated == "free" {
        return Ok(UnitPrice::FREE);
    }
    let number = number::parse(stated).map_err(|e| e.to_string())?;
    if number.rounded {
        return Err(format!("{stated} has more than 24 decimal places"));
    }
    if number.value.is_zero() {
        return Err(
            "zero is not a price; say free where something is meant to cost nothing".to_owned(),
        );
    }
    if number.value.is_sign_negative() {
        return Err(format!(
            "{stated} is negative; a price is more than zero, or free"
        ));
    }
    let price = match unit {
        MeterUnit::Token => UnitPrice::per_million(number.value),
        MeterUnit::Millisecond | MeterUnit::Each => UnitPrice::per_unit(number.value),
    };
    price.map_err(|e| e.to_string())
}

fn currency(node: &Node) -> Result<Option<Currency>, Fault> {
    let Some(code) = text(node, "currency")? else {
        return Ok(None);
    };
    let parsed = Currency::parse(code).map_err(|e| Fault::at(node, format!("currency: {e}")))?;
    Ok(Some(parsed))
}

fn tokens(node: &Node, key: &str) -> Result<Option<u64>, Fault> {
    let Some(stated) = text(node, key)? else {
        return Ok(None);
    };
    let count = stated.replace('_', "").parse().ok().filter(|n| *n > 0);
    count.map(Some).ok_or_else(|| {
        Fault::at(
            node,
            format!("{key}: \"{stated}\" is not a number of tokens"),
        )
    })
}

fn text<'a>(node: &'a Node, key: &str) -> Result<Option<&'a str>, Fault> {
    match node.get(key) {
        None => Ok(None),
        Some(Node {
            tree: Tree::Text(text),
            ..
        }) => Ok(Some(text)),
        Some(other) => Err(Fault::at(other, format!("{key} is not one value"))),
    }
}

fn table<'a>(node: &'a Node, what: &str) -> Result<Vec<(&'a str, &'a Node)>, Fault> {
    match &node.tree {
        Tree::Table(members) => Ok(members
            .iter()
            .map(|(key, node)| (key.as_str(), node))
            .collect()),
        Tree::Text(_) | Tree::List(_) => Err(Fault::at(node, format!("{what} is not a table"))),
    }
}

/// Refuses what a table holds beside these keys, and a key that stands twice.
fn only(node: &Node, what: &str, known: &[&str]) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    for (key, node) in table(node, what)? {
        if !known.contains(&key) {
            let known = known.join(", ");
            return Err(Fault::at(
                node,
                format!("{what}: unknown key {key}; it may hold {known}"),
            ));
        }
        if !seen.insert(key) {
            return Err(Fault::at(node, format!("{what}: {key} stands twice")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
