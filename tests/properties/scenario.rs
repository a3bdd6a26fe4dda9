//! The properties of loading a scenario file, for any bytes. Shared by the fuzz target and by the test
//! that replays its corpus; each brings `scenario` into scope.

use super::scenario;

/// Panics if a report points outside the file, or if an accepted rule is not accepted again in the form
/// in which it is shown.
pub(super) fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match scenario::load(text, "fuzz.yaml", None) {
        Ok(house) => {
            for rule in &house.faults {
                let json = scenario::rule_to_json(rule);
                let parsed =
                    scenario::rule_from_json(&json, &house, &house.device_actions(), "other");
                assert_eq!(parsed.as_ref(), Ok(rule), "{json}");
            }
        }
        Err(report) => {
            assert!(!report.mistakes().is_empty(), "a refusal has a reason");
            for mistake in report.mistakes() {
                let span = mistake.span;
                assert!(span.line > 0 && span.column > 0, "{mistake:?}");
                assert!(text.get(span.start..span.end).is_some(), "{mistake:?}");
            }
            assert!(!report.to_string().is_empty() && !report.github().is_empty());
            // Formatting as JSON must not panic either.
            let _ = report.to_json().count();
        }
    }
}
