//! What a reply says of how it was made, beside service tier and tokens. OpenAI's own replies say
//! nothing of the kind; whoever serves Anthropic's models in this protocol passes on what those say
//! of themselves, in the usage or beside it.

use billing_core::attribute::{Attribute, Attributes, is_value};

use crate::object::text;

/// The attributes that a reply may state.
pub(super) const STATES: &[Attribute] = &[Attribute::Region, Attribute::Speed];

/// What Anthropic calls the region where it cannot say.
const NO_REGION: &str = "not_available";

/// The members of a reply or of a usage that are attributes, as their texts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stated<'a> {
    region: Option<&'a str>,
    speed: Option<&'a str>,
}

impl<'a> Stated<'a> {
    /// Takes a member, if it is an attribute. Of two of one name the first counts: a reply is not
    /// unreadable for that.
    pub(super) fn take(&mut self, name: &str, json: &'a str) {
        let place = match name {
            "inference_geo" => &mut self.region,
            "speed" => &mut self.speed,
            _ => return,
        };
        place.get_or_insert(json);
    }

    /// The attributes. What can be no value of one is not stated.
    pub(super) fn attributes(self) -> Attributes {
        let region = (Attribute::Region, self.region);
        let stated = [region, (Attribute::Speed, self.speed)].into_iter();
        stated
            .filter_map(|(name, json)| {
                let value = text(Some(json?)).filter(|value| is_value(value))?;
                let is_none = name == Attribute::Region && value == NO_REGION;
                (!is_none).then(|| (name, value.into()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated(members: &[(&str, &str)]) -> Attributes {
        let mut stated = Stated::default();
        for (name, json) in members {
            stated.take(name, json);
        }
        stated.attributes()
    }

    #[test]
    fn attributes_are_taken_as_they_are_stated() {
        let us = Attributes::NONE.with(Attribute::Region, "us");
        let region = ("inference_geo", "\"us\"");
        assert_eq!(stated(&[region]), us);
        assert_eq!(stated(&[region, ("inference_geo", "\"eu\"")]), us);
        let fast = us.with(Attribute::Speed, "fast");
        assert_eq!(stated(&[("speed", "\"fa\\u0073t\""), region]), fast);
        for (name, _) in fast.iter() {
            assert!(STATES.contains(&name));
        }
    }

    #[test]
    fn what_is_no_value_is_not_stated() {
        let long = format!("\"{}\"", "x".repeat(61));
        for json in ["null", "7", "{}", "\"\"", "\"a\\nb\"", &long] {
            let members = [("inference_geo", json), ("speed", json)];
            assert_eq!(stated(&members), Attributes::NONE, "{json}");
        }
        let nowhere = [("inference_geo", "\"not_available\"")];
        assert_eq!(stated(&nowhere), Attributes::NONE);
        assert_eq!(stated(&[("region", "\"us\"")]), Attributes::NONE);
    }
}
