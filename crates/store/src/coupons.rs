//! Coupons: given by an operator, redeemed once by an account, used up by its invoices.
//!
//! Whoever redeems one holds the account's wallet, and then the coupon's row until the commit: of
//! several at once no more do than may. What an invoice takes off is noted in the transaction that
//! makes it.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use billing_core::id::{AccountId, CouponId, PlanId};
use billing_core::invoice::{
    AppliedDiscount, Coupon, CouponCode, CouponError, Discount, RedeemAsk, Redemption, coupons,
};
use billing_core::money::Currency;
use billing_core::port::coupons::{Coupons, CouponsError, KeptCoupon, NewCoupon, Redeemed};
use sea_orm::{ConnectionTrait, QueryResult};
use time::OffsetDateTime;

use crate::books::load;
use crate::db;
use crate::error::StoreError;
use crate::instant::{get, instant, micros};
use crate::open::Store;
use crate::plans;

type Result<T> = std::result::Result<T, CouponsError>;
type Stored<T> = std::result::Result<T, StoreError>;

const COUPON: &str = "coupon";
const REDEMPTION: &str = "coupon_redemption";

#[async_trait]
impl Coupons for Store {
    async fn create(&self, made: NewCoupon) -> Result<KeptCoupon> {
        made.coupon.check(made.now)?;
        let tx = self.db.begin().await?;
        let result = create(&tx, &made).await;
        db::finish(tx, result).await
    }

    async fn list(&self, before: Option<CouponId>, limit: u32) -> Result<Vec<KeptCoupon>> {
        let text = "SELECT * FROM coupon WHERE id < ? ORDER BY id DESC LIMIT ?";
        let values = vec![
            before.map_or(i64::MAX, CouponId::get).into(),
            i64::from(limit).into(),
        ];
        let rows = db::all(&self.db.reader, text, values).await?;
        let codes = plan_codes(&self.db.reader).await?;
        let kept = rows.iter().map(|row| kept(row, &codes));
        Ok(kept.collect::<Stored<_>>()?)
    }

    async fn find(&self, code: &CouponCode) -> Result<Option<KeptCoupon>> {
        Ok(find(&self.db.reader, code).await?)
    }

    async fn archive(&self, code: &CouponCode, now: OffsetDateTime) -> Result<Option<KeptCoupon>> {
        let text = "UPDATE coupon SET archived_at = ? WHERE code = ? AND archived_at IS NULL";
        let values = vec![micros(now).into(), code.to_string().into()];
        let tx = self.db.begin().await?;
        let result = match db::run(&tx, text, values).await {
            Ok(_) => find(&tx, code).await,
            Err(error) => Err(error),
        };
        Ok(db::finish(tx, result).await?)
    }

    async fn redeem(
        &self,
        account: AccountId,
        code: &CouponCode,
        now: OffsetDateTime,
    ) -> Result<Redeemed> {
        let tx = self.db.begin().await?;
        let result = redeem_on_plan(&tx, (account, code), now).await;
        db::finish(tx, result).await
    }

    async fn redeemed(&self, account: AccountId) -> Result<Vec<Redeemed>> {
        let rows = redemptions(&self.db.reader, account).await?;
        Ok(rows)
    }
}

async fn create<C: ConnectionTrait>(tx: &C, made: &NewCoupon) -> Result<KeptCoupon> {
    let code = &made.coupon.code;
    let known = plan_codes(tx).await?;
    let mut plans = BTreeSet::new();
    for wanted in &made.plans {
        let found = known.iter().find(|(_, code)| *code == wanted);
        let (id, _) = found.ok_or_else(|| CouponsError::NoSuchPlan(wanted.clone()))?;
        plans.insert(*id);
    }
    let coupon = Coupon {
        plans,
        ..made.coupon.clone()
    };
    let text = "INSERT INTO coupon (id, code, facts, created_at, redemptions) \
                VALUES (?, ?, ?, ?, 0) ON CONFLICT (code) DO NOTHING";
    let values = vec![
        made.id.get().into(),
        code.to_string().into(),
        plans::json(&coupon)?.into(),
        micros(made.now).into(),
    ];
    let is_new = db::run(tx, text, values).await? > 0;
    let kept = find(tx, code).await?;
    let lost = || StoreError::unreadable(COUPON, "it is not there once made");
    let kept = kept.ok_or_else(lost)?;
    if !is_new {
        kept.is_again(made)?;
    }
    Ok(kept)
}

