//! What must hold of every answer of a race on a plan.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;

use super::{OnPlan, QUOTA_CALLS, QUOTA_TOKENS};
use crate::Failure;
use crate::audit::Books;
use crate::call::{Ask, Caller};
use crate::figure::{nanos, text};
use crate::proof::Findings;
use crate::race::Timed;
use crate::tariff::{drawn, used};

/// What the receipts say.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) calls: u64,
    pub(super) tokens: u64,
    pub(super) covered_whole: u64,
    pub(super) covered_partly: u64,
}

/// What a call of it may come to, in tokens: half of its body's bytes, a template, and its limit.
pub(super) fn most_tokens(ask: &Ask) -> Result<u64, Failure> {
    let input = u64::try_from(ask.body().len().div_ceil(2) + 32)?;
    Ok(input + ask.max_tokens.ok_or("no limit to go by")?)
}

/// Each call costs the tier's price. Its quotas pay the share of it that the tokens drawn are of all
/// its tokens, and it draws one call where they pay anything; the wallet pays the rest, rounded half
/// to even. Says what all drew of them.
pub(super) fn check_receipts(
    receipts: &[Value],
    price: i128,
    findings: &mut Findings,
) -> Result<Drawn, Failure> {
    let mut all = Drawn::default();
    for receipt in receipts {
        let (calls, drawn, tokens) = (
            drawn(receipt, "calls")?,
            drawn(receipt, "tokens")?,
            tokens_of(receipt)?,
        );
        let rest = tokens.saturating_sub(drawn);
        let due = share(price, rest, tokens).ok_or_else(|| format!("no tokens: {receipt}"))?;
        let covered = nanos(&receipt["covered"])?;
        let is_exact = drawn <= tokens
            && calls == u64::from(drawn > 0)
            && (covered, nanos(&receipt["charge"])?) == (price - due, due)
            && nanos(&receipt["overrun"])? == 0;
        findings.check(is_exact, || {
            format!("not at the price of {}: {receipt}", text(price))
        });
        all.calls += calls;
        all.tokens += drawn;
        all.covered_whole += u64::from(due == 0);
        all.covered_partly += u64::from(drawn > 0 && due > 0);
    }
    Ok(all)
}

/// The tokens of a call, prompt and answer.
fn tokens_of(receipt: &Value) -> Result<u64, Failure> {
    let lines = receipt["lines"].as_array().into_iter().flatten();
    let mut sum = 0;
    for line in lines.filter(|line| line["unit"] == "token") {
        sum += line["quantity"].as_u64().ok_or("no quantity")?;
    }
    Ok(sum)
}

/// The share of an amount that a part is of a whole, rounded half to even; none of nothing.
fn share(amount: i128, part: u64, whole: u64) -> Option<i128> {
    let (product, whole) = (amount * i128::from(part), i128::from(whole));
    let (down, rest) = (product.checked_div(whole)?, product.checked_rem(whole)?);
    let is_up = match (rest * 2).cmp(&whole) {
        Ordering::Less => false,
        Ordering::Equal => down % 2 != 0,
        Ordering::Greater => true,
    };
    Some(down + i128::from(is_up))
}

/// Neither quota is passed, and one of them has no room for another call.
pub(super) fn check_full(drawn: Drawn, most: u64, findings: &mut Findings) {
    findings.check(
        drawn.calls <= QUOTA_CALLS && drawn.tokens <= QUOTA_TOKENS,
        || format!("more than the quotas: {drawn:?}"),
    );
    findings.check(
        drawn.calls == QUOTA_CALLS || drawn.tokens + most > QUOTA_TOKENS,
        || format!("another call of {most} tokens would have fitted: {drawn:?}"),
    );
}

/// Who was not served was refused as the plan says, and nobody else was.
pub(super) fn check_refused(answers: &[Timed], purse: OnPlan, findings: &mut Findings) -> usize {
    let mut codes: BTreeMap<(u16, String), usize> = BTreeMap::new();
    for (answer, _) in answers.iter().filter(|(answer, _)| !answer.is_complete()) {
        *codes.entry((answer.status, answer.code())).or_default() += 1;
    }
    let (status, code) = purse.refusal();
    let refused = codes.remove(&(status, code.to_owned())).unwrap_or(0);
    findings.check(codes.is_empty(), || {
        format!("neither served nor refused with {status} {code}: {codes:?}")
    });
    refused
}

