//! Events of the live stream, as their readings come.

use std::sync::LazyLock;
use std::time::Duration;

use super::{Fault, Seam, affects};
use crate::clock::Sleep;
use crate::fault::engine::SeamEffect;
use crate::fault::index::KeyField;
use crate::fault::written_form::{WrittenForm, WrittenForms};
use crate::fault::{Delay, Engine};
use crate::notation::DurationText;
use crate::problem::Problem;

/// An effect on an event of the live stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LiveEffect {
    /// The event is sent later, and the events after it behind it.
    Delay(Delay),
    /// The event and those after it are held back.
    Stall {
        /// The time. `None` until the rule is released.
        duration: Option<Duration>,
    },
    /// The connection ends after this many bytes of the event.
    Cut {
        /// The number of bytes that are sent.
        after: usize,
    },
    /// The event is sent twice.
    Duplicate,
    /// The client is disconnected in place of the event, as if another client had connected.
    Takeover,
}

/// The decision on an event of the live stream.
#[derive(Debug, Default)]
pub struct LiveVerdict {
    /// The sum of all delays.
    pub delay: Duration,
    /// The sleep after which the event may be sent. `None` if it is not held back.
    pub stall: Option<Sleep>,
    /// The decisive effect, neither a delay nor a stall. `None` if the event is sent as it is.
    pub effect: Option<LiveEffect>,
}

pub(super) static FORMS: LazyLock<WrittenForms<LiveEffect>> = LazyLock::new(|| {
    WrittenForms::new(
        "live",
        "the live stream",
        vec![
            WrittenForm::delay(
                "the event is sent later, and the events after it wait behind it.",
                LiveEffect::Delay,
            ),
            WrittenForm::with_parameters(
                "stall",
                "the event and all later ones are held back for this time.",
                |duration: DurationText| {
                    if duration.0.is_zero() {
                        return Err(Problem::of_document(
                            "a stall of 0 is none; the bare word `stall` lasts until it is released",
                        ));
                    }
                    Ok(LiveEffect::Stall { duration: Some(duration.0) })
                },
                |effect| match effect {
                    LiveEffect::Stall { duration } => duration.map(DurationText),
                    _ => None,
                },
            ),
            WrittenForm::keyword(
                "stall",
                "the event and all later ones are held back until the rule is released, disarmed or removed.",
                LiveEffect::Stall { duration: None },
            ),
            WrittenForm::with_parameters(
                "cut",
                "the connection ends after this many bytes of the event.",
                |after: u32| Ok(LiveEffect::Cut { after: after as usize }),
                |effect| match effect {
                    LiveEffect::Cut { after } => Some(u32::try_from(*after).unwrap_or(u32::MAX)),
                    _ => None,
                },
            )
            .at_most(1_048_576),
            WrittenForm::keyword("duplicate", "the event is sent twice.", LiveEffect::Duplicate),
            WrittenForm::keyword(
                "takeover",
                "the client is disconnected in place of the event, as if another client had connected.",
                LiveEffect::Takeover,
            ),
        ],
    )
});

impl SeamEffect for LiveEffect {
    fn delay(&self) -> Option<Delay> {
        if let Self::Delay(delay) = self { Some(*delay) } else { None }
    }
}

impl Engine {
    /// Evaluates the rules on an event of a device's live stream.
    #[must_use]
    pub fn live(&self, device: &str) -> LiveVerdict {
        let mut verdict = LiveVerdict::default();
        self.evaluate(
            Seam::Live,
            |key| key.name(KeyField::Device, Some(device)),
            || device.to_owned(),
            |fault, evaluation| {
                let Fault::Live { device: place, effect } = fault else { return };
                if !affects(place, device) {
                    return;
                }
                match effect {
                    LiveEffect::Delay(delay) => verdict.delay += evaluation.delay(*delay),
                    LiveEffect::Stall { duration } => {
                        if evaluation.count_and_decide(verdict.stall.is_none()) {
                            verdict.stall = Some(evaluation.hold(*duration));
                        }
                    }
                    _ => {
                        if evaluation.count_and_decide(verdict.effect.is_none()) {
                            verdict.effect = Some(*effect);
                        }
                    }
                }
            },
        );
        verdict
    }
}
