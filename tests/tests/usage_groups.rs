//! Usage by plan, quota and member on a live system: what calls said is what the totals say.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::time::{Duration, Instant};

use acceptance::call::{Ask, Caller};
use acceptance::control::Control;
use acceptance::served::Served;
use reqwest::Method;
use serde_json::{Value, json};

/// What a plan may take to be known to the node.
const SOON: Duration = Duration::from_secs(20);
const FUNDS: i128 = 5_000_000_000;

fn run(served: &Served, arguments: &[&str]) -> String {
    let done = served.gate.run(arguments).unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {said}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// Puts the account on a plan that gives two calls, and so many tokens.
fn subscribe(served: &Served) {
    let quota = |unit: &str, amount: u32| json!({ "models": "sim/*", "unit": unit, "amount": amount, "window": "subscription" });
    let terms = json!({
        "currency": "USD", "price": 0, "billing": { "every": "P1M" }, "after_quota": "wallet",
        "quotas": [quota("calls", 2), quota("tokens", 100_000)],
    });
    let plan = json!({ "code": "two", "name": "Two", "terms": terms });
    let file = served.gate.folder().join("plan.json");
    std::fs::write(&file, plan.to_string()).unwrap();
    run(served, &["plans", "publish", file.to_str().unwrap()]);
    let who = ["--account", &served.payer.account, "--plan", "two"];
    run(served, &[&["plans", "subscribe"][..], &who].concat());
}

/// A member of the account and somebody who has a key of that member.
async fn member(served: &Served, email: &str) -> (String, Caller) {
    let (control, account) = (&served.control, &served.payer.account);
    let new = json!({ "email": email, "password": "correct horse battery" });
    let user = control.send("users", None, &new).await.unwrap();
    let id = user["id"].as_str().unwrap().to_owned();
    let key = json!({ "name": "k", "member": id });
    let path = format!("accounts/{account}/keys");
    let refused = control.ask(Method::POST, &path, None, Some(&key)).await;
    let (status, said) = refused.unwrap();
    assert_eq!(
        (status, &said["errors"][0]["code"]),
        (422, &json!("no_member")),
        "{said}"
    );
    let path = format!("accounts/{account}/members/{id}");
    let role = json!({ "role": "member" });
    let added = control.ask(Method::PUT, &path, None, Some(&role)).await;
    assert_eq!(added.unwrap().0, 200);
    let create = ["keys", "create", "--account", account, "--member", email];
    let secret = run(served, &create);
    (id, Caller::new(served.gate.origin(), &secret).unwrap())
}

async fn usage(control: &Control, account: &str, group: &str) -> (Vec<Value>, Value) {
    let path = format!("accounts/{account}/usage?group_by={group}");
    let mut usage = control.get(&path).await.unwrap();
    let total = usage["total"].take();
    (usage["data"].as_array().unwrap().clone(), total)
}

/// Calls until the node has heard of the plan: then it costs nothing. Says how many it had to pay.
async fn calls_until_covered(caller: &Caller, ask: &Ask) -> usize {
    let began = Instant::now();
    let mut paid = 0;
    loop {
        let answer = caller.call(ask).await;
        assert!(began.elapsed() < SOON, "{answer:?}");
        if answer.cost_nanos() == Some(0) {
            return paid;
        }
        paid += 1;
    }
}

/// What was called: every call is as dear as the others, and the plan paid two of three.
struct Seen<'a> {
    control: &'a Control,
    account: &'a str,
    total: Value,
    /// Calls that were under no plan.
    unplanned: usize,
    cost: i128,
}

