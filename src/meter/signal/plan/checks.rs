//! The checks that several plans share.

use super::week::{DAY_MINUTES, DailyWindow};
use crate::limits::WEEK_WINDOWS;
use crate::problem::Problem;

/// A collector of problems, each at a field of the plan.
#[derive(Default)]
pub(super) struct PlanChecks(Vec<Problem>);

impl PlanChecks {
    pub(super) fn add(&mut self, field: &'static str, message: String) {
        self.0.push(Problem::new(field, message));
    }

    pub(super) fn range(
        &mut self,
        field: &'static str,
        value: f64,
        low: f64,
        high: f64,
        unit: &str,
    ) {
        if !(low..=high).contains(&value) {
            self.add(field, format!("{value} {unit}: expected {low} to {high}"));
        }
    }

    pub(super) fn above_zero(&mut self, field: &'static str, value: f64, high: f64, unit: &str) {
        if !(value > 0.0 && value <= high) {
            self.add(field, format!("{value} {unit}: expected more than 0 and at most {high}"));
        }
    }

    pub(super) fn power_factor(&mut self, value: f64) {
        if !(0.1..=1.0).contains(&value) {
            self.add("power_factor", format!("power factor {value}: expected 0.1 to 1"));
        }
    }

    pub(super) fn windows(&mut self, field: &'static str, windows: &[DailyWindow]) {
        if windows.len() > WEEK_WINDOWS {
            self.add(field, format!("{} windows; expected at most {WEEK_WINDOWS}", windows.len()));
        }
        for window in windows {
            if window.days.is_empty() {
                self.add(field, "a window on no day; expected one at least".to_owned());
            }
            if window.from >= DAY_MINUTES || window.to > DAY_MINUTES {
                self.add(
                    field,
                    format!(
                        "from minute {} to minute {} of the day; expected less than {DAY_MINUTES}, and at most that",
                        window.from, window.to
                    ),
                );
            }
        }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.0
    }
}
