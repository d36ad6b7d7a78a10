//! The lines of a file, one after the other, in memory that does not grow with it.

use std::io::{self, BufRead};

/// The longest line that is read, in bytes.
pub(super) const LONGEST: usize = 1 << 20;

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// It was longer than a usage can be, and was passed over.
    TooLong,
}

/// Reads line by line.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    read: u64,
}

impl<R: BufRead> Lines<R> {
    /// The lines of an input.
    pub(crate) const fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
            number: 0,
            read: 0,
        }
    }

    /// How many bytes were read.
    pub(crate) const fn read(&self) -> u64 {
        self.read
    }

    /// The input, to see what is at hand of it.
    pub(crate) const fn input(&self) -> &R {
        &self.input
    }

    /// The next line that is not blank, and its number, counted from 1.
    ///
    /// # Errors
    /// Those of the input.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        loop {
            self.line.clear();
            let Some(whole) = self.take_line()? else {
                return Ok(None);
            };
            self.number += 1;
            if self.number == 1 && self.line.starts_with(b"\xef\xbb\xbf") {
                self.line.drain(..3);
            }
            if !whole {
                return Ok(Some((self.number, Line::TooLong)));
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some((self.number, Line::Whole(&self.line))));
            }
        }
    }

    /// Moves the next line into the buffer; `None` at the end, `false` where it is too long.
    fn take_line(&mut self) -> io::Result<Option<bool>> {
        let (mut any, mut whole) = (false, true);
        loop {
            let at_hand = match self.input.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if at_hand.is_empty() {
                return Ok(any.then_some(whole));
            }
            any = true;
            let end = memchr::memchr(b'\n', at_hand);
            let part = &at_hand[..end.unwrap_or(at_hand.len())];
            whole = whole && self.line.len() + part.len() <= LONGEST;
            if whole {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            self.read += u64::try_from(used).unwrap_or(0);
            if end.is_some() {
                return Ok(Some(whole));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn all(text: &[u8], capacity: usize) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut lines = Lines::new(BufReader::with_capacity(capacity, text));
        let mut found = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            found.push(match line {
                Line::Whole(bytes) => (number, Some(bytes.to_vec())),
                Line::TooLong => (number, None),
            });
        }
        assert_eq!(lines.read(), u64::try_from(text.len()).unwrap());
        found
    }

    #[test]
    fn blank_lines_count_and_say_nothing() {
        let text = b"\xef\xbb\xbfone\r\n\n  \ntwo";
        let expected = vec![(1, Some(b"one\r".to_vec())), (4, Some(b"two".to_vec()))];
        for capacity in [1, 2, 7, 100] {
            assert_eq!(all(text, capacity), expected);
        }
        assert_eq!(all(b"", 10), []);
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_memory_than_the_longest() {
        let mut text = vec![b'x'; LONGEST + 1];
        text.extend_from_slice(b"\nnext\n");
        assert_eq!(all(&text, 4096), [(1, None), (2, Some(b"next".to_vec()))]);
        let longest = vec![b'x'; LONGEST];
        assert_eq!(all(&longest, 4096), [(1, Some(longest.clone()))]);
    }
}
