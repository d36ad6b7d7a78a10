//! What an edition may add to a price book, and what it changes for whom.
#![expect(clippy::unwrap_used, reason = "a test may fall over")]

use std::sync::Arc;

use billing_core::id::{PriceVersionId, SaleRuleId, TierScheduleId};
use billing_core::money::Currency;
use billing_core::port::catalogue::PriceEdition;
use billing_core::price::{ModelName, PriceVersion, Rate, Variant};
use billing_core::price_book::{ModelFacts, PriceBook};
use billing_core::price_change::{EditionError, PriceChange};
use billing_core::reach::Reach;
use billing_core::sale::SaleRule;
use billing_core::tier_schedule::TierSchedule;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

const THEN: OffsetDateTime = datetime!(2026-11-01 00:00 UTC);
const NOW: OffsetDateTime = datetime!(2026-12-01 00:00 UTC);
const LATER: OffsetDateTime = datetime!(2027-01-01 00:00 UTC);

fn rates(stated: &Value) -> Vec<Rate> {
    serde_json::from_value(stated.clone()).unwrap()
}

fn version(
    id: i64,
    model: &str,
    currency: Currency,
    from: OffsetDateTime,
    stated: &Value,
) -> PriceVersion {
    let (id, model) = (PriceVersionId::new(id), ModelName::new(model));
    PriceVersion::new(id, model, currency, from, rates(stated)).unwrap()
}

/// A model that costs this from an instant on.
fn priced(id: i64, model: &str, currency: Currency, from: OffsetDateTime) -> PriceEdition {
    let stated = json!([{"meter": "input", "price": "0.000002"}]);
    at_rates(id, model, currency, from, &stated)
}

fn at_rates(
    id: i64,
    model: &str,
    currency: Currency,
    from: OffsetDateTime,
    stated: &Value,
) -> PriceEdition {
    let version = version(id, model, currency, from, stated);
    PriceEdition {
        versions: vec![(version, ModelFacts::default())],
        ..PriceEdition::default()
    }
}

fn reach(audience: &str, models: &str) -> Reach {
    Reach {
        audience: audience.parse().unwrap(),
        models: models.parse().unwrap(),
    }
}

fn sale(id: i64, reach: Reach, from: OffsetDateTime, price: Value) -> PriceEdition {
    let rule = SaleRule {
        id: SaleRuleId::new(id),
        reach,
        price: serde_json::from_value(price).unwrap(),
        effective_from: from,
    };
    PriceEdition {
        sales: vec![rule],
        ..PriceEdition::default()
    }
}

fn tiers(id: i64, reach: Reach, from: OffsetDateTime, terms: Value) -> PriceEdition {
    let terms: Option<_> = serde_json::from_value(terms).unwrap();
    let schedule = TierSchedule {
        id: TierScheduleId::new(id),
        reach,
        terms: terms.map(Arc::new),
        effective_from: from,
    };
    PriceEdition {
        tiers: vec![schedule],
        ..PriceEdition::default()
    }
}

/// A schedule of one tier.
fn tier(currency: &str, price: &Value) -> Value {
    json!({
        "currency": currency, "measure": "calls", "window": "month",
        "pricing": {"graduated": [{"price": price}]},
    })
}

fn off(currency: &str, percent: &str) -> Value {
    tier(currency, &json!({"discount": percent}))
}

fn fixed(currency: &str) -> Value {
    json!({"kind": "fixed", "currency": currency, "rates": [{"meter": "input", "price": "0.000003"}]})
}

fn book(editions: &[PriceEdition]) -> PriceBook {
    let empty = PriceBook::new([]);
    editions
        .iter()
        .fold(empty, |book, edition| book.amended(edition))
}

/// Why an edition is refused for its currencies.
fn odd(book: &PriceBook, edition: &PriceEdition) -> String {
    let error = book.check(edition, NOW).unwrap_err();
    assert!(matches!(error, EditionError::Currencies { .. }), "{error}");
    error.to_string()
}

