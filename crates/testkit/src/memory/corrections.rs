//! What is corrected in the books in memory: adjustments, windows of tiers that are closed.

use billing_core::adjustment::{Adjustment, adjust, overtaken};
use billing_core::budget::BudgetScope;
use billing_core::id::{AccountId, CallId, LedgerTxnId, TierScheduleId};
use billing_core::lease::{Claim, HOUSE, HOUSE_CLAIM_FOR};
use billing_core::ledger::{Entry, LedgerCode, LedgerTxn};
use billing_core::money::Nanos;
use billing_core::port::books::{Adjusted, BooksError, OpenWindow};
use billing_core::port::reports::AdjustmentLine;
use billing_core::settlement::Booking;
use billing_core::tier_schedule::{Close, TierSchedule};

use super::{Booked, Page};

impl Page {
    pub(super) fn adjust(
        &mut self,
        account: AccountId,
        adjustment: Adjustment,
        booking: Booking,
    ) -> Result<Adjusted, BooksError> {
        if let Some(earlier) = self.earlier(&adjustment) {
            return earlier;
        }
        if let Some(call) = overtaken(&adjustment.calls, &self.adjusted) {
            return Err(BooksError::AdjustedMeanwhile(call));
        }
        let lots = self.lots.clone();
        let changes = adjust(account, self.wallet, lots, &adjustment, booking)
            .map_err(|e| BooksError::Inconsistent(e.to_string()))?;
        if !changes.on_lease.is_zero() {
            let claim = Claim {
                node: HOUSE,
                since: booking.now,
                wanted: changes.on_lease,
                expires_at: booking.now + HOUSE_CLAIM_FOR,
            };
            self.claims.insert((HOUSE, BudgetScope::Wallet), claim);
            return Err(BooksError::OnLease);
        }
        self.claims.remove(&(HOUSE, BudgetScope::Wallet));
        let balance = changes.wallet.posted;
        let id = changes.txn.as_ref().map(LedgerTxn::id);
        if let Some(txn) = changes.txn {
            self.wallet = changes.wallet;
            self.lots = changes.lots;
            self.lots.extend(changes.new_lot);
            let fingerprint = fingerprint(&adjustment);
            self.keys
                .insert(adjustment.key, (fingerprint, txn.id(), balance));
            for part in changes.calls {
                if let Some(window) = part.window {
                    let sum = self.adjusted_windows.entry(window).or_default();
                    *sum = sum.plus(part.amount).unwrap();
                }
                let so_far = self.adjusted.entry(part.call).or_default();
                so_far.amount = so_far.amount.plus(part.amount).unwrap();
                so_far.times += 1;
                self.parts.push((part.call, txn.id(), part.amount));
            }
            self.journal.push(Booked {
                txn,
                note: adjustment.note,
            });
        }
        Ok(Adjusted {
            txn: id,
            uncollected: changes.uncollected,
            balance,
            replayed: false,
        })
    }

    /// Windows of a schedule that are not closed as they stand.
    pub(super) fn open_windows(
        &self,
        account: AccountId,
        schedule: TierScheduleId,
    ) -> Vec<OpenWindow> {
        let mut open = Vec::new();
        for (scope, charged) in &self.uses {
            let window_start = scope.row().window_start;
            let charge = BudgetScope::TierCharge {
                schedule,
                window_start,
            };
            if *scope != charge {
                continue;
            }
            let position = self.uses.iter().find(|(scope, _)| {
                let row = scope.row();
                (row.kind, row.subject, row.window_start) == (4, schedule.get(), window_start)
            });
            let closed = self.closed.get(&(schedule, window_start)).copied();
            let (before, times, missing) = closed.unwrap_or_default();
            let close = Close {
                used: position.map(|(_, used)| used.used).unwrap_or_default(),
                charged: charged.used,
                overrun: self
                    .uses
                    .get(&BudgetScope::TierOverrun {
                        schedule,
                        window_start,
                    })
                    .map(|borne| borne.used)
                    .unwrap_or_default(),
                adjusted: self
                    .adjusted_windows
                    .get(&(schedule, window_start))
                    .copied()
                    .unwrap_or_default(),
                trued_up: before.map_or(Nanos::ZERO, |before| before.trued_up),
            };
            let could_pay = self.wallet.posted.get()
                + i64::try_from(self.wallet.credit_limit.get()).unwrap()
                > 0;
            if before != Some(close) || (!missing.is_zero() && could_pay) {
                open.push(OpenWindow {
                    account,
                    schedule,
                    window_start,
                    close,
                    times,
                });
            }
        }
        open
    }

