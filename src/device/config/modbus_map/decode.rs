//! Reading a map from its JSON form, field by field.

use serde_json::Value;

use super::{MapWordOrder, MappedRegister, NumberType, RegisterId, RegisterMap, RegisterSet};
use crate::device::json;
use crate::limits;
use crate::problem::Problem;

impl RegisterMap {
    /// Reads the body of a POST; `word_order` says whether the firmware knows that key, which is
    /// ignored where not. The caller has checked the body's size.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(body: &[u8], word_order: bool) -> Result<Self, Problem> {
        let value = serde_json::from_slice(body)
            .map_err(|error| Problem::new("", format!("the body is not JSON: {error}")))?;
        Self::parse_value(&value, word_order).map_err(|errors| {
            let first = errors.into_iter().next();
            // There is always one.
            first.unwrap_or_else(|| Problem::new("", "the map is not valid"))
        })
    }

    /// The map that a JSON value is.
    ///
    /// # Errors
    /// All that is wrong with it. Where two registers meet is only looked at when each is sound in
    /// itself.
    pub fn parse_value(value: &Value, word_order: bool) -> Result<Self, Vec<Problem>> {
        let mut walk = MapReader { word_order, errors: Vec::new() };
        let items = json::array(value).map_err(|message| vec![Problem::new("", message)])?;
        let sets: Vec<_> = items
            .iter()
            .enumerate()
            .filter_map(|(index, set)| walk.set(&format!("[{index}]"), set))
            .collect();
        if walk.errors.is_empty() { Self::new(sets) } else { Err(walk.errors) }
    }
}

struct MapReader {
    word_order: bool,
    errors: Vec<Problem>,
}

impl MapReader {
    /// What was read of a field; what is wrong with it is kept.
    fn read<T>(&mut self, field: String, read: Result<T, String>) -> Option<T> {
        read.map_err(|message| self.errors.push(Problem::new(field, message))).ok()
    }

    /// Unknown keys are ignored, as everywhere (documented).
    fn set(&mut self, field: &str, value: &Value) -> Option<RegisterSet> {
        let object = self.read(field.to_owned(), json::object(value))?;
        let start_address = self.read(
            format!("{field}.start_address"),
            json::required(object, "start_address", "an address")
                .and_then(|value| json::integer(value, limits::MODBUS_ADDRESSES)),
        );
        let word_order = match object.get("word_order").filter(|_| self.word_order) {
            None => Some(MapWordOrder::Msw),
            Some(word) => {
                let read = json::word(word, &MapWordOrder::NAMES);
                self.read(format!("{field}.word_order"), read)
            }
        };
        let field = format!("{field}.registers");
        let registers =
            json::required(object, "registers", "an array of registers").and_then(json::array);
        let registers = self.read(field.clone(), registers).map(|registers| {
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
        let object = self.read(field.to_owned(), json::object(value))?;
        let id = self.read(
            format!("{field}.id"),
            json::required(object, "id", "a register identifier").and_then(identifier),
        );
        // Both are checked for texts and dates too, where they say nothing.
        let number = match object.get("type") {
            None => Some(NumberType::default()),
            Some(word) => self.read(format!("{field}.type"), json::word(word, &NumberType::NAMES)),
        };
        let scaler = match object.get("scaler") {
            None => Some(0),
            Some(value) => {
                let read = json::integer(value, limits::MODBUS_SCALER);
                self.read(format!("{field}.scaler"), read)
            }
        };
        Some(MappedRegister { id: id?, number: number?, scaler: scaler? })
    }
}

fn identifier(value: &Value) -> Result<RegisterId, String> {
    let name = json::string(value)?;
    let shown = || json::shortened(name);
    RegisterId::of_name(name).ok_or_else(|| format!("`{}` is no register identifier", shown()))
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
    fn numbers_are_doubles_without_a_scaler_unless_they_say_otherwise() {
        let value = json!([{"start_address": 5.0, "registers": [{"id": "1.8.0"}], "size": 4}]);
        let map = RegisterMap::parse_value(&value, true).unwrap();
        let id = RegisterId::of_name("1.8.0").unwrap();
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
    fn each_field_that_is_wrong_is_named() {
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
    fn firmware_that_knows_no_word_order_ignores_it() {
        let value = json!([{"start_address": 0, "word_order": "lsw", "registers": []}]);
        let order = |known| RegisterMap::parse_value(&value, known).unwrap().sets()[0].word_order;
        assert_eq!((order(true), order(false)), (MapWordOrder::Lsw, MapWordOrder::Msw));
    }

    #[test]
    fn what_is_no_json_is_told_as_the_whole() {
        let error = RegisterMap::parse(b"[{]", true).unwrap_err();
        assert_eq!(error.path, "");
        assert!(error.to_string().starts_with("the body is not JSON"), "{error}");
    }
}
