//! Invoices that will not be paid: which are void, and which are given up.

use super::issued::{Credited, Invoice, InvoiceError, InvoiceStatus};
use crate::money::{Minor, MoneyError};
use crate::subscription::{EndReason, Subscription};

/// What becomes of an open invoice when its subscription has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeftOpen {
    /// It is void: nothing was given for it.
    Void,
    /// It counts, and what is owed of it will not be paid.
    GivenUp,
}

impl Invoice {
    /// What becomes of it, open as it is, when its subscription has ended for a reason. The invoice of
    /// a first fee is void, for which nothing was given yet; so is any of what was never paid.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`].
    pub fn left_open(
        &self,
        subscription: &Subscription,
        why: EndReason,
    ) -> Result<LeftOpen, MoneyError> {
        let period = self.content.head.period;
        let is_first = period.is_some_and(|period| period.start == subscription.started_at);
        let is_untouched = self.paid.total()?.is_zero() && self.credited == Credited::default();
        if is_untouched && (is_first || why == EndReason::NeverPaid) {
            return Ok(LeftOpen::Void);
        }
        Ok(LeftOpen::GivenUp)
    }

    /// Whether a person may void it: only while nothing of it is paid.
    ///
    /// # Errors
    /// [`InvoiceError::Touched`], [`InvoiceError::NotOpen`], [`InvoiceError::Money`].
    pub fn check_voidable(&self) -> Result<(), InvoiceError> {
        if self.paid.total()? != Minor::ZERO {
            return Err(InvoiceError::Touched(self.number.clone()));
        }
        if self.status != InvoiceStatus::Open {
            let was = self.status.name();
            return Err(InvoiceError::NotOpen(self.number.clone(), was));
        }
        Ok(())
    }
}
