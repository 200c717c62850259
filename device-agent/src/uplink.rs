//! The MQTT connection: rumqttc driven as a dumb pipe, one fresh event loop per connection.

use std::time::Duration;

/// Where a broker listens, TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Name or address; also what its certificate must say.
    pub host: String,
    /// Port, usually 8883.
    pub port: u16,
}

/// Pauses between connection attempts: full jitter between zero and a bound that doubles from `first` to `most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Bound after the first failure.
    pub first: Duration,
    /// Largest bound.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff {
            first: Duration::from_secs(1),
            most: Duration::from_secs(60),
        }
    }
}
