//! The directory: users, accounts, keys and sessions.

use std::sync::Arc;

use async_trait::async_trait;
use billing_core::budget::LimitWindow;
use billing_core::id::{AccountId, KeyId, UserId};
use billing_core::money::Currency;
use billing_core::port::directory::{
    Account, AccountTerms, ApiKey, Caller, Change, ChangeSubject, Directory, DirectoryError,
    KeyLimit, Role, SecretHash, User,
};
use billing_core::wallet::{AccountStatus, CreditLimitFault};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter,
    QueryOrder, QuerySelect, Select, Set, SqlErr,
};
use time::OffsetDateTime;

use crate::books::{lease, load};
use crate::db;
use crate::entity::{account, api_key, change_feed, membership, session, user};
use crate::error::StoreError;
use crate::instant::{amount, instant, micros, stored};
use crate::open::Store;
use crate::plans;

type Result<T> = std::result::Result<T, DirectoryError>;

fn db_error(error: DbErr) -> DirectoryError {
    StoreError::from(error).into()
}

/// A row that refers to nobody: somebody was named who is not there.
fn or_not_found(error: DbErr) -> DirectoryError {
    match error.sql_err() {
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => DirectoryError::NotFound,
        _ => db_error(error),
    }
}

#[async_trait]
impl Directory for Store {
    async fn caller(&self, hash: SecretHash) -> Result<Option<Caller>> {
        let found = api_key::Entity::find()
            .filter(api_key::Column::Hash.eq(hash.0.to_vec()))
            .one(&self.db.reader)
            .await
            .map_err(db_error)?;
        let Some(key) = found else {
            return Ok(None);
        };
        let account = account::Entity::find_by_id(key.account_id)
            .one(&self.db.reader)
            .await
            .map_err(db_error)?;
        let Some(account) = account.map(read_account).transpose()? else {
            return Ok(None);
        };
        let subscribed = plans::subscribed(&self.db.reader, account.id).await?;
        Ok(Some(Caller {
            key: read_key(key)?,
            currency: account.currency,
            status: account.status,
            subscribed: subscribed.map(Arc::new),
        }))
    }

    async fn create_account(&self, made: Account) -> Result<()> {
        let tx = self.db.begin().await?;
        let result = async {
            let row = account_row(&made).into_active_model();
            account::Entity::insert(row)
                .exec_without_returning(&tx)
                .await
                .map_err(db_error)?;
            let text = "INSERT INTO wallet \
                (account_id, currency, posted, leased, credit_limit, status) \
                VALUES (?, ?, 0, 0, ?, ?)";
            let values = vec![
                made.id.get().into(),
                made.currency.code().into(),
                stored(made.credit_limit).into(),
                made.status.name().into(),
            ];
            db::run(&tx, text, values).await?;
            Ok(())
        };
        let result = result.await;
        db::finish(tx, result).await
    }

    async fn account(&self, id: AccountId) -> Result<Option<Account>> {
        let row = account::Entity::find_by_id(id.get())
            .one(&self.db.reader)
            .await
            .map_err(db_error)?;
        row.map(read_account).transpose()
    }

