//! Loads and locks what a settlement or a lease looks at.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use billing_core::budget::{Amount, BudgetScope};
use billing_core::call::Settlement;
use billing_core::id::{AccountId, CallId, KeyId, LotId, NodeId};
use billing_core::money::{Currency, Nanos};
use billing_core::settlement::{AccountState, BudgetUse, SettledCall};
use billing_core::wallet::{AccountStatus, Lot, LotKind, Wallet};
use sea_orm::{ConnectionTrait, QueryResult};

use crate::call_row;
use crate::db;
use crate::error::StoreError;
use crate::instant::{amount, get, instant, micros};
use crate::rows::BatchSql;
use crate::rows::Kind::Int;

static WALLETS: BatchSql = BatchSql::new(
    &[("account_id", Int)],
    "SELECT w.account_id, w.currency, w.posted, w.leased, w.credit_limit, w.status \
     FROM wallet w WHERE w.account_id IN (SELECT v.account_id FROM {rows} v) \
     ORDER BY w.account_id{lock}",
);

static RECORDED: BatchSql = BatchSql::new(
    &[("id", Int)],
    "SELECT c.id, c.account_id, c.key_id, c.started_at, c.charge, c.overrun, c.quarantined, c.on_credit, c.draws, c.uses, \
     c.balance_after FROM {rows} v CROSS JOIN call c \
     WHERE c.id = v.id",
);

static LOTS: BatchSql = BatchSql::new(
    &[("account_id", Int)],
    "SELECT l.* FROM {rows} v CROSS JOIN lot l \
     WHERE l.account_id = v.account_id AND l.remaining > 0",
);

static LEASES: BatchSql = BatchSql::new(
    &[("account_id", Int), ("node_id", Int)],
    "SELECT l.* FROM {rows} v CROSS JOIN lease l \
     WHERE l.account_id = v.account_id AND l.node_id = v.node_id",
);

static USES: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("kind", Int),
        ("subject", Int),
        ("unit", Int),
        ("window_start", Int),
    ],
    "SELECT v.account_id, v.kind, v.subject, v.unit, v.window_start, q.used, q.leased, \
     k.limit_amount AS key_limit, m.limit_amount AS member_limit, p.amount AS quota_amount, \
     CAST(CASE WHEN k.id IS NULL AND m.user_id IS NULL AND p.id IS NULL THEN 0 ELSE 1 END \
     AS BIGINT) AS known \
     FROM {rows} v \
     LEFT JOIN quota_usage q ON q.account_id = v.account_id AND q.kind = v.kind \
       AND q.subject = v.subject AND q.unit = v.unit AND q.window_start = v.window_start \
     LEFT JOIN api_key k ON v.kind = 1 AND k.id = v.subject AND k.account_id = v.account_id \
     LEFT JOIN membership m ON v.kind = 2 AND m.account_id = v.account_id \
       AND m.user_id = v.subject \
     LEFT JOIN plan_quota p ON v.kind = 3 AND p.id = v.subject",
);

/// The wallets of accounts, locked in order of id. One that does not exist is left out.
pub(crate) async fn wallets<C: ConnectionTrait>(
    tx: &C,
    accounts: impl IntoIterator<Item = AccountId>,
) -> Result<BTreeMap<AccountId, Wallet>, StoreError> {
    let mut rows = WALLETS.rows(tx.get_database_backend());
    for account in accounts {
        rows.push([account.get().into()]);
    }
    let found = rows.query(tx).await?;
    found
        .iter()
        .map(|row| Ok((AccountId::new(get(row, "account_id")?), wallet(row)?)))
        .collect()
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

pub(crate) fn wallet(row: &QueryResult) -> Result<Wallet, StoreError> {
    let status: String = get(row, "status")?;
    let currency: String = get(row, "currency")?;
    let unreadable = |why: String| StoreError::unreadable("wallet", why);
    Ok(Wallet {
        currency: Currency::parse(&currency).map_err(|e| unreadable(e.to_string()))?,
        posted: Nanos::new(get(row, "posted")?),
        leased: amount(get(row, "leased")?),
        credit_limit: amount(get(row, "credit_limit")?),
        status: AccountStatus::of_name(&status)
            .ok_or_else(|| unreadable(format!("\"{status}\" is not a status")))?,
    })
}

/// What tells a call that is handed in again from another call under the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    account: AccountId,
    key: KeyId,
    started_at: i64,
}

impl Identity {
    pub(crate) fn of(settlement: &Settlement) -> Self {
        Self {
            account: settlement.account,
            key: settlement.key,
            started_at: micros(settlement.facts.started_at),
        }
    }
}