/// The codes of all plans.
async fn plan_codes<C: ConnectionTrait>(tx: &C) -> Stored<BTreeMap<PlanId, String>> {
    let rows = db::all(tx, "SELECT id, code FROM plan", Vec::new()).await?;
    let of = |row: &QueryResult| Ok((PlanId::new(get(row, "id")?), get(row, "code")?));
    rows.iter().map(of).collect()
}

async fn find<C: ConnectionTrait>(tx: &C, code: &CouponCode) -> Stored<Option<KeptCoupon>> {
    let text = "SELECT * FROM coupon WHERE code = ?";
    let Some(row) = db::one(tx, text, vec![code.to_string().into()]).await? else {
        return Ok(None);
    };
    Ok(Some(kept(&row, &plan_codes(tx).await?)?))
}

fn kept(row: &QueryResult, codes: &BTreeMap<PlanId, String>) -> Stored<KeptCoupon> {
    let coupon: Coupon = plans::read(COUPON, &get::<String>(row, "facts")?)?;
    let archived_at: Option<i64> = get(row, "archived_at")?;
    let redemptions: i64 = get(row, "redemptions")?;
    let unreadable = || StoreError::unreadable(COUPON, format!("{redemptions} redemptions"));
    Ok(KeptCoupon {
        id: CouponId::new(get(row, "id")?),
        plans: coupon
            .plans
            .iter()
            .filter_map(|plan| codes.get(plan).cloned())
            .collect(),
        coupon,
        created_at: instant(COUPON, get(row, "created_at")?)?,
        archived_at: archived_at.map(|at| instant(COUPON, at)).transpose()?,
        redemptions: u64::try_from(redemptions).map_err(|_| unreadable())?,
    })
}

/// Redeems a coupon for the plan that an account is on.
async fn redeem_on_plan<C: ConnectionTrait>(
    tx: &C,
    (account, code): (AccountId, &CouponCode),
    now: OffsetDateTime,
) -> Result<Redeemed> {
    let wallet = load::locked_wallet(tx, account).await?;
    let wallet = wallet.ok_or(CouponsError::NoSuchAccount)?;
    let text = "SELECT v.plan_id FROM subscription s JOIN plan_version v \
                ON v.id = s.plan_version_id WHERE s.account_id = ? AND s.ended_at IS NULL \
                ORDER BY s.id DESC LIMIT 1";
    let found = db::one(tx, text, vec![account.get().into()]).await?;
    let plan = found.map(|row| get(&row, "plan_id")).transpose()?;
    let on = (wallet.currency, plan.map(PlanId::new));
    redeem(tx, (account, code), on, now).await
}

