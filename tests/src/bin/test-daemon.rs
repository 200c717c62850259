//! `backhaul-agent` by itself: `test-daemon CONFIG_FILE`.

fn main() {}
