//! What fees of a subscription are documented by, for any fees, taxes and payments.

use std::collections::BTreeSet;

use billing_core::charge_model::Percent;
use billing_core::fee_payment::{Reckoned, reckon};
use billing_core::id::{AccountId, CreditNoteId, InvoiceId, LotId, PlanId, PlanVersionId};
use billing_core::id::{LedgerTxnId, SubscriptionId};
use billing_core::invoice::{
    AppliedCredit, BillTo, Discount, FeeDocuments, FeeDocumentsError, GiveBackError, InvoiceError,
    Invoiced, Invoicing, LeftOpen, NoteIssue, NotePlan, Off, Party, TaxRate, TaxTable,
    TaxTreatment, Taxes,
};
use billing_core::money::{Currency, Minor, Nanos};
use billing_core::period::Period;
use billing_core::plan::{AfterQuota, Billing, PlanTerms, PlanVersion, RateLimits};
use billing_core::settlement::Booking;
use billing_core::subscription::{EndReason, Fee, FeeKind, Start, Subscription};
use billing_core::wallet::{AccountStatus, Lot, LotKind, Wallet};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

use super::cases;
use super::parts::{drawn, entries_balance};
use billing_core::budget::Amount;

const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const USD: Currency = Currency::USD;

fn house(percent: &str, included: bool) -> Invoicing {
    let treatment = TaxTreatment::Taxed {
        rates: vec![TaxRate {
            name: "VAT".to_owned(),
            jurisdiction: "CN".to_owned(),
            percent: percent.parse().unwrap(),
            included,
        }],
    };
    Invoicing {
        taxes: TaxTable::new(Vec::new(), treatment).unwrap(),
        ..Invoicing::default()
    }
}

fn subscription() -> Subscription {
    let version = PlanVersion {
        id: PlanVersionId::new(1),
        plan: PlanId::new(1),
        number: 1,
        terms: PlanTerms {
            currency: USD,
            price: Nanos::new(9_000_000_000),
            billing: Billing::Every("P1M".parse().unwrap()),
            trial_days: 0,
            call_limit: None,
            quotas: Vec::new(),
            after_quota: AfterQuota::Wallet,
            included_credit: Nanos::ZERO,
            discount: None,
            rate_limits: RateLimits::default(),
            speed_boost: false,
            features: Vec::new(),
        },
        quotas: Vec::new(),
        published_at: Some(EPOCH),
        archived_at: None,
    };
    let start = Start {
        id: SubscriptionId::new(1),
        account: AccountId::new(1),
        version: &version,
        quantity: 1,
        zone: "UTC".parse().unwrap(),
        may_try: false,
    };
    Subscription::start(start, EPOCH).unwrap().0
}

/// An invoice's id follows those before it, as its number does.
fn bill_to<'a>(house: &'a Invoicing, earlier: &[Invoiced]) -> BillTo<'a> {
    let number = i64::try_from(earlier.len()).unwrap();
    BillTo {
        house,
        buyer: house.unnamed_buyer(AccountId::new(1), "上海示例科技有限公司"),
        invoice: InvoiceId::new(number.checked_add(1).unwrap()),
        plan: PlanId::new(1),
        subject: "Pro".to_owned(),
        discounts: Vec::new(),
        earlier: earlier.to_vec(),
    }
}

/// Coupons: one of a percentage, then one of an amount from a minimum on, neither where it is zero.
fn coupons(percent: u32, amount: i64, minimum: i64) -> Vec<Discount> {
    let new = |off, minimum| Discount {
        name: "Spring".to_owned(),
        code: Some("SPRING".parse().unwrap()),
        off,
        minimum,
        plans: BTreeSet::new(),
    };
    let share = Off::Percent(Percent::whole(percent));
    let fixed = Off::Amount(Minor::new(amount));
    let all = [
        (percent > 0).then(|| new(share, None)),
        (amount > 0).then(|| new(fixed, Some(Minor::new(minimum)))),
    ];
    all.into_iter().flatten().collect()
}

/// What they come to, reckoned another way.
fn coupons_come_to((percent, amount, minimum): (u32, i64, i64), price: i64) -> i64 {
    let half = i64::from(percent).checked_mul(price).unwrap();
    let share = half.checked_add(50).unwrap().checked_div(100).unwrap();
    let left = price.saturating_sub(share);
    let fixed = if price >= minimum {
        amount.min(left)
    } else {
        0
    };
    share.saturating_add(fixed)
}

