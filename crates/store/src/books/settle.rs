//! Settles a batch of calls of any accounts inside a transaction.

use std::collections::{BTreeMap, HashMap};

use billing_core::call::Settlement;
use billing_core::id::{AccountId, CallId};
use billing_core::port::books::{BooksError, Settled};
use billing_core::settlement::{AccountState, Booking, SettleError, settle};
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use super::load::{self, Identity, Wanted};
use super::save::Page;
use crate::error::StoreError;
use crate::instant::micros;
use crate::open::TxnIds;

/// One answer for each settlement, in order.
pub(crate) type Answers = Vec<Result<Settled, BooksError>>;

/// Settles calls: those on record are answered from it, the others are charged and written. A call
/// under the id of another one is refused.
pub(crate) async fn settle_all<C: ConnectionTrait>(
    tx: &C,
    batch: &[&Settlement],
    ids: &TxnIds,
    now: OffsetDateTime,
) -> Result<Answers, StoreError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    // Locked first, so that nobody else records one of the calls after the look at the record.
    let accounts: std::collections::BTreeSet<AccountId> = batch.iter().map(|s| s.account).collect();
    let wallets = load::wallets(tx, accounts).await?;
    let recorded = load::recorded(tx, batch.iter().map(|s| s.call)).await?;
    let mut fresh: BTreeMap<AccountId, Vec<Settlement>> = BTreeMap::new();
    let mut first: HashMap<CallId, (usize, Identity)> = HashMap::new();
    let mut wanted = Wanted::default();
    for (place, settlement) in batch.iter().enumerate() {
        let call = settlement.call;
        let is_known = wallets.contains_key(&settlement.account);
        if !is_known || recorded.contains_key(&call) || first.contains_key(&call) {
            continue;
        }
        first.insert(call, (place, Identity::of(settlement)));
        want(&mut wanted, settlement);
        let of_account = fresh.entry(settlement.account).or_default();
        of_account.push((*settlement).clone());
    }
    let states = load::states(tx, wallets, &wanted).await?;
    let mut page = Page::new(tx.get_database_backend(), micros(now));
    let charged = charge(&mut page, states, &fresh, ids, now);
    page.write(tx).await?;
    Ok(batch
        .iter()
        .enumerate()
        .map(|(place, settlement)| {
            let identity = Identity::of(settlement);
            if let Some(of_id) = recorded.get(&settlement.call) {
                let own = of_id.iter().find(|(recorded, _)| *recorded == identity);
                let (_, call) = own.ok_or_else(|| collides(settlement.call))?;
                let call = call.clone();
                return Ok(Settled {
                    call,
                    replayed: true,
                });
            }
            let earliest = first.get(&settlement.call);
            if earliest.is_some_and(|(_, earliest)| *earliest != identity) {
                return Err(collides(settlement.call));
            }
            let replayed = earliest.is_some_and(|(earliest, _)| *earliest != place);
            match charged.get(&settlement.account) {
                None => Err(BooksError::NoSuchBudget),
                Some(Err(error)) => Err(refused(error)),
                Some(Ok(calls)) => calls
                    .get(&settlement.call)
                    .cloned()
                    .map(|call| Settled { call, replayed })
                    .ok_or_else(|| lost(settlement.call)),
            }
        })
        .collect())
}

fn want(wanted: &mut Wanted, settlement: &Settlement) {
    let account = settlement.account;
    wanted.nodes.insert((account, settlement.node));
    for (scope, _) in &settlement.held {
        if *scope != billing_core::budget::BudgetScope::Wallet {
            wanted.scopes.insert((account, *scope));
        }
    }
}

type Charged = Result<HashMap<CallId, billing_core::settlement::SettledCall>, SettleError>;

/// Asks the rule, account by account. One whose books it refuses writes nothing; the others go on.
fn charge(
    page: &mut Page,
    states: BTreeMap<AccountId, AccountState>,
    fresh: &BTreeMap<AccountId, Vec<Settlement>>,
    ids: &TxnIds,
    now: OffsetDateTime,
) -> BTreeMap<AccountId, Charged> {
    let mut charged = BTreeMap::new();
    for (account, before) in states {
        let Some(calls) = fresh.get(&account) else {
            continue;
        };
        let booking = Booking {
            txn: ids.next(now),
            now,
        };
        let outcome = settle(before.clone(), calls, booking).map(|changes| {
            let txn = changes
                .txn
                .as_ref()
                .map(billing_core::ledger::LedgerTxn::id);
            for (settlement, settled) in calls.iter().zip(&changes.calls) {
                page.call(settlement, settled, txn);
            }
            page.books(&before, &changes.state);
            if let Some(txn) = &changes.txn {
                page.txn(txn, changes.state.wallet.posted.get());
            }
            let settled = changes.calls.into_iter();
            settled.map(|call| (call.call, call)).collect()
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
