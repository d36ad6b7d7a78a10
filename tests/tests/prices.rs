//! Prices on a live system: tiers that many callers cross at once through two nodes, and a price that
//! changes while calls are made.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use acceptance::call::{Ask, Caller};
use acceptance::cluster::{Cluster, Payer, Shape};
use acceptance::figure::nanos_of_text;
use acceptance::gate::binary;
use acceptance::served::Served;
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;

const MODEL: &str = "sim/echo";
/// How many callers call at once.
const CALLERS: usize = 64;
/// How many thresholds they cross.
const THRESHOLDS: u64 = 1_000;
/// How many calls, in tenths, lie between two of them: a call crosses one anywhere, or none.
const STEP_TENTHS: u64 = 17;
/// How many calls they make: up to the last threshold.
const CALLS: u64 = THRESHOLDS * STEP_TENTHS / 10;
/// What a change of prices may take to reach every node.
const SOON: Duration = Duration::from_secs(20);

fn import(folder: &TempDir, database: &str, name: &str, file: &str, from: Option<&str>) {
    let path: PathBuf = folder.path().join(name);
    std::fs::write(&path, file).unwrap();
    let mut command = Command::new(binary().unwrap());
    command.args(["prices", "import", "--database", database, "--confirm"]);
    command.args(from.iter().flat_map(|from| ["--from", from]));
    let done = command.arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
}

/// Half off every second step of so many nanos at list prices, and half off whatever a probe asks.
fn schedules(account: &str, probe: &str, step: i128) -> String {
    let tier = |up_to: Option<i128>, percent: &str| {
        let mut tier = json!({ "price": { "discount": percent } });
        if let Some(up_to) = up_to {
            let whole = 1_000_000_000;
            tier["up_to"] = json!(format!("{}.{:09}", up_to / whole, up_to % whole));
        }
        tier
    };
    let steps = (1..=i128::from(THRESHOLDS)).map(|n| {
        let percent = if n % 2 == 1 { "0" } else { "50" };
        tier(Some(n * step), percent)
    });
    let last = tier(None, "0");
    let tiers: Vec<Value> = steps.chain([last]).collect();
    let of = |audience: &str, tiers: Vec<Value>| {
        json!({
            "audience": audience,
            "models": "*",
            "terms": {
                "currency": "USD",
                "measure": "spend",
                "window": "lifetime",
                "pricing": { "graduated": tiers },
            },
        })
    };
    let half = vec![tier(None, "50")];
    json!({ "tiers": [of(account, tiers), of(probe, half)] }).to_string()
}

