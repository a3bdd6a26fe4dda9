//! STUB (to be replaced): the definition.
#![allow(missing_docs, unused)]
use super::{Prepared, Unprepared, ValueType};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    pub(super) consts: Vec<(String, Const)>,
    pub(super) actions: Vec<Action>,
}
#[derive(Debug, Clone, PartialEq)]
pub enum Const {
    Text(String),
    Number(serde_json::Number),
    Bool(bool),
    Null,
}
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    pub id: Arc<str>,
    pub enable: bool,
    pub requests: Vec<Arc<Request>>,
}
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Http(HttpRequest),
    Modbus(ModbusRequest),
}
impl Request {
    pub fn enable(&self) -> bool {
        todo!()
    }
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    Get,
    Post,
    Put,
    Delete,
}
impl HttpMethod {
    pub const fn as_str(self) -> &'static str {
        ""
    }
}
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRequest {
    pub enable: bool,
    pub url: String,
    pub method: HttpMethod,
    pub payload: Option<String>,
    pub headers: Vec<(String, String)>,
    pub timeout: Duration,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModbusFunction {
    WriteSingleCoil,
    WriteSingleRegister,
    WriteMultipleCoils,
    WriteMultipleRegisters,
}
#[derive(Debug, Clone, PartialEq)]
pub struct ModbusRequest {
    pub enable: bool,
    pub host: String,
    pub port: u16,
    pub unit_id: u8,
    pub function: ModbusFunction,
    pub address: u16,
    pub value_type: ValueType,
    pub value: String,
    pub timeout: Duration,
}
/// Why a definition was refused: the field (`actions[0].requests[1].http.url`; empty for the whole) and the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct DefinitionError {
    pub field: String,
    pub message: String,
}
impl Definition {
    /// From the body of a POST (size already checked by the caller against limits::DEFINITION_BYTES). First violation wins.
    pub fn parse(json: &[u8]) -> Result<Self, DefinitionError> {
        todo!()
    }
    /// All violations, for the scenario loader.
    pub fn parse_value(json: &serde_json::Value) -> Result<Self, Vec<DefinitionError>> {
        todo!()
    }
    /// The stored definition as the API shows it: what was given, nothing filled in, unknown keys left out.
    pub fn to_json(&self) -> String {
        todo!()
    }
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }
    pub fn action(&self, id: &str) -> Option<&Action> {
        self.actions.iter().find(|a| &*a.id == id)
    }
    /// Expands the constants of a request and checks the limits again.
    pub fn prepare(&self, request: &Request) -> Result<Prepared, Unprepared> {
        todo!()
    }
}