/// Redeems a coupon for an account whose wallet is locked and that is on a plan, or about to be.
pub(crate) async fn redeem<C: ConnectionTrait>(
    tx: &C,
    (account, code): (AccountId, &CouponCode),
    (currency, plan): (Currency, Option<PlanId>),
    now: OffsetDateTime,
) -> Result<Redeemed> {
    let text = "SELECT * FROM coupon WHERE code = ?{lock}";
    let found = db::one(tx, text, vec![code.to_string().into()]).await?;
    let found = found.ok_or_else(|| CouponError::Unknown(code.clone()))?;
    let kept = kept(&found, &BTreeMap::new())?;
    let text = "SELECT 1 AS one FROM coupon_redemption WHERE account_id = ? AND coupon_id = ?";
    let values = vec![account.get().into(), kept.id.get().into()];
    let ask = RedeemAsk {
        now,
        currency,
        plan,
        redeemed_before: db::one(tx, text, values).await?.is_some(),
        redemptions: kept.redemptions,
    };
    let redeemed = kept.redeem(&ask)?;
    let text = "INSERT INTO coupon_redemption (account_id, coupon_id, redeemed_at, invoices_left) \
                VALUES (?, ?, ?, ?)";
    let values = vec![
        account.get().into(),
        kept.id.get().into(),
        micros(now).into(),
        redeemed.redemption.invoices_left.map(i64::from).into(),
    ];
    db::run(tx, text, values).await?;
    let text = "UPDATE coupon SET redemptions = redemptions + 1 WHERE id = ?";
    db::run(tx, text, vec![kept.id.get().into()]).await?;
    Ok(redeemed)
}

/// What an account has redeemed, in the order in which it did.
async fn redemptions<C: ConnectionTrait>(tx: &C, account: AccountId) -> Stored<Vec<Redeemed>> {
    let text = "SELECT c.id, c.facts, r.redeemed_at, r.invoices_left FROM coupon_redemption r \
                JOIN coupon c ON c.id = r.coupon_id WHERE r.account_id = ? \
                ORDER BY r.redeemed_at, r.coupon_id";
    let rows = db::all(tx, text, vec![account.get().into()]).await?;
    let of = |row: &QueryResult| {
        let left: Option<i64> = get(row, "invoices_left")?;
        let count = |left: i64| {
            let why = || StoreError::unreadable(REDEMPTION, format!("{left} invoices are left"));
            u32::try_from(left).map_err(|_| why())
        };
        Ok(Redeemed {
            id: CouponId::new(get(row, "id")?),
            coupon: plans::read(COUPON, &get::<String>(row, "facts")?)?,
            redemption: Redemption {
                redeemed_at: instant(REDEMPTION, get(row, "redeemed_at")?)?,
                invoices_left: left.map(count).transpose()?,
            },
        })
    };
    rows.iter().map(of).collect()
}

/// What comes off the next fee of an account, in the order in which its coupons were redeemed.
pub(crate) async fn discounts<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
) -> Stored<Vec<Discount>> {
    let redeemed = redemptions(tx, account).await?;
    let discount = |redeemed: &Redeemed| redeemed.coupon.discount(&redeemed.redemption);
    Ok(redeemed.iter().filter_map(discount).collect())
}

/// Notes that an invoice, or what gives back instead of one, took something off by an account's
/// coupons.
pub(crate) async fn applied<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    by: &[AppliedDiscount],
) -> Stored<()> {
    change(tx, account, by, Redemption::applied).await
}

/// Notes that an invoice is void: what its coupons took off they take off another.
pub(crate) async fn given_back<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    by: &[AppliedDiscount],
) -> Stored<()> {
    change(tx, account, by, Redemption::given_back).await
}

/// Changes what is left of coupons of an account whose wallet is locked.
async fn change<C: ConnectionTrait>(
    tx: &C,
    account: AccountId,
    by: &[AppliedDiscount],
    to: fn(Redemption) -> Redemption,
) -> Stored<()> {
    let mut codes = coupons(by).peekable();
    if codes.peek().is_none() {
        return Ok(());
    }
    let redeemed = redemptions(tx, account).await?;
    for code in codes {
        let of = redeemed.iter().find(|of| of.coupon.code == *code);
        let unknown = || StoreError::unreadable(REDEMPTION, format!("{code} was not redeemed"));
        let of = of.ok_or_else(unknown)?;
        let text = "UPDATE coupon_redemption SET invoices_left = ? \
                    WHERE account_id = ? AND coupon_id = ?";
        let values = vec![
            to(of.redemption).invoices_left.map(i64::from).into(),
            account.get().into(),
            of.id.get().into(),
        ];
        db::run(tx, text, values).await?;
    }
    Ok(())
}
