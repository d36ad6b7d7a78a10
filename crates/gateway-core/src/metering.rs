//! What a call consumed, and how that is known.
//!
//! | outcome | the provider's count | else |
//! |---|---|---|
//! | rejected, failed, timed out | nothing, whatever it says | nothing |
//! | completed | that, even when zero | estimated: input, and what was delivered |
//! | cut, client gone or funds exhausted mid-stream | that | estimated, if any answer was delivered; else nothing |
//! | client gone before the first byte | that (a whole answer was finished without it) | estimated, if an answer was there to deliver; else nothing |
//!
//! A count that is malformed is treated as missing and flagged. A count beyond the model's size is
//! replaced by the ceiling and flagged: the books decide what becomes of it.

use std::fmt;

use billing_core::meter::Usage;

use crate::ceiling::{ModelBounds, is_plausible};
use crate::outcome::Outcome;

/// What the provider said about consumption. Absent is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::large_enum_variant,
    reason = "a usage is a plain array; a box would cost more"
)]
pub enum Reported {
    /// Nothing.
    #[default]
    Missing,
    /// Something that is no count: negative, fractional, a text, too large for any integer.
    Malformed,
    /// This much; zero is an answer too.
    Given(Usage),
}

/// Where a usage comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UsageSource {
    /// The provider counted.
    Provider,
    /// The gateway counted what it saw.
    Estimated,
    /// Nothing was consumed that anyone has to pay.
    None,
}

impl UsageSource {
    /// The stable name in call records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Estimated => "estimated",
            Self::None => "none",
        }
    }
}

impl fmt::Display for UsageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What was wrong with the provider's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Anomaly {
    /// It was no count at all; the gateway's estimate stands instead.
    Malformed,
    /// It is beyond the model's size; the ceiling stands instead.
    BeyondModel,
}

impl Anomaly {
    /// The stable name in call records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed_usage",
            Self::BeyondModel => "usage_beyond_model",
        }
    }
}

/// The facts of a call that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// How it ended.
    pub outcome: Outcome,
    /// What the provider said.
    pub reported: Reported,
    /// Whether any part of an answer came from the upstream: a whole reply, or output in a stream.
    pub answered: bool,
    /// How many answers were asked for.
    pub choices: u32,
    /// The model's size.
    pub bounds: ModelBounds,
    /// What was authorized.
    pub ceiling: Usage,
}

/// What a call consumed, and why that is what counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metered {
    /// What is to be charged for.
    pub usage: Usage,
    /// Where it comes from. [`UsageSource::None`] means void: release the hold, charge nothing.
    pub source: UsageSource,
    /// How the call ended.
    pub outcome: Outcome,
    /// What the provider said, kept even where it does not count.
    pub reported: Reported,
    /// What was wrong with that.
    pub anomaly: Option<Anomaly>,
}

impl Metered {
    /// Whether nothing is to be charged at all, not even a fee for the call.
    pub fn is_void(&self) -> bool {
        self.source == UsageSource::None
    }
}

/// Says what is charged for. `estimate` counts what was seen; it is called only if needed.
pub fn meter(facts: &Facts, estimate: impl FnOnce() -> Usage) -> Metered {
    let (usage, source, anomaly) = match facts.outcome {
        Outcome::UpstreamRejected { .. }
        | Outcome::UpstreamFailed { .. }
        | Outcome::UpstreamTimeout => (Usage::NONE, UsageSource::None, None),
        Outcome::Completed => count(facts, true, estimate),
        Outcome::CutMidStream
        | Outcome::ClientGoneBeforeFirstByte
        | Outcome::ClientGoneMidStream
        | Outcome::FundsExhaustedMidStream => count(facts, facts.answered, estimate),
    };
    Metered {
        usage,
        source,
        outcome: facts.outcome,
        reported: facts.reported,
        anomaly,
    }
}

fn count(
    facts: &Facts,
    may_estimate: bool,
    estimate: impl FnOnce() -> Usage,
) -> (Usage, UsageSource, Option<Anomaly>) {
    let anomaly = match facts.reported {
        Reported::Given(usage) if is_plausible(&usage, facts.choices, &facts.bounds) => {
            return (usage, UsageSource::Provider, None);
        }
        Reported::Given(_) => {
            return (
                facts.ceiling,
                UsageSource::Provider,
                Some(Anomaly::BeyondModel),
            );
        }
        Reported::Malformed => Some(Anomaly::Malformed),
        Reported::Missing => None,
    };
    if may_estimate {
        (estimate(), UsageSource::Estimated, anomaly)
    } else {
        (Usage::NONE, UsageSource::None, anomaly)
    }
}

