//! Callers that call again and again, whatever happens to those that serve them.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Failure;
use crate::call::{Ask, Caller};
use crate::seeded::Seeded;
use crate::seen::Seen;

/// How long a caller waits after a call that was not served.
const PAUSE: Duration = Duration::from_millis(20);

/// What is asked, each figure drawn from its range.
#[derive(Debug, Clone)]
pub struct Mix {
    /// Words of an answer.
    pub tokens: Range<u64>,
    /// Milliseconds before an answer begins.
    pub first_ms: Range<u64>,
    /// Milliseconds between two events of a stream.
    pub chunk_ms: Range<u64>,
    /// Tokens of reasoning, which cost and take no time.
    pub reasoning: Range<u64>,
    /// The limit of an answer, which is what is held.
    pub max_tokens: u64,
}

impl Mix {
    /// Short calls, half of them streamed.
    pub const SHORT: Self = Self {
        tokens: 1..40,
        first_ms: 0..60,
        chunk_ms: 0..4,
        reasoning: 0..200,
        max_tokens: 2_000,
    };

    fn ask(&self, seeded: &mut Seeded) -> Ask {
        let mut of = |range: &Range<u64>| seeded.between(range.start, range.end);
        let (tokens, first_ms) = (of(&self.tokens), of(&self.first_ms));
        let (chunk_ms, reasoning) = (of(&self.chunk_ms), of(&self.reasoning));
        let seed = seeded.next() % 1_000_000;
        let model = format!(
            "sim/lorem?tokens={tokens}&first_ms={first_ms}&chunk_ms={chunk_ms}\
             &reasoning={reasoning}&seed={seed}"
        );
        Ask::of(model)
            .streamed(seeded.percent(50))
            .at_most(self.max_tokens)
    }
}

/// Somebody who calls one node for one payer.
#[derive(Debug, Clone)]
pub struct Client {
    /// The node's number.
    pub node: usize,
    /// The payer's number.
    pub payer: usize,
    /// Who calls.
    pub caller: Caller,
}

/// Callers at work.
#[derive(Debug)]
pub struct Traffic {
    noted: Arc<Noted>,
    clients: JoinSet<()>,
}

#[derive(Debug)]
struct Noted {
    stop: AtomicBool,
    by_payer: Mutex<Vec<Seen>>,
    /// When which node had served a call to its end.
    served: Mutex<Vec<(usize, Instant)>>,
}

impl Traffic {
    /// Has them call until they are told to stop.
    pub fn start(clients: Vec<Client>, mix: &Mix, seeded: &mut Seeded) -> Self {
        let payers = clients.iter().map(|client| client.payer + 1).max();
        let noted = Arc::new(Noted {
            stop: AtomicBool::new(false),
            by_payer: Mutex::new(vec![Seen::default(); payers.unwrap_or(0)]),
            served: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for client in clients {
            let seeded = Seeded::new(seeded.next());
            tasks.spawn(call_on(client, mix.clone(), seeded, Arc::clone(&noted)));
        }
        Self {
            noted,
            clients: tasks,
        }
    }

    /// When a node first served a call to its end after a moment.
    pub fn served_after(&self, node: usize, moment: Instant) -> Option<Instant> {
        let served = locked(&self.noted.served);
        let mut of_node = served.iter().filter(|(by, at)| *by == node && *at > moment);
        of_node.next().map(|(_, at)| *at)
    }

    /// How many calls were served to their end so far.
    pub fn served(&self) -> usize {
        locked(&self.noted.served).len()
    }

    /// Lets running calls end, and gives what was seen, by payer.
    ///
    /// # Errors
    /// A caller fell over.
    pub async fn end(mut self) -> Result<Vec<Seen>, Failure> {
        self.noted.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client?;
        }
        Ok(std::mem::take(&mut *locked(&self.noted.by_payer)))
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn call_on(client: Client, mix: Mix, mut seeded: Seeded, noted: Arc<Noted>) {
    while !noted.stop.load(Ordering::Relaxed) {
        let answer = client.caller.call(&mix.ask(&mut seeded)).await;
        let complete = answer.is_complete();
        if let Some(seen) = locked(&noted.by_payer).get_mut(client.payer) {
            seen.note(&answer);
        }
        if complete {
            locked(&noted.served).push((client.node, Instant::now()));
        } else {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
