//! What becomes of a call, whatever happens to it: what the caller gets, what is charged, and why.
//!
//! The table is data (`outcomes/table.rs`); this suite makes each of its rows happen, and writes
//! `docs/reference/outcomes.md` from it when `TOLLGATE_BLESS=1` is set.

#[path = "outcomes/page.rs"]
mod page;
#[path = "outcomes/table.rs"]
mod table;

use std::time::{Duration, Instant};

use acceptance::Failure;
use acceptance::audit::{self, charge_of};
use acceptance::call::{Answer, Ask, Caller, Ending};
use acceptance::control::{Control, id_of};
use acceptance::figure::text;
use acceptance::gate::Gate;
use acceptance::proof::Findings;
use serde_json::Value;
use table::{Act, Case, Charge, Expected, TABLE};

const FUNDS: i128 = 10_000_000_000;
const MAX_TOKENS: u64 = 50;
/// How long a call may take to be put on record after its client saw the end of it.
const RECORD: Duration = Duration::from_secs(20);
const CONFIG: &str = "
[limits]
upstream_head_ms = 2000
[[channel]]
name = \"simulated\"
protocol = \"simulated\"
models = [\"sim/*\"]
";

struct Suite {
    gate: Gate,
    control: Control,
    account: String,
    caller: Caller,
    newest: String,
}

/// What happened, beside what had to.
struct Happened {
    caller: String,
    row: Value,
    receipt: Value,
}

impl Suite {
    async fn start() -> Result<Self, Failure> {
        let gate = Gate::demo(None).await?.served(CONFIG, &[]).await?;
        let control = Control::sign_in(&gate).await?;
        let (account, key) = control.funded("outcomes", FUNDS).await?;
        let caller = Caller::new(gate.origin(), &key.secret)?;
        Ok(Self {
            gate,
            control,
            account,
            caller,
            newest: String::new(),
        })
    }

    async fn happen(&mut self, act: Act, ask: &Ask) -> Result<Happened, Failure> {
        let caller = match act {
            Act::Stays => seen(&self.caller.call(ask).await),
            Act::LeavesBefore => {
                self.caller
                    .leave_before_answer(ask, Duration::from_millis(200))
                    .await?;
                "nothing: it has left".to_owned()
            }
            Act::LeavesAfter(events) => {
                self.caller.leave_after(ask, events).await?;
                "the part it stayed for".to_owned()
            }
        };
        let row = self.next_row().await?;
        let id = id_of(&row)?;
        let receipt = self
            .control
            .call(&self.account, &id)
            .await?
            .ok_or("no receipt")?;
        Ok(Happened {
            caller,
            row,
            receipt,
        })
    }

    /// The call that was just made, found as the operator finds it: at the head of the list.
    async fn next_row(&mut self) -> Result<Value, Failure> {
        let deadline = Instant::now() + RECORD;
        loop {
            let newest = self.control.newest_calls(&self.account, 1).await?.pop();
            if let Some(row) = newest {
                let id = id_of(&row)?;
                if id != self.newest {
                    self.newest = id;
                    return Ok(row);
                }
            }
            if Instant::now() > deadline {
                return Err("the call is not on record".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What a caller who stays to the end sees, in the words of the table.
fn seen(answer: &Answer) -> String {
    match (&answer.ending, answer.status) {
        (Ending::Whole, 200) => "200, the answer".to_owned(),
        (Ending::Done, 200) => "200, the stream to its `[DONE]`".to_owned(),
        (Ending::Fault, 200) => {
            format!(
                "200, the stream up to there, then an error `{}`",
                answer.code()
            )
        }
        (Ending::Whole, status) => format!("{status} `{}`", answer.code()),
        _ => format!("{answer:?}"),
    }
}

/// The worst case of a call: half of the body's bytes and a template in input, the limit in output.
fn hold(ask: &Ask) -> i128 {
    let input = ask.body().len().div_ceil(2) + 32;
    i128::try_from(input).unwrap_or(i128::MAX) * 1_000 + i128::from(MAX_TOKENS) * 4_000
}

fn nanos(charge: Charge, ask: &Ask) -> i128 {
    match charge {
        Charge::Nothing => 0,
        Charge::Tokens(input, cached, output) => {
            i128::from(input) * 1_000 + i128::from(cached) * 100 + i128::from(output) * 4_000
        }
        Charge::Embedded(tokens) => i128::from(tokens) * 100,
        Charge::Hold => hold(ask),
    }
}

fn check(
    name: &str,
    expected: &Expected,
    happened: &Happened,
    ask: &Ask,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let Happened {
        caller,
        row,
        receipt,
    } = happened;
    let mut same = |what: &str, got: &str, wanted: &str| {
        findings.check(got == wanted, || {
            format!("{name}: {what}: {got}, not {wanted}; {receipt}")
        });
    };
    same("the caller", caller, expected.caller);
    for (place, call) in [("list", row), ("receipt", receipt)] {
        same(
            place,
            call["outcome"].as_str().unwrap_or("?"),
            expected.outcome,
        );
        same(
            place,
            call["source"].as_str().unwrap_or("none"),
            expected.source,
        );
        same(
            place,
            &text(charge_of(call)?),
            &text(nanos(expected.charge, ask)),
        );
    }
    let doubted = expected.charge == Charge::Hold;
    findings.check(receipt["quarantined"] == doubted, || {
        format!("{name}: quarantine: {receipt}")
    });
    Ok(())
}

fn forms(case: &Case) -> impl Iterator<Item = (bool, Expected)> {
    let whole = case.whole.map(|expected| (false, expected));
    whole
        .into_iter()
        .chain(case.streamed.map(|expected| (true, expected)))
}

#[tokio::test]
async fn every_outcome_is_charged_as_the_table_says() {
    let mut suite = Suite::start().await.unwrap();
    let mut findings = Findings::default();
    for case in TABLE {
        for (stream, expected) in forms(case) {
            let name = format!("{} ({}, stream: {stream})", case.what, case.model);
            let ask = Ask::of(case.model).streamed(stream).at_most(MAX_TOKENS);
            let happened = suite.happen(case.act, &ask).await;
            let happened = happened.unwrap_or_else(|error| panic!("{name}: {error}"));
            check(&name, &expected, &happened, &ask, &mut findings).unwrap();
        }
    }
    let Suite {
        mut gate,
        control,
        account,
        ..
    } = suite;
    let books = audit::audit(&control, &account, FUNDS, &mut findings)
        .await
        .unwrap();
    audit::receipts(&control, &account, &books.calls, &mut findings)
        .await
        .unwrap();
    gate.stop().await.unwrap();
    gate.verify_ledger().unwrap();
    assert!(findings.is_empty(), "{:#?}", findings.list());
}

#[test]
fn the_page_is_that_of_the_table() {
    let page = page::render(TABLE);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/outcomes.md");
    if std::env::var_os("TOLLGATE_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(file, &page).unwrap();
    }
    let there = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        there == page,
        "outcomes.md is not that of the table; write it with TOLLGATE_BLESS=1"
    );
}
