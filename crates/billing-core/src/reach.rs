//! For whom and for which models a rule of pricing holds, and which of several rules wins.
//!
//! The most specific one does: an account's own before its plan's before everybody's; within each,
//! a model's before its family's (the longest prefix first) before all models'. Two rules of the
//! same [`Reach`] are versions of one another: the one that took effect last holds.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use time::{Date, OffsetDateTime};

use crate::charge_model::Percent;
use crate::id::{AccountId, PlanId};
use crate::period::Period;
use crate::plan::Subscribed;
use crate::price::ModelName;

/// Who asks for a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Buyer {
    /// The account that pays.
    pub account: AccountId,
    /// The plan that it is on.
    pub plan: Option<PlanId>,
    /// What that plan takes off prices; `None` where it takes nothing.
    pub discount: Option<Percent>,
}

/// For whom a rule is, the most specific last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audience {
    /// For every account.
    Everyone,
    /// For the accounts on a plan.
    Plan(PlanId),
    /// For one account.
    Account(AccountId),
}

/// For which models a rule is, the most specific last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelScope {
    /// For all.
    All,
    /// For every model whose name begins so: `gpt-4o*`.
    Family(ModelName),
    /// For one.
    Model(ModelName),
}

/// For whom and for which models a rule holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reach {
    /// For whom.
    pub audience: Audience,
    /// For which models.
    pub models: ModelScope,
}

/// A text that is no scope of models.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" names no models: give a model, a family as `prefix*`, or `*` for all")]
pub struct MalformedScope(String);

impl Buyer {
    /// An account with what it is subscribed to, at an instant.
    pub fn on(account: AccountId, subscribed: Option<&Subscribed>, at: OffsetDateTime) -> Self {
        let live = subscribed.filter(|subscribed| !subscribed.has_ended(at));
        let discount = live.and_then(|subscribed| subscribed.terms.discount);
        Self {
            account,
            plan: live.map(|subscribed| subscribed.plan),
            discount: discount.filter(|off| !off.is_zero()),
        }
    }
}

impl Audience {
    fn holds(self, buyer: Option<&Buyer>) -> bool {
        match self {
            Self::Everyone => true,
            Self::Plan(plan) => buyer.is_some_and(|buyer| buyer.plan == Some(plan)),
            Self::Account(account) => buyer.is_some_and(|buyer| buyer.account == account),
        }
    }
}

impl fmt::Display for Audience {
    /// `everyone`, or the id of the plan or account.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("everyone"),
            Self::Plan(plan) => plan.fmt(f),
            Self::Account(account) => account.fmt(f),
        }
    }
}

/// A text that is no audience.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is nobody: give `everyone`, a plan's id (pln_…) or an account's (acc_…)")]
pub struct MalformedAudience(String);

impl FromStr for Audience {
    type Err = MalformedAudience;
    fn from_str(text: &str) -> Result<Self, MalformedAudience> {
        if text == "everyone" {
            return Ok(Self::Everyone);
        }
        let plan = text.parse().map(Self::Plan);
        plan.or_else(|_| text.parse().map(Self::Account))
            .map_err(|_| MalformedAudience(text.chars().take(60).collect()))
    }
}

impl ModelScope {
    /// Whether a model is in it.
    pub fn covers(&self, model: &str) -> bool {
        match self {
            Self::All => true,
            Self::Family(prefix) => model.starts_with(prefix.as_str()),
            Self::Model(name) => name.as_str() == model,
        }
    }

    /// Greater for the more specific.
    pub(crate) fn specificity(&self) -> (u8, usize) {
        match self {
            Self::All => (0, 0),
            Self::Family(prefix) => (1, prefix.as_str().len()),
            Self::Model(_) => (2, 0),
        }
    }
}

impl fmt::Display for ModelScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Family(prefix) => write!(f, "{prefix}*"),
            Self::Model(name) => name.fmt(f),
        }
    }
}

