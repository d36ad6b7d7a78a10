//! Configuration: defaults, then `tollgate.toml`, then `TOLLGATE__SECTION__KEY`, then flags.

mod channel;
mod dunning;
mod invoicing;
pub(crate) mod lease;
mod messages;
mod spool;

use std::fmt;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use channel::{Channel, Protocol};
use dunning::DunningSettings;
use invoicing::Invoicing;
use lease::Lease;
use messages::MessagesSettings;
use spool::Spool;

/// Everything that an operator can set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where requests are taken.
    pub(crate) listen: String,
    /// How many threads take them.
    pub(crate) workers: usize,
    /// Where the books are kept.
    pub(crate) database: Database,
    /// Where settlements are kept that the books cannot take.
    pub(crate) spool: Spool,
    /// This process among others.
    pub(crate) node: Node,
    /// How this process takes leases.
    pub(crate) lease: Lease,
    /// Bounds of a call.
    pub(crate) limits: Limits,
    /// The proofs that go on beside the calls.
    pub(crate) checker: Checker,
    /// What is kept for a time only.
    pub(crate) retention: Retention,
    /// What the process counts.
    pub(crate) metrics: Metrics,
    /// The date.
    pub(crate) clock: ClockSettings,
    /// How invoices are made.
    pub(crate) invoicing: Invoicing,
    /// What happens to fees that cannot be collected.
    pub(crate) dunning: DunningSettings,
    /// Where messages go.
    pub(crate) messages: MessagesSettings,
    /// The upstreams.
    pub(crate) channel: Vec<Channel>,
}

/// What is kept for a time only.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retention {
    /// For how many days calls are kept; for ever unless given. What was charged stays in the
    /// journal, and what was used in the roll-ups.
    pub(crate) calls_days: Option<NonZeroU16>,
}

/// The date of the deployment.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClockSettings {
    /// Whether the date may be moved ahead, for demonstrations and tests.
    pub(crate) movable: bool,
}

/// What the process counts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Metrics {
    /// Where `/metrics` is answered; nowhere unless given.
    pub(crate) listen: Option<String>,
}

/// The proofs that go on beside the calls.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Checker {
    /// How often some accounts are proved, in milliseconds; 0 never.
    pub(crate) every_ms: u64,
    /// How many of them at a time.
    pub(crate) accounts: usize,
    /// An account that has moved since its last proof is proved again after so many seconds.
    pub(crate) moved_s: u32,
    /// One that has not moved is proved again after so many seconds.
    pub(crate) again_s: u32,
}

/// Where the books are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Database {
    /// `sqlite:///path/to/file.db` or `postgres://…`.
    pub(crate) url: DatabaseUrl,
    /// For how many seconds a start waits for a database that cannot be reached. 0 fails at once.
    pub(crate) wait_s: u32,
}

/// A database address. It may hold a password, so it is not shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct DatabaseUrl(pub(crate) String);

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.split("://").next().unwrap_or("");
        write!(f, "{scheme}://…")
    }
}

/// This process among others.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Node {
    /// Its name, the same after each restart and different from every other node's.
    pub(crate) name: String,
    /// For how many seconds a node must be silent to be taken for dead; at least 3.
    pub(crate) silence_s: u32,
    /// For how many seconds the leases of a node that was taken for dead are kept for the calls
    /// that it has ended and not settled; until it is back, or gives them up, if that is sooner.
    /// At most a day. On SQLite there is nobody who could come back.
    pub(crate) keep_leases_s: u32,
    /// How many seconds the clock may differ from the database's. A node whose clock is further
    /// off does not start, and lets no call in while it is.
    pub(crate) max_clock_skew_s: u32,
}

