//! The channels of the configuration, as routes and as the upstreams behind them.

use std::time::Duration;

use billing_core::price::{Attributes, Prospect};
use gateway_core::route::{Channel as Route, Router};
use providers::{HttpProviderConfig, OpenError, ProviderConfig, Timeouts};
use tokio_util::sync::CancellationToken;

use super::WiringError;
use crate::config::{Channel, Config, Protocol};
use crate::gate::lanes::ChannelLanes;
use crate::gate::routes::ChannelPlaces;
use crate::gate::{Routes, Upstream, Upstreams};

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
    fn prospects(&self) -> impl Iterator<Item = Prospect> {
        self.0.iter().map(|(config, attributes)| {
            let dialect = providers::dialect(config.protocol());
            Prospect::through(attributes, dialect.states())
        })
    }

    /// Which of them is tried for what, and how many calls each takes.
    pub(super) fn routes(&self, config: &Config) -> Result<Routes, WiringError> {
        let router = Router::new(routes_of(config));
        Ok(Routes::new(router, self.prospects(), places_of(config)?))
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
fn routes_of(config: &Config) -> Vec<Route> {
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

/// How many calls each takes.
fn places_of(config: &Config) -> Result<Vec<ChannelPlaces>, WiringError> {
    let places = |(number, channel): (usize, &Channel)| {
        let limits = channel.lane_limits(number)?;
        let patience = channel.lanes.map_or(0, |lanes| lanes.wait_ms);
        Ok(ChannelPlaces {
            lanes: limits.map_or_else(ChannelLanes::default, ChannelLanes::new),
            patience: Duration::from_millis(patience),
            boosted_only: channel.boosted_only,
        })
    };
    config.channel.iter().enumerate().map(places).collect()
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
