//! Parameters that the effects of several seams share.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::notation::{Choice, DurationText, Seconds};
use crate::problem::Problem;

/// An HTTP status, 200 to 599; an API fault has 400 to 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "StatusCode")]
pub(super) struct StatusParameter(#[schemars(range(min = 200, max = 599))] pub u16);

/// A status with a `Retry-After` header (api).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "StatusOf")]
pub(super) struct StatusWithRetry {
    /// The status.
    pub code: StatusParameter,
    #[schemars(description = "The value of `Retry-After`, in whole seconds.")]
    pub retry_after: Option<Seconds>,
}

/// A status, alone or with `Retry-After`.
pub(super) type StatusParameters = Choice<StatusParameter, StatusWithRetry>;

/// A slow transmission in small pieces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Drip")]
pub(super) struct DripParameters {
    /// Bytes at a time; 1 unless given.
    #[schemars(range(min = 1, max = 65536))]
    bytes: Option<u32>,
    /// The pause between them.
    every: DurationText,
}

impl DripParameters {
    pub(super) fn new(bytes: usize, every: Duration) -> Self {
        Self { bytes: Some(u32::try_from(bytes).unwrap_or(u32::MAX)), every: DurationText(every) }
    }

    /// Returns the number of bytes at a time, and the pause.
    pub(super) fn values(&self) -> Result<(usize, Duration), Problem> {
        if self.every.0.is_zero() {
            return Err(Problem::of_document("`every` must be longer than 0"));
        }
        Ok((self.bytes.unwrap_or(1) as usize, self.every.0))
    }
}
