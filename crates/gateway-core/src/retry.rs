//! What the result of one attempt means for the call.

use crate::outcome::Outcome;
use crate::provider::SendError;
use crate::route::Report;

/// What became of one attempt, before anything was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The reply began with this status.
    Answered(u16),
    /// There was no reply.
    Failed(SendError),
    /// The reply broke off, or was no answer, before anything was passed on.
    Spoiled,
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This is the call's answer: pass it on.
    Deliver,
    /// Another channel may do better; with none left, this is how the call ended.
    TryNext(Outcome),
    /// Every channel would say the same: pass the refusal on.
    Reject(Outcome),
}

/// Judges an attempt.
///
/// Tried elsewhere: no connection, no answer in time, 408, 429, 5xx; and 401, 402 and 403, which
/// concern the house's credential at that upstream and never the client. Final: every other status.
pub fn judge(attempt: &Attempt) -> Verdict {
    match attempt {
        Attempt::Answered(200..=299) => Verdict::Deliver,
        Attempt::Answered(status @ (401..=403 | 408 | 425 | 429 | 500..)) => {
            Verdict::TryNext(Outcome::UpstreamFailed {
                status: Some(*status),
            })
        }
        Attempt::Answered(status) => Verdict::Reject(Outcome::UpstreamRejected { status: *status }),
        Attempt::Failed(SendError::Timeout(_)) => Verdict::TryNext(Outcome::UpstreamTimeout),
        Attempt::Failed(SendError::Unavailable(_)) | Attempt::Spoiled => {
            Verdict::TryNext(Outcome::UpstreamFailed { status: None })
        }
    }
}

/// What an attempt says about its channel.
pub fn report(attempt: &Attempt, retry_after_ms: Option<u64>) -> Report {
    match judge(attempt) {
        Verdict::Deliver | Verdict::Reject(_) => Report::Works,
        Verdict::TryNext(outcome) => match (outcome.status(), retry_after_ms) {
            (Some(429 | 503), Some(wait)) => Report::Busy {
                retry_after_ms: wait,
            },
            _ => Report::Fails,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_table_of_attempts() {
        let failed = |status| Verdict::TryNext(Outcome::UpstreamFailed { status });
        let rejected = |status| Verdict::Reject(Outcome::UpstreamRejected { status });
        let second = Duration::from_secs(1);
        let table = [
            (Attempt::Answered(200), Verdict::Deliver),
            (Attempt::Answered(400), rejected(400)),
            (Attempt::Answered(404), rejected(404)),
            (Attempt::Answered(413), rejected(413)),
            (Attempt::Answered(422), rejected(422)),
            (Attempt::Answered(302), rejected(302)),
            (Attempt::Answered(401), failed(Some(401))),
            (Attempt::Answered(403), failed(Some(403))),
            (Attempt::Answered(408), failed(Some(408))),
            (Attempt::Answered(429), failed(Some(429))),
            (Attempt::Answered(500), failed(Some(500))),
            (Attempt::Answered(529), failed(Some(529))),
            (Attempt::Spoiled, failed(None)),
            (
                Attempt::Failed(SendError::Unavailable(String::new())),
                failed(None),
            ),
            (
                Attempt::Failed(SendError::Timeout(second)),
                Verdict::TryNext(Outcome::UpstreamTimeout),
            ),
        ];
        for (attempt, verdict) in table {
            assert_eq!(judge(&attempt), verdict, "{attempt:?}");
        }
    }

    #[test]
    fn a_refused_request_does_not_blame_the_channel() {
        assert_eq!(report(&Attempt::Answered(400), None), Report::Works);
        assert_eq!(report(&Attempt::Answered(500), None), Report::Fails);
        assert_eq!(
            report(&Attempt::Answered(429), Some(700)),
            Report::Busy {
                retry_after_ms: 700
            }
        );
    }
}
