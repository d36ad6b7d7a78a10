//! Requests as bytes, for what no client library would send.

use std::time::Duration;

use acceptance::Failure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(30);

/// Heads that are too much, or are none; each is refused with a status of its own choice in 4xx.
pub(super) fn floods(key: &str) -> Vec<(&'static str, Vec<u8>)> {
    let body = r#"{"model":"sim/echo","messages":[{"role":"user","content":"hi"}]}"#;
    let post = |headers: &str| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
             content-length: {}\r\n{headers}connection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    let many = "x-flood: more\r\n".repeat(5_000);
    let huge = format!("x-flood: {}\r\n", "f".repeat(1 << 20));
    let path = format!(
        "GET /v1/{} HTTP/1.1\r\nhost: x\r\n\r\n",
        "p".repeat(1 << 20)
    );
    vec![
        ("5,000 headers", post(&many)),
        ("a header of a megabyte", post(&huge)),
        ("a path of a megabyte", path.into_bytes()),
        ("two lengths", post("content-length: 5\r\n")),
        (
            "a length that is none",
            b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".to_vec(),
        ),
        (
            "no HTTP",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
        ),
        (
            "a header without a colon",
            b"GET /v1/key HTTP/1.1\r\nhost x\r\n\r\n".to_vec(),
        ),
    ]
}

/// Sends bytes, and reads the status of what comes back.
pub(super) async fn status(address: &str, bytes: &[u8]) -> Result<u16, Failure> {
    tokio::time::timeout(PATIENCE, exchange(address, bytes)).await?
}

async fn exchange(address: &str, bytes: &[u8]) -> Result<u16, Failure> {
    let (mut from, mut to) = TcpStream::connect(address).await?.into_split();
    // The server may stop listening before all is sent; what it says is what counts.
    let send = async {
        if to.write_all(bytes).await.is_err() {
            return;
        }
        drop(to.flush().await);
    };
    let mut head = vec![0; 4096];
    let receive = async {
        let mut read = 0;
        while read < head.len() {
            match from.read(&mut head[read..]).await {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(_) if read > 0 => break,
                Err(error) => return Err(Failure::from(error)),
            }
        }
        Ok(String::from_utf8_lossy(&head[..read]).into_owned())
    };
    let ((), text) = tokio::join!(send, receive);
    let text = text?;
    let status = text
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    Ok(status
        .ok_or_else(|| format!("no answer: {text:.100}"))?
        .parse()?)
}
