//! What holds for a scenario file, whatever bytes are in it. Shared by the fuzz target and by the
//! test that replays its corpus; each brings `scenario` into scope.

use super::scenario;

/// Panics where a report points outside the file, or a rule that was accepted is not shown in a form
/// that is accepted again.
pub fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match scenario::load(text, "fuzz.yaml", None) {
        Ok(house) => {
            for rule in &house.faults {
                let shown = scenario::rule_to_json(rule);
                let again = scenario::rule_from_json(&shown, &house, "other");
                assert_eq!(again.as_ref(), Ok(rule), "{shown}");
            }
        }
        Err(report) => {
            assert!(!report.mistakes().is_empty(), "a refusal says why");
            for mistake in report.mistakes() {
                let place = mistake.place;
                assert!(place.line > 0 && place.column > 0, "{mistake:?}");
                assert!(text.get(place.start..place.end).is_some(), "{mistake:?}");
            }
            assert!(!report.to_string().is_empty() && !report.github().is_empty());
            let _drawn_too = report.to_json().count();
        }
    }
}
