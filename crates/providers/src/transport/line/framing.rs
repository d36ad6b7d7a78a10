//! Where the body of an HTTP/1 reply ends, and what of the received bytes is its data (RFC 9112,
//! sections 6 and 7).

use bytes::{Bytes, BytesMut};
use httparse::Status;
use memchr::memchr;

use super::LineError;

/// The longest line of a chunk's size, and the longest trailers.
const LONGEST_LINE: usize = 4 * 1024;
const LONGEST_TRAILERS: usize = 16 * 1024;

/// What of a body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks, each with its size before it.
    Chunked(Chunk),
    /// Whatever comes until the upstream closes the connection.
    UntilClose,
    /// Nothing.
    Over,
}

/// What comes next of a body in chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    /// A line with the size.
    Size,
    /// So many bytes of data.
    Data(u64),
    /// The end of the line behind the data.
    End,
    /// Trailers, of which so many bytes were passed over.
    Trailers(usize),
}

/// What was found in the received bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Data(Bytes),
    /// More must be received first.
    Nothing,
    End,
}

impl Framing {
    /// Takes what can be taken of the body out of what was received.
    pub(super) fn take(&mut self, received: &mut BytesMut) -> Result<Found, LineError> {
        loop {
            let chunk = match self {
                Self::Over => return Ok(Found::End),
                Self::UntilClose if received.is_empty() => return Ok(Found::Nothing),
                Self::UntilClose => return Ok(Found::Data(received.split().freeze())),
                Self::Length(left) => {
                    if *left == 0 {
                        *self = Self::Over;
                        continue;
                    }
                    let found = cut(received, left);
                    if *left == 0 {
                        *self = Self::Over;
                    }
                    return Ok(found);
                }
                Self::Chunked(chunk) => chunk,
            };
            match chunk {
                Chunk::Data(0) => *chunk = Chunk::End,
                Chunk::Data(left) => return Ok(cut(received, left)),
                Chunk::Size => match size(received)? {
                    None => return Ok(Found::Nothing),
                    Some(0) => *chunk = Chunk::Trailers(0),
                    Some(size) => *chunk = Chunk::Data(size),
                },
                Chunk::End => match received.first_chunk() {
                    Some(b"\r\n") => {
                        drop(received.split_to(2));
                        *chunk = Chunk::Size;
                    }
                    Some(_) => return Err(LineError::Chunk),
                    None => return Ok(Found::Nothing),
                },
                Chunk::Trailers(passed) => match trailer(received, passed)? {
                    None => return Ok(Found::Nothing),
                    Some(true) => *self = Self::Over,
                    Some(false) => {}
                },
            }
        }
    }
}

/// What is there of so many bytes.
fn cut(received: &mut BytesMut, left: &mut u64) -> Found {
    let most = usize::try_from(*left).unwrap_or(usize::MAX);
    let there = received.len().min(most);
    if there == 0 {
        return Found::Nothing;
    }
    *left = left.saturating_sub(u64::try_from(there).unwrap_or(u64::MAX));
    Found::Data(received.split_to(there).freeze())
}

/// The size of a chunk, when all of its line is there.
fn size(received: &mut BytesMut) -> Result<Option<u64>, LineError> {
    // A size without digits passes for zero below, which would end the body.
    if received
        .first()
        .is_some_and(|byte| !byte.is_ascii_hexdigit())
    {
        return Err(LineError::Chunk);
    }
    match httparse::parse_chunk_size(received) {
        Ok(Status::Complete((length, size))) => {
            drop(received.split_to(length));
            Ok(Some(size))
        }
        Ok(Status::Partial) if received.len() <= LONGEST_LINE => Ok(None),
        Ok(Status::Partial) | Err(_) => Err(LineError::Chunk),
    }
}

/// Passes over a line of the trailers, when all of it is there; says whether it was the empty one
/// that ends them.
fn trailer(received: &mut BytesMut, passed: &mut usize) -> Result<Option<bool>, LineError> {
    let end = memchr(b'\n', received);
    *passed = passed.saturating_add(end.map_or(0, |end| end + 1));
    if passed.saturating_add(received.len()) > LONGEST_TRAILERS {
        return Err(LineError::Chunk);
    }
    Ok(end.map(|end| {
        let line = received.split_to(end + 1);
        line.trim_ascii_end().is_empty()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything of a body that is received in pieces of this size, and what is left behind it.
    fn read(
        mut framing: Framing,
        text: &[u8],
        step: usize,
    ) -> (Vec<u8>, Option<Result<Vec<u8>, LineError>>) {
        let (mut received, mut data) = (BytesMut::new(), Vec::new());
        let mut pieces = text.chunks(step);
        loop {
            match framing.take(&mut received) {
                Ok(Found::Data(bytes)) => data.extend_from_slice(&bytes),
                Ok(Found::End) => {
                    received.extend_from_slice(&pieces.flatten().copied().collect::<Vec<_>>());
                    return (data, Some(Ok(received.to_vec())));
                }
                Err(error) => return (data, Some(Err(error))),
                Ok(Found::Nothing) => match pieces.next() {
                    Some(piece) => received.extend_from_slice(piece),
                    None => return (data, None),
                },
            }
        }
    }

    #[test]
    fn chunks_are_read_however_they_are_cut() {
        let text = b"5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\nServer-Timing: x\r\n\r\nnext";
        for step in 1..=text.len() {
            let (data, rest) = read(Framing::Chunked(Chunk::Size), text, step);
            assert_eq!(data, b"hello world", "{step}");
            assert!(matches!(rest, Some(Ok(rest)) if rest == b"next"), "{step}");
        }
    }

    #[test]
    fn a_length_ends_the_body_where_it_says() {
        let (data, rest) = read(Framing::Length(5), b"hellonext", 3);
        assert_eq!(data, b"hello");
        assert!(matches!(rest, Some(Ok(rest)) if rest == b"next"));
        let (data, rest) = read(Framing::Length(0), b"", 1);
        assert!(data.is_empty() && matches!(rest, Some(Ok(rest)) if rest.is_empty()));
        let (data, rest) = read(Framing::UntilClose, b"hello", 2);
        assert!(data == b"hello" && rest.is_none());
    }

    #[test]
    fn what_is_cut_has_no_end() {
        let text = b"5\r\nhello\r\n0\r\n\r\n";
        for cut in 0..text.len() {
            let (_, rest) = read(Framing::Chunked(Chunk::Size), &text[..cut], 7);
            assert!(rest.is_none(), "{cut}");
        }
        assert!(read(Framing::Length(6), b"hello", 2).1.is_none());
    }

    #[test]
    fn chunks_that_are_none_are_refused() {
        let mut long = b"5;".to_vec();
        long.extend([b'x'; LONGEST_LINE]);
        let mut endless = b"0\r\n".to_vec();
        endless.extend(b"a: b\r\n".repeat(LONGEST_TRAILERS));
        for text in [
            &b"x\r\n"[..],
            b"5\r\nhelloworld",
            b"ffffffffffffffffff\r\n",
            b"-1\r\n",
            b"\r\n\r\n",
            &long,
            &endless,
        ] {
            for step in [1, 16, text.len()] {
                let (_, rest) = read(Framing::Chunked(Chunk::Size), text, step);
                assert!(matches!(rest, Some(Err(LineError::Chunk))), "{text:?}");
            }
        }
    }
}
