//! A closed-loop load generator for chat completions: N connections, one call at a time each.
//!
//! `load --url http://127.0.0.1:8080/v1/chat/completions --key sk-… --model sim/echo [--stream]
//! [--connections 64] [--seconds 5] [--prompt-bytes 1024] [--max-tokens N]`
//!
//! Ends with one line of JSON: requests, requests per second, first and last byte of the body in
//! microseconds, errors. It speaks just enough HTTP/1.1 to leave the processor to what it measures.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

type Failure = Box<dyn Error + Send + Sync>;

/// What to send, where to, and for how long.
#[derive(Debug)]
struct Plan {
    address: String,
    request: Vec<u8>,
    stream: bool,
    connections: usize,
    seconds: u64,
}

/// What one connection saw.
#[derive(Debug, Default)]
struct Seen {
    first_us: Vec<u32>,
    last_us: Vec<u32>,
    errors: u64,
    first_error: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    first_byte: Instant,
    status: u16,
    keep_alive: bool,
    start: Vec<u8>,
    tail: Vec<u8>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let plan = Arc::new(Plan::from_arguments(std::env::args().skip(1))?);
    let start = Instant::now();
    let end = start + Duration::from_secs(plan.seconds);
    let mut tasks = JoinSet::new();
    for _ in 0..plan.connections {
        tasks.spawn(connection(Arc::clone(&plan), end));
    }
    let mut all = Seen::default();
    while let Some(seen) = tasks.join_next().await {
        all.add(seen?);
    }
    let report = all.report(start.elapsed());
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}

impl Plan {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let (mut url, mut key, mut model) = (None, String::new(), "sim/echo".to_owned());
        let (mut stream, mut connections, mut seconds) = (false, 64, 5);
        let (mut prompt_bytes, mut max_tokens) = (1024_usize, None::<u64>);
        while let Some(name) = arguments.next() {
            if name == "--stream" {
                stream = true;
                continue;
            }
            let value = arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--url" => url = Some(value),
                "--key" => key = value,
                "--model" => model = value,
                "--connections" => connections = value.parse()?,
                "--seconds" => seconds = value.parse()?,
                "--prompt-bytes" => prompt_bytes = value.parse()?,
                "--max-tokens" => max_tokens = Some(value.parse()?),
                _ => return Err(format!("unknown argument {name}").into()),
            }
        }
        let url = url.ok_or("--url is needed")?;
        let rest = url
            .strip_prefix("http://")
            .ok_or("--url must start with http://")?;
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        let body = body(&model, stream, prompt_bytes, max_tokens);
        let request = format!(
            "POST /{path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len(),
        );
        Ok(Self {
            address: address.to_owned(),
            request: request.into_bytes(),
            stream,
            connections,
            seconds,
        })
    }
}

fn body(model: &str, stream: bool, prompt_bytes: usize, max_tokens: Option<u64>) -> String {
    let text = "All that is gold does not glitter, not all those who wander are lost. ";
    let prompt: String = text.chars().cycle().take(prompt_bytes).collect();
    let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": prompt }] });
    if let Some(fields) = body.as_object_mut() {
        if stream {
            fields.insert("stream".to_owned(), json!(true));
            fields.insert(
                "stream_options".to_owned(),
                json!({ "include_usage": true }),
            );
        }
        if let Some(max_tokens) = max_tokens {
            fields.insert("max_tokens".to_owned(), json!(max_tokens));
        }
    }
    body.to_string()
}

