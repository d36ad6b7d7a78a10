//! Rate limits: how many requests and tokens an account sends in a minute, and how many calls at
//! once.
//!
//! No stretch of sixty seconds holds more than the limits say. What counts is kept second by second
//! and falls out when the whole second is more than a minute old. Tokens are counted as the most that
//! a call can come to while it runs, and as what it came to once it is over, so that calls at once
//! cannot pass the limit together.

use std::collections::VecDeque;

use thiserror::Error;
use time::Duration;

use crate::budget::Amount;
use crate::plan::RateLimits;
use crate::steady::Steady;

/// How many whole seconds a count is kept: the sixty of a minute, and the one it was made in.
const KEPT_S: i64 = 61;

/// What an account sent in the last minute, and how many of its calls run.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    running: u32,
    /// The oldest first.
    seconds: VecDeque<Second>,
}

/// What was let in within a second of the steady clock.
#[derive(Debug, Clone, Copy)]
struct Second {
    number: i64,
    requests: u64,
    tokens: u64,
}

/// A call that was let in, to be given back when it is over.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Admitted {
    second: i64,
    tokens: u64,
}

/// What a rate limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateUnit {
    /// Requests in a minute.
    Requests,
    /// Tokens in a minute.
    Tokens,
    /// Calls at once.
    ConcurrentCalls,
}

/// A call is not let in now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no more than {limit} {}", unit.words())]
pub struct RateExceeded {
    /// Which limit.
    pub unit: RateUnit,
    /// How much it lets in.
    pub limit: u64,
    /// How long until there is room for the call, as far as time makes it; `None` where another call
    /// must end first.
    pub wait: Option<Duration>,
}

/// What is left of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLeft {
    /// Which limit.
    pub unit: RateUnit,
    /// How much it lets in.
    pub limit: u64,
    /// How much of that is left now.
    pub left: u64,
    /// How long until all of it is.
    pub reset: Duration,
}

impl RateUnit {
    /// The wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_minute",
            Self::Tokens => "tokens_per_minute",
            Self::ConcurrentCalls => "concurrent_calls",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Requests => "requests in a minute",
            Self::Tokens => "tokens in a minute",
            Self::ConcurrentCalls => "calls at once",
        }
    }
}

impl RateLimits {
    /// Whether nothing is limited.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// So many times as much.
    #[must_use]
    pub fn times(self, quantity: u32) -> Self {
        let tokens = |most: u64| most.saturating_mul(u64::from(quantity));
        Self {
            requests_per_minute: self.requests_per_minute.map(|n| n.saturating_mul(quantity)),
            tokens_per_minute: self.tokens_per_minute.map(tokens),
            concurrent_calls: self.concurrent_calls.map(|n| n.saturating_mul(quantity)),
        }
    }

    /// The part of one of so many nodes, which together let in no more than the whole; at least 1 of
    /// each.
    #[must_use]
    pub fn share(self, nodes: u32) -> Self {
        let part = |most: u32| most.checked_div(nodes).unwrap_or(most).max(1);
        let tokens = |most: u64| most.checked_div(u64::from(nodes)).unwrap_or(most).max(1);
        Self {
            requests_per_minute: self.requests_per_minute.map(part),
            tokens_per_minute: self.tokens_per_minute.map(tokens),
            concurrent_calls: self.concurrent_calls.map(part),
        }
    }
}

impl Pace {
    /// Lets a call in that can come to so many tokens. A call that is larger than what a minute may
    /// hold is let in when nothing else was sent in it.
    ///
    /// # Errors
    /// [`RateExceeded`]; nothing has changed then.
    pub fn admit(
        &mut self,
        limits: RateLimits,
        tokens: Amount,
        now: Steady,
    ) -> Result<Admitted, RateExceeded> {
        self.forget(now);
        let exceeded = |unit, limit, wait| RateExceeded { unit, limit, wait };
        if let Some(limit) = limits.concurrent_calls.filter(|most| self.running >= *most) {
            return Err(exceeded(RateUnit::ConcurrentCalls, limit.into(), None));
        }
        let tokens = tokens
            .get()
            .min(limits.tokens_per_minute.unwrap_or(u64::MAX));
        let requests = limits.requests_per_minute.map(u64::from);
        let of_requests = requests.and_then(|limit| {
            let wait = self.room_in(limit, 1, |second| second.requests, now)?;
            Some(exceeded(RateUnit::Requests, limit, Some(wait)))
        });
        let of_tokens = limits.tokens_per_minute.and_then(|limit| {
            let wait = self.room_in(limit, tokens, |second| second.tokens, now)?;
            Some(exceeded(RateUnit::Tokens, limit, Some(wait)))
        });
        // The one that must be waited for the longest.
        let refused = [of_requests, of_tokens].into_iter().flatten();
        if let Some(refused) = refused.max_by_key(|refused| refused.wait) {
            return Err(refused);
        }
        let number = second_of(now);
        if self.seconds.back().is_none_or(|last| last.number < number) {
            self.seconds.push_back(Second {
                number,
                requests: 0,
                tokens: 0,
            });
        }
        let mut second = number;
        if let Some(last) = self.seconds.back_mut() {
            second = last.number;
            last.requests = last.requests.saturating_add(1);
            last.tokens = last.tokens.saturating_add(tokens);
        }
        self.running = self.running.saturating_add(1);
        Ok(Admitted { second, tokens })
    }

