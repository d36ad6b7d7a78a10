//! What the black-box suites share: the binary as a process, a PostgreSQL beside it, and clients of
//! its two surfaces. Nothing in here knows the inside of Tollgate.

use std::error::Error;

pub mod arguments;
pub mod audit;
pub mod bench_gateway;
pub mod bench_lanes;
pub mod bench_quote;
pub mod call;
pub mod cluster;
pub mod control;
pub mod crash;
pub mod crash_nodes;
pub mod figure;
pub mod gate;
pub mod load;
pub mod lock;
pub mod partition;
pub mod postgres;
pub mod proof;
pub mod race;
pub mod race_nodes;
pub mod rolling;
pub mod rounds;
pub mod seeded;
pub mod seen;
pub mod served;
pub mod subscribed;
pub mod tariff;

/// Whatever keeps a suite from going on, told in a sentence.
pub type Failure = Box<dyn Error + Send + Sync>;
