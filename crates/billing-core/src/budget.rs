//! Budgets: anything that a call consumes and must not pass.
//!
//! A wallet, a key's limit, a member's limit and a plan's quota are one mechanism: an [`Amount`]
//! that is free, leased to nodes, or used. They differ in their [`BudgetScope`] alone.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime, Time};

use crate::id::{KeyId, PlanVersionId, QuotaId, TierScheduleId, UserId};
use crate::money::Nanos;

/// A quantity of a budget, never negative: nanos of money, calls or tokens, as its unit says.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Amount(u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// More than any budget holds: asks for everything.
    pub const MAX: Self = Self(u64::MAX);

    /// So many units.
    pub const fn new(units: u64) -> Self {
        Self(units)
    }

    /// The number of units.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// A sum of money as an amount; what is below zero is nothing.
    pub fn of(money: Nanos) -> Self {
        Self(u64::try_from(money.get()).unwrap_or(0))
    }

    /// The amount as money; beyond its range, its maximum.
    pub fn money(self) -> Nanos {
        i64::try_from(self.0).map_or(Nanos::MAX, Nanos::new)
    }

    /// The sum, or the largest amount.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or nothing.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Half of it, rounded down.
    #[must_use]
    pub const fn half(self) -> Self {
        Self(self.0 >> 1)
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a budget is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetUnit {
    /// Nanos of the account's currency.
    Nanos,
    /// Calls.
    Calls,
    /// Tokens.
    Tokens,
}

impl BudgetUnit {
    /// The storage number.
    pub const fn code(self) -> i16 {
        match self {
            Self::Nanos => 0,
            Self::Calls => 1,
            Self::Tokens => 2,
        }
    }

    /// The unit that a storage number means.
    pub const fn of_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::Nanos),
            1 => Some(Self::Calls),
            2 => Some(Self::Tokens),
            _ => None,
        }
    }
}

/// Which budget of an account.
///
/// The start of its window is part of it, so that nothing is ever reset: a new window is a new
/// budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BudgetScope {
    /// Prepaid balance and credit.
    Wallet,
    /// What a key may spend in a window.
    KeyLimit {
        /// The key.
        key: KeyId,
        /// The window's first second (Unix time); 0 where the limit is for life.
        window_start: i64,
    },
    /// What a member of the account may spend in a window.
    MemberLimit {
        /// The member.
        user: UserId,
        /// The window's first second (Unix time); 0 where the limit is for life.
        window_start: i64,
    },
    /// What a plan covers in a window.
    Quota {
        /// The quota of the plan version.
        quota: QuotaId,
        /// What it counts.
        unit: BudgetUnit,
        /// The window's first second (Unix time).
        window_start: i64,
    },
    /// How many calls a plan lets an account make in a billing period, whatever pays them.
    CallLimit {
        /// The version of the plan.
        version: PlanVersionId,
        /// The period's first second (Unix time).
        window_start: i64,
    },
    /// How far a window of a tier schedule was used: counted, never limited and never on lease.
    Tier {
        /// The schedule.
        schedule: TierScheduleId,
        /// What it counts.
        unit: BudgetUnit,
        /// The window's first second (Unix time); 0 for a lifetime.
        window_start: i64,
    },
    /// What calls in a window of a tier schedule should have cost, each by itself: counted likewise.
    TierCharge {
        /// The schedule.
        schedule: TierScheduleId,
        /// The window's first second (Unix time); 0 for a lifetime.
        window_start: i64,
    },
    /// What of that the house bore, because it went beyond hold and funds: counted likewise.
    TierOverrun {
        /// The schedule.
        schedule: TierScheduleId,
        /// The window's first second (Unix time); 0 for a lifetime.
        window_start: i64,
    },
}

/// The storage form of a [`BudgetScope`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BudgetRow {
    /// 0 wallet, 1 key limit, 2 member limit, 3 quota, 4 tier, 5 tier charge, 6 tier overrun, 7 call
    /// limit.
    pub kind: i16,
    /// The key, member, quota, schedule or plan version; 0 for the wallet.
    pub subject: i64,
    /// [`BudgetUnit::code`].
    pub unit: i16,
    /// The window's first second (Unix time), or 0.
    pub window_start: i64,
}

