//! The head of an HTTP/1 reply: its status, and how its body is read (RFC 9112, sections 4 to 9).

use std::mem::MaybeUninit;

use bytes::BytesMut;
use httparse::{Header, ParserConfig, Response, Status};
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use super::LineError;
use super::framing::{Chunk, Framing};
use crate::transport::RETRY_AFTER_MS;

/// More headers than any upstream sends.
const MOST_HEADERS: usize = 100;

/// What is wanted of the head of a reply.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::transport) struct Head {
    pub(in crate::transport) status: StatusCode,
    /// Those that say when to come again.
    pub(in crate::transport) headers: HeaderMap,
    /// Where the body ends.
    pub(super) framing: Framing,
    /// Whether the connection stays open behind the body.
    pub(super) is_kept: bool,
}

/// Takes the head of the reply out of what was received, when all of it is there.
pub(super) fn take(received: &mut BytesMut) -> Result<Option<Head>, LineError> {
    while !received.is_empty() {
        let Some((length, head)) = parse(received)? else {
            return Ok(None);
        };
        drop(received.split_to(length));
        // What is said before the reply itself is of no use here.
        if !head.status.is_informational() {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

fn parse(received: &[u8]) -> Result<Option<(usize, Head)>, LineError> {
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; MOST_HEADERS];
    let mut response = Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        received,
        &mut headers,
    );
    let Status::Complete(length) = parsed.map_err(LineError::Head)? else {
        return Ok(None);
    };
    let status = StatusCode::from_u16(response.code.unwrap_or_default())
        .map_err(|_| LineError::Head(httparse::Error::Status))?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(LineError::Unasked);
    }
    let is_modern = response.version == Some(1);
    let mut fields = Fields {
        length: None,
        is_chunked: None,
        is_closed: false,
        is_kept: is_modern,
        headers: HeaderMap::new(),
    };
    for header in response.headers.iter() {
        fields.note(header)?;
    }
    let framing = fields.framing(status, is_modern)?;
    let head = Head {
        status,
        is_kept: fields.is_kept && !fields.is_closed && framing != Framing::UntilClose,
        headers: fields.headers,
        framing,
    };
    Ok(Some((length, head)))
}

/// The headers that matter.
struct Fields {
    length: Option<u64>,
    /// Whether the only coding of the body is that of chunks; nothing where it has none.
    is_chunked: Option<bool>,
    /// Whether the connection is closed behind the body, whatever else is said of it.
    is_closed: bool,
    is_kept: bool,
    headers: HeaderMap,
}

impl Fields {
    fn note(&mut self, header: &Header<'_>) -> Result<(), LineError> {
        let (name, value) = (header.name, header.value.trim_ascii());
        if name.eq_ignore_ascii_case("content-length") {
            let length = length(value)?;
            if self.length.is_some_and(|other| other != length) {
                return Err(LineError::Length("it is said twice"));
            }
            self.length = Some(length);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            let once = self.is_chunked.is_none();
            self.is_chunked = Some(once && value.eq_ignore_ascii_case(b"chunked"));
        } else if name.eq_ignore_ascii_case("connection") {
            for word in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                if word.eq_ignore_ascii_case(b"close") {
                    self.is_closed = true;
                } else if word.eq_ignore_ascii_case(b"keep-alive") {
                    self.is_kept = true;
                }
            }
        } else {
            for wanted in [&RETRY_AFTER, &RETRY_AFTER_MS] {
                self.keep(wanted, name, value);
            }
        }
        Ok(())
    }

    fn keep(&mut self, wanted: &HeaderName, name: &str, value: &[u8]) {
        if name.eq_ignore_ascii_case(wanted.as_str())
            && let Ok(value) = HeaderValue::from_bytes(value)
        {
            self.headers.insert(wanted.clone(), value);
        }
    }

    fn framing(&mut self, status: StatusCode, is_modern: bool) -> Result<Framing, LineError> {
        if status.is_informational() {
            return Ok(Framing::Over);
        }
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            // Who speaks of a body may send one all the same, which would be the next reply.
            self.is_closed |= self.is_chunked.is_some() || self.length.is_some_and(|it| it > 0);
            return Ok(Framing::Over);
        }
        match (self.is_chunked, self.length) {
            (Some(_), _) if !is_modern => Err(LineError::Length("chunks in HTTP/1.0")),
            (Some(false), _) => Err(LineError::Length("it is encoded in a way not asked for")),
            (Some(true), length) => {
                // Who says both may be two: one that forwards and one that is forwarded.
                self.is_closed |= length.is_some();
                Ok(Framing::Chunked(Chunk::Size))
            }
            (None, Some(length)) => Ok(Framing::Length(length)),
            (None, None) => Ok(Framing::UntilClose),
        }
    }
}

