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

    /// The tiers that a reply may name where a request asks for a provider's word, or for none. What
    /// `auto` gets is the project's to say: it may be the dearer one.
    pub fn foreseen_of(asked: Option<&str>) -> &'static [Self] {
        let tier = asked.map(Self::of_provider).unwrap_or_default();
        match tier {
            Self::Standard if asked == Some("auto") => &[Self::Standard, Self::Priority],
            Self::Standard => &[Self::Standard],
            Self::Batch => &[Self::Batch],
            Self::Flex => &[Self::Flex],
            Self::Priority => &[Self::Priority],
            Self::Ultrafast => &[Self::Ultrafast],
            Self::Balanced => &[Self::Balanced],
            Self::Decisions => &[Self::Decisions],
        }
    }
}

impl fmt::Display for ServiceTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
