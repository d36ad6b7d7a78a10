//! Coupons: who may redeem them, for how long they last, and what they take off.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use time::OffsetDateTime;

use super::discount::{Discount, Off};
use super::party::{PartyError, check_line};
use crate::charge_model::Percent;
use crate::id::PlanId;
use crate::money::{Currency, Minor};

/// How many characters a code may have.
const LONGEST: usize = 40;

/// What a customer types in: letters, digits, `-` and `_`; the case of letters does not matter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CouponCode(String);

/// A promise of a discount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coupon {
    /// The code that redeems it.
    pub code: CouponCode,
    /// What the invoice calls it.
    pub name: String,
    /// What it takes off an invoice.
    pub off: CouponOff,
    /// On how many invoices.
    pub duration: CouponDuration,
    /// What the lines that it applies to must come to, in minor units of its currency.
    pub minimum: Option<(Minor, Currency)>,
    /// The first instant at which it cannot be redeemed any more.
    pub redeem_by: Option<OffsetDateTime>,
    /// How many accounts may redeem it.
    pub most_redemptions: Option<u64>,
    /// The plans whose lines it applies to; none for all lines.
    pub plans: BTreeSet<PlanId>,
}

/// What a coupon takes off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CouponOff {
    /// A percentage.
    Percent(Percent),
    /// An amount of one currency.
    Amount(Minor, Currency),
}

/// On how many invoices a coupon takes something off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CouponDuration {
    /// On the next one.
    Once,
    /// On those of so many periods.
    Periods(u32),
    /// On all.
    Forever,
}

/// Who wants to redeem a coupon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedeemAsk {
    /// When.
    pub now: OffsetDateTime,
    /// The account's currency.
    pub currency: Currency,
    /// The plan that the account is on, or is about to choose.
    pub plan: Option<PlanId>,
    /// Whether the account has redeemed it before.
    pub redeemed_before: bool,
    /// How many accounts have redeemed it so far.
    pub redemptions: u64,
}

/// A coupon of an account, and what is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redemption {
    /// When it was redeemed.
    pub redeemed_at: OffsetDateTime,
    /// On how many invoices more it takes something off; `None` for all.
    pub invoices_left: Option<u32>,
}

