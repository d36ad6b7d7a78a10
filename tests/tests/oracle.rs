//! What others make of the same catalogue: the figures of LiteLLM and genai-prices for random usages,
//! and the command's.
//!
//! `./just oracle-prices` asks anew for every model; `tests/oracle` has the recorded answers for some
//! hundred of them, and the reviewed list of what differs and why.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use acceptance::figure::unrounded;
use acceptance::gate::binary;
use serde_json::{Value, json};
use tempfile::TempDir;

const RECORDED: &str = include_str!("../oracle/recorded.jsonl");
const PRICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/model_prices.json");
/// What is equal differs by less than one in so many.
const NEAR: i128 = 1_000_000_000_000;

/// A house that sells by LiteLLM's map rates a file of usages, as an operator would have it done.
fn quoted(usages: &str) -> Vec<Value> {
    let house = TempDir::new().unwrap();
    let run = |arguments: &[&str]| tollgate(house.path(), arguments);
    // From before the first of the usages on.
    run(&["prices", "import", PRICES, "--from", "2026-01-01"]);
    let [input, output] = ["usages.jsonl", "charges.jsonl"];
    fs::write(house.path().join(input), usages).unwrap();
    run(&["quote", "--input", input, "--output", output]);
    let charges = fs::read_to_string(house.path().join(output)).unwrap();
    let charges = charges.lines();
    charges
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn tollgate(house: &Path, arguments: &[&str]) {
    let done = Command::new(binary().unwrap())
        .args(arguments)
        .current_dir(house)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{arguments:?}: {said}");
}

/// The sum of the lines of a charge, in steps of 10⁻²⁷: exact, and what the charge says it is.
fn sum_of_lines(charge: &Value) -> i128 {
    let lines = charge["lines"].as_array().unwrap();
    let sum = lines.iter().map(|line| unrounded(line).unwrap()).sum();
    let stated = charge.get("unrounded").unwrap_or(&charge["amount"]);
    assert_eq!(unrounded(stated).unwrap(), sum, "{charge}");
    sum
}

/// A float as Python writes it, `1.2e-05` or `0.00012`, in steps of 10⁻²⁷.
fn python_float(text: &str) -> i128 {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let zeros = exponent.parse::<i32>().unwrap().unsigned_abs();
    assert!(zeros == 0 || exponent.starts_with('-'), "{text}");
    let places = digits.split_once('.').map_or(0, |(_, places)| places.len());
    let whole = digits.replace('.', "");
    let finer = 27 - zeros - u32::try_from(places).unwrap();
    whole.parse::<i128>().unwrap() * 10_i128.pow(finer)
}

#[test]
fn the_recorded_figures_are_ours() {
    let mut lines = RECORDED.lines();
    assert!(lines.next().unwrap().contains("\"litellm\":\"1.109.1\""));
    let asked: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let usages: String = asked.iter().map(|asked| usage(asked) + "\n").collect();
    let charges = quoted(&usages);
    assert_eq!(asked.len(), charges.len());
    let mut compared = [("litellm", 0), ("genai-prices", 0)];
    for (asked, charge) in asked.iter().zip(&charges) {
        assert_eq!(charge["model"], asked["model"], "{charge}");
        assert_eq!(charge["currency"], "USD");
        let ours = sum_of_lines(charge);
        for (oracle, figures) in &mut compared {
            let Some(theirs) = asked[*oracle].as_str() else {
                continue;
            };
            let theirs = python_float(theirs);
            let off = (ours - theirs).abs();
            assert!(off <= ours.max(theirs) / NEAR, "{asked}: {charge}");
            *figures += 1;
        }
    }
    let [(_, litellm), (_, genai)] = compared;
    assert!(litellm >= 1_700 && genai >= 600, "{compared:?}");
}

/// What `tollgate quote` reads of a recorded question.
fn usage(asked: &Value) -> String {
    let mut usage = json!({});
    for name in ["model", "usage", "service_tier", "at", "attributes"] {
        if let Some(value) = asked.get(name) {
            usage[name] = value.clone();
        }
    }
    usage.to_string()
}

#[test]
fn floats_are_read_as_they_are_written() {
    assert_eq!(python_float("0.001"), 10_i128.pow(24));
    assert_eq!(python_float("1.2e-05"), 12 * 10_i128.pow(21));
    assert_eq!(python_float("7e-07"), 7 * 10_i128.pow(20));
    assert_eq!(python_float("3.0"), 3 * 10_i128.pow(27));
}
