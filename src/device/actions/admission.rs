//! The policy of calls: how a call is admitted and answered, how its requests run, and why a call is
//! refused.

use crate::limits;

/// The behaviour of a device's actions wherever the vendor's documents leave a choice (ACTION-13,
/// ACTION-14, ACTION-17, ACTION-22, RESULT-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActionPolicy {
    /// The form of the reply to a call.
    pub call_route: CallRoute,
    /// The admission of a call with more requests than free places.
    pub admission: Admission,
    /// The order in which the requests of one action run.
    pub execution: Execution,
    /// The status id of the first request. `None` means 1.
    pub first_status_id: Option<u64>,
    /// True if an HTTP request without a response ends with 0, as in the device's script client, in
    /// place of the negative codes of the Modbus requests.
    pub http_failure_is_zero: bool,
}

impl ActionPolicy {
    /// Returns the status id of the first request.
    #[must_use]
    pub fn first_status_id(&self) -> u64 {
        self.first_status_id.unwrap_or(*limits::FIRST_STATUS_ID.start())
    }
}

/// The form of the reply to a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CallRoute {
    /// A `Location` header and no body.
    #[default]
    Page,
    /// The body `{"status_ids": […]}`.
    Rest,
}

/// The admission of a call with more requests than free places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Admission {
    /// As many requests as fit are queued, and the rest is dropped.
    #[default]
    Fit,
    /// The call is refused.
    All,
}

/// The order in which the requests of one action run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Execution {
    /// One after another, in the order of the definition.
    #[default]
    Sequential,
    /// All at the same time.
    Parallel,
}

/// The reason why a call was refused (`docs/device/actions.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallRefusal {
    /// 404.
    #[error("no such action")]
    Unknown,
    /// 400.
    #[error("the action is disabled")]
    Disabled,
    /// 400.
    #[error("the action has no enabled request")]
    NothingEnabled,
    /// 409.
    #[error("the action is already executing")]
    Busy,
    /// 429.
    #[error("too many requests in progress")]
    Full,
}

impl CallRefusal {
    /// Returns the HTTP status of the refusal.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Unknown => 404,
            Self::Disabled | Self::NothingEnabled => 400,
            Self::Busy => 409,
            Self::Full => 429,
        }
    }

    /// Returns the reason as the journal has it.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Disabled => "disabled",
            Self::NothingEnabled => "nothing enabled",
            Self::Busy => "busy",
            Self::Full => "full",
        }
    }
}