fn fees(at: OffsetDateTime, amounts: &[(FeeKind, i64)]) -> Vec<Fee> {
    let period = Period {
        start: at,
        end: at.saturating_add(Duration::days(30)),
    };
    let fee = |(kind, amount): &(FeeKind, i64)| Fee {
        key: format!("sub_1:{}:{kind:?}", at.unix_timestamp()),
        kind: *kind,
        period,
        amount: *amount,
    };
    amounts.iter().map(fee).collect()
}

/// Makes what documents fees final, as a store does, and pays it where that is said; answers with what
/// moved, in minor units: what was asked for less what was given back, and what of that the wallet has.
fn settle(
    house: &Invoicing,
    earlier: &mut Vec<Invoiced>,
    documents: FeeDocuments,
    (is_paid, at): (bool, OffsetDateTime),
) -> (i64, i64) {
    match documents {
        FeeDocuments::Nothing => (0, 0),
        FeeDocuments::Invoice(made) => {
            let unearned = made.draft.deferrals().unwrap();
            let before = u64::try_from(earlier.len()).unwrap();
            let number = house.invoices.series(at).after(Some(before));
            let issued = made.draft.finalize(house.issue(number, at), &[]).unwrap();
            assert!(entries_balance(&issued.entries));
            let mut invoice = issued.invoice;
            let due = invoice.owed.total().unwrap();
            if is_paid && due > Minor::ZERO {
                let credit = AppliedCredit::Wallet(drawn(due, USD, LotKind::Paid));
                invoice = invoice.apply(credit, at).unwrap().invoice;
            }
            for taken in made.taken {
                let of = earlier.iter_mut().find(|of| of.id() == taken.invoice);
                let mut lines = of.unwrap().unearned.iter_mut();
                lines.find(|(line, _)| *line == taken.line).unwrap().1 = taken.rest;
            }
            assert_eq!(invoice.check(), Ok(()));
            let notes = Vec::new();
            let new = Invoiced {
                invoice,
                notes,
                unearned,
            };
            earlier.insert(0, new);
            (due.get(), 0)
        }
        FeeDocuments::Notes(notes) => {
            let (mut total, mut back) = (0_i64, 0_i64);
            for plan in notes.plans {
                let shown = plan.gives_back().unwrap();
                let issue = NoteIssue {
                    id: CreditNoteId::new(1),
                    number: house.credit_notes.series(at).after(None),
                    at,
                    lot: LotId::new(1),
                    now: at,
                };
                let made = plan.issue(issue).unwrap();
                assert!(entries_balance(&made.entries));
                assert_eq!((made.note.total, made.note.back), (shown.total, shown.back));
                let lot = made.lot.map_or(0, |lot| lot.remaining.get());
                assert_eq!(Amount::of(shown.back.nanos(USD).unwrap()).get(), lot);
                total = total.checked_sub(made.note.total.get()).unwrap();
                back = back.checked_add(made.note.back.get()).unwrap();
                let of = earlier
                    .iter_mut()
                    .find(|of| of.id() == plan.of.id())
                    .unwrap();
                assert_eq!(made.invoice.check(), Ok(()));
                of.invoice = made.invoice;
                of.notes.push(made.note);
                for (line, rest) in made.unearned {
                    let mut lines = of.unearned.iter_mut();
                    lines.find(|(of, _)| *of == line).unwrap().1 = rest;
                }
            }
            (total, back)
        }
    }
}

fn left(earlier: &[Invoiced]) -> i64 {
    let lines = earlier.iter().flat_map(|of| of.creditable().unwrap());
    lines.map(|(_, left)| left.get()).sum()
}

fn unearned(earlier: &[Invoiced]) -> i64 {
    let lines = earlier.iter().flat_map(|of| &of.unearned);
    let left: Vec<i64> = lines.map(|(_, left)| left.left.get()).collect();
    assert!(left.iter().all(|left| *left >= 0), "{left:?}");
    left.iter().sum()
}

