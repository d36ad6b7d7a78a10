//! Plans on a live system: many more calls at once than a plan's quotas have room for, and a wallet
//! that is empty. Exactly what fits is served, whatever the database and however many nodes.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use acceptance::call::{Answer, Ask, Caller};
use acceptance::cluster::{Cluster, Payer, Shape};
use acceptance::control::Control;
use acceptance::gate::binary;
use acceptance::postgres::Postgres;
use acceptance::served::Served;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// How many calls come at once.
const CALLS: usize = 1_000;
/// What the plan gives.
const QUOTA_CALLS: usize = 100;
const QUOTA_TOKENS: u64 = 10_000;
/// A window that does not end while the test runs.
const YEAR_S: u32 = 31_536_000;
/// What a plan may take to be known to every node.
const SOON: Duration = Duration::from_secs(20);

fn tollgate(arguments: &[&str]) {
    let done = Command::new(binary().unwrap()).args(arguments).output();
    let done = done.unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {said}");
}

/// Publishes the plan and puts an account on it.
fn subscribe(database: &str, account: &str, after_quota: &str) {
    let quota = |unit: &str, amount: u64| json!({ "models": "*", "unit": unit, "amount": amount, "window": { "rolling": YEAR_S } });
    let plan = json!({
        "code": "race",
        "name": "Race",
        "terms": {
            "currency": "USD",
            "price": 0,
            "billing": { "every": "P1M" },
            "quotas": [quota("calls", 100), quota("tokens", QUOTA_TOKENS)],
            "after_quota": after_quota,
        },
    });
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("plan.json");
    std::fs::write(&file, plan.to_string()).unwrap();
    let file = file.to_str().unwrap();
    tollgate(&["plans", "publish", "--database", database, file]);
    let who = ["--account", account, "--plan", "race"];
    let command = ["plans", "subscribe", "--database", database];
    tollgate(&[&command[..], &who[..]].concat());
}

/// A question whose answer is as long as it; a short one, so that calls end the quota first, or a
/// long one, so that tokens do.
fn ask(words: usize) -> Ask {
    let mut ask = Ask::of("sim/echo").at_most(200);
    ask.prompt = vec!["word"; words].join(" ");
    ask
}

