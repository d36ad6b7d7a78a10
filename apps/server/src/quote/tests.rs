use std::sync::Arc;

use billing_core::id::PriceVersionId;
use billing_core::id::{AccountId, SaleRuleId, TierScheduleId};
use billing_core::price_book::PricedModel;
use billing_core::reach::{Audience, ModelScope, Reach};
use billing_core::sale::{SalePrice, SaleRule};
use billing_core::tier_schedule::TierSchedule;
use serde_json::{Value, json};
use time::macros::datetime;

use super::*;
use crate::catalogue;

const NOW: OffsetDateTime = datetime!(2026-11-23 10:00 UTC);

/// The models of a catalogue in Tollgate's own format, from the first of a month on.
fn book(models: &[Value]) -> PriceBook {
    let header = json!({
        "tollgate_catalogue": 1, "source": "test", "source_sha256": "", "made_on": "2026-11-23",
        "made_by": "test", "entries": models.len(), "skipped": 0, "models": models.len(),
    });
    let lines = std::iter::once(&header).chain(models);
    let text: Vec<_> = lines.map(ToString::to_string).collect();
    let import = catalogue::read_any("test", text.join("\n").as_bytes()).unwrap();
    PriceBook::new(import.drafts.into_iter().zip(1..).map(|(draft, id)| {
        let (name, facts) = (draft.model.clone(), draft.facts.clone());
        let from = datetime!(2026-11-01 00:00 UTC);
        let version = draft.into_version(PriceVersionId::new(id), from).unwrap();
        PricedModel::new(name, facts, vec![Arc::new(version)])
    }))
}

fn priced(model: &str, provider: &str, per_unit: &Value) -> Value {
    json!({"model": model, "provider": provider, "mode": "chat", "currency": "USD", "per_unit": per_unit})
}

fn models() -> PriceBook {
    book(&[
        priced(
            "m",
            "p",
            &json!({
                "input": "0.0000025", "input>200000": "0.000005", "input@batch": "0.00000125",
                "output": "0.00001", "cache_read": "free", "input_time": "0.0001",
            }),
        ),
        priced("q/m", "q", &json!({"input": "0.000001"})),
        priced("q/only", "q", &json!({"input": "0.000001"})),
        priced("fine", "p", &json!({"input": "0.000000000114285714285714"})),
    ])
}

fn answers(book: &PriceBook, lines: &str) -> (Vec<Value>, Tally) {
    let mut quoter = Quoter::new(book, None, NOW);
    let mut out = Vec::new();
    for (line, number) in lines.lines().zip(1..) {
        let needed = quoter.answer(&Line::Whole(line.as_bytes()), number, &mut out);
        assert_eq!(needed, None, "nobody stands anywhere in tiers");
    }
    let text = String::from_utf8(out).unwrap();
    let answers = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (answers.collect(), quoter.into_tally())
}

fn answer(line: &Value) -> Value {
    answers(&models(), &line.to_string()).0.remove(0)
}

#[test]
fn a_usage_is_answered_with_its_lines_and_their_sum() {
    let line = json!({"model": "m", "usage": {"input": 1000, "cache_read": 5, "reasoning": 10}});
    assert_eq!(
        answer(&line),
        json!({"model": "m", "currency": "USD", "amount": "0.0026", "lines": [
            {"meter": "input", "quantity": 1000, "price": "0.0000025", "amount": "0.0025"},
            {"meter": "cache_read", "quantity": 5, "price": "0", "amount": "0"},
            {"meter": "reasoning", "quantity": 10, "price": "0.00001", "amount": "0.0001",
             "inherited": true},
        ]})
    );
}

#[test]
fn a_line_says_which_tier_threshold_and_unit_its_price_is_for() {
    let batch = answer(&json!({"model": "m", "usage": {"input": 2}, "service_tier": "batch"}));
    assert_eq!(batch["lines"][0]["tier"], "batch");
    assert_eq!(batch["amount"], "0.0000025");
    let ordinary = json!({"model": "m", "usage": {"input": 2}, "service_tier": "default"});
    assert_eq!(answer(&ordinary)["lines"][0]["tier"], Value::Null);
    let long = answer(&json!({"model": "m", "usage": {"input": 200_001}}));
    assert_eq!(long["lines"][0]["above_prompt_tokens"], 200_000);
    assert_eq!(long["amount"], "1.000005");
    let time = answer(&json!({"model": "m", "usage": {"input_time": 1500}}));
    assert_eq!(time["lines"][0]["per"], "second");
    assert_eq!(time["amount"], "0.00015");
}

#[test]
fn what_settles_is_rounded_once_and_what_was_rounded_is_shown() {
    let answer = answer(&json!({"model": "fine", "usage": {"input": 7}}));
    assert_eq!(answer["amount"], "0.000000001");
    assert_eq!(answer["unrounded"], "0.000000000799999999999998");
    assert_eq!(answer["lines"][0]["amount"], answer["unrounded"]);
}

