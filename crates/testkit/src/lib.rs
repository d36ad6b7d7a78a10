//! For tests only: a manual clock, ports in memory, and one contract suite a port.
//!
//! A port's rules are written once, in [`contract`], and run against every adapter: the ports in
//! memory, SQLite and PostgreSQL. An adapter's test file says how it is opened:
//!
//! ```ignore
//! testkit::books_contract!(sqlite, open_sqlite);
//! ```
//!
//! A new rule is an `async fn` in `contract/<port>.rs`, named by a sentence, and its name in the
//! list of that port's macro.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "what fails here fails a test"
)]

pub mod clock;
pub mod contract;
pub mod memory;
pub mod postgres;
pub mod world;

pub use clock::ManualClock;
pub use memory::{Memory, MemorySpool};
pub use world::{Ports, World};
