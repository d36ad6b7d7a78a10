//! Rules of invoices on record.

mod statements;

use std::collections::BTreeMap;
use std::sync::Arc;

use billing_core::billing_run::Saving;
use billing_core::id::{AccountId, InvoiceId};
use billing_core::invoice::{
    BillingDetails, CreditError, Invoice, InvoiceError, InvoiceStatus, Invoicing, Locale, Party,
    TaxRate, TaxRule, TaxTable, TaxTreatment, broken_at,
};
use billing_core::ledger::LedgerCode;
use billing_core::money::Minor;
use billing_core::port::invoices::{CreditWish, InvoiceName, InvoicesError};
use billing_core::port::subscriptions::{Collected, RecordError};
use billing_core::subscription::{Effect, Fee, FeeKind, State, Subscription};
use time::Duration;
use tokio::task::JoinSet;

use super::plans::{subscription, version};
use super::subscriptions::{NINE, begin, collect, days, load, monthly, run};
use crate::World;

pub use statements::*;

/// Every rule of invoices, as tests: `testkit::invoices_contract!(name, opener)`. The opener's store
/// invoices as [`invoicing`] says.
#[macro_export]
macro_rules! invoices_contract {
    ($name:ident, $open:expr) => {
        $crate::rules!($name, $open, invoices:
            a_fee_has_one_invoice_which_is_paid_with_it
            numbers_have_no_gap_whoever_charges_at_once
            what_is_taxed_is_asked_for_and_paid_with_its_tax
            a_first_fee_that_is_never_paid_leaves_a_void_invoice
            what_a_subscription_leaves_unpaid_is_given_up
            fees_are_earned_day_by_day_and_each_day_once
            a_change_of_plan_is_one_invoice
            a_change_that_gives_back_is_a_credit_note
            a_credit_note_gives_back_once_and_never_more_than_was_charged
            an_open_invoice_can_be_voided_and_its_fee_is_forgiven
            invoices_are_found_by_id_and_number_and_by_nobody_else
            what_is_said_of_the_buyer_stands_on_later_invoices
            a_statement_explains_a_balance
            statements_follow_upon_one_another
            nobody_has_a_statement_of_an_account_that_is_not_there
        );
    };
}

/// A house in Germany that adds a tax of 19 % there, and whose prices include one of 20 % in France.
pub fn invoicing() -> Invoicing {
    let rule = |country: &str, percent: &str, included| TaxRule {
        country: country.parse().unwrap(),
        region: None,
        category: None,
        from: None,
        until: None,
        treatment: TaxTreatment::Taxed {
            rates: vec![TaxRate {
                name: "VAT".to_owned(),
                jurisdiction: country.to_owned(),
                percent: percent.parse().unwrap(),
                included,
            }],
        },
        reverse_charge: false,
    };
    let rules = vec![rule("DE", "19", false), rule("FR", "20", true)];
    let elsewhere = TaxTreatment::Exempt {
        reason: "export".to_owned(),
    };
    Invoicing {
        seller: Party {
            country: "DE".parse().unwrap(),
            ..Party::named("Example GmbH")
        },
        invoices: "INV-{year}-".parse().unwrap(),
        taxes: TaxTable::new(rules, elsewhere).unwrap(),
        due_days: 14,
        ..Invoicing::default()
    }
}

pub(super) async fn invoices(world: &World, account: AccountId) -> Vec<Invoice> {
    let invoices = world.ports.invoices.list(account, None, 100).await.unwrap();
    for invoice in &invoices {
        assert_eq!(invoice.check(), Ok(()), "{}", invoice.number);
    }
    invoices
}

async fn only(world: &World) -> Invoice {
    let mut invoices = invoices(world, world.account).await;
    assert_eq!(invoices.len(), 1);
    invoices.remove(0)
}