/// Which of these calls are on record, whose they are, and what they were charged.
pub(crate) async fn recorded<C: ConnectionTrait>(
    tx: &C,
    calls: impl IntoIterator<Item = CallId>,
) -> Result<HashMap<CallId, Vec<(Identity, SettledCall)>>, StoreError> {
    let mut rows = RECORDED.rows(tx.get_database_backend());
    for call in calls {
        rows.push([call.get().into()]);
    }
    let mut recorded: HashMap<_, Vec<_>> = HashMap::new();
    for row in rows.query(tx).await? {
        let settled = call_row::settled(&row)?;
        let identity = Identity {
            account: AccountId::new(get(&row, "account_id")?),
            key: KeyId::new(get(&row, "key_id")?),
            started_at: get(&row, "started_at")?,
        };
        let of_id = recorded.entry(settled.call).or_default();
        of_id.push((identity, settled));
    }
    Ok(recorded)
}

/// What settlements of several accounts look at, beside their wallets.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) nodes: BTreeSet<(AccountId, NodeId)>,
    pub(crate) scopes: BTreeSet<(AccountId, BudgetScope)>,
}

/// The books of the accounts whose wallets are locked.
pub(crate) async fn states<C: ConnectionTrait>(
    tx: &C,
    wallets: BTreeMap<AccountId, Wallet>,
    wanted: &Wanted,
) -> Result<BTreeMap<AccountId, AccountState>, StoreError> {
    let backend = tx.get_database_backend();
    let mut lots = LOTS.rows(backend);
    let mut states = BTreeMap::new();
    for (account, wallet) in wallets {
        lots.push([account.get().into()]);
        let state = AccountState {
            account,
            wallet,
            lots: Vec::new(),
            uses: BTreeMap::new(),
            leases: BTreeMap::new(),
        };
        states.insert(account, state);
    }
    for row in lots.query(tx).await? {
        if let Some(state) = states.get_mut(&AccountId::new(get(&row, "account_id")?)) {
            state.lots.push(lot(&row)?);
        }
    }
    let mut leases = LEASES.rows(backend);
    for (account, node) in &wanted.nodes {
        leases.push([account.get().into(), node.get().into()]);
    }
    for row in leases.query(tx).await? {
        if let Some(state) = states.get_mut(&AccountId::new(get(&row, "account_id")?)) {
            let key = (NodeId::new(get(&row, "node_id")?), scope(&row)?);
            state.leases.insert(key, amount(get(&row, "amount")?));
        }
    }
    for (account, scope, budget) in uses(tx, &wanted.scopes).await? {
        if let Some(state) = states.get_mut(&account) {
            state.uses.insert(scope, budget.in_use);
        }
    }
    Ok(states)
}

/// A limit or quota in its window.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) in_use: BudgetUse,
    /// Whether there is such a key, member or quota.
    pub(crate) is_known: bool,
}

/// Limits and quotas with what is used and leased of them.
pub(crate) async fn uses<C: ConnectionTrait>(
    tx: &C,
    scopes: impl IntoIterator<Item = &(AccountId, BudgetScope)>,
) -> Result<Vec<(AccountId, BudgetScope, Budget)>, StoreError> {
    let mut rows = USES.rows(tx.get_database_backend());
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
    let found = rows.query(tx).await?;
    found.iter().map(budget).collect()
}

fn budget(row: &QueryResult) -> Result<(AccountId, BudgetScope, Budget), StoreError> {
    let limits = ["key_limit", "member_limit", "quota_amount"];
    let mut limit: Option<Amount> = None;
    for column in limits {
        limit = limit.or(get::<Option<i64>>(row, column)?.map(amount));
    }
    let of = |column| Ok::<_, StoreError>(get::<Option<i64>>(row, column)?.unwrap_or(0));
    let in_use = BudgetUse {
        limit,
        used: amount(of("used")?),
        leased: amount(of("leased")?),
    };
    let is_known = get::<i64>(row, "known")? == 1;
    let account = AccountId::new(get(row, "account_id")?);
    Ok((account, scope(row)?, Budget { in_use, is_known }))
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
        kind: LotKind::of_name(&kind)
            .ok_or_else(|| StoreError::unreadable("lot", format!("\"{kind}\" is not a kind")))?,
        priority: i16::try_from(get::<i64>(row, "priority")?).unwrap_or(i16::MAX),
        effective_at: instant("lot", get(row, "effective_at")?)?,
        expires_at: expires_at.map(|at| instant("lot", at)).transpose()?,
        created_at: instant("lot", get(row, "created_at")?)?,
        granted: amount(get(row, "granted")?),
        remaining: amount(get(row, "remaining")?),
    })
}
