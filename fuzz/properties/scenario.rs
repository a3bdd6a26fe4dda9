//! The property of a scenario file with any bytes. Shared by the fuzz target and the test that
//! replays its corpus; each brings `scenario` into scope.

use super::scenario;

/// Panics if a report points outside the file, or if the JSON form of an accepted rule is not
/// accepted again.
pub fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match scenario::load(text, "fuzz.yaml", None) {
        Ok(house) => {
            for rule in &house.faults {
                let json = scenario::rule_to_json(rule);
                let again = scenario::rule_from_json(&json, &house, "other");
                assert_eq!(again.as_ref(), Ok(rule), "{json}");
            }
        }
        Err(report) => {
            assert!(!report.mistakes().is_empty(), "a refusal has a reason");
            for mistake in report.mistakes() {
                let place = mistake.place;
                assert!(place.line > 0 && place.column > 0, "{mistake:?}");
                assert!(text.get(place.start..place.end).is_some(), "{mistake:?}");
            }
            assert!(!report.to_string().is_empty() && !report.github().is_empty());
            let _problems = report.to_json().count();
        }
    }
}
