//! The public cases of `vectors/`, numbers in and numbers out, against the rules of this crate.
//!
//! Every operation of every file is in one of two tables: [`RUN`] has the rules that exist,
//! [`WAITS`] names the issue that brings the rule. A case in neither fails, and so does an entry
//! that no case needs.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fall over")]

#[path = "vectors/anchors.rs"]
mod anchors;
#[path = "vectors/charges.rs"]
mod charges;
#[path = "vectors/credit.rs"]
mod credit;
#[path = "vectors/invoicing.rs"]
mod invoicing;
#[path = "vectors/prorations.rs"]
mod prorations;
#[path = "vectors/two_phase.rs"]
mod two_phase;
#[path = "vectors/windows.rs"]
mod windows;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// Runs one case: its input, and what is expected of it.
type Runner = fn(&Value, &Value);

const RUN: &[(&str, &str, Runner)] = &[
    ("anchor_sequences", "elapsed", anchors::elapsed),
    ("anchor_sequences", "first_bcd", anchors::first_billing_day),
    ("anchor_sequences", "next_boundary", anchors::next_boundary),
    ("anchor_sequences", "period_at", anchors::period_at),
    (
        "anchor_sequences",
        "period_at_billing_day",
        anchors::period_at_billing_day,
    ),
    (
        "anchor_sequences",
        "period_at_date",
        anchors::period_at_date,
    ),
    ("anchor_sequences", "sequence", anchors::sequence),
    ("charge_models", "block_all_tiers", charges::all_tiers),
    ("charge_models", "block_top_tier", charges::top_tier),
    ("charge_models", "bucketed_graduated", charges::bucketed),
    ("charge_models", "graduated", charges::graduated),
    ("charge_models", "graduated_delta", charges::graduated_delta),
    (
        "charge_models",
        "graduated_percentage",
        charges::graduated_percentage,
    ),
    ("charge_models", "package", charges::package),
    ("charge_models", "package_count", charges::package_count),
    ("charge_models", "per_unit", charges::per_unit),
    ("charge_models", "percentage", charges::percentage),
    (
        "charge_models",
        "percentage_per_event",
        charges::percentage_per_event,
    ),
    ("charge_models", "unit_config", charges::unit_config),
    ("charge_models", "volume", charges::volume),
    (
        "commitments_progressive",
        "max_commit",
        invoicing::max_commit,
    ),
    (
        "commitments_progressive",
        "min_commit",
        invoicing::min_commit,
    ),
    (
        "commitments_progressive",
        "progressive_invoice",
        invoicing::progressive,
    ),
    (
        "commitments_progressive",
        "prorated_minimum",
        invoicing::prorated_minimum,
    ),
    ("grant_drawdown", "burn", credit::burn),
    ("grant_drawdown", "burn_order", credit::burn_order),
    ("grant_drawdown", "unwind", credit::unwind_draws),
    ("ledger_two_phase", "run", two_phase::run),
    ("proration", "cap_credit", prorations::cap_credit),
    ("proration", "credit_note", invoicing::credit_note),
    ("proration", "day_ratio", prorations::day_ratio),
    ("proration", "days_inclusive", prorations::days),
    (
        "proration",
        "days_inclusive_money",
        prorations::days_of_money,
    ),
    ("proration", "dst_days", prorations::local_days),
    ("proration", "kb_fixed_ratio", prorations::thirty_days),
    ("proration", "kb_ratio", prorations::ratio),
    ("proration", "time_ratio", prorations::by_second),
    ("quota_windows", "advance_days", windows::advance_days),
    ("quota_windows", "floor_day", windows::floor_day),
    ("quota_windows", "floor_hour", windows::floor_hour),
    ("quota_windows", "floor_week", windows::floor_week),
    ("quota_windows", "window", windows::window),
    (
        "rounding_tax_discount",
        "fixed_discount",
        invoicing::fixed_discount,
    ),
    (
        "rounding_tax_discount",
        "percent_discount",
        invoicing::percent_discount,
    ),
    (
        "rounding_tax_discount",
        "tax_allocation",
        invoicing::tax_allocation,
    ),
];

const RECURRING: &str = "issue 5: recurring grants";

const WAITS: &[(&str, &[&str], &str)] = &[("grant_drawdown", &["recurring_burn"], RECURRING)];

struct Case {
    file: String,
    id: String,
    op: String,
    input: Value,
    expected: Value,
    source: Value,
    adopt: bool,
}

/// Every case of every file in `vectors/`.
fn cases() -> Vec<Case> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../vectors");
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let json = paths.filter(|path| path.extension().is_some_and(|e| e == "json"));
    let mut cases = Vec::new();
    for path in json {
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let content: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        cases.extend(
            content["cases"]
                .as_array()
                .unwrap()
                .iter()
                .map(|case| Case {
                    file: file.clone(),
                    id: text(&case["id"]).to_owned(),
                    op: text(&case["op"]).to_owned(),
                    input: case["input"].clone(),
                    expected: case["expected"].clone(),
                    source: case["source"].clone(),
                    adopt: case["adopt"].as_bool().unwrap(),
                }),
        );
    }
    cases
}

fn runner_of(case: &Case) -> Option<Runner> {
    let named = RUN
        .iter()
        .find(|(file, op, _)| *file == case.file && *op == case.op);
    named.map(|(.., runner)| *runner)
}

fn waits(case: &Case) -> bool {
    let mut tables = WAITS.iter().filter(|(file, ..)| *file == case.file);
    tables.any(|(_, ops, _)| ops.contains(&case.op.as_str()))
}

#[test]
fn the_cases_whose_rules_exist_come_out_as_published() {
    let mut run = BTreeSet::new();
    for case in cases() {
        let Some(runner) = runner_of(&case).filter(|_| case.adopt) else {
            continue;
        };
        // The harness prints what a test has said when it fails: which case it was.
        let at = format!("{} {}", case.file, case.id);
        let outcome = std::panic::catch_unwind(|| runner(&case.input, &case.expected));
        assert!(outcome.is_ok(), "{at} fails: see above");
        run.insert((case.file, case.op));
    }
    assert_eq!(run.len(), RUN.len(), "every rule of RUN was run");
}

#[test]
fn every_case_is_run_or_waits_for_a_named_rule() {
    let mut seen = BTreeSet::new();
    for case in cases() {
        let Case { file, id, op, .. } = &case;
        let (runs, waits) = (runner_of(&case).is_some(), waits(&case));
        assert!(
            runs || waits,
            "{file} {id}: no rule runs \"{op}\", and none is waited for"
        );
        assert!(
            !(runs && waits),
            "{file} {id}: \"{op}\" runs and is said to wait"
        );
        seen.insert((file.clone(), op.clone()));
    }
    let waiting = WAITS
        .iter()
        .flat_map(|(file, ops, _)| ops.iter().map(move |op| (*file, *op)));
    for (file, op) in RUN.iter().map(|(file, op, _)| (*file, *op)).chain(waiting) {
        assert!(
            seen.contains(&(file.to_owned(), op.to_owned())),
            "{file}: no case needs \"{op}\""
        );
    }
}

#[test]
fn every_case_says_where_it_comes_from() {
    let mut ids = BTreeSet::new();
    for case in cases() {
        let place = ["path", "url"].map(|key| case.source[key].is_string());
        let derived = case.source["kind"] == "derived";
        let named = case.source["system"].is_string() && (derived || place.contains(&true));
        assert!(named, "{} {} has no source", case.file, case.id);
        assert!(
            ids.insert((case.file.clone(), case.id.clone())),
            "{} twice",
            case.id
        );
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
