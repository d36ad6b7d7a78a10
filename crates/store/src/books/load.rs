//! Loads and locks what a settlement or a lease looks at.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use billing_core::budget::BudgetScope;
use billing_core::call::Settlement;
use billing_core::id::{AccountId, CallId, KeyId, LotId, NodeId};
use billing_core::money::{Currency, Nanos};
use billing_core::settlement::{AccountState, BudgetUse, SettledCall};
use billing_core::wallet::{AccountStatus, Lot, LotKind, Wallet};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult};

use crate::call_row;
use crate::db;
use crate::error::StoreError;
use crate::instant::{amount, get, instant, micros};
use crate::rows::{Form, Rows, Table, null, read};

mod statements;

use self::statements::{LEASES, LOTS, RECORDED, USES, WALLETS};

/// The wallets of accounts, locked in order of id. One that does not exist is left out.
pub(crate) async fn wallets<C: ConnectionTrait>(
    tx: &C,
    accounts: impl IntoIterator<Item = AccountId>,
) -> Result<BTreeMap<AccountId, Wallet>, StoreError> {
    let mut rows = WALLETS.rows(tx.get_database_backend());
    for account in accounts {
        rows.push([account.get().into()]);
    }
    let [found] = read(tx, [rows]).await?;
    let wallets = read_wallets(&found);
    wallets
        .map(|found| found.map(|(account, wallet, _)| (account, wallet)))
        .collect()
}

/// Wallets with their versions.
fn read_wallets(
    found: &Table,
) -> impl Iterator<Item = Result<(AccountId, Wallet, i64), StoreError>> {
    let columns = [0, 1, 2, 3, 4].map(|c| found.ints(c));
    let names = found.texts(5).iter().zip(found.texts(6));
    names.enumerate().map(move |(place, (currency, status))| {
        let [account, posted, leased, credit_limit, version] =
            columns.map(|c| c.get(place).copied().unwrap_or_default());
        let wallet = Wallet {
            currency: currency_of(currency)?,
            posted: Nanos::new(posted),
            leased: amount(leased),
            credit_limit: amount(credit_limit),
            status: status_of(status)?,
        };
        Ok((AccountId::new(account), wallet, version))
    })
}

/// One wallet, locked.
pub(crate) async fn locked_wallet<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
) -> Result<Option<Wallet>, StoreError> {
    let text = "SELECT * FROM wallet WHERE account_id = ?{lock}";
    let row = db::one(tx, text, vec![account.get().into()]).await?;
    row.as_ref().map(wallet).transpose()
}

/// One wallet as it is, for who only looks.
pub(crate) async fn wallet_of<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
) -> Result<Option<Wallet>, StoreError> {
    let text = "SELECT * FROM wallet WHERE account_id = ?";
    let row = db::one(tx, text, vec![account.get().into()]).await?;
    row.as_ref().map(wallet).transpose()
}

pub(crate) fn wallet(row: &QueryResult) -> Result<Wallet, StoreError> {
    let status: String = get(row, "status")?;
    let currency: String = get(row, "currency")?;
    Ok(Wallet {
        currency: currency_of(&currency)?,
        posted: Nanos::new(get(row, "posted")?),
        leased: amount(get(row, "leased")?),
        credit_limit: amount(get(row, "credit_limit")?),
        status: status_of(&status)?,
    })
}

fn currency_of(code: &str) -> Result<Currency, StoreError> {
    Currency::parse(code).map_err(|e| StoreError::unreadable("wallet", e.to_string()))
}

fn status_of(name: &str) -> Result<AccountStatus, StoreError> {
    AccountStatus::of_name(name)
        .ok_or_else(|| StoreError::unreadable("wallet", format!("\"{name}\" is not a status")))
}

/// What tells a call that is handed in again from another call of the account under the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    key: KeyId,
    started_at: i64,
}

impl Identity {
    pub(crate) fn of(settlement: &Settlement) -> Self {
        Self {
            key: settlement.key,
            started_at: micros(settlement.facts.started_at),
        }
    }
}

