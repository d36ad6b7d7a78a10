use std::sync::Arc;

use billing_core::id::TierScheduleId;
use billing_core::reach::{Audience, ModelScope, Reach};
use serde_json::json;

use time::OffsetDateTime;

use super::*;

fn schedule(terms: serde_json::Value) -> TierSchedule {
    TierSchedule {
        id: TierScheduleId::new(1),
        reach: Reach {
            audience: Audience::Everyone,
            models: ModelScope::All,
        },
        terms: Some(Arc::new(serde_json::from_value(terms).unwrap())),
        effective_from: OffsetDateTime::UNIX_EPOCH,
    }
}

#[test]
fn tiers_lie_end_to_end() {
    let terms = json!({"currency": "EUR", "measure": "spend", "window": "week", "zone": "Asia/Tokyo",
        "pricing": {"volume": [
            {"up_to": "10.5", "price": {"discount": "1"}}, {"price": {"discount": "2"}, "flat": "3"},
        ]}, "minimum": 1_500_000_000_i64});
    let shown = serde_json::to_value(TierScheduleDto::of(&schedule(terms)).unwrap()).unwrap();
    assert_eq!(
        shown["tiers"],
        json!([
            {"tier": 1, "above": "0", "up_to": "10.5", "flat": {"amount": "0", "currency": "EUR"},
                "price": {"kind": "discount", "percent": "1"}},
            {"tier": 2, "above": "10.5", "up_to": null, "flat": {"amount": "3", "currency": "EUR"},
                "price": {"kind": "discount", "percent": "2"}},
        ])
    );
    let told = ["measure", "window", "zone", "pricing"].map(|name| shown[name].clone());
    assert_eq!(
        told,
        ["spend", "week", "Asia/Tokyo", "volume"].map(|t| json!(t))
    );
    assert_eq!(shown["minimum"]["amount"], "1.50");
    assert_eq!(shown["package"], json!(null));
}

#[test]
fn packages_have_no_tiers_and_an_end_has_nothing() {
    let terms = json!({"currency": "USD", "measure": "calls", "window": "day",
        "pricing": {"package": {"size": 1000, "price": "5", "free": 10}}});
    let mut schedule = schedule(terms);
    let shown = serde_json::to_value(TierScheduleDto::of(&schedule).unwrap()).unwrap();
    assert_eq!(shown["tiers"], json!([]));
    assert_eq!(
        shown["package"],
        json!({"size": "1000", "free": "10", "rounding": "up",
            "price": {"amount": "5", "per": "package"}})
    );
    schedule.terms = None;
    assert!(TierScheduleDto::of(&schedule).is_none());
}
