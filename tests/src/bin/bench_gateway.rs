//! Times Tollgate beside nginx on one simulated upstream, in one run, by turns.
//!
//! Three targets answer the same calls from the same generator (`load`): the upstream itself, nginx
//! as a plain proxy, and the release binary with durable settlement on SQLite. Figures are medians
//! over the rounds; what is added to the first and last byte is against the upstream itself.
//! Ends with one line of JSON and fails when a bound does not hold.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

type Failure = Box<dyn Error>;

/// CPU per non-streaming call, at most this many thousandths of nginx's.
const MAX_CPU_RATIO_MILLI: u64 = 4000;
/// Idle memory, less than this.
const MAX_IDLE_KB: u64 = 60 * 1024;
/// Linux counts process time in hundredths of a second for every reader of /proc.
const MICROS_PER_TICK: u64 = 10_000;
/// The name under which the upstream's credential is handed over; the simulation takes any.
const UPSTREAM_KEY: &str = "TOLLGATE_BENCH_UPSTREAM_KEY";
const NGINX_CONF: &str = include_str!("../../../scripts/bench/nginx.conf");

/// What the command line asks for.
#[derive(Debug)]
struct Settings {
    tollgate: PathBuf,
    load: PathBuf,
    rounds: usize,
    seconds: u64,
    connections: u64,
    model: String,
    stream_model: String,
}

/// A process that is ended when it goes out of scope.
#[derive(Debug)]
struct Process(Child);

/// A place that answers calls.
#[derive(Debug)]
struct Target {
    name: &'static str,
    url: String,
    stream_url: String,
    key: String,
    pid: u32,
}

/// One round of one target.
#[derive(Clone, Debug)]
struct Round {
    target: &'static str,
    rps: u64,
    cpu_nanos: u64,
    first: (u64, u64),
    last: (u64, u64),
    errors: u64,
    first_error: Value,
}

