//! What must hold of every answer of a race.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{OUTPUT, Timed};
use crate::Failure;
use crate::audit::{self, Books, charge_of};
use crate::call::{Ask, Caller};
use crate::figure::{nanos, text};
use crate::proof::Findings;

/// Everybody who holds a complete answer was charged what it says; nobody else was.
pub(crate) fn check_served(
    answers: &[Timed],
    books: &Books,
    receipts: &[Value],
    findings: &mut Findings,
) -> Result<usize, Failure> {
    let served = answers
        .iter()
        .map(|(answer, _)| answer)
        .filter(|answer| answer.is_complete());
    let (mut count, mut shown) = (0, 0);
    for answer in served {
        count += 1;
        shown += answer
            .cost_nanos()
            .ok_or_else(|| format!("no cost in {answer:?}"))?;
    }
    for (what, figure) in [
        ("answers", shown),
        ("receipts", audit::sum(receipts, "charge")?),
    ] {
        findings.check(figure == books.charged, || {
            format!(
                "{what} add up to {}, calls to {}",
                text(figure),
                text(books.charged)
            )
        });
    }
    findings.check(books.calls.len() == count, || {
        format!("{} calls on record, {count} served", books.calls.len())
    });
    Ok(count)
}

/// The most that a call of the run held or would have held: the same for all but a digit or two of
/// the model's name.
pub(crate) fn largest_hold(answers: &[Timed], receipts: &[Value]) -> Result<i128, Failure> {
    let wanted = answers
        .iter()
        .map(|(answer, _)| answer.error()["metadata"]["needed"].take());
    let wanted = wanted.filter(|needed| !needed.is_null());
    let held = receipts.iter().map(|receipt| receipt["held"].clone());
    let holds: Result<Vec<i128>, Failure> = wanted.chain(held).map(|hold| nanos(&hold)).collect();
    Ok(holds?.into_iter().max().unwrap_or_default())
}

/// No call was refused while the funds for its hold were free.
///
/// A refusal says what was left, the holds of running calls included. That must be less than what
/// the call needed; and it must be true: the wallet had no more than that left when the refusal
/// arrived, as told by the calls that were settled until then.
pub(crate) fn check_refused(
    answers: &[Timed],
    funds: i128,
    receipts: &[Value],
    findings: &mut Findings,
) -> Result<(usize, usize), Failure> {
    let settled = settled_at(receipts)?;
    let (mut insufficient, mut busy) = (0, 0);
    for (answer, at) in answers.iter().filter(|(answer, _)| !answer.is_complete()) {
        let metadata = &answer.error()["metadata"];
        match (answer.status, answer.code().as_str()) {
            (402, "insufficient_quota") => {
                insufficient += 1;
                let (needed, left) = (nanos(&metadata["needed"])?, nanos(&metadata["left"])?);
                let spent: i128 = settled
                    .iter()
                    .filter(|(when, _)| when <= at)
                    .map(|(_, charge)| charge)
                    .sum();
                let there = funds - spent;
                findings.check(left < needed && left <= funds, || {
                    format!("refused with {} of {} left", text(left), text(needed))
                });
                findings.check(there <= left, || {
                    format!(
                        "refused with {} left, but there were {}",
                        text(left),
                        text(there)
                    )
                });
            }
            (429, "funds_in_use") => {
                busy += 1;
                // The gate lets a call wait for five seconds unless it is configured otherwise.
                findings.check(answer.took.as_secs() >= 5, || {
                    format!(
                        "funds were in use, and the call waited {:?} only",
                        answer.took
                    )
                });
            }
            _ => findings.check(false, || format!("neither served nor refused: {answer:?}")),
        }
    }
    Ok((insufficient, busy))
}

pub(crate) fn settled_at(receipts: &[Value]) -> Result<Vec<(OffsetDateTime, i128)>, Failure> {
    let one = |call: &Value| {
        let at = call["settled_at"]
            .as_str()
            .ok_or_else(|| format!("no settled_at: {call}"))?;
        Ok((OffsetDateTime::parse(at, &Rfc3339)?, charge_of(call)?))
    };
    receipts.iter().map(one).collect()
}

/// With nothing running, the edge is sharp: a call that needs all but less than one token's price
/// of what is left is served, and one that needs a token more is refused, with true figures.
pub(crate) async fn edge(
    caller: &Caller,
    balance: i128,
    stream: bool,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let ask = |limit: i128| {
        let limit = u64::try_from(limit).unwrap_or(1);
        // One length for every limit, so that the prompt is bounded by one figure.
        let padding = "x".repeat(12_usize.saturating_sub(limit.to_string().len()));
        let mut ask = Ask::of("sim/lorem?tokens=3")
            .streamed(stream)
            .at_most(limit);
        ask.prompt.push_str(&padding);
        ask
    };
    let far = 10 + balance / OUTPUT;
    let refused = caller.call(&ask(far)).await;
    let metadata = &refused.error()["metadata"];
    findings.check(refused.status == 402, || {
        format!("too dear, and not refused: {refused:?}")
    });
    let (needed, left) = (nanos(&metadata["needed"])?, nanos(&metadata["left"])?);
    findings.check(left == balance, || {
        format!(
            "{} left, says the refusal; {}, say the books",
            text(left),
            text(balance)
        )
    });
    let fits = (balance - (needed - far * OUTPUT)) / OUTPUT;
    if fits < 1 {
        findings.check(false, || {
            format!("the rest of {} is too small to probe", text(balance))
        });
        return Ok(());
    }
    let over = caller.call(&ask(fits + 1)).await;
    findings.check(over.status == 402, || {
        format!("a token too many, not refused: {over:?}")
    });
    let under = caller.call(&ask(fits)).await;
    findings.check(under.is_complete(), || {
        let wanted = json!({ "balance": text(balance), "max_tokens": fits });
        format!("the funds were free, and it was refused: {wanted} {under:?}")
    });
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
