//! A load generator for chat completions. It speaks just enough HTTP/1.1 to leave the processor to
//! what it measures.
//!
//! Three ways to call: each connection again and again (`Way::Closed`), so many calls a second
//! whatever becomes of them (`Way::Paced`), and streams that are opened and then left open
//! (`Way::Held`).

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Failure;
use crate::arguments::Arguments;
use answer::{read_answer, read_beginning};

mod answer;

/// How many streams that are to be held are opened at a time.
const OPENED_AT_ONCE: usize = 64;

/// How calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// So many connections, one call at a time on each.
    Closed(usize),
    /// So many calls a second, each on a connection that is free or new.
    Paced(u64),
    /// So many streams, opened and left open until the input ends.
    Held(usize),
}

/// What to send, where to, how, and for how long.
#[derive(Debug)]
pub struct Plan {
    address: String,
    request: Vec<u8>,
    stream: bool,
    way: Way,
    seconds: u64,
}

/// What was seen of the calls.
#[derive(Debug, Default)]
struct Seen {
    first_us: Vec<u32>,
    last_us: Vec<u32>,
    errors: u64,
    first_error: Option<String>,
}

impl Plan {
    /// What the command line asks for.
    ///
    /// # Errors
    /// It cannot be understood.
    pub fn of_process() -> Result<Self, Failure> {
        let values = [
            "--url",
            "--key",
            "--model",
            "--connections",
            "--rate",
            "--hold",
            "--seconds",
            "--prompt-bytes",
            "--max-tokens",
        ];
        let given = Arguments::of_process(&["--stream"], &values)?;
        let url: String = given.value("--url", String::new())?;
        let rest = url
            .strip_prefix("http://")
            .ok_or("--url must be given and start with http://")?;
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (rate, held) = (given.value("--rate", 0)?, given.value("--hold", 0)?);
        let way = match (rate, held) {
            (0, 0) => Way::Closed(given.value("--connections", 64)?),
            (rate, 0) => Way::Paced(rate),
            (_, held) => Way::Held(held),
        };
        let stream = given.has("--stream") || held > 0;
        let body = body(
            &given.value("--model", "sim/echo".to_owned())?,
            stream,
            given.value("--prompt-bytes", 1024)?,
            given.value("--max-tokens", 0_u64)?,
        );
        let request = format!(
            "POST /{path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            given.value("--key", String::new())?,
            body.len(),
        );
        Ok(Self {
            address: address.to_owned(),
            request: request.into_bytes(),
            stream,
            way,
            seconds: given.value("--seconds", 5)?,
        })
    }

    /// Makes the calls and says what was seen, in one line of JSON.
    ///
    /// # Errors
    /// A task was lost, or nobody reads the line.
    pub async fn run(self) -> Result<(), Failure> {
        let (plan, start) = (Arc::new(self), Instant::now());
        let end = start + Duration::from_secs(plan.seconds);
        let seen = match plan.way {
            Way::Closed(connections) => closed(&plan, connections, end).await?,
            Way::Paced(rate) => paced(&plan, rate, end).await?,
            Way::Held(streams) => return held(&plan, streams).await,
        };
        writeln!(std::io::stdout(), "{}", seen.report(start.elapsed()))?;
        Ok(())
    }

