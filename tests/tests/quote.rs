//! `tollgate quote` as a command: files and streams, prices from wherever they are, exit codes.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use acceptance::call::Ask;
use acceptance::gate::binary;
use acceptance::served::Served;
use serde_json::{Value, json};
use tempfile::TempDir;

const SIMULATED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/simulated.jsonl");
/// What a change of prices may take to reach a node.
const SOON: Duration = Duration::from_secs(20);
const CHAT: &str = r#"{"model":"gpt-4o","usage":{"input":1000}}"#;

fn quote(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(binary().unwrap())
        .arg("quote")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that does not read its input is no fault of this test.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn lines(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_stream_is_answered_in_order_and_a_bad_line_is_said_by_the_exit_code() {
    let folder = TempDir::new().unwrap();
    let done = quote(folder.path(), &["--json"], &format!("{CHAT}\n"));
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert_eq!(lines(&done.stdout)[0]["amount"], "0.0025");
    let summary: Value = serde_json::from_str(said(&done).trim()).unwrap();
    assert_eq!(summary["prices"], "the shipped catalogue");
    assert_eq!(
        (&summary["rated"], &summary["failed"]),
        (&1.into(), &0.into())
    );
    assert_eq!(summary["totals"][0]["amount"], "0.0025");
    let mixed = format!("{CHAT}\n\n{{\"model\":\"gpt-4o\"}}\n{CHAT}");
    let done = quote(folder.path(), &[], &mixed);
    assert_eq!(done.status.code(), Some(1));
    assert!(
        said(&done).contains("1 of 3 lines could not be rated"),
        "{}",
        said(&done)
    );
    let answers = lines(&done.stdout);
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0], answers[2]);
    assert_eq!(answers[1]["line"], 3);
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
}

