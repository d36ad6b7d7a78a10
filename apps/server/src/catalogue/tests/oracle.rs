//! What others make of the same catalogue: LiteLLM's figures for random usages.
//!
//! `./just oracle-prices` asks anew for every model; `tests/oracle` has the recorded answers for some
//! hundred of them, and the reviewed list of what differs and why.

use std::collections::BTreeMap;
use std::io::Write;

use billing_core::charge::rate;
use billing_core::id::PriceVersionId;
use billing_core::meter::Usage;
use billing_core::price::{Attributes, Circumstances, PriceVersion, ServiceTier};
use rust_decimal::Decimal;
use serde::Deserialize;
use time::OffsetDateTime;

use super::*;

const RECORDED: &str = include_str!("../../../../../tests/oracle/recorded.jsonl");

/// A usage, as `tests/oracle/usages.py` writes it.
#[derive(Deserialize)]
struct Ask {
    model: String,
    case: String,
    usage: Usage,
    #[serde(default)]
    service_tier: ServiceTier,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    #[serde(default)]
    attributes: Attributes,
    litellm: Option<String>,
}

fn book() -> BTreeMap<String, PriceVersion> {
    let from = OffsetDateTime::UNIX_EPOCH;
    let version = |draft: PriceDraft| draft.into_version(PriceVersionId::new(1), from).unwrap();
    let drafts = shipped().unwrap().into_iter();
    drafts
        .map(|draft| (draft.model.to_string(), version(draft)))
        .collect()
}

/// The exact figure of ours.
fn ours(ask: &Ask, book: &BTreeMap<String, PriceVersion>) -> String {
    let circumstances = Circumstances {
        tier: ask.service_tier,
        at: ask.at,
        attributes: ask.attributes.clone(),
    };
    let charge = rate(&ask.usage, &book[&ask.model], &circumstances);
    charge.map_or_else(|e| format!("error: {e}"), |charge| charge.exact.to_string())
}

#[test]
fn the_recorded_figures_are_ours() {
    let book = book();
    let mut lines = RECORDED.lines();
    assert!(lines.next().unwrap().contains("\"litellm\":\"1.109.1\""));
    let mut compared = 0;
    for line in lines {
        let ask: Ask = serde_json::from_str(line).unwrap();
        let theirs = ask.litellm.as_deref().unwrap();
        let theirs = Decimal::from_str_exact(theirs)
            .or_else(|_| Decimal::from_scientific(theirs))
            .unwrap();
        let figure = ours(&ask, &book);
        let mine: Decimal = figure.parse().unwrap();
        let off = (mine - theirs).abs();
        assert!(
            off <= mine.abs().max(theirs.abs()) * Decimal::new(1, 12),
            "{} {}: {figure} here, {theirs} there",
            ask.model,
            ask.case
        );
        compared += 1;
    }
    assert!(compared >= 1_000, "{compared}");
}

/// Rates the usages of a file for `./just oracle-prices`.
#[test]
#[ignore = "asked for by scripts/oracle.sh, which names the files"]
fn a_file_of_usages_is_rated() {
    let path = |name| std::env::var_os(name).unwrap();
    let asked = std::fs::read_to_string(path("TOLLGATE_ORACLE_USAGES")).unwrap();
    let book = book();
    let mut out = std::fs::File::create(path("TOLLGATE_ORACLE_CHARGES")).unwrap();
    for line in asked.lines() {
        let ask: Ask = serde_json::from_str(line).unwrap();
        let figure = serde_json::json!({ "amount": ours(&ask, &book) });
        writeln!(out, "{figure}").unwrap();
    }
}
