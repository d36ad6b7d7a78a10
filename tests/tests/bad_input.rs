//! Input that no client should send: refused in the dialect's shape, and nothing has changed.

#[path = "bad_input/bodies.rs"]
mod bodies;
#[path = "bad_input/raw.rs"]
mod raw;

use acceptance::Failure;
use acceptance::call::{Answer, Ask, Caller, read};
use acceptance::control::Control;
use acceptance::gate::Gate;
use acceptance::proof::Findings;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

const FUNDS: i128 = 1_000_000_000;
const CHAT: &str = "/v1/chat/completions";

struct Suite {
    gate: Gate,
    control: Control,
    account: String,
    caller: Caller,
    client: Client,
    secret: String,
    findings: Findings,
}

impl Suite {
    async fn start() -> Result<Self, Failure> {
        let gate = Gate::demo(None).await?;
        let control = Control::sign_in(&gate).await?;
        let (account, key) = control.funded("bad-input", FUNDS).await?;
        let caller = Caller::new(gate.origin(), &key.secret)?;
        let client = Client::builder().no_proxy().build()?;
        let (findings, secret) = (Findings::default(), key.secret);
        Ok(Self {
            gate,
            control,
            account,
            caller,
            client,
            secret,
            findings,
        })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.gate.origin()))
    }

    /// Sends a request that must be refused so.
    async fn refused(&mut self, name: &str, request: RequestBuilder, status: u16, code: &str) {
        let answer = read(request, false).await;
        self.is_refusal(name, &answer, status);
        self.findings.check(answer.code() == code, || {
            format!("{name}: not {code}: {answer:?}")
        });
    }

    fn is_refusal(&mut self, name: &str, answer: &Answer, status: u16) {
        let error = answer.error();
        self.findings.check(answer.status == status, || {
            format!("{name}: not {status}: {answer:?}")
        });
        self.findings.check(is_dialect(&error), || {
            format!("{name}: not OpenAI's shape: {answer:?}")
        });
        self.findings.check(answer.id.is_some(), || {
            format!("{name}: the answer does not name its request: {answer:?}")
        });
    }

    /// Nothing was charged, nothing is on record, and the server serves.
    async fn nothing_changed(mut self) -> Result<(), Failure> {
        let balance = self.control.balance(&self.account).await?;
        self.findings
            .check(balance == FUNDS, || format!("the balance is {balance}"));
        let calls = self.control.calls(&self.account).await?;
        self.findings
            .check(calls.is_empty(), || format!("on record: {calls:?}"));
        let answer = self.caller.call(&Ask::of("sim/echo")).await;
        self.findings.check(answer.is_complete(), || {
            format!("does not serve: {answer:?}")
        });
        self.gate.stop().await?;
        if self.findings.is_empty() {
            return Ok(());
        }
        Err(format!("{:#?}", self.findings.list()).into())
    }
}

/// All four keys, each of its type.
fn is_dialect(error: &Value) -> bool {
    let text_or_null = |key: &str| error.get(key).is_some_and(|v| v.is_string() || v.is_null());
    let said = |key: &str| error[key].as_str().is_some_and(|text| !text.is_empty());
    said("message") && said("type") && text_or_null("param") && text_or_null("code")
}

#[tokio::test]
async fn bodies_that_are_no_requests() {
    let mut suite = Suite::start().await.unwrap();
    for (name, body, status, code) in bodies::chat() {
        let request = suite.caller.post(CHAT).body(body);
        suite.refused(&name, request, status, code).await;
    }
    for (name, body, status, code) in bodies::embeddings() {
        let request = suite.caller.post("/v1/embeddings").body(body);
        suite.refused(&name, request, status, code).await;
    }
    suite.nothing_changed().await.unwrap();
}

