//! The lines that a call counts in.

use std::collections::BTreeMap;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{PlanVersionId, QuotaId};
use billing_core::money::Nanos;
use billing_core::plan::PlanVersion;
use billing_core::port::reports::{About, CallDetail, NOBODY, PlanName, UsageGroup, UsageLine};
use billing_core::quota::Quota;

use super::add;
use crate::memory::State;

/// Where a line stands among the others, and its group.
type Place = (u8, String, i64, String);

/// Adds a call to each line that it counts in.
pub(super) fn count(
    lines: &mut BTreeMap<Place, UsageLine>,
    state: &State,
    group: UsageGroup,
    call: &CallDetail,
) {
    for (place, about) in lines_of(state, group, call) {
        let line = lines.entry(place.clone()).or_default();
        line.group = place.3;
        add(line, call);
        line.about = match (line.about.take(), about) {
            (Some(before), Some(about)) => Some(both(before, about)),
            (before, about) => before.or(about),
        };
    }
}

fn lines_of(state: &State, group: UsageGroup, call: &CallDetail) -> Vec<(Place, Option<About>)> {
    let plain = |group: String| vec![((0, group.clone(), 0, group), None)];
    let nobody = vec![((1, String::new(), 0, NOBODY.to_owned()), None)];
    match group {
        UsageGroup::Total => plain(String::new()),
        UsageGroup::Model => plain(call.model.clone()),
        UsageGroup::Key => plain(call.key.to_string()),
        UsageGroup::Member => {
            let key = state.keys.get(&call.key);
            let Some(member) = key.and_then(|(key, _)| key.member) else {
                return nobody;
            };
            let about = About::Member(state.users[&member].0.email.clone());
            let place = (0, String::new(), member.get(), member.to_string());
            vec![(place, Some(about))]
        }
        UsageGroup::Plan => {
            let Some(id) = call.plan else {
                return nobody;
            };
            let (plan, covered) = (named(state, id).0, call.covered.unwrap_or_default());
            let place = (0, plan.code.clone(), plan.version.into(), id.to_string());
            vec![(place, Some(About::Plan { plan, covered }))]
        }
        UsageGroup::Quota => {
            let id = call.plan;
            let drawn = id.iter().flat_map(|id| drawn(state, *id, call));
            let drawn: Vec<_> = drawn.collect();
            if drawn.is_empty() { nobody } else { drawn }
        }
    }
}

fn drawn(state: &State, id: PlanVersionId, call: &CallDetail) -> Vec<(Place, Option<About>)> {
    let (plan, version) = named(state, id);
    let of_quota = |(scope, taken): &(BudgetScope, Amount)| {
        let BudgetScope::Quota { quota, .. } = scope else {
            return None;
        };
        let quota = quota_of(&version, *quota);
        let code = format!("{}:{}", plan.code, plan.version);
        let place = (0, code, quota.id.get(), quota.id.to_string());
        let about = About::Quota {
            plan: plan.clone(),
            models: quota.terms.models.clone(),
            unit: quota.terms.unit,
            window: quota.terms.window,
            drawn: *taken,
            covered: call.covered.unwrap_or_default(),
        };
        (!taken.is_zero()).then_some((place, Some(about)))
    };
    call.used.iter().filter_map(of_quota).collect()
}

fn quota_of(version: &PlanVersion, id: QuotaId) -> Quota {
    let mut quotas = version.quotas.iter();
    quotas.find(|quota| quota.id == id).unwrap().clone()
}

fn named(state: &State, id: PlanVersionId) -> (PlanName, PlanVersion) {
    let found = state.plans.iter().find(|(_, version)| version.id == id);
    let (code, version) = found.unwrap();
    let name = PlanName {
        code: code.clone(),
        version: version.number,
    };
    (name, version.clone())
}

fn both(before: About, more: About) -> About {
    let sum = |a: Nanos, b: Nanos| a.plus(b).unwrap();
    match (before, more) {
        (About::Plan { plan, covered }, About::Plan { covered: more, .. }) => About::Plan {
            plan,
            covered: sum(covered, more),
        },
        (
            About::Quota {
                plan,
                models,
                unit,
                window,
                drawn,
                covered,
            },
            About::Quota {
                drawn: more_drawn,
                covered: more,
                ..
            },
        ) => About::Quota {
            plan,
            models,
            unit,
            window,
            drawn: drawn.plus(more_drawn),
            covered: sum(covered, more),
        },
        (before, _) => before,
    }
}
