//! A spool in memory, with a bound, and a switch that makes its disk fail.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use billing_core::call_record::CallRecord;
use billing_core::id::NodeId;
use billing_core::port::spool::{Backlog, Parked, Spool, SpoolError, SpoolPosition, Waiting};
use time::OffsetDateTime;

/// What an entry is taken to be as large as, in bytes.
const ENTRY: u64 = 1024;

/// A spool that is gone when this is.
#[derive(Debug)]
pub struct MemorySpool {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    most: usize,
    fails: bool,
    last_failed: bool,
    next: i64,
    entries: BTreeMap<SpoolPosition, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    record: CallRecord,
    since: OffsetDateTime,
    parked: Option<(OffsetDateTime, String)>,
}

impl MemorySpool {
    /// An empty spool with room for so many calls.
    pub fn new(most: usize) -> Self {
        Self {
            state: Mutex::new(State {
                most,
                fails: false,
                last_failed: false,
                next: 0,
                entries: BTreeMap::new(),
            }),
        }
    }

    /// Makes every write fail, as a disk that is full, or work again.
    pub fn set_full(&self, is_full: bool) {
        self.state().fails = is_full;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn waiting(&self) -> impl Iterator<Item = (&SpoolPosition, &Entry)> {
        self.entries.iter().filter(|(_, e)| e.parked.is_none())
    }

    fn check(&mut self) -> Result<(), SpoolError> {
        self.last_failed = self.fails;
        if self.fails {
            Err(SpoolError::Full)
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl Spool for MemorySpool {
    async fn put(
        &self,
        record: &CallRecord,
        now: OffsetDateTime,
    ) -> Result<SpoolPosition, SpoolError> {
        let mut state = self.state();
        state.check()?;
        let there = state.entries.iter();
        let there = there.map(|(position, e)| (*position, e.record.call()));
        if let Some((position, _)) = there.into_iter().find(|(_, c)| *c == record.call()) {
            return Ok(position);
        }
        if state.entries.len() >= state.most {
            state.last_failed = true;
            return Err(SpoolError::Full);
        }
        state.next += 1;
        let position = SpoolPosition(state.next);
        let entry = Entry {
            record: record.clone(),
            since: now,
            parked: None,
        };
        state.entries.insert(position, entry);
        Ok(position)
    }

    async fn waiting(&self, after: SpoolPosition, most: u32) -> Result<Vec<Waiting>, SpoolError> {
        let state = self.state();
        let behind = state.waiting().filter(|(position, _)| **position > after);
        let waiting = behind.map(|(position, entry)| Waiting {
            position: *position,
            call: entry.record.call(),
            since: entry.since,
            record: Ok(entry.record.clone()),
        });
        Ok(waiting.take(usize::try_from(most).unwrap()).collect())
    }

    async fn forget(&self, positions: &[SpoolPosition]) -> Result<(), SpoolError> {
        let mut state = self.state();
        state.check()?;
        let gone = |position: &SpoolPosition, entry: &Entry| {
            entry.parked.is_none() && positions.contains(position)
        };
        state
            .entries
            .retain(|position, entry| !gone(position, entry));
        Ok(())
    }

    async fn park(
        &self,
        position: SpoolPosition,
        why: &str,
        now: OffsetDateTime,
    ) -> Result<(), SpoolError> {
        let mut state = self.state();
        state.check()?;
        if let Some(entry) = state.entries.get_mut(&position) {
            entry.parked.get_or_insert((now, why.to_owned()));
        }
        Ok(())
    }

    async fn parked(&self, most: u32) -> Result<Vec<Parked>, SpoolError> {
        let state = self.state();
        let parked = state.entries.iter().filter_map(|(position, entry)| {
            let (parked_at, why) = entry.parked.clone()?;
            Some(Parked {
                position: *position,
                call: entry.record.call(),
                since: entry.since,
                parked_at,
                why,
            })
        });
        Ok(parked.take(usize::try_from(most).unwrap()).collect())
    }

    async fn unpark(&self) -> Result<u64, SpoolError> {
        let mut state = self.state();
        state.check()?;
        let parked = state.entries.values_mut();
        Ok(parked.map(|e| u64::from(e.parked.take().is_some())).sum())
    }

    async fn set_life(&self, _node: NodeId, _earlier: &[NodeId]) -> Result<(), SpoolError> {
        let mut state = self.state();
        state.check()
    }

    fn backlog(&self) -> Backlog {
        let state = self.state();
        let entries = state.waiting().count();
        let all = state.entries.len();
        let count = |n: usize| u64::try_from(n).unwrap();
        Backlog {
            entries: count(entries),
            oldest: state.waiting().next().map(|(_, entry)| entry.since),
            parked: count(all - entries),
            bytes: count(all) * ENTRY,
            full: state.last_failed || all * 16 >= state.most * 15,
        }
    }
}