/// What the answers showed is what was charged.
pub(super) fn check_answers(answers: &[Timed], books: &Books, findings: &mut Findings) {
    let served = answers.iter().filter(|(answer, _)| answer.is_complete());
    let costs: Vec<Option<i128>> = served.map(|(answer, _)| answer.cost_nanos()).collect();
    let shown = costs.iter().copied().sum::<Option<i128>>();
    findings.check(
        shown == Some(books.charged) && costs.len() == books.calls.len(),
        || {
            let (calls, charged) = (books.calls.len(), text(books.charged));
            let shown = shown.map(text);
            format!(
                "{} answers show {shown:?}, {calls} calls cost {charged}",
                costs.len()
            )
        },
    );
}

/// What a node tells of the quotas is what receipts drew of them.
pub(super) async fn check_used(
    caller: &Caller,
    drawn: Drawn,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let told = (used(caller, "calls").await?, used(caller, "tokens").await?);
    findings.check(told == (drawn.calls, drawn.tokens), || {
        format!("{told:?} of the quotas are used, says the node; receipts drew {drawn:?}")
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(calls: u64, tokens: u64) -> usize {
        let mut findings = Findings::default();
        let drawn = Drawn {
            calls,
            tokens,
            covered_whole: calls,
            covered_partly: 0,
        };
        check_full(drawn, 150, &mut findings);
        findings.list().len()
    }

    #[test]
    fn a_quota_is_used_up_and_never_passed() {
        assert_eq!(found(100, 2_000), 0);
        assert_eq!(found(70, 9_851), 0);
        assert_eq!(found(99, 9_850), 1);
        assert_eq!(found(101, 2_000), 2);
        assert_eq!(found(100, 10_001), 1);
    }

    fn found_in(quotas: (u64, u64), covered: &str, charge: &str) -> usize {
        let receipt = json!({
            "covered": { "amount": covered, "currency": "USD" },
            "charge": { "amount": charge, "currency": "USD" },
            "overrun": { "amount": "0", "currency": "USD" },
            "lines": [{ "unit": "token", "quantity": 3 }, { "unit": "token", "quantity": 5 }],
            "quotas": [
                { "unit": "calls", "drawn": quotas.0.to_string() },
                { "unit": "tokens", "drawn": quotas.1.to_string() },
            ],
        });
        let mut findings = Findings::default();
        let drawn = check_receipts(&[receipt], 500, &mut findings).unwrap();
        assert_eq!((drawn.calls, drawn.tokens), quotas);
        findings.list().len()
    }

    #[test]
    fn a_call_costs_the_tiers_price_or_what_the_plan_leaves_of_it() {
        assert_eq!(found_in((1, 8), "0.0000005", "0"), 0);
        assert_eq!(found_in((0, 0), "0", "0.0000005"), 0);
        // 437.5 of 500 are covered, and 312.5: the rest is rounded half to even.
        assert_eq!(found_in((1, 7), "0.000000438", "0.000000062"), 0);
        assert_eq!(found_in((1, 5), "0.000000312", "0.000000188"), 0);
    }

    #[test]
    fn any_other_price_or_draw_is_found() {
        assert_eq!(found_in((1, 7), "0.000000437", "0.000000063"), 1);
        assert_eq!(found_in((1, 7), "0.0000005", "0"), 1);
        assert_eq!(found_in((0, 0), "0", "0.000001"), 1);
        assert_eq!(found_in((0, 0), "0", "0"), 1);
        assert_eq!(found_in((1, 0), "0", "0.0000005"), 1);
        assert_eq!(found_in((0, 8), "0.0000005", "0"), 1);
        assert_eq!(found_in((1, 9), "0.0000005", "0"), 1);
    }
}