impl BudgetScope {
    /// What it is counted in.
    pub const fn unit(self) -> BudgetUnit {
        match self {
            Self::Wallet
            | Self::KeyLimit { .. }
            | Self::MemberLimit { .. }
            | Self::TierCharge { .. }
            | Self::TierOverrun { .. } => BudgetUnit::Nanos,
            Self::Quota { unit, .. } | Self::Tier { unit, .. } => unit,
            Self::CallLimit { .. } => BudgetUnit::Calls,
        }
    }

    /// Whether it holds what an account pays: the wallet, and the limits of what is paid from it.
    pub const fn is_payer(self) -> bool {
        matches!(
            self,
            Self::Wallet | Self::KeyLimit { .. } | Self::MemberLimit { .. }
        )
    }

    /// Whether it gives of a call what the wallet then need not pay.
    pub const fn is_quota(self) -> bool {
        matches!(self, Self::Quota { .. })
    }

    /// Whether it only counts, so that nothing is held of it and nobody is stopped by it.
    pub const fn is_counter(self) -> bool {
        matches!(
            self,
            Self::Tier { .. } | Self::TierCharge { .. } | Self::TierOverrun { .. }
        )
    }

    /// The storage form.
    pub const fn row(self) -> BudgetRow {
        let unit = self.unit().code();
        match self {
            Self::Wallet => BudgetRow {
                kind: 0,
                subject: 0,
                unit,
                window_start: 0,
            },
            Self::KeyLimit { key, window_start } => BudgetRow {
                kind: 1,
                subject: key.get(),
                unit,
                window_start,
            },
            Self::MemberLimit { user, window_start } => BudgetRow {
                kind: 2,
                subject: user.get(),
                unit,
                window_start,
            },
            Self::Quota {
                quota,
                window_start,
                ..
            } => BudgetRow {
                kind: 3,
                subject: quota.get(),
                unit,
                window_start,
            },
            Self::CallLimit {
                version,
                window_start,
            } => BudgetRow {
                kind: 7,
                subject: version.get(),
                unit,
                window_start,
            },
            Self::Tier {
                schedule,
                window_start,
                ..
            } => BudgetRow {
                kind: 4,
                subject: schedule.get(),
                unit,
                window_start,
            },
            Self::TierCharge {
                schedule,
                window_start,
            } => BudgetRow {
                kind: 5,
                subject: schedule.get(),
                unit,
                window_start,
            },
            Self::TierOverrun {
                schedule,
                window_start,
            } => BudgetRow {
                kind: 6,
                subject: schedule.get(),
                unit,
                window_start,
            },
        }
    }

    /// The scope that a stored row means.
    pub const fn of_row(row: BudgetRow) -> Option<Self> {
        let BudgetRow {
            kind,
            subject,
            unit,
            window_start,
        } = row;
        match kind {
            0 => Some(Self::Wallet),
            1 => Some(Self::KeyLimit {
                key: KeyId::new(subject),
                window_start,
            }),
            2 => Some(Self::MemberLimit {
                user: UserId::new(subject),
                window_start,
            }),
            3 => match BudgetUnit::of_code(unit) {
                Some(unit) => Some(Self::Quota {
                    quota: QuotaId::new(subject),
                    unit,
                    window_start,
                }),
                None => None,
            },
            4 => match BudgetUnit::of_code(unit) {
                Some(unit) => Some(Self::Tier {
                    schedule: TierScheduleId::new(subject),
                    unit,
                    window_start,
                }),
                None => None,
            },
            5 => Some(Self::TierCharge {
                schedule: TierScheduleId::new(subject),
                window_start,
            }),
            6 => Some(Self::TierOverrun {
                schedule: TierScheduleId::new(subject),
                window_start,
            }),
            7 => Some(Self::CallLimit {
                version: PlanVersionId::new(subject),
                window_start,
            }),
            _ => None,
        }
    }
}

