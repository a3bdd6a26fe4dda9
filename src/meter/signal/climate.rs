//! The normal outdoor temperature over the year, and the heat demand that follows from it.

use std::f64::consts::TAU;
use std::sync::LazyLock;

use super::math::HOURS_PER_YEAR;

/// Mean outdoor temperature of a year and the swing of its monthly means, in °C: Zürich/Fluntern, norm
/// 1991–2020 of the weather service (9.8 °C over the year, about 1 in January, 19 in July).
const MEAN: f64 = 9.8;
const SWING: f64 = 9.0;
/// Difference of afternoon and night from the day's mean, in K.
const DAILY_SWING: f64 = 3.5;
/// Standard deviation of a day's temperature from the norm, in K.
pub(super) const ANOMALY_DEVIATION: f64 = 3.5;

/// Outdoor temperature below which a house is heated, in °C (SIA 384/3: heating limit of a house of
/// usual insulation).
const HEATING_LIMIT: f64 = 15.0;
/// Demand of hot water all year, as an equivalent difference of temperature, in K.
const HOT_WATER: f64 = 2.0;
/// Rise of the electricity for each K of heat demand with each K of cold: the coefficient of
/// performance of an air heat pump falls by about 2 % a K.
const PERFORMANCE_LOSS: f64 = 0.02;

/// Returns the weight of winter on a day of the year: 1 in the middle of January, 0 in the middle of
/// July.
pub(super) fn winter_weight(day_of_year: f64) -> f64 {
    0.5 + 0.5 * libm::cos(TAU * (day_of_year - 15.0) / 365.25)
}

/// Returns the normal temperature at an hour of a day of the year, in °C.
pub(super) fn normal_temperature(day_of_year: f64, hour: f64) -> f64 {
    MEAN + SWING * (1.0 - 2.0 * winter_weight(day_of_year))
        + DAILY_SWING * libm::cos(TAU * (hour - 15.0) / 24.0)
}

/// Returns the demand of heating and hot water at an outdoor temperature; 1 is a demand of 10 K.
pub(super) fn heat_demand(temperature: f64) -> f64 {
    let cold = (HEATING_LIMIT - temperature).max(0.0);
    (cold * (1.0 + PERFORMANCE_LOSS * cold) + HOT_WATER) / 10.0
}

/// The mean heat demand of a year, over all anomalies of temperature.
pub(super) static MEAN_HEAT_DEMAND: LazyLock<f64> = LazyLock::new(|| {
    // Anomalies are normally distributed: three points of Gauss–Hermite quadrature.
    let points = [(-1.732_050_8, 1.0 / 6.0), (0.0, 2.0 / 3.0), (1.732_050_8, 1.0 / 6.0)];
    let mut sum = 0.0;
    for day_of_year in 1..=365_u16 {
        for hour in 0..24_u8 {
            let normal = normal_temperature(f64::from(day_of_year), f64::from(hour) + 0.5);
            for (deviations, weight) in points {
                sum += weight * heat_demand(normal + deviations * ANOMALY_DEVIATION);
            }
        }
    }
    sum / (365.0 * 24.0)
});

/// Returns the energy that a heating load of `watts` takes in a year at most, in kWh. A load of that
/// energy runs without a pause on a day of −8 °C, for which heatings are sized (SIA 384/201, Zürich).
pub(super) fn max_heating_kwh(watts: f64) -> f64 {
    watts / 1000.0 * HOURS_PER_YEAR * *MEAN_HEAT_DEMAND / heat_demand(-8.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heat_pump_can_deliver_the_demand_of_a_house() {
        let max = max_heating_kwh(2500.0);
        assert!((6000.0..12_000.0).contains(&max), "{max}");
    }
}