#[test]
fn files_are_read_and_written_and_never_over_one_another() {
    let folder = TempDir::new().unwrap();
    let run = |arguments: &[&str]| quote(folder.path(), arguments, "");
    let usages = folder.path().join("usages.jsonl");
    fs::write(&usages, format!("{CHAT}\n").repeat(10_000)).unwrap();
    let done = run(&["--input", "usages.jsonl", "--output", "charges.jsonl"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let summary = String::from_utf8(done.stdout).unwrap();
    assert!(
        summary.starts_with("10000 usages, 10000 rated, 0 not; 25.00 USD;"),
        "{summary}"
    );
    let charges = lines(&fs::read(folder.path().join("charges.jsonl")).unwrap());
    assert_eq!(charges.len(), 10_000);
    let over = run(&["--input", "usages.jsonl", "--output", "./usages.jsonl"]);
    assert_eq!(over.status.code(), Some(2));
    assert!(
        said(&over).contains("would be written over"),
        "{}",
        said(&over)
    );
    assert_eq!(fs::read_to_string(&usages).unwrap().lines().count(), 10_000);
    let missing = run(&["--input", "nothing.jsonl"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(
        said(&missing).contains("cannot read nothing.jsonl"),
        "{}",
        said(&missing)
    );
}

#[test]
fn prices_come_from_where_they_are_said_to_be() {
    let folder = TempDir::new().unwrap();
    let simulated = r#"{"model":"sim/echo","usage":{"input":1000}}"#;
    let from_file = quote(folder.path(), &["--prices", SIMULATED], simulated);
    assert_eq!(from_file.status.code(), Some(0), "{}", said(&from_file));
    let unknown = quote(folder.path(), &["--prices", SIMULATED], CHAT);
    assert_eq!(unknown.status.code(), Some(1));
    let absent = quote(folder.path(), &["--database", "sqlite://absent.db"], CHAT);
    assert_eq!(absent.status.code(), Some(2));
    assert!(
        said(&absent).contains("no database at absent.db"),
        "{}",
        said(&absent)
    );
    let both = quote(folder.path(), &["--prices", SIMULATED, "--data", "."], CHAT);
    assert_eq!(both.status.code(), Some(2));
    let imported = Command::new(binary().unwrap())
        .args(["prices", "import", SIMULATED])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(imported.status.success(), "{}", said(&imported));
    let from_database = quote(folder.path(), &["--json"], simulated);
    assert_eq!(from_database.stdout, from_file.stdout);
    assert!(
        said(&from_database).contains("the database"),
        "{}",
        said(&from_database)
    );
    // What the database does not sell is not quoted from elsewhere.
    assert_eq!(quote(folder.path(), &[], CHAT).status.code(), Some(1));
}

#[test]
fn an_account_is_one_that_is_there() {
    let folder = TempDir::new().unwrap();
    let run = |arguments: &[&str]| quote(folder.path(), arguments, CHAT);
    let id = "acc_0001fv5kz4y00";
    let nowhere = run(&["--account", id]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(
        said(&nowhere).contains("no database at tollgate.db"),
        "{}",
        said(&nowhere)
    );
    let file = run(&["--account", id, "--prices", SIMULATED]);
    assert_eq!(file.status.code(), Some(2), "{}", said(&file));
    let imported = Command::new(binary().unwrap())
        .args(["prices", "import", SIMULATED])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(imported.status.success(), "{}", said(&imported));
    for (account, words) in [(id, "accounts list"), ("me", "is not an account id")] {
        let done = run(&["--account", account]);
        assert_eq!(done.status.code(), Some(2));
        assert!(said(&done).contains(words), "{}", said(&done));
        assert!(done.stdout.is_empty(), "nothing is quoted to nobody");
    }
}

#[tokio::test]
async fn an_account_is_quoted_what_the_api_quotes_it() {
    let served = Served::start("", 1_000_000_000_000).await.unwrap();
    let payer = &served.payer;
    let cost = async || {
        let answer = payer.caller.call(&Ask::of("sim/echo")).await;
        answer.cost_nanos().unwrap()
    };
    let list = cost().await;
    let terms = json!({"currency": "USD", "measure": "calls", "window": "lifetime", "pricing":
        {"graduated": [{"up_to": 1, "price": {"discount": "0"}}, {"price": {"discount": "50"}}]}});
    let rules = json!({
        "sale": [{"audience": payer.account, "models": "sim/*", "markup": "3"}],
        "tiers": [{"audience": payer.account, "models": "sim/*", "terms": terms}],
    });
    fs::write(served.gate.folder().join("rules.json"), rules.to_string()).unwrap();
    let command = |arguments: &[&str]| {
        let done = served.gate.command(arguments).unwrap();
        assert_eq!(done.status, Some(0), "{arguments:?}: {}", done.error);
        done
    };
    command(&["prices", "import", "rules.json", "--confirm"]);
    let since = Instant::now();
    // Three times the list price less half of it, once the first call is over.
    while cost().await * 2 != list * 3 {
        assert!(since.elapsed() < SOON, "the rules do not come to hold");
    }
    let usage = json!({"model": "sim/echo", "usage": {"input": 1000, "output": 200}});
    fs::write(
        served.gate.folder().join("usages.jsonl"),
        format!("{usage}\n{usage}\n"),
    )
    .unwrap();
    let account = &payer.account;
    let done = command(&["quote", "--account", account, "--input", "usages.jsonl"]);
    assert!(
        done.error.contains(&format!("as {account} pays")),
        "{}",
        done.error
    );
    let answers = lines(done.output.as_bytes());
    assert_eq!(answers[0], answers[1], "each usage by itself");
    let path = format!("prices/quote?account={account}");
    let quoted = served.control.send(&path, None, &usage).await.unwrap();
    assert_eq!(answers[0]["amount"], quoted["total"]["amount"], "{quoted}");
    assert_eq!(answers[0]["list"], quoted["list"]["amount"]);
    assert_eq!(answers[0]["tiers"], quoted["tiers"]);
    assert_eq!(answers[0]["rule"], quoted["price"]["rule"]);
    let anybody = command(&["quote", "--input", "usages.jsonl"]);
    let anybody = &lines(anybody.output.as_bytes())[0];
    assert!(anybody.get("rule").is_none() && anybody.get("tiers").is_none());
    // A thousand at $1 a million and 200 at $4.
    assert_eq!(anybody["amount"], "0.0018");
    assert_eq!(answers[0]["amount"], "0.0027");
}
