//! STUB (to be replaced): values.
#![allow(missing_docs, unused)]
use super::ModbusFunction;
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValueType {
    #[default]
    Hex,
    Short,
    Int,
    Long,
    Float,
    Double,
}
/// What a request writes, by function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModbusWrite {
    SingleCoil { address: u16, on: bool },
    SingleRegister { address: u16, word: u16 },
    MultipleCoils { address: u16, coils: Vec<bool> },
    MultipleRegisters { address: u16, words: Vec<u16> },
}
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub String);
impl ModbusWrite {
    pub fn encode(
        function: ModbusFunction,
        address: u16,
        value_type: ValueType,
        value: &str,
    ) -> Result<Self, ValueError> {
        todo!()
    }
    /// Function code on the wire.
    pub fn function(&self) -> u8 {
        todo!()
    }
    pub fn address(&self) -> u16 {
        todo!()
    }
    pub fn quantity(&self) -> u16 {
        todo!()
    }
    /// registers, or coils as 0 and 1
    pub fn values(&self) -> Vec<u16> {
        todo!()
    }
}
