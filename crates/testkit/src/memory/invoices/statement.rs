//! What moved a wallet in memory.

use billing_core::id::AccountId;
use billing_core::invoice::{Moved, MovedBy, Statement, StatementOf, wallet_change};
use billing_core::ledger::LedgerKind;
use billing_core::money::Nanos;
use billing_core::period::Period;
use billing_core::port::invoices::InvoicesError;
use billing_core::port::reports::ReportedDay;
use billing_core::zone::Zone;
use time::OffsetDateTime;

use crate::memory::{Booked, State};

impl State {
    pub(super) fn statement(
        &self,
        account: AccountId,
        period: Period,
        now: OffsetDateTime,
    ) -> Result<Statement, InvoicesError> {
        let of = self.accounts.get(&account);
        let of = of.ok_or(InvoicesError::NoSuchAccount)?;
        let zone: Zone = of.zone.parse().unwrap();
        let is_open = now < period.end;
        let period = Period {
            end: period.end.min(now).max(period.start),
            ..period
        };
        let journal = &self.books[&account].journal;
        let is_over = |booked: &&Booked| is_open || booked.txn.booked_at() < period.end;
        let until: Vec<&Booked> = journal.iter().filter(is_over).collect();
        let (in_period, before): (Vec<&Booked>, Vec<&Booked>) = until
            .into_iter()
            .partition(|booked| booked.txn.booked_at() >= period.start);
        let opening = total(&before);
        let (calls, booked): (Vec<&Booked>, Vec<&Booked>) = in_period
            .into_iter()
            .partition(|booked| booked.txn.kind() == LedgerKind::Settlement);
        let days = ReportedDay::of_period(&zone, period.start, period.end);
        let last = days.len().saturating_sub(1);
        let of_day = |place: usize, booked: &Booked| {
            let at = booked.txn.booked_at();
            days[place].start <= at && (at < days[place].end || place == last)
        };
        let usage = (0..days.len()).map(|place| {
            let calls = calls.iter().filter(|booked| of_day(place, booked));
            (days[place], total(&calls.copied().collect::<Vec<_>>()))
        });
        let moved = Moved {
            opening,
            usage: usage.filter(|(_, sum)| !sum.is_zero()).collect(),
            closing: opening
                .plus(total(&calls))
                .unwrap()
                .plus(total(&booked))
                .unwrap(),
            booked: booked.iter().map(|booked| moved_by(booked)).collect(),
        };
        let house = &self.documents.house;
        let details = self.documents.details.get(&account).cloned();
        let of = StatementOf {
            account,
            currency: of.currency,
            buyer: details.unwrap_or_else(|| house.unnamed_buyer(account, &of.name)),
            period,
        };
        Ok(house.statement(of, moved)?)
    }
}

fn moved_by(booked: &Booked) -> MovedBy {
    MovedBy {
        at: booked.txn.booked_at(),
        kind: booked.txn.kind(),
        note: booked.note.clone(),
        amount: total(&[booked]),
    }
}

fn total(booked: &[&Booked]) -> Nanos {
    let entries = booked.iter().flat_map(|booked| booked.txn.entries());
    let entries: Vec<_> = entries.copied().collect();
    Nanos::new(i64::try_from(wallet_change(&entries)).unwrap())
}
