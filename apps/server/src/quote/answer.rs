//! What is answered to a line.

use std::fmt::Display;

use billing_core::charge::{Charge, ChargeLine};
use billing_core::charge_model::Percent;
use billing_core::id::SaleRuleId;
use billing_core::meter::MeterUnit;
use billing_core::money::{Currency, Exact, Nanos};
use billing_core::price::{ServiceTier, UnitPrice, When};
use billing_core::price_book::Offer;
use billing_core::terms::InTiers;
use serde::{Serialize, Serializer};

use crate::http::tiers::TieredDto;

/// How many [`Exact`] steps make one nano.
const STEPS: i128 = 1_000_000_000_000_000_000;

#[derive(Serialize)]
struct Answer<'a> {
    model: &'a str,
    currency: Currency,
    amount: Shown<Nanos>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unrounded: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<Shown<SaleRuleId>>,
    /// What the account's plan took off, in percent: prices and amounts are what was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    discount: Option<Percent>,
    #[serde(serialize_with = "each_line")]
    lines: &'a [ChargeLine],
    /// The sum of the lines, and what tiers make of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    list: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tiers: Option<TieredDto>,
}

#[derive(Serialize)]
struct AnswerLine<'a> {
    meter: &'static str,
    quantity: u64,
    price: Price,
    #[serde(skip_serializing_if = "Option::is_none")]
    per: Option<&'static str>,
    amount: Exact,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    inherited: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    above_prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<&'a When>,
}

#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
    line: u64,
}

/// Writes what a usage costs: one line. `rule` is named where an account asks that it holds for, and
/// `tiers` is where it stands.
pub(super) fn write_charge(
    offer: &Offer<'_>,
    rule: Option<SaleRuleId>,
    charge: &Charge,
    tiers: Option<&InTiers>,
    out: &mut Vec<u8>,
) {
    let settled = i128::from(charge.amount.get()).checked_mul(STEPS);
    let schedule = offer.tiers.map(|schedule| &**schedule);
    let tiered = charge.tiers.as_ref().zip(tiers);
    write_line(
        &Answer {
            model: offer.model.name.as_str(),
            currency: charge.currency,
            amount: Shown(charge.amount),
            unrounded: (settled != Some(charge.exact.get())).then_some(charge.exact),
            rule: rule.map(Shown),
            discount: offer.discount,
            lines: &charge.lines,
            list: charge.tiers.as_ref().map(|_| charge.list),
            tiers: tiered.map(|(tiered, of)| TieredDto::of(tiered, of, schedule)),
        },
        out,
    );
}

/// Writes why a line was not rated: one line.
pub(super) fn write_fault(error: &str, line: u64, out: &mut Vec<u8>) {
    write_line(&Refusal { error, line }, out);
}

fn write_line(answer: &impl Serialize, out: &mut Vec<u8>) {
    // Bytes in memory take whatever is written to them, and nothing here cannot be serialized.
    serde_json::to_writer(&mut *out, answer).unwrap_or_default();
    out.push(b'\n');
}

impl<'a> AnswerLine<'a> {
    fn of(line: &'a ChargeLine) -> Self {
        Self {
            meter: line.meter.name(),
            quantity: line.quantity,
            price: Price(line.rate.price),
            per: (line.meter.unit() == MeterUnit::Millisecond).then_some("second"),
            amount: line.amount,
            inherited: line.inherited,
            tier: (line.rate.tier != ServiceTier::Standard).then(|| line.rate.tier.name()),
            above_prompt_tokens: line.rate.above.map(|above| above.prompt_tokens),
            when: line.when.as_deref(),
        }
    }
}

fn each_line<S: Serializer>(lines: &[ChargeLine], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(lines.iter().map(AnswerLine::of))
}

/// An amount as people read it.
struct Shown<T>(T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

/// A price as a number: what is free costs `0`.
struct Price(UnitPrice);

impl Serialize for Price {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.0.is_free() {
            return s.serialize_str("0");
        }
        s.collect_str(&self.0)
    }
}
