//! What is known of a call beside what it consumed: where it was processed, in which mode, what it
//! made. Prices may depend on it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A property of a call or of its reply that some prices depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// Where the provider processed it: `us`, `eu`, …
    Region,
    /// A faster mode that is no service tier of its own: `fast`.
    Speed,
    /// Of the video made: `480p`, `720p`, `1080p`, `4k`.
    Resolution,
    /// Of the image made: `1K`, `1024x1024`, …
    ImageSize,
    /// Of the image made: `low`, `medium`, `high`, `hd`.
    ImageQuality,
}

impl Attribute {
    /// Every attribute.
    pub const ALL: &'static [Self] = &[
        Self::Region,
        Self::Speed,
        Self::Resolution,
        Self::ImageSize,
        Self::ImageQuality,
    ];

    /// The wire and storage name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Region => "region",
            Self::Speed => "speed",
            Self::Resolution => "resolution",
            Self::ImageSize => "image_size",
            Self::ImageQuality => "image_quality",
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The longest value of an attribute, in bytes.
const LONGEST_VALUE: usize = 60;

/// Whether an attribute can have a text as its value: one that a condition can name.
pub fn is_value(text: &str) -> bool {
    let is_short = !text.is_empty() && text.len() <= LONGEST_VALUE;
    is_short && !text.contains(|c: char| c.is_control() || c == ',')
}

/// A text that names no attribute.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is not an attribute of a call")]
pub struct UnknownAttribute(String);

impl FromStr for Attribute {
    type Err = UnknownAttribute;
    fn from_str(text: &str) -> Result<Self, UnknownAttribute> {
        Self::ALL
            .iter()
            .find(|a| a.name() == text)
            .copied()
            .ok_or_else(|| UnknownAttribute(text.chars().take(40).collect()))
    }
}

/// The attributes of a call and their values. Most calls have none, and carry nothing then.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes(Option<Arc<BTreeMap<Attribute, Box<str>>>>);

impl Attributes {
    /// None at all.
    pub const NONE: Self = Self(None);

    /// The value of an attribute; `None` where nothing is known of it.
    pub fn get(&self, attribute: Attribute) -> Option<&str> {
        self.0.as_ref()?.get(&attribute).map(AsRef::as_ref)
    }

    /// The same with one attribute set.
    #[must_use]
    pub fn with(self, attribute: Attribute, value: &str) -> Self {
        let mut map = self.0.map(Arc::unwrap_or_clone).unwrap_or_default();
        map.insert(attribute, value.into());
        Self(Some(Arc::new(map)))
    }

    /// These, and those of others that are not among them.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        match (&self.0, &others.0) {
            (_, None) => self,
            (None, Some(_)) => others.clone(),
            (Some(_), Some(_)) => {
                let unnamed = others.iter().filter(|(name, _)| self.get(*name).is_none());
                let unnamed: Vec<_> = unnamed.collect();
                unnamed
                    .into_iter()
                    .fold(self, |all, (name, value)| all.with(name, value))
            }
        }
    }

    /// Whether there are none.
    pub const fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Every attribute with its value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Attribute, &str)> {
        let map = self.0.iter().flat_map(|map| map.iter());
        map.map(|(attribute, value)| (*attribute, value.as_ref()))
    }
}

impl FromIterator<(Attribute, Box<str>)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (Attribute, Box<str>)>>(iter: I) -> Self {
        let map: BTreeMap<_, _> = iter.into_iter().collect();
        Self((!map.is_empty()).then(|| Arc::new(map)))
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<Attribute, Box<str>>::deserialize(d)?;
        Ok(map.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_first_holds() {
        let eu = Attributes::NONE.with(Attribute::Region, "eu");
        let fast = Attributes::NONE.with(Attribute::Speed, "fast");
        let both = fast.clone().with(Attribute::Region, "eu");
        assert_eq!(eu.clone().or(&fast), both);
        assert_eq!(eu.clone().or(&fast.with(Attribute::Region, "us")), both);
        assert_eq!(eu.clone().or(&Attributes::NONE), eu);
        assert_eq!(Attributes::NONE.or(&eu), eu);
    }

    #[test]
    fn attributes_read_back_from_what_they_wrote() {
        let none = Attributes::NONE;
        assert_eq!(serde_json::to_string(&none).unwrap(), "{}");
        assert!(serde_json::from_str::<Attributes>("{}").unwrap().is_none());
        let some = none
            .with(Attribute::Resolution, "4k")
            .with(Attribute::Region, "eu");
        let text = serde_json::to_string(&some).unwrap();
        assert_eq!(text, r#"{"region":"eu","resolution":"4k"}"#);
        assert_eq!(serde_json::from_str::<Attributes>(&text).unwrap(), some);
        assert_eq!(some.get(Attribute::Region), Some("eu"));
        assert!("colour".parse::<Attribute>().is_err());
        for attribute in Attribute::ALL {
            assert_eq!(attribute.name().parse(), Ok(*attribute));
        }
    }
}
