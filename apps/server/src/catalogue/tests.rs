use std::sync::Arc;

use billing_core::id::PriceVersionId;
use billing_core::money::Currency;
use billing_core::price::ModelName;
use billing_core::price_book::{PriceBook, PricedModel};
use time::OffsetDateTime;

use super::report::ImportReport;
use super::*;

const SOURCE: &[u8] = include_bytes!("../../../../data/model_prices.json");
const SHIPPED: &str = include_str!("../../../../data/catalogue.jsonl");

/// A book in which the drafts of an import hold.
fn book_of(import: &Import) -> PriceBook {
    let from = OffsetDateTime::UNIX_EPOCH;
    PriceBook::new(import.drafts.iter().zip(1..).map(|(draft, id)| {
        let version = draft.clone().into_version(PriceVersionId::new(id), from);
        let versions = vec![Arc::new(version.unwrap())];
        PricedModel::new(draft.model.clone(), draft.facts.clone(), versions)
    }))
}

#[test]
fn the_shipped_catalogue_is_what_the_importer_makes_of_its_source() {
    let (header, _) = own::read(SHIPPED.as_bytes()).unwrap();
    let made = convert("data/model_prices.json", SOURCE, header.made_on).unwrap();
    let first = made.lines().zip(SHIPPED.lines()).find(|(a, b)| a != b);
    assert_eq!(
        first, None,
        "run: tollgate prices import data/model_prices.json --write data/catalogue.jsonl"
    );
    assert!(made == SHIPPED);
}

#[test]
fn the_shipped_models_are_priced() {
    let drafts = shipped().unwrap();
    let find = |name: &str| {
        let at = drafts.iter().find(|d| d.model.as_str() == name);
        at.unwrap_or_else(|| panic!("{name} is not shipped"))
    };
    for name in [
        "echo",
        "lorem",
        "slow",
        "flaky",
        "cut",
        "no-usage",
        "zero-usage",
        "absurd-usage",
    ] {
        let draft = find(&format!("sim/{name}"));
        let prices: Vec<String> = draft
            .rates
            .iter()
            .map(|r| r.price.per_million_text())
            .collect();
        assert_eq!(prices, ["1", "0.1", "4"], "{name}");
        assert_eq!(draft.facts.max_input_tokens, Some(128_000));
        assert_eq!(draft.facts.max_output_tokens, Some(16_384));
    }
    assert_eq!(
        find("sim/embedding").rates[0].price.per_million_text(),
        "0.1"
    );
    assert_eq!(find("gpt-4o").currency, Currency::USD);
    assert!(drafts.windows(2).all(|pair| pair[0].model < pair[1].model));
}

#[test]
fn importing_again_changes_nothing_and_a_changed_file_what_it_changes() {
    let import = read_any("model_prices.json", SOURCE).unwrap();
    let (book, now) = (book_of(&import), OffsetDateTime::UNIX_EPOCH);
    let again = ImportReport::new("model_prices.json", &import, &book, now);
    assert_eq!(
        (again.unchanged, again.imported),
        (import.drafts.len(), import.drafts.len())
    );
    assert_eq!(
        (again.new_models, again.new_prices, again.new_facts),
        (0, 0, 0)
    );

    // The shipped form of the same file is the same catalogue.
    let own_form = read_any("catalogue.jsonl", SHIPPED.as_bytes()).unwrap();
    assert_eq!(own_form.drafts, import.drafts);

    let mut changed = import.clone();
    changed.drafts[0].model = ModelName::new("new");
    changed.drafts[1].rates[0].price = "0.5".parse().unwrap();
    changed.drafts[2].facts.max_input_tokens = Some(1);
    let report = ImportReport::new("changed", &changed, &book, now);
    assert_eq!(
        (report.new_models, report.new_prices, report.new_facts),
        (1, 1, 1)
    );
    assert_eq!(report.unchanged + 3, report.imported);
    let (named, was) = (&report.changed[0], &import.drafts[1]);
    assert_eq!(named.model, was.model.as_str());
    assert_ne!(named.old, named.new);
    assert!(named.new.contains(" 0.5"), "{named:?}");
    assert!(report.to_string().contains(&named.old), "{report}");
}

#[test]
fn a_report_can_be_read_by_people_and_by_scripts() {
    let file = br#"{
        "a": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "mode": "chat"},
        "b": {"input_cost_per_token": 0, "mode": "chat"},
        "c": {"guardrail_cost_per_unit": 0.5},
        "d": {"mode": "chat"}
    }"#;
    let import = read_any("some.json", file).unwrap();
    let report = ImportReport::new(
        "some.json",
        &import,
        &PriceBook::default(),
        OffsetDateTime::UNIX_EPOCH,
    );
    let text = report.to_string();
    assert!(
        text.contains("some.json: 4 entries, 1 imported, 3 not"),
        "{text}"
    );
    assert!(
        text.contains("    1  only prices that no meter expresses\n"),
        "{text}"
    );
    assert!(
        text.contains("    1  guardrail_cost_per_unit: units of seven kinds"),
        "{text}"
    );
    let verbose = report.verbose().to_string();
    assert!(
        verbose.contains("  c: only prices that no meter expresses: guardrail_cost_per_unit"),
        "{verbose}"
    );
    assert!(verbose.contains("  b: all prices are zero"), "{verbose}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["skipped"][2]["reason"], "no price");
    assert_eq!(json["new_models"], 1);
    assert_eq!(report.causes().iter().map(|(_, n)| n).sum::<usize>(), 3);
}

