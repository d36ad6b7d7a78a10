//! How a node takes leases, and what it admits while it is cut off from the database.

use std::str::FromStr;

use billing_core::budget::Amount;
use billing_core::lease_book::{LeasePolicy, Sizing, StaleRule, Staleness};
use billing_core::money::Nanos;
use serde::{Deserialize, Serialize};
use time::Duration;

/// How a node takes leases, and what it admits while it is cut off. On SQLite a node is alone: it
/// leases everything and is never cut off.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Lease {
    /// A lease is to last for what an account is likely to spend in so many seconds.
    pub(crate) horizon_s: u32,
    /// After how many seconds without a call an account's leases are given back.
    pub(crate) idle_s: u32,
    /// For how many seconds a sign of life that the database took, and news that was read, are
    /// believed. Less than `node.silence_s`; three fifths of it unless set.
    pub(crate) fresh_s: Option<u32>,
    /// What is admitted on wallets after that.
    pub(crate) stale_wallet: Stale<Money>,
    /// What is admitted on the limits of keys and members after that.
    pub(crate) stale_limits: Stale<Money>,
    /// What is admitted on plan quotas after that, in calls or tokens.
    pub(crate) stale_quotas: Stale<Count>,
}

/// `"refuse"`, or the most that may be under hold at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "String",
    into = "String",
    bound(
        serialize = "T: Clone + ToString",
        deserialize = "T: FromStr<Err = String>"
    )
)]
pub(crate) enum Stale<T> {
    /// Nothing is admitted.
    Refuse,
    /// So much.
    UpTo(T),
}

/// Money of the account's currency, written as a decimal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Money(Nanos);

/// A number of calls or tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count(u64);

impl Default for Lease {
    fn default() -> Self {
        Self {
            horizon_s: 10,
            idle_s: 60,
            fresh_s: None,
            stale_wallet: Stale::Refuse,
            stale_limits: Stale::Refuse,
            stale_quotas: Stale::Refuse,
        }
    }
}

impl Lease {
    /// The policy of a node that shares its database with others.
    pub(crate) fn shared(&self, silence_s: u32) -> LeasePolicy {
        let silence = i64::from(silence_s).saturating_mul(1000);
        let fresh_for = self.fresh_s.map_or_else(
            || Duration::milliseconds(silence * 3 / 5),
            |seconds| Duration::seconds(seconds.into()),
        );
        LeasePolicy {
            sizing: Sizing::Demand {
                horizon: Duration::seconds(self.horizon_s.into()),
            },
            idle_after: Duration::seconds(self.idle_s.into()),
            staleness: Some(Staleness {
                fresh_for,
                wallet: self.stale_wallet.rule(|Money(nanos)| Amount::of(nanos)),
                limits: self.stale_limits.rule(|Money(nanos)| Amount::of(nanos)),
                quotas: self.stale_quotas.rule(|Count(count)| Amount::new(count)),
            }),
            ..LeasePolicy::default()
        }
    }

    /// What is wrong with it, beside the node's own settings.
    pub(crate) fn fault(&self, silence_s: u32) -> Option<String> {
        let is_long = self.fresh_s.is_some_and(|fresh| fresh >= silence_s);
        is_long.then(|| {
            format!("lease.fresh_s must be less than node.silence_s, which is {silence_s}")
        })
    }
}

impl<T: Copy> Stale<T> {
    fn rule(self, amount: impl Fn(T) -> Amount) -> StaleRule {
        match self {
            Self::Refuse => StaleRule::Refuse,
            Self::UpTo(most) => StaleRule::UpTo(amount(most)),
        }
    }
}

impl<T: FromStr<Err = String>> TryFrom<String> for Stale<T> {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text == "refuse" {
            return Ok(Self::Refuse);
        }
        text.parse().map(Self::UpTo)
    }
}

impl<T: ToString> From<Stale<T>> for String {
    fn from(stale: Stale<T>) -> Self {
        match stale {
            Stale::Refuse => "refuse".into(),
            Stale::UpTo(most) => most.to_string(),
        }
    }
}

impl FromStr for Money {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither \"refuse\" nor an amount such as \"0.50\"");
        let nanos = Nanos::parse(text).map_err(|_| wrong())?;
        if nanos < Nanos::ZERO {
            return Err(wrong());
        }
        Ok(Self(nanos))
    }
}

impl std::fmt::Display for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Count {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("{text:?} is neither \"refuse\" nor a number such as \"100\""))
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
