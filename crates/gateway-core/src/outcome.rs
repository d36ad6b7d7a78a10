//! How a call ended.

use std::fmt;

/// How a call ended, as the client and the books see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The whole answer was delivered.
    Completed,
    /// The upstream refused the request itself; another channel would too.
    UpstreamRejected {
        /// Its HTTP status.
        status: u16,
    },
    /// No channel gave an answer.
    UpstreamFailed {
        /// The last HTTP status, if there was one.
        status: Option<u16>,
    },
    /// No channel answered in time.
    UpstreamTimeout,
    /// The upstream broke off after the answer had begun.
    CutMidStream,
    /// The client left before anything was sent to it.
    ClientGoneBeforeFirstByte,
    /// The client left after the answer had begun.
    ClientGoneMidStream,
    /// The answer outgrew its hold and no more could be held.
    FundsExhaustedMidStream,
}

impl Outcome {
    /// The stable name in call records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::UpstreamRejected { .. } => "upstream_rejected",
            Self::UpstreamFailed { .. } => "upstream_failed",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::CutMidStream => "cut_mid_stream",
            Self::ClientGoneBeforeFirstByte => "client_gone_before_first_byte",
            Self::ClientGoneMidStream => "client_gone_mid_stream",
            Self::FundsExhaustedMidStream => "funds_exhausted_mid_stream",
        }
    }

    /// The upstream's HTTP status, where the outcome has one.
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::UpstreamRejected { status } => Some(status),
            Self::UpstreamFailed { status } => status,
            Self::Completed
            | Self::UpstreamTimeout
            | Self::CutMidStream
            | Self::ClientGoneBeforeFirstByte
            | Self::ClientGoneMidStream
            | Self::FundsExhaustedMidStream => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