/// Why a coupon cannot be redeemed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CouponError {
    /// There is none of this code.
    #[error("there is no coupon {0}")]
    Unknown(CouponCode),
    /// It was archived.
    #[error("the coupon {0} is no longer given")]
    Archived(CouponCode),
    /// The text is no code.
    #[error("\"{0}\" is not a coupon code; it has at most {LONGEST} letters, digits, `-` and `_`")]
    NotACode(String),
    /// Its time is over.
    #[error("the coupon {0} could be redeemed until {1}")]
    Over(CouponCode, OffsetDateTime),
    /// The account has redeemed it before.
    #[error("the coupon {0} was redeemed before by this account; it counts once")]
    RedeemedBefore(CouponCode),
    /// As many accounts as may have redeemed it.
    #[error("the coupon {0} is used up")]
    UsedUp(CouponCode),
    /// It is of another currency.
    #[error("the coupon {0} is in {1}, the account is kept in {2}")]
    OtherCurrency(CouponCode, Currency, Currency),
    /// It is for other plans.
    #[error("the coupon {0} is not for this plan")]
    OtherPlan(CouponCode),
    /// It would take nothing off.
    #[error("the coupon {0} takes nothing off; give it a percentage, an amount or periods")]
    Nothing(CouponCode),
    /// It cannot be what it says.
    #[error("the coupon {0} {1}")]
    Not(CouponCode, &'static str),
    /// Its name cannot stand on an invoice.
    #[error(transparent)]
    Name(#[from] PartyError),
}

impl Coupon {
    /// Whether it can be given, from an instant on.
    ///
    /// # Errors
    /// [`CouponError`], naming what is wrong with it.
    pub fn check(&self, now: OffsetDateTime) -> Result<(), CouponError> {
        let not = |why| Err(CouponError::Not(self.code.clone(), why));
        if self.name.trim().is_empty() {
            return Err(PartyError::Empty("name").into());
        }
        check_line("name", &self.name)?;
        if self.is_of_nothing() {
            return Err(CouponError::Nothing(self.code.clone()));
        }
        if matches!(self.off, CouponOff::Percent(percent) if percent > Percent::HUNDRED) {
            return not("takes off more than 100 percent");
        }
        if self.minimum.is_some_and(|(least, _)| least <= Minor::ZERO) {
            return not("has a minimum of nothing; leave it out");
        }
        let mut currencies = self.currencies();
        let first = currencies.next();
        if currencies.any(|other| Some(other) != first) {
            return not("has its minimum in another currency than its amount");
        }
        if self.most_redemptions == Some(0) {
            return not("can be redeemed by nobody; give it one redemption at least");
        }
        if let Some(by) = self.redeem_by.filter(|by| *by <= now) {
            return Err(CouponError::Over(self.code.clone(), by));
        }
        Ok(())
    }

    const fn invoices(&self) -> Option<u32> {
        match self.duration {
            CouponDuration::Once => Some(1),
            CouponDuration::Periods(periods) => Some(periods),
            CouponDuration::Forever => None,
        }
    }

    fn is_of_nothing(&self) -> bool {
        let nothing = match self.off {
            CouponOff::Percent(percent) => percent.is_zero(),
            CouponOff::Amount(amount, _) => amount <= Minor::ZERO,
        };
        nothing || self.invoices() == Some(0)
    }

    /// Redeems it for an account.
    ///
    /// # Errors
    /// [`CouponError`]. Nothing has changed then.
    pub fn redeem(&self, ask: &RedeemAsk) -> Result<Redemption, CouponError> {
        let code = || self.code.clone();
        if let Some(by) = self.redeem_by.filter(|by| *by <= ask.now) {
            return Err(CouponError::Over(code(), by));
        }
        if ask.redeemed_before {
            return Err(CouponError::RedeemedBefore(code()));
        }
        if self
            .most_redemptions
            .is_some_and(|most| ask.redemptions >= most)
        {
            return Err(CouponError::UsedUp(code()));
        }
        for own in self.currencies() {
            if own != ask.currency {
                return Err(CouponError::OtherCurrency(code(), own, ask.currency));
            }
        }
        let fits = |plan: PlanId| self.plans.contains(&plan);
        if !self.plans.is_empty() && !ask.plan.is_some_and(fits) {
            return Err(CouponError::OtherPlan(code()));
        }
        if self.is_of_nothing() {
            return Err(CouponError::Nothing(code()));
        }
        Ok(Redemption {
            redeemed_at: ask.now,
            invoices_left: self.invoices(),
        })
    }

    /// What it takes off the account's next invoice; `None` once it is used up.
    pub fn discount(&self, redemption: &Redemption) -> Option<Discount> {
        if redemption.invoices_left == Some(0) {
            return None;
        }
        Some(Discount {
            name: self.name.clone(),
            code: Some(self.code.clone()),
            off: match self.off {
                CouponOff::Percent(percent) => Off::Percent(percent),
                CouponOff::Amount(amount, _) => Off::Amount(amount),
            },
            minimum: self.minimum.map(|(minimum, _)| minimum),
            plans: self.plans.clone(),
        })
    }

    fn currencies(&self) -> impl Iterator<Item = Currency> {
        let off = match self.off {
            CouponOff::Percent(_) => None,
            CouponOff::Amount(_, currency) => Some(currency),
        };
        off.into_iter()
            .chain(self.minimum.map(|(_, currency)| currency))
    }
}

impl Redemption {
    /// What is left of it after an invoice that it took something off.
    #[must_use]
    pub fn applied(self) -> Self {
        Self {
            invoices_left: self.invoices_left.map(|left| left.saturating_sub(1)),
            ..self
        }
    }

    /// What is left of it after such an invoice was voided.
    #[must_use]
    pub fn given_back(self) -> Self {
        Self {
            invoices_left: self.invoices_left.map(|left| left.saturating_add(1)),
            ..self
        }
    }
}

impl FromStr for CouponCode {
    type Err = CouponError;
    fn from_str(text: &str) -> Result<Self, CouponError> {
        let text = text.trim();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !text.is_empty() && text.len() <= LONGEST && text.bytes().all(plain) {
            return Ok(Self(text.to_ascii_uppercase()));
        }
        Err(CouponError::NotACode(text.chars().take(40).collect()))
    }
}

impl fmt::Display for CouponCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for CouponCode {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CouponCode {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn coupon() -> Coupon {
        Coupon {
            code: "spring-26".parse().unwrap(),
            name: "Spring".to_owned(),
            off: CouponOff::Amount(Minor::new(500), Currency::USD),
            duration: CouponDuration::Periods(2),
            minimum: None,
            redeem_by: Some(EPOCH.saturating_add(Duration::days(1))),
            most_redemptions: Some(3),
            plans: BTreeSet::from([PlanId::new(7)]),
        }
    }

    fn ask() -> RedeemAsk {
        RedeemAsk {
            now: EPOCH,
            currency: Currency::USD,
            plan: Some(PlanId::new(7)),
            redeemed_before: false,
            redemptions: 2,
        }
    }

    #[test]
    fn a_coupon_lasts_as_many_invoices_as_it_says() {
        let coupon = coupon();
        let first = coupon.redeem(&ask()).unwrap();
        assert_eq!(first.invoices_left, Some(2));
        assert!(coupon.discount(&first.applied()).is_some());
        assert_eq!(coupon.discount(&first.applied().applied()), None);
        let mut forever = coupon;
        forever.duration = CouponDuration::Forever;
        let redemption = forever.redeem(&ask()).unwrap();
        assert!(forever.discount(&redemption.applied()).is_some());
    }

    #[test]
    fn who_may_not_redeem_a_coupon_is_told_why() {
        let coupon = coupon();
        let code = coupon.code.clone();
        let refused = |change: fn(&mut RedeemAsk)| {
            let mut ask = ask();
            change(&mut ask);
            coupon.redeem(&ask).unwrap_err()
        };
        let over = refused(|ask| ask.now = EPOCH.saturating_add(Duration::days(1)));
        assert_eq!(
            over,
            CouponError::Over(code.clone(), EPOCH.saturating_add(Duration::days(1)))
        );
        let twice = refused(|ask| ask.redeemed_before = true);
        assert_eq!(twice, CouponError::RedeemedBefore(code.clone()));
        let used_up = refused(|ask| ask.redemptions = 3);
        assert_eq!(used_up, CouponError::UsedUp(code.clone()));
        let foreign = refused(|ask| ask.currency = Currency::CNY);
        let (ours, theirs) = (Currency::USD, Currency::CNY);
        assert_eq!(
            foreign,
            CouponError::OtherCurrency(code.clone(), ours, theirs)
        );
        let other = refused(|ask| ask.plan = None);
        assert_eq!(other, CouponError::OtherPlan(code));
    }

    #[test]
    fn what_cannot_be_given_is_refused_with_the_reason() {
        let why = |change: fn(&mut Coupon)| {
            let mut coupon = coupon();
            change(&mut coupon);
            coupon.check(EPOCH).map_err(|error| error.to_string())
        };
        assert_eq!(why(|_| {}), Ok(()));
        let nameless = why(|coupon| coupon.name = " ".to_owned());
        assert!(nameless.unwrap_err().contains("name is empty"));
        let hidden = why(|coupon| coupon.name = "a\u{202e}b".to_owned());
        assert!(hidden.unwrap_err().contains("control character"));
        let much = why(|coupon| coupon.off = CouponOff::Percent(Percent::whole(101)));
        assert!(much.unwrap_err().contains("more than 100 percent"));
        let other = why(|coupon| coupon.minimum = Some((Minor::new(1), Currency::CNY)));
        assert!(other.unwrap_err().contains("another currency"));
        let zero = why(|coupon| coupon.minimum = Some((Minor::ZERO, Currency::USD)));
        assert!(zero.unwrap_err().contains("minimum of nothing"));
        let nobody = why(|coupon| coupon.most_redemptions = Some(0));
        assert!(nobody.unwrap_err().contains("by nobody"));
        let over = why(|coupon| coupon.redeem_by = Some(EPOCH));
        assert!(over.unwrap_err().contains("until"));
        assert!(why(|coupon| coupon.duration = CouponDuration::Periods(0)).is_err());
    }

    #[test]
    fn a_coupon_of_nothing_is_refused() {
        let mut nothing = coupon();
        nothing.off = CouponOff::Percent(Percent::ZERO);
        let refused = nothing.redeem(&ask()).unwrap_err();
        assert_eq!(refused, CouponError::Nothing(nothing.code.clone()));
        let mut never = coupon();
        never.duration = CouponDuration::Periods(0);
        assert!(never.redeem(&ask()).is_err());
    }

    #[test]
    fn codes_are_read_whatever_their_case() {
        let code: CouponCode = " Spring-26 ".parse().unwrap();
        assert_eq!(code.to_string(), "SPRING-26");
        for text in ["", "a b", "折扣", "x;y"] {
            assert!(text.parse::<CouponCode>().is_err(), "{text:?}");
        }
    }
}