/// Bounds of a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// The largest request body, in bytes.
    pub(crate) body_bytes: usize,
    /// The largest answer that is not streamed, in bytes.
    pub(crate) answer_bytes: usize,
    /// Tokens of an answer that are held where neither the caller nor the catalogue bounds it.
    pub(crate) default_output_tokens: u64,
    /// How long a call waits for funds that other calls hold, in milliseconds.
    pub(crate) funds_wait_ms: u32,
    /// How long an upstream may take to begin its answer, in milliseconds.
    pub(crate) upstream_head_ms: u64,
    /// How long an upstream may be silent within its answer, in milliseconds.
    pub(crate) upstream_idle_ms: u64,
    /// For how long the stream of a client that left is read on, for the provider's own count, in
    /// milliseconds. 0 cancels it at once and counts what was delivered. Reasoning that the
    /// provider does not show is only charged when this is long enough for its count to come.
    pub(crate) drain_ms: u64,
    /// How many calls may be under way at once. Whoever comes beyond is asked to try again.
    pub(crate) calls_in_flight: usize,
    /// For how many seconds a process that is told to stop still takes calls, after it has begun to
    /// say that it is not ready: what a balancer needs to notice.
    pub(crate) unready_s: u32,
    /// For how many seconds calls that are running may go on then, before what they delivered is
    /// settled.
    pub(crate) drain_s: u32,
}

/// What is wrong with the configuration.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// A key is unknown or a value is not what it should be.
    #[error("the configuration cannot be read: {0}")]
    Unreadable(#[from] Box<figment::Error>),
    /// Settings contradict each other.
    #[error("{0}")]
    Contradiction(String),
    /// A channel lacks something.
    #[error("channel {channel}: {why}")]
    Channel {
        /// Its name or number.
        channel: String,
        /// What is wrong.
        why: String,
    },
    /// A node could not live with it.
    #[error("node.silence_s is {0}: a node that is silent for less than 3 s may well be alive")]
    Silence(u32),
    /// Longer than a node is on record.
    #[error("node.keep_leases_s is {0}: a node is on record for a day, so 86400 is the most")]
    KeepLeases(u32),
    /// A file that was named is not there.
    #[error("there is no configuration file {0}")]
    NoFile(PathBuf),
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            listen: "127.0.0.1:8080".into(),
            workers: cores,
            database: Database::default(),
            spool: Spool::default(),
            node: Node::default(),
            lease: Lease::default(),
            limits: Limits::default(),
            checker: Checker::default(),
            retention: Retention::default(),
            clock: ClockSettings::default(),
            metrics: Metrics::default(),
            invoicing: Invoicing::default(),
            dunning: DunningSettings::default(),
            messages: MessagesSettings::default(),
            channel: Vec::new(),
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: DatabaseUrl("sqlite://tollgate.db".into()),
            wait_s: 60,
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self {
            name: "tollgate-1".into(),
            silence_s: 10,
            keep_leases_s: 120,
            max_clock_skew_s: 5,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 10 * 1024 * 1024,
            answer_bytes: 64 * 1024 * 1024,
            default_output_tokens: 4096,
            funds_wait_ms: 5_000,
            upstream_head_ms: 120_000,
            upstream_idle_ms: 60_000,
            drain_ms: 0,
            calls_in_flight: 20_000,
            unready_s: 0,
            drain_s: 20,
        }
    }
}

impl Default for Checker {
    fn default() -> Self {
        Self {
            every_ms: 1_000,
            accounts: 20,
            moved_s: 30,
            again_s: 3_600,
        }
    }
}

