//! A load generator for chat completions.
//!
//! `load --url http://127.0.0.1:8080/v1/chat/completions --key sk-… --model sim/echo [--stream]
//! [--connections 64 | --rate CALLS_A_SECOND | --hold STREAMS] [--seconds 5] [--prompt-bytes 1024]
//! [--max-tokens N]`
//!
//! Ends with one line of JSON: requests, requests per second, first and last byte of the body in
//! microseconds, errors. With `--hold` the line says how many streams are open, and they stay so
//! until the input ends.

use acceptance::Failure;
use acceptance::load::Plan;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    Plan::of_process()?.run().await
}
