//! Accounts on a plan whose quotas end while they are used, with a wallet that pays the rest, and
//! what their books must say of the quotas.

use serde_json::{Value, json};

use crate::Failure;
use crate::audit::{self, Books};
use crate::call::Caller;
use crate::control::{Control, Key};
use crate::figure::nanos;
use crate::proof::Findings;
use crate::tariff::{QuotaTerms, Tariff, drawn, used};

/// How many calls and tokens a plan gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// The plan's code.
    pub plan: &'static str,
    /// Each unit and how much of it.
    pub given: [(&'static str, u64); 2],
}

/// Fewer than a burst of calls needs.
pub const FEW: Quotas = Quotas {
    plan: "few",
    given: [("calls", 80), ("tokens", 5_000)],
};
/// More than a burst of calls needs.
pub const MANY: Quotas = Quotas {
    plan: "many",
    given: [("calls", 100_000), ("tokens", 5_000_000)],
};
/// A window that does not end meanwhile, in seconds.
const YEAR_S: u32 = 31_536_000;

/// Makes an account with funds, on the plan, and a key of it.
///
/// # Errors
/// It was refused.
pub async fn enter(
    control: &Control,
    (database, quotas): (&str, Quotas),
    (name, funds): (&str, i128),
) -> Result<(String, Key), Failure> {
    let (account, key) = control.funded(name, funds).await?;
    let quota = |(unit, amount)| QuotaTerms {
        unit,
        amount,
        window: json!({ "rolling": YEAR_S }),
    };
    let terms = quotas.given.map(quota);
    Tariff { database }.subscribe(&account, (quotas.plan, "wallet"), &terms)?;
    Ok((account, key))
}

/// Checks what receipts, totals and a node say of the quotas: one figure, and not more than the plan
/// gives. Each call is paid by the quotas and the wallet together, once.
///
/// Gives how many calls drew anything.
///
/// # Errors
/// Something could not be read.
pub async fn check(
    control: &Control,
    caller: &Caller,
    (account, books, quotas): (&str, &Books, Quotas),
    findings: &mut Findings,
) -> Result<u64, Failure> {
    let receipts = audit::receipts(control, account, &books.calls, findings).await?;
    let totals = control.usage(account, "quota").await?;
    for (unit, given) in quotas.given {
        let said = Said {
            receipts: sum(&receipts, |receipt| drawn(receipt, unit))?,
            totals: sum(&totals, |line| of_total(line, unit))?,
            node: used(caller, unit).await?,
        };
        said.check((account, unit, given), findings);
    }
    for receipt in &receipts {
        findings.check(is_drawn_once(receipt)?, || {
            format!("drawn of the quotas and not paid by them, or not once: {receipt}")
        });
    }
    sum(&receipts, |receipt| drawn(receipt, "calls"))
}

/// What was drawn of a quota, by each who tells it.
#[derive(Debug, Clone, Copy)]
struct Said {
    receipts: u64,
    totals: u64,
    node: u64,
}

impl Said {
    fn check(self, (account, unit, given): (&str, &str, u64), findings: &mut Findings) {
        findings.check(self.receipts <= given, || {
            format!("{account}: more than {given} {unit} of a quota: {self:?}")
        });
        let is_one = self.receipts == self.totals && self.receipts == self.node;
        findings.check(is_one, || {
            format!("{account}: the quota of {unit} has several figures: {self:?}")
        });
    }
}

fn sum(entries: &[Value], of: impl Fn(&Value) -> Result<u64, Failure>) -> Result<u64, Failure> {
    entries
        .iter()
        .try_fold(0, |sum, entry| Ok(sum + of(entry)?))
}

fn of_total(line: &Value, unit: &str) -> Result<u64, Failure> {
    let quota = &line["quota"];
    if quota["unit"] != unit {
        return Ok(0);
    }
    let drawn = quota["drawn"].as_str();
    Ok(drawn
        .ok_or_else(|| format!("nothing drawn: {line}"))?
        .parse()?)
}

/// Whether a call drew one call where the plan paid anything of it, and else nothing.
fn is_drawn_once(receipt: &Value) -> Result<bool, Failure> {
    let (calls, tokens) = (drawn(receipt, "calls")?, drawn(receipt, "tokens")?);
    let is_covered = nanos(&receipt["covered"])? > 0;
    Ok(calls == u64::from(is_covered) && (tokens > 0) == is_covered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(receipts: u64, totals: u64, node: u64) -> usize {
        let mut findings = Findings::default();
        let said = Said {
            receipts,
            totals,
            node,
        };
        said.check(("acc", "calls", 80), &mut findings);
        findings.list().len()
    }

    #[test]
    fn a_quota_has_one_figure_and_is_not_passed() {
        assert_eq!(found(80, 80, 80), 0);
        assert_eq!(found(81, 81, 81), 1);
        assert_eq!(found(79, 80, 80), 1);
        assert_eq!(found(80, 79, 80), 1);
        assert_eq!(found(80, 80, 79), 1);
    }

    #[test]
    fn a_call_draws_one_call_where_the_plan_pays() {
        let is_once = |covered: &str, calls: &str, tokens: &str| {
            let quotas = json!([
                { "unit": "calls", "drawn": calls },
                { "unit": "tokens", "drawn": tokens },
            ]);
            is_drawn_once(&json!({ "covered": covered, "quotas": quotas })).unwrap()
        };
        assert!(is_once("0.1", "1", "7") && is_once("0", "0", "0"));
        assert!(!is_once("0.1", "2", "7") && !is_once("0.1", "1", "0"));
        assert!(!is_once("0.1", "0", "7") && !is_once("0", "1", "7"));
    }
}
