//! The directory in memory.

use std::sync::Arc;

use async_trait::async_trait;
use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, KeyId, UserId};
use billing_core::lease::{Claim, HOUSE, HOUSE_CLAIM_FOR};
use billing_core::money::Nanos;
use billing_core::port::directory::{
    Account, AccountTerms, ApiKey, Caller, Change, ChangeSubject, Directory, DirectoryError, Role,
    SecretHash, User,
};
use billing_core::wallet::{CreditLimitFault, Wallet};
use time::OffsetDateTime;

use super::{Memory, Page};

type Result<T> = std::result::Result<T, DirectoryError>;

fn size(limit: u32) -> usize {
    usize::try_from(limit).unwrap()
}

#[async_trait]
impl Directory for Memory {
    async fn caller(&self, hash: SecretHash) -> Result<Option<Caller>> {
        let state = self.state();
        let found = state.keys.values().find(|(_, h)| *h == hash);
        Ok(found.and_then(|(key, _)| {
            let account = state.accounts.get(&key.account)?;
            Some(Caller {
                key: key.clone(),
                currency: account.currency,
                status: account.status,
                subscribed: state.subscribed(key.account).cloned().map(Arc::new),
            })
        }))
    }

    async fn create_account(&self, account: Account) -> Result<()> {
        let wallet = Wallet {
            currency: account.currency,
            posted: Nanos::ZERO,
            leased: Amount::ZERO,
            credit_limit: account.credit_limit,
            status: account.status,
        };
        let mut state = self.state();
        state.books.insert(account.id, Page::new(wallet));
        state.accounts.insert(account.id, account);
        Ok(())
    }

    async fn account(&self, id: AccountId) -> Result<Option<Account>> {
        Ok(self.state().accounts.get(&id).cloned())
    }

    async fn accounts(
        &self,
        of: Option<UserId>,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Account>> {
        let state = self.state();
        let is_theirs = |a: &&Account| of.is_none_or(|u| state.members.contains_key(&(a.id, u)));
        let accounts = state.accounts.values().filter(|a| Some(a.id) > after);
        let accounts = accounts.filter(is_theirs).take(size(limit));
        Ok(accounts.cloned().collect())
    }

    async fn update_account(
        &self,
        id: AccountId,
        expected: AccountTerms,
        terms: AccountTerms,
        now: OffsetDateTime,
    ) -> Result<Account> {
        let mut state = self.state();
        let page = state.books.get_mut(&id).ok_or(DirectoryError::NotFound)?;
        let AccountTerms {
            status,
            credit_limit,
        } = terms;
        if (page.wallet.status, page.wallet.credit_limit)
            != (expected.status, expected.credit_limit)
        {
            return Err(DirectoryError::Stale);
        }
        terms.check_after(page.wallet.status)?;
        match page.wallet.check_credit_limit(credit_limit) {
            Ok(()) => {
                page.claims.remove(&(HOUSE, BudgetScope::Wallet));
            }
            Err(CreditLimitFault::OutOfRange) => {
                return Err(DirectoryError::Conflict("too low".to_owned()));
            }
            Err(CreditLimitFault::OnLease(wanted)) => {
                let claim = Claim {
                    node: HOUSE,
                    since: now,
                    wanted,
                    expires_at: now + HOUSE_CLAIM_FOR,
                };
                page.claims.insert((HOUSE, BudgetScope::Wallet), claim);
                return Err(DirectoryError::OnLease);
            }
        }
        page.wallet.status = status;
        page.wallet.credit_limit = credit_limit;
        state.changes.push(ChangeSubject::Account(id));
        let account = state.accounts.get_mut(&id).unwrap();
        account.status = status;
        account.credit_limit = credit_limit;
        Ok(account.clone())
    }

    async fn create_key(&self, key: ApiKey, hash: SecretHash) -> Result<()> {
        let mut state = self.state();
        let is_member = |user| state.members.contains_key(&(key.account, user));
        if !state.accounts.contains_key(&key.account) || !key.member.is_none_or(is_member) {
            return Err(DirectoryError::NotFound);
        }
        state.changes.push(ChangeSubject::Account(key.account));
        state.keys.insert(key.id, (key, hash));
        Ok(())
    }

    async fn keys(
        &self,
        account: AccountId,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<ApiKey>> {
        let state = self.state();
        let keys = state.keys.values().map(|(key, _)| key);
        let keys = keys.filter(|k| k.account == account && Some(k.id) > after);
        Ok(keys.take(size(limit)).cloned().collect())
    }

    async fn revoke_key(
        &self,
        account: AccountId,
        key: KeyId,
        now: OffsetDateTime,
    ) -> Result<ApiKey> {
        let mut state = self.state();
        let found = state.keys.get_mut(&key).map(|(key, _)| key);
        let found = found.filter(|k| k.account == account);
        let key = found.ok_or(DirectoryError::NotFound)?;
        if key.revoked_at.is_some() {
            return Ok(key.clone());
        }
        key.revoked_at = Some(now);
        let revoked = key.clone();
        state.changes.push(ChangeSubject::Account(account));
        Ok(revoked)
    }

    async fn create_user(&self, user: User, password_hash: &str) -> Result<()> {
        let mut state = self.state();
        if state.users.values().any(|(u, _)| u.email == user.email) {
            return Err(DirectoryError::Conflict("this email is taken".to_owned()));
        }
        state
            .users
            .insert(user.id, (user, password_hash.to_owned()));
        Ok(())
    }

    async fn user_by_email(&self, email: &str) -> Result<Option<(User, String)>> {
        let state = self.state();
        Ok(state
            .users
            .values()
            .find(|(u, _)| u.email == email)
            .cloned())
    }

    async fn add_member(&self, account: AccountId, user: UserId, role: Role) -> Result<()> {
        let mut state = self.state();
        if !state.accounts.contains_key(&account) || !state.users.contains_key(&user) {
            return Err(DirectoryError::NotFound);
        }
        state.members.insert((account, user), role);
        Ok(())
    }

    async fn role(&self, account: AccountId, user: UserId) -> Result<Option<Role>> {
        Ok(self.state().members.get(&(account, user)).copied())
    }

    async fn open_session(
        &self,
        hash: SecretHash,
        user: UserId,
        _: OffsetDateTime,
        expires_at: OffsetDateTime,
    ) -> Result<()> {
        self.state().sessions.push((hash, user, expires_at));
        Ok(())
    }

    async fn session(&self, hash: SecretHash, now: OffsetDateTime) -> Result<Option<User>> {
        let state = self.state();
        let open = state
            .sessions
            .iter()
            .find(|(h, _, end)| *h == hash && now < *end);
        let user = open.and_then(|(_, user, _)| state.users.get(user));
        Ok(user.map(|(user, _)| user.clone()))
    }

    async fn close_session(&self, hash: SecretHash) -> Result<()> {
        self.state().sessions.retain(|(h, _, _)| *h != hash);
        Ok(())
    }

    async fn changes(&self, after: i64, limit: u32) -> Result<Vec<Change>> {
        Ok(self
            .state()
            .changes_after(after)
            .take(size(limit))
            .collect())
    }

    async fn newest_change(&self) -> Result<i64> {
        Ok(self
            .state()
            .changes_after(0)
            .last()
            .map_or(0, |c| c.position))
    }
}
