//! Statements: what moved in a prepaid wallet during a period. They ask for nothing.

use thiserror::Error;
use time::OffsetDateTime;

use super::party::{Locale, Party, PartyError, check_line};
use crate::charge_model::Quantity;
use crate::id::AccountId;
use crate::money::{Currency, MoneyError, Nanos};
use crate::period::Period;

/// What moved in a wallet during a period. Amounts are exact, as the wallet keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Whose.
    pub account: AccountId,
    /// The currency of every amount.
    pub currency: Currency,
    /// Who sells.
    pub seller: Party,
    /// Who buys.
    pub buyer: Party,
    /// The language that it is written in.
    pub locale: Locale,
    /// The period.
    pub period: Period,
    /// The balance at its first instant.
    pub opening: Nanos,
    /// What moved.
    pub movements: Vec<Movement>,
    /// The balance at its end.
    pub closing: Nanos,
}

/// Something that moved in a wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// When; `None` for what is the sum of a period.
    pub at: Option<OffsetDateTime>,
    /// What it was.
    pub kind: MovementKind,
    /// What it is called: the model, the payment.
    pub subject: String,
    /// Of usage, how many calls.
    pub calls: Option<Quantity>,
    /// Above zero what came in.
    pub amount: Nanos,
}

/// What moved in a wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MovementKind {
    /// Credit was bought.
    TopUp,
    /// Credit was given.
    Promo,
    /// Calls of a model.
    Usage,
    /// A correction.
    Adjustment,
    /// Credit lapsed.
    Expiry,
    /// An invoice was paid from it.
    Invoice,
    /// Bought credit was refunded.
    Refund,
}

/// Why something is no statement.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StatementError {
    /// The seller cannot stand on it.
    #[error("the seller: {0}")]
    Seller(#[source] PartyError),
    /// The buyer cannot stand on it.
    #[error("the buyer: {0}")]
    Buyer(#[source] PartyError),
    /// A text cannot stand on it.
    #[error(transparent)]
    Text(PartyError),
    /// The balances differ by something else than what moved.
    #[error("{opening} and what moved make {reached}, not {closing}")]
    DoesNotAddUp {
        /// The balance before.
        opening: Nanos,
        /// What that and the movements make.
        reached: Nanos,
        /// The balance after.
        closing: Nanos,
    },
    /// An amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl Statement {
    /// Proves that what moved explains the balances, and that it can be set on paper.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn check(&self) -> Result<(), StatementError> {
        self.seller.check().map_err(StatementError::Seller)?;
        self.buyer.check().map_err(StatementError::Buyer)?;
        for movement in &self.movements {
            check_line("line", &movement.subject).map_err(StatementError::Text)?;
        }
        let amounts = self.movements.iter().map(|movement| movement.amount);
        let reached = amounts.into_iter().try_fold(self.opening, Nanos::plus)?;
        let (opening, closing) = (self.opening, self.closing);
        if reached != closing {
            return Err(StatementError::DoesNotAddUp {
                opening,
                reached,
                closing,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    #[test]
    fn what_moved_explains_the_balances() {
        let party = Party {
            name: "Example".to_owned(),
            address: Vec::new(),
            country: "DE".parse().unwrap(),
            region: None,
            tax_id: None,
            email: None,
        };
        let movement = |kind, amount| Movement {
            at: None,
            kind,
            subject: String::new(),
            calls: None,
            amount: Nanos::new(amount),
        };
        let start = OffsetDateTime::UNIX_EPOCH;
        let mut statement = Statement {
            account: AccountId::new(1),
            currency: Currency::USD,
            seller: party.clone(),
            buyer: party,
            locale: Locale::En,
            period: Period {
                start,
                end: start.saturating_add(Duration::days(30)),
            },
            opening: Nanos::new(5),
            movements: vec![
                movement(MovementKind::TopUp, 100),
                movement(MovementKind::Usage, -40),
            ],
            closing: Nanos::new(65),
        };
        assert_eq!(statement.check(), Ok(()));
        statement.closing = Nanos::new(64);
        assert!(statement.check().is_err());
    }
}