impl Seen<'_> {
    fn money(&self, calls: i128) -> String {
        let text = acceptance::figure::text(self.cost * calls);
        text.trim_end_matches('0').to_owned()
    }

    async fn by_plan(&self) {
        let (lines, sum) = usage(self.control, self.account, "plan").await;
        assert_eq!((lines.len(), &sum), (2, &self.total), "{lines:?}");
        let plan = &lines[0];
        assert_eq!(plan["plan"], "two", "{plan}");
        assert_eq!((&plan["version"], &plan["calls"]), (&json!(1), &json!(3)));
        assert_eq!(plan["charge"]["amount"], self.money(1), "{plan}");
        assert_eq!(plan["covered"]["amount"], self.money(2), "{plan}");
        assert_eq!(lines[1]["group"], "none");
        assert_eq!(lines[1]["calls"], self.unplanned);
    }

    async fn by_quota(&self) {
        let (lines, sum) = usage(self.control, self.account, "quota").await;
        assert_eq!((lines.len(), &sum), (3, &self.total), "{lines:?}");
        let drawn = |unit: &str| {
            let mut of = lines.iter().filter(|line| line["quota"]["unit"] == unit);
            let line = of.next().unwrap();
            assert_eq!((&line["calls"], &line["plan"]), (&json!(2), &json!("two")));
            assert_eq!(line["covered"]["amount"], self.money(2), "{line}");
            let count = |of: &str| line[of].as_u64().unwrap();
            let drawn: u64 = line["quota"]["drawn"].as_str().unwrap().parse().unwrap();
            (drawn, count("prompt_tokens") + count("answer_tokens"))
        };
        assert_eq!(drawn("calls").0, 2);
        let (tokens, of_calls) = drawn("tokens");
        assert_eq!(tokens, of_calls);
        assert_eq!(lines[2]["group"], "none");
        assert_eq!(lines[2]["calls"], self.unplanned + 1);
    }

    async fn by_member(&self, ada: &str) {
        let (lines, sum) = usage(self.control, self.account, "member").await;
        assert_eq!((lines.len(), &sum), (2, &self.total), "{lines:?}");
        assert_eq!(
            (&lines[0]["group"], &lines[1]["group"]),
            (&json!(ada), &json!("none"))
        );
        assert_eq!(lines[0]["email"], "ada@example.com");
        // The other one made the first call, before there was a plan.
        assert_eq!(
            (&lines[0]["calls"], &lines[1]["calls"]),
            (&json!(self.unplanned + 2), &json!(1))
        );
    }

    async fn as_a_file(&self) {
        let path = format!("accounts/{}/usage?group_by=quota&format=csv", self.account);
        let file = String::from_utf8(self.control.file(&path).await.unwrap()).unwrap();
        let lines: Vec<&str> = file.lines().collect();
        let columns = "currency,plan,version,covered,models,unit,window,drawn";
        assert!(lines[0].ends_with(columns), "{file}");
        let covered = format!(",USD,two,1,{},sim/*,", self.money(2));
        assert!(lines[1].contains(&covered), "{file}");
        let (none, empty) = ("none,", ",USD,,,,,,,");
        assert!(
            lines[3].starts_with(none) && lines[3].ends_with(empty),
            "{file}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_told_by_plan_quota_and_member() {
    let served = Served::start("", FUNDS).await.unwrap();
    let (control, account) = (&served.control, &served.payer.account);
    let ask = Ask::of("sim/echo").at_most(50);
    let (ada, caller) = member(&served, "ada@example.com").await;
    let cost = served.payer.caller.call(&ask).await.cost_nanos().unwrap();
    assert!(cost > 0);
    subscribe(&served);
    let before = calls_until_covered(&caller, &ask).await;
    let second = caller.call(&ask).await;
    assert_eq!(second.cost_nanos(), Some(0), "{second:?}");
    let third = caller.call(&ask).await;
    assert_eq!(third.cost_nanos(), Some(cost), "{third:?}");
    let (_, total) = usage(control, account, "total").await;
    assert_eq!(total["calls"], before + 4, "{total}");
    let seen = Seen {
        control,
        account,
        total,
        unplanned: before + 1,
        cost,
    };
    seen.by_plan().await;
    seen.by_quota().await;
    seen.by_member(&ada).await;
    seen.as_a_file().await;
    run(&served, &["ledger", "verify"]);
}
