//! Finds the events of a server-sent event stream in chunks that are cut anywhere.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use memchr::memchr;

/// An event that does not end is let go beyond this size, so that no upstream can fill the memory.
const MAX_EVENT: usize = 4 << 20;

/// Joins chunks until they hold a whole event.
///
/// A chunk that holds whole events comes back as it is; only the piece of an event that is cut by
/// the chunk's end is copied, and waits for the rest.
#[derive(Debug, Default)]
pub struct Splitter {
    tail: BytesMut,
    searched: usize,
}

impl Splitter {
    /// Takes a chunk. What comes back holds at least one whole event, or is empty.
    ///
    /// The caller cuts it with [`event_end`] and gives what is left to [`Splitter::keep`].
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        if self.tail.is_empty() {
            return chunk;
        }
        self.tail.extend_from_slice(&chunk);
        if event_end(&self.tail, self.searched).is_none() && self.tail.len() <= MAX_EVENT {
            // The blank line may be cut in two: its first two bytes are looked at again.
            self.searched = self.tail.len().saturating_sub(2);
            return Bytes::new();
        }
        self.searched = 0;
        self.tail.split().freeze()
    }

    /// Keeps the beginning of an event whose rest is to come.
    pub fn keep(&mut self, rest: &[u8]) {
        self.searched = rest.len().saturating_sub(2);
        self.tail.extend_from_slice(rest);
    }

    /// Whether an unfinished event grew too large to wait for.
    pub fn is_full(rest: &[u8]) -> bool {
        rest.len() > MAX_EVENT
    }

    /// What is left when the stream has ended.
    pub fn finish(&mut self) -> Bytes {
        self.searched = 0;
        self.tail.split().freeze()
    }
}

/// Where the first event that ends at or after `from` ends, its blank line included.
pub fn event_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let found = memchr(b'\n', bytes.get(at..)?)?;
        let next = at.checked_add(found)?.checked_add(1)?;
        let after = bytes.get(next..)?;
        if after.starts_with(b"\n") {
            return next.checked_add(1);
        }
        if after.starts_with(b"\r\n") {
            return next.checked_add(2);
        }
        at = next;
    }
}

/// The data of one event: its `data:` lines, joined by line ends. Comments have none.
pub fn data(event: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut data: Option<Cow<'_, [u8]>> = None;
    let mut rest = event;
    while !rest.is_empty() {
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let (line, tail) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        rest = tail.get(1..).unwrap_or_default();
        let Some(value) = data_line(line) else {
            continue;
        };
        match &mut data {
            None => data = Some(Cow::Borrowed(value)),
            Some(joined) => {
                let whole = joined.to_mut();
                whole.push(b'\n');
                whole.extend_from_slice(value);
            }
        }
    }
    data
}

fn data_line(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let value = line.strip_prefix(b"data:")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut splitter = Splitter::default();
        let mut events = Vec::new();
        for chunk in chunks {
            let buffer = splitter.push(Bytes::copy_from_slice(chunk));
            let mut at = 0;
            while let Some(end) = event_end(&buffer, at) {
                events.push(buffer[at..end].to_vec());
                at = end;
            }
            splitter.keep(&buffer[at..]);
        }
        (events, splitter.finish().to_vec())
    }

    #[test]
    fn every_cut_gives_the_same_events() {
        let stream =
            b": hi\n\ndata: a\r\n\r\nevent: x\ndata: b\ndata: c\n\ndata: [DONE]\n\ndata: cut";
        let whole = events(&[stream]);
        assert_eq!(whole.0.len(), 4);
        assert_eq!(whole.1, b"data: cut");
        for a in 0..stream.len() {
            for b in a..stream.len() {
                assert_eq!(events(&[&stream[..a], &stream[a..b], &stream[b..]]), whole);
            }
        }
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(events(&single), whole);
    }

    #[test]
    fn data_lines_are_joined_and_comments_have_none() {
        assert_eq!(data(b": keep-alive\n\n"), None);
        assert_eq!(data(b"data: a\r\n\r\n").as_deref(), Some(&b"a"[..]));
        assert_eq!(
            data(b"event: e\ndata:a\ndata: b\n\n").as_deref(),
            Some(&b"a\nb"[..])
        );
    }

    #[test]
    fn an_endless_event_is_let_go() {
        let mut splitter = Splitter::default();
        splitter.keep(b"data: ");
        assert!(splitter.push(Bytes::from(vec![b'x'; 100])).is_empty());
        assert!(!splitter.push(Bytes::from(vec![b'x'; MAX_EVENT])).is_empty());
    }
}
