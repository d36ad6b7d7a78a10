//! A gate that serves the simulated models, with an account that has funds.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Failure;
use crate::audit;
use crate::call::{Answer, Ask, Caller};
use crate::control::Control;
use crate::gate::Gate;
use crate::proof::Findings;

/// How long a call may take to be put on record after its client saw the end of it.
const RECORD: Duration = Duration::from_secs(20);
const CHANNEL: &str = "
[[channel]]
name = \"simulated\"
protocol = \"simulated\"
models = [\"sim/*\"]
";

/// A gate in serve mode, its operator, and somebody who calls.
#[derive(Debug)]
pub struct Served {
    /// The process.
    pub gate: Gate,
    /// The operator.
    pub control: Control,
    /// Who calls.
    pub payer: Payer,
}

/// An account and somebody who has its key.
#[derive(Debug)]
pub struct Payer {
    /// The account.
    pub account: String,
    /// What it was given, in nanos.
    pub funds: i128,
    /// Who has the key.
    pub caller: Caller,
}

impl Served {
    /// Serves the simulated models under this configuration, and gives an account its funds.
    ///
    /// # Errors
    /// Something of that failed.
    pub async fn start(config: &str, funds: i128) -> Result<Self, Failure> {
        Self::on(None, config, funds).await
    }

    /// The same, on a database of its own.
    ///
    /// # Errors
    /// As [`Served::start`].
    pub async fn on(database: Option<String>, config: &str, funds: i128) -> Result<Self, Failure> {
        let gate = Gate::demo(database).await?;
        let gate = gate.served(&configured(config), &[]).await?;
        let control = Control::sign_in(&gate).await?;
        let payer = Payer::new(&gate, &control, "payer", funds).await?;
        Ok(Self {
            gate,
            control,
            payer,
        })
    }

    /// Serves the same data under another configuration.
    ///
    /// # Errors
    /// The gate does not stop or does not come up, or the operator is refused.
    pub async fn again(self, config: &str) -> Result<Self, Failure> {
        let gate = self.gate.served(&configured(config), &[]).await?;
        let control = Control::sign_in(&gate).await?;
        let caller = self.payer.caller.at(gate.origin());
        let payer = Payer {
            caller,
            ..self.payer
        };
        Ok(Self {
            gate,
            control,
            payer,
        })
    }

    /// Puts an account on a plan that costs nothing and has a speed boost.
    ///
    /// # Errors
    /// A command fails.
    pub fn boost(&self, payer: &Payer) -> Result<(), Failure> {
        let terms = json!({
            "currency": "USD", "price": 0, "billing": { "every": "P1M" }, "quotas": [],
            "after_quota": "wallet", "speed_boost": true,
        });
        let plan = json!({ "code": "fast", "name": "Fast", "terms": terms });
        let file = self.gate.folder().join("fast.json");
        std::fs::write(&file, plan.to_string())?;
        let file = file.display().to_string();
        let publish = ["plans", "publish", &file];
        let account = ["--account", &payer.account, "--plan", "fast"];
        let subscribe = [&["plans", "subscribe"][..], &account].concat();
        for command in [&publish[..], &subscribe] {
            let done = self.gate.run(command)?;
            if !done.status.success() {
                return Err(format!("{command:?}: {done:?}").into());
            }
        }
        Ok(())
    }

    /// Another account with funds.
    ///
    /// # Errors
    /// It was refused.
    pub async fn payer(&self, name: &str, funds: i128) -> Result<Payer, Failure> {
        Payer::new(&self.gate, &self.control, name, funds).await
    }

    /// The receipt of a call, as soon as it is on record and listed.
    ///
    /// # Errors
    /// It is not in time.
    pub async fn receipt(&self, payer: &Payer, id: &str) -> Result<Value, Failure> {
        let deadline = Instant::now() + RECORD;
        while Instant::now() < deadline {
            let listed = self.control.calls(&payer.account).await?;
            if listed.iter().any(|call| call["id"] == id) {
                let receipt = self.control.call(&payer.account, id).await?;
                return Ok(receipt.ok_or_else(|| format!("{id} is listed without a receipt"))?);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!("{id} is not on record").into())
    }

    /// Checks that an account has so many calls on record, and that all its figures are one.
    ///
    /// # Errors
    /// Something could not be read.
    pub async fn audit(
        &self,
        payer: &Payer,
        calls: usize,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        let books = audit::audit(&self.control, &payer.account, payer.funds, findings).await?;
        let on_record = books.calls.len();
        findings.check(on_record == calls, || {
            format!("{on_record} calls on record, not {calls}")
        });
        audit::receipts(&self.control, &payer.account, &books.calls, findings).await?;
        Ok(())
    }

    /// Checks that calls which were answered whole are on record, whole, and charged what their
    /// callers were told.
    ///
    /// # Errors
    /// One has no id.
    pub async fn on_record(
        &self,
        answers: &[Answer],
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        for answer in answers.iter().filter(|answer| answer.is_complete()) {
            let id = answer.id.as_ref().ok_or("an answer without an id")?;
            match self.receipt(&self.payer, id).await {
                Ok(receipt) => {
                    let charge = audit::charge_of(&receipt)?;
                    findings.check(
                        receipt["outcome"] == "completed" && Some(charge) == answer.cost_nanos(),
                        || format!("{id} cost {:?}: {receipt}", answer.cost_nanos()),
                    );
                }
                Err(error) => findings.check(false, || format!("lost: {error}")),
            }
        }
        Ok(())
    }

    /// Audits the payer, stops the gate, and has the ledger verified.
    ///
    /// # Errors
    /// Something does not hold, or the gate does not stop.
    pub async fn end(mut self, calls: usize, mut findings: Findings) -> Result<(), Failure> {
        self.audit(&self.payer, calls, &mut findings).await?;
        self.gate.stop().await?;
        self.gate.verify_ledger()?;
        if findings.is_empty() {
            return Ok(());
        }
        Err(format!("{:#?}", findings.list()).into())
    }
}

impl Payer {
    async fn new(gate: &Gate, control: &Control, name: &str, funds: i128) -> Result<Self, Failure> {
        let (account, key) = control.funded(name, funds).await?;
        let caller = Caller::new(gate.origin(), &key.secret)?;
        Ok(Self {
            account,
            funds,
            caller,
        })
    }
}

/// With the channel of the simulated models, unless a channel of its own is named.
fn configured(config: &str) -> String {
    let channel = if config.contains("[[channel]]") {
        ""
    } else {
        CHANNEL
    };
    format!("{config}{channel}")
}

/// What a chat completion of the simulated models holds: half of its body's bytes and a template in
/// input, its limit in output.
///
/// # Errors
/// It has no limit.
pub fn hold(ask: &Ask) -> Result<i128, Failure> {
    let input = i128::try_from(ask.body().len().div_ceil(2) + 32)?;
    let output = ask.max_tokens.ok_or("no limit to go by")?;
    Ok(input * 1_000 + i128::from(output) * 4_000)
}

/// The largest limit with which a question fits these funds.
///
/// # Errors
/// There is none.
pub fn fitted(ask: Ask, funds: i128) -> Result<Ask, Failure> {
    // A limit of five digits is as long as any that is asked for here.
    let input = hold(&ask.clone().at_most(10_000))? - 40_000_000;
    let limit = (funds - input) / 4_000;
    Ok(ask.at_most(u64::try_from(limit)?))
}
