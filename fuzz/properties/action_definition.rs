//! What holds for an action definition, whatever bytes are posted. Shared by the fuzz target and by
//! the test that replays its corpus; each brings `Definition` into scope.

use super::Definition;

/// Panics where accepted bytes do not read the same again, or a request cannot even be tried.
pub fn holds(bytes: &[u8]) {
    let Ok(definition) = Definition::parse(bytes) else { return };
    let shown = definition.to_json();
    let again = Definition::parse(&shown)
        .unwrap_or_else(|error| panic!("what is shown is refused: {error}: {shown:?}"));
    assert_eq!(again, definition, "what is shown reads the same");
    assert_eq!(again.to_json(), shown, "and is shown the same");
    for action in definition.actions() {
        assert_eq!(definition.action(&action.id), Some(action), "an action is found by its id");
        for request in &action.requests {
            // Whether it can be sent is one thing, that it decides is the property.
            let _either = definition.prepare(request);
        }
    }
}
