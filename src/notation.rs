//! The notation that scenarios and rules share: scalars with a unit, and values with a short and a
//! long form. Excerpts and lists of numbers in messages as well.
//!
//! These types stand below everything that has a written form of its own, because a fault's effects
//! are written with them as well as the rest of a scenario.

mod choice;
mod duration;
pub(crate) mod scalar;
mod share;
mod text;

pub use self::choice::{Choice, OneOrMany};
pub use self::duration::{DurationText, Seconds};
pub use self::scalar::ScalarError;
pub use self::share::Share;
pub(crate) use self::text::{
    excerpt, first_chars, join_items, join_numbers, shortened, without_bom,
};
