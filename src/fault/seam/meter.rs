//! The meter of a device. Its effects are states and not events of a request: each follows the
//! windows of its rule alone, so that the meter's value at a moment does not depend on who asked
//! before. A rule has [episodes](crate::fault::Episode).

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, Seam, affects, device_key};
use crate::clock::VirtualTime;
use crate::fault::written_form::{WrittenForm, WrittenForms};
use crate::fault::{Engine, Episodes, Rule};
use crate::limits;
use crate::notation::{Choice, DurationText, OneOrMany};
use crate::problem::Problem;

/// An effect on a meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeterEffect {
    /// No reading reaches the device, for this reason.
    Silent(Silence),
    /// The values stand still. The readings go on.
    Frozen,
    /// The counter of imported energy is this many Wh too low.
    JumpBack(u64),
    /// The meter's clock is off.
    ClockDrift(ClockDrift),
    /// These phases (L1, L2, L3) are not measured.
    MissingPhases([bool; 3]),
    /// `report.id` begins again at 1.
    RestartIds,
}

/// The reason why no reading reaches the device (METER-10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is a status of the device")]
pub enum Silence {
    NotConnected,
    NoData,
    Recognition,
    KeyRequired,
    EncryptionKey,
    NotRecognized,
}

impl Silence {
    /// Returns `true` if the device forgets the identity of its meter and its last reading.
    #[must_use]
    pub const fn forgets(self) -> bool {
        !matches!(self, Self::NoData | Self::Recognition)
    }
}

/// The error of a clock. Positive values are ahead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClockDrift {
    /// The error at the beginning, in ms.
    pub offset: i64,
    /// The error that is added with each day, in ms.
    pub per_day: i64,
}

impl ClockDrift {
    /// Returns the error this long after it began, in ms.
    pub(in crate::fault) fn after(self, elapsed: Duration) -> i64 {
        const DAY_MILLIS: i128 = 86_400_000;
        let elapsed = i128::try_from(elapsed.as_millis()).unwrap_or(i128::MAX);
        let grown = i128::from(self.per_day).saturating_mul(elapsed) / DAY_MILLIS;
        i64::try_from(i128::from(self.offset) + grown).unwrap_or(self.offset)
    }
}

/// The parameters of a clock drift.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    rename = "Drift",
    description = "The error of a clock.",
    extend("minProperties" = 1)
)]
struct DriftParameters {
    /// The time by which the clock is ahead.
    ahead: Option<DurationText>,
    /// The time by which the clock is behind; in place of `ahead`.
    behind: Option<DurationText>,
    /// The time that each day adds, in the same direction; 0 unless given.
    per_day: Option<DurationText>,
}

/// A phase of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Phase")]
enum PhaseParameter {
    L1,
    L2,
    L3,
}

impl PhaseParameter {
    const ALL: [Self; 3] = [Self::L1, Self::L2, Self::L3];
}

pub(super) static FORMS: LazyLock<WrittenForms<MeterEffect>> = LazyLock::new(|| {
    let silent =
        |keyword, text, silence| WrittenForm::keyword(keyword, text, MeterEffect::Silent(silence));
    WrittenForms::new(
        "meter",
        "a meter",
        vec![
            silent("not_connected", "no meter is plugged in.", Silence::NotConnected),
            silent("no_data", "a meter is plugged in and sends nothing.", Silence::NoData),
            silent(
                "recognition",
                "the device never recognizes the protocol of the telegrams.",
                Silence::Recognition,
            ),
            silent(
                "key_required",
                "the telegrams are encrypted, and the device has no key.",
                Silence::KeyRequired,
            ),
            silent(
                "encryption_key",
                "the telegrams are encrypted with another key.",
                Silence::EncryptionKey,
            ),
            silent(
                "not_recognized",
                "the device does not know the protocol of the telegrams.",
                Silence::NotRecognized,
            ),
            WrittenForm::keyword(
                "frozen",
                "the values do not change, and readings continue.",
                MeterEffect::Frozen,
            ),
            WrittenForm::with_parameters(
                "jump_back",
                "the registers of imported energy are this many kWh too low.",
                read_jump_back,
                |effect| match effect {
                    #[expect(clippy::cast_precision_loss, reason = "it was read from an f64")]
                    MeterEffect::JumpBack(watt_hours) => Some(*watt_hours as f64 / 1000.0),
                    _ => None,
                },
            )
            .at_least(0.001)
            .at_most(1_000_000),
            WrittenForm::with_parameters(
                "clock_drift",
                "the meter's clock is ahead by this time, or wrong as the mapping says.",
                |parameters| read_clock_drift(&parameters),
                |effect| match effect {
                    MeterEffect::ClockDrift(drift) => Some(write_clock_drift(*drift)),
                    _ => None,
                },
            ),
            WrittenForm::with_parameters(
                "missing_phase",
                "this phase is, or these phases are, not measured.",
                |phases: OneOrMany<PhaseParameter>| {
                    let missing =
                        PhaseParameter::ALL.map(|phase| phases.as_slice().contains(&phase));
                    Ok(MeterEffect::MissingPhases(missing))
                },
                |effect| match effect {
                    MeterEffect::MissingPhases(missing) => {
                        let phases = PhaseParameter::ALL.into_iter().zip(missing);
                        let phases =
                            phases.filter(|(_, missing)| **missing).map(|(phase, _)| phase);
                        Some(OneOrMany::Many(phases.collect()))
                    }
                    _ => None,
                },
            ),
            WrittenForm::keyword(
                "restart_ids",
                "report.id starts again at 1.",
                MeterEffect::RestartIds,
            ),
        ],
    )
});

