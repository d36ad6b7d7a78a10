//! What the store decides about leases: readable examples, one sentence a test.

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::{AccountId, NodeId};
use billing_core::lease::{
    CLAIM_FOR, Claim, ClaimChange, Granting, Lease, LeaseAsk, LeaseReturn, LeaseSeq, LeasedBudget,
    grant, recalled, take_back,
};
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

const fn ask(node: i64, seq: u64, needed: u64, wanted: u64) -> LeaseAsk {
    LeaseAsk {
        node: NodeId::new(node),
        account: AccountId::new(1),
        scope: BudgetScope::Wallet,
        seq: LeaseSeq::new(seq),
        needed: Amount::new(needed),
        wanted: Amount::new(wanted),
        under_way: false,
    }
}

const fn lease(node: i64, amount: u64, seq: u64, granted: u64) -> Lease {
    Lease {
        node: NodeId::new(node),
        amount: Amount::new(amount),
        seq: LeaseSeq::new(seq),
        granted: Amount::new(granted),
    }
}

fn claim(node: i64, age_s: i64, wanted: u64) -> Claim {
    Claim {
        node: NodeId::new(node),
        since: NOW - Duration::seconds(age_s),
        wanted: Amount::new(wanted),
        expires_at: NOW + Duration::seconds(1),
    }
}

fn budget(available: u64, leases: &[Lease], claims: &[Claim]) -> LeasedBudget {
    LeasedBudget {
        coming: Amount::ZERO,
        stopped: false,
        available: Amount::new(available),
        leases: leases.to_vec(),
        claims: claims.to_vec(),
    }
}

#[test]
fn of_a_stopped_account_nothing_is_granted_but_said_again() {
    let before = Lease {
        node: NodeId::new(1),
        amount: Amount::new(30),
        seq: LeaseSeq::new(7),
        granted: Amount::new(30),
    };
    let mut stopped = budget(100, &[before], &[]);
    stopped.stopped = true;
    let repeated = LeaseAsk {
        seq: before.seq,
        ..ask(1, 7, 10, 10)
    };
    let granting = grant(&stopped, &repeated, NOW);
    assert_eq!(answer(&granting), (30, 0, 0));
    assert_eq!(granting.lease, None);
    let anew = LeaseAsk {
        seq: before.seq.next(),
        ..repeated
    };
    let granting = grant(&stopped, &anew, NOW);
    assert_eq!(answer(&granting), (0, 0, 0));
    assert_eq!(granting.lease.map(|l| l.amount), Some(before.amount));
    assert_eq!(granting.claim, ClaimChange::Keep);
}

fn answer(granting: &Granting) -> (u64, u64, u64) {
    let answer = granting.answer;
    (
        answer.granted.get(),
        answer.available.get(),
        answer.elsewhere.get(),
    )
}

#[test]
fn need_is_granted_whole_and_a_wish_at_most_half_of_what_is_there() {
    let needy = grant(&budget(100, &[], &[]), &ask(1, 1, 80, 90), NOW);
    assert_eq!(answer(&needy), (80, 20, 0));
    let eager = grant(&budget(100, &[], &[]), &ask(1, 1, 10, 90), NOW);
    assert_eq!(answer(&eager), (50, 50, 0));
    assert_eq!(eager.lease, Some(lease(1, 50, 1, 50)));
    let modest = grant(&budget(100, &[], &[]), &ask(1, 1, 10, 20), NOW);
    assert_eq!(answer(&modest), (20, 80, 0));
}

#[test]
fn a_node_that_wants_everything_gets_everything() {
    let all = grant(&budget(100, &[], &[]), &ask(1, 1, 10, u64::MAX), NOW);
    assert_eq!(answer(&all), (100, 0, 0));
}

#[test]
fn a_lease_grows_by_what_is_granted() {
    let first = lease(1, 30, 4, 30);
    let more = grant(&budget(100, &[first], &[]), &ask(1, 5, 20, 20), NOW);
    assert_eq!(more.lease, Some(lease(1, 50, 5, 20)));
}

#[test]
fn a_repeated_ask_is_answered_as_before_and_changes_nothing() {
    let own = lease(1, 5, 7, 30);
    let again = grant(&budget(60, &[own], &[]), &ask(1, 7, 30, 30), NOW);
    assert_eq!(answer(&again), (30, 60, 0));
    assert_eq!((again.lease, again.claim), (None, ClaimChange::Keep));
    let late = grant(&budget(60, &[own], &[]), &ask(1, 6, 30, 30), NOW);
    assert_eq!(answer(&late), (0, 60, 0));
    assert_eq!(late.lease, None);
}

