//! Dev.
pub(crate) mod callers; pub(crate) mod prices;
pub(crate) use callers::Callers; pub(crate) use prices::Prices;