    /// A call is over that came to so many tokens.
    pub fn leave(&mut self, admitted: &Admitted, tokens: Amount) {
        self.running = self.running.saturating_sub(1);
        let mut seconds = self.seconds.iter_mut();
        if let Some(of) = seconds.find(|of| of.number == admitted.second) {
            let others = of.tokens.saturating_sub(admitted.tokens);
            of.tokens = others.saturating_add(tokens.get());
        }
    }

    /// What is left of each limit.
    pub fn left(&mut self, limits: RateLimits, now: Steady) -> Vec<RateLeft> {
        self.forget(now);
        let requests = limits.requests_per_minute.map(u64::from);
        let of_requests = self.left_of(requests, RateUnit::Requests, |s| s.requests, now);
        let tokens = limits.tokens_per_minute;
        let of_tokens = self.left_of(tokens, RateUnit::Tokens, |s| s.tokens, now);
        of_requests.into_iter().chain(of_tokens).collect()
    }

    fn left_of(
        &self,
        limit: Option<u64>,
        unit: RateUnit,
        count: impl Fn(&Second) -> u64,
        now: Steady,
    ) -> Option<RateLeft> {
        let limit = limit?;
        let counted = self.seconds.iter().map(&count);
        let counted = counted.fold(0, u64::saturating_add);
        let last = self.seconds.iter().rev().find(|second| count(second) > 0);
        Some(RateLeft {
            unit,
            limit,
            left: limit.saturating_sub(counted),
            reset: last.map_or(Duration::ZERO, |last| until_gone(last, now)),
        })
    }

    /// Whether nothing of it matters any more.
    pub fn is_idle(&mut self, now: Steady) -> bool {
        self.forget(now);
        self.running == 0 && self.seconds.is_empty()
    }

    /// How long until there is room for so much more; `None` where there is now.
    fn room_in(
        &self,
        limit: u64,
        more: u64,
        count: impl Fn(&Second) -> u64,
        now: Steady,
    ) -> Option<Duration> {
        let counted = self.seconds.iter().map(&count);
        let mut sum = counted.fold(more, u64::saturating_add);
        let mut wait = None;
        for second in &self.seconds {
            if sum <= limit {
                break;
            }
            sum = sum.saturating_sub(count(second));
            wait = Some(until_gone(second, now));
        }
        wait
    }

    fn forget(&mut self, now: Steady) {
        let oldest = second_of(now).saturating_sub(KEPT_S);
        while self.seconds.front().is_some_and(|s| s.number <= oldest) {
            self.seconds.pop_front();
        }
    }
}

fn second_of(at: Steady) -> i64 {
    at.after_origin().whole_seconds()
}