/// The sums of the account's journal, in minor units.
async fn books(world: &World) -> BTreeMap<&'static str, i64> {
    let lines = world.ports.reports.ledger(world.account, None, 1000);
    let mut sums = BTreeMap::new();
    for line in lines.await.unwrap() {
        *sums.entry(line.code.name()).or_insert(0) += line.amount.get();
    }
    sums.retain(|_, sum| *sum != 0);
    sums
}

/// What is on invoices is what is in the books: what they ask for is receivable, their taxes are
/// owed, and what credit notes gave back is neither.
pub(super) async fn assert_equal_to_the_books(world: &World) {
    let sums = books(world).await;
    let of = |code: LedgerCode| sums.get(code.name()).copied().unwrap_or(0);
    let (mut owed, mut tax, mut net) = (0, 0, 0);
    for invoice in invoices(world, world.account).await {
        let content = &invoice.content;
        match invoice.status {
            InvoiceStatus::Void(_) => continue,
            InvoiceStatus::Open => owed += invoice.owed.total().unwrap().get(),
            InvoiceStatus::Paid(_) | InvoiceStatus::Uncollectible(_) => {}
        }
        tax += content.totals.tax.get();
        net += content.totals.net.get();
        if matches!(invoice.status, InvoiceStatus::Uncollectible(_)) {
            net -= content.totals.net.get();
        }
        let of = content.head.id;
        let notes = world.ports.invoices.credit_notes(world.account, of).await;
        for note in notes.unwrap() {
            tax -= note.tax.get();
            net -= note.net.get();
        }
    }
    let cent = 10_000_000;
    assert_eq!(of(LedgerCode::Receivable), owed * cent);
    assert_eq!(of(LedgerCode::TaxPayable), -tax * cent);
    let income = of(LedgerCode::DeferredSubscription) + of(LedgerCode::RevenueSubscription);
    assert_eq!(income, -net * cent);
    world.assert_sound().await;
}

pub(super) async fn lives_in(world: &World, country: &str) {
    let details = BillingDetails {
        party: Party {
            country: country.parse().unwrap(),
            ..Party::named("上海示例科技有限公司")
        },
        locale: Locale::ZhCn,
    };
    let invoices = &world.ports.invoices;
    let said = invoices.set_billing_details(world.account, &details).await;
    said.unwrap();
    let read = invoices.billing_details(world.account).await.unwrap();
    assert_eq!(read, Some(details));
}

fn wish(key: &str, lines: Vec<(usize, Minor)>) -> CreditWish {
    CreditWish {
        lines,
        reason: "goodwill".to_owned(),
        key: key.to_owned(),
    }
}

/// It is made with the fee: open, with a number, for the fee's period; and paid when the fee is.
pub async fn a_fee_has_one_invoice_which_is_paid_with_it(world: World) {
    world.top_up(2 * NINE).await;
    let began = begin(&world, monthly()).await;
    let fee = load(&world, began.id).await.open_fee.unwrap();
    let open = only(&world).await;
    assert_eq!(open.number.to_string(), "INV-2026-000001");
    assert_eq!(open.status, InvoiceStatus::Open);
    assert_eq!(open.due_at, world.now() + Duration::days(14));
    assert_eq!(open.content.totals.total.get(), 900);
    let line = &open.content.lines[0].item;
    assert_eq!((&line.key, line.period), (&fee.key, Some(fee.period)));
    assert_eq!(open.content.head.buyer.name, "Ada's");
    assert_equal_to_the_books(&world).await;
    for _ in 0..2 {
        run(&world).await;
        let paid = only(&world).await;
        assert!(matches!(paid.status, InvoiceStatus::Paid(_)), "{paid:?}");
        assert_eq!(paid.paid.by_wallet.get(), 900);
        assert_eq!(world.balance().await.0, NINE);
        assert_equal_to_the_books(&world).await;
    }
    days(&world, 31).await;
    let numbers = invoices(&world, world.account).await;
    let numbers: Vec<_> = numbers.iter().map(|i| i.number.sequence).collect();
    assert_eq!(numbers, [2, 1]);
    assert_equal_to_the_books(&world).await;
}

