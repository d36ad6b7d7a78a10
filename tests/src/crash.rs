//! The crash: the server is killed during a burst, started again, and its books are compared with
//! what its clients hold.

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

/// What the account begins with: enough that no call of a run is refused.
const FUNDS: i128 = 200_000_000_000;
/// What each top-up of a burst adds.
const TOP_UP: i128 = 1_000_001;
/// Clients that call at the same time.
const CLIENTS: u64 = 24;
/// What an output token of a simulated model costs, in nanos.
const OUTPUT: i128 = 4_000;
/// What calls of the burst may cost each: large beside what they do.
const MAX_TOKENS: u64 = 100_000;

/// A gate that is killed again and again.
#[derive(Debug)]
pub struct Crash {
    gate: Gate,
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
}

impl Crash {
    /// A demo on a database of its own, with an account that will be used.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(database: Option<String>, seed: u64) -> Result<Self, Failure> {
        let gate = Gate::demo(database).await?;
        let (account, key) = Control::sign_in(&gate)
            .await?
            .funded("crash", FUNDS)
            .await?;
        Ok(Self {
            gate,
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
        let (seen, topped_up) = self.burst(&control).await?;
        self.gate.start().await?;
        let control = Control::sign_in(&self.gate).await?;
        // What the crash left unanswered is said again, under the same key: it counts once.
        let last = self.top_up_key(topped_up);
        control.top_up(&self.account, TOP_UP, &last).await?;
        let top_ups = topped_up + 1;
        self.funds += TOP_UP * i128::from(top_ups);
        tally.rounds += 1;
        tally.top_ups += top_ups;
        self.seen.extend(seen);
        self.holds_are_free(findings).await?;
        self.compare(&control, tally, findings).await?;
        if let Err(error) = self.gate.verify_ledger() {
            findings.check(false, || error.to_string());
        }
        Ok(())
    }

    fn top_up_key(&self, number: u64) -> String {
        format!("crash-{}-{number}", self.round)
    }

    /// Clients call until the server is gone, which happens at some moment of the seed's choice.
    async fn burst(&mut self, control: &Control) -> Result<(Seen, u64), Failure> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let caller = Caller::new(self.gate.origin(), &self.secret)?;
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (caller, seen) = (caller.clone(), Arc::clone(&seen));
            let seeded = Seeded::new(self.seeded.next());
            clients.spawn(call_until_gone(caller, seeded, seen));
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
        let paid = payments.join_next().await.ok_or("nobody paid")??;
        let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((seen, paid))
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

/// Calls, again and again, whole and streamed, until no answer comes any more.
async fn call_until_gone(caller: Caller, mut seeded: Seeded, seen: Arc<Mutex<Seen>>) {
    loop {
        let (tokens, chunk_ms) = (seeded.between(1, 40), seeded.between(0, 4));
        let (first_ms, seed) = (seeded.between(0, 60), seeded.next() % 1_000_000);
        let reasoning = seeded.between(0, 200);
        let model = format!(
            "sim/lorem?tokens={tokens}&first_ms={first_ms}&chunk_ms={chunk_ms}\
             &reasoning={reasoning}&seed={seed}"
        );
        let ask = Ask::of(model)
            .streamed(seeded.percent(50))
            .at_most(MAX_TOKENS);
        let answer = caller.call(&ask).await;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.note(&answer);
        if !answer.is_complete() {
            return;
        }
    }
}