fn until_gone(second: &Second, now: Steady) -> Duration {
    let gone = Duration::seconds(second.number.saturating_add(KEPT_S));
    gone.saturating_sub(now.after_origin()).max(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: RateLimits = RateLimits {
        requests_per_minute: Some(3),
        tokens_per_minute: Some(100),
        concurrent_calls: Some(2),
    };

    fn at(millis: i64) -> Steady {
        Steady::at(Duration::milliseconds(millis))
    }

    fn tokens(count: u64) -> Amount {
        Amount::new(count)
    }

    #[test]
    fn calls_at_once_are_counted_until_they_are_over() {
        let mut pace = Pace::default();
        let first = pace.admit(LIMITS, tokens(1), at(0)).unwrap();
        let _second = pace.admit(LIMITS, tokens(1), at(0)).unwrap();
        let refused = pace.admit(LIMITS, tokens(1), at(0)).unwrap_err();
        let expected = RateExceeded {
            unit: RateUnit::ConcurrentCalls,
            limit: 2,
            wait: None,
        };
        assert_eq!(refused, expected);
        assert_eq!(refused.to_string(), "no more than 2 calls at once");
        pace.leave(&first, tokens(1));
        assert!(pace.admit(LIMITS, tokens(1), at(0)).is_ok());
    }

    #[test]
    fn who_waits_as_long_as_is_said_is_let_in() {
        let mut pace = Pace::default();
        for millis in [500, 1_500, 1_900] {
            let admitted = pace.admit(LIMITS, tokens(10), at(millis)).unwrap();
            pace.leave(&admitted, tokens(10));
        }
        let refused = pace.admit(LIMITS, tokens(10), at(2_000)).unwrap_err();
        assert_eq!((refused.unit, refused.limit), (RateUnit::Requests, 3));
        assert_eq!(refused.wait, Some(Duration::seconds(59)));
        assert!(pace.admit(LIMITS, tokens(10), at(60_999)).is_err());
        let admitted = pace.admit(LIMITS, tokens(10), at(61_000)).unwrap();
        pace.leave(&admitted, tokens(95));
        let refused = pace.admit(LIMITS, tokens(10), at(62_000)).unwrap_err();
        assert_eq!((refused.unit, refused.limit), (RateUnit::Tokens, 100));
        let wait = refused.wait.unwrap();
        let later = at(62_000).saturating_add(wait);
        assert!(pace.admit(LIMITS, tokens(10), later).is_ok());
    }

    #[test]
    fn a_call_larger_than_a_minute_waits_for_an_empty_one() {
        let mut pace = Pace::default();
        let small = pace.admit(LIMITS, tokens(1), at(0)).unwrap();
        assert!(pace.admit(LIMITS, tokens(1_000), at(0)).is_err());
        pace.leave(&small, tokens(0));
        let large = pace.admit(LIMITS, tokens(1_000), at(0)).unwrap();
        pace.leave(&large, tokens(40));
        let left = pace.left(LIMITS, at(0));
        let left: Vec<_> = left.iter().map(|of| (of.unit, of.limit, of.left)).collect();
        let expected = [(RateUnit::Requests, 3, 1), (RateUnit::Tokens, 100, 60)];
        assert_eq!(left, expected);
        assert!(!pace.is_idle(at(60_999)) && pace.is_idle(at(61_000)));
    }

    #[test]
    fn nodes_share_what_one_would_let_in() {
        let share = LIMITS.share(2);
        assert_eq!(share.requests_per_minute, Some(1));
        assert_eq!(share.tokens_per_minute, Some(50));
        assert_eq!(LIMITS.share(7).requests_per_minute, Some(1));
        assert_eq!((LIMITS.share(1), LIMITS.share(0)), (LIMITS, LIMITS));
        assert_eq!(LIMITS.times(3).tokens_per_minute, Some(300));
        assert!(RateLimits::default().times(3).share(2).is_nothing());
    }

    proptest! {
        /// Whatever is asked when, no sixty seconds hold more than the limits, and a refusal names an
        /// instant from which on the same call is let in.
        #[test]
        fn no_minute_holds_more_than_its_limits(
            asked in proptest::collection::vec((0..9_000_i64, 0..60_u64, 0..60_u64), 1..120)
        ) {
            let (mut pace, mut now) = (Pace::default(), 0);
            let mut let_in: Vec<(i64, u64)> = Vec::new();
            for (after, most, came_to) in asked {
                now = i64::saturating_add(now, after);
                match pace.admit(LIMITS, tokens(most), at(now)) {
                    Ok(admitted) => {
                        let came_to = came_to.min(most);
                        pace.leave(&admitted, tokens(came_to));
                        let_in.push((now, came_to));
                    }
                    Err(refused) => {
                        let wait = refused.wait.expect("no call runs");
                        let mut later = pace.clone();
                        let then = at(now).saturating_add(wait);
                        prop_assert!(later.admit(LIMITS, tokens(most), then).is_ok());
                    }
                }
            }
            for (start, _) in &let_in {
                let minute = let_in.iter().filter(|(at, _)| at.checked_sub(*start).is_some_and(|after| (0..60_000).contains(&after)));
                let minute: Vec<u64> = minute.map(|(_, tokens)| *tokens).collect();
                let sum: u64 = minute.iter().sum();
                prop_assert!(minute.len() <= 3 && sum <= 100, "{minute:?}");
            }
        }
    }
}
