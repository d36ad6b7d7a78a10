//! The crash: the server is killed during a burst, started again, and its books are compared with
//! what its clients hold. A third of the clients call for an account on a plan, whose quotas end
//! while they do: what is used of them is what the receipts drew, once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::Failure;
use crate::audit::{self, charge_of};
use crate::call::{Ask, Caller};
use crate::control::{Control, id_of};
use crate::figure::{nanos, text};
use crate::gate::Gate;
use crate::proof::Findings;
use crate::seeded::Seeded;
use crate::seen::{Compared, Seen};
use crate::subscribed;

/// What the account begins with: enough that no call of a run is refused.
const FUNDS: i128 = 200_000_000_000;
/// What each top-up of a burst adds.
const TOP_UP: i128 = 1_000_001;
/// Clients that call at the same time.
const CLIENTS: u64 = 16;
/// And as many for an account on a plan, which is another one each round.
const ON_PLAN: u64 = 8;
/// What that account has beside its quotas: enough that no call of it is refused.
const BESIDE_QUOTAS: i128 = 50_000_000_000;
/// What an output token of a simulated model costs, in nanos.
const OUTPUT: i128 = 4_000;
/// What calls of the burst may cost each: large beside what they do.
const MAX_TOKENS: u64 = 100_000;
/// And on a plan: so little that its quotas hold several at a time.
const MAX_ON_PLAN: u64 = 500;

/// A gate that is killed again and again.
#[derive(Debug)]
pub struct Crash {
    gate: Gate,
    database: String,
    account: String,
    secret: String,
    seen: Seen,
    funds: i128,
    seeded: Seeded,
    round: u64,
}

/// The figures of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Kills.
    pub rounds: u64,
    /// What became of the calls of all rounds.
    pub calls: Compared,
    /// Top-ups, each said until it was answered.
    pub top_ups: u64,
    /// What became of the calls of accounts on a plan.
    pub on_plan: Compared,
    /// Of these, how many a plan's quotas paid, or a part of them.
    pub by_quota: u64,
}

/// What a burst left behind.
struct Burst {
    seen: Seen,
    on_plan: Seen,
    top_ups: u64,
}

