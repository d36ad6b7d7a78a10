//! Secrets stay secret: with the log as loud as it gets, no key, cookie, password, upstream
//! credential or prompt is in the log, in a refusal, or readable in the database.

#[path = "leaks/upstream.rs"]
mod upstream;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use acceptance::Failure;
use acceptance::call::{Answer, Ask, Caller, read};
use acceptance::control::Control;
use acceptance::gate::Gate;
use acceptance::proof::Findings;
use reqwest::{Client, Method};
use serde_json::{Value, json};

const PROMPT: &str = "canary-prompt-5d1f0c";
const CREDENTIAL: &str = "canary-upstream-credential-93ab77";
const WRONG_PASSWORD: &str = "canary-wrong-password-1c22d0";
const WRONG_KEY: &str = "sk-tg-canaryWrongKey00000000000000000000000000000000";

struct Suite {
    gate: Gate,
    caller: Caller,
    /// By name; none of them may be seen anywhere.
    secrets: BTreeMap<&'static str, String>,
    /// What was refused, and how.
    refusals: Vec<Answer>,
}

impl Suite {
    async fn start() -> Result<Self, Failure> {
        let upstream = upstream::start()?;
        let demo = Gate::demo(None).await?;
        let file = demo.folder().join("credential");
        fs::write(&file, CREDENTIAL)?;
        let config = format!(
            "[limits]\nupstream_head_ms = 1000\n\
             [[channel]]\nname = \"simulated\"\nprotocol = \"simulated\"\nmodels = [\"sim/*\"]\n\
             [[channel]]\nname = \"http\"\nbase_url = \"http://{upstream}/v1\"\n\
             credential = \"file:{}\"\nmodels = [\"gpt-4o*\"]\n",
            file.display()
        );
        let gate = demo.served(&config, &[("RUST_LOG", "trace")]).await?;
        let control = Control::sign_in(&gate).await?;
        let (_, key) = control.funded("leaks", 1_000_000_000).await?;
        let (_, empty) = control.funded("leaks-without-funds", 0).await?;
        let caller = Caller::new(gate.origin(), &key.secret)?;
        let credentials = gate.credentials().clone();
        let secrets = BTreeMap::from([
            ("a new key", key.secret),
            ("a key without funds", empty.secret),
            ("the demo's key", credentials.api_key),
            ("the operator's password", credentials.operator_password),
            ("the upstream's credential", CREDENTIAL.to_owned()),
            ("a prompt", PROMPT.to_owned()),
            ("a wrong password", WRONG_PASSWORD.to_owned()),
            ("a key that does not exist", WRONG_KEY.to_owned()),
        ]);
        Ok(Self {
            gate,
            caller,
            secrets,
            refusals: Vec::new(),
        })
    }

    /// Calls that end well and calls that end badly, in both forms.
    async fn call_everything(&mut self) -> Result<(), Failure> {
        let models = [
            "sim/echo",
            "sim/cut",
            "sim/no-usage",
            "sim/absurd-usage?mode=huge",
            "sim/absurd-usage?mode=text",
            "sim/lorem?status=400",
            "sim/lorem?status=500",
            "sim/lorem?hang=1",
            "sim/nothing",
            "gpt-4o",
            "gpt-4o-mini",
            "sim/embedding",
        ];
        for model in models {
            for stream in [false, true] {
                let mut ask = Ask::of(model).streamed(stream);
                ask.prompt = format!("tell me {PROMPT} again");
                let answer = self.caller.call(&ask).await;
                self.refusals
                    .extend((answer.status != 200).then_some(answer));
            }
        }
        let mut slow = Ask::of("sim/slow?first_ms=400").streamed(true);
        PROMPT.clone_into(&mut slow.prompt);
        self.caller
            .leave_before_answer(&slow, Duration::from_millis(50))
            .await?;
        self.caller.leave_after(&slow, 2).await?;
        self.misuse().await;
        Ok(())
    }

