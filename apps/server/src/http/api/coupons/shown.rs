//! Coupons on the wire.

use billing_core::invoice::{Coupon, CouponDuration, CouponOff};
use billing_core::money::{Currency, Minor};
use billing_core::port::coupons::{KeptCoupon, Redeemed};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::api::wire::{MoneyDto, instant};

/// What a coupon takes off, and of which fees.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PromiseDto {
    /// What redeems it.
    #[schema(example = "SPRING-26")]
    code: String,
    /// What the invoice calls it.
    #[schema(example = "Spring sale")]
    name: String,
    /// How much it takes off, in percent.
    #[schema(example = "20")]
    percent: Option<String>,
    /// How much it takes off, as far as there is as much to pay.
    amount: Option<MoneyDto>,
    /// On how many fees: `once`, so many `periods`, or `forever`.
    #[schema(value_type = String, example = "periods")]
    duration: &'static str,
    /// On how many, where that is bounded.
    periods: Option<u32>,
    /// What a fee must come to.
    minimum: Option<MoneyDto>,
}

/// A coupon.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CouponDto {
    /// Its id.
    #[schema(example = "cpn_0001fv5kz4y00")]
    id: String,
    #[serde(flatten)]
    promise: PromiseDto,
    /// From when on nobody can redeem it.
    #[schema(format = DateTime)]
    redeem_by: Option<String>,
    /// How many accounts may redeem it.
    most_redemptions: Option<u64>,
    /// How many have.
    redemptions: u64,
    /// The codes of the plans whose fees it applies to; none for all.
    plans: Vec<String>,
    /// When it was given.
    #[schema(format = DateTime)]
    created_at: String,
    /// Since when it is archived.
    #[schema(format = DateTime)]
    archived_at: Option<String>,
}

/// A coupon that an account has redeemed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RedeemedDto {
    #[serde(flatten)]
    promise: PromiseDto,
    /// When it was.
    #[schema(format = DateTime)]
    redeemed_at: String,
    /// On how many fees more it takes something off; null for all.
    invoices_left: Option<u32>,
}

/// What an account has redeemed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RedeemedList {
    /// In the order in which it did; also what is used up.
    pub(crate) data: Vec<RedeemedDto>,
}

fn money((amount, currency): (Minor, Currency)) -> MoneyDto {
    MoneyDto {
        amount: amount.text(currency),
        currency: currency.code().to_owned(),
    }
}

impl PromiseDto {
    fn of(coupon: &Coupon) -> Self {
        let (percent, amount) = match coupon.off {
            CouponOff::Percent(percent) => (Some(percent.to_string()), None),
            CouponOff::Amount(amount, currency) => (None, Some(money((amount, currency)))),
        };
        let (duration, periods) = match coupon.duration {
            CouponDuration::Once => ("once", Some(1)),
            CouponDuration::Periods(periods) => ("periods", Some(periods)),
            CouponDuration::Forever => ("forever", None),
        };
        Self {
            code: coupon.code.to_string(),
            name: coupon.name.clone(),
            percent,
            amount,
            duration,
            periods,
            minimum: coupon.minimum.map(money),
        }
    }
}

impl CouponDto {
    pub(crate) fn of(kept: &KeptCoupon) -> Self {
        Self {
            id: kept.id.to_string(),
            promise: PromiseDto::of(&kept.coupon),
            redeem_by: kept.coupon.redeem_by.map(instant),
            most_redemptions: kept.coupon.most_redemptions,
            redemptions: kept.redemptions,
            plans: kept.plans.iter().cloned().collect(),
            created_at: instant(kept.created_at),
            archived_at: kept.archived_at.map(instant),
        }
    }
}

impl RedeemedDto {
    pub(crate) fn of(redeemed: &Redeemed) -> Self {
        Self {
            promise: PromiseDto::of(&redeemed.coupon),
            redeemed_at: instant(redeemed.redemption.redeemed_at),
            invoices_left: redeemed.redemption.invoices_left,
        }
    }
}
