//! Orders of customers: what the core carries out, once what nodes have on lease is there.

use std::time::Duration;

use billing_core::fee_payment::FEE_WAITS;
use billing_core::port::clock::Clock;
use billing_core::port::orders::{NewOrder, Orders};
use billing_core::subscription_order::{Done, OrderError};

/// How often it is looked whether nodes have given back what pays it.
const AGAIN: Duration = Duration::from_millis(100);

/// Carries out an order. What running calls hold of the wallet is waited for, as long as for a fee.
///
/// # Errors
/// [`OrderError`].
pub(crate) async fn place(
    orders: &dyn Orders,
    clock: &dyn Clock,
    made: NewOrder,
) -> Result<Done, OrderError> {
    let until = clock.now().saturating_add(FEE_WAITS);
    let mut made = made;
    loop {
        made.now = clock.now();
        match orders.place(&made).await {
            Err(OrderError::OnLease(_)) if made.now < until => tokio::time::sleep(AGAIN).await,
            done => return done,
        }
    }
}
