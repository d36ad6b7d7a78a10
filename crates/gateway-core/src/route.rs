//! Which channels a call may take, and in which order.
//!
//! A state machine without clock or chance: both come in by argument.

/// Failures in a row that close a channel for a while.
const FAILURES: u32 = 3;
/// How long the first time.
const COOL_DOWN_MS: u64 = 5_000;
/// How long at most, doubling each time.
const MAX_COOL_DOWN_MS: u64 = 120_000;
/// How long others wait for the result of a probe.
const PROBE_MS: u64 = 10_000;

/// One upstream endpoint, as far as the choice is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its name in records.
    pub name: String,
    /// What it serves: exact names, or a prefix and `*`.
    pub models: Vec<String>,
    /// Models that the upstream calls otherwise: ours, theirs.
    pub rename: Vec<(String, String)>,
    /// A prefix that only we use, taken off before the model is sent.
    pub strip_prefix: Option<String>,
    /// Higher is tried first.
    pub priority: i32,
    /// The share of the calls among channels of one priority. Zero is tried last.
    pub weight: u32,
}

impl Channel {
    /// Whether it serves a model.
    pub fn serves(&self, model: &str) -> bool {
        self.models.iter().any(|pattern| matches(pattern, model))
    }

    /// What the upstream calls the model. Parameters behind a `?` stay.
    pub fn upstream_model<'a>(&'a self, model: &'a str) -> std::borrow::Cow<'a, str> {
        let base = base_model(model);
        let parameters = model.strip_prefix(base).unwrap_or_default();
        if let Some((_, theirs)) = self.rename.iter().find(|(ours, _)| ours == base) {
            return if parameters.is_empty() {
                theirs.as_str().into()
            } else {
                format!("{theirs}{parameters}").into()
            };
        }
        let prefix = self.strip_prefix.as_deref().unwrap_or_default();
        model.strip_prefix(prefix).unwrap_or(model).into()
    }
}

/// Whether a pattern covers a model: `*` at its end stands for anything, elsewhere for itself.
pub fn matches(pattern: &str, model: &str) -> bool {
    let base = base_model(model);
    match pattern.strip_suffix('*') {
        Some(prefix) => base.starts_with(prefix),
        None => pattern == base,
    }
}

/// The model without the parameters behind a `?`, which only simulated models take.
pub fn base_model(model: &str) -> &str {
    model.split_once('?').map_or(model, |(base, _)| base)
}

/// What an attempt says about its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It answered, be it with a refusal of the request.
    Works,
    /// It asked to be left alone for this long.
    Busy {
        /// In milliseconds.
        retry_after_ms: u64,
    },
    /// It failed.
    Fails,
}

#[derive(Debug, Clone, Copy, Default)]
struct Health {
    failures: u32,
    trips: u32,
    closed_until: u64,
    probed_until: u64,
}

/// How a channel stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Calls go through.
    Open,
    /// One call goes through, to see.
    HalfOpen,
    /// Calls go elsewhere.
    Closed,
}

/// The channels with their health.
#[derive(Debug, Default)]
pub struct Router {
    channels: Vec<(Channel, Health)>,
}

impl Router {
    /// A router whose channels are all taken for healthy.
    pub fn new(channels: Vec<Channel>) -> Self {
        Self {
            channels: channels
                .into_iter()
                .map(|c| (c, Health::default()))
                .collect(),
        }
    }

    /// The channel with this number.
    pub fn channel(&self, index: usize) -> Option<&Channel> {
        self.channels.get(index).map(|(channel, _)| channel)
    }

