//! Actions: the admission of a call, and the requests of a run before they are sent.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::{ConnectFault, Fault, QueueEffect, Seam, SlaveEffect, TargetEffect, affects};
use crate::clock::Sleep;
use crate::fault::index::{IndexKey, KeyField};
use crate::fault::written_form::{WrittenForm, WrittenForms};
use crate::fault::{Engine, result};
use crate::limits;
use crate::notation::DurationText;
use crate::problem::Problem;

/// The actions that a rule affects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActionPlace {
    /// The id of the device. `None` for every device.
    pub device: Option<String>,
    /// The id of the action. `None` for every action.
    pub action: Option<String>,
}

/// An effect on an action.
#[derive(Debug, Clone, PartialEq)]
pub enum ActionEffect {
    /// The call is refused with 400, as if the action were disabled.
    Disable,
    /// Each request of the action stays "running" before it is sent.
    Hold {
        /// The time. `None` until the rule is released.
        duration: Option<Duration>,
    },
    /// The request fails before it is sent.
    Connect(ConnectFault),
    /// The peer answers so that the request ends with this result code.
    Reply {
        /// The result code.
        code: i32,
        /// The effect on a slave. `None` if a Modbus request cannot end with that code.
        slave: Option<Box<SlaveEffect>>,
        /// The effect on a target. `None` if an HTTP request cannot end with that code.
        target: Option<Box<TargetEffect>>,
    },
}

/// The action that a call or a request comes from: the borrowed form of [`ActionOrigin`].
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the fields are those that a rule can name")]
pub struct ActionOriginRef<'a> {
    pub device: &'a str,
    pub action: &'a str,
}

/// The decision on a call before it is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionVerdict {
    /// True if the action is refused as disabled.
    pub disabled: bool,
    /// The number of slots that are occupied by rules.
    pub occupied: usize,
    /// The number of slots in all.
    pub limit: usize,
}

/// A request that is held. [`Hold::sleep`] ends by time or by release.
#[derive(Debug)]
pub struct Hold {
    /// The id of the rule that holds the request.
    pub rule: Arc<str>,
    /// The sleep that ends with the hold.
    pub sleep: Sleep,
}

pub(super) static FORMS: LazyLock<WrittenForms<ActionEffect>> = LazyLock::new(|| {
    WrittenForms::new(
        "action",
        "an action",
        vec![
            WrittenForm::keyword(
                "disable",
                "the call is refused with 400, as if the action were disabled.",
                ActionEffect::Disable,
            ),
            WrittenForm::with_parameters(
                "hold",
                "the requests stay running for this time.",
                |duration: DurationText| {
                    if duration.0.is_zero() {
                        return Err(Problem::of_document(
                            "a hold of 0 is none; the bare word `hold` lasts until it is released",
                        ));
                    }
                    Ok(ActionEffect::Hold { duration: Some(duration.0) })
                },
                |effect| match effect {
                    ActionEffect::Hold { duration } => duration.map(DurationText),
                    _ => None,
                },
            ),
            WrittenForm::keyword(
                "hold",
                "the requests stay running until the rule is released, disarmed or removed.",
                ActionEffect::Hold { duration: None },
            ),
            WrittenForm::with_parameters(
                "result",
                result::TEXT,
                result::of_action,
                ActionEffect::result_code,
            ),
        ],
    )
});

/// Returns the keys of a rule: `disable` is asked at the admission, `hold` before a request is sent,
/// and a result code before the request is sent and at the peer that is to provoke it.
pub(super) fn keys(place: &ActionPlace, effect: &ActionEffect) -> Vec<IndexKey> {
    let seams: &[Seam] = match effect {
        ActionEffect::Disable => &[Seam::Admission],
        ActionEffect::Hold { .. } => &[Seam::Run],
        ActionEffect::Connect(_) => &[Seam::Connect],
        ActionEffect::Reply { .. } => &[Seam::Connect, Seam::Slave, Seam::Target],
    };
    seams.iter().map(|seam| place.fields(IndexKey::new(*seam))).collect()
}

impl ActionEffect {
    /// Returns the result code with which the requests end, if the effect provokes one.
    #[must_use]
    pub fn result_code(&self) -> Option<i32> {
        match self {
            Self::Connect(fault) => Some(fault.result_code()),
            Self::Reply { code, .. } => Some(*code),
            Self::Disable | Self::Hold { .. } => None,
        }
    }
}

impl ActionPlace {
    fn fields(&self, key: IndexKey) -> IndexKey {
        key.name(KeyField::Device, self.device.as_deref())
            .name(KeyField::Action, self.action.as_deref())
    }

    /// Returns `true` if the place includes a call or a request of an action.
    #[must_use]
    pub fn matches(&self, call: &ActionOriginRef<'_>) -> bool {
        affects(&self.device, call.device) && affects(&self.action, call.action)
    }
}

impl ActionOriginRef<'_> {
    pub(super) fn fields(&self, key: IndexKey) -> IndexKey {
        key.name(KeyField::Device, Some(self.device)).name(KeyField::Action, Some(self.action))
    }
}

impl Engine {
    /// Evaluates the rules on a call of an action before it is admitted.
    #[must_use]
    pub fn admission(&self, call: &ActionOriginRef<'_>) -> AdmissionVerdict {
        let mut verdict =
            AdmissionVerdict { disabled: false, occupied: 0, limit: limits::REQUESTS_IN_PROGRESS };
        self.evaluate(
            Seam::Admission,
            |key| call.fields(key),
            || call.to_string(),
            |fault, evaluation| match fault {
                Fault::Action(place, ActionEffect::Disable) if place.matches(call) => {
                    verdict.disabled |= evaluation.count_and_decide(true);
                }
                Fault::Queue { device, effect }
                    if affects(device, call.device) && evaluation.count_and_decide(true) =>
                {
                    match *effect {
                        QueueEffect::Occupy(slots) => {
                            verdict.occupied = verdict.occupied.saturating_add(slots);
                        }
                        QueueEffect::Limit(slots) => verdict.limit = verdict.limit.min(slots),
                    }
                }
                _ => {}
            },
        );
        verdict
    }

    /// Evaluates the rules on a request of an action that is about to start.
    #[must_use]
    pub fn hold(&self, call: &ActionOriginRef<'_>) -> Option<Hold> {
        let mut hold = None;
        self.evaluate(
            Seam::Run,
            |key| call.fields(key),
            || call.to_string(),
            |fault, evaluation| {
                if let Fault::Action(place, ActionEffect::Hold { duration }) = fault
                    && place.matches(call)
                    && evaluation.count_and_decide(hold.is_none())
                {
                    let sleep = evaluation.hold(*duration);
                    hold = Some(Hold { rule: Arc::clone(evaluation.id), sleep });
                }
            },
        );
        hold
    }
}

/// The action that sends a request, and the origin of its connections
/// ([`PeerInfo::origin`](crate::net::inflight::PeerInfo::origin)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionOrigin {
    /// The device's id.
    pub device: Arc<str>,
    /// The action's id.
    pub action: Arc<str>,
}

impl<'a> From<&'a ActionOrigin> for ActionOriginRef<'a> {
    fn from(origin: &'a ActionOrigin) -> Self {
        Self { device: &origin.device, action: &origin.action }
    }
}

impl fmt::Display for ActionOriginRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} action {}", self.device, self.action)
    }
}
