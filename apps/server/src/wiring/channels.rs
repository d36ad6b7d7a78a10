//! The channels of the configuration, as routes and as the upstreams behind them.

use std::time::Duration;

use billing_core::price::{Attributes, Prospect};
use gateway_core::route::Channel as Route;
use providers::{HttpProviderConfig, OpenError, ProviderConfig, Timeouts};
use tokio_util::sync::CancellationToken;

use super::WiringError;
use crate::config::{Channel, Config, Protocol};
use crate::gate::{Upstream, Upstreams};

/// How each channel is reached, and what is said of all calls through it.
#[derive(Debug, Clone)]
pub(super) struct Channels(Vec<(ProviderConfig, Attributes)>);

impl Channels {
    /// Those of the configuration, with their credentials.
    pub(super) fn of(config: &Config) -> Result<Self, WiringError> {
        let channels = config.channel.iter().enumerate();
        let channels = channels.map(|(number, channel)| {
            let provider = provider_of(config, number, channel)?;
            Ok::<_, WiringError>((provider, channel.attributes.clone()))
        });
        Ok(Self(channels.collect::<Result<_, _>>()?))
    }

    /// What is known beforehand of calls through each.
    pub(super) fn prospects(&self) -> impl Iterator<Item = Prospect> {
        self.0.iter().map(|(config, attributes)| {
            let dialect = providers::dialect(config.protocol());
            Prospect::through(attributes, dialect.states())
        })
    }

    /// Connections to all of them, for one worker thread, whose calls end at the `cut` of all.
    pub(super) fn open(&self, cut: &CancellationToken) -> Result<Upstreams, WiringError> {
        let open = |(config, attributes): &(ProviderConfig, Attributes)| {
            let provider = providers::open(config)?;
            Ok(Upstream {
                provider,
                dialect: providers::dialect(config.protocol()),
                attributes: attributes.clone(),
            })
        };
        let channels = self.0.iter().map(open);
        Ok(Upstreams {
            channels: channels.collect::<Result<_, OpenError>>()?,
            cut: cut.child_token(),
        })
    }
}

/// Serves the simulated models over HTTP until the process ends.
pub(crate) async fn serve_simulated(listener: tokio::net::TcpListener) -> std::io::Result<()> {
    providers::simulated::http::serve(listener, std::future::pending()).await
}

/// Which channel is tried for what.
pub(super) fn routes_of(config: &Config) -> Vec<Route> {
    let route = |(number, channel): (usize, &Channel)| Route {
        name: channel.label(number),
        models: channel.models.clone(),
        rename: Vec::new(),
        strip_prefix: channel.strip_prefix.clone(),
        priority: channel.priority,
        weight: channel.weight,
    };
    config.channel.iter().enumerate().map(route).collect()
}

fn provider_of(
    config: &Config,
    number: usize,
    channel: &Channel,
) -> Result<ProviderConfig, WiringError> {
    Ok(match channel.protocol {
        Protocol::Simulated => ProviderConfig::Simulated {
            patience: Duration::from_millis(config.limits.upstream_head_ms),
        },
        Protocol::Openai => ProviderConfig::Http {
            protocol: providers::Protocol::OpenAi,
            http: HttpProviderConfig {
                base_url: channel.base_url.clone().unwrap_or_default(),
                credential: channel.credential(number)?,
                headers: Vec::new(),
                authorities: channel.authorities(number)?,
                timeouts: Timeouts {
                    connect: Duration::from_secs(10),
                    head: Duration::from_millis(config.limits.upstream_head_ms),
                    idle: Duration::from_millis(config.limits.upstream_idle_ms),
                },
            },
        },
    })
}
