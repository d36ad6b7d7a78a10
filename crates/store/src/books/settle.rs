//! Settles a batch of calls of any accounts inside a transaction.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use billing_core::call::Settlement;
use billing_core::id::{AccountId, CallId, LedgerTxnId};
use billing_core::ledger::LedgerTxn;
use billing_core::port::books::{BooksError, Settled};
use billing_core::settlement::{AccountState, Booking, SettleError, SettledCall, settle};
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use super::load::{self, Identity, Wanted};
use super::save::Page;
use crate::error::StoreError;
use crate::instant::micros;
use crate::open::TxnIds;

/// One answer for each settlement, in order.
pub(crate) type Answers = Vec<Result<Settled, BooksError>>;

/// Whether calls may be on record already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    /// Hardly any call is handed in twice, so none is looked up. When one was, the database refuses
    /// the batch with [`StoreError::is_duplicate`], and it is to be settled again with a look.
    Unseen,
    /// They are looked up.
    Seen,
}

/// Settles calls: those on record are answered from it, the others are charged and written. A call
/// under the id of another one of the account is refused.
pub(crate) async fn settle_all<C: ConnectionTrait>(
    tx: &C,
    batch: &[&Settlement],
    record: Record,
    ids: &TxnIds,
    now: OffsetDateTime,
) -> Result<Answers, StoreError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let mut wanted = Wanted::default();
    for settlement in batch {
        want(&mut wanted, settlement);
    }
    // The books are locked first, so that nobody else records one of the calls after the look.
    let states = load::states(tx, &wanted).await?;
    let recorded = match record {
        Record::Unseen => HashMap::new(),
        Record::Seen => load::recorded(tx, batch.iter().map(|s| (s.account, s.call))).await?,
    };
    let mut fresh: BTreeMap<AccountId, Vec<&Settlement>> = BTreeMap::new();
    let mut first = HashMap::with_capacity(batch.len());
    for (place, settlement) in batch.iter().enumerate() {
        let call = (settlement.account, settlement.call);
        if !recorded.contains_key(&call)
            && let Entry::Vacant(entry) = first.entry(call)
        {
            entry.insert((place, Identity::of(settlement)));
            fresh.entry(call.0).or_default().push(settlement);
        }
    }
    let mut page = Page::new(tx.get_database_backend(), micros(now));
    let charged = charge(&mut page, states, &fresh, ids, now);
    let mut settled_calls = HashMap::with_capacity(batch.len());
    let mut lines: Vec<&Line<'_>> = charged.values().flatten().flatten().collect();
    // In the order of the table, so that rows are put at its end one after the other.
    lines.sort_unstable_by_key(|line| line.settled.call);
    for line in lines {
        page.call(line.settlement, &line.settled, line.txn);
        let call = (line.settlement.account, line.settled.call);
        settled_calls.insert(call, &line.settled);
    }
    page.write(tx).await?;
    Ok(batch
        .iter()
        .enumerate()
        .map(|(place, settlement)| {
            let call = (settlement.account, settlement.call);
            let identity = Identity::of(settlement);
            if let Some((of_id, settled)) = recorded.get(&call) {
                if *of_id != identity {
                    return Err(collides(settlement.call));
                }
                return Ok(Settled {
                    call: settled.clone(),
                    replayed: true,
                });
            }
            let earliest = first.get(&call);
            if earliest.is_some_and(|(_, earliest)| *earliest != identity) {
                return Err(collides(settlement.call));
            }
            let replayed = earliest.is_some_and(|(earliest, _)| *earliest != place);
            match charged.get(&settlement.account) {
                None => Err(BooksError::NoSuchBudget),
                Some(Err(error)) => Err(refused(error)),
                Some(Ok(_)) => settled_calls
                    .get(&call)
                    .map(|settled| Settled {
                        call: (*settled).clone(),
                        replayed,
                    })
                    .ok_or_else(|| lost(settlement.call)),
            }
        })
        .collect())
}

fn want(wanted: &mut Wanted, settlement: &Settlement) {
    let account = settlement.account;
    wanted.accounts.insert(account);
    wanted.nodes.insert((account, settlement.node));
    for (scope, _) in &settlement.held {
        if *scope != billing_core::budget::BudgetScope::Wallet {
            wanted.scopes.insert((account, *scope));
        }
    }
}

/// A call, what it was charged, and where that is booked.
struct Line<'a> {
    settlement: &'a Settlement,
    settled: SettledCall,
    txn: Option<LedgerTxnId>,
}

type Charged<'a> = Result<Vec<Line<'a>>, SettleError>;

/// Asks the rule, account by account. One whose books it refuses writes nothing; the others go on.
fn charge<'a>(
    page: &mut Page<'_>,
    states: BTreeMap<AccountId, AccountState>,
    fresh: &BTreeMap<AccountId, Vec<&'a Settlement>>,
    ids: &TxnIds,
    now: OffsetDateTime,
) -> BTreeMap<AccountId, Charged<'a>> {
    let mut charged = BTreeMap::new();
    for (account, before) in states {
        let calls = fresh.get(&account).map_or(&[][..], Vec::as_slice);
        let booking = Booking {
            txn: ids.next(now),
            now,
        };
        let outcome = settle(before.clone(), calls, booking).map(|changes| {
            let txn = changes.txn.as_ref().map(LedgerTxn::id);
            page.books(&before, &changes.state);
            if let Some(txn) = &changes.txn {
                page.txn(txn, changes.state.wallet.posted.get());
            }
            let settled = changes.calls.into_iter();
            let lines = calls.iter().zip(settled).map(|(settlement, settled)| Line {
                settlement,
                settled,
                txn,
            });
            lines.collect()
        });
        charged.insert(account, outcome);
    }
    charged
}

fn refused(error: &SettleError) -> BooksError {
    match error {
        SettleError::Money(error) => BooksError::Money(error.clone()),
        SettleError::ForeignCall(_) | SettleError::Ledger(_) => {
            BooksError::Inconsistent(error.to_string())
        }
    }
}

fn collides(call: CallId) -> BooksError {
    BooksError::Inconsistent(format!("{call} stands for another call already"))
}

fn lost(call: CallId) -> BooksError {
    BooksError::Inconsistent(format!("the rule lost call {call}"))
}
