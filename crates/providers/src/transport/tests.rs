use futures_util::StreamExt;
use gateway_core::dialect::Dialect;
use gateway_core::endpoint::Endpoint;
use gateway_core::provider::BodyError;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::openai::OpenAi;
use crate::simulated::{self, SimulatedProvider};

mod connections;
mod lines;

fn config(base_url: String) -> HttpProviderConfig {
    HttpProviderConfig {
        base_url,
        credential: Some(SecretString::from("sk-very-secret")),
        ..HttpProviderConfig::default()
    }
}

/// A simulated upstream on a port of its own; it ends with the set.
async fn upstream(tasks: &mut JoinSet<std::io::Result<()>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(simulated::http::serve(listener, std::future::pending()));
    format!("http://{address}/v1/")
}

fn call(model: &str, stream: bool) -> UpstreamCall {
    let body = format!(
        r#"{{"model":"{model}","stream":{stream},"stream_options":{{"include_usage":true}},"messages":[{{"role":"user","content":"a b c"}}]}}"#
    );
    UpstreamCall {
        endpoint: Endpoint::ChatCompletions,
        body: body.into(),
        stream,
    }
}

#[tokio::test]
async fn over_http_the_simulated_provider_says_the_same() {
    let mut tasks = JoinSet::new();
    let http = HttpProvider::new(&config(upstream(&mut tasks).await))
        .unwrap()
        .fresh();
    let local = SimulatedProvider::default();
    for model in [
        "sim/echo",
        "sim/lorem?tokens=70",
        "sim/no-usage",
        "sim/lorem?status=429",
        "none",
    ] {
        for stream in [false, true] {
            let far = http.send(call(model, stream)).await.unwrap();
            let near = local.send(call(model, stream)).await.unwrap();
            assert_eq!(far.status, near.status, "{model}");
            assert_eq!(far.retry_after, near.retry_after);
            let far = collect(far.body, 1 << 20).await.unwrap();
            assert_eq!(far, collect(near.body, 1 << 20).await.unwrap(), "{model}");
        }
    }
    assert_eq!(http.models().await.unwrap(), local.models().await.unwrap());
}

#[tokio::test]
async fn a_cut_over_http_is_a_broken_body() {
    let mut tasks = JoinSet::new();
    let http = HttpProvider::new(&config(upstream(&mut tasks).await)).unwrap();
    let mut reply = http.send(call("sim/cut?tokens=10", true)).await.unwrap();
    let (mut frames, mut out, mut broken) = (OpenAi.frames(), Vec::new(), false);
    while let Some(chunk) = reply.body.next().await {
        match chunk {
            Ok(bytes) => frames.feed(bytes, &mut out),
            Err(error) => broken = matches!(error, BodyError::Broken(_)),
        }
    }
    let end = frames.finish();
    assert!(broken && !end.complete);
    assert!(end.delivered.bytes() > 0);
    let whole = http.send(call("sim/cut", false)).await.unwrap();
    assert!(collect(whole.body, 1 << 20).await.is_err());
}

#[tokio::test]
async fn silence_ends_in_time() {
    let mut tasks = JoinSet::new();
    let mut config = config(upstream(&mut tasks).await);
    config.timeouts.head = Duration::from_millis(40);
    config.timeouts.idle = Duration::from_millis(40);
    let http = HttpProvider::new(&config).unwrap();
    let hung = http.send(call("sim/echo?hang=1", false)).await.unwrap_err();
    assert_eq!(hung, SendError::Timeout(config.timeouts.head));
    let mut reply = http
        .send(call("sim/slow?first_ms=0&chunk_ms=60000", true))
        .await
        .unwrap();
    let mut last = None;
    while let Some(chunk) = reply.body.next().await {
        let ended = chunk.is_err();
        last = Some(chunk);
        if ended {
            break;
        }
    }
    assert_eq!(last, Some(Err(BodyError::Idle(config.timeouts.idle))));
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_no_secret_is_shown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let http = HttpProvider::new(&config(format!("http://{address}"))).unwrap();
    let error = http.send(call("sim/echo", false)).await.unwrap_err();
    assert!(matches!(error, SendError::Unavailable(_)), "{error}");
    let shown = format!("{http:?} {error:?} {error} {:?}", config(String::new()));
    assert!(!shown.contains("very-secret"), "{shown}");
}

#[test]
fn addresses_that_cannot_work_are_refused() {
    for bad in [
        "",
        "api.openai.com",
        "ftp://x/v1",
        "http://",
        "http://u:sk-secret@x/v1",
        "http://x/?q=1",
    ] {
        let error = HttpProvider::new(&config(bad.to_owned())).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let mut odd = config("http://127.0.0.1:1/v1".to_owned());
    odd.credential = Some(SecretString::from("line\nbreak"));
    assert!(HttpProvider::new(&odd).is_err());
    odd.credential = None;
    odd.headers = vec![("x y".to_owned(), SecretString::from("v"))];
    assert!(matches!(HttpProvider::new(&odd), Err(TransportError::Header(name)) if name == "x y"));
}

#[test]
fn headers_of_the_connection_cannot_be_configured() {
    let mut config = config("http://127.0.0.1:1/v1".to_owned());
    for own in [
        "Content-Length",
        "content-length",
        "Transfer-Encoding",
        "Host",
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Upgrade",
    ] {
        config.headers = vec![(own.to_owned(), SecretString::from("0"))];
        let made = HttpProvider::new(&config);
        assert!(matches!(made, Err(TransportError::Header(name)) if name == own));
    }
    config.headers = vec![("X-Title".to_owned(), SecretString::from("0"))];
    assert!(HttpProvider::new(&config).is_ok());
}
