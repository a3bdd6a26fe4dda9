//! Any bytes on the connection of a slave get valid replies: random PDUs, and the corpus of the fuzz target.

use std::fs;

use proptest::prelude::*;
use wwsim::modbus::wire::{split_frame, write_frame};
use wwsim::modbus::{bank, limits, wire};
use wwsim::{clock, rng};

#[path = "../properties/modbus_frame.rs"]
mod property;

proptest! {
    #[test]
    fn any_pdu_gets_a_valid_reply(pdu in proptest::collection::vec(any::<u8>(), 1..254)) {
        let mut frame = Vec::new();
        write_frame(1, 1, &pdu, &mut frame);
        property::holds(&frame);
    }
}

#[test]
fn the_fuzz_corpus_gets_valid_replies() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/corpus/modbus_frame");
    let mut frames = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        property::holds(&bytes);
        frames += usize::from(matches!(split_frame(&bytes), Ok(Some(_))));
    }
    assert!(frames > 5, "the corpus contains {frames} whole frames");
}
