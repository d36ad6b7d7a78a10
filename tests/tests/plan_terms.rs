//! What else a plan says than its quotas, kept on a live system: what it takes off prices, and how
//! much it lets an account send.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::time::{Duration, Instant};

use acceptance::call::{Answer, Ask};
use acceptance::served::{Payer, Served};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// What a plan may take to be known to the node.
const SOON: Duration = Duration::from_secs(20);
const FUNDS: i128 = 5_000_000_000;

/// Puts an account on a plan that says this besides.
fn subscribe(served: &Served, payer: &Payer, code: &str, more: Value) {
    let mut terms = json!({ "currency": "USD", "price": 0, "billing": { "every": "P1M" } });
    let (terms_of, Value::Object(more)) = (terms.as_object_mut().unwrap(), more) else {
        unreachable!("terms are an object");
    };
    terms_of.extend(more);
    let plan = json!({ "code": code, "name": code, "terms": terms });
    let file = served.gate.folder().join("plan.json");
    std::fs::write(&file, plan.to_string()).unwrap();
    run(served, &["plans", "publish", file.to_str().unwrap()]);
    let who = ["--account", &payer.account, "--plan", code];
    run(served, &[&["plans", "subscribe"][..], &who].concat());
}

fn run(served: &Served, arguments: &[&str]) {
    let done = served.gate.run(arguments).unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {said}");
}

