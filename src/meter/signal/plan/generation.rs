//! Panels and battery.

use super::Placement;
use super::checks::PlanChecks;
use crate::problem::Problem;

/// Photovoltaic panels with their inverter.
#[derive(Debug, Clone, PartialEq)]
pub struct PvPlan {
    /// Peak power of the panels, in kW; above 0 and at most 500.
    pub kwp: f64,
    /// Tilt from the horizontal, in degrees; 0..=90.
    pub tilt: f64,
    /// Orientation, in degrees clockwise from north; 0..=360, south is 180.
    pub azimuth: f64,
    /// Maximum power of the inverter, in kW; above 0.
    pub inverter_kw: Option<f64>,
    /// Degrees north; −66..=66, where the sun rises every day.
    pub latitude: f64,
    /// Degrees east; −180..=180.
    pub longitude: f64,
    /// The sky.
    pub sky: Sky,
    /// The phases that the inverter feeds.
    pub placement: Placement,
}

/// The sky over the panels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Sky {
    /// Clouds change, as drawn from the seed.
    #[default]
    Changing,
    /// The sky is always clear.
    Clear,
    /// The sky is always overcast.
    Overcast,
}

impl Default for PvPlan {
    fn default() -> Self {
        Self {
            kwp: 6.0,
            tilt: 30.0,
            azimuth: 180.0,
            inverter_kw: None,
            latitude: 47.38,
            longitude: 8.54,
            sky: Sky::Changing,
            placement: Placement::All,
        }
    }
}

impl PvPlan {
    /// Returns the fields that are out of range.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = PlanChecks::default();
        checks.above_zero("kwp", self.kwp, 500.0, "kW");
        checks.range("tilt", self.tilt, 0.0, 90.0, "degrees");
        checks.range("azimuth", self.azimuth, 0.0, 360.0, "degrees");
        if let Some(kw) = self.inverter_kw {
            checks.above_zero("inverter_kw", kw, 500.0, "kW");
        }
        checks.range("latitude", self.latitude, -66.0, 66.0, "degrees");
        checks.range("longitude", self.longitude, -180.0, 180.0, "degrees");
        checks.into_problems()
    }
}

/// A battery that stores the power that the house would export, and delivers the power that it would
/// import.
#[derive(Debug, Clone, PartialEq)]
pub struct BatteryPlan {
    /// Capacity, in kWh; above 0 and at most 1000.
    pub kwh: f64,
    /// Maximum power of charge and discharge, in kW; above 0 and at most 500.
    pub kw: f64,
    /// Share of the charged energy that is stored, and of the stored energy that is delivered; 0.5..=1
    /// each.
    pub efficiency: f64,
    /// State of charge at the midnight before the scenario starts; 0..=1.
    pub initial: f64,
    /// Import that the battery leaves to the grid while it works, in W; 0..=1000. It is above the
    /// household's noise, so that the meter does not alternate between import and export.
    pub leave_watts: f64,
    /// The phases that the battery is connected to.
    pub placement: Placement,
}

impl Default for BatteryPlan {
    fn default() -> Self {
        Self {
            kwh: 10.0,
            kw: 5.0,
            efficiency: 0.95,
            initial: 0.3,
            leave_watts: 15.0,
            placement: Placement::All,
        }
    }
}

impl BatteryPlan {
    /// Returns the fields that are out of range.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = PlanChecks::default();
        checks.above_zero("kwh", self.kwh, 1000.0, "kWh");
        checks.above_zero("kw", self.kw, 500.0, "kW");
        checks.range("efficiency", self.efficiency, 0.5, 1.0, "(a ratio)");
        checks.range("initial", self.initial, 0.0, 1.0, "(a ratio)");
        checks.range("leave_watts", self.leave_watts, 0.0, 1000.0, "W");
        checks.into_problems()
    }
}
