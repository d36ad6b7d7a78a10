//! The names of the simulated models and their parameters.

use std::time::Duration;

/// What a simulated model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Says the last user message again.
    Echo,
    /// Says as many words as are wanted.
    Lorem,
    /// Takes its time.
    Slow,
    /// Fails for some requests: 500, 429 or no answer.
    Flaky,
    /// Breaks off in the middle.
    Cut,
    /// Never says what it used.
    NoUsage,
    /// Says that it used nothing.
    ZeroUsage,
    /// Says something impossible.
    AbsurdUsage,
    /// Gives vectors.
    Embedding,
}

/// Every simulated model.
pub(crate) const MODELS: [(&str, Kind); 9] = [
    ("sim/echo", Kind::Echo),
    ("sim/lorem", Kind::Lorem),
    ("sim/slow", Kind::Slow),
    ("sim/flaky", Kind::Flaky),
    ("sim/cut", Kind::Cut),
    ("sim/no-usage", Kind::NoUsage),
    ("sim/zero-usage", Kind::ZeroUsage),
    ("sim/absurd-usage", Kind::AbsurdUsage),
    ("sim/embedding", Kind::Embedding),
];

/// How an absurd usage is absurd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Absurd {
    /// 10¹² tokens of output.
    #[default]
    Huge,
    /// As many tokens of output as fit in 64 bits: a count that ran below zero.
    Wrapped,
    Negative,
    Fractional,
    Text,
}

/// A simulated model with its parameters, as in `sim/slow?first_ms=500&seed=7`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) kind: Kind,
    /// Words to say.
    pub(crate) tokens: Option<u64>,
    /// Before the first byte.
    pub(crate) first: Duration,
    /// Between chunks of a stream.
    pub(crate) gap: Duration,
    /// Answer with this error.
    pub(crate) status: Option<u16>,
    /// Never answer.
    pub(crate) hang: bool,
    /// Of a hundred requests to `sim/flaky`, how many fail.
    pub(crate) rate: u64,
    /// Words before `sim/cut` breaks off.
    pub(crate) cut_after: Option<u64>,
    /// Events before a stream ends as if that were all, with no `[DONE]`.
    pub(crate) end_after: Option<u64>,
    pub(crate) seed: u64,
    /// Tokens of the prompt that a cache served.
    pub(crate) cached: u64,
    /// Tokens of reasoning before the answer.
    pub(crate) reasoning: u64,
    pub(crate) absurd: Absurd,
    /// Where it says that it was processed.
    pub(crate) geo: Option<&'static str>,
    /// In which mode it says so.
    pub(crate) speed: Option<&'static str>,
}

/// Why a name is no simulated model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unknown {
    Model,
    Parameter(String),
}

impl Model {
    pub(crate) fn parse(name: &str) -> Result<Self, Unknown> {
        let (base, parameters) = name.split_once('?').unwrap_or((name, ""));
        let (_, kind) = MODELS
            .iter()
            .find(|(known, _)| *known == base)
            .ok_or(Unknown::Model)?;
        let mut model = Self::plain(*kind);
        for pair in parameters.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "1"));
            model
                .set(key, value)
                .ok_or_else(|| Unknown::Parameter(pair.to_owned()))?;
        }
        Ok(model)
    }

    fn plain(kind: Kind) -> Self {
        let slow = kind == Kind::Slow;
        Self {
            kind,
            tokens: None,
            first: Duration::from_millis(if slow { 300 } else { 0 }),
            gap: Duration::from_millis(if slow { 50 } else { 0 }),
            status: None,
            hang: false,
            rate: 50,
            cut_after: None,
            end_after: None,
            seed: 0,
            cached: 0,
            reasoning: 0,
            absurd: Absurd::default(),
            geo: None,
            speed: None,
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        let number = value.parse::<u64>();
        match key {
            "tokens" => self.tokens = Some(number.ok()?),
            "first_ms" => self.first = Duration::from_millis(number.ok()?),
            "chunk_ms" => self.gap = Duration::from_millis(number.ok()?),
            "status" => self.status = value.parse().ok().filter(|s| (400..=599).contains(s)),
            "hang" => self.hang = value == "1",
            "rate" => self.rate = number.ok()?,
            "cut_after" => self.cut_after = Some(number.ok()?),
            "end_after" => self.end_after = Some(number.ok()?),
            "seed" => self.seed = number.ok()?,
            "cached" => self.cached = number.ok()?,
            "reasoning" => self.reasoning = number.ok()?,
            "geo" => self.geo = Some(one_of(&["eu", "global", "us"], value)?),
            "speed" => self.speed = Some(one_of(&["fast", "standard"], value)?),
            "mode" => {
                self.absurd = match value {
                    "huge" => Absurd::Huge,
                    "wrapped" => Absurd::Wrapped,
                    "negative" => Absurd::Negative,
                    "fractional" => Absurd::Fractional,
                    "text" => Absurd::Text,
                    _ => return None,
                }
            }
            _ => return None,
        }
        Some(())
    }
}

fn one_of(words: &[&'static str], value: &str) -> Option<&'static str> {
    words.iter().find(|word| **word == value).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_follow_the_name() {
        let model = Model::parse("sim/slow?first_ms=7&chunk_ms=2&tokens=9&seed=3&hang=1").unwrap();
        assert_eq!(
            (model.kind, model.tokens, model.seed),
            (Kind::Slow, Some(9), 3)
        );
        assert_eq!(model.first, Duration::from_millis(7));
        assert!(model.hang);
        assert_eq!(Model::parse("sim/lorem?").unwrap().tokens, None);
    }

    #[test]
    fn what_is_unknown_is_said() {
        assert_eq!(Model::parse("gpt-5"), Err(Unknown::Model));
        let bad = |pair: &str| Err(Unknown::Parameter(pair.to_owned()));
        assert_eq!(Model::parse("sim/echo?speed=9"), bad("speed=9"));
        assert_eq!(Model::parse("sim/echo?geo=mars"), bad("geo=mars"));
        assert_eq!(Model::parse("sim/lorem?tokens=-1"), bad("tokens=-1"));
        assert_eq!(Model::parse("sim/absurd-usage?mode=odd"), bad("mode=odd"));
    }
}