proptest! {
    #![proptest_config(cases(300))]

    /// What fees are shown to come to, by coupons or without, is what their documents ask for and give back; nothing is given
    /// back that was not charged, and nothing is earned that was.
    #[test]
    fn fees_come_to_what_their_documents_say(
        percent in prop::sample::select(vec!["0", "13", "19", "5.5"]),
        included in any::<bool>(),
        off in (0..=100_u32, 0..900_i64, 0..2_000_i64),
        steps in prop::collection::vec(
            (0..3_000_i64, 0..3_000_i64, any::<bool>(), any::<bool>()), 1..12),
    ) {
        let house = house(percent, included);
        let subscription = subscription();
        let mut earlier: Vec<Invoiced> = Vec::new();
        let (mut asked, mut at) = (0_i64, EPOCH);
        for (charge, credit, is_paid, is_whole) in steps {
            at = at.saturating_add(Duration::days(3));
            // What is prorated has its discount inside already.
            let kind = if is_whole { FeeKind::Plan } else { FeeKind::Rest };
            let amounts = [(FeeKind::Unused, 0_i64.saturating_sub(credit)), (kind, charge)];
            let fees = fees(at, &amounts);
            let discount = if is_whole { coupons_come_to(off, charge) } else { 0 };
            let net = charge.saturating_sub(credit).saturating_sub(discount);
            let before = (left(&earlier), unearned(&earlier));
            let of = (&subscription, USD);
            let bill_to = BillTo {
                discounts: coupons(off.0, off.1, off.2),
                ..bill_to(&house, &earlier)
            };
            let documents = bill_to.documents(of, &fees, at);
            if net < 0 && net.saturating_neg() > before.0 {
                let refused = GiveBackError::NotCharged {
                    back: Minor::new(net.saturating_neg()),
                    left: Minor::new(before.0),
                };
                prop_assert_eq!(documents, Err(FeeDocumentsError::GiveBack(refused)));
                continue;
            }
            let documents = documents.unwrap();
            prop_assert_eq!(documents.discount(), Ok(Minor::new(discount)));
            let taxes = documents.taxes().unwrap();
            let (due, back) = (documents.due(), documents.back().unwrap());
            let shown = net.checked_add(taxes.on_top).unwrap();
            prop_assert_eq!(due.get(), shown.max(0));
            if percent == "0" { prop_assert_eq!(taxes, Taxes::default()) }
            if included { prop_assert_eq!(taxes.on_top, 0) } else { prop_assert_eq!(taxes.on_top, taxes.all) }
            let (total, given) = settle(&house, &mut earlier, documents, (is_paid, at));
            prop_assert_eq!((total, given), (shown, back.get()));
            prop_assert!(given <= shown.min(0).saturating_neg());
            asked = asked.checked_add(total).unwrap();
            prop_assert!(asked >= 0, "more was given back than was charged");
            // What is left to be given back has moved as the fees did.
            prop_assert_eq!(left(&earlier), before.0.saturating_add(net));
            if net < 0 { prop_assert!(unearned(&earlier) <= before.1) }
        }
    }

    /// All that was charged can be given back, taxes to the last unit, and then nothing more.
    #[test]
    fn all_of_it_goes_back_once(
        percent in prop::sample::select(vec!["0", "13", "19", "5.5"]),
        included in any::<bool>(),
        charges in prop::collection::vec(1..3_000_i64, 1..6),
        parts in prop::collection::vec(1..2_000_i64, 0..6),
    ) {
        let house = house(percent, included);
        let subscription = subscription();
        let mut earlier: Vec<Invoiced> = Vec::new();
        let (mut asked, mut at) = (0_i64, EPOCH);
        let amounts = charges.iter().map(|charge| (FeeKind::Plan, *charge));
        let amounts = amounts.chain(parts.iter().map(|part| (FeeKind::Unused, 0_i64.saturating_sub(*part))));
        for (kind, amount) in amounts.collect::<Vec<_>>() {
            at = at.saturating_add(Duration::days(1));
            let left = left(&earlier);
            let amount = amount.max(0_i64.saturating_sub(left));
            let fees = fees(at, &[(kind, amount)]);
            let documents = bill_to(&house, &earlier).documents((&subscription, USD), &fees, at);
            let moved = settle(&house, &mut earlier, documents.unwrap(), (true, at));
            asked = asked.checked_add(moved.0).unwrap();
        }
        let rest = left(&earlier);
        let fees = fees(at, &[(FeeKind::Unused, 0_i64.saturating_sub(rest))]);
        let documents = bill_to(&house, &earlier).documents((&subscription, USD), &fees, at);
        let moved = settle(&house, &mut earlier, documents.unwrap(), (true, at));
        prop_assert_eq!(asked.checked_add(moved.0), Some(0));
        prop_assert_eq!((left(&earlier), unearned(&earlier)), (0, 0));
        // One cent more is refused.
        let more = self::fees(at, &[(FeeKind::Unused, -1)]);
        let refused = bill_to(&house, &earlier).documents((&subscription, USD), &more, at);
        let refusal = GiveBackError::NotCharged { back: Minor::new(1), left: Minor::ZERO };
        prop_assert_eq!(refused, Err(FeeDocumentsError::GiveBack(refusal)));
    }
}