impl fmt::Display for BudgetScope {
    /// The name that an error or a receipt gives it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wallet => "wallet",
            Self::KeyLimit { .. } => "key_limit",
            Self::MemberLimit { .. } => "member_limit",
            Self::Quota { .. } => "plan_quota",
            Self::CallLimit { .. } => "plan_call_limit",
            Self::Tier { .. } => "tier_schedule",
            Self::TierCharge { .. } => "tier_schedule_charge",
            Self::TierOverrun { .. } => "tier_schedule_overrun",
        })
    }
}

/// How often a limit starts anew, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitWindow {
    /// Never.
    Lifetime,
    /// At midnight.
    Daily,
    /// On Monday at midnight.
    Weekly,
    /// On the first of the month at midnight.
    Monthly,
}

impl LimitWindow {
    /// The storage and wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lifetime => "lifetime",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// The window that a name means.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Lifetime, Self::Daily, Self::Weekly, Self::Monthly]
            .into_iter()
            .find(|w| w.name() == name)
    }

    /// The first second (Unix time) of the window that holds an instant; 0 for a lifetime.
    pub fn start_at(self, at: OffsetDateTime) -> i64 {
        let midnight = at
            .to_offset(time::UtcOffset::UTC)
            .replace_time(Time::MIDNIGHT);
        let since_monday = i64::from(midnight.weekday().number_days_from_monday());
        let start = match self {
            Self::Lifetime => return 0,
            Self::Daily => Some(midnight),
            Self::Weekly => midnight.checked_sub(Duration::days(since_monday)),
            Self::Monthly => midnight.replace_day(1).ok(),
        };
        start.unwrap_or(midnight).unix_timestamp()
    }

    /// The first instant after the window that holds an instant; `None` for a lifetime.
    pub fn end_at(self, at: OffsetDateTime) -> Option<OffsetDateTime> {
        let start = OffsetDateTime::from_unix_timestamp(self.start_at(at)).ok()?;
        let ahead = match self {
            Self::Lifetime => return None,
            Self::Daily => start.checked_add(Duration::days(1)),
            Self::Weekly => start.checked_add(Duration::days(7)),
            Self::Monthly => start.checked_add(Duration::days(31)),
        }?;
        match self {
            Self::Lifetime => None,
            Self::Daily | Self::Weekly => Some(ahead),
            Self::Monthly => ahead.replace_day(1).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn windows_tile_the_calendar() {
        let at = datetime!(2026-11-22 18:30 UTC);
        for (window, start, end) in [
            (
                LimitWindow::Daily,
                datetime!(2026-11-22 0:00 UTC),
                datetime!(2026-11-23 0:00 UTC),
            ),
            (
                LimitWindow::Weekly,
                datetime!(2026-11-16 0:00 UTC),
                datetime!(2026-11-23 0:00 UTC),
            ),
            (
                LimitWindow::Monthly,
                datetime!(2026-11-01 0:00 UTC),
                datetime!(2026-12-01 0:00 UTC),
            ),
        ] {
            assert_eq!(window.start_at(at), start.unix_timestamp());
            assert_eq!(window.end_at(at), Some(end));
            assert_eq!(window.start_at(end), end.unix_timestamp());
        }
        assert_eq!(
            LimitWindow::Monthly.end_at(datetime!(2027-02-01 0:00 UTC)),
            Some(datetime!(2027-03-01 0:00 UTC))
        );
        assert_eq!(LimitWindow::Lifetime.start_at(at), 0);
    }

    #[test]
    fn scopes_read_back_from_their_rows() {
        for scope in [
            BudgetScope::Wallet,
            BudgetScope::KeyLimit {
                key: KeyId::new(5),
                window_start: 86_400,
            },
            BudgetScope::MemberLimit {
                user: UserId::new(6),
                window_start: 0,
            },
            BudgetScope::Quota {
                quota: QuotaId::new(7),
                unit: BudgetUnit::Tokens,
                window_start: 1,
            },
            BudgetScope::CallLimit {
                version: PlanVersionId::new(8),
                window_start: 86_400,
            },
        ] {
            assert_eq!(BudgetScope::of_row(scope.row()), Some(scope));
        }
    }
}