#[tokio::test]
async fn a_body_of_twenty_megabytes() {
    let mut suite = Suite::start().await.unwrap();
    let mut ask = Ask::of("sim/echo");
    ask.prompt = "x".repeat(20 * 1024 * 1024);
    let request = suite.caller.post(CHAT).body(ask.body());
    suite
        .refused("20 MB", request, 413, "request_too_large")
        .await;
    // The same without saying so before.
    let pieces = ask.body().into_bytes();
    let pieces: Vec<_> = pieces.chunks(1 << 20).map(<[u8]>::to_vec).collect();
    let stream = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let request = suite
        .caller
        .post(CHAT)
        .body(reqwest::Body::wrap_stream(stream));
    suite
        .refused("20 MB in pieces", request, 413, "request_too_large")
        .await;
    suite.nothing_changed().await.unwrap();
}

#[tokio::test]
async fn keys_of_the_wrong_form() {
    let mut suite = Suite::start().await.unwrap();
    let secret = suite.secret.clone();
    let (cut, turned) = (&secret[..secret.len() - 1], secret.to_uppercase());
    let values: Vec<Vec<u8>> = vec![
        b"".into(),
        b"Bearer".into(),
        b"Bearer ".into(),
        b"Bearer    ".into(),
        b"Basic dXNlcjpwYXNzd29yZA==".into(),
        secret.clone().into(),
        format!("Token {secret}").into(),
        format!("Bearer {cut}").into(),
        format!("Bearer {secret}x").into(),
        format!("Bearer {turned}").into(),
        format!("Bearer {}", "k".repeat(6_000)).into(),
        "Bearer schlüssel".into(),
        b"Bearer \xff\xfe\x80".into(),
        b"Bearer ' OR 1=1 --".into(),
    ];
    for value in values {
        let name = format!("authorization: {:.40}", String::from_utf8_lossy(&value));
        let body = Ask::of("sim/echo").body();
        let request = suite
            .request(Method::POST, CHAT)
            .header("authorization", value)
            .body(body);
        suite.refused(&name, request, 401, "invalid_api_key").await;
    }
    let request = suite
        .request(Method::POST, CHAT)
        .body(Ask::of("sim/echo").body());
    suite
        .refused("no key", request, 401, "invalid_api_key")
        .await;
    for path in [
        "/v1/key",
        "/v1/credits",
        "/v1/generation?id=req_0000000000000",
    ] {
        let request = suite.request(Method::GET, path);
        suite.refused(path, request, 401, "invalid_api_key").await;
    }
    suite.nothing_changed().await.unwrap();
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist() {
    let mut suite = Suite::start().await.unwrap();
    let get = |suite: &Suite, method: &Method, path: &str| {
        suite
            .request(method.clone(), path)
            .bearer_auth(&suite.secret)
    };
    for path in [
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v1/chat",
        "/v1/chat/completions/",
    ] {
        let answer = read(get(&suite, &Method::GET, path), false).await;
        suite.is_refusal(path, &answer, 404);
    }
    for (method, path) in [
        (Method::GET, CHAT),
        (Method::PUT, CHAT),
        (Method::DELETE, "/v1/embeddings"),
        (Method::POST, "/v1/models"),
        (Method::PATCH, "/v1/key"),
    ] {
        let answer = read(get(&suite, &method, path), false).await;
        let name = format!("{method} {path}");
        let refused = matches!(answer.status, 404 | 405);
        suite
            .findings
            .check(refused, || format!("{name}: {answer:?}"));
        suite.is_refusal(&name, &answer, answer.status);
    }
    for id in [
        "",
        "x",
        "req_0000000000000",
        "req_zzzzzzzzzzzzz",
        "%00",
        "req_%F0%9F%92%A9",
    ] {
        let path = format!("/v1/generation?id={id}");
        let answer = read(get(&suite, &Method::GET, &path), false).await;
        suite.is_refusal(&path, &answer, if id.is_empty() { 400 } else { 404 });
    }
    suite.nothing_changed().await.unwrap();
}

#[tokio::test]
async fn floods_of_headers_and_broken_requests() {
    let mut suite = Suite::start().await.unwrap();
    let address = suite.gate.origin().trim_start_matches("http://").to_owned();
    for (name, bytes) in raw::floods(&suite.secret) {
        let status = raw::status(&address, &bytes).await;
        let refused = status
            .as_ref()
            .is_ok_and(|status| (400..500).contains(status));
        suite
            .findings
            .check(refused, || format!("{name}: {status:?}"));
        let alive = suite.gate.is_alive().unwrap();
        suite
            .findings
            .check(alive, || format!("{name}: the server is gone"));
    }
    suite.nothing_changed().await.unwrap();
}

#[tokio::test]
async fn idempotency_keys_of_the_wrong_form() {
    let mut suite = Suite::start().await.unwrap();
    let values: Vec<Vec<u8>> = vec![b"".into(), "k".repeat(256).into(), "schlüssel".into()];
    for value in values {
        let name = format!("idempotency-key: {:.20}", String::from_utf8_lossy(&value));
        let body = Ask::of("sim/echo").body();
        let request = suite
            .caller
            .post(CHAT)
            .header("idempotency-key", value)
            .body(body);
        suite.refused(&name, request, 400, "invalid_value").await;
    }
    suite.nothing_changed().await.unwrap();
}

/// One key, one charge: a second use while the first runs is refused, and a third after it too.
#[tokio::test]
async fn an_idempotency_key_is_charged_once() {
    let mut suite = Suite::start().await.unwrap();
    let slow = Ask::of("sim/slow?first_ms=1500&chunk_ms=0&tokens=4");
    let send = |suite: &Suite, ask: &Ask| {
        suite
            .caller
            .post(CHAT)
            .header("idempotency-key", "order-1")
            .body(ask.body())
    };
    let first = tokio::task::JoinSet::from_iter([read(send(&suite, &slow), false)]);
    let second = read(send(&suite, &slow), false).await;
    let firsts = first.join_all().await;
    let answers = [&firsts[0], &second];
    let served: Vec<_> = answers
        .iter()
        .filter(|answer| answer.is_complete())
        .collect();
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| !answer.is_complete())
        .collect();
    assert_eq!((served.len(), refused.len()), (1, 1), "{answers:?}");
    suite.is_refusal("second use", refused[0], 409);
    assert_eq!(refused[0].code(), "idempotency_key_in_use");
    let third = read(send(&suite, &slow), false).await;
    suite.is_refusal("third use", &third, 409);
    assert_eq!(third.code(), "idempotency_key_used", "{third:?}");
    let named = third.error()["metadata"]["request_id"]
        .as_str()
        .map(str::to_owned);
    assert_eq!(
        named, served[0].id,
        "the refusal names the call that was charged"
    );
    let balance = suite.control.balance(&suite.account).await.unwrap();
    assert_eq!(FUNDS - balance, served[0].cost_nanos().unwrap());
    assert_eq!(suite.control.calls(&suite.account).await.unwrap().len(), 1);
    assert!(suite.findings.is_empty(), "{:#?}", suite.findings.list());
}

