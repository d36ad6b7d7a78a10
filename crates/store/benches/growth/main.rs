//! What grows with the number of accounts and calls, and what does not.
//!
//! `./just bench-growth [--short] [--rounds N] [--millis N] [--write FOLDER]`. Fills databases of
//! four sizes on SQLite and on PostgreSQL, then times the same things on all of them in turns.
//! `--write` puts the table and a plot into a folder. Ends with one line of JSON, and fails when a
//! figure of the hot path grew by more than is claimed.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::float_arithmetic,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a benchmark that cannot run has nothing to say; its figures are measured, not money"
)]

#[path = "../world/callers.rs"]
mod callers;
#[path = "../world/funded.rs"]
mod funded;
mod grown;
mod measured;
mod plot;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use self::grown::Size;
use self::measured::Grown;
use self::plot::Series;

/// How many times larger a figure of the hot path may become.
const CLAIMED: f64 = 1.10;
/// The figures of the hot path, and the size that each is compared with: settling for many accounts
/// needs many.
const HOT: [(&str, usize); 9] = [
    ("settle_hot_us", 0),
    ("settle_hot_cpu_us", 0),
    ("settle_hot_server_cpu_us", 0),
    ("settle_near_us", 1),
    ("settle_near_cpu_us", 1),
    ("settle_near_server_cpu_us", 1),
    ("settle_far_us", 1),
    ("settle_far_cpu_us", 1),
    ("settle_far_server_cpu_us", 1),
];

const fn size(accounts: i64, calls: i64) -> Size {
    Size { accounts, calls }
}

const SIZES: [Size; 4] = [
    size(1, 10_000),
    size(10_000, 10_000),
    size(1_000_000, 10_000),
    size(1_000_000, 10_000_000),
];
const SHORT: [Size; 4] = [
    size(1, 1000),
    size(1000, 1000),
    size(10_000, 1000),
    size(10_000, 100_000),
];

fn main() -> ExitCode {
    let options = Options::read();
    let sizes = if options.short { SHORT } else { SIZES };
    let mut series = Vec::new();
    let (mut bytes, mut grew, mut retention) = (json!({}), json!({}), json!({}));
    // One database after the other, so that less disk is needed.
    for database in ["sqlite", "postgres"] {
        let mut all: Vec<Grown> = sizes.iter().map(|size| make(database, *size)).collect();
        measure(&options, &mut all);
        for name in all[0].figures.keys() {
            let figures = all.iter().map(|g| median(&g.figures[name]));
            series.push(Series {
                database,
                name,
                figures: figures.collect(),
            });
        }
        grew[database] = growth(&all);
        let largest = &all[all.len() - 1];
        let size = grown::bytes(&largest.url);
        bytes[database] = json!(Runtime::new().unwrap().block_on(size));
        retention[database] = largest.retention(Duration::from_secs(10));
        eprintln!("{database}: {} {}", grew[database], retention[database]);
    }
    let others = json!({"bytes_of_the_largest": bytes, "retention_of_the_largest": retention});
    report(&options, &sizes, &series, &grew, &others)
}

/// How many times larger each figure of the hot path became: of each size beside the one that it is
/// compared with in the same round, so that a busy machine is busy for both; the median.
fn growth(all: &[Grown]) -> Value {
    let mut grew = json!({});
    for (name, base) in HOT {
        let Some(bases) = all[base].figures.get(name) else {
            continue;
        };
        let times = all.iter().skip(base).map(|grown| {
            let figures = grown.figures[name].iter().zip(bases);
            let times: Vec<f64> = figures.map(|(figure, base)| figure / base).collect();
            rounded(median(&times))
        });
        grew[name] = json!(times.collect::<Vec<f64>>());
    }
    grew
}

/// Times everything on all sizes in turns.
fn measure(options: &Options, all: &mut [Grown]) {
    let time = Duration::from_millis(options.millis);
    for round in 0..=options.rounds {
        // Each size is the first in its turn.
        let first = usize::try_from(round).unwrap() % all.len();
        for place in 0..all.len() {
            let place = (first + place) % all.len();
            let grown = &mut all[place];
            grown.settle(if round == 0 {
                Duration::from_millis(500)
            } else {
                time
            });
            grown.cold();
            grown.pages();
            if round == 0 {
                // To warm up.
                grown.figures.retain(|name, _| *name == "node_start_ms");
            }
        }
        eprintln!("round {round} of {} is over", options.rounds);
    }
}

