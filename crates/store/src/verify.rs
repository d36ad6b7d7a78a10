//! Proof.
use billing_core::id::AccountId;
use billing_core::port::books::AccountProof;
use crate::error::StoreError;
use crate::open::Store;
pub(crate) async fn accounts(_: &Store, _: Option<AccountId>, _: u32) -> Result<Vec<AccountProof>, StoreError> { Ok(vec![]) }
