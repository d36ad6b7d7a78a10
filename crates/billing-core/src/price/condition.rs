//! What a price may depend on beside meter, tier and prompt size.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use time::OffsetDateTime;

use super::circumstances::Circumstances;
use super::hours::Hours;
use super::tier::ServiceTier;
use super::worst_case::may_become;
use crate::attribute::{Attribute, Attributes, is_value};
use crate::meter::{Meter, Usage};

/// A text that is no condition.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{text}\" is not a condition: {why}")]
pub struct ConditionError {
    text: String,
    why: &'static str,
}

impl ConditionError {
    pub(super) fn new(text: &str, why: &'static str) -> Self {
        let text = text.chars().take(120).collect();
        Self { text, why }
    }
}

/// What is asked of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// This value.
    Is(Box<str>),
    /// A value, but not this one.
    IsNot(Box<str>),
}

impl Asked {
    fn of(&self, value: Option<&str>) -> bool {
        match self {
            Self::Is(asked) => value == Some(asked),
            Self::IsNot(excluded) => value.is_some_and(|value| value != &**excluded),
        }
    }
}

/// What must hold of a call for some of its rates to be others: everything that is named here.
///
/// It is written and stored as text: `region=eu, speed=fast`, `region!=global`,
/// `video_input_time>15000` (more than so much of a meter, in what it counts),
/// `during UTC mon-fri 22:00-06:00 | sat+sun 00:00-24:00`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct When {
    attributes: Vec<(Attribute, Asked)>,
    above: Option<(Meter, u64)>,
    during: Option<Hours>,
}

/// What is known of a call before it is made.
#[derive(Debug, Clone, Copy)]
pub struct Foreseen<'a> {
    /// The tiers that it may be given, beside the standard one.
    pub tiers: &'a [ServiceTier],
    /// When it is authorized.
    pub at: OffsetDateTime,
    /// The attributes that it has, as far as they are not open.
    pub attributes: &'a Attributes,
    /// The attributes that may come to have any value, or none.
    pub open: &'a [Attribute],
}

impl<'a> Foreseen<'a> {
    /// A call of an instant that may be given one of these tiers and has no attributes.
    pub const fn new(tiers: &'a [ServiceTier], at: OffsetDateTime) -> Self {
        Self {
            tiers,
            at,
            attributes: &Attributes::NONE,
            open: &[],
        }
    }
}

impl When {
    /// An attribute with what is asked of it, beside the others. An attribute is named once.
    #[must_use]
    pub fn and(mut self, attribute: Attribute, asked: Asked) -> Self {
        self.attributes.retain(|(named, _)| *named != attribute);
        self.attributes.push((attribute, asked));
        self.attributes.sort_unstable();
        self
    }

    /// A value of an attribute, beside the others.
    #[must_use]
    pub fn and_is(self, attribute: Attribute, value: &str) -> Self {
        self.and(attribute, Asked::Is(value.into()))
    }

    /// More than so much of a meter, in what it counts.
    #[must_use]
    pub const fn and_above(mut self, meter: Meter, quantity: u64) -> Self {
        self.above = Some((meter, quantity));
        self
    }

    /// Hours of the week.
    #[must_use]
    pub fn and_during(mut self, hours: Hours) -> Self {
        self.during = Some(hours);
        self
    }

    /// Whether it names nothing, so that it would always hold.
    pub const fn is_empty(&self) -> bool {
        self.attributes.is_empty() && self.above.is_none() && self.during.is_none()
    }

    /// Whether another holds of every call of which this one holds.
    pub(crate) fn implies(&self, other: &Self) -> bool {
        let above = |(meter, quantity): (Meter, u64)| {
            self.above
                .is_some_and(|(own, most)| own == meter && most >= quantity)
        };
        other.attributes.iter().all(|a| self.attributes.contains(a))
            && other.above.is_none_or(above)
            && (other.during.is_none() || other.during == self.during)
    }

    /// Whether it holds of a call.
    pub fn holds(&self, circumstances: &Circumstances, usage: &Usage) -> bool {
        let mut attributes = self.attributes.iter();
        attributes.all(|(name, asked)| asked.of(circumstances.attributes.get(*name)))
            && self
                .above
                .is_none_or(|(meter, quantity)| usage.get(meter) > quantity)
            && self.is_within(circumstances.at)
    }

