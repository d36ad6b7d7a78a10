//! What is known of a call's attributes before it is made.

use time::OffsetDateTime;

use super::{Attribute, Attributes, Foreseen, ServiceTier};

/// What is known of the attributes of a call that one of some upstreams will serve.
///
/// An attribute is certain where each of them gives it the same value and none lets its replies say
/// otherwise. All others that it may come to have are open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prospect {
    given: Attributes,
    open: Vec<Attribute>,
}

impl Prospect {
    /// Of a call through an upstream that gives its calls these attributes, unless a reply, which
    /// may state some, says otherwise ([`Attributes::or`]).
    pub fn through(given: &Attributes, replies_state: &[Attribute]) -> Self {
        Self {
            given: given.clone(),
            open: in_order(replies_state.iter().copied()),
        }
    }

    /// Of a call that goes one way or the other.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let agreed = |(name, value): &(Attribute, &str)| other.given.get(*name) == Some(value);
        let given = self.given.iter().filter(agreed);
        let given: Attributes = given.map(|(name, value)| (name, value.into())).collect();
        let ways = [self, other].into_iter();
        let stated = ways.clone().flat_map(|way| way.open.iter().copied());
        let named = ways.flat_map(|way| way.given.iter().map(|(name, _)| name));
        let differing = named.filter(|name| given.get(*name).is_none());
        let open = in_order(stated.chain(differing));
        Self { given, open }
    }

    /// What is foreseen of such a call at an instant, which may be given one of these service tiers.
    pub fn foreseen<'a>(&'a self, tiers: &'a [ServiceTier], at: OffsetDateTime) -> Foreseen<'a> {
        Foreseen {
            tiers,
            at,
            attributes: &self.given,
            open: &self.open,
        }
    }

    /// The attributes that it has whichever upstream serves it, unless a reply says otherwise.
    pub const fn given(&self) -> &Attributes {
        &self.given
    }
}

fn in_order(names: impl Iterator<Item = Attribute>) -> Vec<Attribute> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(Attribute, &str)]) -> Attributes {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (*name, (*value).into()))
            .collect()
    }

    #[test]
    fn what_upstreams_differ_in_is_open() {
        let large = (Attribute::ImageSize, "4K");
        let eu = given(&[large, (Attribute::Region, "eu")]);
        let us = given(&[large, (Attribute::Region, "us")]);
        let [eu, us] = [eu, us].map(|given| Prospect::through(&given, &[]));
        let both = eu.or(&us);
        assert_eq!(both, us.or(&eu));
        assert_eq!(both.given(), &given(&[large]));
        assert_eq!(both.open, [Attribute::Region]);
        assert_eq!(eu.or(&eu), eu);
        // Through the third it has none of them.
        let neither = both.or(&Prospect::default());
        assert_eq!(neither.given(), &Attributes::NONE);
        assert_eq!(neither.open, [Attribute::Region, Attribute::ImageSize]);
    }

    #[test]
    fn what_a_reply_may_state_is_open_whatever_the_upstream_gives() {
        let eu = given(&[(Attribute::Region, "eu")]);
        let prospect = Prospect::through(&eu, &[Attribute::Speed, Attribute::Region]);
        assert_eq!(prospect.open, [Attribute::Region, Attribute::Speed]);
        assert_eq!(prospect.given(), &eu);
        assert_eq!(prospect.or(&prospect), prospect);
        assert_eq!(prospect.or(&Prospect::default()).open, prospect.open);
    }
}