#[test]
fn a_provider_picks_the_model_that_it_lists() {
    let named = |model: &str, provider: &str| {
        let asked = json!({"model": model, "usage": {"input": 1}, "provider": provider});
        answer(&asked)["model"].clone()
    };
    // Its own entry before another provider's of the same name.
    assert_eq!(named("m", "q"), "q/m");
    assert_eq!(named("m", "p"), "m");
    assert_eq!(named("m", "somebody"), "m");
    assert_eq!(named("only", "q"), "q/only");
    assert_eq!(named("q/only", "q"), "q/only");
}

/// Lines, and what is said of them.
const REFUSED: &[(&str, &str)] = &[
    ("nonsense", "not a JSON object"),
    (r#"["m",{"input":1}]"#, "not a JSON object"),
    (r#"{"model":"m","usage":{"input":1}"#, "column 32: EOF"),
    (r#"{"model":"m"}"#, "missing field `usage`"),
    (r#"{"usage":{}}"#, "missing field `model`"),
    (
        r#"{"model":"m","model":"m","usage":{}}"#,
        "duplicate field `model`",
    ),
    (
        r#"{"model":"m","usage":{},"tier":"batch"}"#,
        "unknown field `tier`",
    ),
    (r#"{"model":7,"usage":{}}"#, "expected text"),
    (r#"{"model":"m","usage":[1]}"#, "the quantity of each meter"),
    (
        r#"{"model":"m","usage":{"inptu":1}}"#,
        "usage: \"inptu\" is not a meter; they are input,",
    ),
    (
        r#"{"model":"m","usage":{"input":1,"input":2}}"#,
        "usage.input: given twice",
    ),
    (
        r#"{"model":"m","usage":{"input":-1}}"#,
        "usage.input: -1 is not a quantity",
    ),
    (
        r#"{"model":"m","usage":{"input":1.5}}"#,
        "usage.input: 1.5 is not a quantity",
    ),
    (
        r#"{"model":"m","usage":{"input":9223372036854775809}}"#,
        "from 0 to 9223372036854775808",
    ),
    (
        r#"{"model":"m","usage":{"input":99999999999999999999}}"#,
        "is not a quantity",
    ),
    (
        r#"{"model":"m","usage":{"input":"-1"}}"#,
        "\"-1\" is not a quantity",
    ),
    (
        r#"{"model":"m","usage":{"input":null}}"#,
        "null is not a quantity",
    ),
    (
        r#"{"model":"m","usage":{"input":9223372036854775808}}"#,
        "split it",
    ),
    (
        r#"{"model":"m","usage":{"page":1}}"#,
        "usage.page: \"m\" has no price for it",
    ),
    (
        r#"{"model":"x","usage":{}}"#,
        "model: the catalogue has no \"x\"",
    ),
    (
        r#"{"model":"x","usage":{},"provider":"q"}"#,
        "model: the catalogue has no \"x\"",
    ),
    (
        r#"{"model":"m","usage":{},"service_tier":"cheap"}"#,
        "they are standard, batch",
    ),
    (
        r#"{"model":"m","usage":{},"at":"yesterday"}"#,
        "write it as 2026-11-23T10:00:00Z",
    ),
    (
        r#"{"model":"m","usage":{},"at":"2026-02-30T00:00:00Z"}"#,
        "is not an instant",
    ),
    (
        r#"{"model":"m","usage":{},"at":"2026-10-31T23:59:59Z"}"#,
        "no price in effect",
    ),
    (
        r#"{"model":"m","usage":{},"attributes":{"colour":"red"}}"#,
        "they are region",
    ),
    (
        r#"{"model":"m","usage":{},"attributes":{"region":"a","region":"b"}}"#,
        "given twice",
    ),
];

#[test]
fn what_cannot_be_rated_says_where_it_is_wrong_and_what_would_be_right() {
    for (line, said) in REFUSED {
        let (answers, tally) = answers(&models(), line);
        let error = answers[0]["error"].as_str().unwrap_or_default();
        assert!(error.contains(said), "{line}: {error}");
        assert!(!error.contains("at line"), "{error}");
        assert_eq!(answers[0]["line"], 1);
        assert_eq!((tally.rated, tally.failed), (0, 1));
    }
}

#[test]
fn a_bad_line_changes_nothing_for_the_others() {
    let good = r#"{"model":"m","usage":{"input":400000}}"#;
    let text = format!("{good}\nnonsense\n{good}\n");
    let (answers, tally) = answers(&models(), &text);
    assert_eq!(answers[0], answers[2]);
    assert_eq!(answers[1]["line"], 2);
    assert_eq!((tally.rated, tally.failed), (2, 1));
    assert_eq!(tally.totals[&Currency::USD], 4_000_000_000);
}

#[test]
fn nothing_used_costs_nothing() {
    let answer =
        answer(&json!({"model": "m", "usage": {"input": 0}, "attributes": {"region": "eu"}}));
    assert_eq!(answer["amount"], "0.00");
    assert_eq!(answer["lines"], json!([]));
}

#[test]
fn text_is_read_with_escapes_and_large_counts_as_text() {
    let line = r#"{"model":"\u006d","usage":{"input":"1000"},"at":"2026-11-23T10:00:00+08:00"}"#;
    let (answers, _) = answers(&models(), line);
    assert_eq!(answers[0]["amount"], "0.0025");
}

#[test]
fn what_is_asked_of_everybody_is_what_a_quote_says() {
    let rule = SaleRule {
        id: SaleRuleId::new(1),
        reach: Reach {
            audience: Audience::Everyone,
            models: ModelScope::All,
        },
        price: SalePrice::Markup {
            factor: "1.2".parse().unwrap(),
            rates: Vec::new(),
        },
        effective_from: datetime!(2026-11-10 00:00 UTC),
    };
    let book = models().with_sales([rule]);
    let line = r#"{"model":"m","usage":{"input":1000}}"#;
    let early = r#"{"model":"m","usage":{"input":1000},"at":"2026-11-09T00:00:00Z"}"#;
    let (answers, _) = answers(&book, &format!("{line}\n{early}\n{line}"));
    let amounts: Vec<_> = answers.iter().map(|answer| &answer["amount"]).collect();
    assert_eq!(amounts, ["0.003", "0.0025", "0.003"]);
}

#[test]
fn the_shipped_catalogue_quotes() {
    let drafts = catalogue::shipped().unwrap();
    assert!(drafts.len() > 4_000);
    let book = PriceBook::new(drafts.into_iter().zip(1..).map(|(draft, id)| {
        let (name, facts) = (draft.model.clone(), draft.facts.clone());
        let version = draft.into_version(PriceVersionId::new(id), OffsetDateTime::UNIX_EPOCH);
        PricedModel::new(name, facts, vec![Arc::new(version.unwrap())])
    }));
    let line = r#"{"model":"gpt-4o","usage":{"input":1200,"cache_read":800,"output":300}}"#;
    let (answers, _) = answers(&book, line);
    assert_eq!(answers[0]["amount"], "0.007");
}

#[test]
fn an_account_pays_by_its_own_terms_from_where_it_stands() {
    let own = Buyer {
        account: AccountId::new(7),
        plan: None,
        discount: None,
    };
    let reach = |audience| Reach {
        audience,
        models: ModelScope::All,
    };
    let markup = |id, audience, factor: &str| SaleRule {
        id: SaleRuleId::new(id),
        reach: reach(audience),
        price: SalePrice::Markup {
            factor: factor.parse().unwrap(),
            rates: Vec::new(),
        },
        effective_from: datetime!(2026-11-01 00:00 UTC),
    };
    let terms = json!({"currency": "USD", "measure": "tokens", "window": "day", "pricing":
        {"graduated": [{"up_to": 1000, "price": {"discount": "0"}}, {"price": {"discount": "50"}}]}});
    let schedule = TierSchedule {
        id: TierScheduleId::new(3),
        reach: reach(Audience::Everyone),
        terms: Some(Arc::new(serde_json::from_value(terms).unwrap())),
        effective_from: datetime!(2026-11-01 00:00 UTC),
    };
    let book = models()
        .with_sales([
            markup(1, Audience::Everyone, "2"),
            markup(2, Audience::Account(own.account), "4"),
        ])
        .with_tiers([schedule]);
    let line = r#"{"model":"m","usage":{"input":1000}}"#;
    let before = r#"{"model":"m","usage":{"input":1000},"at":"2026-11-22T10:00:00Z"}"#;
    let mut quoter = Quoter::new(&book, Some(own), NOW);
    let mut out = Vec::new();
    let mut learned = Vec::new();
    for line in [line, before, line] {
        let line = Line::Whole(line.as_bytes());
        while let Some(counter) = quoter.answer(&line, 1, &mut out) {
            // Of this day 400 tokens were used, of the day before more than the first tier has.
            let used = if learned.is_empty() { 400 } else { 5000 };
            learned.push(counter);
            quoter.learn(counter, Amount::new(used));
        }
    }
    assert_eq!(learned.len(), 2, "a counter is asked for once: {learned:?}");
    assert_eq!(quoter.into_tally().rated, 3);
    let text = String::from_utf8(out).unwrap();
    let quoted: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(quoted[0], quoted[2], "each usage by itself");
    // 1000 at four times the cost; 600 of them at the list price, the rest at half of it.
    let [first, earlier] = [&quoted[0], &quoted[1]];
    assert_eq!(first["rule"], SaleRuleId::new(2).to_string());
    assert_eq!(first["list"], "0.01");
    assert_eq!(first["lines"][0]["amount"], "0.01");
    assert_eq!(first["amount"], "0.008");
    assert_eq!(first["tiers"]["position"], "400");
    let parts: Vec<_> = first["tiers"]["lines"].as_array().unwrap().iter().collect();
    assert_eq!(parts[0]["quantity"], "600");
    assert_eq!(parts[0]["amount"]["amount"], "0.006");
    assert_eq!(parts[1]["amount"]["amount"], "0.002");
    assert_eq!(earlier["amount"], "0.005");
    // Nobody in particular pays what everybody does, and stands in no tier.
    let anybody = answers(&book, line).0.remove(0);
    assert_eq!(anybody["amount"], "0.005");
    assert!(anybody.get("rule").is_none() && anybody.get("tiers").is_none());
}