#[test]
fn prices_and_tiers_are_in_one_currency_whichever_comes_later() {
    let everyone = || reach("everyone", "*");
    let listed = priced(1, "m", Currency::USD, THEN);
    let in_tiers = book(&[listed.clone(), tiers(2, everyone(), THEN, off("USD", "10"))]);
    // A new price version, of a model that is known and of one that is not.
    for model in ["m", "n"] {
        let said = odd(&in_tiers, &priced(3, model, Currency::CNY, NOW));
        for part in [
            "the tiers of * for everyone are in USD",
            "priced in CNY, by the catalogue",
            "Give tiers",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }
    // A sale rule, for everybody and for one account.
    let account = billing_core::id::AccountId::new(7).to_string();
    for audience in ["everyone", &account] {
        let rule = sale(4, reach(audience, "m"), NOW, fixed("CNY"));
        let said = odd(&in_tiers, &rule);
        assert!(
            said.contains(&format!("by the sale rule m for {audience}")),
            "{said}"
        );
        assert!(
            said.contains(&format!("its calls for {audience} would be refused")),
            "{said}"
        );
    }
    // Tiers over a price, as it is and as it will be.
    let schedule = |currency: &str| tiers(5, everyone(), NOW, off(currency, "10"));
    odd(&book(std::slice::from_ref(&listed)), &schedule("CNY"));
    let changing = book(&[listed.clone(), priced(6, "m", Currency::CNY, LATER)]);
    let said = odd(&changing, &schedule("USD"));
    assert!(said.contains("from 2027-01-01"), "{said}");
    // What fits together, in one edition too, and what was wrong before and stays so.
    let mut both = sale(7, reach("everyone", "m"), NOW, fixed("CNY"));
    both.tiers = tiers(8, reach("everyone", "m"), NOW, off("CNY", "10")).tiers;
    assert_eq!(in_tiers.check(&both, NOW), Ok(()));
    let wrong = book(&[listed, tiers(2, everyone(), THEN, off("CNY", "10"))]);
    assert_eq!(
        wrong.check(&priced(9, "m", Currency::USD, NOW), NOW),
        Ok(())
    );
}

#[test]
fn a_rule_that_holds_already_is_not_recorded_again() {
    let (everyone, few) = (|| reach("everyone", "*"), || reach("everyone", "m*"));
    let price = |first: &str, second: &str| {
        let rate = |meter: &str| json!({"meter": meter, "price": "0.000003"});
        json!({"kind": "fixed", "currency": "USD", "rates": [rate(first), rate(second)]})
    };
    let own = |first: &str, second: &str| {
        let rate = |meter: &str| json!({"meter": meter, "price": "0.000003"});
        tier("USD", &json!({"rates": [rate(first), rate(second)]}))
    };
    let book = book(&[
        sale(1, few(), THEN, price("input", "output")),
        tiers(2, everyone(), THEN, own("input", "output")),
        tiers(3, few(), THEN, off("USD", "5")),
        tiers(4, few(), LATER, Value::Null),
    ]);
    let left = |edition: PriceEdition| {
        let (edition, unchanged) = book.without_unchanged(edition);
        assert_eq!(edition.sales.len() + edition.tiers.len() + unchanged, 1);
        unchanged == 0
    };
    // In another order of rates, too.
    assert!(!left(sale(5, few(), NOW, price("output", "input"))));
    assert!(!left(tiers(5, everyone(), NOW, own("output", "input"))));
    assert!(!left(tiers(5, few(), NOW, off("USD", "5"))));
    // What ends nothing.
    assert!(!left(sale(
        5,
        everyone(),
        NOW,
        json!({"kind": "withdrawn"})
    )));
    assert!(!left(tiers(5, few(), LATER, Value::Null)));
    // Something else, for others, or at another time.
    assert!(left(sale(5, few(), NOW, price("input", "search"))));
    assert!(left(sale(5, everyone(), NOW, price("input", "output"))));
    assert!(left(tiers(5, few(), NOW, off("USD", "6"))));
    assert!(left(tiers(5, few(), NOW, Value::Null)));
    assert!(left(tiers(5, few(), LATER, off("USD", "5"))));
}

/// The changes that must be confirmed where a price changes by more than half, as `rate: percent`.
fn beyond(old: &Value, new: &Value) -> Vec<String> {
    let before = book(&[at_rates(1, "m", Currency::USD, THEN, old)]);
    let later = before.amended(&at_rates(2, "m", Currency::USD, NOW, new));
    let changes = before.changes(NOW, &later, NOW);
    let beyond = changes.iter().filter(|change| change.is_beyond(50));
    beyond
        .map(|change| format!("{}: {:?}", change.rate, change.percent()))
        .collect()
}

#[test]
fn a_new_rate_is_compared_with_what_stood_in_its_place() {
    let rate = |meter: &str, price: &str| json!({"meter": meter, "price": price});
    let (input, output) = (rate("input", "0.000002"), rate("output", "0.000008"));
    let old = json!([input, output]);
    let with = |rate: Value| json!([input, output, rate]);
    let tiered = |price: &str| json!({"meter": "output", "tier": "batch", "price": price});
    let above = |price: &str| json!({"meter": "input", "above": {"prompt_tokens": 200_000}, "price": price});
    for (new, what) in [
        (rate("cache_read", "0.0000002"), "cache_read: Some(-90)"),
        (rate("reasoning", "0.000016"), "reasoning: Some(100)"),
        (tiered("0.000001"), "output@batch: Some(-87)"),
        (above("0.00002"), "input>200000: Some(900)"),
        (rate("audio_input", "free"), "audio_input: None"),
    ] {
        assert_eq!(beyond(&old, &with(new)), [what]);
    }
    for new in [
        rate("cache_read", "0.000001"),
        tiered("0.000004"),
        above("0.000003"),
        // Nothing was charged for it before.
        rate("search", "10"),
    ] {
        assert_eq!(beyond(&old, &with(new)), [""; 0]);
    }
    // Above the lower of two thresholds, and below it.
    let low = json!({"meter": "input", "above": {"prompt_tokens": 100_000}, "price": "0.00001"});
    assert_eq!(
        beyond(
            &with(low.clone()),
            &json!([input, output, low, above("0.00001")])
        ),
        [""; 0]
    );
}

#[test]
fn a_change_is_rounded_towards_zero_and_bounded_exactly() {
    let rates = |price: &str| json!([{"meter": "input", "price": price}]);
    let old = rates("0.000006");
    for (new, percent, is_beyond) in [
        ("0.000001", -83, true),
        ("0.00001", 66, true),
        ("0.000003", -50, false),
        ("0.000009", 50, false),
        // Less than a percent beyond the bound, either way.
        ("0.00000299", -50, true),
        ("0.00000901", 50, true),
    ] {
        let before = book(&[at_rates(1, "m", Currency::USD, THEN, &old)]);
        let later = before.amended(&at_rates(2, "m", Currency::USD, NOW, &rates(new)));
        let changes = before.changes(NOW, &later, NOW);
        assert_eq!(changes.len(), 1);
        let found = (changes[0].percent(), changes[0].is_beyond(50));
        assert_eq!(found, (Some(percent), is_beyond), "{new}");
    }
}

#[test]
fn a_scope_without_a_model_is_found() {
    let listed = at_rates(
        1,
        "gpt-4o",
        Currency::USD,
        THEN,
        &json!([{"meter": "input", "price": "0.000001"}]),
    );
    let book = book(&[listed]);
    for (scope, is_there) in [
        ("*", true),
        ("gpt-4*", true),
        ("gpt-4o", true),
        ("gpt-4o-", false),
        ("gtp-4*", false),
    ] {
        assert_eq!(
            book.has_model_in(&scope.parse().unwrap()),
            is_there,
            "{scope}"
        );
    }
}

#[test]
fn a_new_condition_is_compared_with_what_held_under_it() {
    let listed = json!([{"meter": "input", "price": "0.000002"}]);
    let version = |id, from, variants: &[(&str, &str)]| {
        let variant = |(when, price): &(&str, &str)| {
            let stated = json!([{"meter": "input", "price": price}]);
            Variant::new(when.parse().unwrap(), rates(&stated)).unwrap()
        };
        let variants = variants.iter().map(variant).collect();
        let version = version(id, "m", Currency::USD, from, &listed);
        PriceEdition {
            versions: vec![(
                version.with_variants(variants).unwrap(),
                ModelFacts::default(),
            )],
            ..PriceEdition::default()
        }
    };
    let eu = ("region=eu", "0.00002");
    let before = book(&[version(1, THEN, &[eu])]);
    let percents = |new: (&str, &str)| {
        let later = before.amended(&version(2, NOW, &[eu, new]));
        let changes = before.changes(NOW, &later, NOW);
        changes.iter().map(PriceChange::percent).collect::<Vec<_>>()
    };
    assert_eq!(percents(("region=us", "0.000004")), [Some(100)]);
    assert_eq!(percents(("region=eu, speed=fast", "0.00004")), [Some(100)]);
    assert_eq!(percents(("region=eu, speed=fast", "0.00002")), []);
    assert_eq!(percents(("speed=fast", "0.000002")), []);
}

#[test]
fn tiers_that_charge_much_less_or_otherwise_are_confirmed() {
    let everyone = || reach("everyone", "*");
    let change = |old: Option<Value>, new: Value| {
        let old: Vec<_> = old
            .into_iter()
            .map(|old| tiers(1, everyone(), THEN, old))
            .collect();
        let changes = book(&old).tier_changes(&tiers(2, everyone(), NOW, new));
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].old.is_some(), !old.is_empty());
        changes[0].is_beyond(50)
    };
    let with = |key: &str, value: Value| {
        let mut terms = off("USD", "10");
        terms[key] = value;
        terms
    };
    let package = json!({"package": {"size": "10", "price": "1"}});
    let fee = json!({"graduated": [{"price": {"discount": "0"}, "flat": "5"}]});
    for new in [
        off("USD", "51"),
        tier("USD", &json!({"per_unit": "1"})),
        tier(
            "USD",
            &json!({"rates": [{"meter": "input", "price": "0.000003"}]}),
        ),
        with("pricing", package),
        with("pricing", fee),
        with("minimum", json!(1)),
    ] {
        assert!(change(None, new.clone()), "{new}");
        // To end it or to take its place is no less a change.
        assert!(change(Some(new.clone()), Value::Null), "{new}");
        assert!(change(Some(new.clone()), off("USD", "0")), "{new}");
    }
    assert!(!change(None, off("USD", "50")));
    assert!(!change(Some(off("USD", "33")), Value::Null));
    // 34 % off and then nothing off is half as much again, and more.
    assert!(change(Some(off("USD", "34")), Value::Null));
}
