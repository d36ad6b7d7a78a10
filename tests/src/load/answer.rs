//! Reads the answer to a call from a socket: just enough HTTP/1.1 to leave the processor to what is
//! measured.

use std::time::Instant;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::Failure;

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    /// When the first byte of the body was there.
    pub(super) first_byte: Instant,
    /// The status.
    pub(super) status: u16,
    /// Whether the next call may be made on the connection.
    pub(super) keep_alive: bool,
    /// The beginning of the body, for an error.
    pub(super) start: Vec<u8>,
    /// The last bytes of the body.
    pub(super) tail: Vec<u8>,
}

/// Reads an answer to its end.
pub(super) async fn read_answer(stream: &mut TcpStream) -> Result<Answer, Failure> {
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

/// Reads until something of the body is there.
pub(super) async fn read_beginning(stream: &mut TcpStream) -> Result<(), Failure> {
    let mut buffer = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err("the connection was closed before an answer".into());
        }
        let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let status = Head::parse(&buffer[..at + 4])?.status;
        if status != 200 {
            let text = String::from_utf8_lossy(&buffer[at + 4..]);
            return Err(format!("status {status}: {text}").into());
        }
        if buffer.len() > at + 4 {
            return Ok(());
        }
    }
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
