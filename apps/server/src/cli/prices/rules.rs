//! `tollgate prices rules`: every sale rule and tier schedule, whether or not it holds.

use std::sync::Arc;

use billing_core::price::{Rate, When};
use billing_core::price_book::PriceBook;
use billing_core::price_change::RatePlace;
use billing_core::reach::{Reach, Rule, Rules};
use billing_core::sale::{SalePrice, SaleRule};
use billing_core::tier_schedule::{TierSchedule, TierTerms};
use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Place;
use super::tiers::terms_in_words;
use crate::cli::{CliError, say};

/// Arguments of `prices rules`.
#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    #[command(flatten)]
    place: Place,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Whether a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Now.
    InForce,
    /// Not yet.
    Scheduled,
    /// No longer: a later one of its accounts and models took its place.
    Replaced,
    /// No longer: a later one ended it. So is one that ends another, where it holds.
    Withdrawn,
}

impl State {
    fn of<R: Rule>(rule: &R, rules: &Rules<R>, now: OffsetDateTime) -> Self {
        let holds = rules.of_reach(rule.reach(), now);
        match holds {
            _ if rule.effective_from() > now => Self::Scheduled,
            Some(holds) if holds.is_withdrawal() => Self::Withdrawn,
            Some(holds) if holds.number() == rule.number() => Self::InForce,
            Some(_) | None => Self::Replaced,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::InForce => "in force",
            Self::Scheduled => "scheduled",
            Self::Replaced => "replaced by a later one",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// A rule as it is listed, with what it says in the form in which it is kept.
#[derive(Debug, Serialize)]
struct Listed<'a, T> {
    id: String,
    audience: String,
    models: String,
    effective_from: String,
    state: State,
    /// The same in words, line by line.
    says: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<&'a T>,
}

impl<'a, T> Listed<'a, T> {
    fn new(id: String, reach: &Reach, state: State, says: Vec<String>) -> Self {
        Self {
            id,
            audience: reach.audience.to_string(),
            models: reach.models.to_string(),
            effective_from: String::new(),
            state,
            says,
            terms: None,
        }
    }

    fn from(mut self, instant: OffsetDateTime, terms: Option<&'a T>) -> Self {
        self.effective_from = instant.format(&Rfc3339).unwrap_or_default();
        self.terms = terms;
        self
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let Self {
            id,
            models,
            audience,
            ..
        } = self;
        let (from, state) = (&self.effective_from, self.state.words());
        let first = format!("  {id}  {models} for {audience}  from {from}  {state}");
        let says = self.says.iter().map(|line| format!("    {line}"));
        std::iter::once(first).chain(says)
    }
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    sale_rules: Vec<Listed<'a, SalePrice>>,
    tier_schedules: Vec<Listed<'a, TierTerms>>,
}

/// Runs it.
pub(super) async fn run(args: RulesArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let book = ports.catalogue.price_book().await?;
    let now = ports.clock.now();
    let sale = |rule: &'_ Arc<SaleRule>| State::of(&**rule, book.sales(), now);
    let tier = |rule: &'_ Arc<TierSchedule>| State::of(&**rule, book.tiers(), now);
    let shown = Shown {
        sale_rules: book
            .sales()
            .iter()
            .map(|rule| listed_sale(rule, sale(rule)))
            .collect(),
        tier_schedules: book
            .tiers()
            .iter()
            .map(|rule| listed_tiers(rule, tier(rule)))
            .collect(),
    };
    say(&if args.json {
        serde_json::to_string(&shown).unwrap_or_default()
    } else {
        in_words(&shown)
    });
    Ok(())
}

fn listed_sale(rule: &SaleRule, state: State) -> Listed<'_, SalePrice> {
    let says = price_in_words(&rule.price);
    let listed = Listed::new(rule.id.to_string(), &rule.reach, state, says);
    listed.from(rule.effective_from, Some(&rule.price))
}

fn listed_tiers(schedule: &TierSchedule, state: State) -> Listed<'_, TierTerms> {
    let terms = schedule.terms.as_deref();
    let says = terms.map_or_else(
        || vec!["ends the schedule before it".to_owned()],
        terms_in_words,
    );
    let listed = Listed::new(schedule.id.to_string(), &schedule.reach, state, says);
    listed.from(schedule.effective_from, terms)
}

fn in_words(shown: &Shown<'_>) -> String {
    let Shown {
        sale_rules,
        tier_schedules,
    } = shown;
    let mut lines = Vec::new();
    if sale_rules.is_empty() {
        lines.push("no sale rules: everybody pays what a model costs".to_owned());
    } else {
        lines.push("sale rules".to_owned());
    }
    lines.extend(sale_rules.iter().flat_map(Listed::lines));
    if tier_schedules.is_empty() {
        lines.push("no tier schedules".to_owned());
    } else {
        lines.push("tier schedules".to_owned());
    }
    lines.extend(tier_schedules.iter().flat_map(Listed::lines));
    lines.join("\n")
}

