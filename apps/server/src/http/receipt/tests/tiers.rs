//! Receipts of calls whose price falls with use, and of those that a rule prices.

use billing_core::id::{SaleRuleId, TierScheduleId};
use billing_core::price::{Attribute, Attributes};
use billing_core::reach::Reach;
use billing_core::sale::SaleRule;
use billing_core::terms::TierRecord;
use billing_core::tier_schedule::{TierSchedule, TierTerms};
use serde_json::{Value, json};

use super::*;

const SCHEDULE: TierScheduleId = TierScheduleId::new(7);

fn reach(models: &str) -> Reach {
    Reach {
        audience: billing_core::reach::Audience::Everyone,
        models: models.parse().unwrap(),
    }
}

fn book_in_tiers(terms: &Value) -> PriceBook {
    let mut all = json!({"currency": "USD", "window": "month"});
    for (name, value) in terms.as_object().unwrap() {
        all[name] = value.clone();
    }
    let terms: TierTerms = serde_json::from_value(all).unwrap();
    terms.check().unwrap();
    let schedule = TierSchedule {
        id: SCHEDULE,
        reach: reach("m*"),
        terms: Some(Arc::new(terms)),
        effective_from: OffsetDateTime::UNIX_EPOCH,
    };
    book().with_tiers([schedule])
}

/// The receipt of a call that is charged what the rules say that it costs.
fn receipt_in(book: &PriceBook, usage: &Usage, rating: RatingRecord) -> Receipt {
    let mut call = call(usage, 0, 0);
    call.rating = rating;
    let terms = book
        .terms(&call.model, call.price_version, &call.rating)
        .unwrap();
    let due = charge(usage, &terms, &call.circumstances(), call.position());
    call.charge = due.unwrap().amount;
    let receipt = Receipt::of(&call, &Later::default(), book, Currency::USD);
    assert!(
        !receipt.explanation.contains("do not derive"),
        "{}",
        receipt.explanation
    );
    adds_up(&receipt);
    receipt
}

fn at(position: u64) -> RatingRecord {
    RatingRecord {
        tiers: Some(TierRecord {
            schedule: SCHEDULE,
            window_start: 0,
            position: Amount::new(position),
        }),
        ..RatingRecord::default()
    }
}

fn output(tokens: u64) -> Usage {
    Usage::NONE.with(Meter::Output, tokens)
}

const BY_CALLS: &str = r#"{"measure": "calls", "pricing": {"graduated": [
    {"up_to": "10000", "price": {"discount": "0"}},
    {"price": {"discount": "12.5"}, "flat": "5"}
]}}"#;

#[test]
fn a_receipt_names_the_tier_and_since_when_it_holds() {
    let book = book_in_tiers(&serde_json::from_str(BY_CALLS).unwrap());
    let first = receipt_in(&book, &output(1000), at(9_999)).tiers.unwrap();
    assert_eq!(first.lines[0].tier, Some(1));
    assert_eq!(
        first.lines[0].explanation,
        "tier 1 up to 10,000 calls this month: the list price"
    );
    let receipt = receipt_in(&book, &output(1000), at(10_000));
    assert_eq!(receipt.charge.amount, "5.00875");
    assert_eq!(receipt.list.amount, "0.01");
    let tiers = receipt.tiers.as_ref().unwrap();
    assert_eq!(tiers.schedule, SCHEDULE.to_string());
    assert_eq!((tiers.measure, tiers.window), ("calls", "month"));
    assert_eq!(
        (tiers.position.as_str(), tiers.counted.as_str()),
        ("10000", "1")
    );
    assert_eq!(tiers.window_start.as_deref(), Some("1970-01-01T00:00:00Z"));
    assert_eq!(tiers.window_end.as_deref(), Some("1970-02-01T00:00:00Z"));
    assert!(!tiers.provisional);
    let line = &tiers.lines[0];
    assert_eq!((line.tier, line.flat.amount.as_str()), (Some(2), "5"));
    assert!(
        receipt.explanation.ends_with(
            "Tier 2 since 10,001 calls this month: 12.5 % off the list price, and 5 USD once for \
             entering it."
        ),
        "{}",
        receipt.explanation
    );
    let reach = serde_json::to_value(&tiers.reach).unwrap();
    assert_eq!(reach, json!({"models": "m*", "audience": "everyone"}));
    let price = serde_json::to_value(&line.price).unwrap();
    assert_eq!(price, json!({"kind": "discount", "percent": "12.5"}));
    // The fee is due once.
    let later = receipt_in(&book, &output(1000), at(10_001));
    assert_eq!(later.charge.amount, "0.00875");
}

#[test]
fn a_call_that_crosses_a_threshold_has_a_line_on_either_side() {
    let book = book_in_tiers(&json!({"measure": "tokens", "pricing": {"graduated": [
        {"up_to": 1000, "price": {"discount": "0"}},
        {"up_to": 1003, "price": {"rates": [{"meter": "output", "price": "0.000003"}]}},
        {"price": {"per_unit": "0.000001"}, "flat": "0.000000000000000000000000001"},
    ]}}));
    let receipt = receipt_in(&book, &output(7), at(998));
    let tiers = receipt.tiers.unwrap();
    let lines: Vec<_> = tiers
        .lines
        .iter()
        .map(|l| (l.tier, l.from.as_str(), l.quantity.as_str()))
        .collect();
    assert_eq!(
        lines,
        [
            (Some(1), "998", "2"),
            (Some(2), "1000", "3"),
            (Some(3), "1003", "2")
        ]
    );
    let prices = serde_json::to_value(&tiers.lines).unwrap();
    assert_eq!(prices[1]["price"]["kind"], "rates");
    assert_eq!(prices[1]["price"]["rates"][0]["per_million_tokens"], "3");
    let per_unit = json!({"amount": "1", "per": "million_tokens"});
    assert_eq!(prices[2]["price"]["price"], per_unit);
    assert_eq!(
        tiers.lines[2].explanation,
        "tier 3 since 1,004 tokens this month: 1 USD for a million tokens, and \
         0.000000000000000000000000001 USD once for entering it"
    );
}