/// A call that failed and cost nothing has not used up its key; the one that was charged has.
#[tokio::test]
async fn an_idempotency_key_of_a_failed_call_can_be_used_again() {
    let mut suite = Suite::start().await.unwrap();
    let send = |suite: &Suite, model: &str| {
        suite
            .caller
            .post(CHAT)
            .header("idempotency-key", "order-2")
            .body(Ask::of(model).body())
    };
    for model in ["sim/lorem?status=500", "sim/cut"] {
        let failed = read(send(&suite, model), false).await;
        suite.is_refusal(model, &failed, 502);
        assert_eq!(failed.code(), "provider_unavailable", "{failed:?}");
    }
    let served = read(send(&suite, "sim/echo"), false).await;
    assert!(served.is_complete(), "{served:?}");
    let again = read(send(&suite, "sim/echo"), false).await;
    suite.is_refusal("after it was charged", &again, 409);
    assert_eq!(again.code(), "idempotency_key_used", "{again:?}");
    let named = again.error()["metadata"]["request_id"]
        .as_str()
        .map(str::to_owned);
    assert_eq!(named, served.id, "the refusal names the charged call");
    let balance = suite.control.balance(&suite.account).await.unwrap();
    assert_eq!(FUNDS - balance, served.cost_nanos().unwrap());
    assert!(suite.findings.is_empty(), "{:#?}", suite.findings.list());
    suite.gate.stop().await.unwrap();
    suite.gate.verify_ledger().unwrap();
}
