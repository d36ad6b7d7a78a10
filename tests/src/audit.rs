//! The books of one account as its owner can read them, and whether every figure is the same.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Failure;
use crate::control::{Control, id_of};
use crate::figure::{nanos, round, text, unrounded};
use crate::proof::Findings;

/// What an account was charged, from each place that tells it.
#[derive(Debug, Clone)]
pub struct Books {
    /// Every call on record, newest first.
    pub calls: Vec<Value>,
    /// The sum of their charges.
    pub charged: i128,
    /// What the wallet holds.
    pub balance: i128,
}

/// The charge of a call, in its list row or its receipt.
///
/// # Errors
/// It has none.
pub fn charge_of(call: &Value) -> Result<i128, Failure> {
    nanos(&call["charge"])
}

/// The sum of what stands in a member of each entry.
///
/// # Errors
/// An entry lacks it.
pub fn sum(entries: &[Value], member: &str) -> Result<i128, Failure> {
    entries
        .iter()
        .try_fold(0, |sum, entry| Ok(sum + nanos(&entry[member])?))
}

/// What the customer paid, by the journal: revenue, less what the house bore of it.
fn revenue(ledger: &[Value]) -> Result<i128, Failure> {
    let legs = ledger.iter().flat_map(entries);
    legs.filter(|leg| leg["code"] == "revenue_usage" || leg["code"] == "overrun")
        // Credits stand below zero.
        .try_fold(0, |sum, leg| Ok(sum - nanos(&leg["amount"])?))
}

fn is_balanced(ledger: &[Value]) -> Result<bool, Failure> {
    for transaction in ledger {
        let sum = entries(transaction)
            .try_fold(0, |sum, leg| Ok::<_, Failure>(sum + nanos(&leg["amount"])?))?;
        if sum != 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn entries(transaction: &Value) -> impl Iterator<Item = &Value> {
    transaction["entries"].as_array().into_iter().flatten()
}

/// Reads the books of an account that was given `funds`, and checks that all figures are one.
///
/// # Errors
/// Something could not be read.
pub async fn audit(
    control: &Control,
    account: &str,
    funds: i128,
    findings: &mut Findings,
) -> Result<Books, Failure> {
    let calls = control.calls(account).await?;
    let charged = calls
        .iter()
        .try_fold(0, |sum, call| Ok::<_, Failure>(sum + charge_of(call)?))?;
    let balance = control.balance(account).await?;
    let mut ids = BTreeSet::new();
    for call in &calls {
        let id = id_of(call)?;
        findings.check(ids.insert(id.clone()), || format!("{id} is charged twice"));
    }
    findings.check(balance >= 0, || format!("the balance is {}", text(balance)));
    let mut same = |what: &str, figure: i128| {
        let (figure, charged) = (figure, charged);
        findings.check(figure == charged, || {
            format!(
                "{what}: {}, but the calls add up to {}",
                text(figure),
                text(charged)
            )
        });
    };
    same("funds less balance", funds - balance);
    for group in ["total", "model", "key", "day"] {
        let usage = control.usage(account, group).await?;
        same(&format!("usage by {group}"), sum(&usage, "charge")?);
    }
    let ledger = control.ledger(account).await?;
    same("revenue less overrun in the ledger", revenue(&ledger)?);
    findings.check(is_balanced(&ledger)?, || {
        "a ledger transaction does not balance".to_owned()
    });
    Ok(Books {
        calls,
        charged,
        balance,
    })
}

/// Reads the receipt of every call, and checks it against the list and its lines against its total.
///
/// # Errors
/// Something could not be read.
pub async fn receipts(
    control: &Control,
    account: &str,
    calls: &[Value],
    findings: &mut Findings,
) -> Result<Vec<Value>, Failure> {
    let mut receipts = Vec::with_capacity(calls.len());
    for row in calls {
        let id = id_of(row)?;
        let receipt = control
            .call(account, &id)
            .await?
            .ok_or_else(|| format!("no receipt {id}"))?;
        let (charge, listed) = (charge_of(&receipt)?, charge_of(row)?);
        findings.check(charge == listed, || {
            format!(
                "{id}: {} on the receipt, {} in the list",
                text(charge),
                text(listed)
            )
        });
        findings.check(derives(&receipt, charge)?, || {
            format!("{id}: no derivation: {receipt}")
        });
        receipts.push(receipt);
    }
    Ok(receipts)
}

/// Whether the lines of a receipt add up to what is charged, what a plan paid, and what the house
/// bore.
fn derives(receipt: &Value, charge: i128) -> Result<bool, Failure> {
    if receipt["quarantined"] == true {
        return Ok(charge <= nanos(&receipt["held"])?);
    }
    // In price tiers the lines say what it would cost by the list, and those of the tiers what it does.
    let is_listed = receipt["tiers"].is_null();
    let derived = if is_listed {
        receipt
    } else {
        &receipt["tiers"]
    };
    let lines = derived["lines"]
        .as_array()
        .ok_or_else(|| format!("no lines: {receipt}"))?;
    let exact = lines.iter().try_fold(0, |sum, line| {
        let flat = Some(&line["flat"]).filter(|flat| !flat.is_null());
        let flat = flat.map_or(Ok(0), unrounded)?;
        Ok::<_, Failure>(sum + unrounded(&line["amount"])? + flat)
    })?;
    // Without a plan it has none.
    let covered = Some(&receipt["covered"]).filter(|covered| !covered.is_null());
    let covered = covered.map_or(Ok(0), nanos)?;
    Ok(round(exact) == charge + covered + nanos(&receipt["overrun"])?)
}