#[test]
fn who_is_short_while_others_have_leases_claims_what_is_missing() {
    let other = lease(2, 70, 1, 70);
    let short = grant(&budget(10, &[other], &[]), &ask(1, 1, 30, 30), NOW);
    assert_eq!(answer(&short), (10, 0, 70));
    let put = Claim {
        node: NodeId::new(1),
        since: NOW,
        wanted: Amount::new(20),
        expires_at: NOW + CLAIM_FOR,
    };
    assert_eq!(short.claim, ClaimChange::Put(put));
    // The claim keeps its age while it is renewed, and starts anew after it has run out.
    let later = NOW + Duration::milliseconds(400);
    let again = grant(&budget(0, &[other], &[put]), &ask(1, 2, 20, 20), later);
    assert!(matches!(again.claim, ClaimChange::Put(c) if c.since == NOW));
    let gone = NOW + CLAIM_FOR;
    let anew = grant(&budget(0, &[other], &[put]), &ask(1, 3, 20, 20), gone);
    assert!(matches!(anew.claim, ClaimChange::Put(c) if c.since == gone));
    let served = grant(&budget(90, &[other], &[put]), &ask(1, 4, 20, 20), later);
    assert_eq!(served.claim, ClaimChange::Drop);
}

#[test]
fn a_call_that_is_under_way_goes_before_those_that_have_not_begun() {
    let others = [lease(2, 70, 1, 70), lease(3, 20, 1, 20)];
    let waits = claim(2, 5, 30);
    let under_way = LeaseAsk {
        under_way: true,
        ..ask(1, 1, 10, 10)
    };
    let short = grant(&budget(0, &others, &[waits]), &under_way, NOW);
    let ClaimChange::Put(first) = short.claim else {
        panic!("{short:?}");
    };
    assert_eq!(
        recalled(&others[0], &[waits, first], NOW),
        Amount::new(10),
        "who has it gives it, though it waits itself"
    );
    let again = grant(&budget(0, &others, &[waits, first]), &under_way, NOW);
    assert_eq!(again.claim, ClaimChange::Put(first));
    // What it waits for next, it waits for as others do.
    let next = grant(&budget(0, &others, &[waits, first]), &ask(1, 2, 5, 5), NOW);
    assert!(matches!(next.claim, ClaimChange::Put(c) if c.since == NOW));
}

#[test]
fn nobody_claims_what_nobody_has() {
    let short = grant(&budget(10, &[], &[]), &ask(1, 1, 30, 30), NOW);
    assert_eq!(answer(&short), (10, 0, 0));
    assert_eq!(short.claim, ClaimChange::Keep);
}

#[test]
fn what_an_older_claim_waits_for_is_not_granted_to_another() {
    let older = claim(2, 5, 30);
    let found = budget(50, &[], &[older]);
    let third = grant(&found, &ask(1, 1, 40, 40), NOW);
    assert_eq!(answer(&third), (20, 0, 30));
    let its_own = grant(&found, &ask(2, 1, 30, 30), NOW);
    assert_eq!(answer(&its_own), (30, 20, 0));
    let lapsed = Claim {
        expires_at: NOW,
        ..older
    };
    let after = grant(&budget(50, &[], &[lapsed]), &ask(1, 1, 40, 40), NOW);
    assert_eq!(answer(&after).0, 40);
}

#[test]
fn a_lease_is_recalled_for_older_claims_only() {
    let own = lease(1, 50, 1, 50);
    let (old, young) = (claim(2, 5, 30), claim(3, 1, 40));
    assert_eq!(recalled(&own, &[old], NOW), Amount::new(30));
    assert_eq!(recalled(&own, &[old, young], NOW), Amount::new(50));
    let mine = claim(1, 3, 10);
    assert_eq!(recalled(&own, &[old, mine, young], NOW), Amount::new(30));
    let later = NOW + Duration::seconds(1);
    assert_eq!(recalled(&own, &[old, young], later), Amount::ZERO);
}

#[test]
fn a_return_counts_once_and_frees_at_most_what_is_left() {
    let back = |seq, amount| LeaseReturn {
        node: NodeId::new(1),
        account: AccountId::new(1),
        scope: BudgetScope::Wallet,
        seq: LeaseSeq::new(seq),
        amount: Amount::new(amount),
    };
    let own = lease(1, 50, 3, 20);
    let (after, freed) = take_back(&own, &back(4, 30)).unwrap();
    assert_eq!((after, freed), (lease(1, 20, 4, 0), Amount::new(30)));
    assert_eq!(take_back(&after, &back(4, 30)), None);
    let (empty, freed) = take_back(&after, &back(5, 30)).unwrap();
    assert_eq!((empty.amount, freed), (Amount::ZERO, Amount::new(20)));
}