/// What nothing was given for is void; what was used without being paid counts.
#[test]
fn what_is_left_open_is_void_only_where_nothing_was_given_for_it() {
    let (house, subscription) = (house("13", false), subscription());
    let issued = |at: OffsetDateTime| {
        let fees = fees(at, &[(FeeKind::Plan, 900)]);
        let mut earlier = Vec::new();
        let documents = bill_to(&house, &earlier).documents((&subscription, USD), &fees, at);
        settle(&house, &mut earlier, documents.unwrap(), (false, at));
        earlier.remove(0)
    };
    let first = issued(subscription.started_at);
    let later = issued(subscription.started_at.saturating_add(Duration::days(30)));
    let left = |of: &Invoiced, why| of.invoice.left_open(&subscription, why).unwrap();
    assert_eq!(left(&first, EndReason::Unpaid), LeftOpen::Void);
    assert_eq!(left(&later, EndReason::NeverPaid), LeftOpen::Void);
    assert_eq!(left(&later, EndReason::Unpaid), LeftOpen::GivenUp);
    assert_eq!(left(&later, EndReason::Cancelled), LeftOpen::GivenUp);
    assert_eq!(later.invoice.check_voidable(), Ok(()));
    // A part of it was given back, so it counts.
    let plan = NotePlan {
        lines: vec![(0, Minor::new(100))],
        reason: "goodwill".to_owned(),
        key: "ticket".to_owned(),
        of: first,
    };
    let made = plan.issue(NoteIssue {
        id: CreditNoteId::new(1),
        number: house.credit_notes.series(EPOCH).after(None),
        at: EPOCH,
        lot: LotId::new(1),
        now: EPOCH,
    });
    let credited = made.unwrap().invoice;
    let end = EndReason::NeverPaid;
    assert_eq!(
        credited.left_open(&subscription, end),
        Ok(LeftOpen::GivenUp)
    );
    let due = Minor::new(1_017);
    let credit = AppliedCredit::Wallet(drawn(due, USD, LotKind::Paid));
    let paid = later.invoice.apply(credit, EPOCH).unwrap().invoice;
    assert!(matches!(
        paid.check_voidable(),
        Err(InvoiceError::Touched(_))
    ));
}

/// What was reckoned is what is taken: the invoice that is made later is paid with the same lots.
#[test]
fn what_was_reckoned_pays_the_invoice_that_is_made_of_it() {
    let house = house("13", false);
    let fees = fees(EPOCH, &[(FeeKind::Plan, 900)]);
    let documents = bill_to(&house, &[])
        .documents((&subscription(), USD), &fees, EPOCH)
        .unwrap();
    let due = documents.due().nanos(USD).unwrap();
    assert_eq!(due.get(), 10_170_000_000);
    let wallet = |cents: i64| Wallet {
        currency: USD,
        posted: Minor::new(cents).nanos(USD).unwrap(),
        leased: Amount::ZERO,
        credit_limit: Amount::ZERO,
        status: AccountStatus::Active,
    };
    let lots = |cents: i64| {
        let held = Amount::of(Minor::new(cents).nanos(USD).unwrap());
        vec![Lot {
            id: LotId::new(1),
            kind: LotKind::Paid,
            priority: 0,
            effective_at: EPOCH,
            expires_at: None,
            created_at: EPOCH,
            granted: held,
            remaining: held,
        }]
    };
    let due = Amount::of(due);
    let short = reckon(wallet(1_016), lots(1_016), due, EPOCH);
    assert_eq!(short, Ok(Reckoned::Short));
    let leased = Wallet {
        leased: Amount::of(Minor::new(117).nanos(USD).unwrap()),
        ..wallet(1_017)
    };
    let waits = reckon(leased, lots(1_017), due, EPOCH);
    assert_eq!(waits, Ok(Reckoned::OnLease(leased.leased)));
    let enough = reckon(wallet(1_017), lots(1_017), due, EPOCH);
    let Ok(Reckoned::Enough(draw)) = enough else {
        panic!("{enough:?}");
    };
    assert_eq!(draw.wallet.posted, Nanos::ZERO);
    let FeeDocuments::Invoice(made) = documents else {
        panic!("a fee has an invoice");
    };
    let number = house.invoices.series(EPOCH).after(None);
    let issued = made
        .draft
        .finalize(house.issue(number, EPOCH), &[])
        .unwrap();
    let (txn, now) = (LedgerTxnId::new(1), EPOCH);
    let of = (&fees[0], Some(issued.invoice));
    let paid = draw
        .pay(AccountId::new(1), of, Booking { txn, now })
        .unwrap();
    let invoice = paid.invoice.unwrap();
    assert_eq!(invoice.owed.total(), Ok(Minor::ZERO));
    assert_eq!(invoice.paid.by_wallet.get(), 1_017);
    assert!(entries_balance(paid.txn.entries()));
    assert_eq!(
        invoice.content.head.buyer,
        Party::named("上海示例科技有限公司")
    );
}
