//! The action policy of a device, and the reasons for which a call is refused.

use crate::limits;

/// The behaviour of a device's actions wherever the vendor's documents leave a choice (ACTION-13,
/// ACTION-14, ACTION-17, ACTION-22, RESULT-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActionPolicy {
    /// The format of the reply to a call.
    pub call_reply_format: CallReplyFormat,
    /// The admission of a call with more requests than free slots.
    pub admission: Admission,
    /// The order in which the requests of one action run.
    pub execution: Execution,
    /// The status id of the first request. `None` means 1.
    pub first_status_id: Option<u64>,
    /// The result code of an HTTP request without a response.
    pub http_failure: HttpFailureCode,
}

impl ActionPolicy {
    /// Returns the status id of the first request.
    #[must_use]
    pub fn first_status_id(&self) -> u64 {
        self.first_status_id.unwrap_or(*limits::FIRST_STATUS_ID.start())
    }
}

/// The format of the reply to a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CallReplyFormat {
    /// A `Location` header and no body.
    #[default]
    LocationHeader,
    /// The body `{"status_ids": […]}`.
    JsonBody,
}

/// The admission of a call with more requests than free slots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Admission {
    /// As many requests as there are free slots are queued, and the rest is dropped.
    #[default]
    Partial,
    /// The call is refused.
    AllOrNothing,
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

/// The result code of an HTTP request without a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum HttpFailureCode {
    /// The negative code that a Modbus request has in the same case, such as −17.
    #[default]
    Negative,
    /// Always 0, as in the device's script client.
    Zero,
}

/// The reason why a call was refused (`docs/device/actions.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallRefusal {
    /// No action has the id (404).
    #[error("no such action")]
    Unknown,
    /// The action is disabled (400).
    #[error("the action is disabled")]
    Disabled,
    /// The action has no enabled request (400).
    #[error("the action has no enabled request")]
    NothingEnabled,
    /// A request of an earlier call of the action is in progress (409).
    #[error("the action is already executing")]
    Busy,
    /// No slot is free, or too few for all requests (429).
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
