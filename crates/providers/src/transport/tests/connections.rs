//! What becomes of connections: kept, given up when the upstream closes them, shared over HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming as RequestBody;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request as In, Response as Out, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{Receiver, channel};
use tokio_rustls::TlsAcceptor;

use super::*;

const AUTHORITY: &[u8] = include_bytes!("../../../fixtures/tls/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../fixtures/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../../fixtures/tls/server-key.pem");

/// The answer of an upstream that says what it was asked with.
async fn tell(request: In<RequestBody>) -> Result<Out<Full<Bytes>>, hyper::Error> {
    let version = request.version();
    let host = match request.headers().get(HOST) {
        Some(host) => host.to_str().unwrap_or("?").to_owned(),
        None => request.uri().authority().unwrap().to_string(),
    };
    let path = request.uri().path().to_owned();
    let length = request.into_body().collect().await?.to_bytes().len();
    let said = format!("{version:?} {host} {path} {length}");
    Ok(Out::new(Full::new(Bytes::from(said))))
}

/// An upstream behind TLS that speaks these protocols; counts its connections.
async fn encrypted(
    tasks: &mut JoinSet<std::io::Result<()>>,
    protocols: &[&str],
) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let chain = CertificateDer::pem_slice_iter(CERTIFICATE)
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (socket, _) = listener.accept().await?;
            counted.fetch_add(1, Ordering::Relaxed);
            let acceptor = acceptor.clone();
            open.spawn(async move {
                let Ok(socket) = acceptor.accept(socket).await else {
                    return;
                };
                let shared = socket.get_ref().1.alpn_protocol() == Some(b"h2");
                let (io, service) = (TokioIo::new(socket), service_fn(tell));
                // How a connection of a test ends is seen by its client.
                if shared {
                    let server = http2::Builder::new(TokioExecutor::new());
                    drop(server.serve_connection(io, service).await);
                } else {
                    drop(http1::Builder::new().serve_connection(io, service).await);
                }
            });
        }
    });
    (port, connections)
}

async fn said(http: &HttpProvider) -> Result<String, SendError> {
    let reply = http.send(call("m", false)).await?;
    let body = collect(reply.body, 1 << 20).await.unwrap();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

fn trusting(port: u16) -> HttpProvider {
    let mut config = config(format!("https://localhost:{port}/v1"));
    config.authorities = Some(AUTHORITY.to_vec());
    HttpProvider::new(&config).unwrap()
}

#[tokio::test]
async fn http2_is_used_where_it_is_offered_and_one_connection_serves_all() {
    let mut tasks = JoinSet::new();
    let (port, connections) = encrypted(&mut tasks, &["h2", "http/1.1"]).await;
    let http = trusting(port);
    let length = call("m", false).body.len();
    let wanted = format!(
        "{:?} localhost:{port} /v1/chat/completions {length}",
        Version::HTTP_2
    );
    assert_eq!(said(&http).await.unwrap(), wanted);
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let http = http.clone();
        calls.spawn(async move { said(&http).await.unwrap() });
    }
    assert!(calls.join_all().await.iter().all(|said| *said == wanted));
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn http1_is_used_where_nothing_else_is_offered() {
    let mut tasks = JoinSet::new();
    let (port, connections) = encrypted(&mut tasks, &["http/1.1"]).await;
    let http = trusting(port);
    for _ in 0..3 {
        let said = said(&http).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 localhost:"), "{said}");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1, "one, kept");
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let mut tasks = JoinSet::new();
    let (port, _) = encrypted(&mut tasks, &["h2"]).await;
    let http = HttpProvider::new(&config(format!("https://localhost:{port}/v1"))).unwrap();
    let error = said(&http).await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[test]
fn authorities_must_be_certificates() {
    for bad in [&b""[..], b"-----BEGIN CERTIFICATE-----\nnonsense", KEY] {
        let mut config = config("https://localhost/v1".to_owned());
        config.authorities = Some(bad.to_vec());
        let error = HttpProvider::new(&config).unwrap_err();
        assert!(matches!(error, TransportError::Authorities(_)), "{error}");
    }
}

/// An upstream that closes each connection after two answers without saying so in them, and then
/// tells here.
async fn closing(tasks: &mut JoinSet<std::io::Result<()>>) -> (HttpProvider, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, closed) = channel(1);
    tasks.spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await?;
            let request = call("m", false).body;
            for _ in 0..2 {
                let mut seen = Vec::new();
                while !seen.ends_with(&request) {
                    socket.read_buf(&mut seen).await?;
                }
                socket
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await?;
            }
            drop(socket);
            tell.send(()).await.unwrap();
        }
    });
    let http = HttpProvider::new(&config(format!("http://{address}/v1"))).unwrap();
    (http, closed)
}

/// Lets the runtime hear what its sockets have to say: it has when another one was heard.
async fn hear() {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").await.unwrap();
    near.read_u8().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_the_upstream_has_closed_is_not_used_again() {
    let mut tasks = JoinSet::new();
    let (http, mut closed) = closing(&mut tasks).await;
    for _ in 0..3 {
        assert_eq!(said(&http).await.unwrap(), "ok");
        assert_eq!(http.pool.waiting(), 1);
        assert_eq!(said(&http).await.unwrap(), "ok");
        closed.recv().await.unwrap();
        hear().await;
    }
}

#[tokio::test]
async fn a_stream_that_was_read_to_its_end_leaves_its_connection_for_the_next() {
    let mut tasks = JoinSet::new();
    let http = HttpProvider::new(&config(upstream(&mut tasks).await)).unwrap();
    for _ in 0..3 {
        let reply = http.send(call("sim/lorem?tokens=40", true)).await.unwrap();
        assert!(
            collect(reply.body, 1 << 20)
                .await
                .unwrap()
                .ends_with(b"[DONE]\n\n")
        );
        assert_eq!(http.pool.waiting(), 1);
    }
    let left = http
        .send(call("sim/slow?chunk_ms=60000", true))
        .await
        .unwrap();
    drop(left);
    assert_eq!(http.pool.waiting(), 0, "what is left half-read is closed");
}

#[tokio::test]
async fn what_came_together_is_there_together() {
    use futures_util::FutureExt;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = HttpProvider::new(&config(format!(
        "http://{}/v1",
        listener.local_addr().unwrap()
    )))
    .unwrap();
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(&call("m", true).body) {
            socket.read_buf(&mut seen).await.unwrap();
        }
        let chunks = "9\r\ndata: 1\n\n\r\n".repeat(20);
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        socket
            .write_all(format!("{head}{chunks}").as_bytes())
            .await
            .unwrap();
        socket
    };
    let (reply, _socket) = tokio::join!(http.send(call("m", true)), serve);
    let mut body = reply.unwrap().body;
    assert!(body.next().await.is_some());
    let mut more = 0;
    while let Some(Some(Ok(_))) = body.next().now_or_never() {
        more += 1;
    }
    assert_eq!(more, 19, "none waits for another turn of the task");
}
