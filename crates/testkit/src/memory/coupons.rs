//! Coupons, and who has redeemed them, in memory.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use billing_core::id::{AccountId, CouponId, PlanId};
use billing_core::invoice::{
    AppliedDiscount, Coupon, CouponCode, CouponError, Discount, RedeemAsk, Redemption, coupons,
};
use billing_core::money::Currency;
use billing_core::port::coupons::{Coupons, CouponsError, KeptCoupon, NewCoupon, Redeemed};
use time::OffsetDateTime;

use super::{Memory, State};

/// Coupons, and what accounts have redeemed, in the order in which they did.
#[derive(Debug, Default)]
pub(super) struct Given {
    all: BTreeMap<CouponId, KeptCoupon>,
    redeemed: Vec<(AccountId, Redeemed)>,
}

impl Given {
    fn of_code(&self, code: &CouponCode) -> Option<&KeptCoupon> {
        let mut all = self.all.values();
        all.find(|kept| kept.coupon.code == *code)
    }
}

impl State {
    /// What comes off the next fee of an account.
    pub(super) fn discounts(&self, account: AccountId) -> Vec<Discount> {
        let of = self.coupons.redeemed.iter();
        let of = of.filter(|(whose, _)| *whose == account);
        of.filter_map(|(_, redeemed)| redeemed.coupon.discount(&redeemed.redemption))
            .collect()
    }

    /// Redeems a coupon for an account that is on a plan, or about to be.
    pub(super) fn redeem(
        &mut self,
        (account, code): (AccountId, &CouponCode),
        (currency, plan): (Currency, Option<PlanId>),
        now: OffsetDateTime,
    ) -> Result<Redeemed, CouponError> {
        let kept = self.coupons.of_code(code).cloned();
        let kept = kept.ok_or_else(|| CouponError::Unknown(code.clone()))?;
        let mut redeemed = self.coupons.redeemed.iter();
        let ask = RedeemAsk {
            now,
            currency,
            plan,
            redeemed_before: redeemed.any(|(of, done)| *of == account && done.id == kept.id),
            redemptions: kept.redemptions,
        };
        let done = kept.redeem(&ask)?;
        self.coupons.redeemed.push((account, done.clone()));
        self.coupons.all.get_mut(&kept.id).unwrap().redemptions += 1;
        Ok(done)
    }

    /// Changes what is left of coupons that took something off.
    pub(super) fn change_coupons(
        &mut self,
        account: AccountId,
        by: &[AppliedDiscount],
        to: fn(Redemption) -> Redemption,
    ) {
        for code in coupons(by) {
            let mut redeemed = self.coupons.redeemed.iter_mut();
            let of = redeemed.find(|(of, done)| *of == account && done.coupon.code == *code);
            let (_, done) = of.unwrap();
            done.redemption = to(done.redemption);
        }
    }
}

#[async_trait]
impl Coupons for Memory {
    async fn create(&self, made: NewCoupon) -> Result<KeptCoupon, CouponsError> {
        made.coupon.check(made.now)?;
        let mut state = self.state();
        let mut plans = BTreeSet::new();
        for code in &made.plans {
            let mut known = state.plans.iter();
            let known = known.find(|(of, _)| of == code);
            let (_, version) = known.ok_or_else(|| CouponsError::NoSuchPlan(code.clone()))?;
            plans.insert(version.plan);
        }
        if let Some(kept) = state.coupons.of_code(&made.coupon.code) {
            kept.is_again(&made)?;
            return Ok(kept.clone());
        }
        let kept = KeptCoupon {
            id: made.id,
            coupon: Coupon {
                plans,
                ..made.coupon
            },
            plans: made.plans,
            created_at: made.now,
            archived_at: None,
            redemptions: 0,
        };
        state.coupons.all.insert(kept.id, kept.clone());
        Ok(kept)
    }

    async fn list(
        &self,
        before: Option<CouponId>,
        limit: u32,
    ) -> Result<Vec<KeptCoupon>, CouponsError> {
        let state = self.state();
        let all = state.coupons.all.iter().rev();
        let all = all.filter(|(id, _)| before.is_none_or(|before| **id < before));
        let limit = usize::try_from(limit).unwrap();
        Ok(all.take(limit).map(|(_, kept)| kept.clone()).collect())
    }

    async fn find(&self, code: &CouponCode) -> Result<Option<KeptCoupon>, CouponsError> {
        Ok(self.state().coupons.of_code(code).cloned())
    }

    async fn archive(
        &self,
        code: &CouponCode,
        now: OffsetDateTime,
    ) -> Result<Option<KeptCoupon>, CouponsError> {
        let mut state = self.state();
        let mut all = state.coupons.all.values_mut();
        let found = all.find(|kept| kept.coupon.code == *code);
        Ok(found.map(|kept| {
            kept.archived_at.get_or_insert(now);
            kept.clone()
        }))
    }

    async fn redeem(
        &self,
        account: AccountId,
        code: &CouponCode,
        now: OffsetDateTime,
    ) -> Result<Redeemed, CouponsError> {
        let mut state = self.state();
        let page = state.books.get(&account);
        let currency = page.ok_or(CouponsError::NoSuchAccount)?.wallet.currency;
        let plan = state.standing_plan(account);
        Ok(state.redeem((account, code), (currency, plan), now)?)
    }

    async fn redeemed(&self, account: AccountId) -> Result<Vec<Redeemed>, CouponsError> {
        let state = self.state();
        let of = state.coupons.redeemed.iter();
        let of = of.filter(|(whose, _)| *whose == account);
        Ok(of.map(|(_, redeemed)| redeemed.clone()).collect())
    }
}