/// Calls again and again until the time is over; a broken connection is opened anew.
async fn connection(plan: Arc<Plan>, end: Instant) -> Seen {
    let mut seen = Seen::default();
    let mut socket: Option<TcpStream> = None;
    while Instant::now() < end {
        match call(&plan, &mut socket).await {
            Ok((first_us, last_us)) => {
                seen.first_us.push(first_us);
                seen.last_us.push(last_us);
            }
            Err(error) => {
                socket = None;
                seen.errors += 1;
                seen.first_error.get_or_insert_with(|| error.to_string());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    seen
}

/// One call; the microseconds until the first and the last byte of the answer's body.
async fn call(plan: &Plan, socket: &mut Option<TcpStream>) -> Result<(u32, u32), Failure> {
    let mut stream = if let Some(stream) = socket.take() {
        stream
    } else {
        let stream = TcpStream::connect(&plan.address).await?;
        stream.set_nodelay(true)?;
        stream
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

async fn read_answer(stream: &mut TcpStream) -> Result<Answer, Failure> {
    let mut buffer = Vec::with_capacity(8192);
    let head_end = loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err("the connection was closed before an answer".into());
        }
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = Head::parse(&buffer[..head_end])?;
    buffer.drain(..head_end);
    let mut body = Body::new(head.length);
    let mut first_byte = None;
    loop {
        let complete = body.feed(&buffer)?;
        if body.received > 0 && first_byte.is_none() {
            first_byte = Some(Instant::now());
        }
        if complete {
            break;
        }
        buffer.clear();
        if stream.read_buf(&mut buffer).await? == 0 {
            if head.length == Length::UntilClose {
                break;
            }
            return Err("the connection was closed within an answer".into());
        }
    }
    Ok(Answer {
        first_byte: first_byte.unwrap_or_else(Instant::now),
        status: head.status,
        keep_alive: head.keep_alive && head.length != Length::UntilClose,
        start: body.start,
        tail: body.tail,
    })
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunked,
    UntilClose,
}

#[derive(Debug)]
struct Head {
    status: u16,
    length: Length,
    keep_alive: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(bytes)?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|l| l.split(' ').nth(1))
            .ok_or("no status line")?;
        let mut head = Self {
            status: status.parse()?,
            length: Length::UntilClose,
            keep_alive: true,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.length = Length::Bytes(value.parse()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                head.length = Length::Chunked;
            } else if name.eq_ignore_ascii_case("connection") {
                head.keep_alive = !value.eq_ignore_ascii_case("close");
            }
        }
        Ok(head)
    }
}

/// Where the reader of a chunked body stands.
#[derive(Debug)]
enum Place {
    Size(Vec<u8>),
    Data(usize),
    AfterData(usize),
    Trailer(Vec<u8>),
}

/// Reads a body by pieces and keeps its start (for an error) and its last bytes.
#[derive(Debug)]
struct Body {
    length: Length,
    place: Place,
    received: usize,
    start: Vec<u8>,
    tail: Vec<u8>,
}

impl Body {
    const START: usize = 300;
    const TAIL: usize = 16;

    fn new(length: Length) -> Self {
        let place = Place::Size(Vec::new());
        Self {
            length,
            place,
            received: 0,
            start: Vec::new(),
            tail: Vec::new(),
        }
    }

    /// Takes the next bytes from the socket; `true` when the body is complete.
    fn feed(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        match self.length {
            Length::Chunked => self.feed_chunks(bytes),
            Length::Bytes(expected) => {
                self.take(bytes);
                Ok(self.received >= expected)
            }
            Length::UntilClose => {
                self.take(bytes);
                Ok(false)
            }
        }
    }

    fn take(&mut self, data: &[u8]) {
        self.received += data.len();
        let room = Self::START.saturating_sub(self.start.len()).min(data.len());
        self.start.extend_from_slice(&data[..room]);
        self.tail
            .extend_from_slice(&data[data.len().saturating_sub(Self::TAIL)..]);
        let surplus = self.tail.len().saturating_sub(Self::TAIL);
        self.tail.drain(..surplus);
    }

    fn feed_chunks(&mut self, mut bytes: &[u8]) -> Result<bool, Failure> {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.place {
                Place::Size(line) if first == b'\n' => {
                    let text = std::str::from_utf8(line)?;
                    let size = text.split(';').next().unwrap_or(text).trim();
                    let size = usize::from_str_radix(size, 16)?;
                    self.place = if size == 0 {
                        Place::Trailer(Vec::new())
                    } else {
                        Place::Data(size)
                    };
                    bytes = rest;
                }
                Place::Trailer(line) if first == b'\n' => {
                    if line.trim_ascii().is_empty() {
                        return Ok(true);
                    }
                    line.clear();
                    bytes = rest;
                }
                Place::Size(line) | Place::Trailer(line) => {
                    line.push(first);
                    bytes = rest;
                }
                Place::Data(left) => {
                    let here = (*left).min(bytes.len());
                    let left = *left - here;
                    let (data, after) = bytes.split_at(here);
                    self.take(data);
                    self.place = if left == 0 {
                        Place::AfterData(2)
                    } else {
                        Place::Data(left)
                    };
                    bytes = after;
                }
                Place::AfterData(left) => {
                    *left -= 1;
                    if *left == 0 {
                        self.place = Place::Size(Vec::new());
                    }
                    bytes = rest;
                }
            }
        }
        Ok(false)
    }
}

impl Seen {
    fn add(&mut self, mut other: Self) {
        self.first_us.append(&mut other.first_us);
        self.last_us.append(&mut other.last_us);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    fn report(mut self, elapsed: Duration) -> Value {
        let requests = self.last_us.len();
        let millis = usize::try_from(elapsed.as_millis())
            .unwrap_or(usize::MAX)
            .max(1);
        json!({
            "requests": requests,
            "rps": requests.saturating_mul(1000) / millis,
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

#[cfg(test)]
mod tests {
    use super::{Body, Head, Length};

    #[test]
    fn a_chunked_body_is_read_however_it_is_cut() {
        let wire = b"5\r\nhello\r\n8;x=y\r\n [DONE]\n\r\n0\r\n\r\n";
        for cut in 1..wire.len() {
            let mut body = Body::new(Length::Chunked);
            let parts: Vec<_> = wire.chunks(cut).collect();
            for (at, part) in parts.iter().enumerate() {
                assert_eq!(
                    body.feed(part).unwrap(),
                    at + 1 == parts.len(),
                    "cut {cut} part {at}"
                );
            }
            assert_eq!(body.start, b"hello [DONE]\n");
            assert!(body.tail.ends_with(b"[DONE]\n"));
            assert_eq!(body.received, 13);
        }
    }

    #[test]
    fn the_head_tells_how_the_body_ends() {
        let head =
            Head::parse(b"HTTP/1.1 402 Payment\r\nContent-Length: 7\r\nConnection: close\r\n\r\n");
        let head = head.unwrap();
        assert_eq!(
            (head.status, head.length, head.keep_alive),
            (402, Length::Bytes(7), false)
        );
    }
}