fn length(value: &[u8]) -> Result<u64, LineError> {
    let digits = std::str::from_utf8(value).ok();
    let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|text| text.parse().ok())
        .ok_or(LineError::Length("it is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head>, LineError> {
        take(&mut BytesMut::from(text))
    }

    fn framing(headers: &str) -> (Framing, bool) {
        let text = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
        let head = read(&text).unwrap().unwrap();
        (head.framing, head.is_kept)
    }

    #[test]
    fn the_end_of_a_body_is_where_the_head_says() {
        let chunked = Framing::Chunked(Chunk::Size);
        for (headers, wanted) in [
            ("content-length: 7\r\n", (Framing::Length(7), true)),
            (
                "Content-Length: 7\r\nconnection: Close\r\n",
                (Framing::Length(7), false),
            ),
            (
                "content-length: 7\r\ncontent-length: 7\r\n",
                (Framing::Length(7), true),
            ),
            ("Transfer-Encoding: Chunked\r\n", (chunked, true)),
            (
                "transfer-encoding: chunked\r\ncontent-length: 7\r\n",
                (chunked, false),
            ),
            (
                "connection: x, close\r\ntransfer-encoding: chunked\r\n",
                (chunked, false),
            ),
            ("", (Framing::UntilClose, false)),
        ] {
            assert_eq!(framing(headers), wanted, "{headers}");
        }
    }

    #[test]
    fn what_has_no_body_has_none_whatever_its_head_says_of_one() {
        for (text, kept) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", true),
            ("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", true),
            (
                "HTTP/1.1 204 No Content\r\ncontent-length: 7\r\n\r\n",
                false,
            ),
            (
                "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n",
                false,
            ),
            (
                "HTTP/1.1 204 No Content\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
                false,
            ),
            (
                "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n",
                false,
            ),
            (
                "HTTP/1.0 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n",
                false,
            ),
            (
                "HTTP/1.0 204 No Content\r\nconnection: keep-alive\r\n\r\n",
                true,
            ),
        ] {
            let head = read(text).unwrap().unwrap();
            assert_eq!(
                (head.framing, head.is_kept),
                (Framing::Over, kept),
                "{text}"
            );
        }
    }

    #[test]
    fn close_wins_over_keep_alive_wherever_it_stands() {
        for (headers, modern, old) in [
            ("", true, false),
            ("connection: keep-alive\r\n", true, true),
            ("connection: close, keep-alive\r\n", false, false),
            ("connection: keep-alive, Close\r\n", false, false),
            (
                "connection: close\r\nconnection: keep-alive\r\n",
                false,
                false,
            ),
            (
                "connection: keep-alive\r\nconnection: close\r\n",
                false,
                false,
            ),
        ] {
            for (version, wanted) in [("1.1", modern), ("1.0", old)] {
                let text = format!("HTTP/{version} 200 OK\r\ncontent-length: 1\r\n{headers}\r\n");
                let head = read(&text).unwrap().unwrap();
                assert_eq!(head.is_kept, wanted, "{text}");
            }
        }
    }

    #[test]
    fn what_leaves_the_end_open_is_refused() {
        for headers in [
            "content-length: 7\r\ncontent-length: 8\r\n",
            "content-length: +7\r\n",
            "content-length: 7, 7\r\n",
            "content-length:\r\n",
            "content-length: 99999999999999999999\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
            assert!(
                matches!(read(&text), Err(LineError::Length(_))),
                "{headers}"
            );
        }
        let old = read("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        assert!(matches!(old, Err(LineError::Length(_))));
    }

    #[test]
    fn a_head_is_read_when_all_of_it_is_there() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Slow\r\nretry-after: 3\r\n\
                    Retry-After-Ms: 2500\r\ncontent-length: 0\r\n\r\nrest";
        let whole = text.len() - 4;
        for cut in 0..whole {
            assert_eq!(read(&text[..cut]).unwrap(), None, "{cut}");
        }
        let mut received = BytesMut::from(text);
        let head = take(&mut received).unwrap().unwrap();
        assert_eq!(head.status, 429);
        assert_eq!(head.headers.get("retry-after").unwrap(), "3");
        assert_eq!(head.headers.get("retry-after-ms").unwrap(), "2500");
        assert_eq!(received, "rest");
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for text in [
            "SSH-2.0-x\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
        ] {
            assert!(matches!(read(text), Err(LineError::Head(_))), "{text}");
        }
        let upgrade = read("HTTP/1.1 101 Switching Protocols\r\n\r\n");
        assert!(matches!(upgrade, Err(LineError::Unasked)));
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "a: b\r\n".repeat(MOST_HEADERS + 1)
        );
        assert!(matches!(read(&many), Err(LineError::Head(_))));
    }
}