impl FromStr for ModelScope {
    type Err = MalformedScope;
    fn from_str(text: &str) -> Result<Self, MalformedScope> {
        let malformed = || MalformedScope(text.chars().take(60).collect());
        let (prefix, is_open) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        let is_name = prefix.len() <= 300 && !prefix.contains(|c: char| c == '*' || c.is_control());
        match (prefix, is_open) {
            _ if !is_name => Err(malformed()),
            ("", true) => Ok(Self::All),
            ("", false) => Err(malformed()),
            (prefix, true) => Ok(Self::Family(ModelName::new(prefix))),
            (name, false) => Ok(Self::Model(ModelName::new(name))),
        }
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

as_text!(Audience);
as_text!(ModelScope);

/// A rule with a reach, from an instant on. It never changes.
pub trait Rule {
    /// For whom and for which models.
    fn reach(&self) -> &Reach;
    /// From when on.
    fn effective_from(&self) -> OffsetDateTime;
    /// Tells versions that took effect at one instant apart: the greater was recorded later.
    fn number(&self) -> i64;
    /// Whether it ends what an earlier version said and says nothing itself.
    fn is_withdrawal(&self) -> bool;
}

/// The rules of one audience; those of one reach are its versions, the latest first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scopes<R> {
    /// Those of one model each. There may be as many as models.
    exact: BTreeMap<ModelName, Vec<Arc<R>>>,
    /// Those of families and of all models, the more specific first.
    wider: Vec<(ModelScope, Vec<Arc<R>>)>,
}

impl<R> Scopes<R> {
    fn of(&self, models: &ModelScope) -> Option<&Vec<Arc<R>>> {
        if let ModelScope::Model(name) = models {
            return self.exact.get(name);
        }
        let mut wider = self.wider.iter();
        wider.find_map(|(scope, versions)| (scope == models).then_some(versions))
    }

    /// Those that a model is in, the most specific first.
    fn covering(&self, model: &str) -> impl Iterator<Item = &Vec<Arc<R>>> {
        let wider = self.wider.iter();
        let wider = wider.filter(move |(scope, _)| scope.covers(model));
        let exact = self.exact.get(model).into_iter();
        exact.chain(wider.map(|(_, versions)| versions))
    }

    fn all(&self) -> impl Iterator<Item = &Vec<Arc<R>>> {
        let wider = self.wider.iter().map(|(_, versions)| versions);
        self.exact.values().chain(wider)
    }
}

impl<R> Default for Scopes<R> {
    fn default() -> Self {
        let (exact, wider) = (BTreeMap::new(), Vec::new());
        Self { exact, wider }
    }
}

/// Rules of one sort, found by who asks for which model when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules<R> {
    by_audience: BTreeMap<Audience, Scopes<R>>,
    by_number: BTreeMap<i64, Arc<R>>,
}

impl<R> Default for Rules<R> {
    fn default() -> Self {
        let (by_audience, by_number) = (BTreeMap::new(), BTreeMap::new());
        Self {
            by_audience,
            by_number,
        }
    }
}

impl<R: Rule> Rules<R> {
    /// These rules, in any order.
    pub fn new(rules: impl IntoIterator<Item = R>) -> Self {
        let mut by_reach: BTreeMap<Reach, Vec<Arc<R>>> = BTreeMap::new();
        let mut by_number = BTreeMap::new();
        for rule in rules.into_iter().map(Arc::new) {
            by_number.insert(rule.number(), Arc::clone(&rule));
            let versions = by_reach.entry(rule.reach().clone()).or_default();
            versions.push(rule);
        }
        let mut by_audience: BTreeMap<Audience, Scopes<R>> = BTreeMap::new();
        for (Reach { audience, models }, mut versions) in by_reach {
            versions.sort_by_key(|rule| Reverse((rule.effective_from(), rule.number())));
            let scopes = by_audience.entry(audience).or_default();
            match models {
                ModelScope::Model(name) => {
                    scopes.exact.insert(name, versions);
                }
                wider @ (ModelScope::All | ModelScope::Family(_)) => {
                    scopes.wider.push((wider, versions));
                }
            }
        }
        for scopes in by_audience.values_mut() {
            let wider = &mut scopes.wider;
            wider.sort_by_key(|(scope, _)| Reverse(scope.specificity()));
        }
        Self {
            by_audience,
            by_number,
        }
    }

