//! What is sent, when, and until when: the device's half of the delivery contract as a state machine.

/// Choices of delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryConfig {
    /// Scrapes per fresh batch: exactly this many (`simulate --batch`), or one as it comes.
    pub scrapes_per_batch: usize,
    /// Largest unacknowledged volume of fresh rows kept in memory, rows; older ones are read back from the WAL.
    pub fresh_rows: usize,
    /// Drops rows of a boot whose clock never was right (`time_unknown`) instead of placing them by estimate.
    pub drop_unknown_time: bool,
    /// Version of the agent, told in `state`.
    pub agent_version: String,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        DeliveryConfig {
            scrapes_per_batch: 1,
            fresh_rows: 64,
            drop_unknown_time: false,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
