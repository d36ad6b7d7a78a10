//! One figure everywhere: a random load, and then every place that tells a charge tells the same.

use std::collections::BTreeMap;

use acceptance::Failure;
use acceptance::audit::{self, Books, charge_of};
use acceptance::call::{Answer, Ask, Caller};
use acceptance::control::{Control, Key, id_of};
use acceptance::figure::{nanos, nanos_of_text, text};
use acceptance::gate::Gate;
use acceptance::postgres::Postgres;
use acceptance::proof::Findings;
use acceptance::seeded::Seeded;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const FUNDS: i128 = 5_000_000_000;
const KEYS: usize = 3;
const CALLS: usize = 120;
const AT_ONCE: usize = 8;
const SEED: u64 = 20_261_122;
const CONFIG: &str = "
[limits]
upstream_head_ms = 1500
[[channel]]
name = \"simulated\"
protocol = \"simulated\"
models = [\"sim/*\"]
";

/// A call, and the key it was made with.
type Made = (Ask, usize, Answer);

struct Load {
    gate: Gate,
    control: Control,
    account: String,
    keys: Vec<Key>,
    made: Vec<Made>,
}

impl Load {
    async fn run(database: Option<String>) -> Result<Self, Failure> {
        let gate = Gate::demo(database).await?.served(CONFIG, &[]).await?;
        let control = Control::sign_in(&gate).await?;
        let (account, first) = control.funded("one-figure", FUNDS).await?;
        let mut keys = vec![first];
        for number in 1..KEYS {
            keys.push(
                control
                    .create_key(&account, &format!("key-{number}"), json!({}))
                    .await?,
            );
        }
        let made = make(&gate, &keys).await?;
        Ok(Self {
            gate,
            control,
            account,
            keys,
            made,
        })
    }
}

async fn make(gate: &Gate, keys: &[Key]) -> Result<Vec<Made>, Failure> {
    let mut seeded = Seeded::new(SEED);
    let mut lanes: Vec<Vec<(Ask, usize)>> = vec![Vec::new(); AT_ONCE];
    for number in 0..CALLS {
        let key = usize::try_from(seeded.next())? % keys.len();
        lanes[number % AT_ONCE].push((ask(&mut seeded), key));
    }
    let mut tasks = JoinSet::new();
    for lane in lanes {
        let callers: Result<Vec<Caller>, Failure> = keys
            .iter()
            .map(|key| Caller::new(gate.origin(), &key.secret))
            .collect();
        let callers = callers?;
        tasks.spawn(async move {
            let mut made = Vec::new();
            for (ask, key) in lane {
                let answer = callers[key].call(&ask).await;
                made.push((ask, key, answer));
            }
            made
        });
    }
    let mut all = Vec::new();
    while let Some(made) = tasks.join_next().await {
        all.extend(made?);
    }
    Ok(all)
}

/// Any model, doing well or badly, with figures that no round number hides.
fn ask(seeded: &mut Seeded) -> Ask {
    let (tokens, seed) = (seeded.between(1, 60), seeded.next() % 1_000);
    let (cached, reasoning) = (seeded.between(0, 4), seeded.between(0, 30));
    let usual = format!("tokens={tokens}&seed={seed}&cached={cached}&reasoning={reasoning}");
    let model = match seeded.between(0, 14) {
        0..=2 => format!("sim/lorem?{usual}"),
        3 | 4 => format!("sim/echo?seed={seed}"),
        5 => format!("sim/slow?first_ms=30&chunk_ms=1&{usual}"),
        6 => format!("sim/cut?{usual}"),
        7 => format!("sim/no-usage?{usual}"),
        8 => format!("sim/zero-usage?{usual}"),
        9 => format!("sim/absurd-usage?mode=huge&{usual}"),
        10 => format!("sim/absurd-usage?mode=negative&{usual}"),
        11 => format!("sim/embedding?seed={seed}"),
        12 => format!("sim/lorem?status=500&seed={seed}"),
        _ => format!("sim/flaky?rate=40&{usual}"),
    };
    let words: Vec<String> = (0..seeded.between(1, 40))
        .map(|_| format!("word{}", seeded.next() % 1_000))
        .collect();
    let mut ask = Ask::of(model);
    ask.prompt = words.join(" ");
    ask.include_usage = seeded.percent(70);
    ask.stream = !ask.is_embedding() && seeded.percent(50);
    ask.max_tokens = (!ask.is_embedding()).then(|| seeded.between(16, 90));
    ask
}

/// What the caller was told, against the books: `usage.cost`, `usage.cost_nanos`, the header, and
/// the receipt under both addresses.
async fn check_made(
    load: &Load,
    (ask, key, answer): &Made,
    rows: &BTreeMap<String, Value>,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let id = answer
        .id
        .clone()
        .ok_or_else(|| format!("no id: {answer:?}"))?;
    let Some(row) = rows.get(&id) else {
        findings.check(false, || {
            format!("{id} is not on record: {ask:?} {answer:?}")
        });
        return Ok(());
    };
    let charge = charge_of(row)?;
    let mut same = |what: &str, figure: i128| {
        findings.check(figure == charge, || {
            format!(
                "{id} {ask:?}: {what} {}, charged {}",
                text(figure),
                text(charge)
            )
        });
    };
    let shows = answer.is_complete() && (!ask.stream || ask.include_usage);
    if shows {
        let shown = answer
            .cost_nanos()
            .ok_or_else(|| format!("no cost_nanos: {answer:?}"))?;
        same("usage.cost_nanos", shown);
        let cost = answer
            .cost()
            .ok_or_else(|| format!("no cost: {answer:?}"))?;
        same("usage.cost", nanos_of_text(cost)?);
    }
    if answer.is_complete() && !ask.stream {
        let header = answer
            .cost_header()
            .ok_or_else(|| format!("no header: {answer:?}"))?;
        same("x-tollgate-cost", nanos_of_text(header)?);
    }
    let caller = Caller::new(load.gate.origin(), &load.keys[*key].secret)?;
    let receipt = caller.receipt(&id).await?;
    same(
        "the receipt's charge",
        nanos(&receipt["receipt"]["charge"])?,
    );
    same(
        "the receipt's cost_nanos",
        receipt["cost_nanos"].as_i64().unwrap_or(-1).into(),
    );
    let owner = row["key"] == load.keys[*key].id.as_str();
    findings.check(owner, || format!("{id} is on the wrong key: {row}"));
    Ok(())
}

/// The usage of a group is the sum of its calls.
async fn check_groups(
    load: &Load,
    books: &Books,
    group: &str,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    for call in &books.calls {
        let name = call[group].as_str().ok_or("a call without its group")?;
        *sums.entry(name.to_owned()).or_default() += charge_of(call)?;
    }
    let mut lines = BTreeMap::new();
    for line in load.control.usage(&load.account, group).await? {
        let name = line["group"].as_str().ok_or("usage without its group")?;
        lines.insert(name.to_owned(), charge_of(&line)?);
    }
    findings.check(sums == lines, || {
        format!("by {group}: calls {sums:?}, usage {lines:?}")
    });
    Ok(())
}

async fn everything_agrees(load: &Load) -> Result<Findings, Failure> {
    let mut findings = Findings::default();
    let found = &mut findings;
    let books = audit::audit(&load.control, &load.account, FUNDS, found).await?;
    let rows: Result<BTreeMap<String, Value>, Failure> = books
        .calls
        .iter()
        .map(|row| Ok((id_of(row)?, row.clone())))
        .collect();
    let rows = rows?;
    found.check(rows.len() == CALLS, || {
        format!("{} calls on record", rows.len())
    });
    found.check(books.charged > 0, || {
        "nothing was charged at all".to_owned()
    });
    for made in &load.made {
        check_made(load, made, &rows, found).await?;
    }
    audit::receipts(&load.control, &load.account, &books.calls, found).await?;
    for group in ["model", "key"] {
        check_groups(load, &books, group, found).await?;
    }
    let caller = Caller::new(load.gate.origin(), &load.keys[0].secret)?;
    let credits = caller.get("/v1/credits").await?.to_string();
    found.check(credits.contains("total_usage"), || {
        format!("no credits: {credits}")
    });
    Ok(findings)
}

async fn one_figure(database: Option<String>) -> Result<Findings, Failure> {
    let mut load = Load::run(database).await?;
    let findings = everything_agrees(&load).await?;
    load.gate.stop().await?;
    load.gate.verify_ledger()?;
    Ok(findings)
}

#[tokio::test]
async fn one_figure_everywhere_on_sqlite() {
    let findings = one_figure(None).await.unwrap();
    assert!(findings.is_empty(), "{:#?}", findings.list());
}

#[tokio::test]
async fn one_figure_everywhere_on_postgres() {
    let server = Postgres::find_or_start().unwrap();
    let findings = one_figure(Some(server.database().unwrap())).await.unwrap();
    assert!(findings.is_empty(), "{:#?}", findings.list());
}
