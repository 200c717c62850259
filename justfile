# The commands that people run; .ci/run runs the same ones.

# Everything that CI checks, in its order.
ci: fmt lint doc test deny

# Formatting, checked.
fmt:
    cargo fmt --all --check

# Lints, warnings denied.
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# Documentation, private items too, warnings denied.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

# Unit, property and end-to-end tests.
test:
    cargo test --workspace

# Licences, banned crates, sources.
deny:
    cargo deny check bans licenses sources

# The main job, once: 50 devices for 30 s; exits 0 only if the equation holds.
demo:
    cargo run --release -- demo --devices 50 --interval 1s --for 30s

# kill -9 of a random process under load, 50 rounds.
kills rounds="50":
    BACKHAUL_KILL_ROUNDS={{rounds}} cargo test --release --workspace --test e2e kill -- --nocapture

# Random faults over real processes, every round audited; power cuts at random operations of the store and the agent's log.
soak rounds="1000" sites="6" cuts="20000":
    BACKHAUL_FAULT_ROUNDS={{rounds}} BACKHAUL_FAULT_SITES={{sites}} cargo test --release --workspace --test faults -- --nocapture
    BACKHAUL_POWER_CUTS={{cuts}} cargo test --release --workspace --test power
    BACKHAUL_WAL_CUTS={{cuts}} cargo test --release --workspace --lib power

# Fuzz one decoder for a minute (needs cargo-fuzz).
fuzz target="batch" seconds="60":
    cd tests/fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz run {{target}} --fuzz-dir . -- -max_total_time={{seconds}}

# CPU, memory and disk of serve under a simulated fleet, and of installed peers; see the script's head.
bench-serve pages *shape:
    cargo build --release
    tests/bench/serve.sh {{pages}} {{shape}}

# CPU per query of serve and of installed peers on the same data; see the script's head.
bench-queries pages *shape:
    cargo build --release
    tests/bench/queries.py {{pages}} {{shape}}

# CPU of rules over a fleet, ours and installed peers; see the script's head.
bench-rules pages *shape:
    cargo build --release
    tests/bench/rules.py {{pages}} {{shape}}

# The store alone: commit, replay, seal, chunks; pages are a folder of recorded ones.
bench-store pages devices="1000" scrapes="240":
    cargo bench -p store --bench commit -- {{pages}} {{devices}} {{scrapes}}
    cargo bench -p store --bench chunk -- {{pages}} 3
