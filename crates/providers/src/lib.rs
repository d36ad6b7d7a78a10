//! Model protocols as pure dialects over one transport, and a simulated provider.
//!
//! - [`openai`]: the OpenAI protocol as values.
//! - [`anthropic`], [`gemini`]: what these two count.
//! - [`transport`]: the one place that holds an HTTP client.
//! - [`simulated`]: a provider that answers by itself, in process and over HTTP.
//! - [`open`]: configuration in, a provider out.
//!
//! # Adding a provider
//! A protocol is a `Dialect` in a file of its own with fixtures in `fixtures/<name>/`, and an arm
//! in [`dialect`]. A provider that speaks a known protocol needs only configuration.

pub mod anthropic;
mod count;
pub mod gemini;
mod object;
pub mod openai;
mod opening;
pub mod simulated;
pub mod transport;

pub use count::Malformed;
pub use opening::{OpenError, Protocol, ProviderConfig, dialect, open};
pub use transport::{HttpProviderConfig, Timeouts};
