//! What is said to customers reaches whoever tells them: each step of a renewal that fails, signed,
//! until it is taken.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use acceptance::control::Control;
use acceptance::served::{Payer, Served};
use ring::hmac;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const SECRET: &str = "whsec_of_the_test";
const PRICE: i64 = 9_000_000_000;
/// How long a message may take to arrive.
const SOON: Duration = Duration::from_mins(1);

/// A message as it came.
#[derive(Debug, Clone)]
struct Came {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Came {
    fn message(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a receiver goes by its own clock"
    )]
    fn is_signed(&self) -> bool {
        let signature = self.header("tollgate-signature");
        let (at, mac) = signature.split_once(",v1=").unwrap();
        let at = at.strip_prefix("t=").unwrap();
        let sent = time::OffsetDateTime::from_unix_timestamp(at.parse().unwrap()).unwrap();
        let signed = [at.as_bytes(), b".", &self.body].concat();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let mac: Vec<u8> = (0..mac.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&mac[i..i + 2], 16).unwrap())
            .collect();
        // By the machine's clock, whatever the date of the house is.
        let age = (time::OffsetDateTime::now_utc() - sent).abs();
        hmac::verify(&key, &signed, &mac).is_ok() && age < time::Duration::minutes(2)
    }
}

/// An address that takes messages, but none of these kinds the first time.
struct Receiver {
    address: String,
    came: Arc<Mutex<Vec<Came>>>,
    /// Ends with it.
    _listening: JoinSet<()>,
}

impl Receiver {
    async fn start(reluctant: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/hooks?from=test", listener.local_addr().unwrap());
        let came = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&came);
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let mut taking = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                taking.spawn(take(socket, Arc::clone(&kept), reluctant));
            }
        });
        Self {
            address,
            came,
            _listening: listening,
        }
    }

    fn all(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }
}

async fn take(mut socket: TcpStream, kept: Arc<Mutex<Vec<Came>>>, reluctant: &[&str]) {
    let mut read = Vec::new();
    while socket.read_buf(&mut read).await.is_ok_and(|more| more > 0) {
        let Some(came) = whole(&read) else { continue };
        read.clear();
        let status = {
            let mut kept = kept.lock().unwrap();
            let id = came.header("idempotency-key").to_owned();
            let is_first = kept.iter().all(|c| c.header("idempotency-key") != id);
            let kind = came.message()["kind"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            kept.push(came);
            if is_first && reluctant.contains(&&*kind) {
                "503 Service Unavailable"
            } else {
                "204 No Content"
            }
        };
        let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        socket.write_all(reply.as_bytes()).await.unwrap();
    }
}

/// A request, once all of it is there.
fn whole(read: &[u8]) -> Option<Came> {
    let end = read.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&read[..end]).unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next().unwrap(), "POST /hooks?from=test HTTP/1.1");
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers["content-length"].parse().unwrap();
    let body = read.get(end + 4..end + 4 + length)?.to_vec();
    Some(Came { headers, body })
}

fn run(served: &Served, arguments: &[&str]) {
    let done = served.gate.run(arguments).unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {said}");
}

fn subscribe(served: &Served, payer: &Payer) {
    let who = ["--account", &payer.account, "--plan", "pro", "--billed"];
    run(served, &[&["plans", "subscribe"][..], &who].concat());
}

/// Lets days go by, and does what is due then.
fn days(served: &Served, days: &str) {
    run(served, &["clock", "advance", "--by", days]);
    run(served, &["billing", "run"]);
}

/// What the account lists, oldest first.
async fn listed(control: &Control, payer: &Payer) -> Vec<Value> {
    let path = format!("accounts/{}/messages?limit=100", payer.account);
    let page = control.get(&path).await.unwrap();
    let mut items = page["data"].as_array().unwrap().clone();
    items.reverse();
    items
}

fn kinds(messages: &[Value]) -> Vec<&str> {
    let kinds = messages.iter().map(|message| &message["kind"]);
    kinds.map(|kind| kind.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_fails_is_told_at_each_step_until_it_recovers_or_ends() {
    let receiver = Receiver::start(&["access_closed", "recovered"]).await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let config = format!(
        "[clock]\nmovable = true\n[dunning]\nretry_days = [1, 2]\ngrace_days = 2\n\
         [messages]\nurl = \"{}\"\nsecret = \"file:{}\"\n",
        receiver.address,
        secret.display()
    );
    let served = Served::start(&config, i128::from(PRICE)).await.unwrap();
    let other = served.payer("other", i128::from(PRICE)).await.unwrap();
    let plan = json!({ "code": "pro", "name": "Pro", "terms": {
        "currency": "USD", "price": PRICE, "billing": { "every": "P1M" },
    } });
    served.control.send("plans", None, &plan).await.unwrap();
    for payer in [&served.payer, &other] {
        subscribe(&served, payer);
    }
    days(&served, "32d");
    days(&served, "25h");
    let control = Control::sign_in(&served.gate).await.unwrap();
    let funds = i128::from(PRICE);
    control.top_up(&other.account, funds, "late").await.unwrap();
    for _ in 0..3 {
        days(&served, "25h");
    }
    // Whoever was signed in before the date was moved is so no more.
    let control = Control::sign_in(&served.gate).await.unwrap();

    let began = [
        "invoiced",
        "paid",
        "invoiced",
        "payment_failed",
        "payment_failed",
    ];
    let gone = listed(&control, &served.payer).await;
    let ends = ["access_closed", "payment_failed", "ended"];
    assert_eq!(kinds(&gone), [&began[..], &ends].concat());
    let back = listed(&control, &other).await;
    let tail = &kinds(&back)[began.len()..];
    assert_eq!(tail.iter().filter(|kind| **kind == "recovered").count(), 1);
    assert_eq!(tail.last(), Some(&"recovered"));

    let since = Instant::now();
    loop {
        let all = [
            listed(&control, &served.payer).await,
            listed(&control, &other).await,
        ]
        .concat();
        let is_sent = |message: &Value| message["delivery"]["state"] == "sent";
        if all.iter().all(is_sent) {
            check(&receiver.all(), &all);
            break;
        }
        assert!(since.elapsed() < SOON, "{all:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let doctor = served.gate.run(&["doctor"]).unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("messages   0 wait"), "{said}");
    served.gate.verify_ledger().unwrap();
}

/// Every message that is listed came as it is listed, signed, under its own id, again where it was
/// refused, and nothing else came.
fn check(came: &[Came], listed: &[Value]) {
    assert!(came.iter().all(Came::is_signed));
    for message in listed {
        let id = message["id"].as_str().unwrap();
        let of: Vec<_> = came
            .iter()
            .filter(|came| came.header("idempotency-key") == id)
            .collect();
        let refused = ["access_closed", "recovered"].contains(&message["kind"].as_str().unwrap());
        assert_eq!(of.len(), 1 + usize::from(refused), "{message}");
        assert_eq!(message["delivery"]["tries"], of.len());
        let mut shown = message.clone();
        shown.as_object_mut().unwrap().remove("delivery");
        assert!(of.iter().all(|came| came.message() == shown), "{message}");
    }
    let ids: Vec<_> = listed.iter().map(|message| message["id"].clone()).collect();
    assert!(came.iter().all(|came| ids.contains(&came.message()["id"])));
}
