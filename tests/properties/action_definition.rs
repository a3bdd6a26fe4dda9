//! The property that every action definition has, for any posted bytes. The fuzz target and the test
//! that replays its corpus share this file. Each brings `Definition` into scope.

use super::Definition;

/// Panics if the JSON of an accepted definition parses differently, or if preparing a request
/// panics.
pub(super) fn holds(bytes: &[u8]) {
    let Ok(definition) = Definition::parse(bytes) else { return };
    let json = definition.to_json();
    let parsed = Definition::parse(&json)
        .unwrap_or_else(|error| panic!("the device's own JSON is refused: {error}: {json:?}"));
    assert_eq!(parsed, definition, "the JSON parses to the same definition");
    assert_eq!(parsed.to_json(), json, "the JSON is stable");
    for action in definition.actions() {
        assert_eq!(definition.action(&action.id), Some(action), "an action is found by its id");
        for request in &action.requests {
            // Both results are valid; only a panic is a failure.
            let _ = definition.prepare(request);
        }
    }
}