/// Accounts that are charged at once share no number and leave none out, and neither does one whose
/// charge was rolled back because another was first.
pub async fn numbers_have_no_gap_whoever_charges_at_once(world: World) {
    let plans = &world.ports.plans;
    let made = version(&world, "pro", monthly());
    let published = plans.publish(made).await.unwrap();
    let mut accounts = vec![world.account];
    for _ in 0..11 {
        accounts.push(world.new_account(0).await);
    }
    let mut begun = JoinSet::new();
    for account in &accounts {
        let made = subscription(&world, *account, published.id);
        let plans = Arc::clone(&world.ports.plans);
        begun.spawn(async move { plans.begin(made).await.unwrap() });
    }
    let begun = begun.join_all().await;
    // Everyone is charged another fee, by three who do the same; two of them record nothing.
    let mut saved = JoinSet::new();
    for subscription in begun {
        let saving = charging(&subscription, &[(FeeKind::Rest, 100)]);
        for _ in 0..3 {
            let subscriptions = Arc::clone(&world.ports.subscriptions);
            let (saving, now) = (saving.clone(), world.now());
            saved.spawn(async move { subscriptions.save(&saving, now).await });
        }
    }
    let saved = saved.join_all().await;
    let lost = saved
        .iter()
        .filter(|s| matches!(s, Err(RecordError::Changed)));
    assert_eq!(lost.count(), 24, "{saved:?}");
    let mut issued = Vec::new();
    for account in &accounts {
        let of = invoices(&world, *account).await;
        assert_eq!(of.len(), 2);
        issued.extend(of.iter().map(|i| (i.number.sequence, i.issued_at)));
    }
    issued.sort_unstable();
    assert_eq!(issued.len(), 24);
    assert_eq!(broken_at(&issued), None, "{issued:?}");
    world.assert_sound().await;
}

/// Something that was changed about a subscription, which charges so much.
fn charging(before: &Subscription, items: &[(FeeKind, i64)]) -> Saving {
    let (_, period) = before.billed_period().unwrap();
    let revision = before.revision + 1;
    let fee = |(kind, amount): &(FeeKind, i64)| {
        Effect::Charge(Fee {
            key: format!("{}:r{revision}:{kind:?}", before.id),
            kind: *kind,
            period,
            amount: *amount,
        })
    };
    Saving {
        revision: before.revision,
        subscription: Subscription {
            revision,
            ..before.clone()
        },
        effects: items.iter().map(fee).collect(),
        paid: None,
        due_at: None,
    }
}

/// A tax that is added is collected on top of the fee; one that is included is a part of it.
pub async fn what_is_taxed_is_asked_for_and_paid_with_its_tax(world: World) {
    lives_in(&world, "DE").await;
    world.top_up(1_070 * 10_000_000).await;
    let began = begin(&world, monthly()).await;
    let fee = load(&world, began.id).await.open_fee.unwrap();
    let totals = only(&world).await.content.totals;
    assert_eq!((totals.tax.get(), totals.total.get()), (171, 1071));
    assert_eq!(collect(&world, &fee, 0).await, Collected::Declined);
    world.top_up(10_000_000).await;
    assert_eq!(collect(&world, &fee, 1).await, Collected::Paid);
    assert_eq!(world.balance().await.0, 0);
    assert_equal_to_the_books(&world).await;
    assert!(
        world
            .ports
            .plans
            .end(world.account, world.now())
            .await
            .unwrap()
    );
    lives_in(&world, "FR").await;
    world.top_up(NINE).await;
    begin(&world, monthly()).await;
    run(&world).await;
    let totals = invoices(&world, world.account).await[0].content.totals;
    assert_eq!((totals.net.get(), totals.tax.get()), (750, 150));
    assert_eq!(world.balance().await.0, 0);
    assert_equal_to_the_books(&world).await;
}