    /// The rule with a number, whether or not it holds.
    pub fn get(&self, number: i64) -> Option<&Arc<R>> {
        self.by_number.get(&number)
    }

    fn versions(&self, reach: &Reach) -> Option<&Vec<Arc<R>>> {
        self.by_audience.get(&reach.audience)?.of(&reach.models)
    }

    /// The last rule of a reach that has taken effect at an instant, also where it is a withdrawal.
    pub fn of_reach(&self, reach: &Reach, at: OffsetDateTime) -> Option<&Arc<R>> {
        let versions = self.versions(reach)?;
        versions.iter().find(|rule| rule.effective_from() <= at)
    }

    /// From when to when a rule holds of its reach: until the one that took effect after it.
    pub fn in_force(&self, rule: &R) -> Period {
        let versions = self.versions(rule.reach()).into_iter().flatten();
        let order = |rule: &R| (rule.effective_from(), rule.number());
        let later = versions.filter(|other| order(other) > order(rule));
        let next = later.map(|other| other.effective_from()).min();
        Period {
            start: rule.effective_from(),
            end: next.unwrap_or_else(|| Date::MAX.midnight().assume_utc()),
        }
    }

    /// Who has a rule that reaches a model, whether or not it holds.
    pub fn audiences(&self, model: &str) -> impl Iterator<Item = Audience> {
        let audiences = self.by_audience.iter();
        let reached = audiences.filter(|(_, scopes)| scopes.covering(model).next().is_some());
        reached.map(|(audience, _)| *audience)
    }

    /// The rule that holds for a model at an instant; without a buyer, the one for everybody.
    pub fn find(&self, buyer: Option<&Buyer>, model: &str, at: OffsetDateTime) -> Option<&Arc<R>> {
        if self.by_audience.is_empty() {
            return None;
        }
        let audiences = [
            buyer.map(|buyer| Audience::Account(buyer.account)),
            buyer.and_then(|buyer| buyer.plan).map(Audience::Plan),
            Some(Audience::Everyone),
        ];
        let scopes = audiences.into_iter().flatten();
        let scopes = scopes.filter_map(|audience| self.by_audience.get(&audience));
        scopes
            .flat_map(|scopes| scopes.covering(model))
            .filter_map(|versions| versions.iter().find(|r| r.effective_from() <= at))
            .find(|rule| !rule.is_withdrawal())
    }

    /// Whether there is any rule for this buyer or the plan that it is on, in effect or not.
    pub fn has_own(&self, buyer: &Buyer) -> bool {
        let plan = buyer.plan.map(Audience::Plan);
        let own = [Some(Audience::Account(buyer.account)), plan];
        let mut own = own.into_iter().flatten();
        own.any(|audience| self.by_audience.contains_key(&audience))
    }

    /// Every rule, those of one reach together, the latest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<R>> {
        self.by_audience.values().flat_map(Scopes::all).flatten()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_audience.is_empty()
    }
}

