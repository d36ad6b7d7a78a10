//! The comparison finds what it is for.

use super::*;

/// What is found when a client holds an answer of 5 nanos and one call was interrupted.
fn compared(charged: &[(&str, i128)]) -> (Compared, usize) {
    let complete = BTreeMap::from([("a".to_owned(), 5)]);
    let seen = Seen {
        complete,
        unheard: 1,
        ..Seen::default()
    };
    let charged: Vec<(String, i128)> = charged
        .iter()
        .map(|(id, nanos)| ((*id).to_owned(), *nanos))
        .collect();
    let mut findings = Findings::default();
    let compared = seen.compare(&charged, &mut findings);
    (compared, findings.list().len())
}

#[test]
fn an_answer_charged_once_is_right_and_an_interrupted_call_may_be_charged() {
    assert_eq!(compared(&[("a", 5)]).1, 0);
    let (became, found) = compared(&[("a", 5), ("b", 9)]);
    assert_eq!((became.interrupted_charged, found), (1, 0));
}

#[test]
fn an_answer_that_was_not_charged_what_it_shows_is_lost() {
    for charged in [&[][..], &[("a", 4)]] {
        let (became, found) = compared(charged);
        assert_eq!((became.lost, found), (1, 1));
    }
}

#[test]
fn a_call_charged_twice_and_a_call_of_nobody_are_found() {
    let (became, found) = compared(&[("a", 5), ("a", 5)]);
    assert_eq!((became.double, found), (1, 1));
    assert_eq!(compared(&[("a", 5), ("b", 1), ("c", 1)]).1, 1);
}

#[test]
fn an_answer_without_a_cost_is_right_in_tiers_alone_and_only_on_record() {
    let seen = Seen {
        untold: BTreeSet::from(["a".to_owned()]),
        ..Seen::default()
    };
    let charged = [("a".to_owned(), 5)];
    let found = |in_tiers: bool, charged: &[(String, i128)]| {
        let mut findings = Findings::default();
        let compared = if in_tiers {
            seen.compare_in_tiers(charged, &mut findings)
        } else {
            seen.compare(charged, &mut findings)
        };
        assert_eq!(compared.completed, 1);
        (compared.lost, findings.list().len())
    };
    assert_eq!(found(true, &charged), (0, 0));
    assert_eq!(found(false, &charged), (0, 1));
    assert_eq!(found(true, &[]), (1, 1));
}