    /// All channels, in the order of their numbers.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.channels.iter().map(|(channel, _)| channel)
    }

    /// How a channel stands at `now` (milliseconds of any steady clock).
    pub fn standing(&self, index: usize, now: u64) -> Standing {
        self.channels
            .get(index)
            .map_or(Standing::Closed, |(_, health)| standing(health, now))
    }

    /// The channels to try for a model, best first, of those that a call `may_take`; `pick` is any
    /// random number.
    ///
    /// Closed channels stand at the end rather than nowhere: when nothing else is left, a call that
    /// might fail is better than one that must.
    pub fn order(
        &mut self,
        model: &str,
        may_take: impl Fn(usize) -> bool,
        (now, pick): (u64, u64),
    ) -> Vec<usize> {
        let serving = self
            .channels
            .iter()
            .enumerate()
            .filter(|(index, (c, _))| c.serves(model) && may_take(*index));
        let (mut fit, mut closed): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        for (index, (_, health)) in serving {
            match standing(health, now) {
                Standing::Open | Standing::HalfOpen => fit.push(index),
                Standing::Closed => closed.push(index),
            }
        }
        self.arrange(&mut fit, pick);
        closed.sort_by_key(|index| self.channels.get(*index).map(|(_, h)| h.closed_until));
        fit.append(&mut closed);
        if let Some((_, health)) = fit.first().and_then(|first| self.channels.get_mut(*first))
            && standing(health, now) == Standing::HalfOpen
        {
            health.probed_until = now.saturating_add(PROBE_MS);
        }
        fit
    }

    /// Highest priority first; within one, drawn by weight without putting back.
    fn arrange(&self, fit: &mut Vec<usize>, pick: u64) {
        if fit.len() < 2 {
            return;
        }
        let key = |index: &usize| {
            self.channels
                .get(*index)
                .map_or((0, 0), |(c, _)| (c.priority, u64::from(c.weight)))
        };
        let mut left: Vec<usize> = std::mem::take(fit);
        let mut random = pick;
        while let Some(best) = left.iter().map(|index| key(index).0).max() {
            random = scramble(random);
            let of_best = || {
                left.iter()
                    .enumerate()
                    .filter(|(_, index)| key(index).0 == best)
            };
            let total = of_best().fold(0_u64, |sum, (_, i)| sum.saturating_add(key(i).1));
            let mut point = random.checked_rem(total).unwrap_or(0);
            let drawn = of_best().find(|(_, index)| {
                let weight = key(index).1;
                let hit = point < weight || total == 0;
                point = point.saturating_sub(weight);
                hit
            });
            let Some((place, _)) = drawn else { break };
            fit.push(left.remove(place));
        }
        fit.append(&mut left);
    }

    /// Takes note of an attempt's result.
    pub fn report(&mut self, index: usize, report: Report, now: u64) {
        let Some((_, health)) = self.channels.get_mut(index) else {
            return;
        };
        match report {
            Report::Works => *health = Health::default(),
            Report::Busy { retry_after_ms } => {
                let until = now.saturating_add(retry_after_ms.min(MAX_COOL_DOWN_MS));
                health.closed_until = health.closed_until.max(until);
                health.probed_until = 0;
            }
            Report::Fails => {
                health.failures = health.failures.saturating_add(1);
                health.probed_until = 0;
                if health.failures >= FAILURES {
                    let factor = 1_u64.checked_shl(health.trips.min(16)).unwrap_or(u64::MAX);
                    let wait = COOL_DOWN_MS.saturating_mul(factor).min(MAX_COOL_DOWN_MS);
                    health.trips = health.trips.saturating_add(1);
                    health.closed_until = now.saturating_add(wait);
                }
            }
        }
    }
}

fn standing(health: &Health, now: u64) -> Standing {
    if now < health.closed_until {
        Standing::Closed
    } else if health.trips == 0 {
        Standing::Open
    } else if now < health.probed_until {
        Standing::Closed
    } else {
        Standing::HalfOpen
    }
}