    /// The last window of a schedule that was closed.
    pub(super) fn last_closed(&self, schedule: TierScheduleId) -> Option<i64> {
        let closed = self.closed.keys().filter(|(of, _)| *of == schedule);
        closed.map(|(_, start)| *start).max()
    }

    /// Notes windows of which nothing was used yet.
    pub(super) fn note_windows(&mut self, schedule: &TierSchedule, window_starts: &[i64]) {
        let starts = window_starts.iter();
        for scope in starts.flat_map(|start| schedule.scopes(*start)) {
            self.uses.entry(scope).or_default();
        }
    }

    /// Closes a window, unless others have closed it since it was read.
    pub(super) fn close_window(
        &mut self,
        window: &OpenWindow,
        adjustment: Option<Adjustment>,
        booking: Booking,
    ) -> Result<Option<Adjusted>, BooksError> {
        let key = (window.schedule, window.window_start);
        let times = self.closed.get(&key).map_or(0, |(_, times, _)| *times);
        if times != window.times {
            let earlier = adjustment.and_then(|adjustment| self.earlier(&adjustment));
            return Ok(earlier.and_then(Result::ok));
        }
        let more = adjustment.as_ref().map_or(Nanos::ZERO, |a| a.amount);
        let adjusted = adjustment
            .map(|adjustment| self.adjust(window.account, adjustment, booking))
            .transpose()?;
        let uncollected = adjusted.as_ref().map_or(Nanos::ZERO, |a| a.uncollected);
        let more = more.minus(uncollected)?;
        let close = Close {
            trued_up: window.close.trued_up.plus(more)?,
            ..window.close
        };
        self.closed
            .insert(key, (Some(close), times + 1, uncollected));
        Ok(adjusted)
    }

    /// What a call was adjusted by.
    pub(super) fn adjustments_of(&self, call: CallId) -> Vec<AdjustmentLine> {
        let parts = self.parts.iter().filter(|(of, ..)| *of == call);
        parts
            .filter_map(|(_, txn, part)| self.adjustment(*txn, Some(*part)))
            .collect()
    }

    /// What the closes of a window booked.
    pub(super) fn closes_of(&self, schedule: TierScheduleId, start: i64) -> Vec<AdjustmentLine> {
        let times = self
            .closed
            .get(&(schedule, start))
            .map_or(0, |(_, t, _)| *t);
        let keys = (0..times).map(|times| OpenWindow::key(schedule, start, times));
        let booked = keys.filter_map(|key| self.keys.get(&key));
        booked
            .filter_map(|(_, txn, _)| self.adjustment(*txn, None))
            .collect()
    }

    /// An adjustment in the journal, or a part of it.
    fn adjustment(&self, txn: LedgerTxnId, part: Option<Nanos>) -> Option<AdjustmentLine> {
        let booked = self.journal.iter().find(|booked| booked.txn.id() == txn)?;
        let of_revenue = |entry: &&Entry| entry.code == LedgerCode::RevenueAdjustment;
        let revenue = booked.txn.entries().iter().find(of_revenue)?;
        Some(AdjustmentLine {
            txn,
            amount: part.unwrap_or(revenue.amount.negated().unwrap()),
            booked_at: booked.txn.booked_at(),
            note: booked.note.clone(),
        })
    }

    /// What was booked under an adjustment's key before.
    fn earlier(&self, adjustment: &Adjustment) -> Option<Result<Adjusted, BooksError>> {
        let (before, txn, balance) = self.keys.get(&adjustment.key)?;
        if *before != fingerprint(adjustment) {
            return Some(Err(BooksError::KeyReused));
        }
        Some(Ok(Adjusted {
            txn: Some(*txn),
            uncollected: Nanos::ZERO,
            balance: *balance,
            replayed: true,
        }))
    }
}

fn fingerprint(adjustment: &Adjustment) -> String {
    let (amount, calls) = (adjustment.amount, adjustment.calls.len());
    format!("adjustment {amount} {} {calls}", adjustment.currency)
}