/// Calls until it is served or refused for good: what others hold may come back.
async fn served_or_refused(caller: Caller, ask: Ask) -> Answer {
    loop {
        let answer = caller.call(&ask).await;
        if answer.status != 429 || answer.code() != "funds_in_use" {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// All calls at once, spread over callers.
async fn all_at_once(callers: &[Caller], ask: &Ask) -> Vec<Answer> {
    let mut running = JoinSet::new();
    for number in 0..CALLS {
        let caller = callers[number % callers.len()].clone();
        running.spawn(served_or_refused(caller, ask.clone()));
    }
    running.join_all().await
}

/// What a call of it may come to, in tokens: half of its body's bytes, a template, and its limit.
fn most_tokens(ask: &Ask) -> u64 {
    let input = u64::try_from(ask.body().len().div_ceil(2) + 32).unwrap();
    input + ask.max_tokens.unwrap()
}

fn figure(answer: &Answer, header: &str) -> Option<u64> {
    let value = answer.headers.get(header)?.to_str().ok()?;
    value.parse().ok()
}

/// What was served is free, fits the quotas, and no other call would have fitted.
async fn exactly_what_fits(
    control: &Control,
    account: &str,
    (answers, ask): (&[Answer], &Ask),
    refusal: (u16, &str),
) {
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.is_complete());
    for answer in &served {
        assert_eq!(answer.cost_nanos(), Some(0), "{answer:?}");
        assert_eq!(
            figure(answer, "x-tollgate-quota-limit-calls"),
            Some(100),
            "{answer:?}"
        );
        assert!(
            figure(answer, "x-tollgate-quota-remaining-tokens").is_some(),
            "{answer:?}"
        );
    }
    let mut codes: BTreeMap<(u16, String), usize> = BTreeMap::new();
    for answer in &refused {
        *codes.entry((answer.status, answer.code())).or_default() += 1;
    }
    let expected = (refusal.0, refusal.1.to_owned());
    assert_eq!(codes, BTreeMap::from([(expected, refused.len())]));
    let calls = control.calls(account).await.unwrap();
    assert_eq!(calls.len(), served.len());
    let mut tokens = 0;
    for call in &calls {
        let receipt = control.call(account, call["id"].as_str().unwrap()).await;
        let receipt = receipt.unwrap().unwrap();
        let drawn = |unit: &str| -> u64 {
            let lines = receipt["quotas"].as_array().unwrap();
            let line = lines.iter().find(|line| line["unit"] == unit).unwrap();
            line["drawn"].as_str().unwrap().parse().unwrap()
        };
        assert_eq!(drawn("calls"), 1, "{receipt}");
        tokens += drawn("tokens");
        let said = receipt["explanation"].as_str().unwrap();
        assert!(said.contains("Covered by plan quota"), "{said}");
    }
    assert!(served.len() <= QUOTA_CALLS && tokens <= QUOTA_TOKENS);
    let is_full = served.len() == QUOTA_CALLS || tokens + most_tokens(ask) > QUOTA_TOKENS;
    assert!(is_full, "{} calls, {tokens} tokens", served.len());
    assert_eq!(control.balance(account).await.unwrap(), 0);
}

/// How many words, and what is said to who finds nothing left.
const CASES: [(usize, &str, (u16, &str)); 3] = [
    (3, "stop", (429, "plan_quota_used_up")),
    (3, "wallet", (402, "insufficient_quota")),
    (60, "stop", (429, "plan_quota_used_up")),
];

async fn one_node(database: Option<String>) {
    let served = Served::on(database.clone(), "", 0).await.unwrap();
    let file = served.gate.data().join("tollgate.db");
    let url = database.unwrap_or_else(|| format!("sqlite://{}", file.display()));
    for (number, (words, after, refusal)) in CASES.into_iter().enumerate() {
        let payer = served.payer(&format!("payer {number}"), 0).await.unwrap();
        subscribe(&url, &payer.account, after);
        let ask = ask(words);
        is_known(&payer.caller).await;
        let answers = all_at_once(std::slice::from_ref(&payer.caller), &ask).await;
        exactly_what_fits(&served.control, &payer.account, (&answers, &ask), refusal).await;
        if refusal.0 == 429 {
            let refused = answers.iter().find(|a| a.status == 429).unwrap();
            let wait = figure(refused, "retry-after").unwrap();
            assert!(wait > 60 && wait <= u64::from(YEAR_S), "{refused:?}");
            assert_eq!(refused.error()["metadata"]["limit_source"], "plan_quota");
        }
    }
    served.gate.verify_ledger().unwrap();
}

/// Waits until a node knows that the account is on a plan: its key shows quotas then, all of them
/// whole.
async fn is_known(caller: &Caller) {
    let since = Instant::now();
    loop {
        assert!(since.elapsed() < SOON, "the node does not know the plan");
        let key = caller.get("/v1/key").await.unwrap();
        let quotas = key["data"]["quotas"].as_array().unwrap();
        if !quotas.is_empty() {
            let is_whole = |quota: &Value| quota["limit"] == quota["remaining"];
            assert!(quotas.iter().all(is_whole), "{key}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_on_a_quota_of_a_hundred_on_sqlite() {
    one_node(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_on_a_quota_of_a_hundred_on_postgresql() {
    let postgres = Postgres::find_or_start().unwrap();
    one_node(Some(postgres.database().unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_on_a_quota_of_a_hundred_through_three_nodes() {
    let cluster = Cluster::start(Shape::local(3, false).unwrap())
        .await
        .unwrap();
    let control = cluster.control(0).await.unwrap();
    for (number, (words, after, refusal)) in CASES.into_iter().enumerate() {
        let payer = Payer::new(&control, &format!("payer {number}"), 0)
            .await
            .unwrap();
        subscribe(cluster.url(), &payer.account, after);
        let nodes = cluster.nodes.iter();
        let callers: Vec<Caller> = nodes.map(|node| payer.caller(node).unwrap()).collect();
        for caller in &callers {
            is_known(caller).await;
        }
        let ask = ask(words);
        let answers = all_at_once(&callers, &ask).await;
        exactly_what_fits(&control, &payer.account, (&answers, &ask), refusal).await;
    }
    cluster.verify_ledger().unwrap();
}
