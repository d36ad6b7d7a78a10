//! One metered model call: what is asked, where it goes, what came back, what it consumed.
//!
//! The gateway counts and never prices. It reads the head of a request ([`request`]), says the most
//! that the call can consume ([`ceiling`]), puts channels in order ([`route`], [`retry`]), passes
//! bytes through a protocol's [`dialect`], and states what was consumed and why ([`metering`]).
//! What crosses to the books is [`billing_core::meter::Usage`] and nothing else.
//!
//! Everything here is pure: time and chance come in by argument, bytes go in and come out. The one
//! port is [`provider::ModelProvider`], which the crate `providers` implements.
//!
//! # A call, in the order of the modules
//!
//! 1. [`request::read`] gives a [`request::RequestHead`], or the error the client gets.
//! 2. [`ceiling::ceiling`] gives the upper bound that is authorized.
//! 3. [`route::Router::order`] gives the channels to try; [`retry::judge`] says after each attempt
//!    whether its answer is the call's answer.
//! 4. [`dialect::Dialect`] encodes the request and reads the reply or the stream.
//! 5. [`metering::meter`] turns the facts into a [`metering::Metered`], once, however the call ends.
#![deny(missing_docs, clippy::missing_errors_doc)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::float_arithmetic,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

pub mod ceiling;
pub mod count;
pub mod dialect;
pub mod endpoint;
pub mod lanes;
pub mod metering;
pub mod outcome;
pub mod provider;
pub mod request;
pub mod retry;
pub mod route;
pub mod splice;
pub mod sse;