    async fn accounts(
        &self,
        of: Option<UserId>,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Account>> {
        let query = accounts(of, after, limit);
        let rows = query.all(&self.db.reader).await.map_err(db_error)?;
        rows.into_iter().map(read_account).collect()
    }

    async fn update_account(
        &self,
        id: AccountId,
        expected: AccountTerms,
        terms: AccountTerms,
        now: OffsetDateTime,
    ) -> Result<Account> {
        let tx = self.db.begin().await?;
        let result = update(&tx, id, expected, terms, now).await;
        // A claim to what is on lease is committed too.
        let updated = db::finish(tx, result).await?;
        updated.ok_or(DirectoryError::OnLease)
    }

    async fn create_key(&self, key: ApiKey, hash: SecretHash) -> Result<()> {
        let tx = self.db.begin().await?;
        let result = async {
            let at = micros(key.created_at);
            let account = key.account.get();
            if let Some(member) = key.member {
                let found = membership::Entity::find_by_id((account, member.get()));
                let found = found.one(&tx).await.map_err(db_error)?;
                found.ok_or(DirectoryError::NotFound)?;
            }
            api_key::Entity::insert(key_row(&key, hash)?)
                .exec_without_returning(&tx)
                .await
                .map_err(or_not_found)?;
            db::note_change(&tx, "account", Some(account), at).await?;
            Ok(())
        };
        let result = result.await;
        db::finish(tx, result).await
    }

    async fn keys(
        &self,
        account: AccountId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<ApiKey>> {
        let query = keys(account, after, limit);
        let rows = query.all(&self.db.reader).await.map_err(db_error)?;
        rows.into_iter().map(read_key).collect()
    }

    async fn revoke_key(
        &self,
        account: AccountId,
        key: KeyId,
        now: OffsetDateTime,
    ) -> Result<ApiKey> {
        let tx = self.db.begin().await?;
        let result = async {
            let found = api_key::Entity::find_by_id(key.get())
                .filter(api_key::Column::AccountId.eq(account.get()))
                .one(&tx)
                .await
                .map_err(db_error)?;
            let found = found.ok_or(DirectoryError::NotFound)?;
            if found.revoked_at.is_some() {
                return read_key(found);
            }
            let mut change = found.into_active_model();
            change.revoked_at = Set(Some(micros(now)));
            let revoked = change.update(&tx).await.map_err(db_error)?;
            db::note_change(&tx, "account", Some(account.get()), micros(now)).await?;
            read_key(revoked)
        };
        let result = result.await;
        db::finish(tx, result).await
    }

    async fn create_user(&self, made: User, password_hash: &str) -> Result<()> {
        let row = user::ActiveModel {
            id: Set(made.id.get()),
            email: Set(made.email),
            password_hash: Set(password_hash.to_owned()),
            operator: Set(made.operator),
            created_at: Set(micros(made.created_at)),
        };
        let insert = user::Entity::insert(row);
        match insert.exec_without_returning(&self.db.writer).await {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.sql_err() {
                Some(SqlErr::UniqueConstraintViolation(_)) => {
                    DirectoryError::Conflict("this email is taken".to_owned())
                }
                _ => db_error(error),
            }),
        }
    }

    async fn user_by_email(&self, email: &str) -> Result<Option<(User, String)>> {
        let row = user::Entity::find()
            .filter(user::Column::Email.eq(email))
            .one(&self.db.reader)
            .await
            .map_err(db_error)?;
        row.map(|mut row| {
            let password_hash = std::mem::take(&mut row.password_hash);
            Ok((read_user(row)?, password_hash))
        })
        .transpose()
    }

    async fn add_member(&self, account: AccountId, user: UserId, role: Role) -> Result<()> {
        let row = membership::ActiveModel {
            account_id: Set(account.get()),
            user_id: Set(user.get()),
            role: Set(role.name().to_owned()),
            limit_amount: Set(None),
            limit_window: Set(None),
        };
        let keys = [membership::Column::AccountId, membership::Column::UserId];
        let again = OnConflict::columns(keys)
            .update_column(membership::Column::Role)
            .to_owned();
        membership::Entity::insert(row)
            .on_conflict(again)
            .exec_without_returning(&self.db.writer)
            .await
            .map_err(or_not_found)?;
        Ok(())
    }

    async fn role(&self, account: AccountId, user: UserId) -> Result<Option<Role>> {
        let row = membership::Entity::find_by_id((account.get(), user.get()))
            .one(&self.db.reader)
            .await
            .map_err(db_error)?;
        row.map(|m| Role::of_name(&m.role).ok_or_else(|| unreadable("membership", &m.role)))
            .transpose()
    }

    async fn open_session(
        &self,
        hash: SecretHash,
        user: UserId,
        now: OffsetDateTime,
        expires_at: OffsetDateTime,
    ) -> Result<()> {
        let row = session::ActiveModel {
            hash: Set(hash.0.to_vec()),
            user_id: Set(user.get()),
            created_at: Set(micros(now)),
            expires_at: Set(micros(expires_at)),
        };
        session::Entity::insert(row)
            .exec_without_returning(&self.db.writer)
            .await
            .map_err(or_not_found)?;
        Ok(())
    }

    async fn session(&self, hash: SecretHash, now: OffsetDateTime) -> Result<Option<User>> {
        let open = session::Entity::find_by_id(hash.0.to_vec())
            .filter(session::Column::ExpiresAt.gt(micros(now)))
            .one(&self.db.reader)
            .await
            .map_err(db_error)?;
        let Some(open) = open else {
            return Ok(None);
        };
        let row = user::Entity::find_by_id(open.user_id)
            .one(&self.db.reader)
            .await
            .map_err(db_error)?;
        row.map(read_user).transpose()
    }

    async fn close_session(&self, hash: SecretHash) -> Result<()> {
        session::Entity::delete_by_id(hash.0.to_vec())
            .exec(&self.db.writer)
            .await
            .map_err(db_error)?;
        Ok(())
    }

    async fn changes(&self, after: i64, limit: u32) -> Result<Vec<Change>> {
        let rows = change_feed::Entity::find()
            .filter(change_feed::Column::Position.gt(after))
            .order_by_asc(change_feed::Column::Position)
            .limit(u64::from(limit))
            .all(&self.db.reader)
            .await
            .map_err(db_error)?;
        rows.into_iter().map(|row| read_change(&row)).collect()
    }

    async fn newest_change(&self) -> Result<i64> {
        let row = change_feed::Entity::find()
            .order_by_desc(change_feed::Column::Position)
            .one(&self.db.reader)
            .await
            .map_err(db_error)?;
        Ok(row.map_or(0, |r| r.position))
    }
}

/// A page of accounts: all, or those of a user.
pub(crate) fn accounts(
    of: Option<UserId>,
    after: Option<AccountId>,
    limit: u32,
) -> Select<account::Entity> {
    let mut query = account::Entity::find();
    if let Some(of) = of {
        let theirs = membership::Entity::find()
            .select_only()
            .column(membership::Column::AccountId)
            .filter(membership::Column::UserId.eq(of.get()));
        let theirs = sea_orm::QueryTrait::into_query(theirs);
        query = query.filter(account::Column::Id.in_subquery(theirs));
    }
    if let Some(after) = after {
        query = query.filter(account::Column::Id.gt(after.get()));
    }
    query
        .order_by_asc(account::Column::Id)
        .limit(u64::from(limit))
}

/// A page of an account's keys.
pub(crate) fn keys(
    account: AccountId,
    after: Option<KeyId>,
    limit: u32,
) -> Select<api_key::Entity> {
    let mut query = api_key::Entity::find().filter(api_key::Column::AccountId.eq(account.get()));
    if let Some(after) = after {
        query = query.filter(api_key::Column::Id.gt(after.get()));
    }
    query
        .order_by_asc(api_key::Column::Id)
        .limit(u64::from(limit))
}

/// The plan that an account is on.
/// Sets the terms of an account; `None` when nodes have on lease what this would take away, which
/// is then recalled from them.
async fn update(
    tx: &crate::writer::Tx,
    id: AccountId,
    expected: AccountTerms,
    terms: AccountTerms,
    now: OffsetDateTime,
) -> Result<Option<Account>> {
    let locked = load::locked_wallet(tx, id).await?;
    let before = locked.ok_or(DirectoryError::NotFound)?;
    if (before.status, before.credit_limit) != (expected.status, expected.credit_limit) {
        return Err(DirectoryError::Stale);
    }
    terms.check_after(before.status)?;
    let AccountTerms {
        status,
        credit_limit,
    } = terms;
    match before.check_credit_limit(credit_limit) {
        Ok(()) => lease::drop_claim_of_house(tx, id).await?,
        Err(CreditLimitFault::OutOfRange) => {
            let why = "the credit limit is below what is owed, or too large to be stored";
            return Err(DirectoryError::Conflict(why.to_owned()));
        }
        Err(CreditLimitFault::OnLease(missing)) => {
            lease::claim_for_house(tx, id, missing, now).await?;
            return Ok(None);
        }
    }
    let limit = stored(credit_limit);
    let text = "UPDATE wallet SET credit_limit = ?, status = ?, version = version + 1 \
                WHERE account_id = ?";
    let values = vec![limit.into(), status.name().into(), id.get().into()];
    db::run(tx, text, values).await?;
    let row = account::ActiveModel {
        id: Set(id.get()),
        credit_limit: Set(limit),
        status: Set(status.name().to_owned()),
        ..Default::default()
    };
    let row = row.update(tx).await.map_err(db_error)?;
    db::note_change(tx, "account", Some(id.get()), micros(now)).await?;
    read_account(row).map(Some)
}

fn unreadable(table: &'static str, what: &str) -> DirectoryError {
    let why = format!("\"{what}\" means nothing here");
    DirectoryError::Unreadable { table, why }
}

fn account_row(made: &Account) -> account::Model {
    account::Model {
        id: made.id.get(),
        name: made.name.clone(),
        currency: made.currency.code().to_owned(),
        zone: made.zone.clone(),
        status: made.status.name().to_owned(),
        credit_limit: stored(made.credit_limit),
        created_at: micros(made.created_at),
    }
}

pub(crate) fn read_account(row: account::Model) -> Result<Account> {
    Ok(Account {
        id: AccountId::new(row.id),
        name: row.name,
        currency: Currency::parse(&row.currency)
            .map_err(|_| unreadable("account", &row.currency))?,
        zone: row.zone,
        status: AccountStatus::of_name(&row.status)
            .ok_or_else(|| unreadable("account", &row.status))?,
        credit_limit: amount(row.credit_limit),
        created_at: instant("account", row.created_at)?,
    })
}

fn key_row(key: &ApiKey, hash: SecretHash) -> Result<api_key::ActiveModel> {
    let models =
        serde_json::to_string(&key.models).map_err(|e| unreadable("api_key", &e.to_string()))?;
    let row = api_key::Model {
        id: key.id.get(),
        account_id: key.account.get(),
        member_id: key.member.map(UserId::get),
        name: key.name.clone(),
        hash: hash.0.to_vec(),
        visible_prefix: key.visible_prefix.clone(),
        limit_amount: key.limit.map(|l| stored(l.amount)),
        limit_window: key.limit.map(|l| l.window.name().to_owned()),
        models,
        cap_output: key.cap_output,
        created_at: micros(key.created_at),
        expires_at: key.expires_at.map(micros),
        revoked_at: key.revoked_at.map(micros),
    };
    let mut row = row.into_active_model();
    if key.member.is_none() {
        // Left out, so that a schema of before members takes the key as well.
        row.member_id = ActiveValue::NotSet;
    }
    Ok(row)
}

fn read_key(row: api_key::Model) -> Result<ApiKey> {
    let at = |micros: Option<i64>| micros.map(|m| instant("api_key", m)).transpose();
    let limit = match (row.limit_amount, row.limit_window.as_deref()) {
        (Some(limit), Some(window)) => Some(KeyLimit {
            amount: amount(limit),
            window: LimitWindow::of_name(window).ok_or_else(|| unreadable("api_key", window))?,
        }),
        (None, None) => None,
        _ => return Err(unreadable("api_key", "half a limit")),
    };
    Ok(ApiKey {
        id: KeyId::new(row.id),
        account: AccountId::new(row.account_id),
        member: row.member_id.map(UserId::new),
        name: row.name,
        visible_prefix: row.visible_prefix,
        limit,
        models: serde_json::from_str(&row.models)
            .map_err(|_| unreadable("api_key", &row.models))?,
        cap_output: row.cap_output,
        created_at: instant("api_key", row.created_at)?,
        expires_at: at(row.expires_at)?,
        revoked_at: at(row.revoked_at)?,
    })
}

fn read_user(row: user::Model) -> Result<User> {
    Ok(User {
        id: UserId::new(row.id),
        email: row.email,
        operator: row.operator,
        created_at: instant("user", row.created_at)?,
    })
}

fn read_change(row: &change_feed::Model) -> Result<Change> {
    let subject = match (row.subject.as_str(), row.account_id) {
        ("account", Some(account)) => ChangeSubject::Account(AccountId::new(account)),
        ("prices", _) => ChangeSubject::Prices,
        ("date", _) => ChangeSubject::Date,
        (other, _) => return Err(unreadable("change_feed", other)),
    };
    Ok(Change {
        position: row.position,
        subject,
    })
}
