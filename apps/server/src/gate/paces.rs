//! How fast accounts send: what their plans limit, kept in memory of this node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use billing_core::budget::Amount;
use billing_core::id::AccountId;
use billing_core::plan::RateLimits;
use billing_core::rate_limit::{Admitted, Pace, RateExceeded, RateLeft};
use billing_core::steady::Steady;

/// How many accounts are kept before those that send nothing are forgotten.
const SWEPT_AT: usize = 1_024;

/// The pace of each account whose plan limits it.
#[derive(Debug, Default)]
pub(crate) struct Paces(Mutex<ByAccount>);

#[derive(Debug, Default)]
struct ByAccount {
    paces: HashMap<AccountId, Pace>,
    /// How many there may be before the next sweep.
    swept_at: usize,
}

/// A call that counts in its account's pace, until it is dropped.
#[derive(Debug)]
pub(crate) struct InPace {
    paces: Arc<Paces>,
    account: AccountId,
    admitted: Admitted,
    /// The most that it can come to, in tokens, and once it is over what it came to.
    tokens: Amount,
}

impl Paces {
    /// Lets a call of an account in that can come to so many tokens.
    ///
    /// # Errors
    /// [`RateExceeded`].
    pub(crate) fn admit(
        self: &Arc<Self>,
        account: AccountId,
        limits: RateLimits,
        tokens: Amount,
        now: Steady,
    ) -> Result<InPace, RateExceeded> {
        let mut all = self.lock();
        if all.paces.len() >= all.swept_at.max(SWEPT_AT) {
            all.paces.retain(|_, pace| !pace.is_idle(now));
            all.swept_at = all.paces.len().saturating_mul(2);
        }
        let pace = all.paces.entry(account).or_default();
        let admitted = pace.admit(limits, tokens, now)?;
        Ok(InPace {
            paces: Arc::clone(self),
            account,
            admitted,
            tokens,
        })
    }

    /// What an account has left of its limits.
    pub(crate) fn left(
        &self,
        account: AccountId,
        limits: RateLimits,
        now: Steady,
    ) -> Vec<RateLeft> {
        let mut all = self.lock();
        match all.paces.get_mut(&account) {
            Some(pace) => pace.left(limits, now),
            None => Pace::default().left(limits, now),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ByAccount> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InPace {
    /// The call came to so many tokens.
    pub(crate) fn came_to(&mut self, tokens: Amount) {
        self.tokens = tokens;
    }
}

impl Drop for InPace {
    fn drop(&mut self) {
        let mut all = self.paces.lock();
        if let Some(pace) = all.paces.get_mut(&self.account) {
            pace.leave(&self.admitted, self.tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    #[test]
    fn a_call_counts_until_it_is_dropped_and_idle_accounts_are_forgotten() {
        let paces = Arc::new(Paces::default());
        let limits = RateLimits {
            concurrent_calls: Some(1),
            tokens_per_minute: Some(50),
            ..RateLimits::default()
        };
        let at = |s| Steady::at(Duration::seconds(s));
        let one = AccountId::new(1);
        let admit = |account, s| paces.admit(account, limits, Amount::new(40), at(s));
        let mut call = admit(one, 0).unwrap();
        assert!(admit(one, 0).is_err());
        call.came_to(Amount::new(5));
        drop(call);
        assert_eq!(paces.left(one, limits, at(0))[0].left, 45);
        let _running = admit(one, 0).unwrap();
        for number in 2..=10_000 {
            let second = if number <= 5_000 { 0 } else { 100 };
            drop(admit(AccountId::new(number), second).unwrap());
        }
        // Of the first half none is left but the one that runs.
        assert_eq!(paces.lock().paces.len(), 5_001);
        assert!(admit(one, 100).is_err());
    }
}