#[test]
fn files_of_no_known_kind_are_refused() {
    for (bytes, words) in [
        (&b""[..], "it is empty"),
        (b"  \n", "it is empty"),
        (b"[]", "array"),
        (b"model,price\n", "neither"),
        (b"NaN", "neither"),
        (b"\xff\xfe", "neither"),
        (b"{\"a\": {", "not well-formed JSON"),
        (
            b"{\"a\": {\"input_cost_per_token\": NaN}}",
            "not well-formed JSON",
        ),
        (
            b"{\"a\": {\"input_cost_per_token\": 1}} x",
            "not well-formed JSON",
        ),
        (b"{\"a\": \"\xff\"}", "not well-formed JSON"),
        (b"{}", "none of its 0 entries is an object"),
        (
            b"{\"data\": [], \"n\": 1}",
            "none of its 2 entries is an object",
        ),
        (b"{\"a\": {}, \"a\": {}}", "lists \"a\" twice"),
    ] {
        let error = read_any("f", bytes).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    // Depth is no danger: members stay text until they are looked at.
    let deep = format!("{{\"a\": {}}}", "[".repeat(200_000));
    assert!(read_any("f", deep.as_bytes()).is_err());
    let deep = format!(
        "{{\"a\": {{\"x\": {}{}}}}}",
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    assert_eq!(
        read_any("f", deep.as_bytes()).unwrap().skipped[0].reason,
        "no price"
    );
}

const HEADER: &str = r#"{"tollgate_catalogue":2,"source":"s","source_sha256":"","made_on":"2026-11-22","made_by":"m","entries":1,"skipped":0,"models":1}"#;

#[test]
fn the_own_format_reads_back_what_it_wrote() {
    let line = r#"{"model":"m","provider":"p","mode":"chat","max_output_tokens":7,"currency":"CNY","per_unit":{"cache_read@flex>=128000":"0.0000001","input":"0.000001","input>200000":"0.000002","output@batch":"free"},"when":{"during Asia/Shanghai daily 00:00-08:00":{"input":"0.0000005"},"region=eu, speed=fast":{"input":"0.000003","input>200000":"0.000006"}}}"#;
    let text = format!("{HEADER}\n{line}\n");
    let (header, drafts) = own::read(text.as_bytes()).unwrap();
    assert_eq!(own::write(&header, &drafts).unwrap(), text);
    assert_eq!(drafts[0].rates.len(), 4);
    assert_eq!(drafts[0].variants.len(), 2);
    let first = text.replace("catalogue\":2", "catalogue\":1");
    assert_eq!(own::read(first.as_bytes()).unwrap().1, drafts);
    assert!(
        drafts[0]
            .rates
            .iter()
            .any(|r| r.above.is_some_and(|a| a.inclusive))
    );
}

#[test]
fn a_fault_in_the_own_format_is_named_with_its_line() {
    let good =
        r#"{"model":"m","provider":"p","mode":"chat","currency":"USD","per_unit":{"input":"1"}}"#;
    for (lines, words) in [
        (String::new(), "announces 1 models, 0 follow"),
        (
            good.replace("input", "inptu"),
            "line 2: \"inptu\" is not a meter",
        ),
        (
            good.replace("input", "input@fast"),
            "line 2: \"fast\" is not a service tier",
        ),
        (
            good.replace("input", "input>many"),
            "line 2: \"input>many\"",
        ),
        (good.replace("\"1\"", "\"0\""), "say \"free\""),
        (good.replace("\"1\"", "1"), "line 2: invalid type"),
        (good.replace("\"1\"", "\"-1\""), "is not a price"),
        (
            good.replace("\"1\"", "\"1\",\"input\":\"2\""),
            "\"input\" is priced twice",
        ),
        (
            good.replace("\"1\"", "\"1\",\"input@standard\":\"2\""),
            "states one rate twice",
        ),
        (good.replace("\"input\":\"1\"", ""), "m has no price"),
        (good.replace("USD", "usd"), "not an ISO 4217"),
        (good.replace("\"mode\"", "\"mood\""), "unknown field `mood`"),
        (format!("{good}\n{good}"), "lists \"m\" twice"),
        (
            good.replace("}}", r#"},"when":{"colour=red":{"input":"1"}}}"#),
            "line 2: \"colour=red\" is not a condition: no such attribute",
        ),
        (
            good.replace("}}", r#"},"when":{"region=eu":{}}}"#),
            "m with region=eu has no price",
        ),
        (
            good.replace("}}", r#"},"when":{"region=eu":{"input":"1","input":"2"}}}"#),
            "\"input\" is priced twice",
        ),
        (
            good.replace(
                "}}",
                r#"},"when":{"region=eu,speed=x":{"input":"1"},"speed=x, region=eu":{"input":"1"}}}"#,
            ),
            "m states one condition twice",
        ),
        ("not json".to_owned(), "line 2: expected"),
    ] {
        let text = format!("{HEADER}\n{lines}\n");
        let error = read_any("c.jsonl", text.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{error}");
    }
    let newer = HEADER.replace("catalogue\":2", "catalogue\":3");
    let error = read_any("c.jsonl", newer.as_bytes())
        .unwrap_err()
        .to_string();
    assert!(error.contains("edition 3"), "{error}");
    let headless = "{\"tollgate_catalogue\":2}";
    assert!(read_any("c.jsonl", headless.as_bytes()).is_err());
}
