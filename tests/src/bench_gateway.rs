//! Times Tollgate beside nginx on one simulated upstream, in one run, by turns.
//!
//! The same calls go from one generator (`load`) through nginx as a plain proxy and through the
//! release binary with durable settlement on SQLite and on PostgreSQL; and again with the keys of
//! accounts on plans and in tiers. Figures are medians over the rounds. What is added to the first byte is against the upstream itself, at half of the load that
//! the slowest of them was seen to bear.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::Failure;
use crate::arguments::Arguments;
use crate::control::Control;
use crate::gate::{Gate, free_port};
use crate::postgres::Postgres;
use crate::proof::{Findings, say};
use on_plan::OnPlan;
use processes::{Nginx, Simulated};
use report::Half;
use round::{Case, Kind, Round, Target};
use waits::Waits;

mod claims;
mod flush;
mod idle;
mod on_plan;
mod processes;
mod report;
mod round;
mod waits;

/// What the account of the calls is given, in nanos: a million.
const FUNDS: i128 = 1_000_000_000_000_000;
/// How long a process is left alone before its idle memory is read.
const REST: Duration = Duration::from_secs(5);

/// How much is measured.
#[derive(Debug)]
pub struct Settings {
    rounds: usize,
    seconds: u64,
    connections: Vec<usize>,
    idle_streams: usize,
}

impl Settings {
    /// What the command line asks for: `--rounds N --seconds N --connections 1,64,256 --idle N`.
    ///
    /// # Errors
    /// It cannot be understood.
    pub fn of_process() -> Result<Self, Failure> {
        let names = ["--rounds", "--seconds", "--connections", "--idle"];
        let given = Arguments::of_process(&[], &names)?;
        let connections: String = given.value("--connections", "1,64,256".to_owned())?;
        let connections = connections.split(',').map(str::parse);
        Ok(Self {
            rounds: given.value("--rounds", 3)?,
            seconds: given.value("--seconds", 3)?,
            connections: connections.collect::<Result<_, _>>()?,
            idle_streams: given.value("--idle", 10_000)?,
        })
    }
}

/// A Tollgate between the generator and the upstream.
struct Stand {
    gate: Gate,
    /// The address of its database.
    database: String,
    target: Target,
    /// Where it answers with its own counts.
    metrics: String,
}

impl Stand {
    async fn start(
        name: &'static str,
        database: Option<String>,
        upstream: u16,
    ) -> Result<Self, Failure> {
        let metrics = format!("127.0.0.1:{}", free_port()?);
        let config = format!(
            "[limits]\nupstream_idle_ms = 600000\n[metrics]\nlisten = \"{metrics}\"\n\
             [[channel]]\nname = \"upstream\"\nbase_url = \"http://127.0.0.1:{upstream}/v1\"\n"
        );
        let gate = Gate::demo(database.clone()).await?;
        let file = gate.data().join("tollgate.db");
        let database = database.unwrap_or_else(|| format!("sqlite://{}", file.display()));
        let gate = gate.served(&config, &[]).await?;
        let control = Control::sign_in(&gate).await?;
        let (_, key) = control.funded("bench", FUNDS).await?;
        let base = format!("{}/v1", gate.origin());
        let target = Target {
            name,
            plain: base.clone(),
            stream: base,
            key: key.secret.clone(),
            pid: gate.pid().ok_or("tollgate does not run")?,
        };
        let metrics = format!("http://{metrics}/metrics");
        Ok(Self {
            gate,
            database,
            target,
            metrics,
        })
    }
}

