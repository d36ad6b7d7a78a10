//! Books as the last settlement of this process left them, so that the next one need not read them.
//!
//! What is taken from the shelf is believed under guard: the wallet is only written where it is
//! still as it was then, in version and in figures. Whoever changes an account's books changes its
//! version, so what others did meanwhile refuses the batch, and it is settled again with a look at
//! the books. Nothing depends on the shelf but how often that look is needed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, NodeId};
use billing_core::settlement::AccountState;
use billing_core::wallet::{Lot, Wallet};

use super::load::Loaded;
use super::settle::Left;

/// How many accounts are kept before the older half of them is let go: some 250 bytes each.
const ACCOUNTS: usize = 16_384;
/// For how many batches the shelf is left alone at most, when others write to the same accounts.
const LONGEST_PAUSE: u32 = 1024;

/// The books of accounts without limits and quotas.
#[derive(Debug)]
pub(crate) struct Shelf(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// What was put here last, and what was put here before.
    young: HashMap<AccountId, Shelved>,
    old: HashMap<AccountId, Shelved>,
    /// How many batches go by without the shelf, and how many will after the next mistake.
    pause: u32,
    next_pause: u32,
}

/// The books of one account.
#[derive(Debug)]
pub(crate) struct Shelved {
    version: i64,
    wallet: Wallet,
    lots: Vec<Lot>,
    /// What nodes have of the wallet on lease; `None` where a node has no lease.
    leases: Vec<(NodeId, Option<Amount>)>,
}

impl Shelved {
    /// What remains to be known of books that were written under a version; `nodes` are those whose
    /// leases were looked at.
    pub(crate) fn of(state: AccountState, version: i64, nodes: &[NodeId]) -> Self {
        let on_lease = |node: &NodeId| {
            let amount = state.leases.get(&(*node, BudgetScope::Wallet));
            (*node, amount.copied())
        };
        let leases = nodes.iter().map(on_lease).collect();
        let mut lots = state.lots;
        lots.retain(|lot| !lot.remaining.is_zero());
        Self {
            version,
            wallet: state.wallet,
            leases,
            lots,
        }
    }

    fn knows(&self, nodes: &[NodeId]) -> bool {
        let known = |node| self.leases.iter().any(|(of, _)| of == node);
        nodes.iter().all(known)
    }

    fn loaded(self, account: AccountId) -> Loaded {
        let leases = self.leases.iter();
        let leases = leases.filter_map(|(node, amount)| {
            let key = (*node, BudgetScope::Wallet);
            amount.map(|amount| (key, amount))
        });
        Loaded {
            version: self.version,
            is_guess: true,
            state: AccountState {
                account,
                wallet: self.wallet,
                leases: leases.collect(),
                lots: self.lots,
                uses: BTreeMap::new(),
            },
        }
    }
}

