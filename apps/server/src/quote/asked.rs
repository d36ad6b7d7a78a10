//! A line: what was used of which model, and when.

use std::borrow::Cow;
use std::fmt;

use billing_core::meter::{METER_COUNT, Meter, Usage};
use billing_core::price::{Attribute, Attributes, ServiceTier};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::clipped;

/// The largest quantity of a meter.
const MOST: u64 = 1 << 63;
/// What a line looks like.
const EXAMPLE: &str = r#"{"model":"gpt-4o","usage":{"input":1200,"output":300}}"#;

/// One usage, as its line states it. What is text in it is borrowed from the line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked<'a> {
    #[serde(borrow, deserialize_with = "text")]
    pub(super) model: Cow<'a, str>,
    #[serde(deserialize_with = "each_meter_once")]
    pub(super) usage: Usage,
    #[serde(default, rename = "service_tier", deserialize_with = "tier")]
    pub(super) tier: ServiceTier,
    #[serde(default, deserialize_with = "instant")]
    pub(super) at: Option<OffsetDateTime>,
    #[serde(default, borrow, deserialize_with = "text_if_any")]
    pub(super) provider: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "each_attribute_once")]
    pub(super) attributes: Attributes,
}

impl<'a> Asked<'a> {
    /// Reads a line; says where it is wrong, and what would be right.
    pub(super) fn read(line: &'a [u8]) -> Result<Self, String> {
        // An array of the values would be read, too, and nobody means one.
        if line.trim_ascii_start().first() != Some(&b'{') {
            return Err(format!(
                "not a JSON object; give one a line, such as {EXAMPLE}"
            ));
        }
        serde_json::from_slice(line).map_err(|error| {
            let said = error.to_string();
            let what = said
                .rsplit_once(" at line ")
                .map_or(said.as_str(), |(what, _)| what);
            let cure = if error.is_data() {
                String::new()
            } else {
                format!("; give one JSON object a line, such as {EXAMPLE}")
            };
            format!("column {}: {what}{cure}", error.column())
        })
    }
}

/// Text, borrowed where the line has it without escapes.
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Reader)
    }
}

fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Cow<'de, str>, D::Error> {
    Ok(Text::deserialize(from)?.0)
}

fn text_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    Ok(Option::<Text<'de>>::deserialize(from)?.map(|text| text.0))
}

fn tier<'de, D: Deserializer<'de>>(from: D) -> Result<ServiceTier, D::Error> {
    let Some(Text(word)) = Option::deserialize(from)? else {
        return Ok(ServiceTier::Standard);
    };
    // What OpenAI calls its ordinary tier.
    if word == "default" {
        return Ok(ServiceTier::Standard);
    }
    let known = ServiceTier::ALL.iter().find(|tier| tier.name() == word);
    known.copied().ok_or_else(|| {
        let names = ServiceTier::ALL.iter().map(|tier| tier.name());
        Error::custom(format!(
            "service_tier: \"{}\" is not one; they are {}",
            clipped(&word),
            listed(names)
        ))
    })
}

fn instant<'de, D: Deserializer<'de>>(from: D) -> Result<Option<OffsetDateTime>, D::Error> {
    let Some(Text(text)) = Option::deserialize(from)? else {
        return Ok(None);
    };
    let instant = OffsetDateTime::parse(&text, &Rfc3339);
    instant.map(Some).map_err(|_| {
        Error::custom(format!(
            "at: \"{}\" is not an instant; write it as 2026-11-23T10:00:00Z",
            clipped(&text)
        ))
    })
}

fn each_meter_once<'de, D: Deserializer<'de>>(from: D) -> Result<Usage, D::Error> {
    struct Meters;
    impl<'de> Visitor<'de> for Meters {
        type Value = Usage;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the quantity of each meter, such as {\"input\":1200}")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Usage, A::Error> {
            let (mut usage, mut seen) = (Usage::NONE, [false; METER_COUNT]);
            while let Some(Text(name)) = map.next_key()? {
                let Some(place) = Meter::ALL.iter().position(|meter| meter.name() == name) else {
                    let names = Meter::ALL.iter().map(|meter| meter.name());
                    return Err(Error::custom(format!(
                        "usage: \"{}\" is not a meter; they are {}",
                        clipped(&name),
                        listed(names)
                    )));
                };
                let meter = Meter::ALL[place];
                if std::mem::replace(&mut seen[place], true) {
                    return Err(Error::custom(format!(
                        "usage.{meter}: given twice; add the two up"
                    )));
                }
                usage.set(meter, map.next_value_seed(Count(meter))?);
            }
            Ok(usage)
        }
    }
    from.deserialize_map(Meters)
}

/// A quantity of a meter.
struct Count(Meter);

impl Count {
    fn refuse<E: Error>(&self, given: impl fmt::Display) -> E {
        let (meter, most) = (self.0, MOST);
        E::custom(format!(
            "usage.{meter}: {given} is not a quantity; give a whole number from 0 to {most}, \
             without fraction or exponent"
        ))
    }
}

impl<'de> DeserializeSeed<'de> for Count {
    type Value = u64;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<u64, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for Count {
    type Value = u64;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the quantity of {}, a whole number", self.0)
    }
    fn visit_u64<E: Error>(self, count: u64) -> Result<u64, E> {
        if count > MOST {
            return Err(self.refuse(count));
        }
        Ok(count)
    }
    fn visit_i64<E: Error>(self, count: i64) -> Result<u64, E> {
        Err(self.refuse(count))
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<u64, E> {
        Err(self.refuse(format_args!("{number:?}")))
    }
    /// Whole numbers beyond 2⁵³ are often sent as text.
    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let count = plain.then(|| text.parse().ok()).flatten();
        count
            .filter(|count| *count <= MOST)
            .ok_or_else(|| self.refuse(format_args!("\"{}\"", clipped(text))))
    }
    fn visit_bool<E: Error>(self, word: bool) -> Result<u64, E> {
        Err(self.refuse(word))
    }
    fn visit_unit<E: Error>(self) -> Result<u64, E> {
        Err(self.refuse("null"))
    }
}

fn each_attribute_once<'de, D: Deserializer<'de>>(from: D) -> Result<Attributes, D::Error> {
    struct Values;
    impl<'de> Visitor<'de> for Values {
        type Value = Attributes;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("attributes of the call as text, such as {\"region\":\"eu\"}")
        }
        fn visit_unit<E>(self) -> Result<Attributes, E> {
            Ok(Attributes::NONE)
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
            let mut attributes = Attributes::NONE;
            while let Some((Text(name), Text(value))) = map.next_entry()? {
                let Ok(attribute) = name.parse::<Attribute>() else {
                    let names = Attribute::ALL.iter().map(|attribute| attribute.name());
                    return Err(Error::custom(format!(
                        "attributes: \"{}\" is not one; they are {}",
                        clipped(&name),
                        listed(names)
                    )));
                };
                if attributes.get(attribute).is_some() {
                    return Err(Error::custom(format!(
                        "attributes.{attribute}: given twice; keep one of the two"
                    )));
                }
                attributes = attributes.with(attribute, &value);
            }
            Ok(attributes)
        }
    }
    from.deserialize_any(Values)
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
