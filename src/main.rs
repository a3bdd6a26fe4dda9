//! The `wwsim` binary; see [`wwsim::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    wwsim::cli::main()
}