impl Shelf {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Kept {
            next_pause: 1,
            ..Kept::default()
        }))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the books of these accounts, with the leases of these nodes, as far as they are here.
    /// Whoever took them puts them back as the batch left them, or nobody has them.
    pub(crate) fn take<'a>(
        &self,
        wanted: impl Iterator<Item = (AccountId, &'a [NodeId])>,
    ) -> BTreeMap<AccountId, Loaded> {
        let mut kept = self.kept();
        if kept.pause > 0 {
            kept.pause = kept.pause.saturating_sub(1);
            return BTreeMap::new();
        }
        wanted
            .filter_map(|(account, nodes)| {
                let shelved = kept.remove(account)?;
                let is_known = shelved.knows(nodes);
                is_known.then(|| (account, shelved.loaded(account)))
            })
            .collect()
    }

    /// Puts books here as a committed batch left them.
    pub(crate) fn put(&self, left: Left) {
        let mut kept = self.kept();
        if left.was_guessed {
            kept.next_pause = 1;
        }
        for (account, shelved) in left.books {
            // Two batches of an account may end in either order.
            let other = kept.remove(account).filter(|o| o.version > shelved.version);
            if kept.young.len() >= ACCOUNTS {
                kept.old = std::mem::take(&mut kept.young);
            }
            kept.young.insert(account, other.unwrap_or(shelved));
        }
    }

    /// Lets go of books that something else changes.
    pub(crate) fn forget(&self, account: AccountId) {
        self.kept().remove(account);
    }

    /// Learns that others had changed what was taken from here: the more often that happens one
    /// time after the other, the longer the books are looked at instead.
    pub(crate) fn was_wrong(&self) {
        let mut kept = self.kept();
        kept.pause = kept.next_pause;
        kept.next_pause = kept.next_pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

impl Kept {
    fn remove(&mut self, account: AccountId) -> Option<Shelved> {
        let young = self.young.remove(&account);
        let old = self.old.remove(&account);
        young.or(old)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn shelved(version: i64) -> Shelved {
        Shelved {
            version,
            wallet: Wallet {
                currency: billing_core::money::Currency::USD,
                posted: billing_core::money::Nanos::ZERO,
                leased: Amount::ZERO,
                credit_limit: Amount::ZERO,
                status: billing_core::wallet::AccountStatus::Active,
            },
            lots: Vec::new(),
            leases: vec![(NodeId::new(7), None)],
        }
    }

    fn left(books: Vec<(AccountId, Shelved)>, was_guessed: bool) -> Left {
        Left { books, was_guessed }
    }

    fn version(shelf: &Shelf, account: i64, node: i64) -> Option<i64> {
        let (account, nodes) = (AccountId::new(account), [NodeId::new(node)]);
        let taken = shelf.take(std::iter::once((account, nodes.as_slice())));
        taken.get(&account).map(|loaded| loaded.version)
    }

    #[test]
    fn what_is_taken_is_gone_and_the_later_version_stays() {
        let shelf = Shelf::new();
        let account = AccountId::new(1);
        shelf.put(left(vec![(account, shelved(5))], false));
        shelf.put(left(vec![(account, shelved(4))], false));
        assert_eq!(version(&shelf, 1, 7), Some(5));
        assert_eq!(version(&shelf, 1, 7), None);
        shelf.put(left(vec![(account, shelved(6))], false));
        assert_eq!(
            version(&shelf, 1, 8),
            None,
            "that node's lease is not known"
        );
        shelf.put(left(vec![(account, shelved(6))], false));
        shelf.forget(account);
        assert_eq!(version(&shelf, 1, 7), None);
    }

    #[test]
    fn each_mistake_in_a_row_keeps_the_shelf_shut_for_longer() {
        let shelf = Shelf::new();
        let account = AccountId::new(1);
        for pause in [1, 2, 4] {
            shelf.was_wrong();
            shelf.put(left(vec![(account, shelved(1))], false));
            for _ in 0..pause {
                assert_eq!(version(&shelf, 1, 7), None);
            }
            assert_eq!(version(&shelf, 1, 7), Some(1));
        }
        shelf.put(left(vec![(account, shelved(1))], true));
        shelf.was_wrong();
        assert_eq!(version(&shelf, 1, 7), None);
        assert_eq!(version(&shelf, 1, 7), Some(1));
    }

    #[test]
    fn it_holds_a_bounded_number_of_accounts() {
        let shelf = Shelf::new();
        for account in 0..3 * i64::try_from(ACCOUNTS).unwrap() {
            shelf.put(left(vec![(AccountId::new(account), shelved(1))], false));
        }
        let kept = shelf.kept();
        assert!(kept.young.len() + kept.old.len() <= 2 * ACCOUNTS);
    }

    /// Every statement of this crate that changes a wallet counts its version up, and nothing but
    /// statements can: there is no entity of it.
    #[test]
    fn every_change_of_a_wallet_changes_its_version() {
        let (mut updates, mut inserts) = (0, 0);
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("hot_statements.rs") && !path.ends_with("shelf.rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    for (verb, statement) in of_wallets(&text) {
                        let is_told = match verb {
                            "UPDATE" => statement.contains("version = "),
                            _ => !statement.contains("DO UPDATE"),
                        };
                        assert!(is_told, "{}: {statement}", path.display());
                        updates += usize::from(verb == "UPDATE");
                        inserts += usize::from(verb == "INTO");
                    }
                    let entity = text.contains(r#"table_name = "wallet""#);
                    assert!(!entity, "{} is an entity of wallets", path.display());
                }
            }
        }
        assert!(updates >= 6, "only {updates} statements change a wallet");
        assert!(inserts >= 1, "no statement makes a wallet");
    }

    /// The statements of a text that write wallets, each with its verb, up to the quote at its end.
    fn of_wallets(text: &str) -> Vec<(&'static str, String)> {
        let statements = text.split('"').map(|piece| {
            let words: Vec<&str> = piece.split_whitespace().filter(|w| *w != "\\").collect();
            words.join(" ")
        });
        let mut found = Vec::new();
        for statement in statements {
            for verb in ["UPDATE", "INTO"] {
                let mut after = statement.split(verb).skip(1);
                // As in `UPDATE ONLY wallet`, but not in `FOR UPDATE OF wallet`.
                let names_it = |rest: &str| {
                    let words = rest.split_whitespace().take(4);
                    words.take_while(|w| *w != "OF").any(|w| w == "wallet")
                };
                if after.any(names_it) {
                    found.push((verb, statement.clone()));
                }
            }
        }
        found
    }

    #[test]
    fn a_statement_that_changes_a_wallet_is_found_however_it_is_written() {
        for text in [
            r#"let text = "UPDATE wallet SET posted = ?";"#,
            r#"let text = "UPDATE{fail} wallet SET posted = v.posted";"#,
            "let text = \"UPDATE \\\n    wallet AS w SET posted = 1\";",
            r#"let text = "UPDATE ONLY wallet SET posted = 1";"#,
            r#"let text = "WITH a AS (SELECT 1) UPDATE wallet w SET posted = 1 FROM a";"#,
        ] {
            let found = of_wallets(text);
            assert_eq!(found.len(), 1, "{text}");
            assert!(!found[0].1.contains("version = "), "{text}");
        }
        let found =
            of_wallets(r#""INSERT INTO wallet (a) VALUES (1) ON CONFLICT DO UPDATE SET a = 2""#);
        assert!(matches!(&found[..], [("INTO", text)] if text.contains("DO UPDATE")));
        assert!(of_wallets(r#""SELECT 1 FROM wallet FOR UPDATE OF wallet""#).is_empty());
    }
}
