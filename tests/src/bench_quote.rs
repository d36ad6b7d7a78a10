//! Times `tollgate quote` on a file of usages: how many it rates a second, on one core.
//!
//! The usages name every model of the shipped catalogue that converses, with tokens read from
//! caches, reasoning, batches and instants among them. What comes out is added up and compared with
//! what the command says it came to, so that a fast answer is also a whole one.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::Failure;
use crate::figure::{nanos_of_text, text};
use crate::gate::binary;
use crate::proof::{Findings, say};
use crate::seeded::Seeded;

/// Usages a second on one core, at least.
const LEAST: u64 = 200_000;
const CATALOGUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/catalogue.jsonl");

/// How much is timed.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Lines of the file.
    pub usages: u64,
    /// How often it is rated; the median counts.
    pub rounds: usize,
}

/// Runs it.
///
/// # Errors
/// The command does not run, or what it answers cannot be read.
pub fn run(settings: &Settings) -> Result<(Value, Findings), Failure> {
    let folder = tempfile::tempdir()?;
    let [usages, charges] = ["usages.jsonl", "charges.jsonl"].map(|name| folder.path().join(name));
    fs::write(&usages, made(settings.usages)?)?;
    let mut rates = Vec::new();
    let mut findings = Findings::default();
    for round in 1..=settings.rounds {
        let summary = quote(&usages, &charges)?;
        let rate = summary["per_second"].as_u64().ok_or("no rate was said")?;
        say(&format!("  round {round}: {rate} usages/s"));
        rates.push(rate);
        if round == 1 {
            whole(&charges, &summary, settings.usages, &mut findings)?;
        }
    }
    rates.sort_unstable();
    let median = *rates.get(rates.len() / 2).ok_or("no round was run")?;
    findings.check(median >= LEAST, || {
        format!("{median} usages/s on one core, {LEAST} claimed")
    });
    let line = json!({
        "bench": "quote", "usages": settings.usages, "rounds": settings.rounds,
        "per_second": median, "per_second_min": LEAST,
    });
    Ok((line, findings))
}

/// Has the file rated with one core to do it, where the system can be told so.
fn quote(usages: &Path, charges: &Path) -> Result<Value, Failure> {
    let tollgate = binary()?;
    let mut command = if has_taskset() {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", "0"]).arg(tollgate);
        pinned
    } else {
        Command::new(tollgate)
    };
    let ran = command
        .args(["quote", "--json", "--prices", CATALOGUE, "--input"])
        .arg(usages)
        .arg("--output")
        .arg(charges)
        .stdin(Stdio::null())
        .output()?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        return Err(format!("tollgate quote failed: {said}").into());
    }
    Ok(serde_json::from_slice(&ran.stdout)?)
}

fn has_taskset() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("taskset").is_file())
}

/// Every line was answered, none with an error, and the amounts add up to the total.
fn whole(
    charges: &PathBuf,
    summary: &Value,
    usages: u64,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let (mut lines, mut sum) = (0, 0);
    for line in BufReader::new(File::open(charges)?).lines() {
        let answer: Value = serde_json::from_str(&line?)?;
        let amount = answer["amount"].as_str();
        sum += nanos_of_text(amount.ok_or_else(|| format!("{answer} has no amount"))?)?;
        lines += 1;
    }
    findings.check(lines == usages, || {
        format!("{lines} answers to {usages} usages")
    });
    let said = nanos_of_text(summary["totals"][0]["amount"].as_str().unwrap_or_default())?;
    findings.check(said == sum, || {
        format!("the amounts add up to {}, not {}", text(sum), text(said))
    });
    Ok(())
}

/// A model, and what of it has a price.
struct Model {
    name: String,
    provider: String,
    meters: Vec<String>,
}

fn models() -> Result<Vec<Model>, Failure> {
    let mut models = Vec::new();
    for line in fs::read_to_string(CATALOGUE)?.lines().skip(1) {
        let line: Value = serde_json::from_str(line)?;
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let prices = line["per_unit"].as_object();
        let meters: Vec<_> = prices
            .into_iter()
            .flat_map(|prices| prices.keys().cloned())
            .collect();
        let converses = ["input", "output"].map(|name| meters.iter().any(|meter| meter == name));
        if converses == [true, true] && line["currency"] == "USD" {
            models.push(Model {
                name: text("model"),
                provider: text("provider"),
                meters,
            });
        }
    }
    Ok(models)
}

/// So many usages, a line each.
fn made(usages: u64) -> Result<String, Failure> {
    let models = models()?;
    let count = u64::try_from(models.len())?;
    let mut random = Seeded::new(4);
    let mut made = String::new();
    for _ in 0..usages {
        let at = usize::try_from(random.next() % count)?;
        let model = models.get(at).ok_or("there are no models")?;
        let (input, output) = (random.between(1, 8_000), random.between(1, 2_000));
        let name = &model.name;
        write!(
            made,
            r#"{{"model":"{name}","usage":{{"input":{input},"output":{output}"#
        )?;
        for meter in ["cache_read", "reasoning"] {
            if model.meters.iter().any(|priced| priced == meter) && random.percent(50) {
                write!(made, r#","{meter}":{}"#, random.between(1, 4_000))?;
            }
        }
        made.push('}');
        if random.percent(10) {
            made.push_str(r#","service_tier":"batch""#);
        }
        if random.percent(10) {
            made.push_str(r#","at":"2026-11-23T10:00:00Z""#);
        }
        if random.percent(10) {
            write!(made, r#","provider":"{}""#, model.provider)?;
        }
        made.push_str("}\n");
    }
    Ok(made)
}
