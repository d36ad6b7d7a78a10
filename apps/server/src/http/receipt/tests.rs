mod tiers;

use std::sync::Arc;

use billing_core::budget::Amount;
use billing_core::call::UsageSource;
use billing_core::id::{AccountId, CallId, KeyId, LotId, PriceVersionId};
use billing_core::meter::{Meter, Usage};
use billing_core::price::{Attribute, ModelName, PriceVersion, Rate, ServiceTier};
use billing_core::price_book::ModelFacts;
use billing_core::price_book::PricedModel;
use billing_core::terms::RatingRecord;
use billing_core::wallet::{LotDraw, LotKind};
use rust_decimal::Decimal;
use time::OffsetDateTime;

use super::*;

fn book() -> PriceBook {
    let version = |id, input: &str, from| {
        let rate = |meter, price: &str| {
            let price = price.parse().unwrap();
            Rate {
                meter,
                tier: ServiceTier::Standard,
                above: None,
                price,
            }
        };
        let rates = vec![
            rate(Meter::Input, input),
            rate(Meter::Output, "0.00001"),
            rate(Meter::InputTime, "0.0001"),
            rate(Meter::Search, "free"),
        ];
        let (id, model) = (PriceVersionId::new(id), ModelName::new("m"));
        Arc::new(PriceVersion::new(id, model, Currency::USD, from, rates).unwrap())
    };
    let epoch = OffsetDateTime::UNIX_EPOCH;
    let versions = vec![
        version(1, "0.0000000000025", epoch),
        version(2, "9", epoch + time::Duration::DAY),
    ];
    PriceBook::new([PricedModel::new(
        ModelName::new("m"),
        ModelFacts::default(),
        versions,
    )])
}

fn call(usage: &Usage, charge: i64, overrun: i64) -> CallDetail {
    CallDetail {
        id: CallId::new(1),
        account: AccountId::new(2),
        key: KeyId::new(3),
        endpoint: "chat.completions".to_owned(),
        model: "m".to_owned(),
        channel: "sim".to_owned(),
        outcome: "completed".to_owned(),
        streamed: false,
        status: 200,
        usage: *usage,
        source: Some(UsageSource::Provider),
        tier: ServiceTier::Flex,
        price_version: PriceVersionId::new(1),
        rating: RatingRecord::default(),
        plan: None,
        cost: Some(Nanos::new(charge + overrun)),
        held: Nanos::new(1_000_000),
        charge: Nanos::new(charge),
        overrun: Nanos::new(overrun),
        covered: None,
        used: Vec::new(),
        quarantined: false,
        on_credit: Nanos::ZERO,
        draws: vec![LotDraw {
            lot: LotId::new(4),
            kind: LotKind::Paid,
            amount: Amount::of(Nanos::new(charge)),
        }],
        balance_after: Nanos::new(5),
        ledger_txn: None,
        started_at: OffsetDateTime::UNIX_EPOCH,
        settled_at: OffsetDateTime::UNIX_EPOCH,
        first_byte_ms: None,
        latency_ms: 7,
        upstream_id: None,
        finish_reason: None,
        attempts: Vec::new(),
    }
}

fn receipt(call: &CallDetail) -> Receipt {
    Receipt::of(call, &Later::default(), &book(), Currency::USD)
}

fn adds_up(receipt: &Receipt) {
    let amount = |money: &MoneyDto| money.amount.parse::<Decimal>().unwrap();
    let lines: Decimal = receipt.lines.iter().map(|l| amount(&l.amount)).sum();
    assert_eq!(lines, amount(&receipt.list));
    let due = match &receipt.tiers {
        None => lines,
        Some(tiers) => {
            let lines = tiers.lines.iter();
            lines.map(|l| amount(&l.amount) + amount(&l.flat)).sum()
        }
    };
    let sum = due + amount(&receipt.rounding) - amount(&receipt.overrun);
    assert_eq!(sum, amount(&receipt.charge));
}

#[test]
fn lines_rounding_and_overrun_add_up_to_the_charge() {
    // 3 × 2.5 pico-dollars is rounded away, 7 × 0.00001 stays, 1.5 s × 0.0001.
    let usage = Usage::NONE
        .with(Meter::Input, 3)
        .with(Meter::Reasoning, 7)
        .with(Meter::InputTime, 1_500)
        .with(Meter::Search, 2);
    let receipt = receipt(&call(&usage, 200_000, 20_000));
    adds_up(&receipt);
    assert_eq!(receipt.rounding.amount, "-0.0000000000075");
    assert_eq!(receipt.freed.amount, "0.0008");
    let of = |meter: &str| receipt.lines.iter().find(|l| l.meter == meter).unwrap();
    assert_eq!(
        (of("input").price.amount.as_str(), of("input").price.per),
        ("0.0000025", "million_tokens")
    );
    assert!(of("reasoning").inherited && of("reasoning").price.amount == "10");
    assert_eq!(
        (of("input_time").unit, of("input_time").price.per),
        ("millisecond", "second")
    );
    assert_eq!(of("search").price.amount, "0");
    assert!(receipt.explanation.contains("The house bears 0.00002 USD"));
    assert_eq!(
        receipt.price.effective_from.as_deref(),
        Some("1970-01-01T00:00:00Z")
    );
}

#[test]
fn what_is_not_believed_is_charged_at_its_hold() {
    let mut call = call(&Usage::NONE.with(Meter::Output, u64::MAX), 1_000_000, 0);
    call.quarantined = true;
    let receipt = receipt(&call);
    adds_up(&receipt);
    assert_eq!(
        (receipt.lines.len(), receipt.lines[0].meter.as_str()),
        (1, "hold")
    );
    assert!(receipt.explanation.contains("cannot produce"));
}

#[test]
fn what_was_not_delivered_has_no_lines() {
    let mut call = call(&Usage::NONE, 0, 0);
    call.source = None;
    let receipt = receipt(&call);
    adds_up(&receipt);
    assert!(receipt.lines.is_empty() && receipt.freed == receipt.held);
}

#[test]
fn what_the_call_was_rated_by_is_named() {
    let mut call = call(&Usage::NONE.with(Meter::Reasoning, 2), 20_000, 0);
    call.rating.attributes = Attributes::NONE.with(Attribute::Region, "eu");
    let receipt = receipt(&call);
    adds_up(&receipt);
    assert_eq!(receipt.price.attributes, call.rating.attributes);
    let wire = serde_json::to_value(&receipt).unwrap();
    assert_eq!(wire["price"]["attributes"]["region"], "eu");
}

#[test]
fn a_charge_that_does_not_follow_says_so() {
    let receipt = receipt(&call(&Usage::NONE.with(Meter::Output, 1), 11_111, 0));
    assert!(receipt.lines.is_empty());
    assert!(receipt.explanation.contains("do not derive"));
}
