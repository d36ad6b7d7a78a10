//! Books that somebody has changed behind the server's back: the checker finds it while calls go
//! on, parks the account, says so everywhere, and lets it go on when the books are mended.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use acceptance::Failure;
use acceptance::call::{Answer, Ask, Caller};
use acceptance::control::Control;
use acceptance::gate::Gate;
use acceptance::postgres::Postgres;
use serde_json::Value;

/// Each account is proved within this, and the machine may be busy.
const PERIOD: Duration = Duration::from_secs(20);

struct Scene {
    gate: Gate,
    control: Control,
    url: String,
    metrics: String,
}

impl Scene {
    async fn start(postgres: &Postgres) -> Result<Self, Failure> {
        let url = postgres.database()?;
        let port = acceptance::gate::free_port()?;
        let config = format!(
            "[checker]\nevery_ms = 100\nmoved_s = 0\nagain_s = 1\n\
             [metrics]\nlisten = \"127.0.0.1:{port}\"\n\
             [[channel]]\nname = \"simulated\"\nprotocol = \"simulated\"\nmodels = [\"sim/*\"]\n"
        );
        let gate = Gate::demo(Some(url.clone())).await?;
        let gate = gate.served(&config, &[]).await?;
        let control = Control::sign_in(&gate).await?;
        let metrics = format!("http://127.0.0.1:{port}/metrics");
        Ok(Self {
            gate,
            control,
            url,
            metrics,
        })
    }

    async fn metric(&self, name: &str) -> Result<Option<u64>, Failure> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let text = client.get(&self.metrics).send().await?.text().await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.map(str::trim).map(str::parse).transpose()?)
    }

    /// Metrics that the reference does not tell of, or that it tells of and are not there.
    async fn undocumented(&self) -> Result<Vec<String>, Failure> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let text = client.get(&self.metrics).send().await?.text().await?;
        let page = include_str!("../../docs/reference/metrics.md");
        let name = |text: &str| {
            let end = text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
            text[..end.unwrap_or(text.len())].to_owned()
        };
        let served = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let served: BTreeSet<String> = served.map(name).collect();
        let told = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let told = told.filter(|row| row.starts_with("tollgate_") && row.matches('|').count() == 3);
        let told: BTreeSet<String> = told.map(name).collect();
        Ok(served.symmetric_difference(&told).cloned().collect())
    }

    async fn account(&self) -> Result<Value, Failure> {
        let id = &self.gate.credentials().account_id;
        self.control.get(&format!("accounts/{id}")).await
    }

    /// Waits until the demo's account has a status.
    async fn until(&self, status: &str) -> Result<Value, Failure> {
        let deadline = Instant::now() + PERIOD;
        loop {
            let account = self.account().await?;
            if account["status"] == status {
                return Ok(account);
            }
            if Instant::now() > deadline {
                return Err(format!("not {status} in time: {account}").into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Calls until it is answered with this code; the news may take a second.
async fn until_code(caller: &Caller, code: &str) -> Result<Answer, Failure> {
    let deadline = Instant::now() + PERIOD;
    loop {
        let answer = caller.call(&Ask::of("sim/echo")).await;
        let found = if answer.is_complete() {
            String::new()
        } else {
            answer.code()
        };
        if found == code {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            return Err(format!("no \"{code}\": {answer:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name)?.to_str().ok()
}

#[tokio::test]
async fn an_account_whose_books_were_changed_is_parked_and_the_others_go_on() {
    let postgres = Postgres::find_or_start().unwrap();
    let scene = Scene::start(&postgres).await.unwrap();
    let credentials = scene.gate.credentials().clone();
    let caller = Caller::new(scene.gate.origin(), &credentials.api_key).unwrap();
    let (_, key) = scene.control.funded("other", 1_000_000_000).await.unwrap();
    let other = caller.with_key(&key.secret);
    for _ in 0..3 {
        assert!(caller.call(&Ask::of("sim/echo")).await.is_complete());
    }
    // Neither balance nor journal moves by it: only a proof can see it.
    let bend = |by: i64| {
        format!(
            "UPDATE ledger_entry SET amount = amount + {by} WHERE code = 'payment_clearing' \
             AND account_id = (SELECT id FROM account WHERE name = 'Demo')"
        )
    };
    Postgres::change(&scene.url, &bend(1)).unwrap();
    let parked = scene.until("parked").await.unwrap();
    let findings = parked["parked"]["findings"].to_string();
    assert!(findings.contains("sums to zero"), "{findings}");
    let refused = until_code(&caller, "account_parked").await.unwrap();
    assert_eq!(refused.status, 503);
    assert_eq!(header(&refused, "x-should-retry"), Some("false"));
    assert_eq!(header(&refused, "retry-after"), None);
    assert!(other.call(&Ask::of("sim/echo")).await.is_complete());
    assert_eq!(
        scene.metric("tollgate_parked_accounts").await.unwrap(),
        Some(1)
    );
    let undocumented = scene.undocumented().await.unwrap();
    assert_eq!(
        undocumented,
        Vec::<String>::new(),
        "docs/reference/metrics.md"
    );
    let failed = scene.metric("tollgate_proofs_failed_total").await.unwrap();
    assert_eq!(failed, Some(1));
    let told = scene.gate.command(&["doctor"]).unwrap();
    assert_eq!(told.status, Some(1), "{told:?}");
    assert!(told.output.contains(&credentials.account_id), "{told:?}");
    // Not before the books are mended.
    let unpark = ["accounts", "unpark", &credentials.account_id];
    let refused = scene.gate.command(&unpark).unwrap();
    assert_eq!(refused.status, Some(1), "{refused:?}");
    Postgres::change(&scene.url, &bend(-1)).unwrap();
    let done = scene.gate.command(&unpark).unwrap();
    assert_eq!(done.status, Some(0), "{done:?}");
    until_code(&caller, "").await.unwrap();
    assert_eq!(scene.account().await.unwrap()["status"], "active");
    scene.gate.verify_ledger().unwrap();
}
