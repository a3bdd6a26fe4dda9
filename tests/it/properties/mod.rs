//! What the fuzz targets hold the crate to, and the replay of what they found.

mod modbus_frame;

use std::path::Path;

/// Shows every kept input of a fuzz target to its property.
fn replay(target: &str, holds: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let inputs = std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{corpus:?}: {error}"));
    let mut shown = 0;
    for input in inputs {
        let path = input.unwrap().path();
        eprintln!("{}", path.display());
        holds(&std::fs::read(&path).unwrap());
        shown += 1;
    }
    assert!(shown > 0, "{corpus:?} is empty");
}

#[test]
fn every_kept_modbus_frame_gets_a_fitting_reply() {
    replay("modbus_frame", modbus_frame::holds);
}
