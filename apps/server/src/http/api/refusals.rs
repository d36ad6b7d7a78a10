//! What plans and subscriptions refuse, as problems with a code of their own.

use actix_web::http::StatusCode;
use billing_core::invoice::CouponError;
use billing_core::port::coupons::CouponsError;
use billing_core::port::plans::PlansError;
use billing_core::port::subscriptions::RecordError;
use billing_core::subscription::SubscriptionError;
use billing_core::subscription_order::OrderError;

use super::error::{ApiError, away, broken, sentence};

fn conflict(code: &'static str, why: &dyn std::error::Error) -> ApiError {
    ApiError::refused(StatusCode::CONFLICT, code, why)
}

impl From<SubscriptionError> for ApiError {
    fn from(error: SubscriptionError) -> Self {
        use SubscriptionError as Why;
        let code = match error {
            Why::Quantity(_) => {
                return Self::field("/quantity", "out_of_range", error.to_string());
            }
            Why::Calendar | Why::Money(_) => return broken(&error),
            Why::NotOnSale => "not_on_sale",
            Why::Ended => "subscription_ended",
            Why::State(_) => "wrong_state",
            Why::ManagedElsewhere => "managed_elsewhere",
            Why::Same => "same_plan",
            Why::Currency => "other_currency",
            Why::Owes => "fee_owed",
            Why::ClockBehind => "clock_behind",
            Why::ForeignQuote => "quote_of_another",
            Why::QuoteExpired => "quote_expired",
            Why::Changed => "subscription_changed",
            Why::UsedSince => "used_since_quote",
        };
        conflict(code, &error)
    }
}

impl From<OrderError> for ApiError {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::NoSubscription => Self::NotFound("subscription that is billed"),
            OrderError::NoSuchQuote => Self::NotFound("quote"),
            OrderError::NoSuchVersion => Self::NotFound("plan"),
            OrderError::Parked => conflict("set_aside", &error),
            OrderError::Taken => conflict("quote_taken", &error),
            OrderError::TaxChanged => conflict("tax_changed", &error),
            OrderError::DiscountChanged => conflict("discount_changed", &error),
            OrderError::NothingToResume => conflict("nothing_to_resume", &error),
            OrderError::Short { .. } => {
                Self::refused(StatusCode::PAYMENT_REQUIRED, "insufficient_funds", error)
            }
            OrderError::OnLease(_) => Self::FundsInUse(sentence(&error.to_string())),
            OrderError::Stopped(_) => {
                Self::refused(StatusCode::FORBIDDEN, "account_stopped", error)
            }
            OrderError::Rule(error) => error.into(),
            OrderError::KeyReused => Self::KeyReused,
            OrderError::TooMuch { .. } => conflict("more_than_paid", &error),
            OrderError::Inconsistent(_) => broken(&error),
            OrderError::Unavailable(_) => away(&error),
        }
    }
}

impl From<RecordError> for ApiError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Changed => conflict("subscription_changed", &error),
            RecordError::Inconsistent(_) => broken(&error),
            RecordError::Unavailable(_) => away(&error),
        }
    }
}

impl From<PlansError> for ApiError {
    fn from(error: PlansError) -> Self {
        match error {
            PlansError::Terms(_) => {
                Self::field("/terms", "not_a_plan", sentence(&error.to_string()))
            }
            PlansError::Code(_) => Self::field("/code", "not_a_code", sentence(&error.to_string())),
            PlansError::Quantity(_) => {
                Self::field("/quantity", "out_of_range", sentence(&error.to_string()))
            }
            PlansError::NoSuchAccount => Self::NotFound("account"),
            PlansError::NotOnSale => conflict("not_on_sale", &error),
            PlansError::Currency { .. } => conflict("other_currency", &error),
            PlansError::Already(_) => conflict("already_subscribed", &error),
            PlansError::Parked => conflict("set_aside", &error),
            PlansError::Start(error) => error.into(),
            PlansError::Coupon(error) => error.into(),
            PlansError::Unreadable { .. } => broken(&error),
            PlansError::Unavailable(_) => away(&error),
        }
    }
}

impl From<CouponError> for ApiError {
    fn from(error: CouponError) -> Self {
        use CouponError as Why;
        let code = match error {
            Why::Unknown(_) => {
                return Self::refused(StatusCode::NOT_FOUND, "no_such_coupon", error);
            }
            Why::NotACode(_) => {
                return Self::field("/code", "not_a_code", sentence(&error.to_string()));
            }
            Why::Name(_) => {
                return Self::field("/name", "not_a_name", sentence(&error.to_string()));
            }
            Why::Nothing(_) | Why::Not(..) => return broken(&error),
            Why::Archived(_) => "coupon_archived",
            Why::Over(..) => "coupon_over",
            Why::RedeemedBefore(_) => "coupon_redeemed_before",
            Why::UsedUp(_) => "coupon_used_up",
            Why::OtherCurrency(..) => "coupon_other_currency",
            Why::OtherPlan(_) => "coupon_other_plan",
        };
        conflict(code, &error)
    }
}

impl From<CouponsError> for ApiError {
    fn from(error: CouponsError) -> Self {
        match error {
            CouponsError::Refused(error) => error.into(),
            CouponsError::CodeTaken(_) => conflict("coupon_code_taken", &error),
            CouponsError::NoSuchPlan(_) => {
                Self::field("/plans", "no_such_plan", sentence(&error.to_string()))
            }
            CouponsError::NoSuchAccount => Self::NotFound("account"),
            CouponsError::Inconsistent(_) => broken(&error),
            CouponsError::Unavailable(_) => away(&error),
        }
    }
}

/// Why a coupon cannot be given: a field of it is wrong.
pub(super) fn not_a_coupon(error: CouponsError) -> ApiError {
    let CouponsError::Refused(why) = error else {
        return error.into();
    };
    let pointer = match why {
        CouponError::Over(..) => "/redeem_by",
        CouponError::Name(_) => "/name",
        CouponError::Unknown(_)
        | CouponError::Archived(_)
        | CouponError::NotACode(_)
        | CouponError::RedeemedBefore(_)
        | CouponError::UsedUp(_)
        | CouponError::OtherCurrency(..)
        | CouponError::OtherPlan(_)
        | CouponError::Nothing(_)
        | CouponError::Not(..) => "/code",
    };
    ApiError::field(pointer, "not_a_coupon", sentence(&why.to_string()))
}
