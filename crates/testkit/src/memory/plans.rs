//! Plans and subscriptions in memory.

use std::sync::Arc;

use async_trait::async_trait;
use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, PlanId, PlanVersionId, SubscriptionId};
use billing_core::period::Cycle;
use billing_core::plan::{PlanVersion, Subscribed};
use billing_core::port::books::BooksError;
use billing_core::port::directory::ChangeSubject;
use billing_core::port::plans::{
    NewSubscription, NewVersion, Offer, Plans, PlansError, Subscriber,
};
use billing_core::quota::Quota;
use billing_core::subscription::Subscription;
use time::OffsetDateTime;

use super::{Memory, State};

/// A version, with its plan's code.
pub(super) type Published = (String, PlanVersion);

/// A subscription, and when it ended.
pub(super) type Held = (AccountId, Subscribed, Option<OffsetDateTime>);

#[async_trait]
impl Plans for Memory {
    async fn publish(&self, made: NewVersion) -> Result<PlanVersion, PlansError> {
        made.check()?;
        let mut state = self.state();
        state.plan_names.insert(made.code.clone(), made.name);
        let last = state.newest(&made.code).cloned();
        let same = |last: &&PlanVersion| last.terms == made.terms && last.archived_at.is_none();
        if let Some(last) = last.as_ref().filter(same) {
            return Ok(last.clone());
        }
        let terms = made.terms.quotas.iter().cloned();
        let quotas = made.quotas.iter().zip(terms);
        let version = PlanVersion {
            id: made.version,
            plan: last.as_ref().map_or(made.plan, |last| last.plan),
            number: last.map_or(1, |last| last.number + 1),
            quotas: quotas.map(|(id, terms)| Quota { id: *id, terms }).collect(),
            terms: made.terms,
            published_at: Some(made.now),
            archived_at: None,
        };
        state.plans.push((made.code, version.clone()));
        Ok(version)
    }

    async fn offers(&self) -> Result<Vec<Offer>, PlansError> {
        let state = self.state();
        let newest = state.plan_names.keys();
        let newest = newest.filter_map(|code| Some((code, state.newest(code)?)));
        Ok(newest.map(|(code, v)| state.offer_of(code, v)).collect())
    }

    async fn offer(&self, version: PlanVersionId) -> Result<Option<Offer>, PlansError> {
        let state = self.state();
        let found = state.plans.iter().find(|(_, v)| v.id == version);
        Ok(found.map(|(code, v)| state.offer_of(code, v)))
    }

    async fn archive(&self, code: &str, now: OffsetDateTime) -> Result<bool, PlansError> {
        let mut state = self.state();
        let versions = state.plans.iter_mut().filter(|(of, _)| of == code);
        let on_sale = versions.filter(|(_, v)| v.archived_at.is_none());
        let archived = on_sale.map(|(_, v)| v.archived_at = Some(now)).count();
        Ok(archived > 0)
    }

    async fn newest(&self, code: &str) -> Result<Option<PlanVersion>, PlansError> {
        Ok(self.state().newest(code).cloned())
    }

    async fn subscribe(&self, made: NewSubscription) -> Result<Subscribed, PlansError> {
        let mut state = self.state();
        let account = state.accounts.get(&made.account).cloned();
        let account = account.ok_or(PlansError::NoSuchAccount)?;
        let found = state.plans.iter().find(|(_, v)| v.id == made.version);
        let (code, version) = found.cloned().ok_or(PlansError::NotOnSale)?;
        made.check(&version, account.currency)?;
        if let Some(before) = state.standing_code(made.account) {
            return Err(PlansError::Already(before));
        }
        let zone: billing_core::zone::Zone = account.zone.parse().unwrap();
        let billing = version.terms.billing;
        let cycle = Cycle::anniversary(zone.clone(), made.now, billing.interval());
        let end = cycle.period_at(made.now).map(|(_, period)| period.end);
        let subscribed = Subscribed {
            subscription: made.id,
            plan: version.plan,
            code,
            version: version.id,
            after_quota: made.after_quota.unwrap_or(version.terms.after_quota),
            terms: Arc::new(version.terms),
            quotas: version.quotas.into(),
            zone,
            cycle,
            quantity: made.quantity,
            given_since: made.now,
            ends_at: end.filter(|_| !billing.renews()),
        };
        let held = (made.account, subscribed.clone(), None);
        state.subscriptions.push(held);
        state.changes.push(ChangeSubject::Account(made.account));
        Ok(subscribed)
    }