#[test]
fn whatever_is_split_adds_up_to_the_charge() {
    // Shares of thirds and sevenths are cut; the last takes what is left.
    let book = book_in_tiers(&json!({"measure": "tokens", "pricing": {"graduated": [
        {"up_to": 3, "price": {"discount": "3.3333333"}},
        {"up_to": 10, "price": {"discount": "14.2857143"}, "flat": "0.000000001"},
        {"price": {"discount": "100"}},
    ]}}));
    for position in 0..12 {
        for tokens in 1..14 {
            let usage = output(tokens).with(Meter::Input, 1);
            receipt_in(&book, &usage, at(position));
        }
    }
}

#[test]
fn by_spend_a_tier_begins_above_an_amount() {
    let book = book_in_tiers(
        &json!({"measure": "spend", "window": "lifetime", "pricing": {
            "graduated": [
                {"up_to": "1000", "price": {"discount": "0"}}, {"price": {"discount": "50"}},
        ]}}),
    );
    let receipt = receipt_in(&book, &output(100), at(1_000_000_000_000));
    let tiers = receipt.tiers.unwrap();
    assert_eq!(
        (tiers.position.as_str(), tiers.counted.as_str()),
        ("1000", "0.001")
    );
    assert_eq!((tiers.window_start, tiers.window_end), (None, None));
    assert_eq!(
        tiers.lines[0].explanation,
        "tier 2 above 1,000 USD at list prices in all: 50 % off the list price"
    );
}

#[test]
fn by_volume_the_amount_is_provisional() {
    let book = book_in_tiers(&json!({"measure": "calls", "pricing": {"volume": [
        {"up_to": 10, "price": {"discount": "0"}}, {"price": {"discount": "50"}},
    ]}, "minimum": 5_000_000_000_i64}));
    let receipt = receipt_in(&book, &output(100), at(50));
    assert_eq!(receipt.charge.amount, receipt.list.amount);
    let tiers = receipt.tiers.unwrap();
    assert!(tiers.provisional);
    for part in [
        "The list price for the time being.",
        "is provisional",
        "when the window is over",
        "At least 5.00 USD are due for a window",
    ] {
        assert!(tiers.explanation.contains(part), "{}", tiers.explanation);
    }
}

#[test]
fn packages_are_named_with_their_size() {
    let package = json!({"size": "1000", "price": "0.5", "free": "100"});
    for (pricing, position, ends) in [
        ("package", 1_099, "counted this month"),
        ("per_call", 5, "counted in each call"),
    ] {
        let book = book_in_tiers(&json!({"measure": "tokens", "pricing": {pricing: package}}));
        let receipt = receipt_in(&book, &output(2_000), at(position));
        assert_eq!(receipt.charge.amount, "1.00", "{pricing}");
        let line = &receipt.tiers.as_ref().unwrap().lines[0];
        assert_eq!(line.tier, None);
        assert_eq!(
            line.explanation,
            format!("2 × 1,000 tokens at 0.5 USD after 100 free ones, {ends}")
        );
        let price = serde_json::to_value(&line.price).unwrap();
        assert_eq!(
            (&price["kind"], &price["count"]),
            (&json!("packages"), &json!("2"))
        );
        assert_eq!(price["package"]["rounding"], "up");
    }
}

#[test]
fn the_rule_that_priced_a_call_is_named_with_its_reach_and_its_condition() {
    let rule = SaleRule {
        id: SaleRuleId::new(5),
        reach: reach("m"),
        price: serde_json::from_value(json!({"kind": "fixed", "currency": "USD",
            "rates": [{"meter": "output", "price": "0.00002"}],
            "variants": [{"when": "region=eu",
                "rates": [{"meter": "output", "price": "0.00003"}]}]}))
        .unwrap(),
        effective_from: OffsetDateTime::UNIX_EPOCH,
    };
    let book = book().with_sales([rule.clone()]);
    let rating = RatingRecord {
        rule: Some(rule.id),
        attributes: Attributes::NONE.with(Attribute::Region, "eu"),
        ..RatingRecord::default()
    };
    let receipt = receipt_in(&book, &output(1000), rating);
    assert_eq!(receipt.charge.amount, "0.03");
    assert_eq!(receipt.lines[0].condition.as_deref(), Some("region=eu"));
    let price = serde_json::to_value(&receipt.price).unwrap();
    assert_eq!(price["rule"], rule.id.to_string());
    assert_eq!(
        price["reach"],
        json!({"models": "m", "audience": "everyone"})
    );
    // What the house pays and earns is nobody's business.
    let text = serde_json::to_string(&receipt).unwrap();
    assert!(
        !text.contains("cost\"") && !text.contains("margin"),
        "{text}"
    );
}