impl Crash {
    /// A demo on a database of its own, with an account that will be used.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(database: Option<String>, seed: u64) -> Result<Self, Failure> {
        let gate = Gate::demo(database.clone()).await?;
        let file = gate.data().join("tollgate.db");
        let database = database.unwrap_or_else(|| format!("sqlite://{}", file.display()));
        let (account, key) = Control::sign_in(&gate)
            .await?
            .funded("crash", FUNDS)
            .await?;
        Ok(Self {
            gate,
            database,
            account,
            secret: key.secret,
            seen: Seen::default(),
            funds: FUNDS,
            seeded: Seeded::new(seed),
            round: 0,
        })
    }

    /// One burst, one kill, one start, and every check.
    ///
    /// # Errors
    /// The gate does not come up again, or cannot be asked.
    pub async fn round(
        &mut self,
        tally: &mut Tally,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        self.round += 1;
        let control = Control::sign_in(&self.gate).await?;
        let name = format!("crash-{}-on-plan", self.round);
        let on_plan = (name.as_str(), BESIDE_QUOTAS);
        let database = (self.database.as_str(), subscribed::FEW);
        let (account, key) = subscribed::enter(&control, database, on_plan).await?;
        let burst = self.burst(&control, &key.secret).await?;
        self.gate.start().await?;
        let control = Control::sign_in(&self.gate).await?;
        // What the crash left unanswered is said again, under the same key: it counts once.
        let last = self.top_up_key(burst.top_ups);
        control.top_up(&self.account, TOP_UP, &last).await?;
        let top_ups = burst.top_ups + 1;
        self.funds += TOP_UP * i128::from(top_ups);
        tally.rounds += 1;
        tally.top_ups += top_ups;
        self.seen.extend(burst.seen);
        self.holds_are_free(findings).await?;
        self.compare(&control, tally, findings).await?;
        let on_plan = (account.as_str(), key.secret.as_str(), &burst.on_plan);
        self.compare_on_plan(&control, on_plan, tally, findings)
            .await?;
        if let Err(error) = self.gate.verify_ledger() {
            findings.check(false, || error.to_string());
        }
        Ok(())
    }

    fn top_up_key(&self, number: u64) -> String {
        format!("crash-{}-{number}", self.round)
    }

    /// Clients call until the server is gone, which happens at some moment of the seed's choice.
    async fn burst(&mut self, control: &Control, on_plan: &str) -> Result<Burst, Failure> {
        let (seen, of_plan) = (Noted::default(), Noted::default());
        let mut clients = JoinSet::new();
        for (secret, (count, limit), seen) in [
            (self.secret.as_str(), (CLIENTS, MAX_TOKENS), &seen),
            (on_plan, (ON_PLAN, MAX_ON_PLAN), &of_plan),
        ] {
            let caller = Caller::new(self.gate.origin(), secret)?;
            for _ in 0..count {
                let seeded = Seeded::new(self.seeded.next());
                clients.spawn(call_until_gone(
                    (caller.clone(), limit),
                    seeded,
                    Arc::clone(seen),
                ));
            }
        }
        let (account, round) = (self.account.clone(), self.round);
        let payer = control.clone();
        let mut payments = JoinSet::new();
        payments.spawn(async move {
            let mut number = 0;
            let key = |number: u64| format!("crash-{round}-{number}");
            while payer.top_up(&account, TOP_UP, &key(number)).await.is_ok() {
                number += 1;
                // Each payment is a lot of its own; a wallet of thousands is another test's.
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
            number
        });
        let moment = Duration::from_millis(self.seeded.between(150, 1_500));
        tokio::time::sleep(moment).await;
        self.gate.kill()?;
        while let Some(client) = clients.join_next().await {
            client?;
        }
        let top_ups = payments.join_next().await.ok_or("nobody paid")??;
        Ok(Burst {
            seen: taken(&seen),
            on_plan: taken(&of_plan),
            top_ups,
        })
    }

    /// Nothing runs, so nothing is held: a call whose worst case is nearly the whole balance is
    /// served.
    async fn holds_are_free(&mut self, findings: &mut Findings) -> Result<(), Failure> {
        let caller = Caller::new(self.gate.origin(), &self.secret)?;
        let control = Control::sign_in(&self.gate).await?;
        let balance = control.balance(&self.account).await?;
        // The prompt is bounded by half of the body's bytes, which are a few hundred.
        let limit = u64::try_from((balance - 1_000_000) / OUTPUT)?;
        let answer = caller
            .call(&Ask::of("sim/lorem?tokens=3").at_most(limit))
            .await;
        findings.check(answer.is_complete(), || {
            format!(
                "with {} and nothing running, refused: {answer:?}",
                text(balance)
            )
        });
        self.seen.note(&answer);
        Ok(())
    }

    /// Compares the books with everything that clients saw since the first round.
    async fn compare(
        &self,
        control: &Control,
        tally: &mut Tally,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        let books = audit::audit(control, &self.account, self.funds, findings).await?;
        let charged: Result<Vec<(String, i128)>, Failure> = books
            .calls
            .iter()
            .map(|call| Ok((id_of(call)?, charge_of(call)?)))
            .collect();
        tally.calls = self.seen.compare(&charged?, findings);
        // The funds are enough, and a server that is killed has no time to refuse.
        findings.check(tally.calls.refused == 0, || {
            format!("refused: {:?}", self.seen.reasons())
        });
        self.newest_receipt_stands(control, findings).await
    }

    /// The same of the round's account on a plan, and what was drawn of its quotas.
    async fn compare_on_plan(
        &self,
        control: &Control,
        (account, secret, seen): (&str, &str, &Seen),
        tally: &mut Tally,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        let books = audit::audit(control, account, BESIDE_QUOTAS, findings).await?;
        let charged: Result<Vec<(String, i128)>, Failure> = books
            .calls
            .iter()
            .map(|call| Ok((id_of(call)?, charge_of(call)?)))
            .collect();
        let compared = seen.compare(&charged?, findings);
        findings.check(compared.refused == 0, || {
            format!("refused on a plan: {:?}", seen.reasons())
        });
        tally.on_plan.add(compared);
        let caller = Caller::new(self.gate.origin(), secret)?;
        let of = (account, &books, subscribed::FEW);
        tally.by_quota += subscribed::check(control, &caller, of, findings).await?;
        Ok(())
    }

    /// The receipt of the newest complete answer says what the answer said.
    async fn newest_receipt_stands(
        &self,
        control: &Control,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        let Some((id, cost)) = self.seen.newest() else {
            return Ok(());
        };
        let receipt = control.call(&self.account, id).await?.ok_or("no receipt")?;
        let charge = nanos(&receipt["charge"])?;
        findings.check(charge == cost, || {
            format!("{id}: {charge} on the receipt, {cost} shown")
        });
        Ok(())
    }
}

/// What clients note.
type Noted = Arc<Mutex<Seen>>;

fn taken(noted: &Noted) -> Seen {
    std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Calls, again and again, whole and streamed, until no answer comes any more.
async fn call_until_gone((caller, limit): (Caller, u64), mut seeded: Seeded, seen: Noted) {
    loop {
        let (tokens, chunk_ms) = (seeded.between(1, 40), seeded.between(0, 4));
        let (first_ms, seed) = (seeded.between(0, 60), seeded.next() % 1_000_000);
        let reasoning = seeded.between(0, 200);
        let model = format!(
            "sim/lorem?tokens={tokens}&first_ms={first_ms}&chunk_ms={chunk_ms}\
             &reasoning={reasoning}&seed={seed}"
        );
        let ask = Ask::of(model).streamed(seeded.percent(50)).at_most(limit);
        let answer = caller.call(&ask).await;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.note(&answer);
        if !answer.is_complete() {
            return;
        }
    }
}