/// Which of these calls are on record, and what they were charged.
pub(crate) async fn recorded<C: ConnectionTrait>(
    tx: &C,
    calls: impl IntoIterator<Item = (AccountId, CallId)>,
) -> Result<HashMap<(AccountId, CallId), (Identity, SettledCall)>, StoreError> {
    let mut rows = RECORDED.rows(tx.get_database_backend());
    for (account, call) in calls {
        rows.push([account.get().into(), call.get().into()]);
    }
    let mut recorded = HashMap::new();
    for row in rows.query(tx).await? {
        let settled = call_row::settled(&row)?;
        let account = AccountId::new(get(&row, "account_id")?);
        let identity = Identity {
            key: KeyId::new(get(&row, "key_id")?),
            started_at: get(&row, "started_at")?,
        };
        recorded.insert((account, settled.call), (identity, settled));
    }
    Ok(recorded)
}

/// The books of an account as a batch begins with them.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) state: AccountState,
    /// Counts up with each change of the books.
    pub(crate) version: i64,
    /// Whether they were not read and locked by this batch, so that they may have changed.
    pub(crate) is_guess: bool,
}

/// What settlements of several accounts look at.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) accounts: BTreeSet<AccountId>,
    /// Accounts that are only locked.
    pub(crate) locked: BTreeSet<AccountId>,
    pub(crate) nodes: BTreeSet<(AccountId, NodeId)>,
    pub(crate) scopes: BTreeSet<(AccountId, BudgetScope)>,
}

impl Wanted {
    /// As queries: for wallets, lots, leases and uses.
    pub(crate) fn rows(&self, form: impl Into<Form>) -> [Rows; 4] {
        let form = form.into();
        let [mut wallets, mut lots] = [WALLETS.rows(form), LOTS.rows(form)];
        for account in self.accounts.union(&self.locked) {
            wallets.push([account.get().into()]);
        }
        for account in &self.accounts {
            lots.push([account.get().into()]);
        }
        let mut leases = LEASES.rows(form);
        for (account, node) in &self.nodes {
            leases.push([account.get().into(), node.get().into()]);
        }
        [wallets, lots, leases, wanted_uses(form, &self.scopes)]
    }
}

/// The books of accounts, their wallets locked. One that does not exist is left out.
pub(crate) async fn states<C: ConnectionTrait>(
    tx: &C,
    wanted: &Wanted,
) -> Result<BTreeMap<AccountId, Loaded>, StoreError> {
    let backend = tx.get_database_backend();
    let parts = wanted.rows(backend);
    if backend != DbBackend::Postgres {
        return states_of(&read(tx, parts).await?);
    }
    // A statement sees what was committed before it began. So the books are looked at by one that
    // begins when the wallets are locked.
    let [wallets, lots, leases, uses] = parts;
    let [wallets] = read(tx, [wallets]).await?;
    let [lots, leases, uses] = read(tx, [lots, leases, uses]).await?;
    states_of(&[wallets, lots, leases, uses])
}

/// The books that the queries of [`Wanted::rows`] found.
pub(crate) fn states_of(
    [wallets, lots, leases, uses]: &[Table; 4],
) -> Result<BTreeMap<AccountId, Loaded>, StoreError> {
    let books = read_wallets(wallets).map(|found| {
        let (account, wallet, version) = found?;
        let state = AccountState {
            account,
            wallet,
            lots: Vec::new(),
            uses: BTreeMap::new(),
            leases: BTreeMap::new(),
        };
        let is_guess = false;
        Ok::<_, StoreError>((
            account,
            Loaded {
                state,
                version,
                is_guess,
            },
        ))
    });
    let mut states: BTreeMap<AccountId, Loaded> = books.collect::<Result<_, _>>()?;
    read_lots(lots, &mut states)?;
    read_leases(leases, &mut states)?;
    for used in read_uses(uses) {
        let (account, scope, budget) = used?;
        if let Some(Loaded { state, .. }) = states.get_mut(&account) {
            state.uses.insert(scope, budget.in_use);
        }
    }
    Ok(states)
}

fn read_lots(found: &Table, states: &mut BTreeMap<AccountId, Loaded>) -> Result<(), StoreError> {
    let columns = [0, 1, 2, 3, 4, 5, 6, 7].map(|c| found.ints(c));
    for (place, kind) in found.texts(8).iter().enumerate() {
        let [
            account,
            id,
            priority,
            effective_at,
            expires_at,
            created_at,
            granted,
            remaining,
        ] = columns.map(|c| c.get(place).copied().unwrap_or_default());
        let Some(Loaded { state, .. }) = states.get_mut(&AccountId::new(account)) else {
            continue;
        };
        let expires_at = null(expires_at);
        state.lots.push(Lot {
            id: LotId::new(id),
            kind: lot_kind(kind)?,
            priority: i16::try_from(priority).unwrap_or(i16::MAX),
            effective_at: instant("lot", effective_at)?,
            expires_at: expires_at.map(|at| instant("lot", at)).transpose()?,
            created_at: instant("lot", created_at)?,
            granted: amount(granted),
            remaining: amount(remaining),
        });
    }
    Ok(())
}