/// Turns one random number into the next (splitmix64).
pub fn scramble(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn channel(name: &str, models: &[&str], priority: i32, weight: u32) -> Channel {
        Channel {
            name: name.to_owned(),
            models: models.iter().map(|m| (*m).to_owned()).collect(),
            rename: vec![("fast".to_owned(), "gpt-fast-2026".to_owned())],
            strip_prefix: Some("x/".to_owned()),
            priority,
            weight,
        }
    }

    #[test]
    fn patterns_and_names() {
        let c = channel("a", &["gpt-*", "sim/*", "one"], 0, 1);
        for (model, served) in [
            ("gpt-5", true),
            ("sim/lorem?tokens=5", true),
            ("one", true),
            ("one?x=1", true),
            ("one-more", false),
            ("gpt", false),
        ] {
            assert_eq!(c.serves(model), served, "{model}");
        }
        assert!(matches("*", "anything"));
        assert_eq!(c.upstream_model("fast"), "gpt-fast-2026");
        assert_eq!(c.upstream_model("fast?seed=1"), "gpt-fast-2026?seed=1");
        assert_eq!(c.upstream_model("x/gpt-5"), "gpt-5");
        assert_eq!(c.upstream_model("sim/lorem?tokens=5"), "sim/lorem?tokens=5");
        assert_eq!(base_model("sim/lorem?tokens=5"), "sim/lorem");
    }

    #[test]
    fn priority_goes_before_weight() {
        let mut router = Router::new(vec![
            channel("low", &["*"], 0, 1000),
            channel("high", &["*"], 5, 1),
            channel("other", &["else"], 9, 1),
        ]);
        for pick in 0..50 {
            assert_eq!(router.order("m", |_| true, (0, pick)), [1, 0]);
        }
    }

    #[test]
    fn weight_is_the_share() {
        let mut router = Router::new(vec![channel("a", &["*"], 0, 3), channel("b", &["*"], 0, 1)]);
        let first = (0..4000)
            .filter(|pick| router.order("m", |_| true, (0, *pick))[0] == 0)
            .count();
        assert!((2800..3200).contains(&first), "{first} of 4000");
    }

    #[test]
    fn failures_in_a_row_close_a_channel_and_a_probe_opens_it() {
        let mut router = Router::new(vec![channel("a", &["*"], 1, 1), channel("b", &["*"], 0, 1)]);
        for _ in 0..FAILURES {
            assert_eq!(router.order("m", |_| true, (0, 0)), [0, 1]);
            router.report(0, Report::Fails, 0);
        }
        assert_eq!(
            router.order("m", |_| true, (1, 0)),
            [1, 0],
            "closed stands last"
        );
        assert_eq!(router.standing(0, COOL_DOWN_MS), Standing::HalfOpen);
        assert_eq!(
            router.order("m", |_| true, (COOL_DOWN_MS, 0)),
            [0, 1],
            "one probe"
        );
        assert_eq!(
            router.order("m", |_| true, (COOL_DOWN_MS, 0)),
            [1, 0],
            "and no second"
        );
        router.report(0, Report::Fails, COOL_DOWN_MS);
        assert_eq!(
            router.standing(0, COOL_DOWN_MS * 2),
            Standing::Closed,
            "longer each time"
        );
        assert_eq!(router.standing(0, COOL_DOWN_MS * 3), Standing::HalfOpen);
        router.report(0, Report::Works, COOL_DOWN_MS * 3);
        assert_eq!(router.standing(0, COOL_DOWN_MS * 3), Standing::Open);
    }

    #[test]
    fn who_may_not_take_a_channel_does_not_use_up_its_probe() {
        let mut router = Router::new(vec![channel("a", &["*"], 1, 1), channel("b", &["*"], 0, 1)]);
        for _ in 0..FAILURES {
            router.report(0, Report::Fails, 0);
        }
        let later = (COOL_DOWN_MS, 0);
        assert_eq!(router.order("m", |index| index != 0, later), [1]);
        assert_eq!(router.order("m", |_| true, later), [0, 1], "the probe");
    }

    #[test]
    fn a_success_forgets_failures_and_busy_is_waited_out() {
        let mut router = Router::new(vec![channel("a", &["*"], 0, 1)]);
        for _ in 0..10 {
            router.report(0, Report::Fails, 0);
            router.report(0, Report::Works, 0);
        }
        assert_eq!(router.standing(0, 0), Standing::Open);
        router.report(
            0,
            Report::Busy {
                retry_after_ms: 500,
            },
            100,
        );
        assert_eq!(router.standing(0, 599), Standing::Closed);
        assert_eq!(router.standing(0, 600), Standing::Open);
        assert_eq!(
            router.order("m", |_| true, (200, 0)),
            [0],
            "the last resort is still tried"
        );
    }

    proptest! {
        #[test]
        fn every_serving_channel_is_listed_once(
            kinds in prop::collection::vec((any::<bool>(), -2_i32..3, 0_u32..4), 0..8),
            reports in prop::collection::vec((0_usize..8, 0_u8..3, 0_u64..20_000), 0..40),
            pick in any::<u64>(),
        ) {
            let channels: Vec<_> = kinds.iter()
                .map(|(serves, p, w)| channel("c", &[if *serves { "*" } else { "no" }], *p, *w))
                .collect();
            let mut router = Router::new(channels);
            let mut now = 0;
            for (index, kind, after) in reports {
                now += after;
                let report = match kind {
                    0 => Report::Works,
                    1 => Report::Fails,
                    _ => Report::Busy { retry_after_ms: after },
                };
                router.report(index, report, now);
                let mut order = router.order("m", |_| true, (now, pick));
                order.sort_unstable();
                let wanted: Vec<usize> = kinds.iter().enumerate()
                    .filter(|(_, (serves, ..))| *serves).map(|(i, _)| i).collect();
                prop_assert_eq!(order, wanted);
            }
        }
    }
}
