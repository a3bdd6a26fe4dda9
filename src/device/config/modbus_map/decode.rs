//! Parses a register map from JSON, and collects the errors with their fields.

use serde_json::Value;

use super::{MapWordOrder, MappedRegister, NumberType, RegisterId, RegisterMap, RegisterSet};
use crate::device::json;
use crate::limits;
use crate::notation::without_bom;
use crate::problem::Problem;

impl RegisterMap {
    /// Parses the body of a POST. `word_order` is whether the firmware supports that key; the key is
    /// ignored otherwise. The caller has checked the size of the body.
    ///
    /// # Errors
    /// The first problem.
    pub fn parse(body: &[u8], word_order: bool) -> Result<Self, Problem> {
        let value = serde_json::from_slice(without_bom(body))
            .map_err(|error| Problem::new("", format!("the body is not JSON: {error}")))?;
        Self::parse_value(&value, word_order).map_err(|errors| {
            let first = errors.into_iter().next();
            // The list is never empty.
            first.unwrap_or_else(|| Problem::new("", "the map is not valid"))
        })
    }

    /// Parses a JSON value.
    ///
    /// # Errors
    /// All problems. Overlaps are checked only if each register is valid in itself.
    pub fn parse_value(value: &Value, word_order: bool) -> Result<Self, Vec<Problem>> {
        let mut reader = MapReader { word_order, errors: Vec::new() };
        let items = json::array(value).map_err(|message| vec![Problem::new("", message)])?;
        let sets: Vec<_> = items
            .iter()
            .enumerate()
            .filter_map(|(index, set)| reader.set(&format!("[{index}]"), set))
            .collect();
        if reader.errors.is_empty() { Self::new(sets) } else { Err(reader.errors) }
    }
}

struct MapReader {
    word_order: bool,
    errors: Vec<Problem>,
}

impl MapReader {
    /// Returns the value of a field, or records the error and returns `None`.
    fn check<T>(&mut self, field: String, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.errors.push(Problem::new(field, message))).ok()
    }

    /// Parses a set. Unknown keys are ignored, as in the whole API (documented).
    fn set(&mut self, field: &str, value: &Value) -> Option<RegisterSet> {
        let object = self.check(field.to_owned(), json::object(value))?;
        let start_address = self.check(
            format!("{field}.start_address"),
            json::required(object, "start_address", "an address")
                .and_then(|value| json::integer(value, limits::MODBUS_ADDRESSES)),
        );
        let word_order = match object.get("word_order").filter(|_| self.word_order) {
            None => Some(MapWordOrder::Msw),
            Some(word) => {
                let word_order = json::word(word, &MapWordOrder::NAMES);
                self.check(format!("{field}.word_order"), word_order)
            }
        };
        let field = format!("{field}.registers");
        let registers =
            json::required(object, "registers", "an array of registers").and_then(json::array);
        let registers = self.check(field.clone(), registers).map(|registers| {
            let register =
                |(index, register)| self.register(&format!("{field}[{index}]"), register);
            registers.iter().enumerate().filter_map(register).collect()
        });
        Some(RegisterSet {
            start_address: start_address?,
            word_order: word_order?,
            registers: registers?,
        })
    }

    fn register(&mut self, field: &str, value: &Value) -> Option<MappedRegister> {
        let object = self.check(field.to_owned(), json::object(value))?;
        let id = self.check(
            format!("{field}.id"),
            json::required(object, "id", "a register identifier").and_then(identifier),
        );
        // Type and scaler are also checked for texts and dates, on which they have no effect.
        let number = match object.get("type") {
            None => Some(NumberType::default()),
            Some(word) => self.check(format!("{field}.type"), json::word(word, &NumberType::NAMES)),
        };
        let scaler = match object.get("scaler") {
            None => Some(0),
            Some(value) => {
                let scaler = json::integer(value, limits::MODBUS_SCALER);
                self.check(format!("{field}.scaler"), scaler)
            }
        };
        Some(MappedRegister { id: id?, number: number?, scaler: scaler? })
    }
}

fn identifier(value: &Value) -> Result<RegisterId, String> {
    let name = json::string(value)?;
    RegisterId::from_name(name)
        .ok_or_else(|| format!("`{}` is no register identifier", json::shortened(name)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: &Value) -> Vec<String> {
        let errors = RegisterMap::parse_value(value, true).unwrap_err();
        errors.into_iter().map(|error| error.path).collect()
    }

    // Ruling: MODBUS-3.
    #[test]
    fn a_number_defaults_to_double_and_scaler_0() {
        let value = json!([{"start_address": 5.0, "registers": [{"id": "1.8.0"}], "size": 4}]);
        let map = RegisterMap::parse_value(&value, true).unwrap();
        let id = RegisterId::from_name("1.8.0").unwrap();
        let register = MappedRegister { id, number: NumberType::Double, scaler: 0 };
        let set = RegisterSet {
            start_address: 5,
            word_order: MapWordOrder::Msw,
            registers: vec![register],
        };
        assert_eq!(map.sets(), [set]);
    }

    // Ruling: MODBUS-2.
    #[test]
    fn each_invalid_field_is_named() {
        assert_eq!(fields(&json!({})), [""]);
        assert_eq!(fields(&json!([1])), ["[0]"]);
        assert_eq!(fields(&json!([{}])), ["[0].start_address", "[0].registers"]);
        let one = |register: Value| json!([{"start_address": 0, "registers": [register]}]);
        assert_eq!(fields(&one(json!("1.8.0"))), ["[0].registers[0]"]);
        for (register, field) in [
            (json!({}), "id"),
            (json!({"id": 0}), "id"),
            (json!({"id": "1_8_0"}), "id"),
            (json!({"id": "sys.id", "type": "hex"}), "type"),
            (json!({"id": "1.8.0", "type": null}), "type"),
            (json!({"id": "1.8.0", "scaler": 7.0}), "scaler"),
            (json!({"id": "1.8.0", "scaler": 7}), "scaler"),
            (json!({"id": "1.8.0", "scaler": -7}), "scaler"),
            (json!({"id": "1.8.0", "scaler": 1.5}), "scaler"),
            (json!({"id": "1.8.0", "scaler": "3"}), "scaler"),
            (json!({"id": "1.8.0", "scaler": 1_000_000_000_000_u64}), "scaler"),
        ] {
            assert_eq!(fields(&one(register)), [format!("[0].registers[0].{field}")]);
        }
        for start in [json!(-1), json!(9999), json!("0x0001"), json!(1.5), json!(null)] {
            let map = json!([{"start_address": start, "registers": []}]);
            assert_eq!(fields(&map), ["[0].start_address"]);
        }
        let map = json!([
            {"start_address": 0, "registers": []},
            {"start_address": 0, "word_order": "MSW", "registers": {}},
        ]);
        assert_eq!(fields(&map), ["[1].word_order", "[1].registers"]);
    }

    // Ruling: MODBUS-6.
    #[test]
    fn firmware_without_word_order_ignores_the_key() {
        let value = json!([{"start_address": 0, "word_order": "lsw", "registers": []}]);
        let order =
            |supported| RegisterMap::parse_value(&value, supported).unwrap().sets()[0].word_order;
        assert_eq!((order(true), order(false)), (MapWordOrder::Lsw, MapWordOrder::Msw));
    }

    #[test]
    fn invalid_json_is_an_error_of_the_whole_body() {
        let error = RegisterMap::parse(b"[{]", true).unwrap_err();
        assert_eq!(error.path, "");
        assert!(error.to_string().starts_with("the body is not JSON"), "{error}");
    }
}
