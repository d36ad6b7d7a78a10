//! The race on a plan: many more calls at once than its quotas of 100 calls and 10,000 tokens have
//! room for. What must hold:
//!
//! - **Exactly what fits**: each call draws one call and its tokens, together never more than the
//!   quotas, and at the end no other call would have fitted. What a node tells of the quotas is what
//!   the receipts drew.
//! - **With an empty wallet** every call is free or refused, with 429 as the quota says.
//! - **With funds** the wallet pays the rest, each call at the tier's price to the nano, until less
//!   than a hold is left; who is refused then gets 402. Of a call that ends the quotas they pay the
//!   share of the tokens that they gave, and the wallet what is left of the price.

mod checks;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::checks::largest_hold;
use super::{Purse, Timed, now};
use crate::Failure;
use crate::audit;
use crate::call::{Answer, Ask, Caller};
use crate::control::{Control, id_of};
use crate::figure::text;
use crate::proof::Findings;
use crate::tariff::{QuotaTerms, Tariff, cost, knows_plan, knows_price};
use checks::{check_answers, check_full, check_receipts, check_refused, check_used, most_tokens};

/// What the plan gives.
const QUOTA_CALLS: u64 = 100;
const QUOTA_TOKENS: u64 = 10_000;
/// A window that does not end while the race runs, in seconds.
const YEAR_S: u32 = 31_536_000;
/// How many callers share one set of connections.
const SHARE: usize = 100;
/// How long a caller goes on trying while others hold what it needs.
const PATIENCE: Duration = Duration::from_mins(3);
/// What who asks for prices is given.
const PROBE: i128 = 1_000_000_000;

/// What of a plan cannot pay for all calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnPlan {
    /// Its quotas, beside an empty wallet.
    Quota,
    /// Its quotas, and then the wallet at half the price.
    QuotaThenWallet,
}

/// Every purse that is raced, by its name in the figures.
pub const PURSES: [&str; 4] = [
    Purse::Wallet.name(),
    Purse::KeyLimit.name(),
    OnPlan::Quota.name(),
    OnPlan::QuotaThenWallet.name(),
];

impl OnPlan {
    /// Each, not streamed and streamed.
    pub const FULL: [(Self, bool); 4] = [
        (Self::Quota, false),
        (Self::Quota, true),
        (Self::QuotaThenWallet, false),
        (Self::QuotaThenWallet, true),
    ];
    /// Each once.
    pub const SHORT: [(Self, bool); 2] = [(Self::Quota, false), (Self::QuotaThenWallet, true)];

    /// Its name in the figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::QuotaThenWallet => "quota_then_wallet_in_tier",
        }
    }

    const fn plan(self) -> &'static str {
        match self {
            Self::Quota => "race-quota",
            Self::QuotaThenWallet => "race-quota-then-wallet",
        }
    }

    const fn after_quota(self) -> &'static str {
        match self {
            Self::Quota => "stop",
            Self::QuotaThenWallet => "wallet",
        }
    }

    const fn refusal(self) -> (u16, &'static str) {
        match self {
            Self::Quota => (429, "plan_quota_used_up"),
            Self::QuotaThenWallet => (402, "insufficient_quota"),
        }
    }
}

/// Where it is raced.
pub(crate) struct Course<'a> {
    pub(crate) control: &'a Control,
    /// The address of the database.
    pub(crate) database: &'a str,
    /// Every node.
    pub(crate) origins: Vec<String>,
}

/// Who pays, and how much that is.
struct Entrant {
    account: String,
    secret: String,
    funds: i128,
    /// What a call costs at the tier's price.
    price: i128,
}

