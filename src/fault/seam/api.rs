//! Calls of the device's HTTP API, before anything else handles them.

use std::sync::LazyLock;
use std::time::Duration;

use super::{Fault, Seam, affects};
use crate::fault::engine::SeamEffect;
use crate::fault::index::{IndexKey, KeyField};
use crate::fault::parameters::{
    DripParameters, StatusParameter, StatusParameters, StatusWithRetry,
};
use crate::fault::written_form::{WrittenForm, WrittenForms};
use crate::fault::{Delay, Engine, Verdict};
use crate::net::http::Method;
use crate::notation::{Choice, Seconds};
use crate::problem::Problem;

/// The calls of the API that a rule affects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiPlace {
    /// The id of the device. `None` for every device.
    pub device: Option<String>,
    /// The path, such as `/api/v1/actions/call`. `None` for every path.
    pub route: Option<String>,
    /// The method. `None` for every method but OPTIONS.
    pub method: Option<Method>,
}

/// An effect on a call of the API.
#[derive(Debug, Clone, PartialEq)]
pub enum ApiEffect {
    /// The answer comes later.
    Delay(Delay),
    /// This status in place of the real answer. The call has no effect.
    Status {
        /// The status, 400..=599.
        code: u16,
        /// The seconds of a `Retry-After` header.
        retry_after: Option<u32>,
    },
    /// The connection is reset in place of an answer. The call has no effect.
    Reset,
    /// There is no answer. The call has no effect.
    Hang,
    /// The connection ends after this many bytes of the response, status line included.
    Cut {
        /// The number of bytes that are sent.
        after: usize,
    },
    /// The response is sent in small pieces.
    Drip {
        /// The number of bytes at a time.
        bytes: usize,
        /// The pause between them.
        every: Duration,
    },
    /// A JSON body that breaks off in the middle, with a matching `Content-Length`.
    MalformedJson,
    /// The nonce of the request has expired, so that the answer is a 401 with `stale=true`. Without a valid
    /// nonce the real answer.
    StaleNonce,
}

/// A call of a device's API.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the fields are those that a rule can name")]
pub struct ApiCall<'a> {
    pub device: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    /// True if the request has Digest credentials, and so a nonce.
    pub has_nonce: bool,
}

pub(super) static FORMS: LazyLock<WrittenForms<ApiEffect>> = LazyLock::new(|| {
    WrittenForms::new(
        "api",
        "the API",
        vec![
            WrittenForm::delay("the reply comes later.", ApiEffect::Delay),
            WrittenForm::with_parameters(
                "status",
                "the reply has this status.",
                |status| read_status(&status),
                |effect| {
                    let ApiEffect::Status { code, retry_after } = effect else { return None };
                    let code = StatusParameter(*code);
                    Some(match retry_after {
                        None => Choice::Word(code),
                        Some(seconds) => Choice::Map(StatusWithRetry {
                            code,
                            retry_after: Some(Seconds(*seconds)),
                        }),
                    })
                },
            ),
            WrittenForm::refused(
                "reset",
                "only a reset of a slave has a moment; write the bare word `reset`",
            ),
            WrittenForm::keyword(
                "reset",
                "the connection is reset before the reply.",
                ApiEffect::Reset,
            ),
            WrittenForm::keyword(
                "hang",
                "there is no reply; a call of the API has no effect.",
                ApiEffect::Hang,
            ),
            WrittenForm::with_parameters(
                "cut",
                "the connection ends after this many bytes of the response.",
                |after: u32| Ok(ApiEffect::Cut { after: after as usize }),
                |effect| match effect {
                    ApiEffect::Cut { after } => Some(u32::try_from(*after).unwrap_or(u32::MAX)),
                    _ => None,
                },
            )
            .at_most(1_048_576),
            WrittenForm::with_parameters(
                "drip",
                "the response is sent slowly, in small pieces.",
                |drip: DripParameters| {
                    let (bytes, every) = drip.values()?;
                    Ok(ApiEffect::Drip { bytes, every })
                },
                |effect| match effect {
                    ApiEffect::Drip { bytes, every } => Some(DripParameters::new(*bytes, *every)),
                    _ => None,
                },
            ),
            WrittenForm::keyword(
                "drip",
                "the response is sent slowly, 16 bytes every 100 ms.",
                ApiEffect::Drip { bytes: 16, every: Duration::from_millis(100) },
            ),
            WrittenForm::keyword(
                "malformed_json",
                "the JSON of the reply ends in the middle.",
                ApiEffect::MalformedJson,
            ),
            WrittenForm::keyword(
                "stale_nonce",
                "the nonce of the request expires: 401 with stale=true and a new nonce.",
                ApiEffect::StaleNonce,
            ),
        ],
    )
});

fn read_status(parameters: &StatusParameters) -> Result<ApiEffect, Problem> {
    let (code, retry_after) = match *parameters {
        Choice::Word(code) => (code.0, None),
        Choice::Map(StatusWithRetry { code, retry_after }) => (code.0, retry_after),
    };
    if !(400..=599).contains(&code) {
        return Err(Problem::of_document(format!("status {code}: expected an error, 400 to 599")));
    }
    Ok(ApiEffect::Status { code, retry_after: retry_after.map(|seconds| seconds.0) })
}

impl SeamEffect for ApiEffect {
    fn delay(&self) -> Option<Delay> {
        if let Self::Delay(delay) = self { Some(*delay) } else { None }
    }
}

impl ApiPlace {
    pub(super) fn key(&self) -> IndexKey {
        IndexKey::new(Seam::Api)
            .name(KeyField::Device, self.device.as_deref())
            .name(KeyField::Path, self.route.as_deref())
            .name(KeyField::Method, self.method.map(Method::as_str))
    }

    fn matches(&self, call: &ApiCall<'_>) -> bool {
        // A rule has to name OPTIONS: with it a browser asks whether its page may call, and a rule is
        // to treat the calls of a page like those of a program.
        let method = |actual: &str| {
            self.method.map_or(actual != Method::Options.as_str(), |own| own.as_str() == actual)
        };
        affects(&self.device, call.device) && affects(&self.route, call.path) && method(call.method)
    }
}

impl Engine {
    /// Evaluates the rules on a call of the API.
    #[must_use]
    pub fn api(&self, call: &ApiCall<'_>) -> Verdict<ApiEffect> {
        self.verdict(
            Seam::Api,
            |key| {
                key.name(KeyField::Device, Some(call.device))
                    .name(KeyField::Path, Some(call.path))
                    .name(KeyField::Method, Some(call.method))
            },
            || format!("{} {}", call.method, call.path),
            |fault| match fault {
                // Without a nonce nothing can expire (FAULT-8).
                Fault::Api(_, ApiEffect::StaleNonce) if !call.has_nonce => None,
                Fault::Api(place, effect) if place.matches(call) => Some(effect),
                _ => None,
            },
        )
    }
}
