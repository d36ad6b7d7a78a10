//! Throughput of settlements.
fn main() {}
