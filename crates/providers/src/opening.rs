//! Configuration in, a provider out.

use std::sync::Arc;
use std::time::Duration;

use gateway_core::dialect::Dialect;
use gateway_core::provider::ModelProvider;
use thiserror::Error;

use crate::openai::OpenAi;
use crate::simulated::SimulatedProvider;
use crate::transport::{HttpProvider, HttpProviderConfig, TransportError};

/// What an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OpenAI's protocol, at any base URL.
    OpenAi,
}

/// One upstream.
#[derive(Debug, Clone)]
pub enum ProviderConfig {
    /// Over HTTP.
    Http {
        /// What it speaks.
        protocol: Protocol,
        /// Where it is and how it is reached.
        http: HttpProviderConfig,
    },
    /// The simulated provider, in this process.
    Simulated {
        /// How long to wait for the head of a reply.
        patience: Duration,
    },
}

impl ProviderConfig {
    /// What the upstream speaks.
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Http { protocol, .. } => *protocol,
            Self::Simulated { .. } => Protocol::OpenAi,
        }
    }
}

/// Why a provider cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Its address, a header or the certificates of this machine.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// Opens a provider. It connects when the first call is sent.
///
/// Each call makes a pool of connections of its own; one provider for each worker keeps connections
/// on the worker that uses them.
///
/// # Errors
/// When the configuration cannot work.
pub fn open(config: &ProviderConfig) -> Result<Arc<dyn ModelProvider>, OpenError> {
    match config {
        ProviderConfig::Http {
            protocol: Protocol::OpenAi,
            http,
        } => Ok(Arc::new(HttpProvider::new(http)?)),
        ProviderConfig::Simulated { patience } => Ok(Arc::new(SimulatedProvider::new(*patience))),
    }
}

/// The dialect of a protocol.
pub fn dialect(protocol: Protocol) -> &'static dyn Dialect {
    match protocol {
        Protocol::OpenAi => &OpenAi,
    }
}
