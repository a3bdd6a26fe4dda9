//! The examples of the guides are valid.

use serde_json::{Value, json};
use wwsim::house::House;
use wwsim::scenario;

use crate::support::house::TestHouse;

const FAULTS: &str = include_str!("../../docs/faults.md");
const FRONTEND: &str = include_str!("../../docs/frontend.md");
const README: &str = include_str!("../../README.md");

/// The devices, slaves and targets that the examples name.
const HOUSE: &str = "
device:
  actions:
    actions:
      - {id: light_toggle, requests: [{http: {url: 'http://bulb.local/light/0'}}]}
      - {id: write, requests: [{modbus: {host: pump.local, func: 6, address: 10, value: '0001'}}]}
slaves: {heat_pump: {hosts: [pump.local], units: {1: {holding: [{address: 10..20}]}}}}
http_targets: {bulb: {hosts: [bulb.local]}}
";

/// Returns the code of a line, which stands between backquotes.
fn code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Returns the mistakes of a house with this rule, or `None` if it has none.
fn mistakes(at: &str, effect: &str) -> Option<String> {
    // The tables show an effect with figures without its braces.
    let figures = effect.contains(": ") && !effect.starts_with('{');
    let effect = if figures { format!("{{{effect}}}") } else { effect.to_owned() };
    let yaml = format!("{HOUSE}faults: [{{at: {at}, effect: {effect}}}]\n");
    scenario::load(&yaml, "guide", None).err().map(|mistakes| format!("{at} {effect}: {mistakes}"))
}

#[test]
fn every_place_and_effect_of_the_fault_guide_is_valid() {
    let (mut at, mut tried) = (None, 0);
    for line in FAULTS.lines() {
        if let Some(place) = line.strip_prefix("**`at: ") {
            at = place.split_once("`**").map(|(place, _)| place);
        }
        let (Some(at), Some(cell)) = (at, line.strip_prefix("| `")) else { continue };
        let effects = format!("`{}", cell.split(" | ").next().unwrap_or_default());
        for effect in code(&effects).filter(|effect| !effect.contains('…')) {
            let at = if effect == "refuse" { "{slave: heat_pump}" } else { at };
            assert_eq!(mistakes(at, effect), None);
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried} effects found");
}

#[test]
fn the_example_of_the_fault_guide_is_valid() {
    let yaml = FAULTS.split("```yaml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    if let Err(mistakes) = scenario::load(&format!("{HOUSE}{yaml}"), "guide", None) {
        panic!("{mistakes}");
    }
}

#[tokio::test]
async fn the_default_house_accepts_the_rules_of_other_guides() {
    let house = TestHouse { house: House::builder().any_port().start().await.unwrap() };
    let rules = FRONTEND.lines().flat_map(code).chain(README.split('\''));
    let rules: Vec<Value> = rules
        .filter(|text| text.starts_with("{\"id\":"))
        .map(|text| serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")))
        .collect();
    assert!(rules.len() >= 5, "{rules:?}");
    for rule in rules {
        house.add_fault(rule).await;
    }
    let parts = FRONTEND.lines().flat_map(code).filter_map(|text| text.strip_prefix("\"effect\":"));
    let parts: Vec<&str> = parts.collect();
    assert!(!parts.is_empty(), "the guide gives no effect alone");
    for (n, effect) in parts.into_iter().enumerate() {
        let effect: Value = serde_json::from_str(effect).unwrap();
        let at = if effect == "disable" { "action" } else { "api" };
        house.add_fault(json!({"id": format!("part-{n}"), "at": at, "effect": effect})).await;
    }
}