    /// Whether it may come to hold of a call that consumes at most this.
    pub(super) fn may_hold(&self, foreseen: &Foreseen<'_>, ceiling: &Usage) -> bool {
        let mut attributes = self.attributes.iter();
        let reaches = |(meter, quantity): (Meter, u64)| {
            let mut bounds = ceiling.iter();
            bounds.any(|(m, most)| most > quantity && may_become(m).contains(&meter))
        };
        attributes.all(|(name, asked)| {
            foreseen.open.contains(name) || asked.of(foreseen.attributes.get(*name))
        }) && self.above.is_none_or(reaches)
            && self.is_within(foreseen.at)
    }

    fn is_within(&self, at: OffsetDateTime) -> bool {
        self.during.as_ref().is_none_or(|hours| hours.contain(at))
    }

    /// How much it asks for: of two that hold, the one that asks for more decides.
    pub(super) fn rank(&self) -> (usize, usize, u64) {
        let exact = self.attributes.iter();
        let exact = exact.filter(|(_, asked)| matches!(asked, Asked::Is(_)));
        let parts = self
            .attributes
            .len()
            .saturating_add(usize::from(self.above.is_some()))
            .saturating_add(usize::from(self.during.is_some()));
        (parts, exact.count(), self.above.map_or(0, |(_, n)| n))
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (attribute, asked) in &self.attributes {
            match asked {
                Asked::Is(value) => write!(f, "{between}{attribute}={value}")?,
                Asked::IsNot(value) => write!(f, "{between}{attribute}!={value}")?,
            }
            between = ", ";
        }
        if let Some((meter, quantity)) = self.above {
            write!(f, "{between}{meter}>{quantity}")?;
            between = ", ";
        }
        if let Some(hours) = &self.during {
            write!(f, "{between}during {hours}")?;
        }
        Ok(())
    }
}

impl FromStr for When {
    type Err = ConditionError;
    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let fault = |why| ConditionError::new(text, why);
        let mut when = Self::default();
        for part in text.split(',').map(str::trim) {
            if let Some(hours) = part.strip_prefix("during ") {
                if when.during.is_some() {
                    return Err(fault("hours are named twice"));
                }
                when.during = Some(hours.parse()?);
            } else if let Some((meter, quantity)) = part.split_once('>') {
                if when.above.is_some() {
                    return Err(fault("two quantities are named"));
                }
                let meter = meter.parse().map_err(|_| fault("no such meter"))?;
                let quantity = quantity.parse().map_err(|_| fault("no whole quantity"))?;
                when.above = Some((meter, quantity));
            } else {
                let (name, value) = part
                    .split_once('=')
                    .ok_or_else(|| fault("it names neither an attribute, a quantity nor hours"))?;
                let (name, negated) = match name.strip_suffix('!') {
                    Some(name) => (name, true),
                    None => (name, false),
                };
                let name: Attribute = name.parse().map_err(|_| fault("no such attribute"))?;
                if !is_value(value) {
                    return Err(fault("no value of an attribute"));
                }
                if when.attributes.iter().any(|(named, _)| *named == name) {
                    return Err(fault("an attribute is named twice"));
                }
                let value: Box<str> = value.into();
                let asked = if negated {
                    Asked::IsNot(value)
                } else {
                    Asked::Is(value)
                };
                when = when.and(name, asked);
            }
        }
        Ok(when)
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_reads_back_from_what_it_wrote() {
        for text in [
            "region=eu",
            "region!=global",
            "region=us, speed=fast",
            "video_input_time>15000",
            "resolution=4k, video_output_time>8000",
            "image_size=1024x1024, image_quality=hd",
            "region=eu, during UTC mon-fri 00:00-01:00 | sat-sun 00:00-24:00",
        ] {
            let when: When = text.parse().unwrap();
            assert_eq!(when.to_string(), text);
            assert!(!when.is_empty());
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in [
            "",
            "region",
            "region=",
            "colour=blue",
            "region=eu, region=us",
            "tokens>5",
            "input>many",
            "input>1, output>1",
            "during never",
        ] {
            let error = text.parse::<When>().unwrap_err().to_string();
            assert!(error.contains("is not a condition"), "{error}");
        }
    }

    #[test]
    fn another_region_must_be_known_to_be_another() {
        let when: When = "region!=global".parse().unwrap();
        let at = OffsetDateTime::UNIX_EPOCH;
        let mut circumstances = Circumstances::new(ServiceTier::Standard, at);
        assert!(!when.holds(&circumstances, &Usage::NONE));
        for (region, holds) in [("global", false), ("us-east5", true)] {
            circumstances.attributes = Attributes::NONE.with(Attribute::Region, region);
            assert_eq!(when.holds(&circumstances, &Usage::NONE), holds);
        }
    }
}
