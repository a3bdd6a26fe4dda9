# What people do here, by name: `just` lists it. Each line can be run without just, too.

# Lists the recipes.
default:
    @just --list

# The tests of all crates.
test:
    cargo test

# What a change has to pass, without the end-to-end part.
check: test
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo clippy --test soak -- -D warnings
    cargo deny check bans licenses sources
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
    scripts/regenerate --check
    scripts/check-words

# All of it, as the integration server does.
ci:
    .ci/run

# The house of a built-in scenario, or of a file.
run scenario="default":
    cargo run --release -- run {{scenario}}

# Writes generated files: schemas, references, journal, limits.
regenerate:
    scripts/regenerate

# Accepts changed expectations: reports of bad scenarios, and recorded replies. Read the difference.
accept:
    UPDATE_EXPECTED=1 cargo test --test it
    WWSIM_RECORD=1 cargo test --test it recorded

# Drives the binary of the `dist` profile with foreign programs.
e2e:
    scripts/e2e/run

# The endurance check, for so many seconds.
soak seconds="120":
    cargo build --profile dist
    WWSIM=target/dist/wwsim SOAK_SECONDS={{seconds}} scripts/e2e/soak

# What a release has to pass: `ci` with a long soak and long fuzzing.
full:
    scripts/full

# Figures of docs/performance.md.
bench name="":
    cargo bench {{ if name == "" { "" } else { "--bench " + name } }}

# Keeps the figures of all benches, or of one, under a name.
baseline name bench="":
    scripts/bench-baseline save {{name}} {{bench}}

# Measures again, and compares with the figures that were kept under a name.
compare-baseline name bench="":
    scripts/bench-baseline compare {{name}} {{bench}}

# The twin beside bare servers and other simulators: the section "Comparison" of docs/performance.md.
compare:
    benches/compare/run

# The pages of the code.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