    async fn misuse(&mut self) {
        let ask = |text: &str| {
            let mut ask = Ask::of("sim/echo");
            text.clone_into(&mut ask.prompt);
            ask
        };
        for key in [&self.secrets["a key without funds"], WRONG_KEY] {
            let answer = self.caller.with_key(key).call(&ask(PROMPT)).await;
            self.refusals.push(answer);
        }
        let said = format!(r#""messages":[{{"role":"user","content":"{PROMPT}"}}]"#);
        let bodies = [
            format!(r#"{{"model":"sim/echo",{said}"#),
            format!(r#"{{"model":"sim/echo",{said},"max_tokens":-1}}"#),
            format!(r#"{{"model":"sim/echo","messages":"{PROMPT}"}}"#),
            format!(r#"{{"model":"sim/echo","stream":"{PROMPT}",{said}}}"#),
            format!(r#"{{"model":"sim/echo","stream_options":"{PROMPT}",{said}}}"#),
            format!(r#"{{"model":7,{said}}}"#),
            format!("{PROMPT}{}", "x".repeat(11 << 20)),
        ];
        for body in bodies {
            let request = self.caller.post("/v1/chat/completions").body(body);
            self.refusals.push(read(request, false).await);
        }
        let request = self.caller.post("/v1/nothing").body(PROMPT);
        self.refusals.push(read(request, false).await);
    }

    /// The control API, well and badly used; its cookie becomes one of the secrets.
    async fn sign_in_everyhow(&mut self) -> Result<(), Failure> {
        let client = Client::builder().no_proxy().build()?;
        let at = |path: &str| format!("{}/api/v1/{path}", self.gate.origin());
        let (email, password) = (
            &self.gate.credentials().operator_email,
            &self.secrets["the operator's password"],
        );
        let login = |password: &str| json!({ "email": email, "password": password });
        let response = client
            .post(at("session"))
            .json(&login(password))
            .send()
            .await?;
        let cookie = response.headers()["set-cookie"].to_str()?;
        let pair = cookie.split(';').next().unwrap_or_default().to_owned();
        let (_, value) = pair.split_once('=').ok_or("no cookie")?;
        let value = value.to_owned();
        let wrong = login(WRONG_PASSWORD);
        let mistyped = json!({ "email": [email, password], "password": { "a": password } });
        let broken = format!("{{\"email\":\"{email}\",\"password\":\"{password}\"");
        let json = "application/json";
        let requests = [
            client.post(at("session")).json(&wrong),
            client.post(at("session")).json(&mistyped),
            client
                .post(at("session"))
                .header("content-type", json)
                .body(broken),
            client
                .get(at("accounts"))
                .header("cookie", format!("tollgate_session={WRONG_KEY}")),
            client.get(at("accounts/nothing")).header("cookie", &pair),
            client
                .request(Method::PATCH, at("accounts"))
                .header("cookie", &pair),
        ];
        for request in requests {
            self.refusals.push(read(request, false).await);
        }
        let accounts = read(client.get(at("accounts")).header("cookie", &pair), false).await;
        if accounts.status != 200 {
            return Err(format!("the cookie does not let in: {accounts:?}").into());
        }
        self.secrets.insert("a session's cookie", value);
        Ok(())
    }

    fn finds(&self, name: &str, text: &[u8]) -> bool {
        let secret = self.secrets[name].as_bytes();
        text.windows(secret.len()).any(|window| window == secret)
    }

    fn search(&self, place: &str, text: &[u8], findings: &mut Findings) {
        for (name, secret) in &self.secrets {
            let found = text
                .windows(secret.len())
                .position(|window| window == secret.as_bytes());
            if let Some(at) = found {
                let around = &text[at.saturating_sub(300)..(at + 100).min(text.len())];
                let around = String::from_utf8_lossy(around).into_owned();
                findings.check(false, || format!("{name} is in {place}: …{around}…"));
            }
        }
    }
}

#[tokio::test]
async fn no_secret_is_in_logs_refusals_or_the_database() {
    let mut suite = Suite::start().await.unwrap();
    suite.sign_in_everyhow().await.unwrap();
    suite.call_everything().await.unwrap();
    let mut findings = Findings::default();
    for answer in &suite.refusals {
        let status = answer.status;
        findings.check((400..600).contains(&status), || {
            format!("not refused: {answer:?}")
        });
        suite.search(
            "a refusal",
            format!("{:?}{}", answer.headers, answer.body).as_bytes(),
            &mut findings,
        );
    }
    suite.gate.stop().await.unwrap();
    let log = suite.gate.log().unwrap();
    // A log that says nothing would prove nothing.
    findings.check(log.lines().count() > 100, || {
        format!("the log is not loud: {log}")
    });
    suite.search("the log", log.as_bytes(), &mut findings);
    let mut stored = 0;
    for file in fs::read_dir(suite.gate.data()).unwrap() {
        let path = file.unwrap().path();
        // What the demo handed out is kept for the next demo.
        if path.is_file()
            && path
                .file_name()
                .is_some_and(|name| name != "credentials.json")
        {
            let bytes = fs::read(&path).unwrap();
            stored += bytes.len();
            suite.search(&path.display().to_string(), &bytes, &mut findings);
        }
    }
    // What this search can find: the one file that holds secrets on purpose.
    let handed_out = fs::read(suite.gate.data().join("credentials.json")).unwrap();
    assert!(suite.finds("the demo's key", &handed_out));
    findings.check(stored > 100_000, || {
        format!("{stored} bytes are no database")
    });
    assert!(findings.is_empty(), "{:#?}", findings.list());
}

/// The upstream of this suite answers as the gate believes it does, or nothing above was tried.
#[tokio::test]
async fn the_upstream_says_the_credential_back() {
    let address = upstream::start().unwrap();
    let client = Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("http://{address}/v1/chat/completions"));
    let answer = read(
        request
            .bearer_auth(CREDENTIAL)
            .body("{\"model\":\"gpt-4o\"}"),
        false,
    )
    .await;
    assert_eq!(answer.status, 401);
    let said: Value = answer.json();
    assert!(
        said["error"]["message"]
            .as_str()
            .unwrap()
            .contains(CREDENTIAL),
        "{said}"
    );
}
