//! Accounts put on a plan and in a price tier, by the commands that an operator has for it, and
//! known so at every node before they are used.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Failure;
use crate::call::{Ask, Caller};
use crate::gate::binary;

/// What a plan or a price may take to be known to every node.
const SOON: Duration = Duration::from_secs(20);

/// The plans and prices in a database.
#[derive(Debug, Clone, Copy)]
pub struct Tariff<'a> {
    /// The address of the database.
    pub database: &'a str,
}

/// What of the models a plan gives in a window.
#[derive(Debug, Clone)]
pub struct QuotaTerms {
    /// `calls`, `tokens` or `nanos`.
    pub unit: &'static str,
    /// How much, in that unit.
    pub amount: u64,
    /// Its window, as a plan's file has it.
    pub window: Value,
}

impl Tariff<'_> {
    /// Publishes a plan that costs nothing, with quotas of all models, and puts an account on it.
    /// `after_quota` says who pays the rest: the `wallet`, or nobody (`stop`).
    ///
    /// # Errors
    /// A command fails.
    pub fn subscribe(
        &self,
        account: &str,
        (code, after_quota): (&str, &str),
        quotas: &[QuotaTerms],
    ) -> Result<(), Failure> {
        let quota = |quota: &QuotaTerms| {
            json!({
                "models": "*",
                "unit": quota.unit,
                "amount": quota.amount,
                "window": quota.window,
            })
        };
        let quotas: Vec<Value> = quotas.iter().map(quota).collect();
        let terms = json!({
            "currency": "USD",
            "price": 0,
            "billing": { "every": "P1M" },
            "quotas": quotas,
            "after_quota": after_quota,
        });
        let plan = json!({ "code": code, "name": code, "terms": terms });
        self.with_file("plan.json", &plan, &["plans", "publish"])?;
        let who = ["--account", account, "--plan", code];
        self.run(&[&["plans", "subscribe"][..], &who].concat())
    }

    /// Halves every price for these accounts by a tier that begins with the first call.
    ///
    /// # Errors
    /// The command fails.
    pub fn halve(&self, accounts: &[&str]) -> Result<(), Failure> {
        let tiers = json!([{ "price": { "discount": "50" } }]);
        let of = |account: &&str| {
            json!({
                "audience": account,
                "models": "*",
                "terms": {
                    "currency": "USD",
                    "measure": "spend",
                    "window": "lifetime",
                    "pricing": { "graduated": tiers },
                },
            })
        };
        let schedules: Vec<Value> = accounts.iter().map(of).collect();
        let file = json!({ "tiers": schedules });
        self.with_file("tiers.json", &file, &["prices", "import", "--confirm"])
    }

    fn with_file(&self, name: &str, file: &Value, command: &[&str]) -> Result<(), Failure> {
        let folder = TempDir::new()?;
        let path = folder.path().join(name);
        std::fs::write(&path, file.to_string())?;
        let path = path.display().to_string();
        self.run(&[command, &[path.as_str()]].concat())
    }

    fn run(&self, command: &[&str]) -> Result<(), Failure> {
        let mut tollgate = Command::new(binary()?);
        tollgate.args(command).args(["--database", self.database]);
        let done = tollgate.output()?;
        if done.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&done.stderr);
        Err(format!("{command:?}: {said}").into())
    }
}

/// Waits until a node knows that the account of a key is on a plan: it shows the quotas then.
///
/// # Errors
/// It does not in time.
pub async fn knows_plan(caller: &Caller) -> Result<(), Failure> {
    let since = Instant::now();
    loop {
        let key = caller.get("/v1/key").await?;
        if key["data"]["quotas"]
            .as_array()
            .is_some_and(|q| !q.is_empty())
        {
            return Ok(());
        }
        if since.elapsed() > SOON {
            return Err(format!("the node does not know the plan: {key}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a question costs this many nanos at a node.
///
/// # Errors
/// It does not in time, or is not answered.
pub async fn knows_price(caller: &Caller, ask: &Ask, nanos: i128) -> Result<(), Failure> {
    let since = Instant::now();
    while cost(caller, ask).await? != nanos {
        if since.elapsed() > SOON {
            return Err("the node does not know the tiers".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// What a question costs now, in nanos.
///
/// # Errors
/// It is not answered whole, with its cost.
pub async fn cost(caller: &Caller, ask: &Ask) -> Result<i128, Failure> {
    let answer = caller.call(ask).await;
    let cost = answer.cost_nanos().filter(|_| answer.is_complete());
    Ok(cost.ok_or_else(|| format!("no cost: {answer:?}"))?)
}

/// What a call drew of the quotas of a unit, by its receipt.
///
/// # Errors
/// The receipt does not say.
pub fn drawn(receipt: &Value, unit: &str) -> Result<u64, Failure> {
    let quotas = receipt["quotas"].as_array().into_iter().flatten();
    let mut sum = 0;
    for quota in quotas.filter(|quota| quota["unit"] == unit) {
        let drawn = quota["drawn"].as_str();
        sum += drawn.ok_or("nothing drawn")?.parse::<u64>()?;
    }
    Ok(sum)
}

/// How much of the plan's quota of a unit the account of a key has used, as a node tells it.
///
/// # Errors
/// It does not, or there is no such quota.
pub async fn used(caller: &Caller, unit: &str) -> Result<u64, Failure> {
    let key = caller.get("/v1/key").await?;
    let quotas = key["data"]["quotas"].as_array().into_iter().flatten();
    let mut of_unit = quotas.filter(|quota| quota["unit"] == unit);
    let quota = of_unit
        .next()
        .ok_or_else(|| format!("no quota of {unit}: {key}"))?;
    let figure = |member: &str| {
        let figure = quota[member].as_str();
        Ok::<u64, Failure>(figure.ok_or("a quota without figures")?.parse()?)
    };
    let (limit, remaining) = (figure("limit")?, figure("remaining")?);
    Ok(limit
        .checked_sub(remaining)
        .ok_or_else(|| format!("more is left than there was: {quota}"))?)
}
