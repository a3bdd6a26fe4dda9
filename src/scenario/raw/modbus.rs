//! The device's own Modbus server.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Choice, Listen};
use crate::device::config::{MapWordOrder, NumberType, RegisterId};

/// The server: its address, or a mapping that says more.
pub type DeviceModbus = Choice<Listen, ModbusServer>;

/// A device's own Modbus server. A setting of the device switches it on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct ModbusServer {
    /// The address of the server; 127.0.0.1:1502 for the first device, 1503 for the second and so on,
    /// unless given.
    pub listen: Option<Listen>,
    /// True if function 3 reads the registers, too, as firmware from 2.0.2 on is said to do; false unless
    /// given.
    pub function_3: Option<bool>,
}

/// A register map as the device's API accepts it. Unknown keys are passed to the device, which ignores
/// them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegisterMapText(pub serde_json::Value);

impl JsonSchema for RegisterMapText {
    fn schema_name() -> Cow<'static, str> {
        "RegisterMap".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let numbers = NumberType::NAMES.map(|(name, _)| name);
        let orders = MapWordOrder::NAMES.map(|(name, _)| name);
        let ids: Vec<_> = RegisterId::names().collect();
        json_schema!({
            "description": "The device's own shape, as POST /api/v1/modbus takes it.",
            "type": "array",
            "x-json": true,
            "items": {
                "type": "object",
                "required": ["start_address", "registers"],
                "properties": {
                    "start_address": { "type": "integer", "minimum": 0, "maximum": 9998 },
                    "word_order": { "enum": orders, "description": "msw unless given" },
                    "registers": { "type": "array", "items": {
                        "type": "object",
                        "required": ["id"],
                        "properties": {
                            "id": { "enum": ids },
                            "type": { "enum": numbers, "description": "double unless given" },
                            "scaler": {
                                "type": "integer",
                                "minimum": -6,
                                "maximum": 6,
                                "description": "The register is the value x 10^scaler; 0 unless given",
                            },
                        },
                    } },
                },
            },
        })
    }
}
