//! The books of a cluster's payers, compared with what their callers saw.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::node::Node;
use super::{Cluster, Payer, SILENCE_S};
use crate::Failure;
use crate::audit::{self, Books, charge_of};
use crate::call::Ask;
use crate::control::{Control, id_of};
use crate::figure::text;
use crate::proof::Findings;
use crate::race::OUTPUT;
use crate::seen::{Compared, Seen};
use crate::subscribed::Quotas;
use crate::tariff::used;

/// How long calls that were answered while the database was away may take to be on record.
const RECORD: Duration = Duration::from_secs(30);
/// For how long the record must not grow to be taken for whole.
const QUIET: Duration = Duration::from_millis(300);
/// How long the leases of dead nodes may take to be free again.
const FREE: Duration = Duration::from_secs(SILENCE_S + 5);
/// More than the prompt of a short question is held for, in nanos.
const PROMPT: i128 = 1_000_000;
/// And in tokens.
const PROMPT_TOKENS: u64 = 300;

/// Waits until every complete answer is on record and nothing more comes, then audits the account
/// and compares it with what was seen; where it is in price tiers, answers may have shown no cost.
///
/// # Errors
/// The books cannot be read.
pub async fn compare(
    control: &Control,
    payer: &Payer,
    (seen, in_tiers): (&Seen, bool),
    findings: &mut Findings,
) -> Result<(Compared, Books), Failure> {
    let deadline = Instant::now() + RECORD;
    let mut before = usize::MAX;
    loop {
        let calls = control.calls(&payer.account).await?;
        let ids: BTreeSet<String> = calls.iter().map(id_of).collect::<Result<_, _>>()?;
        let whole = seen.complete().all(|id| ids.contains(id));
        if (whole && ids.len() == before) || Instant::now() > deadline {
            break;
        }
        before = ids.len();
        tokio::time::sleep(QUIET).await;
    }
    let books = audit::audit(control, &payer.account, payer.funds, findings).await?;
    let charged: Result<Vec<(String, i128)>, Failure> = books
        .calls
        .iter()
        .map(|call| Ok((id_of(call)?, charge_of(call)?)))
        .collect();
    let charged = charged?;
    let compared = if in_tiers {
        seen.compare_in_tiers(&charged, findings)
    } else {
        seen.compare(&charged, findings)
    };
    Ok((compared, books))
}

/// With nothing running, nothing is held of a plan's quotas, and what dead nodes had on lease of them is
/// back: a call whose worst case is nearly all tokens that are left is paid by the plan, at any node.
///
/// Says whether so much was left that it could be asked.
///
/// # Errors
/// The node could not be asked.
pub async fn nearly_all_quota_is_free(
    node: &Node,
    payer: &Payer,
    quotas: Quotas,
    findings: &mut Findings,
) -> Result<bool, Failure> {
    let caller = payer.caller(node)?;
    let start = Instant::now();
    loop {
        let mut left = [0; 2];
        for (left, (unit, given)) in left.iter_mut().zip(quotas.given) {
            *left = given.saturating_sub(used(&caller, unit).await?);
        }
        let [calls, tokens] = left;
        let Some(limit @ 3..) = tokens.checked_sub(PROMPT_TOKENS).filter(|_| calls > 0) else {
            return Ok(false);
        };
        let ask = Ask::of("sim/lorem?tokens=3").at_most(limit);
        let answer = caller.call(&ask).await;
        if answer.is_complete() && answer.cost_nanos() == Some(0) {
            return Ok(true);
        }
        if start.elapsed() > FREE {
            let at = node.name();
            findings.check(false, || {
                format!(
                    "{tokens} tokens of a quota are left and nothing runs, but at {at} they \
                    are not free: {answer:?}"
                )
            });
            return Ok(true);
        }
        tokio::time::sleep(QUIET).await;
    }
}

/// With nothing running, nothing is held, and what dead nodes had on lease is back: a call whose
/// worst case is nearly all that is left of a purse is served, by any node.
///
/// # Errors
/// The node could not be asked.
pub async fn nearly_all_is_free(
    cluster: &Cluster,
    node: usize,
    payer: &Payer,
    left: i128,
    findings: &mut Findings,
) -> Result<(), Failure> {
    // The prompt is bounded by half of the body's bytes, which are a few hundred.
    let Ok(limit @ 3..) = u64::try_from((left - PROMPT) / OUTPUT) else {
        return Ok(());
    };
    let at = cluster.nodes.get(node).ok_or("there is no such node")?;
    let caller = payer.caller(at)?;
    let ask = Ask::of("sim/lorem?tokens=3").at_most(limit);
    let start = Instant::now();
    loop {
        let answer = caller.call(&ask).await;
        if answer.is_complete() {
            return Ok(());
        }
        if start.elapsed() > FREE {
            let (left, at) = (text(left), at.name());
            findings.check(false, || {
                format!("{left} is left and nothing runs, but at {at} it is not free: {answer:?}")
            });
            return Ok(());
        }
        tokio::time::sleep(QUIET).await;
    }
}
