//! Why a request is refused, in words that can be handed to the client.

use thiserror::Error;

use super::MAX_DEPTH;

/// Why a request is refused before anything is spent on it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The body is not UTF-8.
    #[error("The request body is not valid UTF-8.")]
    NotUtf8,
    /// The body is not JSON.
    #[error("The request body is not valid JSON: line {line}, column {column}.")]
    NotJson {
        /// Counted from one.
        line: usize,
        /// Counted from one.
        column: usize,
    },
    /// The body is JSON, but not an object.
    #[error("The request body must be a JSON object.")]
    NotAnObject,
    /// Brackets inside brackets inside brackets.
    #[error("The request body is nested too deeply (more than {MAX_DEPTH} levels).")]
    TooDeep,
    /// A member that must be there is not, or is null.
    #[error("Missing required parameter: '{0}'.")]
    Missing(&'static str),
    /// A member is there twice: readers disagree on which one counts.
    #[error("Duplicate parameter: '{0}'.")]
    Duplicate(&'static str),
    /// A member must not be empty.
    #[error("Invalid '{0}': it must not be empty.")]
    Empty(&'static str),
    /// A member has the wrong type.
    #[error("Invalid type for '{param}': expected {wanted}.")]
    WrongType {
        /// The member.
        param: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// A number is too small or too large.
    #[error("Invalid '{param}': it must be between {least} and {most}.")]
    OutOfRange {
        /// The member.
        param: &'static str,
        /// The smallest accepted value.
        least: u64,
        /// The largest accepted value.
        most: u64,
    },
    /// The model's name cannot be one.
    #[error("Invalid 'model': not a model name.")]
    BadModel,
}

impl RequestError {
    /// The member at fault, for `error.param`.
    pub const fn param(&self) -> Option<&'static str> {
        match self {
            Self::NotUtf8 | Self::NotJson { .. } | Self::NotAnObject | Self::TooDeep => None,
            Self::Missing(param)
            | Self::Duplicate(param)
            | Self::Empty(param)
            | Self::WrongType { param, .. }
            | Self::OutOfRange { param, .. } => Some(param),
            Self::BadModel => Some("model"),
        }
    }

    /// A stable word for programs, for `error.code`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotUtf8 => "invalid_utf8",
            Self::NotJson { .. } | Self::NotAnObject => "invalid_json",
            Self::TooDeep => "nesting_too_deep",
            Self::Missing(_) => "missing_required_parameter",
            Self::Duplicate(_) => "duplicate_parameter",
            Self::Empty(_) | Self::BadModel => "invalid_value",
            Self::WrongType { .. } => "invalid_type",
            Self::OutOfRange { .. } => "out_of_range",
        }
    }
}
