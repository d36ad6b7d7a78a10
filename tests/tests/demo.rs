//! A demo comes with a past: three months of customers, lived through on a date of its own.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use acceptance::figure::nanos;
use acceptance::gate::{Gate, binary};
use serde_json::Value;

/// Runs a command on a demo's folder.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut tollgate = Command::new(binary().unwrap());
    tollgate.args(arguments).arg("--data").arg(folder);
    tollgate.output().unwrap()
}

fn said(folder: &Path, arguments: &[&str]) -> String {
    let done = run(folder, arguments);
    let error = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {error}");
    String::from_utf8(done.stdout).unwrap()
}

fn account_of(folder: &Path, name: &str) -> String {
    let accounts = said(folder, &["accounts", "list", "--json"]);
    let mut accounts = accounts
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let account = accounts.find(|account| account["name"] == name);
    account.unwrap()["account"].as_str().unwrap().to_owned()
}

fn statements(folder: &Path, account: &str) -> Vec<Value> {
    let months = said(folder, &["statements", "list", "--account", account]);
    let mut months: Vec<&str> = months.lines().collect();
    months.reverse();
    let show = |month: &str| {
        let month = month.split(' ').next().unwrap();
        let shown = said(folder, &["statements", "show", "--account", account, month]);
        serde_json::from_str(&shown).unwrap()
    };
    months.into_iter().map(show).collect()
}

/// What moved by kind, and the days on which anything was used.
fn moved(statements: &[Value], kind: &str) -> (i128, usize) {
    let all = statements
        .iter()
        .flat_map(|of| of["movements"].as_array().unwrap());
    let of_kind: Vec<&Value> = all.filter(|movement| movement["kind"] == kind).collect();
    let days: BTreeSet<&str> = of_kind.iter().map(|m| m["at"].as_str().unwrap()).collect();
    let sum = of_kind.iter().map(|m| nanos(&m["amount"]).unwrap()).sum();
    (sum, days.len())
}

fn invoices(folder: &Path, account: &str) -> Vec<String> {
    let invoices = said(folder, &["invoices", "list", "--account", account]);
    invoices.lines().map(str::to_owned).collect()
}

fn proves_the_past(folder: &Path) {
    said(folder, &["ledger", "verify", "--full"]);
    let (aurora, morning) = (
        account_of(folder, "Aurora Labs"),
        account_of(folder, "晨星科技"),
    );
    let (borealis, cedar) = (
        account_of(folder, "Borealis Analytics"),
        account_of(folder, "Cedar Studio"),
    );

    // Who was upgraded in the middle of a month pays for the rest of it, and less with the coupon.
    let paid = invoices(folder, &aurora);
    assert!(paid.iter().all(|line| line.contains(" paid ")), "{paid:?}");
    let plan = said(folder, &["plans", "show", "--account", &aurora]);
    assert!(plan.contains("team version 1"), "{plan}");
    // What was given and not used has lapsed, and the months follow upon one another.
    let stated = statements(folder, &morning);
    let (lapsed, _) = moved(&stated, "expiry");
    let (used, days) = moved(&stated, "usage");
    assert!(
        lapsed < 0 && used < 0 && days > 60,
        "{lapsed} {used} {days}"
    );
    let mut before = 0;
    for of in &stated {
        assert_eq!(nanos(&of["opening"]).unwrap(), before);
        before = nanos(&of["closing"]).unwrap();
    }
    // Who forgot to pay was told, paid late, and goes on.
    let messages = said(folder, &["billing", "messages", &borealis]);
    assert!(messages.contains("payment_failed"), "{messages}");
    let plan = said(folder, &["plans", "show", "--account", &borealis]);
    assert!(plan.contains("is active"), "{plan}");
    // Who cancelled is on no plan any more.
    assert_eq!(
        run(folder, &["plans", "show", "--account", &cedar])
            .status
            .code(),
        Some(2)
    );
    // Numbers have no gap, whoever the invoices are of.
    let all = [&aurora, &morning, &borealis, &cedar].map(|account| invoices(folder, account));
    let numbers: BTreeSet<String> = all
        .iter()
        .flatten()
        .map(|line| line[..10].to_owned())
        .collect();
    let wanted: BTreeSet<String> = (1..=numbers.len()).map(|n| format!("INV-{n:06}")).collect();
    assert_eq!(numbers, wanted);
    assert!(numbers.len() >= 8, "{numbers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_comes_with_three_months_that_hold_and_begins_once() {
    let mut demo = Gate::with_past(None, 90).await.unwrap();
    let folder = demo.data();
    demo.stop().await.unwrap();
    proves_the_past(&folder);
    let accounts = said(&folder, &["accounts", "list"]);
    assert_eq!(accounts.lines().count(), 6, "{accounts}");
    let file = folder.join("credentials.json");
    let known: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(known["customer"]["email"], "customer@demo.test");

    demo.start().await.unwrap();
    demo.stop().await.unwrap();
    assert_eq!(said(&folder, &["accounts", "list"]), accounts);

    // One that was cut off before it was whole says what to do, and changes nothing.
    fs::remove_file(file).unwrap();
    let refused = run(&folder, &["demo", "--listen", "127.0.0.1:0"]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{why}");
    assert!(
        why.contains("was not finished; delete that folder"),
        "{why}"
    );
    assert_eq!(said(&folder, &["accounts", "list"]), accounts);
}
