//! Settlements a second made durable, beside TPC-B of `pgbench` on the same PostgreSQL.
//!
//! `./just bench-settle [--seconds N] [--clients N] [--rounds N]`. A caller settles one call after
//! the other, as a request does, through the store that the server uses. Beside them runs what the
//! server runs beside calls: on SQLite what was settled is put into its accounts' lists, as much at a
//! time and as often. The ways take turns, so that a machine that slows down slows all of them. Ends with one line of JSON, and fails when a
//! claim does not hold or the books do not.
//!
//! `--only postgres/many_accounts` times that way alone, for a profile; nothing is compared then.
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
    clippy::disallowed_methods,
    reason = "a benchmark that cannot run has nothing to say; its figures are measured, not money"
)]

#[path = "../world/callers.rs"]
mod callers;
#[path = "../world/funded.rs"]
mod funded;
mod pgbench;
mod scene;
mod server;

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use self::callers::Seen;
use self::pgbench::TpcB;
use self::scene::Scene;

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many accounts are "many".
const ACCOUNTS: i64 = 10_000;
/// How many calls end at once.
const CALLERS: usize = 4096;
/// What is claimed, of both comparisons.
const TIMES: f64 = 10.0;

/// A way to settle, and what its rounds showed.
struct Way {
    database: &'static str,
    name: &'static str,
    scene: Scene,
    callers: usize,
    rounds: Vec<Seen>,
}

fn main() -> ExitCode {
    let options = Options::read();
    let time = Duration::from_secs(options.seconds);
    eprintln!("setting up: TPC-B, and books with 1 and with {ACCOUNTS} accounts on both databases");
    let tpcb = options.only.is_none().then(|| TpcB::new(options.clients));
    let mut ways = Vec::new();
    for database in ["postgres", "sqlite"] {
        for (name, accounts, callers, batch) in [
            ("many_accounts", ACCOUNTS, CALLERS, None),
            ("hot_account", 1, CALLERS, None),
            // One at a time: what a server does that commits each call by itself, without waiting
            // for locks that others hold.
            ("commit_per_settlement", 1, 1, Some(1)),
        ] {
            if !options.takes(database, name) {
                continue;
            }
            ways.push(Way {
                database,
                name,
                scene: open(database, accounts, batch),
                callers,
                rounds: Vec::new(),
            });
        }
    }
    for way in &ways {
        way.scene.settle(way.callers, Duration::from_secs(1));
    }
    let mut tps = Vec::new();
    for round in 1..=options.rounds {
        if let Some(tpcb) = &tpcb {
            tps.push(tpcb.run(options.seconds));
            eprintln!("round {round}: TPC-B {:.0}/s", tps[tps.len() - 1]);
        }
        for way in &mut ways {
            let seen = way.scene.settle(way.callers, time);
            let (database, name, rate) = (way.database, way.name, seen["per_second"]);
            eprintln!("round {round}: {database}, {name}: {rate:.0} settlements/s");
            way.rounds.push(seen);
        }
    }
    eprintln!("proving the books");
    let broken = prove(&ways);
    let Some(tpcb) = tpcb else {
        for way in &ways {
            let line =
                json!({"way": format!("{}/{}", way.database, way.name), "seen": way.figures()});
            println!("{line}");
        }
        return ExitCode::from(u8::from(!broken.is_empty()));
    };
    report(&options, &tpcb, &tps, &ways, &broken)
}

/// What is wrong with the books, of all ways at once: those of a hot account take a while.
fn prove(ways: &[Way]) -> Vec<String> {
    std::thread::scope(|scope| {
        let proofs = ways.iter().map(|way| scope.spawn(|| way.scene.broken()));
        let proofs: Vec<_> = proofs.collect();
        let found = proofs.into_iter().map(|proof| proof.join().unwrap());
        found.flatten().collect()
    })
}

fn open(database: &str, accounts: i64, batch: Option<usize>) -> Scene {
    if database == "sqlite" {
        // Beside the build, because a temporary folder may be kept in memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let url = format!("sqlite://{}/bench.db", folder.path().display());
        return Scene::new(&url, folder, accounts, batch);
    }
    let made = testkit::postgres::database();
    let url = made.url().to_owned();
    Scene::new(&url, made, accounts, batch)
}

fn report(
    options: &Options,
    tpcb: &TpcB,
    tps: &[f64],
    ways: &[Way],
    broken: &[String],
) -> ExitCode {
    let tps = mean(tps);
    let mut verdict = json!({});
    let mut holds = broken.is_empty() && tpcb.is_durable();
    let mut figures = json!({});
    for way in ways {
        figures[way.database][way.name] = way.figures();
    }
    for database in ["postgres", "sqlite"] {
        let rate = |name: &str| figures[database][name]["per_second"].as_f64().unwrap();
        let over_tpcb = rate("many_accounts") / tps;
        let over_single = rate("hot_account") / rate("commit_per_settlement");
        verdict[database] = json!({
            "many_accounts_over_tpcb": rounded(over_tpcb),
            "hot_account_over_commit_per_settlement": rounded(over_single),
        });
        holds &= over_tpcb >= TIMES && over_single >= TIMES;
    }
    for finding in broken.iter().take(5) {
        eprintln!("broken books: {finding}");
    }
    let line = json!({
        "bench": "settle",
        "seconds": options.seconds,
        "rounds": options.rounds,
        "accounts": ACCOUNTS,
        "callers": CALLERS,
        "tpcb": {
            "per_second": rounded(tps),
            "clients": options.clients,
            "scale": pgbench::SCALE,
            "mode": "prepared",
            "fsync": tpcb.is_durable(),
        },
        "settlements": figures,
        "times": verdict,
        "claimed_times": TIMES,
        "broken_books": broken.len(),
        "holds": holds,
    });
    println!("{line}");
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Way {
    /// The means of the rounds.
    fn figures(&self) -> Value {
        let mut figures = json!({});
        for name in self.rounds[0].keys() {
            let of: Vec<f64> = self.rounds.iter().map(|seen| seen[name]).collect();
            figures[*name] = rounded(mean(&of)).into();
        }
        figures
    }
}

fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / figures.len() as f64
}

fn rounded(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

struct Options {
    seconds: u64,
    clients: u64,
    rounds: u64,
    only: Option<String>,
}

impl Options {
    fn takes(&self, database: &str, name: &str) -> bool {
        let way = format!("{database}/{name}");
        self.only.as_ref().is_none_or(|only| *only == way)
    }

    fn read() -> Self {
        let mut options = Self {
            seconds: 5,
            clients: 8,
            rounds: 3,
            only: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let place = match word.as_str() {
                // What `cargo bench` adds.
                "--bench" => continue,
                "--seconds" => &mut options.seconds,
                "--clients" => &mut options.clients,
                "--rounds" => &mut options.rounds,
                "--only" => {
                    options.only = words.next();
                    continue;
                }
                other => panic!("unknown option {other}: --seconds N, --clients N, --rounds N"),
            };
            *place = words.next().and_then(|n| n.parse().ok()).unwrap();
        }
        options
    }
}
