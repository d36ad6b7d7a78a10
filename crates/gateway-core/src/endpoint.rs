//! The calls that are served.

use std::fmt;

/// What kind of call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An answer to a conversation.
    ChatCompletions,
    /// Vectors for texts.
    Embeddings,
}

impl Endpoint {
    /// The path below the version prefix, as clients and OpenAI-compatible upstreams know it.
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Embeddings => "/embeddings",
        }
    }

    /// The name in call records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Embeddings => "embeddings",
        }
    }

    /// Whether the model writes anything that is counted as output.
    pub const fn has_output(self) -> bool {
        match self {
            Self::ChatCompletions => true,
            Self::Embeddings => false,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
