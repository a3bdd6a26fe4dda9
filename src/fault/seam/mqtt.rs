//! Messages of the device's MQTT client, before they are published.

use std::sync::LazyLock;

use super::{Fault, Seam, affects};
use crate::fault::engine::SeamEffect;
use crate::fault::index::KeyField;
use crate::fault::written_form::{WrittenForm, WrittenForms};
use crate::fault::{Delay, Engine, Verdict};

/// An effect on the device's MQTT client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MqttEffect {
    /// A message is sent later. No other message is made in the meantime.
    Delay(Delay),
    /// A message is not sent, and the client does not notice.
    Lose,
    /// The connection ends in place of a message. The client connects again at once.
    Drop,
    /// The broker refuses connections, and an open one ends.
    Refuse,
}

/// A message that a device's MQTT client is about to publish.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the fields are those that a rule can name")]
pub struct MqttMessage<'a> {
    pub device: &'a str,
    pub topic: &'a str,
}

pub(super) static FORMS: LazyLock<WrittenForms<MqttEffect>> = LazyLock::new(|| {
    WrittenForms::new(
        "mqtt",
        "the MQTT client",
        vec![
            WrittenForm::delay("a message is sent later.", MqttEffect::Delay),
            WrittenForm::keyword(
                "lose",
                "a message is not sent, and the client does not notice.",
                MqttEffect::Lose,
            ),
            WrittenForm::keyword(
                "drop",
                "the connection ends in place of a message.",
                MqttEffect::Drop,
            ),
            WrittenForm::keyword(
                "refuse",
                "the broker refuses connections, and an open connection ends.",
                MqttEffect::Refuse,
            ),
        ],
    )
});

/// Returns the seam at which an effect is asked for.
pub(super) fn seam_of(effect: &MqttEffect) -> Seam {
    if *effect == MqttEffect::Refuse { Seam::Listener } else { Seam::Mqtt }
}

impl SeamEffect for MqttEffect {
    fn delay(&self) -> Option<Delay> {
        if let Self::Delay(delay) = self { Some(*delay) } else { None }
    }
}

impl Engine {
    /// Evaluates the rules on a message.
    #[must_use]
    pub fn mqtt(&self, message: &MqttMessage<'_>) -> Verdict<MqttEffect> {
        self.verdict(
            Seam::Mqtt,
            |key| key.name(KeyField::Device, Some(message.device)),
            || format!("{} {}", message.device, message.topic),
            |fault| match fault {
                Fault::Mqtt { device, effect } if affects(device, message.device) => Some(effect),
                _ => None,
            },
        )
    }
}
