//! An upstream as an operator describes it.

use std::path::PathBuf;

use billing_core::attribute::{Attributes, is_value};
use gateway_core::lanes::{Lane, LaneLimits, LaneLimitsError};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// One upstream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Channel {
    /// What records call it; the host of its address unless given.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// `openai` (any compatible server) or `simulated`.
    #[serde(default)]
    pub(crate) protocol: Protocol,
    /// Such as `https://api.openai.com/v1`.
    #[serde(default)]
    pub(crate) base_url: Option<String>,
    /// `env:NAME` or `file:/path`; the credential itself is never written here.
    #[serde(default)]
    pub(crate) credential: Option<CredentialSource>,
    /// A file of certificates (PEM) whose authorities sign the upstream's, instead of those that
    /// this machine trusts.
    #[serde(default)]
    pub(crate) ca_file: Option<PathBuf>,
    /// The models it serves, as names or prefixes with `*`.
    #[serde(default = "every_model")]
    pub(crate) models: Vec<String>,
    /// A prefix of the model's name that the upstream does not know.
    #[serde(default)]
    pub(crate) strip_prefix: Option<String>,
    /// Higher is tried first.
    #[serde(default)]
    pub(crate) priority: i32,
    /// The share of calls among channels of one priority.
    #[serde(default = "one")]
    pub(crate) weight: u32,
    /// What holds of all calls through it that prices depend on, unless a reply says otherwise:
    /// `{ region = "eu" }`.
    #[serde(default)]
    pub(crate) attributes: Attributes,
    /// How many calls it takes at once, and of which plans; any number unless given.
    #[serde(default)]
    pub(crate) lanes: Option<LaneSettings>,
    /// Whether it serves only calls whose plan has a speed boost.
    #[serde(default)]
    pub(crate) boosted_only: bool,
}

/// How many calls a channel takes at once on this node, and how many wait for how long.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LaneSettings {
    /// Places for calls of both lanes.
    pub(crate) concurrent: usize,
    /// Places that only boosted calls may have; a sixteenth unless given.
    #[serde(default)]
    pub(crate) boosted: Option<usize>,
    /// Places that only standard calls may have; a quarter unless given.
    #[serde(default)]
    pub(crate) standard: Option<usize>,
    /// How many calls of each lane may wait.
    #[serde(default = "many")]
    pub(crate) waiting: usize,
    /// For how many milliseconds one may.
    #[serde(default = "a_while")]
    pub(crate) wait_ms: u64,
}

impl LaneSettings {
    /// The limits that they are.
    pub(crate) fn limits(&self) -> Result<LaneLimits, LaneLimitsError> {
        let usual = LaneLimits::of(self.concurrent, self.waiting)?;
        let kept = |given: Option<usize>, other: Lane| {
            given.unwrap_or_else(|| self.concurrent.saturating_sub(usual.most(other)))
        };
        let boosted = kept(self.boosted, Lane::Standard);
        let standard = kept(self.standard, Lane::Boosted);
        LaneLimits::new(self.concurrent, (boosted, standard), self.waiting)
    }
}

/// What an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Protocol {
    /// The OpenAI protocol.
    #[default]
    Openai,
    /// Simulated models, in this process.
    Simulated,
}

/// Where a credential is read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum CredentialSource {
    /// An environment variable.
    Env(String),
    /// A file; white space at its ends does not count.
    File(PathBuf),
}

impl TryFrom<String> for CredentialSource {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err("a credential is named as env:NAME or file:/path, never written here".into()),
        }
    }
}

impl From<CredentialSource> for String {
    fn from(source: CredentialSource) -> Self {
        match source {
            CredentialSource::Env(name) => format!("env:{name}"),
            CredentialSource::File(path) => format!("file:{}", path.display()),
        }
    }
}

impl CredentialSource {
    /// What it is, read now; else why it cannot be.
    pub(super) fn read(&self) -> Result<SecretString, String> {
        let secret = match self {
            Self::Env(name) => {
                #[expect(clippy::disallowed_methods, reason = "this is the configuration")]
                let value = std::env::var(name);
                value.map_err(|_| format!("the environment has no {name}"))?
            }
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?,
        };
        let secret = SecretString::from(secret.trim().to_owned());
        if secret.expose_secret().is_empty() {
            return Err("the credential is empty".to_owned());
        }
        Ok(secret)
    }
}

impl Channel {
    /// Whether a call could go through it.
    pub(super) fn check(&self, number: usize) -> Result<(), ConfigError> {
        let wrong = |why: &str| ConfigError::Channel {
            channel: self.label(number),
            why: why.to_owned(),
        };
        let url = self.base_url.as_deref().unwrap_or("");
        let is_http = url.starts_with("http://") || url.starts_with("https://");
        if self.protocol == Protocol::Openai && !is_http {
            return Err(wrong("base_url must be an http:// or https:// address"));
        }
        if let Some((name, _)) = self.attributes.iter().find(|(_, text)| !is_value(text)) {
            let why = format!(
                "attributes.{name} must be 1 to 60 bytes of text, without commas, as a \
                 condition of a price names it"
            );
            return Err(wrong(&why));
        }
        if self.weight == 0 {
            return Err(wrong("weight must be at least 1"));
        }
        self.lane_limits(number).map(drop)
    }

    /// How many calls it takes at once; `None` where any number.
    pub(crate) fn lane_limits(&self, number: usize) -> Result<Option<LaneLimits>, ConfigError> {
        let limits = self.lanes.as_ref().map(LaneSettings::limits).transpose();
        limits.map_err(|fault| ConfigError::Channel {
            channel: self.label(number),
            why: format!("lanes: {fault}"),
        })
    }

    /// What records call it.
    pub(crate) fn label(&self, number: usize) -> String {
        let host = || {
            let url = self.base_url.as_deref()?;
            let rest = url.split("://").nth(1)?;
            Some(rest.split(['/', '@']).next().unwrap_or(rest).to_owned())
        };
        self.name
            .clone()
            .or_else(host)
            .unwrap_or_else(|| format!("channel-{}", number + 1))
    }

    /// The certificates of `ca_file`, read now.
    pub(crate) fn authorities(&self, number: usize) -> Result<Option<Vec<u8>>, ConfigError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| ConfigError::Channel {
                channel: self.label(number),
                why: format!("cannot read ca_file {}: {error}", path.display()),
            })
        };
        self.ca_file.as_ref().map(read).transpose()
    }

    /// The credential, read now.
    pub(crate) fn credential(&self, number: usize) -> Result<Option<SecretString>, ConfigError> {
        let Some(source) = &self.credential else {
            return Ok(None);
        };
        let wrong = |why: String| ConfigError::Channel {
            channel: self.label(number),
            why,
        };
        source.read().map(Some).map_err(wrong)
    }
}

const fn many() -> usize {
    256
}

const fn a_while() -> u64 {
    10_000
}

fn every_model() -> Vec<String> {
    vec!["*".into()]
}

const fn one() -> u32 {
    1
}
