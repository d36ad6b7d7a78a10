//! Dev.
#![allow(dead_code, reason = "dev")]
mod clock; mod gate; mod http; mod ids; mod secrets;
fn main() {}
