//! Bookings that charge an account: what nodes have on lease is recalled and waited for a little.

use std::time::Duration;

use billing_core::port::books::BooksError;

/// How long it is waited for, and how often it is looked at.
const WITHIN: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(100);

/// Books again while nodes have on lease what it would take; then it is told to take what is there.
pub(crate) async fn booked_once_recalled<T, F>(
    mut book: impl FnMut(bool) -> F,
) -> Result<T, BooksError>
where
    F: Future<Output = Result<T, BooksError>>,
{
    let until = tokio::time::Instant::now() + WITHIN;
    let mut takes_what_is_there = false;
    loop {
        match book(takes_what_is_there).await {
            Err(BooksError::OnLease) => {
                takes_what_is_there = tokio::time::Instant::now() >= until;
                tokio::time::sleep(AGAIN).await;
            }
            answer => return answer,
        }
    }
}