fn make(database: &'static str, size: Size) -> Grown {
    let begun = Instant::now();
    let runtime = Runtime::new().unwrap();
    let fill = |url: &str| {
        runtime.block_on(async {
            let (store, _) = funded::open(url, None).await;
            store.migrate(|_, _, _| ()).await.unwrap();
            store.close().await;
            grown::fill(url, size).await;
        });
    };
    let grown = if database == "sqlite" {
        // Beside the build, because a temporary folder may be kept in memory.
        let mut folder = tempfile::Builder::new();
        folder.prefix("growth-");
        let folder = folder.tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let url = format!("sqlite://{}/bench.db", folder.path().display());
        fill(&url);
        Grown::open(size, &url, folder)
    } else {
        let made = testkit::postgres::database();
        let url = made.url().to_owned();
        fill(&url);
        Grown::open(size, &url, made)
    };
    let took = begun.elapsed().as_secs();
    eprintln!("{database}, {}: made in {took} s", title(size));
    grown
}

fn title(size: Size) -> String {
    format!("{} accounts, {} calls", size.accounts, size.calls)
}

fn report(
    options: &Options,
    sizes: &[Size],
    series: &[Series],
    grew: &Value,
    others: &Value,
) -> ExitCode {
    let titles: Vec<String> = sizes.iter().map(|s| title(*s)).collect();
    let broken = broken(grew);
    for what in &broken {
        eprintln!("  BROKEN: {what}");
    }
    let holds = broken.is_empty();
    let table = plot::table(&titles, series);
    eprintln!("\n{table}");
    if let Some(folder) = &options.write {
        std::fs::write(folder.join("growth.svg"), plot::svg(&titles, series)).unwrap();
        std::fs::write(folder.join("growth-table.md"), &table).unwrap();
    }
    let figures: Vec<Value> = series
        .iter()
        .map(|s| {
            let figures: Vec<f64> = s.figures.iter().map(|f| rounded(*f)).collect();
            json!({"database": s.database, "name": s.name, "figures": figures})
        })
        .collect();
    let line = json!({
        "bench": "growth",
        "sizes": titles,
        "keys": sizes.iter().map(|s| s.keys()).collect::<Vec<_>>(),
        "calls_of_the_listed_account": sizes.iter().map(|s| s.calls_of_first()).collect::<Vec<_>>(),
        "rounds": options.rounds,
        "figures": figures,
        "others": others,
        "hot_path_grew_times": grew,
        "claimed_times": CLAIMED,
        "holds": holds,
    });
    println!("{line}");
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Which figures grew by more than is claimed.
fn broken(grew: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    for (database, figures) in grew.as_object().unwrap() {
        for (name, _) in HOT {
            let times = figures.get(name).and_then(Value::as_array);
            let mut times = times.into_iter().flatten().filter_map(Value::as_f64);
            if let Some(most) = times.find(|times| *times > CLAIMED) {
                broken.push(format!(
                    "{database}, {name}: {most} times, at most {CLAIMED}"
                ));
            }
        }
    }
    broken
}

fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn rounded(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

/// A folder as it is named from the repository's root, though a benchmark runs in its crate's folder.
fn in_repository(folder: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(folder);
    assert!(
        folder.is_dir(),
        "--write: {} is no folder",
        folder.display()
    );
    folder
}

struct Options {
    short: bool,
    rounds: u64,
    millis: u64,
    write: Option<PathBuf>,
}

impl Options {
    fn read() -> Self {
        let mut options = Self {
            short: false,
            rounds: 15,
            millis: 400,
            write: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut next = || words.next().unwrap();
            match word.as_str() {
                // What `cargo bench` adds.
                "--bench" => {}
                "--short" => options.short = true,
                "--rounds" => options.rounds = next().parse().unwrap(),
                "--millis" => options.millis = next().parse().unwrap(),
                "--write" => options.write = Some(in_repository(&next())),
                other => panic!(
                    "unknown option {other}: --short, --rounds N, --millis N, --write FOLDER"
                ),
            }
        }
        options
    }
}
