//! What was corrected after a call was settled.

use billing_core::money::{Currency, Nanos};
use billing_core::port::reports::{AdjustmentLine, CallDetail, ReportError, Reports};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::api::wire::{MoneyDto, instant};

/// What was corrected after a call was settled, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Later {
    /// Of the call itself.
    pub(super) of_call: Vec<AdjustmentLine>,
    /// Of the window of tiers that it counts in, when that was over.
    pub(super) of_window: Vec<AdjustmentLine>,
}

/// A later correction of what was charged.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct AdjustmentDto {
    /// The ledger transaction that booked it.
    #[schema(example = "txn_0001fv5kz4y00")]
    pub(crate) ledger_transaction: String,
    /// What it comes to: above zero charged, below zero given back.
    pub(crate) amount: MoneyDto,
    /// When it was booked.
    #[schema(format = DateTime)]
    pub(crate) booked_at: String,
    /// What the statement says of it.
    pub(crate) note: String,
}

impl Later {
    /// Looks up what was corrected of a call.
    pub(crate) async fn of(reports: &dyn Reports, call: &CallDetail) -> Result<Self, ReportError> {
        let mut of_call = reports.call_adjustments(call.account, &[call.id]).await?;
        let of_window = match &call.rating.tiers {
            None => Vec::new(),
            Some(tiers) => {
                let (schedule, start) = (tiers.schedule, tiers.window_start);
                let closed = reports.window_adjustments(call.account, schedule, start);
                closed.await?
            }
        };
        Ok(Self {
            of_call: of_call.remove(&call.id).unwrap_or_default(),
            of_window,
        })
    }

    /// What the call costs with its corrections.
    pub(super) fn net(&self, charge: Nanos) -> Nanos {
        net(charge, &self.of_call)
    }
}

impl AdjustmentDto {
    /// A correction in the currency of its account.
    pub(super) fn of(line: &AdjustmentLine, currency: Currency) -> Self {
        Self {
            ledger_transaction: line.txn.to_string(),
            amount: MoneyDto::of(line.amount, currency),
            booked_at: instant(line.booked_at),
            note: line.note.clone(),
        }
    }
}

/// What was charged, with later corrections of it; what fits of it.
pub(crate) fn net(charge: Nanos, corrections: &[AdjustmentLine]) -> Nanos {
    let amounts = corrections.iter().map(|line| line.amount);
    let mut all = amounts.chain([charge]);
    let sum = all.try_fold(Nanos::ZERO, Nanos::plus);
    sum.unwrap_or(charge)
}