/// Measures all there is to measure.
///
/// # Errors
/// Something did not start, or the generator failed.
pub async fn run(settings: &Settings) -> Result<(Value, Findings), Failure> {
    let mut findings = Findings::default();
    let upstream = Simulated::start()?;
    let nginx = Nginx::start(upstream.port)?;

    let mut stand = Stand::start("sqlite", None, upstream.port).await?;
    sleep(REST).await;
    let idle = idle::measure(&stand.target, settings.idle_streams).await?;
    stand.gate.stop().await?;
    drop(stand);

    let postgres = Postgres::find_or_start()?;
    let sqlite = Stand::start("sqlite", None, upstream.port).await?;
    let other = Stand::start("postgres", Some(postgres.database()?), upstream.port).await?;
    let proxies = [&nginx.target, &sqlite.target, &other.target];
    let mut cases = Vec::new();
    for kind in [Kind::Plain, Kind::Paced] {
        for &connections in &settings.connections {
            let case = Case::closed(kind, connections);
            cases.push((case, settings.rounds(&proxies, case)?));
        }
    }
    let all = [
        &upstream.target,
        &nginx.target,
        &sqlite.target,
        &other.target,
    ];
    let mut halves = Vec::new();
    for kind in [Kind::Plain, Kind::Paced] {
        let rate = report::least_rps(&cases, kind) / 2;
        let case = Case::paced(kind, rate.max(1));
        halves.push(settings.half(&all, [&sqlite, &other], case).await?);
    }
    let stands = [OnPlan::of(&sqlite, 0).await?, OnPlan::of(&other, 1).await?];
    let on_plan = settings.on_plan(&nginx.target, &stands)?;
    let memory = json!({
        "idle_mb": report::megabytes(idle.before_kb),
        "idle_again_mb": report::megabytes(idle.after_kb),
        "idle_streams": idle.streams,
        "idle_stream_kb": report::tenths(idle.stream_tenths_kb),
        "load_sqlite_mb": report::megabytes(sqlite.target.peak_kb()),
        "load_postgres_mb": report::megabytes(other.target.peak_kb()),
        "nginx_mb": report::megabytes(nginx.target.memory_kb()),
    });
    let line = json!({
        "proof": "bench-gateway",
        "conditions": {
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "rounds": settings.rounds,
            "seconds": settings.seconds,
            "prompt_bytes": round::PROMPT_BYTES,
            "paced": "50 events, about 2.4 ms apart",
            "not_counted": "the processor time of PostgreSQL's own processes",
        },
        "closed": cases.iter().map(report::closed).collect::<Vec<_>>(),
        "on_plan": on_plan.iter().map(on_plan::report).collect::<Vec<_>>(),
        "half_load": halves.iter().map(report::half).collect::<Vec<_>>(),
        "memory": memory,
    });
    claims::check(&cases, &halves, &idle, &mut findings);
    claims::check_on_plan(&on_plan, &mut findings);
    claims::check_load_memory(&[&sqlite.target, &other.target], &mut findings);
    Ok((line, findings))
}

/// What each has counted.
async fn waits(stands: [&Stand; 2]) -> Result<Vec<(&'static str, Waits)>, Failure> {
    let mut seen = Vec::new();
    for stand in stands {
        seen.push((stand.target.name, Waits::of(&stand.metrics).await?));
    }
    Ok(seen)
}

impl Settings {
    /// A case at half load, on all targets, with what the Tollgates among them count of it.
    async fn half(
        &self,
        targets: &[&Target],
        stands: [&Stand; 2],
        case: Case,
    ) -> Result<Half, Failure> {
        let probe = flush::Probe::start(stands[0].gate.folder())?;
        let before = waits(stands).await?;
        let rounds = self.rounds(targets, case)?;
        let after = waits(stands).await?;
        let flush = probe.end();
        let waits = after.iter().zip(&before);
        let waits = waits.map(|((name, now), (_, then))| (*name, now.since(then)));
        Ok(Half {
            case,
            rounds,
            flush,
            waits: waits.collect(),
        })
    }

    /// All rounds of one case: the targets by turns, in another order each round.
    fn rounds(&self, targets: &[&Target], case: Case) -> Result<Vec<Round>, Failure> {
        for target in targets {
            round::run(target, case, 1)?;
        }
        let mut rounds = Vec::new();
        for number in 0..self.rounds {
            for step in 0..targets.len() {
                let target = targets[(number + step) % targets.len()];
                let round = round::run(target, case, self.seconds)?;
                say(&format!(
                    "bench: {case} {}/{}: {round}",
                    number + 1,
                    self.rounds
                ));
                rounds.push(round);
            }
        }
        Ok(rounds)
    }
}