/// Nothing was given for it, so nothing is asked for; the number stays taken.
pub async fn a_first_fee_that_is_never_paid_leaves_a_void_invoice(world: World) {
    let began = begin(&world, monthly()).await;
    days(&world, 3).await;
    let ended = load(&world, began.id).await.subscription;
    assert!(matches!(ended.state, State::Ended { .. }), "{ended:?}");
    let void = only(&world).await;
    assert!(matches!(void.status, InvoiceStatus::Void(_)), "{void:?}");
    assert_eq!(void.number.sequence, 1);
    assert_eq!(books(&world).await, BTreeMap::new());
    assert_equal_to_the_books(&world).await;
}

/// What was given in the days of grace is not paid: the invoice stands and will not be collected. Its
/// tax is owed all the same.
pub async fn what_a_subscription_leaves_unpaid_is_given_up(world: World) {
    lives_in(&world, "DE").await;
    world.top_up(1_071 * 10_000_000).await;
    begin(&world, monthly()).await;
    run(&world).await;
    days(&world, 80).await;
    let invoices = invoices(&world, world.account).await;
    assert_eq!(invoices.len(), 2);
    let lost = &invoices[0];
    assert!(
        matches!(lost.status, InvoiceStatus::Uncollectible(_)),
        "{lost:?}"
    );
    assert_eq!(books(&world).await.get("bad_debt"), Some(&1_710_000_000));
    assert_equal_to_the_books(&world).await;
    let id = lost.content.head.id;
    let now = world.now();
    let (port, account) = (&world.ports.invoices, world.account);
    let refused = port.void(account, id, now).await;
    assert!(matches!(refused, Err(InvoicesError::Refused(_))));
    let refused = port.credit(account, id, &wish("a", Vec::new()), now).await;
    let is_lost = matches!(
        refused,
        Err(InvoicesError::Credit(CreditError::WrittenOff(_)))
    );
    assert!(is_lost);
}

/// Up to midnight, once whoever asks and however often; in the end all of it.
pub async fn fees_are_earned_day_by_day_and_each_day_once(world: World) {
    world.top_up(NINE).await;
    begin(&world, monthly()).await;
    let port = &world.ports.invoices;
    world.ports.clock.advance(Duration::hours(1));
    assert_eq!(port.recognize(world.now(), 100).await.unwrap(), 0);
    run(&world).await;
    let earned = async || {
        let sums = books(&world).await;
        let earned = sums.get("revenue_subscription").copied();
        -earned.unwrap_or(0)
    };
    assert_eq!(port.recognize(world.now(), 100).await.unwrap(), 0);
    world.ports.clock.advance(Duration::days(15));
    let mut asked = JoinSet::new();
    for _ in 0..4 {
        let (port, now) = (Arc::clone(port), world.now());
        asked.spawn(async move { port.recognize(now, 100).await.unwrap() });
    }
    asked.join_all().await;
    // To midnight of 7 December: fourteen and a half of thirty days.
    let half = NINE / 60 * 29;
    assert_eq!(earned().await, half);
    assert_eq!(port.recognize(world.now(), 100).await.unwrap(), 0);
    world.ports.clock.advance(Duration::days(15));
    while port.recognize(world.now(), 100).await.unwrap() > 0 {}
    assert_eq!(earned().await, NINE);
    world.ports.clock.advance(Duration::days(1));
    assert_eq!(port.recognize(world.now(), 100).await.unwrap(), 0);
    assert_equal_to_the_books(&world).await;
}

/// What it gives back and what it charges stand side by side, and the sum is asked for.
pub async fn a_change_of_plan_is_one_invoice(world: World) {
    lives_in(&world, "DE").await;
    world.top_up(4 * NINE).await;
    let began = begin(&world, monthly()).await;
    run(&world).await;
    world.ports.clock.advance(Duration::days(15));
    let standing = load(&world, began.id).await.subscription;
    let change = charging(
        &standing,
        &[(FeeKind::Unused, -450), (FeeKind::Rest, 1_000)],
    );
    let subscriptions = &world.ports.subscriptions;
    subscriptions.save(&change, world.now()).await.unwrap();
    let issued = invoices(&world, world.account).await;
    assert_eq!(issued.len(), 2);
    let totals = issued[0].content.totals;
    assert_eq!((totals.net.get(), totals.total.get()), (550, 655));
    assert_equal_to_the_books(&world).await;
    // The first fee has no time left: what was not given back of it is earned now.
    let port = &world.ports.invoices;
    assert_eq!(port.recognize(world.now(), 100).await.unwrap(), 1);
    let sums = books(&world).await;
    assert_eq!(sums.get("revenue_subscription"), Some(&-4_500_000_000));
    assert_equal_to_the_books(&world).await;
}