/// The charge of one call, in nanos.
async fn cost(caller: &Caller) -> i128 {
    let answer = caller.call(&Ask::of(MODEL)).await;
    assert!(answer.is_complete(), "{answer:?}");
    answer.cost_nanos().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_that_are_crossed_a_thousand_times_at_once_cost_the_closed_form() {
    let cluster = Cluster::start(Shape::local(2, false).unwrap())
        .await
        .unwrap();
    let control = cluster.control(0).await.unwrap();
    let funds = 1_000_000_000_000;
    let payer = Payer::new(&control, "many", funds).await.unwrap();
    let probe = Payer::new(&control, "probe", funds).await.unwrap();
    let probes = [0, 1].map(|node: usize| probe.caller(&cluster.nodes[node]).unwrap());
    let list = cost(&probes[0]).await;
    // So that half of any part of a call is a whole number of nanos.
    let step = list * i128::from(STEP_TENTHS) / 10;
    assert!(list > 0 && list % 20 == 0 && step % list != 0, "{list}");
    let folder = TempDir::new().unwrap();
    let file = schedules(&payer.account, &probe.account, step);
    import(&folder, cluster.url(), "tiers.json", &file, None);
    for probe in &probes {
        let since = Instant::now();
        while cost(probe).await != list / 2 {
            assert!(since.elapsed() < SOON, "a node does not know the schedule");
        }
    }
    let calls = Arc::new(AtomicU64::new(0));
    let mut running = JoinSet::new();
    for number in 0..CALLERS {
        let node = &cluster.nodes[number % cluster.nodes.len()];
        let caller = payer.caller(node).unwrap();
        let calls = Arc::clone(&calls);
        running.spawn(async move {
            let mut sum = 0;
            while calls.fetch_add(1, Ordering::Relaxed) < CALLS {
                sum += cost(&caller).await;
            }
            sum
        });
    }
    let told: i128 = running.join_all().await.into_iter().sum();
    // Of every two steps one is at the list price and one at half of it.
    let steps = i128::from(THRESHOLDS / 2) * step;
    assert_eq!(i128::from(CALLS) * list, 2 * steps);
    assert_eq!(told, steps + steps / 2);
    let balance = control.balance(&payer.account).await.unwrap();
    assert_eq!(funds - balance, told);
    cluster.verify_ledger().unwrap();
}

fn at(field: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(field.as_str().unwrap(), &Rfc3339).unwrap()
}

/// The catalogue's line of the model at another price.
fn dearer() -> String {
    priced(&json!({"cache_read": "0.0000002", "input": "0.000002", "output": "0.000008"}))
}

fn priced(per_unit: &Value) -> String {
    let header = json!({
        "tollgate_catalogue": catalogue_edition(),
        "source": "a test", "source_sha256": "", "made_on": "2026-11-22", "made_by": "a test",
        "entries": 1, "skipped": 0, "models": 1,
    });
    let model = json!({
        "model": MODEL, "provider": "simulated", "mode": "chat",
        "max_input_tokens": 128_000, "max_output_tokens": 16_384, "currency": "USD",
        "per_unit": per_unit,
    });
    format!("{header}\n{model}\n")
}

/// The edition of the format that the shipped catalogue is in.
fn catalogue_edition() -> Value {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/simulated.jsonl");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let header: Value = serde_json::from_str(shipped.lines().next().unwrap()).unwrap();
    header["tollgate_catalogue"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_charged_by_the_price_it_was_authorized_under() {
    let served = Served::start("", 1_000_000_000_000).await.unwrap();
    let caller = &served.payer.caller;
    let first = caller.call(&Ask::of(MODEL)).await;
    let old = first.cost_nanos().unwrap();
    // By the clock of the receipts.
    let first = served.receipt(&served.payer, first.id.as_deref().unwrap());
    let from = at(&first.await.unwrap()["started_at"]) + Duration::from_secs(10);
    let from = from.replace_nanosecond(0).unwrap();
    let folder = TempDir::new().unwrap();
    let url = format!(
        "sqlite://{}",
        served.gate.data().join("tollgate.db").display()
    );
    import(
        &folder,
        &url,
        "dearer.jsonl",
        &dearer(),
        Some(&from.format(&Rfc3339).unwrap()),
    );
    let is_over = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    for _ in 0..8 {
        let (caller, is_over) = (caller.clone(), Arc::clone(&is_over));
        running.spawn(async move {
            let mut answers = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let answer = caller.call(&Ask::of(MODEL)).await;
                let charge = answer.cost_nanos().unwrap();
                if charge == 2 * old {
                    is_over.store(true, Ordering::Relaxed);
                }
                answers.push((answer.id.clone().unwrap(), charge));
            }
            answers
        });
    }
    let answers: Vec<_> = running.join_all().await.into_iter().flatten().collect();
    let mut seen = [0, 0];
    for (id, charge) in &answers {
        let receipt = served.control.call(&served.payer.account, id).await;
        let receipt = receipt.unwrap().unwrap();
        let is_late = at(&receipt["started_at"]) >= from;
        let in_force = at(&receipt["price"]["effective_from"]);
        assert_eq!(in_force == from, is_late, "{receipt}");
        assert_eq!(*charge, if is_late { 2 * old } else { old }, "{receipt}");
        seen[usize::from(is_late)] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    // Every call is rated again from what is stored, bit for bit.
    served.gate.verify_ledger().unwrap();
}

/// What a command prints as JSON.
fn said(served: &Served, arguments: &[&str]) -> Value {
    let done = served.gate.run(arguments).unwrap();
    assert!(done.status.success(), "{arguments:?}: {done:?}");
    serde_json::from_slice(&done.stdout).unwrap()
}

/// A price that doubles must be confirmed, and none holds in the past.
fn refused_until_confirmed(served: &Served, import: &[&str]) {
    let why = |arguments: &[&str]| {
        let refused = served.gate.run(arguments).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        String::from_utf8_lossy(&refused.stderr).into_owned()
    };
    let too_much = why(import);
    assert!(too_much.contains("by more than 50 %"), "{too_much}");
    assert!(too_much.contains("--confirm"), "{too_much}");
    let past = why(&[import, &["--confirm", "--from", "2026-01-01"]].concat());
    assert!(past.contains("in the past"), "{past}");
    assert!(past.contains("prices rerate"), "{past}");
    said(served, &[import, &["--confirm"]].concat());
}

/// An account that cannot be corrected is named, and the run goes on to what it says at its end.
fn named_where_it_cannot_be(served: &Served, folder: &TempDir, (of, wrong): (&[&str], &str)) {
    let searches = folder.path().join("searches.jsonl");
    std::fs::write(&searches, priced(&json!({"search": "0.01"}))).unwrap();
    let import = ["prices", "import", searches.to_str().unwrap(), "--confirm"];
    said(
        served,
        &[&import[..], of, &["--from", "2100-01-01"]].concat(),
    );
    let versions = said(served, &[&["prices", "show", MODEL][..], of].concat());
    let searches = versions[2]["id"].as_str().unwrap();
    let rerate = [
        "prices", "rerate", "--model", MODEL, "--wrong", wrong, "--right", searches,
    ];
    let done = served.gate.run(&[&rerate[..], of].concat()).unwrap();
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        report["failed"][0]["account"], served.payer.account,
        "{report}"
    );
}

/// The charge stays on record, and beside it what was charged later, and what it costs by now.
async fn each_call_says_that_it_was_corrected(served: &Served, list: i128) {
    let account = &served.payer.account;
    for call in served.control.calls(account).await.unwrap() {
        let id = call["id"].as_str().unwrap();
        let receipt = served.control.call(account, id).await.unwrap();
        let receipt = receipt.unwrap();
        let nanos = |money: &Value| nanos_of_text(money["amount"].as_str().unwrap()).unwrap();
        assert_eq!(nanos(&receipt["charge"]), list, "{receipt}");
        assert_eq!(nanos(&receipt["adjustments"][0]["amount"]), list);
        assert_eq!(nanos(&receipt["net_charge"]), 2 * list);
        assert_eq!(call["net_charge"], receipt["net_charge"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn past_calls_are_simulated_and_corrected_under_other_prices() {
    let served = Served::start("", 1_000_000_000_000).await.unwrap();
    let payer = &served.payer;
    let list = cost(&payer.caller).await;
    for _ in 0..4 {
        assert_eq!(cost(&payer.caller).await, list);
    }
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("dearer.jsonl");
    std::fs::write(&file, dearer()).unwrap();
    let file = file.to_str().unwrap();
    let database = format!(
        "sqlite://{}",
        served.gate.data().join("tollgate.db").display()
    );
    let of = ["--database", &database, "--json"];
    let on_payer = ["--account", &payer.account];

    let diff = said(&served, &[&["prices", "diff", file][..], &of].concat());
    assert_eq!(diff["changes"][0]["percent"], 100, "{diff}");
    let year = ["--since", "2026-01-01"];
    let simulate = [&["prices", "simulate", file][..], &of, &on_payer, &year].concat();
    let simulated = said(&served, &simulate);
    let total = &simulated["total"];
    let nanos = |value: &Value| nanos_of_text(value.as_str().unwrap()).unwrap();
    assert_eq!(total["calls"], 5, "{simulated}");
    assert_eq!(nanos(&total["revenue_before"]), 5 * list, "{simulated}");
    assert_eq!(nanos(&total["revenue_after"]), 10 * list, "{simulated}");
    assert_eq!(total["margin_after"], "0.00", "{simulated}");

    refused_until_confirmed(&served, &[&["prices", "import", file][..], &of].concat());
    let versions = said(&served, &[&["prices", "show", MODEL][..], &of].concat());
    let [wrong, right] = [0, 1].map(|at: usize| versions[at]["id"].as_str().unwrap().to_owned());
    let rerate = [
        "prices", "rerate", "--model", MODEL, "--wrong", &wrong, "--right", &right,
    ];
    let rerate = [&rerate[..], &of, &on_payer].concat();
    let before = served.control.balance(&payer.account).await.unwrap();
    let dry = said(&served, &rerate);
    assert_eq!(nanos(&dry["accounts"][0]["amount"]), 5 * list, "{dry}");
    assert_eq!(
        served.control.balance(&payer.account).await.unwrap(),
        before
    );
    for round in 0..2 {
        let done = said(&served, &[&rerate[..], &["--apply"]].concat());
        let accounts = done["accounts"].as_array().unwrap().len();
        assert_eq!(
            accounts,
            1 - round,
            "what is corrected is corrected once: {done}"
        );
        let now = served.control.balance(&payer.account).await.unwrap();
        assert_eq!(before - now, 5 * list);
    }
    each_call_says_that_it_was_corrected(&served, list).await;
    // And back again: what was taken is given back.
    let back = [
        "prices", "rerate", "--model", MODEL, "--wrong", &wrong, "--right", &wrong,
    ];
    said(&served, &[&back[..], &of, &on_payer, &["--apply"]].concat());
    assert_eq!(
        served.control.balance(&payer.account).await.unwrap(),
        before
    );
    named_where_it_cannot_be(&served, &folder, (&of, &wrong));
    served.gate.verify_ledger().unwrap();
}
