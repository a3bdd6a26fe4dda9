//! Reading a map from its JSON form, field by field.

use serde_json::{Map, Value};

use super::{
    MapError, NumberType, Register, RegisterId, RegisterMap, RegisterSet, WordOrder, wrong_address,
    wrong_scaler,
};
use crate::limits;

impl RegisterMap {
    /// Reads the body of a POST; `word_order` says whether the firmware knows that key, which is
    /// ignored where not. The caller has checked the body's size.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(body: &[u8], word_order: bool) -> Result<Self, MapError> {
        let value = serde_json::from_slice(body)
            .map_err(|error| MapError::new("", format!("the body is not JSON: {error}")))?;
        Self::parse_value(&value, word_order).map_err(|errors| {
            let first = errors.into_iter().next();
            // There is always one.
            first.unwrap_or_else(|| MapError::new("", "the map is not valid"))
        })
    }

    /// The map that a JSON value is.
    ///
    /// # Errors
    /// All that is wrong with it. Where two registers meet is only looked at when each is sound in
    /// itself.
    pub fn parse_value(value: &Value, word_order: bool) -> Result<Self, Vec<MapError>> {
        let mut walk = Walk { word_order, errors: Vec::new() };
        let Value::Array(items) = value else {
            return Err(vec![MapError::new("", "expected an array of register sets")]);
        };
        let sets: Vec<_> = items
            .iter()
            .enumerate()
            .filter_map(|(index, set)| walk.set(&format!("[{index}]"), set))
            .collect();
        if walk.errors.is_empty() { Self::new(sets) } else { Err(walk.errors) }
    }
}

struct Walk {
    word_order: bool,
    errors: Vec<MapError>,
}

impl Walk {
    fn wrong<T>(&mut self, field: String, message: impl Into<String>) -> Option<T> {
        self.errors.push(MapError::new(field, message));
        None
    }

    /// An object; unknown keys are ignored, as everywhere (contract §1).
    fn object<'a>(&mut self, field: &str, value: &'a Value) -> Option<&'a Map<String, Value>> {
        let object = value.as_object();
        object.or_else(|| self.wrong(field.to_owned(), "expected an object"))
    }

    fn set(&mut self, field: &str, value: &Value) -> Option<RegisterSet> {
        let object = self.object(field, value)?;
        let start_address = self.start_address(&format!("{field}.start_address"), object);
        let word_order = match object.get("word_order").filter(|_| self.word_order) {
            None => Some(WordOrder::Msw),
            Some(word) => self.word(format!("{field}.word_order"), word, &WordOrder::NAMES),
        };
        let field = format!("{field}.registers");
        let registers = match object.get("registers") {
            Some(Value::Array(registers)) => {
                let register =
                    |(index, register)| self.register(&format!("{field}[{index}]"), register);
                Some(registers.iter().enumerate().filter_map(register).collect())
            }
            Some(_) => self.wrong(field, "expected an array of registers"),
            None => self.wrong(field, "it is missing; expected an array of registers"),
        };
        Some(RegisterSet {
            start_address: start_address?,
            word_order: word_order?,
            registers: registers?,
        })
    }

    fn start_address(&mut self, field: &str, object: &Map<String, Value>) -> Option<u16> {
        let Some(value) = object.get("start_address") else {
            return self.wrong(field.to_owned(), "it is missing; expected an address");
        };
        let Some(number) = value.as_i64() else {
            return self.wrong(field.to_owned(), "expected a whole number");
        };
        let address = u16::try_from(number).ok();
        let address = address.filter(|address| limits::MODBUS_ADDRESSES.contains(address));
        address.or_else(|| self.wrong(field.to_owned(), wrong_address(number)))
    }

    fn register(&mut self, field: &str, value: &Value) -> Option<Register> {
        let object = self.object(field, value)?;
        let id = self.id(format!("{field}.id"), object.get("id"));
        // Both are checked for texts and dates too, where they say nothing.
        let number = match object.get("type") {
            None => Some(NumberType::default()),
            Some(word) => self.word(format!("{field}.type"), word, &NumberType::NAMES),
        };
        let scaler = match object.get("scaler") {
            None => Some(0),
            Some(value) => self.scaler(format!("{field}.scaler"), value),
        };
        Some(Register { id: id?, number: number?, scaler: scaler? })
    }

    fn id(&mut self, field: String, value: Option<&Value>) -> Option<RegisterId> {
        match value {
            Some(Value::String(name)) => RegisterId::of_name(name).or_else(|| {
                let shown: String = name.chars().take(40).collect();
                self.wrong(field, format!("`{shown}` is no register identifier"))
            }),
            Some(_) => self.wrong(field, "expected a register identifier as text, as \"1.8.0\""),
            None => self.wrong(field, "it is missing; expected a register identifier"),
        }
    }

    fn scaler(&mut self, field: String, value: &Value) -> Option<i8> {
        let Some(number) = value.as_i64() else {
            return self.wrong(field, "expected a whole number");
        };
        let scaler = i8::try_from(number).ok();
        let scaler = scaler.filter(|scaler| limits::MODBUS_SCALER.contains(scaler));
        scaler.or_else(|| self.wrong(field, wrong_scaler(number)))
    }

    fn word<T: Copy>(
        &mut self,
        field: String,
        value: &Value,
        names: &[(&'static str, T)],
    ) -> Option<T> {
        let word = value.as_str();
        let found = names.iter().find(|(name, _)| Some(*name) == word).map(|(_, known)| *known);
        found.or_else(|| {
            let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
            self.wrong(field, format!("expected one of {}", names.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: &Value) -> Vec<String> {
        let errors = RegisterMap::parse_value(value, true).unwrap_err();
        errors.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn numbers_are_doubles_without_a_scaler_unless_they_say_otherwise() {
        let value = json!([{"start_address": 5, "registers": [{"id": "1.8.0"}], "size": 4}]);
        let map = RegisterMap::parse_value(&value, true).unwrap();
        let id = RegisterId::of_name("1.8.0").unwrap();
        let register = Register { id, number: NumberType::Double, scaler: 0 };
        let set =
            RegisterSet { start_address: 5, word_order: WordOrder::Msw, registers: vec![register] };
        assert_eq!(map.sets(), [set]);
    }

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

    #[test]
    fn firmware_that_knows_no_word_order_ignores_it() {
        let value = json!([{"start_address": 0, "word_order": "lsw", "registers": []}]);
        let order = |known| RegisterMap::parse_value(&value, known).unwrap().sets()[0].word_order;
        assert_eq!((order(true), order(false)), (WordOrder::Lsw, WordOrder::Msw));
    }

    #[test]
    fn what_is_no_json_is_told_as_the_whole() {
        let error = RegisterMap::parse(b"[{]", true).unwrap_err();
        assert_eq!(error.field, "");
        assert!(error.to_string().starts_with("the body is not JSON"), "{error}");
    }
}