/// The earlier invoice gives it back, into the wallet, with its tax.
pub async fn a_change_that_gives_back_is_a_credit_note(world: World) {
    lives_in(&world, "DE").await;
    world.top_up(2 * NINE).await;
    let began = begin(&world, monthly()).await;
    run(&world).await;
    let before = world.balance().await.0;
    let standing = load(&world, began.id).await.subscription;
    let change = charging(&standing, &[(FeeKind::Unused, -600), (FeeKind::Rest, 100)]);
    let subscriptions = &world.ports.subscriptions;
    subscriptions.save(&change, world.now()).await.unwrap();
    let invoice = only(&world).await;
    let port = &world.ports.invoices;
    let id = invoice.content.head.id;
    let notes = port.credit_notes(world.account, id).await.unwrap();
    assert_eq!(notes.len(), 1);
    assert_eq!(notes[0].number.to_string(), "CN-000001");
    assert_eq!((notes[0].net.get(), notes[0].total.get()), (500, 595));
    assert_eq!(world.balance().await.0, before + 595 * 10_000_000);
    assert_equal_to_the_books(&world).await;
    // More than was ever charged is not given back, and nothing of that is recorded.
    let standing = load(&world, began.id).await.subscription;
    let again = charging(&standing, &[(FeeKind::Unused, -401)]);
    let refused = subscriptions.save(&again, world.now()).await;
    assert!(matches!(refused, Err(RecordError::Inconsistent(_))));
}

/// Once for its key; all notes together never more than the line.
pub async fn a_credit_note_gives_back_once_and_never_more_than_was_charged(world: World) {
    lives_in(&world, "DE").await;
    world.top_up(2 * NINE).await;
    begin(&world, monthly()).await;
    run(&world).await;
    let before = world.balance().await.0;
    let (port, account, now) = (&world.ports.invoices, world.account, world.now());
    let id = only(&world).await.content.head.id;
    let part = wish("one", vec![(0, Minor::new(300))]);
    let first = port.credit(account, id, &part, now).await.unwrap();
    let again = port.credit(account, id, &part, now).await.unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.note, again.note);
    let other = wish("one", vec![(0, Minor::new(301))]);
    let refused = port.credit(account, id, &other, now).await;
    assert!(matches!(refused, Err(InvoicesError::KeyReused)));
    assert_eq!(world.balance().await.0, before + 357 * 10_000_000);
    let much = wish("two", vec![(0, Minor::new(601))]);
    let refused = port.credit(account, id, &much, now).await;
    let is_much = matches!(
        refused,
        Err(InvoicesError::Credit(CreditError::TooMuch { .. }))
    );
    assert!(is_much, "{refused:?}");
    let rest = port
        .credit(account, id, &wish("three", Vec::new()), now)
        .await;
    let rest = rest.unwrap().note;
    assert_eq!((rest.total.get(), rest.tax.get()), (714, 114));
    // The one that was refused has taken no number.
    assert_eq!(rest.number.sequence, 2);
    assert_eq!(world.balance().await.0, before + 1_071 * 10_000_000);
    assert_equal_to_the_books(&world).await;
    let nothing = port
        .credit(account, id, &wish("four", Vec::new()), now)
        .await;
    let is_none = matches!(nothing, Err(InvoicesError::Credit(CreditError::Nothing)));
    assert!(is_none, "{nothing:?}");
    let unknown = InvoiceId::new(7);
    let refused = port
        .credit(account, unknown, &wish("five", Vec::new()), now)
        .await;
    assert!(matches!(refused, Err(InvoicesError::NotFound)));
}

