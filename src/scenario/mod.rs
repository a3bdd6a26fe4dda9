//! The scenario file: STUB body.
mod model;
pub use self::model::*;
