//! The Anthropic protocol (`/v1/messages`). So far only what it counts; a dialect comes with it later.

pub mod usage;