impl Course<'_> {
    /// Races so many calls at once, checks what must hold, and gives the figures.
    ///
    /// # Errors
    /// A node could not be asked, or a command fails.
    pub(crate) async fn run(
        &self,
        calls: usize,
        (purse, stream): (OnPlan, bool),
        findings: &mut Findings,
    ) -> Result<Value, Failure> {
        let ask = asked(stream);
        let entrant = self.enter(calls, (purse, stream), &ask).await?;
        let start = Instant::now();
        let answers = self.at_once(&entrant.secret, calls, &ask).await?;
        let seconds = start.elapsed().as_secs_f64();
        let account = &entrant.account;
        let books = audit::audit(self.control, account, entrant.funds, findings).await?;
        let mut receipts = Vec::new();
        for call in &books.calls {
            let id = id_of(call)?;
            let receipt = self.control.call(account, &id).await?;
            receipts.push(receipt.ok_or_else(|| format!("no receipt {id}"))?);
        }
        let drawn = check_receipts(&receipts, entrant.price, findings)?;
        check_full(drawn, most_tokens(&ask)?, findings);
        let first = self.origins.first().ok_or("there is no node")?;
        check_used(&Caller::new(first, &entrant.secret)?, drawn, findings).await?;
        let refused = check_refused(&answers, purse, findings);
        check_answers(&answers, &books, findings);
        let left = entrant.funds - books.charged;
        let hold = largest_hold(&answers, &receipts)?;
        findings.check(left == 0 || (0..hold).contains(&left), || {
            format!("{} left, and a call needed {}", text(left), text(hold))
        });
        let served = receipts.len();
        findings.check(served + refused == calls, || {
            format!("{served} + {refused} of {calls} calls")
        });
        Ok(json!({
            "budget": purse.name(),
            "stream": stream,
            "calls": calls,
            "served": served,
            "refused": refused,
            "quota_calls": drawn.calls,
            "quota_tokens": drawn.tokens,
            "served_by_quota": drawn.covered_whole,
            "served_by_both": drawn.covered_partly,
            "charged": text(books.charged),
            "left": text(left),
            "seconds": format!("{seconds:.2}"),
        }))
    }

    /// An account on the plan and in the tier, known so at every node.
    async fn enter(
        &self,
        calls: usize,
        (purse, stream): (OnPlan, bool),
        ask: &Ask,
    ) -> Result<Entrant, Failure> {
        let name = format!("race-{}-stream-{stream}", purse.name());
        let (probe, probe_key) = self.control.funded(&format!("{name}-probe"), PROBE).await?;
        let first = self.origins.first().ok_or("there is no node")?;
        let list = cost(&Caller::new(first, &probe_key.secret)?, ask).await?;
        let funds = match purse {
            OnPlan::Quota => 0,
            // Of four calls in ten.
            OnPlan::QuotaThenWallet => list / 2 * i128::try_from(calls * 2 / 5)?,
        };
        let (account, key) = self.control.funded(&name, funds).await?;
        let tariff = Tariff {
            database: self.database,
        };
        let quota = |unit, amount| QuotaTerms {
            unit,
            amount,
            window: json!({ "rolling": YEAR_S }),
        };
        let quotas = [quota("calls", QUOTA_CALLS), quota("tokens", QUOTA_TOKENS)];
        tariff.subscribe(&account, (purse.plan(), purse.after_quota()), &quotas)?;
        tariff.halve(&[&account, &probe])?;
        for origin in &self.origins {
            knows_plan(&Caller::new(origin, &key.secret)?).await?;
            knows_price(&Caller::new(origin, &probe_key.secret)?, ask, list / 2).await?;
        }
        Ok(Entrant {
            account,
            secret: key.secret,
            funds,
            price: list / 2,
        })
    }

    /// Sends all calls in one moment, in turn to each node.
    async fn at_once(&self, secret: &str, calls: usize, ask: &Ask) -> Result<Vec<Timed>, Failure> {
        let start = Arc::new(Barrier::new(calls));
        let mut tasks = JoinSet::new();
        let nodes = self.origins.len();
        let mut callers: Vec<Caller> = Vec::new();
        for number in 0..calls {
            if number % (SHARE * nodes) == 0 {
                let origins = self.origins.iter();
                callers = origins
                    .map(|origin| Caller::new(origin, secret))
                    .collect::<Result<_, _>>()?;
            }
            let caller = callers.get(number % nodes).ok_or("there is no node")?;
            let (caller, ask, start) = (caller.clone(), ask.clone(), Arc::clone(&start));
            tasks.spawn(async move {
                start.wait().await;
                (until_told(&caller, &ask).await, now())
            });
        }
        Ok(tasks.join_all().await)
    }
}

/// A question whose answer is as long as it: whole answers are short, so that calls end the quotas,
/// streamed ones long, so that tokens do.
fn asked(stream: bool) -> Ask {
    let mut ask = Ask::of("sim/echo").streamed(stream).at_most(80);
    ask.prompt = vec!["word"; if stream { 60 } else { 3 }].join(" ");
    ask
}

/// Calls until it is served or refused for good: what others hold may come back.
async fn until_told(caller: &Caller, ask: &Ask) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = caller.call(ask).await;
        let is_held = answer.status == 429 && answer.code() == "funds_in_use";
        if !is_held || Instant::now() > deadline {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
