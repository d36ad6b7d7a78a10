//! What proofs remember, and the accounts whose books failed.

use async_trait::async_trait;
use billing_core::id::AccountId;
use billing_core::port::books::{AccountProof, BooksError};
use billing_core::port::proofs::{Depth, Parked, Proofs, Standing, ToProve};
use billing_core::wallet::AccountStatus;
use sea_orm::{ConnectionTrait, QueryResult};
use time::OffsetDateTime;

use super::calls::Prices;
use super::sums::{Carried, Final};
use super::{Proved, Start, kept_since, prove};
use crate::books::load;
use crate::db;
use crate::error::StoreError;
use crate::instant::{get, instant, micros};
use crate::open::Store;
use crate::rows::BatchSql;
use crate::rows::Kind::{Int, Text};
use crate::writer::Tx;

static REMEMBER: BatchSql = BatchSql::new(
    &[
        ("account_id", Int),
        ("proved_at", Int),
        ("posted", Int),
        ("leased", Int),
        ("txn_id", Int),
        ("carried", Text),
    ],
    "INSERT INTO account_proof ({columns}) SELECT {columns} FROM {rows} v WHERE true \
     ON CONFLICT (account_id) DO UPDATE SET proved_at = excluded.proved_at, \
     posted = excluded.posted, leased = excluded.leased, txn_id = excluded.txn_id, \
     carried = excluded.carried WHERE account_proof.proved_at <= excluded.proved_at",
);

/// An account has moved when its wallet or the last of its transactions is not what was proved. What
/// is not listed yet is looked through once for all of them.
const TO_PROVE: &str = "WITH page AS (SELECT account_id, posted, leased FROM wallet \
    WHERE account_id > ? ORDER BY account_id LIMIT ?), \
    new AS (SELECT u.account_id, MAX(u.id) AS txn_id FROM txn_unlisted u \
    WHERE u.account_id IN (SELECT account_id FROM page) GROUP BY u.account_id), \
    seen AS (SELECT page.account_id, page.posted, page.leased, n.txn_id AS new_txn, \
    (SELECT MAX(j.txn_id) FROM account_txn j WHERE j.account_id = page.account_id) AS txn_id \
    FROM page LEFT JOIN new n ON n.account_id = page.account_id) \
    SELECT s.account_id, p.proved_at, CAST(CASE WHEN p.posted = s.posted \
    AND p.leased = s.leased AND p.txn_id = CASE WHEN s.new_txn IS NULL OR s.new_txn < s.txn_id \
    THEN COALESCE(s.txn_id, p.txn_id) ELSE s.new_txn END THEN 0 ELSE 1 END AS BIGINT) AS moved \
    FROM seen s LEFT JOIN account_proof p ON p.account_id = s.account_id ORDER BY s.account_id";

#[async_trait]
impl Proofs for Store {
    async fn to_prove(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<ToProve>, BooksError> {
        let after = after.map_or(i64::MIN, AccountId::get);
        let values = vec![after.into(), i64::from(limit).into()];
        let rows = db::all(&self.db.reader, TO_PROVE, values).await?;
        let read = |row: &QueryResult| {
            let proved_at: Option<i64> = get(row, "proved_at")?;
            Ok(ToProve {
                account: AccountId::new(get(row, "account_id")?),
                proved_at: proved_at
                    .map(|at| instant("account_proof", at))
                    .transpose()?,
                moved: get::<i64>(row, "moved")? != 0,
            })
        };
        Ok(rows
            .iter()
            .map(read)
            .collect::<Result<Vec<_>, StoreError>>()?)
    }

    async fn prove(
        &self,
        accounts: &[AccountId],
        depth: Depth,
        now: OffsetDateTime,
    ) -> Result<Vec<AccountProof>, BooksError> {
        let last = Final::at(micros(now).div_euclid(1000));
        let mut prices = Prices::default();
        let mut proofs = Vec::with_capacity(accounts.len());
        let mut remember = REMEMBER.rows(self.db.backend());
        for account in accounts {
            let tx = self.db.snapshot().await?;
            let result = async {
                let since = kept_since(&tx).await?;
                let remembered = recall(&tx, *account, depth, since).await?;
                let start = Start {
                    remembered,
                    since,
                    last,
                };
                prove(&tx, *account, start, &mut prices).await
            };
            let result = result.await;
            let Some(proved) = db::finish(tx, result).await? else {
                continue;
            };
            let Proved {
                proof,
                seen,
                carried,
            } = proved;
            let carried = carried.and_then(|carried| serde_json::to_string(&carried).ok());
            if let Some(carried) = carried {
                remember.push([
                    account.get().into(),
                    micros(now).into(),
                    seen.posted.into(),
                    seen.leased.into(),
                    seen.txn.into(),
                    carried.as_str().into(),
                ]);
            }
            proofs.push(proof);
        }
        let tx = self.db.begin().await?;
        let result = remember.run(&tx).await;
        db::finish(tx, result).await?;
        Ok(proofs)
    }

    async fn park(
        &self,
        account: AccountId,
        why: &[String],
        now: OffsetDateTime,
    ) -> Result<bool, BooksError> {
        let tx = self.db.begin().await?;
        let whole = park(&tx, account, why, now, true).await;
        let parked = match db::finish(tx, whole).await {
            // A wallet that breaks the table's own rules cannot be written; its callers can be
            // stopped all the same.
            Err(error) if error.is_poison() => {
                let tx = self.db.begin().await?;
                let part = park(&tx, account, why, now, false).await;
                db::finish(tx, part).await?
            }
            other => other?,
        };
        Ok(parked)
    }

    async fn unpark(&self, account: AccountId, now: OffsetDateTime) -> Result<bool, BooksError> {
        let tx = self.db.begin().await?;
        let result = unpark(&tx, account, now).await;
        Ok(db::finish(tx, result).await?)
    }

    async fn parked(&self, account: AccountId) -> Result<Option<Parked>, BooksError> {
        let text = "SELECT * FROM parked_account WHERE account_id = ?";
        let row = db::one(&self.db.reader, text, vec![account.get().into()]).await?;
        Ok(row.as_ref().map(read_parked).transpose()?)
    }

    async fn standing(&self, limit: u32) -> Result<Standing, BooksError> {
        let text = "SELECT (SELECT COUNT(*) FROM wallet) AS accounts, \
            (SELECT COUNT(*) FROM parked_account) AS parked, \
            COUNT(*) AS proved, MIN(proved_at) AS oldest, MAX(proved_at) AS newest \
            FROM account_proof";
        let row = db::one(&self.db.reader, text, Vec::new()).await?;
        let row = row.ok_or_else(|| StoreError::unreadable("account_proof", "it has no count"))?;
        let count = |column| Ok::<_, StoreError>(get::<i64>(&row, column)?.unsigned_abs());
        let at = |column| {
            let at: Option<i64> = get(&row, column)?;
            at.map(|at| instant("account_proof", at)).transpose()
        };
        let text = "SELECT * FROM parked_account ORDER BY parked_at DESC, account_id LIMIT ?";
        let parked = db::all(&self.db.reader, text, vec![i64::from(limit).into()]).await?;
        Ok(Standing {
            accounts: count("accounts")?,
            proved: count("proved")?,
            oldest: at("oldest")?,
            newest: at("newest")?,
            parked_accounts: count("parked")?,
            parked: parked.iter().map(read_parked).collect::<Result<_, _>>()?,
        })
    }
}

/// What the last proof of an account handed on, if this one may begin there.
async fn recall<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    depth: Depth,
    since: i64,
) -> Result<Option<Carried>, StoreError> {
    if depth == Depth::Full {
        return Ok(None);
    }
    let text = "SELECT carried FROM account_proof WHERE account_id = ?";
    let Some(row) = db::one(tx, text, vec![account.get().into()]).await? else {
        return Ok(None);
    };
    let carried = Carried::read(&get::<String>(&row, "carried")?, since);
    let is_small = |carried: &Carried| match depth {
        Depth::FullUpTo(most) => carried.rows() <= most,
        Depth::SinceLast | Depth::Full => false,
    };
    Ok(carried.filter(|carried| !is_small(carried)))
}