fn main() -> Result<ExitCode, Failure> {
    let settings = Settings::from_arguments(std::env::args().skip(1))?;
    let folder = tempfile::Builder::new()
        .prefix("tollgate-bench")
        .tempdir()?;
    let report = bench(&settings, folder.path())?;
    writeln!(std::io::stdout(), "{report}")?;
    Ok(if report["verdict"] == "pass" {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn bench(settings: &Settings, folder: &Path) -> Result<Value, Failure> {
    let upstream_port = free_port()?;
    let upstream = settings.sim(folder, upstream_port)?;
    let nginx_port = free_port()?;
    let nginx = start_nginx(folder, nginx_port, upstream_port)?;
    let port = free_port()?;
    let key = settings.seed(folder)?;
    let tollgate = settings.serve(folder, port, upstream_port)?;
    sleep(Duration::from_secs(3));
    let idle_kb = memory_kb(tollgate.0.id(), "VmRSS");
    note(&format!("idle memory of tollgate {} MB", idle_kb / 1024));

    let targets = [
        target("upstream", upstream_port, "/v1", "", upstream.0.id()),
        target("nginx", nginx_port, "/stream/v1", "", nginx.0.id()),
        target("tollgate", port, "/v1", &key, tollgate.0.id()),
    ];
    let plain = settings.rounds(&targets, false)?;
    let stream = settings.rounds(&targets, true)?;
    let memory = json!({
        "tollgate_idle_mb": idle_kb / 1024,
        "tollgate_after_load_mb": memory_kb(tollgate.0.id(), "VmRSS") / 1024,
        "tollgate_peak_mb": memory_kb(tollgate.0.id(), "VmHWM") / 1024,
        "nginx_after_load_mb":
            family(nginx.0.id()).iter().map(|&p| memory_kb(p, "VmRSS")).sum::<u64>() / 1024,
    });
    Ok(settings.report(&plain, &stream, idle_kb, &memory))
}

impl Settings {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut settings = Self {
            tollgate: PathBuf::from("target/release/tollgate"),
            load: PathBuf::from("target/release/load"),
            rounds: 3,
            seconds: 5,
            connections: 64,
            model: "sim/echo".to_owned(),
            stream_model: "sim/lorem".to_owned(),
        };
        while let Some(name) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--tollgate" => settings.tollgate = PathBuf::from(value),
                "--load" => settings.load = PathBuf::from(value),
                "--rounds" => settings.rounds = value.parse()?,
                "--seconds" => settings.seconds = value.parse()?,
                "--connections" => settings.connections = value.parse()?,
                "--model" => settings.model = value,
                "--stream-model" => settings.stream_model = value,
                _ => return Err(format!("unknown argument {name}").into()),
            }
        }
        Ok(settings)
    }

    /// The simulated upstream, speaking the wire protocol over HTTP.
    fn sim(&self, folder: &Path, port: u16) -> Result<Process, Failure> {
        let mut command = Command::new(&self.tollgate);
        command.args(["sim", "--listen", &format!("127.0.0.1:{port}")]);
        start("the upstream", command, folder, port)
    }

    /// Makes a data folder with a catalogue, an account with funds and a key; answers with the key.
    fn seed(&self, folder: &Path) -> Result<String, Failure> {
        let data = folder.join("data");
        let mut command = Command::new(&self.tollgate);
        let port = free_port()?;
        command
            .args(["demo", "--listen", &format!("127.0.0.1:{port}"), "--data"])
            .arg(&data);
        let mut demo = start("the demo", command, folder, port)?;
        let credentials: Value =
            serde_json::from_str(&fs::read_to_string(data.join("credentials.json"))?)?;
        demo.end();
        let key = credentials["api_key"]
            .as_str()
            .ok_or("credentials.json has no api_key")?;
        Ok(key.to_owned())
    }

    /// The binary under test on the seeded folder, with the upstream as its only channel.
    fn serve(&self, folder: &Path, port: u16, upstream: u16) -> Result<Process, Failure> {
        let config = folder.join("tollgate.toml");
        let database = database_in(&folder.join("data"))?;
        let text = format!(
            "listen = \"127.0.0.1:{port}\"\n\n\
             [database]\nurl = \"sqlite://{}\"\n\n\
             [[channel]]\nbase_url = \"http://127.0.0.1:{upstream}/v1\"\n\
             credential = \"env:{UPSTREAM_KEY}\"\n",
            database.display()
        );
        fs::write(&config, text)?;
        let mut command = Command::new(&self.tollgate);
        command
            .args(["serve", "--config"])
            .arg(&config)
            .env(UPSTREAM_KEY, "simulated");
        start("tollgate", command, folder, port)
    }

    /// All rounds of one case: the targets by turns, in another order each round.
    fn rounds(&self, targets: &[Target], stream: bool) -> Result<Vec<Round>, Failure> {
        let case = if stream { "stream" } else { "non-stream" };
        for target in targets {
            self.round(target, stream, 1)?;
        }
        let mut rounds = Vec::new();
        for number in 0..self.rounds {
            for step in 0..targets.len() {
                let target = &targets[(number + step) % targets.len()];
                let round = self.round(target, stream, self.seconds)?;
                note(&format!(
                    "{case} {}/{} {:>8}: {} requests/s, {} ns CPU, first byte {:?} us, last byte {:?} us, {} errors",
                    number + 1,
                    self.rounds,
                    target.name,
                    round.rps,
                    round.cpu_nanos,
                    round.first,
                    round.last,
                    round.errors
                ));
                rounds.push(round);
            }
        }
        Ok(rounds)
    }

    fn round(&self, target: &Target, stream: bool, seconds: u64) -> Result<Round, Failure> {
        let (base, model) = if stream {
            (&target.stream_url, &self.stream_model)
        } else {
            (&target.url, &self.model)
        };
        let mut command = Command::new(&self.load);
        command
            .args([
                "--url",
                &format!("{base}/chat/completions"),
                "--model",
                model,
            ])
            .args(["--key", &target.key, "--prompt-bytes", "1024"])
            .args(["--connections", &self.connections.to_string()])
            .args(["--seconds", &seconds.to_string()])
            .args(stream.then_some("--stream"));
        let before = cpu_ticks(target.pid);
        let output = command.stderr(Stdio::inherit()).output()?;
        // What a call still does after its last byte is part of its cost.
        sleep(Duration::from_millis(300));
        let ticks = cpu_ticks(target.pid).saturating_sub(before);
        if !output.status.success() {
            return Err(format!("the load generator failed: {}", output.status).into());
        }
        let seen: Value = serde_json::from_slice(&output.stdout)?;
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let pair = |name: &str| (number(&seen[name]["p50"]), number(&seen[name]["p99"]));
        let requests = number(&seen["requests"]).max(1);
        Ok(Round {
            target: target.name,
            rps: number(&seen["rps"]),
            cpu_nanos: ticks * MICROS_PER_TICK * 1000 / requests,
            first: pair("first_byte_us"),
            last: pair("last_byte_us"),
            errors: number(&seen["errors"]),
            first_error: seen["first_error"].clone(),
        })
    }

    fn report(&self, plain: &[Round], stream: &[Round], idle_kb: u64, memory: &Value) -> Value {
        let ratio = cpu_ratio_milli(plain);
        let mut broken = Vec::new();
        if ratio > MAX_CPU_RATIO_MILLI {
            broken.push(format!(
                "CPU per call is {} times nginx's, at most 4",
                thousandths(ratio)
            ));
        }
        if idle_kb >= MAX_IDLE_KB {
            broken.push(format!("idle memory is {} MB, under 60", idle_kb / 1024));
        }
        for round in plain.iter().chain(stream) {
            if round.errors > 0 || round.rps == 0 {
                broken.push(format!(
                    "{}: {} errors: {}",
                    round.target, round.errors, round.first_error
                ));
            }
        }
        json!({
            "proof": "bench-gateway",
            "conditions": {
                "cores": std::thread::available_parallelism().map_or(0, usize::from),
                "connections": self.connections,
                "rounds": self.rounds,
                "seconds": self.seconds,
                "prompt_bytes": 1024,
                "database": "SQLite, durable",
                "model": self.model,
                "stream_model": self.stream_model,
            },
            "non_stream": case_report(plain),
            "stream": case_report(stream),
            "memory": memory,
            "broken": broken,
            "verdict": if broken.is_empty() { "pass" } else { "fail" },
        })
    }
}

