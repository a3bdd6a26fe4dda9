//! The household: what people and fridges switch on and off.

use std::time::Duration;

use super::plan::{Appliance, Placement, Step, Use};

/// The appliances of a household.
#[must_use]
pub(super) fn appliances() -> Vec<Appliance> {
    vec![Appliance {
        name: "fridge".to_owned(),
        program: vec![Step { watts: 110.0, lasts: Duration::from_mins(18) }],
        use_: Use::Cycling { pause: Duration::from_mins(36) },
        placement: Placement::L1,
        power_factor: 0.8,
        capacitive: false,
    }]
}