async fn park(
    tx: &Tx,
    account: AccountId,
    why: &[String],
    now: OffsetDateTime,
    with_wallet: bool,
) -> Result<bool, StoreError> {
    let text = "SELECT status FROM wallet WHERE account_id = ?{lock}";
    let wallet = db::one(tx, text, vec![account.get().into()]).await?;
    let wallet = wallet.ok_or_else(|| StoreError::unreadable("wallet", "it is gone"))?;
    let was: String = get(&wallet, "status")?;
    let id = account.get();
    let text = "INSERT INTO parked_account (account_id, parked_at, was, why) \
                VALUES (?, ?, ?, ?) ON CONFLICT (account_id) DO NOTHING";
    let why = serde_json::to_string(why).unwrap_or_default();
    let at = micros(now);
    let values = vec![id.into(), at.into(), was.into(), why.into()];
    if db::run(tx, text, values).await? == 0 {
        return Ok(false);
    }
    if with_wallet {
        set_status(tx, WALLET, id, AccountStatus::Parked).await?;
    }
    set_status(tx, ACCOUNT, id, AccountStatus::Parked).await?;
    db::note_change(tx, "account", Some(id), at).await?;
    Ok(true)
}

async fn unpark(tx: &Tx, account: AccountId, now: OffsetDateTime) -> Result<bool, StoreError> {
    if load::locked_wallet(tx, account).await?.is_none() {
        return Ok(false);
    }
    let id = account.get();
    let text = "SELECT was FROM parked_account WHERE account_id = ?";
    let Some(row) = db::one(tx, text, vec![id.into()]).await? else {
        return Ok(false);
    };
    let was: String = get(&row, "was")?;
    let unknown = || StoreError::unreadable("parked_account", format!("\"{was}\""));
    let was = AccountStatus::of_name(&was).ok_or_else(unknown)?;
    set_status(tx, WALLET, id, was).await?;
    set_status(tx, ACCOUNT, id, was).await?;
    for table in ["parked_account", "account_proof"] {
        let text = format!("DELETE FROM {table} WHERE account_id = ?");
        db::run(tx, &text, vec![id.into()]).await?;
    }
    db::note_change(tx, "account", Some(id), micros(now)).await?;
    Ok(true)
}

const WALLET: &str = "UPDATE wallet SET status = ?, version = version + 1 WHERE account_id = ?";
const ACCOUNT: &str = "UPDATE account SET status = ? WHERE id = ?";

async fn set_status(
    tx: &Tx,
    text: &str,
    account: i64,
    status: AccountStatus,
) -> Result<(), StoreError> {
    db::run(tx, text, vec![status.name().into(), account.into()]).await?;
    Ok(())
}

fn read_parked(row: &QueryResult) -> Result<Parked, StoreError> {
    let why: String = get(row, "why")?;
    Ok(Parked {
        account: AccountId::new(get(row, "account_id")?),
        since: instant("parked_account", get(row, "parked_at")?)?,
        why: serde_json::from_str(&why)
            .map_err(|e| StoreError::unreadable("parked_account", e.to_string()))?,
    })
}
