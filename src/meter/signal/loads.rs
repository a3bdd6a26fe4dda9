//! The loads that a scenario names.

/// What a heating load of so many watts gives at the most in a year, in kWh.
pub(super) fn most_heating_kwh(watts: f64) -> f64 {
    // Half of the hours of a year: nobody sizes a heat pump to run through a whole winter.
    watts / 1000.0 * super::plan::HOURS_A_YEAR / 2.0
}
