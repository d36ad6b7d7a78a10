//! The Gemini protocol (`:generateContent`). So far only what it counts; a dialect comes with it later.

pub mod usage;
