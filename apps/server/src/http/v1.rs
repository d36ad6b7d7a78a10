//! The OpenAI-compatible surface: bodies, errors, headers and streams as its clients know them.

pub(crate) mod body;
pub(crate) mod chat;
pub(crate) mod credits;
pub(crate) mod error;
pub(crate) mod generation;
pub(crate) mod key;
pub(crate) mod models;