/// Calls until the node has heard of a plan, which the answer shows.
async fn once(payer: &Payer, ask: &Ask, shows: impl Fn(&Answer) -> bool) -> Answer {
    let began = Instant::now();
    loop {
        let answer = payer.caller.call(ask).await;
        if shows(&answer) {
            return answer;
        }
        assert!(began.elapsed() < SOON, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plans_discount_is_taken_off_everywhere() {
    let served = Served::start("", FUNDS).await.unwrap();
    let (payer, ask) = (&served.payer, Ask::of("sim/echo").at_most(50));
    let full = payer.caller.call(&ask).await.cost_nanos().unwrap();
    subscribe(&served, payer, "club", json!({ "discount": "20" }));
    let less = full * 4 / 5;
    assert_eq!(less * 5, full * 4, "a price that a fifth comes off evenly");
    let answer = once(payer, &ask, |answer| answer.cost_nanos() != Some(full)).await;
    assert_eq!(answer.cost_nanos(), Some(less), "{answer:?}");

    // The receipt says so, and the house pays what it paid before.
    let calls = served.control.calls(&payer.account).await.unwrap();
    let ids = calls.iter().map(|call| call["id"].as_str().unwrap());
    let mut costs = Vec::new();
    for (number, id) in ids.enumerate() {
        let receipt = served
            .control
            .call(&payer.account, id)
            .await
            .unwrap()
            .unwrap();
        costs.push(receipt["cost"].clone());
        let is_last = number == 0;
        assert_eq!(receipt["price"]["discount"] == "20", is_last, "{receipt}");
        let said = receipt["explanation"].as_str().unwrap();
        assert_eq!(said.contains("took 20 % off"), is_last, "{said}");
    }
    assert!(
        costs
            .iter()
            .all(|cost| cost == &costs[0] && !cost.is_null())
    );

    // So do the price list, the models and a quote, each at the lower price.
    let path = format!("prices/sim%2Fecho?account={}", payer.account);
    let listed = served.control.get(&path).await.unwrap();
    assert_eq!(listed["yours"]["discount"], "20", "{listed}");
    let rate = |price: &Value| {
        price["rates"][0]["per_million_tokens"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (all, own) = (rate(&listed["price"]), rate(&listed["yours"]["price"]));
    assert!(own.parse::<f64>().unwrap() < all.parse::<f64>().unwrap());
    let usage = json!({ "model": "sim/echo", "usage": { "input": 1000 } });
    let lines = served.gate.folder().join("usage.jsonl");
    std::fs::write(&lines, usage.to_string()).unwrap();
    let who = [
        "quote",
        "--account",
        &payer.account,
        "--input",
        lines.to_str().unwrap(),
    ];
    let quoted = served.gate.run(&who).unwrap();
    let quoted: Value = serde_json::from_slice(&quoted.stdout).unwrap();
    assert_eq!(quoted["discount"], "20", "{quoted}");

    // The books derive each charge from what is on record.
    run(&served, &["ledger", "verify"]);

    // With the plan the discount ends.
    run(&served, &["plans", "end", "--account", &payer.account]);
    once(payer, &ask, |answer| answer.cost_nanos() == Some(full)).await;
}

fn figure(answer: &Answer, header: &str) -> Option<u64> {
    answer.headers.get(header)?.to_str().ok()?.parse().ok()
}

fn is_limited(answer: &Answer, by: &str) -> bool {
    answer.code() == "rate_limit_exceeded" && answer.error()["metadata"]["limit"] == by
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_let_in_than_a_plan_lets_an_account_send() {
    let served = Served::start("", FUNDS).await.unwrap();
    let ask = Ask::of("sim/echo").at_most(50);

    // Requests: of many at once so many are served, and the others are told when to come again.
    let payer = &served.payer;
    let limits = json!({ "requests_per_minute": 5 });
    subscribe(&served, payer, "five", json!({ "rate_limits": limits }));
    let header = "x-ratelimit-remaining-requests";
    let first = once(payer, &ask, |answer| figure(answer, header).is_some()).await;
    assert_eq!(figure(&first, "x-ratelimit-limit-requests"), Some(5));
    assert_eq!(figure(&first, header), Some(4), "{first:?}");
    let answers = at_once(payer, &ask, 40).await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.is_complete());
    assert_eq!(done.len(), 4);
    for answer in &refused {
        assert_eq!(answer.status, 429, "{answer:?}");
        assert!(is_limited(answer, "requests_per_minute"), "{answer:?}");
        let wait = figure(answer, "retry-after").unwrap();
        assert!((1..=62).contains(&wait), "{answer:?}");
    }

    // Calls at once: the others are over soon, so that a client tries again by itself.
    let payer = served.payer("two-at-once", FUNDS).await.unwrap();
    let limits = json!({ "concurrent_calls": 2 });
    subscribe(&served, &payer, "two", json!({ "rate_limits": limits }));
    let slow = Ask::of("sim/slow?first_ms=500").at_most(50);
    until_limited(&payer, &slow, "concurrent_calls").await;
    let answers = at_once(&payer, &slow, 10).await;
    assert_eq!(answers.iter().filter(|a| a.is_complete()).count(), 2);
    let refused = answers.iter().find(|a| a.status == 429).unwrap();
    assert_eq!(figure(refused, "retry-after"), Some(1), "{refused:?}");
    assert!(payer.caller.call(&ask).await.is_complete());

    // Tokens: what a call may come to counts while it runs, and what it came to afterwards.
    let payer = served.payer("tokens", FUNDS).await.unwrap();
    let limits = json!({ "tokens_per_minute": 300 });
    subscribe(&served, &payer, "tokens", json!({ "rate_limits": limits }));
    let header = "x-ratelimit-remaining-tokens";
    once(&payer, &ask, |answer| figure(answer, header).is_some()).await;
    let mut came_to = 0;
    let refused = loop {
        let answer = payer.caller.call(&ask).await;
        if answer.status == 429 {
            break answer;
        }
        came_to += answer.json()["usage"]["total_tokens"].as_u64().unwrap();
        assert!(came_to <= 300);
    };
    assert!(is_limited(&refused, "tokens_per_minute"), "{refused:?}");

    // Nothing was charged to whom nothing was served.
    run(&served, &["ledger", "verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plans_call_limit_bounds_calls_whatever_pays_them() {
    let served = Served::start("[clock]\nmovable = true\n", FUNDS)
        .await
        .unwrap();
    let (payer, ask) = (&served.payer, Ask::of("sim/echo").at_most(50));
    let quota = json!({ "models": "*", "unit": "calls", "amount": 3, "window": "period" });
    let rates = json!({ "requests_per_minute": 6000 });
    let terms = json!({ "call_limit": 10, "quotas": [quota], "rate_limits": rates });
    subscribe(&served, payer, "ten", terms);
    let header = "x-tollgate-quota-limit-calls";
    let first = once(payer, &ask, |answer| figure(answer, header).is_some()).await;
    assert_eq!(first.cost_nanos(), Some(0), "{first:?}");
    let mut answers = at_once(payer, &ask, 60).await;
    answers.push(first);
    let (done, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.is_complete());
    // What others held for a moment may have been refused too: who comes again gets the rest.
    let mut done = done.len();
    while done < 10 {
        assert!(payer.caller.call(&ask).await.is_complete());
        done += 1;
    }
    assert_eq!(done, 10);
    let free = answers.iter().filter(|a| a.cost_nanos() == Some(0));
    assert_eq!(free.count(), 3, "the quota gives what it says");
    assert!(refused.iter().all(|a| a.status == 429), "{refused:?}");
    let last = payer.caller.call(&ask).await;
    assert_eq!(
        (last.status, &*last.code()),
        (429, "plan_call_limit_reached"),
        "{last:?}"
    );
    assert!(figure(&last, "retry-after").unwrap() > 60, "{last:?}");
    assert_eq!(last.error()["metadata"]["limit_source"], "plan_call_limit");
    let key = payer.caller.get("/v1/key").await.unwrap();
    let limit = &key["data"]["call_limit"];
    assert_eq!(
        (&limit["limit"], &limit["remaining"]),
        (&json!("10"), &json!("0")),
        "{key}"
    );
    let path = format!("accounts/{}/subscription", payer.account);
    let subscription = served.control.get(&path).await.unwrap();
    assert_eq!(&subscription["call_limit"], limit, "{subscription}");
    let rates = &subscription["rate_limits"];
    assert_eq!(rates["requests_per_minute"], 6000, "{subscription}");
    assert_eq!(rates["concurrent_calls"], Value::Null, "{subscription}");
    run(&served, &["ledger", "verify"]);

    // With the next period it begins anew.
    run(&served, &["clock", "advance", "--by", "32d"]);
    once(payer, &ask, Answer::is_complete).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_quota_has_left_comes_on_top_in_the_next_period() {
    let served = Served::start("[clock]\nmovable = true\n", FUNDS)
        .await
        .unwrap();
    let (payer, ask) = (&served.payer, Ask::of("sim/echo").at_most(50));
    let quota = json!({ "models": "*", "unit": "calls", "amount": 5, "window": "period",
                        "rollover": 2 });
    subscribe(&served, payer, "rolls", json!({ "quotas": [quota] }));
    let header = "x-tollgate-quota-limit-calls";
    let first = once(payer, &ask, |answer| figure(answer, header).is_some()).await;
    assert_eq!(
        (first.cost_nanos(), figure(&first, header)),
        (Some(0), Some(5))
    );
    run(&served, &["clock", "advance", "--by", "32d"]);
    // Without a call, which would draw the older window until the node has heard of the date.
    quota_of(payer, ["7", "2", "7"]).await;
    let next = payer.caller.call(&ask).await;
    let figures = [header, "x-tollgate-quota-remaining-calls"].map(|name| figure(&next, name));
    assert_eq!(figures, [Some(7), Some(6)]);
    quota_of(payer, ["7", "2", "6"]).await;
    let free = |answers: &[Answer]| answers.iter().filter(|a| a.cost_nanos() == Some(0)).count();
    assert_eq!(free(&at_once(payer, &ask, 20).await), 6, "and no more");
    run(&served, &["ledger", "verify"]);

    // Nothing of what was used comes, and nothing of what came before.
    run(&served, &["clock", "advance", "--by", "32d"]);
    quota_of(payer, ["5", "0", "5"]).await;
    run(&served, &["ledger", "verify"]);
}

/// Looks until the limit of the quota, what of it rolled over and what is left are these.
async fn quota_of(payer: &Payer, figures: [&str; 3]) {
    let began = Instant::now();
    loop {
        let key = payer.caller.get("/v1/key").await.unwrap();
        let quota = &key["data"]["quotas"][0];
        let seen = ["limit", "rolled_over", "remaining"].map(|name| quota[name].clone());
        if seen == figures.map(Value::from) {
            return;
        }
        assert!(began.elapsed() < SOON, "{key}");
    }
}

async fn at_once(payer: &Payer, ask: &Ask, calls: usize) -> Vec<Answer> {
    let mut running = JoinSet::new();
    for _ in 0..calls {
        let (caller, ask) = (payer.caller.clone(), ask.clone());
        running.spawn(async move { caller.call(&ask).await });
    }
    running.join_all().await
}

/// Calls many at once until the node has heard of a limit.
async fn until_limited(payer: &Payer, ask: &Ask, by: &str) {
    let began = Instant::now();
    while !at_once(payer, ask, 4)
        .await
        .iter()
        .any(|a| is_limited(a, by))
    {
        assert!(began.elapsed() < SOON, "no limit is known");
    }
}