impl Config {
    /// Reads the configuration. A file that is named must exist; `tollgate.toml` may be missing.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        if let Some(path) = file.filter(|path| !path.exists()) {
            return Err(ConfigError::NoFile(path.to_owned()));
        }
        let figment = Figment::from(Serialized::defaults(Self::default()))
            .merge(Toml::file(
                file.unwrap_or_else(|| Path::new("tollgate.toml")),
            ))
            .merge(Env::prefixed("TOLLGATE__").split("__"));
        let config: Self = figment.extract().map_err(Box::new)?;
        config.check()?;
        Ok(config)
    }

    /// Where the spool is: what is configured, else beside the database's file, else in the working
    /// folder.
    pub(crate) fn spool_file(&self) -> PathBuf {
        self.spool.file(&self.database.url.0)
    }

    /// Whether the parts fit together.
    fn check(&self) -> Result<(), ConfigError> {
        if self.node.silence_s < 3 {
            return Err(ConfigError::Silence(self.node.silence_s));
        }
        if self.node.keep_leases_s > 86_400 {
            return Err(ConfigError::KeepLeases(self.node.keep_leases_s));
        }
        if let Some(fault) = self.lease.fault(self.node.silence_s) {
            return Err(ConfigError::Contradiction(fault));
        }
        if let Some(fault) = self.spool.fault() {
            return Err(ConfigError::Contradiction(fault));
        }
        self.invoicing.house().map_err(ConfigError::Contradiction)?;
        self.dunning.ladder().map_err(ConfigError::Contradiction)?;
        if let Some(fault) = self.messages.fault() {
            return Err(ConfigError::Contradiction(fault));
        }
        for (number, channel) in self.channel.iter().enumerate() {
            channel.check(number)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use billing_core::attribute::Attribute;
    use billing_core::lease_book::StaleRule;
    use gateway_core::lanes::Lane;

    fn read(toml: &str) -> Result<Config, ConfigError> {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        std::fs::write(file.path(), toml).unwrap();
        Config::load(Some(file.path()))
    }

    #[test]
    fn three_lines_make_a_channel() {
        let config = read(
            "[[channel]]\nbase_url = \"https://api.openai.com/v1\"\n\
             credential = \"env:OPENAI_API_KEY\"\n",
        )
        .unwrap();
        let channel = &config.channel[0];
        assert_eq!(channel.label(0), "api.openai.com");
        assert_eq!(channel.models, ["*"]);
    }

    #[test]
    fn lanes_leave_a_place_for_each() {
        let channel = |lanes: &str| {
            let channel = "[[channel]]\nprotocol = \"simulated\"\nlanes = ";
            read(&format!("{channel}{lanes}\n"))
        };
        let most = |lanes: &str| {
            let limits = channel(lanes).unwrap().channel[0].lane_limits(0).unwrap();
            Lane::ALL.map(|lane| limits.unwrap().most(lane))
        };
        assert_eq!(most("{ concurrent = 40 }"), [30, 38]);
        assert_eq!(most("{ concurrent = 40, boosted = 8 }"), [30, 32]);
        assert_eq!(
            most("{ concurrent = 40, boosted = 0, standard = 0 }"),
            [40, 40]
        );
        for (wrong, why) in [
            ("{ concurrent = 0 }", "serves nobody"),
            ("{ concurrent = 4, boosted = 4 }", "neither alone"),
            ("{ boosted = 4 }", "concurrent"),
        ] {
            let error = channel(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn attributes_of_a_channel_are_such_as_prices_name() {
        let channel = |attributes: &str| {
            let channel = "[[channel]]\nprotocol = \"simulated\"\nattributes = ";
            read(&format!("{channel}{attributes}\n"))
        };
        let eu = channel("{ region = \"eu\", image_size = \"1K\" }").unwrap();
        let attributes = &eu.channel[0].attributes;
        assert_eq!(attributes.get(Attribute::Region), Some("eu"));
        for (wrong, named) in [
            ("{ regoin = \"eu\" }", "regoin"),
            ("{ region = \"\" }", "attributes.region"),
            ("{ region = \"eu,us\" }", "attributes.region"),
            ("{ image_size = 1024 }", "image_size"),
            ("\"eu\"", "attributes"),
        ] {
            let error = channel(wrong).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_credential_in_clear_is_refused() {
        let text = "[[channel]]\nbase_url = \"https://x/v1\"\ncredential = \"sk-abc\"\n";
        let error = read(text).unwrap_err().to_string();
        assert!(
            error.contains("env:NAME") && !error.contains("sk-abc"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(read("lisen = \"x\"\n").is_err());
        assert!(read("[[channel]]\nbase_url = \"ftp://x\"\n").is_err());
        assert!(Config::load(Some(Path::new("/no/such/file.toml"))).is_err());
    }

    #[test]
    fn what_is_admitted_while_cut_off_is_refuse_or_an_amount() {
        let config = read("[lease]\nstale_wallet = \"0.50\"\nfresh_s = 4\n").unwrap();
        let staleness = config
            .lease
            .shared(config.node.silence_s)
            .staleness
            .unwrap();
        let half = billing_core::budget::Amount::new(500_000_000);
        assert_eq!(staleness.wallet, StaleRule::UpTo(half));
        assert_eq!(staleness.limits, StaleRule::Refuse);
        assert!(read("[lease]\nstale_wallet = \"-1\"\n").is_err());
        assert!(read("[lease]\nfresh_s = 10\n").is_err());
    }

    #[test]
    fn a_database_address_is_not_shown() {
        let url = DatabaseUrl("postgres://u:secret@h/db".into());
        assert_eq!(format!("{url:?}"), "postgres://…");
    }
}
