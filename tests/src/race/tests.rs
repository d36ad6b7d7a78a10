//! The checks find what they are for.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use super::{Timed, check_refused, check_served};
use crate::audit::Books;
use crate::call::{Answer, Ending};
use crate::proof::Findings;

const NOON: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

fn refused(needed: &str, left: &str) -> Timed {
    let metadata = json!({ "needed": needed, "left": left });
    let body = json!({ "error": { "code": "insufficient_quota", "metadata": metadata } });
    (answer(402, &body), NOON)
}

fn answer(status: u16, body: &Value) -> Answer {
    Answer {
        status,
        id: Some("req_1".to_owned()),
        headers: HeaderMap::new(),
        body: body.to_string(),
        ending: Ending::Whole,
        took: Duration::ZERO,
    }
}

fn receipt(charge: &str, settled_at: &str) -> Value {
    json!({ "charge": charge, "held": "0.5", "settled_at": settled_at })
}

/// What is found of refusals, with funds of $1.
fn found(answers: &[Timed], receipts: &[Value]) -> usize {
    let mut findings = Findings::default();
    check_refused(answers, 1_000_000_000, receipts, &mut findings).unwrap();
    findings.list().len()
}

#[test]
fn a_refusal_for_want_of_funds_is_right() {
    let before = [receipt("0.8", "2026-11-22T11:59:59Z")];
    assert_eq!(found(&[refused("0.5", "0.2")], &before), 0);
}

#[test]
fn a_refusal_with_enough_left_is_found() {
    let before = [receipt("0.4", "2026-11-22T11:59:59Z")];
    assert_eq!(found(&[refused("0.5", "0.6")], &before), 1);
}

#[test]
fn a_refusal_that_says_less_than_was_there_is_found() {
    let later = [receipt("0.8", "2026-11-22T12:00:01Z")];
    assert_eq!(found(&[refused("0.5", "0.2")], &later), 1);
}

#[test]
fn an_impatient_or_unknown_refusal_is_found() {
    let busy = json!({ "error": { "code": "funds_in_use", "metadata": {} } });
    assert_eq!(found(&[(answer(429, &busy), NOON)], &[]), 1);
    assert_eq!(found(&[(answer(500, &Value::Null), NOON)], &[]), 1);
}

#[test]
fn an_answer_that_was_not_charged_is_found() {
    let served = answer(
        200,
        &json!({ "usage": { "cost": 0.3, "cost_nanos": 300_000_000 } }),
    );
    let books = Books {
        calls: vec![],
        charged: 0,
        balance: 1_000_000_000,
    };
    let mut findings = Findings::default();
    check_served(&[(served, NOON)], &books, &[], &mut findings).unwrap();
    assert_eq!(findings.list().len(), 2, "{findings:?}");
}
