//! Prints the JSON Schema of a journal entry, from which `scripts/regenerate` makes
//! `docs/journal.md`.

fn main() {
    let schema = schemars::schema_for!(wwsim::journal::JournalEntry);
    println!("{:#}", schema.as_value());
}