/// Which rules make everybody's price of a model at an instant, in words.
pub(super) fn for_everybody(book: &PriceBook, model: &str, at: OffsetDateTime) -> Vec<String> {
    let mut lines = Vec::new();
    match book.sales().find(None, model, at) {
        None => {
            lines.push("everybody pays that: no sale rule for everybody is in force".to_owned());
        }
        Some(rule) => {
            let (id, reach) = (rule.id, &rule.reach);
            lines.push(format!("everybody pays by the sale rule {id} ({reach})"));
            let says = price_in_words(&rule.price).into_iter();
            lines.extend(says.map(|line| format!("  {line}")));
        }
    }
    if let Some(schedule) = book.tiers().find(None, model, at) {
        let (id, reach) = (schedule.id, &schedule.reach);
        lines.push(format!(
            "with use it changes by the tier schedule {id} ({reach})"
        ));
    }
    lines
}

/// What a sale rule says, rate by rate.
pub(super) fn price_in_words(price: &SalePrice) -> Vec<String> {
    let rates = |rates: &[Rate], when: Option<&Arc<When>>, currency: &str| -> Vec<String> {
        let line = |rate: &Rate| {
            let place = RatePlace {
                meter: rate.meter,
                tier: rate.tier,
                above: rate.above,
                when: when.cloned(),
            };
            if rate.price.is_free() {
                return format!("{place}: free");
            }
            format!("{place}: {}{currency} a unit", rate.price)
        };
        rates.iter().map(line).collect()
    };
    match price {
        SalePrice::Markup { factor, rates: own } => {
            let but = if own.is_empty() { "" } else { ", except" };
            let mut lines = vec![format!("the cost times {factor}{but}")];
            lines.extend(rates(own, None, ""));
            lines
        }
        SalePrice::Fixed {
            currency,
            rates: plain,
            variants,
        } => {
            let currency = format!(" {currency}");
            let mut lines = rates(plain, None, &currency);
            for variant in variants {
                lines.extend(rates(&variant.rates, Some(&variant.when), &currency));
            }
            lines
        }
        SalePrice::Withdrawn => vec!["ends the rule before it".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use billing_core::id::SaleRuleId;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-12-01 12:00 UTC);

    fn rule(number: i64, hours: i64, models: &str, price: &str) -> SaleRule {
        SaleRule {
            id: SaleRuleId::new(number),
            reach: Reach {
                audience: "everyone".parse().unwrap(),
                models: models.parse().unwrap(),
            },
            price: serde_json::from_str(price).unwrap(),
            effective_from: NOW.saturating_add(time::Duration::hours(hours)),
        }
    }

    #[test]
    fn a_rule_holds_is_to_hold_or_does_no_longer() {
        let (markup, withdrawn) = (
            r#"{"kind":"markup","factor":"1.2"}"#,
            r#"{"kind":"withdrawn"}"#,
        );
        let rules = [
            (rule(1, -9, "a", markup), State::Replaced),
            (rule(2, -1, "a", markup), State::InForce),
            (rule(3, 1, "a", withdrawn), State::Scheduled),
            (rule(4, -9, "b", markup), State::Withdrawn),
            (rule(5, 0, "b", withdrawn), State::Withdrawn),
            (rule(6, 1, "b", markup), State::Scheduled),
        ];
        let all = Rules::new(rules.iter().map(|(rule, _)| rule.clone()));
        for (rule, state) in &rules {
            assert_eq!(State::of(rule, &all, NOW), *state, "{}", rule.id);
        }
    }

    #[test]
    fn every_rate_of_a_rule_is_said() {
        let price = r#"{"kind":"fixed","currency":"USD","rates":[{"meter":"input","price":"0.000003"},
            {"meter":"input","tier":"batch","above":{"prompt_tokens":200000},"price":"0.000002"},
            {"meter":"search","price":"free"}],
            "variants":[{"when":"region=eu","rates":[{"meter":"input","price":"0.000004"}]}]}"#;
        let price: SalePrice = serde_json::from_str(price).unwrap();
        assert_eq!(
            price_in_words(&price),
            [
                "input: 0.000003 USD a unit",
                "input@batch>200000: 0.000002 USD a unit",
                "search: free",
                "input (region=eu): 0.000004 USD a unit",
            ]
        );
        let price =
            r#"{"kind":"markup","factor":"1.2","rates":[{"meter":"output","price":"0.1"}]}"#;
        let price: SalePrice = serde_json::from_str(price).unwrap();
        let said = ["the cost times 1.2, except", "output: 0.1 a unit"];
        assert_eq!(price_in_words(&price), said);
    }
}
