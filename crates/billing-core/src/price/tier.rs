//! Classes of service.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The class of service that a provider says it gave.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ServiceTier {
    /// The ordinary tier.
    #[default]
    Standard,
    /// Asynchronous, cheaper.
    Batch,
    /// Slower, cheaper.
    Flex,
    /// Faster, dearer.
    Priority,
    /// Fastest, dearest.
    Ultrafast,
    /// Between flex and priority.
    Balanced,
    /// Decision endpoints.
    Decisions,
}

impl ServiceTier {
    /// Every tier.
    pub const ALL: &'static [Self] = &[
        Self::Standard,
        Self::Batch,
        Self::Flex,
        Self::Priority,
        Self::Ultrafast,
        Self::Balanced,
        Self::Decisions,
    ];

    /// The wire and storage name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Ultrafast => "ultrafast",
            Self::Balanced => "balanced",
            Self::Decisions => "decisions",
        }
    }

    /// The tier that a provider's word means; words that no price knows mean the standard tier.
    pub fn of_provider(word: &str) -> Self {
        Self::ALL
            .iter()
            .find(|t| t.name() == word)
            .copied()
            .unwrap_or_default()
    }
}

impl fmt::Display for ServiceTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