impl Process {
    /// Asks the process to end, waits, and insists after ten seconds.
    fn end(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let pid = self.0.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        let limit = Instant::now() + Duration::from_secs(10);
        while asked.is_ok() && Instant::now() < limit {
            if self.0.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        if self.0.kill().is_ok() {
            drop(self.0.wait());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn target(name: &'static str, port: u16, stream: &str, key: &str, pid: u32) -> Target {
    let host = format!("http://127.0.0.1:{port}");
    Target {
        name,
        url: format!("{host}/v1"),
        stream_url: format!("{host}{stream}"),
        key: key.to_owned(),
        pid,
    }
}

fn start_nginx(folder: &Path, port: u16, upstream: u16) -> Result<Process, Failure> {
    let root = Command::new("id").arg("-u").output()?.stdout.trim_ascii() == b"0";
    let conf = NGINX_CONF
        .replace("{{USER}}", if root { "user root;" } else { "" })
        .replace("{{DIR}}", &folder.to_string_lossy())
        .replace("{{PORT}}", &port.to_string())
        .replace("{{UPSTREAM}}", &upstream.to_string());
    let path = folder.join("nginx.conf");
    fs::write(&path, conf)?;
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&path)
        .arg("-e")
        .arg(folder.join("nginx-error.log"));
    start("nginx", command, folder, port)
}

/// Starts a process and waits until its port answers; its output goes to a file of its own.
fn start(name: &str, mut command: Command, folder: &Path, port: u16) -> Result<Process, Failure> {
    let path = folder.join(format!("{}.log", name.replace(' ', "-")));
    let log = fs::File::create(&path)?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let child = command
        .spawn()
        .map_err(|error| format!("{name} did not start: {error}"))?;
    let mut process = Process(child);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let limit = Instant::now() + Duration::from_mins(2);
    while Instant::now() < limit {
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
            note(&format!("{name} answers on port {port}"));
            return Ok(process);
        }
        if let Some(status) = process.0.try_wait()? {
            let log = fs::read_to_string(&path)?;
            return Err(format!("{name} ended with {status}:\n{log}").into());
        }
        sleep(Duration::from_millis(50));
    }
    Err(format!("{name} does not answer on port {port}").into())
}

/// The database that the demo has made.
fn database_in(data: &Path) -> Result<PathBuf, Failure> {
    for entry in fs::read_dir(data)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "db") {
            return Ok(path);
        }
    }
    Err(format!("there is no database in {}", data.display()).into())
}

fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A process and its children: nginx works in its children.
fn family(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    let mut pids = vec![pid];
    pids.extend(
        children
            .split_whitespace()
            .filter_map(|p| p.parse::<u32>().ok()),
    );
    pids
}

/// User and system time of a process and its children, in ticks.
fn cpu_ticks(pid: u32) -> u64 {
    let own = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Fields are counted after the name, which is in brackets and may hold spaces.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|f| f.parse::<u64>().ok())
            .sum::<u64>()
    };
    family(pid).iter().map(own).sum()
}

/// A field of /proc/PID/status in kilobytes.
fn memory_kb(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find(|l| l.starts_with(field))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse().ok())
        .unwrap_or(0)
}

fn median(rounds: &[Round], target: &str, figure: impl Fn(&Round) -> u64) -> u64 {
    let mut found: Vec<u64> = rounds
        .iter()
        .filter(|r| r.target == target)
        .map(figure)
        .collect();
    found.sort_unstable();
    found.get(found.len() / 2).copied().unwrap_or(0)
}

/// The CPU of a call through Tollgate in thousandths of that of a call through nginx.
fn cpu_ratio_milli(rounds: &[Round]) -> u64 {
    let nginx = median(rounds, "nginx", |r| r.cpu_nanos).max(1);
    median(rounds, "tollgate", |r| r.cpu_nanos) * 1000 / nginx
}

fn case_report(rounds: &[Round]) -> Value {
    let mut report = json!({ "cpu_ratio": thousandths(cpu_ratio_milli(rounds)) });
    for name in ["upstream", "nginx", "tollgate"] {
        let figure = |figure: fn(&Round) -> u64| median(rounds, name, figure);
        let added = |get: fn(&Round) -> u64| {
            median(rounds, name, get).saturating_sub(median(rounds, "upstream", get))
        };
        report[name] = json!({
            "rps": figure(|r| r.rps),
            "cpu_us": thousandths(figure(|r| r.cpu_nanos)),
            "first_byte_us": { "p50": figure(|r| r.first.0), "p99": figure(|r| r.first.1) },
            "last_byte_us": { "p50": figure(|r| r.last.0), "p99": figure(|r| r.last.1) },
            "added_first_byte_us": { "p50": added(|r| r.first.0), "p99": added(|r| r.first.1) },
            "added_last_byte_us": { "p50": added(|r| r.last.0), "p99": added(|r| r.last.1) },
            "errors": rounds.iter().filter(|r| r.target == name).map(|r| r.errors).sum::<u64>(),
        });
    }
    report
}

/// A count of thousandths as a number for a report.
fn thousandths(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / 1000.0
}

fn note(text: &str) {
    drop(writeln!(std::io::stderr(), "bench: {text}"));
}