    async fn begin(&self, made: NewSubscription) -> Result<Subscription, PlansError> {
        self.begin_billed(&made)
    }

    async fn subscribed(&self, account: AccountId) -> Result<Option<Subscribed>, PlansError> {
        Ok(self.state().subscribed(account).cloned())
    }

    async fn subscribers(
        &self,
        plan: PlanId,
        after: Option<SubscriptionId>,
        limit: u32,
    ) -> Result<Vec<Subscriber>, PlansError> {
        let state = self.state();
        let given = state.subscriptions.iter();
        let given = given.filter(|(_, of, ended)| of.plan == plan && ended.is_none());
        let given = given.map(|(account, of, _)| (of.subscription, *account, of.version));
        let all = given.chain(state.billed.all_live());
        let mut live: Vec<Subscriber> = all
            .filter(|(id, _, _)| Some(*id) > after)
            .filter_map(|(subscription, account, version)| {
                let (_, version) = state.version(version)?;
                (version.plan == plan).then_some(Subscriber {
                    subscription,
                    account,
                    number: version.number,
                })
            })
            .collect();
        live.sort_unstable_by_key(|of| of.subscription);
        live.truncate(usize::try_from(limit).unwrap());
        Ok(live)
    }

    async fn end(&self, account: AccountId, now: OffsetDateTime) -> Result<bool, PlansError> {
        let mut state = self.state();
        if state.end_billed(account, now)? {
            return Ok(true);
        }
        let live = state.subscriptions.iter_mut();
        let mut live = live.filter(|(of, _, ended)| *of == account && ended.is_none());
        let Some((_, _, ended)) = live.next() else {
            return Ok(false);
        };
        *ended = Some(now);
        state.changes.push(ChangeSubject::Account(account));
        Ok(true)
    }
}

impl State {
    fn newest(&self, code: &str) -> Option<&PlanVersion> {
        let of_code = self.plans.iter().filter(|(of, _)| of == code);
        of_code.map(|(_, version)| version).next_back()
    }

    fn offer_of(&self, code: &str, version: &PlanVersion) -> Offer {
        Offer {
            version: version.id,
            code: code.to_owned(),
            name: self.plan_names[code].clone(),
            number: version.number,
            terms: version.terms.clone(),
            published_at: version.published_at,
            archived_at: version.archived_at,
        }
    }

    pub(super) fn subscribed(&self, account: AccountId) -> Option<&Subscribed> {
        let live = self.subscriptions.iter();
        let mut live = live.filter(|(of, _, ended)| *of == account && ended.is_none());
        live.next().map(|(_, subscribed, _)| subscribed)
    }

    /// What a quota gives an account that was ever on its version, and whether it is now.
    pub(super) fn quota(
        &self,
        account: AccountId,
        scope: BudgetScope,
    ) -> Result<(Option<Amount>, bool), BooksError> {
        let given = |subscribed: &Subscribed| match scope {
            BudgetScope::Quota { quota, unit, .. } => {
                let mut quotas = subscribed.quotas.iter();
                let quota = quotas.find(|q| q.id == quota && q.terms.unit == unit)?;
                Some(quota.terms.amount.get())
            }
            BudgetScope::CallLimit { version, .. } if subscribed.version == version => {
                subscribed.terms.call_limit
            }
            BudgetScope::CallLimit { .. }
            | BudgetScope::Wallet
            | BudgetScope::KeyLimit { .. }
            | BudgetScope::MemberLimit { .. }
            | BudgetScope::Tier { .. }
            | BudgetScope::TierCharge { .. }
            | BudgetScope::TierOverrun { .. } => None,
        };
        let of_account = self.subscriptions.iter().filter(|(of, ..)| *of == account);
        let mut found = Err(BooksError::NoSuchBudget);
        for (_, subscribed, ended) in of_account {
            if let Some(given) = given(subscribed) {
                let amount = given * u64::from(subscribed.quantity);
                let was_live = matches!(found, Ok((_, true)));
                found = Ok((Some(Amount::new(amount)), was_live || ended.is_none()));
            }
        }
        found
    }
}
