//! Where an account stands in the tiers of a schedule.

use std::collections::BTreeMap;
use std::sync::Arc;

use billing_core::budget::{Amount, BudgetScope};
use billing_core::charge_model::Quantity;
use billing_core::id::{AccountId, TierScheduleId};
use billing_core::port::reports::{ReportError, Reports};
use billing_core::terms::InTiers;
use billing_core::tier_schedule::{TierPricing, TierSchedule};
use time::OffsetDateTime;

/// Where an account stands in a window of a schedule. What is known to have been used is what the
/// books have counted.
#[derive(Debug, Clone)]
pub(crate) struct Standing(pub(crate) InTiers);

impl Standing {
    /// How much has been used in the window.
    pub(crate) fn used(&self) -> Quantity {
        self.0.terms.measure.quantity(self.0.known)
    }

    /// The tier reached now, from 1: by volume the one that prices what was used, else the one that
    /// prices what is used next. `None` where things are sold in packages.
    pub(crate) fn tier(&self) -> Option<usize> {
        Some(self.index()?.saturating_add(1))
    }

    /// Where the next tier begins: above this. `None` in the last, and of packages.
    pub(crate) fn next_above(&self) -> Option<Quantity> {
        self.0.terms.pricing.tiers().get(self.index()?)?.up_to
    }

    /// How much may be used before the next tier begins.
    pub(crate) fn until_next(&self) -> Option<Quantity> {
        Some(self.next_above()?.beyond(self.used()))
    }

    fn index(&self) -> Option<usize> {
        match &self.0.terms.pricing {
            TierPricing::Graduated(tiers) => Some(tiers.next_after(self.used())),
            TierPricing::Volume(tiers) => Some(tiers.reached_by(self.used())),
            TierPricing::Package(_) | TierPricing::PerCall(_) => None,
        }
    }
}

/// Where an account stands in schedules, in the windows that an instant lies in. A schedule that
/// only ends another has none.
pub(super) async fn read(
    reports: &dyn Reports,
    account: AccountId,
    schedules: impl Iterator<Item = &Arc<TierSchedule>>,
    at: OffsetDateTime,
) -> Result<BTreeMap<TierScheduleId, Standing>, ReportError> {
    let windows = schedules.filter_map(|tiers| tiers.window(at, None, |_| Amount::ZERO));
    let windows: Vec<InTiers> = windows.collect();
    let scopes: Vec<BudgetScope> = windows.iter().map(InTiers::position).collect();
    let used = reports.used(account, &scopes).await?;
    let standings = windows.into_iter().zip(used).map(|(mut window, used)| {
        window.known = used;
        (window.schedule, Standing(window))
    });
    Ok(standings.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn standing(pricing: &serde_json::Value, used: u64) -> Standing {
        let terms = json!({"currency": "USD", "measure": "calls", "window": "month",
            "pricing": pricing});
        Standing(InTiers {
            schedule: TierScheduleId::new(1),
            terms: Arc::new(serde_json::from_value(terms).unwrap()),
            window_start: 0,
            known: Amount::new(used),
        })
    }

    fn told(standing: &Standing) -> (Option<usize>, Option<String>, Option<String>) {
        let text = |quantity: Option<Quantity>| quantity.map(|q| q.to_string());
        (
            standing.tier(),
            text(standing.next_above()),
            text(standing.until_next()),
        )
    }

    #[test]
    fn at_a_threshold_the_next_call_is_in_the_next_tier() {
        let tiers = json!([{"up_to": 10, "price": {"discount": "0"}},
            {"price": {"discount": "5"}}]);
        let ten = Some("10".to_owned());
        let some = |text: &str| Some(text.to_owned());
        for (used, graduated, volume) in [
            (
                9,
                (Some(1), ten.clone(), some("1")),
                (Some(1), ten.clone(), some("1")),
            ),
            (10, (Some(2), None, None), (Some(1), ten.clone(), some("0"))),
            (11, (Some(2), None, None), (Some(2), None, None)),
        ] {
            assert_eq!(
                told(&standing(&json!({"graduated": tiers}), used)),
                graduated
            );
            assert_eq!(told(&standing(&json!({"volume": tiers}), used)), volume);
        }
    }

    #[test]
    fn packages_have_no_tiers() {
        let package = json!({"package": {"size": 10, "price": "1"}});
        let standing = standing(&package, 25);
        assert_eq!(told(&standing), (None, None, None));
        assert_eq!(standing.used().to_string(), "25");
    }
}
