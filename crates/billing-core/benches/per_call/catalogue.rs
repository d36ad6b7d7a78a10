//! A price book as large as the catalogue that is sold from: the shipped models, with further ones
//! under made-up names, three versions each.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use billing_core::id::{AccountId, PlanId, PriceVersionId, SaleRuleId};
use billing_core::money::Currency;
use billing_core::price::{ModelName, PriceVersion, Rate, ServiceTier};
use billing_core::price_book::{ModelFacts, PriceBook, PricedModel};
use billing_core::reach::{Audience, Buyer, ModelScope, Reach};
use billing_core::sale::{SalePrice, SaleRule};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/catalogue.jsonl");
/// Entries of the catalogue that is imported.
const MODELS: usize = 4_553;
const VERSIONS: usize = 3;
/// Whoever asks: an account on a plan, both with rules of their own.
pub(crate) const BUYER: Buyer = Buyer {
    account: AccountId::new(1),
    plan: Some(PlanId::new(1)),
    discount: None,
};

/// A model's line: its name and facts, and the rates that apply without a condition.
struct Entry {
    name: String,
    facts: ModelFacts,
    rates: Vec<Rate>,
}

/// The names that are in a book, in the order of the file, and the book.
pub(crate) type Named = (Vec<String>, PriceBook);

/// The book, and by how many bytes the process grew with it: with what reading the file has left
/// behind, so the book itself takes less.
pub(crate) fn weighed() -> (Named, u64) {
    let before = resident().unwrap();
    let book = book();
    let after = resident().unwrap();
    (book, after.saturating_sub(before))
}

pub(crate) fn book() -> Named {
    let text = fs::read_to_string(Path::new(SHIPPED)).unwrap();
    let lines = text.lines().skip(1).cycle().zip(0..);
    let mut names = Vec::with_capacity(MODELS);
    let shipped = text.lines().count() - 1;
    let models = lines.take(MODELS).map(|(line, n)| {
        let mut entry = entry(line);
        if n >= shipped {
            entry.name = format!("another-{}", entry.name);
        }
        names.push(entry.name.clone());
        priced(entry)
    });
    let book = PriceBook::new(models);
    assert_eq!(book.len(), MODELS);
    (names, book)
}

/// The same book with a rule for every model, and others that come before and after them.
pub(crate) fn with_rules((names, book): &Named) -> Named {
    let everyone = Audience::Everyone;
    let models = names
        .iter()
        .map(|name| (everyone, ModelScope::Model(ModelName::new(name))));
    let families = ["gpt-", "gpt-4o", "claude-", "gemini-", "another-"];
    let families = families.map(|name| (everyone, ModelScope::Family(ModelName::new(name))));
    let own = [
        (
            Audience::Account(BUYER.account),
            ModelScope::Family(ModelName::new("no-such-")),
        ),
        (
            Audience::Plan(PlanId::new(1)),
            ModelScope::Model(ModelName::new("no-such-model")),
        ),
        (everyone, ModelScope::All),
    ];
    let reaches = models.chain(families).chain(own).zip(1..);
    let rules = reaches.map(|((audience, models), n)| SaleRule {
        id: SaleRuleId::new(n),
        reach: Reach { audience, models },
        price: SalePrice::Markup {
            factor: "1.2".parse().unwrap(),
            rates: Vec::new(),
        },
        effective_from: OffsetDateTime::UNIX_EPOCH,
    });
    (names.clone(), book.clone().with_sales(rules))
}

fn priced(entry: Entry) -> PricedModel {
    let name = ModelName::new(&entry.name);
    let versions = (0..VERSIONS).map(|n| {
        let n = i64::try_from(n).unwrap();
        let from = OffsetDateTime::UNIX_EPOCH + Duration::days(n * 100);
        let (id, rates) = (PriceVersionId::new(n), entry.rates.clone());
        Arc::new(PriceVersion::new(id, name.clone(), Currency::USD, from, rates).unwrap())
    });
    PricedModel::new(name.clone(), entry.facts, versions.collect())
}

fn entry(line: &str) -> Entry {
    let line: Value = serde_json::from_str(line).unwrap();
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let per_unit = line["per_unit"].as_object().unwrap().iter();
    let rates = per_unit.filter_map(|(name, price)| {
        let (meter, tier) = name.split_once('@').unwrap_or((name, "standard"));
        Some(Rate {
            meter: meter.parse().ok()?,
            tier: *ServiceTier::ALL.iter().find(|t| t.name() == tier)?,
            above: None,
            price: price.as_str()?.parse().ok()?,
        })
    });
    Entry {
        name: text("model"),
        rates: rates.collect(),
        facts: ModelFacts {
            provider: text("provider"),
            mode: text("mode"),
            max_input_tokens: line["max_input_tokens"].as_u64(),
            max_output_tokens: line["max_output_tokens"].as_u64(),
        },
    }
}

/// Memory that this process has in use, in bytes; `None` where the system does not say.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
