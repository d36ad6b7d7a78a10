//! What an HTTP/1 upstream may say, and what becomes of its connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// A provider, and the place where its connections arrive.
async fn stand() -> (HttpProvider, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = config(format!("http://{address}/v1"));
    config.timeouts.head = Duration::from_secs(10);
    config.timeouts.idle = Duration::from_secs(10);
    (HttpProvider::new(&config).unwrap(), listener)
}

/// Reads a request up to the end of its body.
async fn asked(socket: &mut TcpStream, body: &[u8]) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(body) {
        assert!(socket.read_buf(&mut seen).await.unwrap() > 0);
    }
    String::from_utf8(seen).unwrap()
}

/// What the caller gets when this is answered, and how many connections then wait.
async fn answered(answer: &'static str) -> (Result<Bytes, BodyError>, usize) {
    let (http, listener) = stand().await;
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        asked(&mut socket, &call("m", false).body).await;
        socket.write_all(answer.as_bytes()).await.unwrap();
    };
    let (reply, ()) = tokio::join!(http.send(call("m", false)), serve);
    let body = collect(reply.unwrap().body, 1 << 20).await;
    (body, http.pool.waiting())
}

#[tokio::test]
async fn a_request_says_all_that_an_upstream_needs() {
    let (http, listener) = stand().await;
    let port = listener.local_addr().unwrap().port();
    let body = call("m", false).body;
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let seen = asked(&mut socket, &body).await;
        socket
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        (seen, socket)
    };
    let (reply, (seen, _socket)) = tokio::join!(http.send(call("m", false)), serve);
    assert_eq!(reply.unwrap().status, 204);
    let (head, rest) = seen.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    lines[1..].sort_unstable();
    let wanted = [
        "POST /v1/chat/completions HTTP/1.1",
        "accept: application/json, text/event-stream",
        "authorization: Bearer sk-very-secret",
        &format!("content-length: {}", body.len()),
        "content-type: application/json",
        &format!("host: 127.0.0.1:{port}"),
    ];
    assert_eq!(lines, wanted);
    assert_eq!(rest.as_bytes(), body);
}

#[tokio::test]
async fn bodies_end_where_they_should_and_their_connections_with_them() {
    for (answer, wanted, kept) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "ok", 1),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
            "ok",
            0,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", "until the end", 0),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "ok",
            1,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
            "ok",
            0,
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "", 1),
    ] {
        let (body, waiting) = answered(answer).await;
        assert_eq!(body.unwrap(), wanted, "{answer}");
        assert_eq!(waiting, kept, "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_is_cut_or_garbled_is_broken_and_its_connection_closed() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok",
    ] {
        let (body, waiting) = answered(answer).await;
        assert!(matches!(body, Err(BodyError::Broken(_))), "{answer}");
        assert_eq!(waiting, 0, "{answer}");
    }
}

#[tokio::test]
async fn what_is_no_reply_is_said() {
    for (answer, why) in [
        ("SSH-2.0-OpenSSH\r\n", "not HTTP"),
        ("", "closed"),
        ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "length"),
    ] {
        let (http, listener) = stand().await;
        let serve = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            asked(&mut socket, &call("m", false).body).await;
            socket.write_all(answer.as_bytes()).await.unwrap();
        };
        let (reply, ()) = tokio::join!(http.send(call("m", false)), serve);
        let error = reply.unwrap_err().to_string();
        assert!(error.contains(why), "{answer}: {error}");
        assert!(!error.contains("very-secret"));
    }
}

#[tokio::test]
async fn an_answer_is_heard_while_the_request_is_still_being_sent() {
    for status in [413, 200] {
        let (http, listener) = stand().await;
        let mut large = call("m", false);
        large.body = vec![b' '; 32 << 20].into();
        let serve = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.read_u8().await.unwrap();
            let answer = format!("HTTP/1.1 {status} Early\r\ncontent-length: 2\r\n\r\nno");
            socket.write_all(answer.as_bytes()).await.unwrap();
            socket
        };
        let (reply, _socket) = tokio::join!(http.send(large), serve);
        let reply = reply.unwrap();
        assert_eq!(reply.status, status);
        assert_eq!(collect(reply.body, 9).await.unwrap(), "no");
        assert_eq!(http.pool.waiting(), 0, "half a request went out on it");
    }
}

#[tokio::test]
async fn a_request_is_written_on_when_its_reply_has_begun() {
    let (http, listener) = stand().await;
    let mut large = call("m", false);
    large.body = vec![b' '; 32 << 20].into();
    let half = large.body.len() / 2;
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        socket
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n")
            .await
            .unwrap();
        let mut part = vec![0; half];
        for said in [b"one ", b"two."] {
            socket.read_exact(&mut part).await.unwrap();
            socket.write_all(said).await.unwrap();
        }
        socket
    };
    let read = async {
        let reply = http.send(large).await.unwrap();
        collect(reply.body, 9).await
    };
    let (body, _socket) = tokio::join!(read, serve);
    assert_eq!(body.unwrap(), "one two.");
    assert_eq!(http.pool.waiting(), 1, "all of the request went out");
}

#[tokio::test]
async fn large_bodies_go_and_come_whole() {
    let (http, listener) = stand().await;
    let mut large = call("m", false);
    large.body = (0..=250).cycle().take(4 << 20).collect();
    let (sent, length) = (large.body.clone(), large.body.len());
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(&sent) {
            assert!(socket.read_buf(&mut seen).await.unwrap() > 0);
        }
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&sent).await.unwrap();
        socket
    };
    let read = async {
        let reply = http.send(large).await.unwrap();
        collect(reply.body, length).await.unwrap()
    };
    let (body, _socket) = tokio::join!(read, serve);
    assert!(body == sent);
    assert_eq!(http.pool.waiting(), 1);
}