fn read_jump_back(kwh: f64) -> Result<MeterEffect, Problem> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    if (0.001..=1e6).contains(&kwh) {
        Ok(MeterEffect::JumpBack((kwh * 1000.0).round() as u64))
    } else {
        Err(Problem::of_document(format!("{kwh} kWh: expected 0.001 to 1000000")))
    }
}

fn read_clock_drift(
    parameters: &Choice<DurationText, DriftParameters>,
) -> Result<MeterEffect, Problem> {
    let millis = |time: Option<DurationText>| {
        time.map_or(0, |time| i64::try_from(time.0.as_millis()).unwrap_or(i64::MAX))
    };
    let drift = match *parameters {
        Choice::Word(ahead) => ClockDrift { offset: millis(Some(ahead)), per_day: 0 },
        Choice::Map(DriftParameters { ahead: Some(_), behind: Some(_), .. }) => {
            return Err(Problem::of_document("a clock is `ahead` or `behind`, not both"));
        }
        Choice::Map(DriftParameters { ahead, behind: None, per_day }) => {
            ClockDrift { offset: millis(ahead), per_day: millis(per_day) }
        }
        Choice::Map(DriftParameters { behind, per_day, .. }) => {
            ClockDrift { offset: -millis(behind), per_day: -millis(per_day) }
        }
    };
    if drift == ClockDrift::default() {
        return Err(Problem::of_document("an error of 0 is none; give a time, as 90s"));
    }
    Ok(MeterEffect::ClockDrift(drift))
}

fn write_clock_drift(drift: ClockDrift) -> Choice<DurationText, DriftParameters> {
    let ClockDrift { offset, per_day } = drift;
    let text = |millis: i64| {
        (millis != 0).then(|| DurationText(Duration::from_millis(millis.unsigned_abs())))
    };
    let (ahead, behind) =
        if offset.min(per_day) < 0 { (None, text(offset)) } else { (text(offset), None) };
    // `behind` is written even if it begins at 0, because it gives `per_day` its direction.
    let behind = behind.or((per_day < 0).then_some(DurationText(Duration::ZERO)));
    Choice::Map(DriftParameters { ahead, behind, per_day: text(per_day) })
}

/// The number of windows a day that rules on meters begin, by device. A device that is asked again
/// after a long time goes through all of them.
#[derive(Debug, Clone, Default)]
pub struct WindowBudget {
    /// The windows a day of rules on every device.
    any: u64,
    /// The windows a day of rules on one device.
    named: BTreeMap<String, u64>,
}

impl WindowBudget {
    /// Counts a rule, armed or not.
    ///
    /// # Errors
    /// The number of windows a day on the busiest meter that the rule affects, if it exceeds
    /// [`limits::METER_WINDOWS_A_DAY`].
    pub fn add(&mut self, rule: &Rule) -> Result<(), u64> {
        const DAY: Duration = Duration::from_hours(24);
        let (Fault::Meter { device, .. }, Some(every)) = (&rule.fault, rule.when.every) else {
            return Ok(());
        };
        let windows = DAY.as_nanos().div_ceil(every.as_nanos().max(1));
        let windows = u64::try_from(windows).unwrap_or(u64::MAX);
        let own = match device {
            None => {
                self.any = self.any.saturating_add(windows);
                self.named.values().max().copied().unwrap_or(0)
            }
            Some(device) => {
                let own = self.named.entry(device.clone()).or_default();
                *own = own.saturating_add(windows);
                *own
            }
        };
        let all = self.any.saturating_add(own);
        if all > limits::METER_WINDOWS_A_DAY { Err(all) } else { Ok(()) }
    }
}

impl Engine {
    /// Returns the episodes of the meters for a device that reads the state of its own at `now`.
    /// [`RuleStatus::fired`](crate::fault::RuleStatus::fired) counts each window once for each device
    /// that reads the state in it.
    #[must_use]
    pub fn meter(&self, device: &str, now: VirtualTime) -> Arc<Episodes> {
        if self.has_no_episodes() {
            return Episodes::none();
        }
        let mut inner = self.inner();
        inner.visit(&device_key(Seam::Meter, Some(device)), |entry| {
            let Fault::Meter { device: place, .. } = entry.fault() else { return };
            if !affects(place, device) {
                return;
            }
            // The readings are counted, not who looks at them.
            let Some(window) = entry.window(now) else { return };
            if window.open_since.is_some_and(|since| entry.count_window(device, since)) {
                entry.record_fired(self.journal(), Seam::Meter, device.to_owned());
            }
        });
        inner.episodes()
    }

    /// Returns the episodes of the meters without counting a window.
    #[must_use]
    pub fn episodes(&self) -> Arc<Episodes> {
        if self.has_no_episodes() { Episodes::none() } else { self.inner().episodes() }
    }
}
