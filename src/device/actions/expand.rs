//! STUB (to be replaced): constants.
#![allow(missing_docs, unused)]
use super::{HttpMethod, ModbusWrite};
use std::time::Duration;
#[derive(Debug, Clone, PartialEq)]
pub enum Prepared {
    Http(PreparedHttp),
    Modbus(PreparedModbus),
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}
/// host: as in the URL, without brackets; port: default by scheme; target: origin form incl. query; authority: for the Host header
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedHttp {
    pub scheme: Scheme,
    pub host: String,
    pub port: u16,
    pub authority: String,
    pub target: String,
    pub method: HttpMethod,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub timeout: Duration,
}
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedModbus {
    pub host: String,
    pub port: u16,
    pub unit_id: u8,
    pub write: ModbusWrite,
    pub timeout: Duration,
}
/// Why a request cannot be sent as it stands after expansion (ends with -1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Unprepared {
    pub field: &'static str,
    pub message: String,
}
