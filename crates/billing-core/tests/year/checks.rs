//! What must hold when the time is over, and at every look in between.

use std::collections::{BTreeMap, BTreeSet};

use billing_core::id::{AccountId, SubscriptionId};
use billing_core::subscription::{FeeKind, State, Subscription};
use time::{Duration, OffsetDateTime};

use super::house::{Books, House};

/// What of time was paid for by a subscription: by how much it rises or falls at an instant.
type Cover = BTreeMap<OffsetDateTime, i64>;

fn cover(books: &Books) -> BTreeMap<SubscriptionId, Cover> {
    let mut covers: BTreeMap<SubscriptionId, Cover> = BTreeMap::new();
    let paid = books.invoices.iter().map(|invoice| {
        let fee = &invoice.fee;
        let by = match fee.kind {
            FeeKind::Plan | FeeKind::Rest => 1,
            FeeKind::Unused => -1,
        };
        (invoice.subscription, fee.period, by)
    });
    let forfeits = books.forfeits.iter().map(|(id, rest)| (*id, *rest, -1));
    let free = books.free.iter().map(|(id, period)| (*id, *period, 1));
    for (id, period, by) in paid.chain(forfeits).chain(free) {
        let cover = covers.entry(id).or_default();
        *cover.entry(period.start).or_default() += by;
        *cover.entry(period.end).or_default() -= by;
    }
    covers
}

/// Everything that does not hold, in words.
pub(crate) fn all(house: &House) -> Vec<String> {
    let books = house.books();
    let mut broken = Vec::new();
    for (number, invoice) in (1..).zip(&books.invoices) {
        if invoice.number != number {
            broken.push(format!("invoice {} stands at {number}", invoice.number));
        }
    }
    for (id, cover) in cover(&books) {
        let mut height = 0;
        for (at, by) in cover {
            height += by;
            if !(0..=1).contains(&height) {
                broken.push(format!("{id}: at {at} time is paid for {height} times"));
            }
        }
    }
    let mut by_code: BTreeMap<(AccountId, &str), i64> = BTreeMap::new();
    for (account, code, amount) in &books.ledger {
        *by_code.entry((*account, code)).or_default() += amount;
    }
    if books.ledger.iter().map(|(.., amount)| amount).sum::<i64>() != 0 {
        broken.push("the ledger does not balance".to_owned());
    }
    let mut invoiced: BTreeMap<AccountId, i64> = BTreeMap::new();
    for invoice in &books.invoices {
        let account = books.subscriptions[&invoice.subscription].account;
        *invoiced.entry(account).or_default() += invoice.fee.amount;
    }
    for (account, total) in invoiced {
        let cash = by_code.get(&(account, "cash")).copied();
        let open = by_code.get(&(account, "receivable")).copied();
        if cash != Some(total) || open != Some(0) {
            broken.push(format!(
                "{account}: {total} invoiced, {cash:?} paid, {open:?} open"
            ));
        }
        if total < 0 {
            broken.push(format!("{account}: more was credited than paid"));
        }
    }
    let mut paid = BTreeSet::new();
    for ((key, _), answer) in &books.payments {
        let is_paid = *answer == billing_core::port::subscriptions::Collected::Paid;
        if is_paid && !paid.insert(key) {
            broken.push(format!("{key} was paid twice"));
        }
    }
    broken
}

/// Nobody is entitled without a cause, and nobody who has paid is left without.
pub(crate) fn entitled(house: &House, now: OffsetDateTime) {
    let books = house.books();
    let covers = cover(&books);
    for (id, subscription) in &books.subscriptions {
        let cover = covers.get(id);
        let is_paid = |at| {
            let before = cover.into_iter().flat_map(|cover| cover.range(..=at));
            before.map(|(_, by)| by).sum::<i64>() > 0
        };
        check(subscription, now, &is_paid);
    }
}

fn check(
    subscription: &Subscription,
    now: OffsetDateTime,
    is_paid: &dyn Fn(OffsetDateTime) -> bool,
) {
    let is_free = subscription.charged == 0;
    let has_cause = match subscription.state {
        State::Trialing { ends_at } => now < ends_at,
        State::Active => is_free || is_paid(now) || is_paid(now - Duration::HOUR),
        State::Grace(owed) => now - owed.since < Duration::days(4),
        State::Incomplete { .. }
        | State::PastDue(_)
        | State::Paused { .. }
        | State::Ended { .. } => false,
    };
    let is_entitled = subscription.is_entitled(now);
    assert!(
        has_cause || !is_entitled,
        "{now}: without a cause: {subscription:?}"
    );
    if subscription.state == State::Active && is_paid(now) {
        assert!(
            is_entitled,
            "{now}: paid and not entitled: {subscription:?}"
        );
    }
}