    async fn connect(&self) -> Result<TcpStream, Failure> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn body(model: &str, stream: bool, prompt_bytes: usize, max_tokens: u64) -> String {
    let text = "All that is gold does not glitter, not all those who wander are lost. ";
    let prompt: String = text.chars().cycle().take(prompt_bytes).collect();
    let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": prompt }] });
    if stream {
        body["stream"] = true.into();
        body["stream_options"] = json!({ "include_usage": true });
    }
    if max_tokens > 0 {
        body["max_tokens"] = max_tokens.into();
    }
    body.to_string()
}

async fn closed(plan: &Arc<Plan>, connections: usize, end: Instant) -> Result<Seen, Failure> {
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let plan = Arc::clone(plan);
        tasks.spawn(async move {
            let (mut seen, mut socket) = (Seen::default(), None);
            while Instant::now() < end {
                let made = call(&plan, &mut socket).await;
                let failed = made.is_err();
                seen.note(made);
                if failed {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            seen
        });
    }
    let mut all = Seen::default();
    while let Some(seen) = tasks.join_next().await {
        all.add(seen?);
    }
    Ok(all)
}

/// A call is made when its time has come, whether or not those before it have ended.
async fn paced(plan: &Arc<Plan>, rate: u64, end: Instant) -> Result<Seen, Failure> {
    let free: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let (mut tasks, mut all) = (JoinSet::new(), Seen::default());
    let (start, mut made) = (Instant::now(), 0_u64);
    while Instant::now() < end {
        let due = start.elapsed().as_micros() * u128::from(rate) / 1_000_000;
        while u128::from(made) < due {
            made += 1;
            let (plan, free) = (Arc::clone(plan), Arc::clone(&free));
            tasks.spawn(async move {
                let mut socket = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let made = call(&plan, &mut socket).await;
                free.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(socket);
                made.map_err(|error| error.to_string())
            });
        }
        while let Some(made) = tasks.try_join_next() {
            all.note(made?.map_err(Failure::from));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while let Some(made) = tasks.join_next().await {
        all.note(made?.map_err(Failure::from));
    }
    Ok(all)
}

/// Opens streams, says so when each has begun, and keeps them until the input ends.
async fn held(plan: &Arc<Plan>, streams: usize) -> Result<(), Failure> {
    let places = Arc::new(tokio::sync::Semaphore::new(OPENED_AT_ONCE));
    let mut opening = JoinSet::new();
    for _ in 0..streams {
        let (plan, places) = (Arc::clone(plan), Arc::clone(&places));
        opening.spawn(async move {
            let _place = places.acquire().await?;
            let mut socket = plan.connect().await?;
            socket.write_all(&plan.request).await?;
            read_beginning(&mut socket).await?;
            Ok::<_, Failure>(socket)
        });
    }
    let (mut open, mut first_error) = (Vec::with_capacity(streams), None);
    while let Some(opened) = opening.join_next().await {
        match opened? {
            Ok(socket) => open.push(socket),
            Err(error) => drop(first_error.get_or_insert_with(|| error.to_string())),
        }
    }
    let line = json!({ "open": open.len(), "first_error": first_error });
    writeln!(std::io::stdout(), "{line}")?;
    tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await??;
    Ok(())
}

/// One call; the microseconds until the first and the last byte of the answer's body. The
/// connection comes back where it may be used again.
async fn call(plan: &Plan, socket: &mut Option<TcpStream>) -> Result<(u32, u32), Failure> {
    let mut stream = match socket.take() {
        Some(stream) => stream,
        None => plan.connect().await?,
    };
    let start = Instant::now();
    stream.write_all(&plan.request).await?;
    let answer = read_answer(&mut stream).await?;
    let last = micros(start.elapsed());
    if answer.status != 200 {
        let text = String::from_utf8_lossy(&answer.start);
        return Err(format!("status {}: {text}", answer.status).into());
    }
    if plan.stream && !answer.tail.trim_ascii_end().ends_with(b"[DONE]") {
        return Err("the stream ended without [DONE]".into());
    }
    if answer.keep_alive {
        *socket = Some(stream);
    }
    Ok((micros(answer.first_byte.duration_since(start)), last))
}

impl Seen {
    fn note(&mut self, made: Result<(u32, u32), Failure>) {
        match made {
            Ok((first_us, last_us)) => {
                self.first_us.push(first_us);
                self.last_us.push(last_us);
            }
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert_with(|| error.to_string());
            }
        }
    }

    fn add(&mut self, mut other: Self) {
        self.first_us.append(&mut other.first_us);
        self.last_us.append(&mut other.last_us);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    fn report(mut self, elapsed: Duration) -> Value {
        let requests = self.last_us.len();
        let millis = usize::try_from(elapsed.as_millis()).unwrap_or(usize::MAX);
        json!({
            "requests": requests,
            "rps": requests.saturating_mul(1000) / millis.max(1),
            "first_byte_us": percentiles(&mut self.first_us),
            "last_byte_us": percentiles(&mut self.last_us),
            "errors": self.errors,
            "first_error": self.first_error,
        })
    }
}

fn percentiles(samples: &mut [u32]) -> Value {
    samples.sort_unstable();
    let at = |per_cent: usize| {
        let index = (samples.len() * per_cent / 100).min(samples.len().saturating_sub(1));
        samples.get(index).copied().unwrap_or(0)
    };
    json!({ "p50": at(50), "p99": at(99) })
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