fn read_leases(found: &Table, states: &mut BTreeMap<AccountId, Loaded>) -> Result<(), StoreError> {
    let columns = [1, 2, 3, 4, 5, 6].map(|c| found.ints(c));
    for (place, account) in found.ints(0).iter().enumerate() {
        let [node, kind, subject, unit, window_start, leased] =
            columns.map(|c| c.get(place).copied().unwrap_or_default());
        let Some(Loaded { state, .. }) = states.get_mut(&AccountId::new(*account)) else {
            continue;
        };
        let scope = call_row::scope(kind, subject, unit, window_start)?;
        let key = (NodeId::new(node), scope);
        state.leases.insert(key, amount(leased));
    }
    Ok(())
}

/// A limit or quota in its window.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) in_use: BudgetUse,
    /// Whether there is such a key, member or quota.
    pub(crate) is_known: bool,
    /// Whether what is left of a window comes on top in the next.
    pub(crate) rolls: bool,
}

/// Limits and quotas with what is used and leased of them.
pub(crate) async fn uses<C: ConnectionTrait>(
    tx: &C,
    scopes: impl IntoIterator<Item = &(AccountId, BudgetScope)>,
) -> Result<Vec<(AccountId, BudgetScope, Budget)>, StoreError> {
    let rows = wanted_uses(tx.get_database_backend(), scopes);
    let [found] = read(tx, [rows]).await?;
    read_uses(&found).collect()
}

fn wanted_uses<'a>(
    form: impl Into<Form>,
    scopes: impl IntoIterator<Item = &'a (AccountId, BudgetScope)>,
) -> Rows {
    let mut rows = USES.rows(form);
    for (account, scope) in scopes {
        let row = scope.row();
        rows.push([
            account.get().into(),
            i64::from(row.kind).into(),
            row.subject.into(),
            i64::from(row.unit).into(),
            row.window_start.into(),
        ]);
    }
    rows
}

fn read_uses(
    found: &Table,
) -> impl Iterator<Item = Result<(AccountId, BudgetScope, Budget), StoreError>> {
    let columns = [1, 2, 3, 4, 5, 6, 7, 8, 9].map(|c| found.ints(c));
    found
        .ints(0)
        .iter()
        .enumerate()
        .map(move |(place, account)| {
            let [
                kind,
                subject,
                unit,
                window_start,
                used,
                leased,
                limit,
                known,
                rolls,
            ] = columns.map(|c| c.get(place).copied().unwrap_or_default());
            let scope = call_row::scope(kind, subject, unit, window_start)?;
            let in_use = BudgetUse {
                limit: null(limit).map(amount),
                used: amount(used),
                leased: amount(leased),
            };
            let budget = Budget {
                in_use,
                is_known: known == 1,
                rolls: rolls == 1,
            };
            Ok((AccountId::new(*account), scope, budget))
        })
}

pub(crate) fn scope(row: &QueryResult) -> Result<BudgetScope, StoreError> {
    call_row::scope(
        get(row, "kind")?,
        get(row, "subject")?,
        get(row, "unit")?,
        get(row, "window_start")?,
    )
}

pub(crate) fn lot(row: &QueryResult) -> Result<Lot, StoreError> {
    let kind: String = get(row, "kind")?;
    let expires_at: Option<i64> = get(row, "expires_at")?;
    Ok(Lot {
        id: LotId::new(get(row, "id")?),
        kind: lot_kind(&kind)?,
        priority: i16::try_from(get::<i64>(row, "priority")?).unwrap_or(i16::MAX),
        effective_at: instant("lot", get(row, "effective_at")?)?,
        expires_at: expires_at.map(|at| instant("lot", at)).transpose()?,
        created_at: instant("lot", get(row, "created_at")?)?,
        granted: amount(get(row, "granted")?),
        remaining: amount(get(row, "remaining")?),
    })
}

fn lot_kind(name: &str) -> Result<LotKind, StoreError> {
    LotKind::of_name(name)
        .ok_or_else(|| StoreError::unreadable("lot", format!("\"{name}\" is not a kind")))
}