#[cfg(test)]
mod tests {
    use billing_core::meter::Meter;

    use super::*;

    const MODEL: ModelBounds = ModelBounds {
        context_tokens: Some(1000),
        max_input_tokens: None,
        max_output_tokens: Some(100),
    };

    fn io(input: u64, output: u64) -> Usage {
        Usage::NONE
            .with(Meter::Input, input)
            .with(Meter::Output, output)
    }

    fn charged(outcome: Outcome, reported: &Reported, answered: bool) -> (Usage, &'static str) {
        let ceiling = io(500, 100);
        let reported = *reported;
        let facts = Facts {
            outcome,
            reported,
            answered,
            choices: 1,
            bounds: MODEL,
            ceiling,
        };
        let metered = meter(&facts, || io(7, 3));
        (metered.usage, metered.source.name())
    }

    #[test]
    fn the_table_of_outcomes() {
        use Outcome as O;
        use Reported as R;
        let given = R::Given(io(10, 5));
        let (provider, estimated) = ((io(10, 5), "provider"), (io(7, 3), "estimated"));
        let zero = (Usage::NONE, "provider");
        let void = (Usage::NONE, "none");
        let table = [
            (O::Completed, given, true, provider),
            (O::Completed, R::Given(Usage::NONE), true, zero),
            (O::Completed, R::Missing, true, estimated),
            (O::Completed, R::Missing, false, estimated),
            (O::Completed, R::Malformed, true, estimated),
            (O::UpstreamRejected { status: 400 }, given, true, void),
            (O::UpstreamFailed { status: Some(500) }, given, false, void),
            (O::UpstreamFailed { status: None }, R::Missing, false, void),
            (O::UpstreamTimeout, R::Missing, false, void),
            (O::CutMidStream, given, true, provider),
            (O::CutMidStream, R::Missing, true, estimated),
            (O::CutMidStream, R::Malformed, true, estimated),
            (O::CutMidStream, R::Missing, false, void),
            (O::ClientGoneMidStream, given, true, provider),
            (O::ClientGoneMidStream, R::Missing, true, estimated),
            (O::ClientGoneMidStream, R::Missing, false, void),
            (O::ClientGoneBeforeFirstByte, given, false, provider),
            (O::ClientGoneBeforeFirstByte, R::Missing, true, estimated),
            (O::ClientGoneBeforeFirstByte, R::Missing, false, void),
            (O::FundsExhaustedMidStream, given, true, provider),
            (O::FundsExhaustedMidStream, R::Missing, true, estimated),
            (O::FundsExhaustedMidStream, R::Missing, false, void),
        ];
        for (outcome, reported, answered, wanted) in table {
            assert_eq!(
                charged(outcome, &reported, answered),
                wanted,
                "{outcome}, {reported:?}, answered: {answered}"
            );
        }
    }

    #[test]
    fn an_absurd_count_is_replaced_by_the_ceiling_and_flagged() {
        let facts = Facts {
            outcome: Outcome::Completed,
            reported: Reported::Given(io(10, 1_000_000_000_000)),
            answered: true,
            choices: 1,
            bounds: MODEL,
            ceiling: io(500, 100),
        };
        let metered = meter(&facts, Usage::default);
        assert_eq!(metered.usage, io(500, 100));
        assert_eq!(metered.anomaly, Some(Anomaly::BeyondModel));
        assert_eq!(metered.reported, facts.reported);
    }

    #[test]
    fn a_malformed_count_is_flagged() {
        let facts = Facts {
            outcome: Outcome::Completed,
            reported: Reported::Malformed,
            answered: true,
            choices: 1,
            bounds: MODEL,
            ceiling: Usage::NONE,
        };
        let metered = meter(&facts, || io(1, 1));
        assert_eq!(metered.anomaly, Some(Anomaly::Malformed));
        assert!(!metered.is_void());
    }

    #[test]
    fn the_estimate_is_not_made_when_it_is_not_needed() {
        let facts = Facts {
            outcome: Outcome::Completed,
            reported: Reported::Given(io(1, 1)),
            answered: true,
            choices: 1,
            bounds: MODEL,
            ceiling: Usage::NONE,
        };
        let _ = meter(&facts, || panic!("counted without need"));
    }
}