/// Nothing is owed for it any more, so the subscription goes on as if it were paid. One that was paid
/// is not voided.
pub async fn an_open_invoice_can_be_voided_and_its_fee_is_forgiven(world: World) {
    let began = begin(&world, monthly()).await;
    let fee = load(&world, began.id).await.open_fee.unwrap();
    let (port, account, now) = (&world.ports.invoices, world.account, world.now());
    let id = only(&world).await.content.head.id;
    let void = port.void(account, id, now).await.unwrap();
    assert!(matches!(void.status, InvoiceStatus::Void(_)));
    assert_eq!(only(&world).await, void);
    assert_equal_to_the_books(&world).await;
    let again = port.void(account, id, now).await;
    assert!(matches!(again, Err(InvoicesError::Refused(_))));
    assert_eq!(collect(&world, &fee, 0).await, Collected::Paid);
    run(&world).await;
    let active = load(&world, began.id).await.subscription;
    assert_eq!(active.state, State::Active);
    world.top_up(NINE).await;
    days(&world, 31).await;
    let paid = &invoices(&world, account).await[0];
    let refused = port.void(account, paid.content.head.id, now).await;
    let is_paid = matches!(
        refused,
        Err(InvoicesError::Refused(InvoiceError::Touched(_)))
    );
    assert!(is_paid, "{refused:?}");
    assert_equal_to_the_books(&world).await;
}

/// Page by page, newest first; another account's is not there.
pub async fn invoices_are_found_by_id_and_number_and_by_nobody_else(world: World) {
    world.top_up(3 * NINE).await;
    begin(&world, monthly()).await;
    days(&world, 62).await;
    let port = &world.ports.invoices;
    let all = invoices(&world, world.account).await;
    assert_eq!(all.len(), 3);
    let mut paged = Vec::new();
    while let Some(invoice) = {
        let before = paged.last().map(|i: &Invoice| i.content.head.id);
        port.list(world.account, before, 1).await.unwrap().pop()
    } {
        paged.push(invoice);
    }
    assert_eq!(paged, all);
    let other = world.new_account(0).await;
    for invoice in &all {
        let id = InvoiceName::Id(invoice.content.head.id);
        let number = InvoiceName::Number(invoice.number.to_string());
        for name in [id, number] {
            let found = port.find(world.account, &name).await.unwrap();
            assert_eq!(found.as_ref(), Some(invoice));
            assert_eq!(port.find(other, &name).await.unwrap(), None);
        }
    }
    let refused = port.void(other, all[0].content.head.id, world.now()).await;
    assert!(matches!(refused, Err(InvoicesError::NotFound)));
}

/// Those that were issued keep what was said then.
pub async fn what_is_said_of_the_buyer_stands_on_later_invoices(world: World) {
    let port = &world.ports.invoices;
    assert_eq!(port.billing_details(world.account).await.unwrap(), None);
    world.top_up(2 * NINE).await;
    begin(&world, monthly()).await;
    lives_in(&world, "US").await;
    days(&world, 31).await;
    let both = invoices(&world, world.account).await;
    let said = both
        .iter()
        .map(|i| (&*i.content.head.buyer.name, i.content.head.locale));
    let said: Vec<_> = said.collect();
    let expected = [
        ("上海示例科技有限公司", Locale::ZhCn),
        ("Ada's", Locale::En),
    ];
    assert_eq!(said, expected);
    let nameless = BillingDetails {
        party: Party::named(" "),
        locale: Locale::En,
    };
    let refused = port.set_billing_details(world.account, &nameless).await;
    assert!(matches!(refused, Err(InvoicesError::Party(_))));
    let nobody = AccountId::new(77);
    let refused = port.billing_details(nobody).await;
    assert!(matches!(refused, Err(InvoicesError::NoSuchAccount)));
}