impl Reach {
    /// Whether it holds for a model that somebody asks for.
    pub fn covers(&self, buyer: Option<&Buyer>, model: &str) -> bool {
        self.audience.holds(buyer) && self.models.covers(model)
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.models, self.audience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOON: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Named(Reach, OffsetDateTime, i64, bool);

    impl Rule for Named {
        fn reach(&self) -> &Reach {
            &self.0
        }
        fn effective_from(&self) -> OffsetDateTime {
            self.1
        }
        fn number(&self) -> i64 {
            self.2
        }
        fn is_withdrawal(&self) -> bool {
            self.3
        }
    }

    fn rule(audience: &str, models: &str, number: i64) -> Named {
        let audience = audience.parse().unwrap();
        let models = models.parse().unwrap();
        Named(Reach { audience, models }, NOON, number, false)
    }

    const BUYER: Buyer = Buyer {
        account: AccountId::new(1),
        plan: Some(PlanId::new(2)),
        discount: None,
    };

    fn found(rules: &[Named], buyer: Option<&Buyer>, model: &str) -> Option<i64> {
        let rules = Rules::new(rules.to_vec());
        rules.find(buyer, model, NOON).map(|rule| rule.2)
    }

    #[test]
    fn the_most_specific_rule_wins() {
        let (account, plan) = (AccountId::new(1).to_string(), PlanId::new(2).to_string());
        let rules = [
            rule(&account, "*", 8),
            rule(&plan, "gpt-4o-mini", 7),
            rule(&plan, "gpt-4o*", 6),
            rule(&plan, "*", 5),
            rule("everyone", "gpt-4o-mini", 4),
            rule("everyone", "gpt-4o*", 3),
            rule("everyone", "gpt-*", 2),
            rule("everyone", "*", 1),
        ];
        for left_out in 0..rules.len() {
            let first = 8 - i64::try_from(left_out).unwrap();
            assert_eq!(
                found(&rules[left_out..], Some(&BUYER), "gpt-4o-mini"),
                Some(first)
            );
        }
        assert_eq!(found(&rules, None, "gpt-4o-mini"), Some(4));
        assert_eq!(found(&rules, None, "gpt-4.1"), Some(2));
        assert_eq!(found(&rules[1..], Some(&BUYER), "claude"), Some(5));
    }

    #[test]
    fn a_buyer_has_rules_of_its_own_or_of_its_plan() {
        let (account, plan) = (AccountId::new(1).to_string(), PlanId::new(2).to_string());
        let unplanned = Buyer {
            plan: None,
            ..BUYER
        };
        for (audience, planned, alone) in [
            (account.as_str(), true, true),
            (&plan, true, false),
            ("everyone", false, false),
        ] {
            let rules = Rules::new([rule(audience, "m", 1)]);
            assert_eq!(
                (rules.has_own(&BUYER), rules.has_own(&unplanned)),
                (planned, alone)
            );
        }
    }

    #[test]
    fn of_one_reach_the_latest_in_effect_holds_until_it_is_withdrawn() {
        let at = |hours: i64, number, ends| {
            let mut rule = rule("everyone", "m*", number);
            (rule.1, rule.3) = (NOON.saturating_add(time::Duration::hours(hours)), ends);
            rule
        };
        let all = rule("everyone", "*", 0);
        let rules = [
            at(-2, 1, false),
            at(0, 2, false),
            at(0, 3, false),
            at(1, 4, false),
            all,
        ];
        assert_eq!(found(&rules, None, "m"), Some(3));
        let rules = [
            rules,
            [
                at(0, 5, true),
                at(-3, 0, true),
                at(9, 0, true),
                at(9, 0, true),
                at(9, 0, true),
            ],
        ]
        .concat();
        assert_eq!(
            found(&rules, None, "m"),
            Some(0),
            "the next less specific one"
        );
    }

    #[test]
    fn scopes_and_audiences_read_back_from_their_text() {
        for text in ["*", "gpt-4o*", "gpt-4o"] {
            assert_eq!(text.parse::<ModelScope>().unwrap().to_string(), text);
        }
        for text in ["", "a*b", "**", "a\n"] {
            assert!(text.parse::<ModelScope>().is_err(), "{text:?}");
        }
        for text in ["", "all", "pln_", "acc_zzzzzzzzzzzzz"] {
            assert!(text.parse::<Audience>().is_err(), "{text:?}");
        }
    }
}
