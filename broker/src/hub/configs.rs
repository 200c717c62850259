//! The last configuration of each device, replayed when it subscribes; bounded in devices and bytes.

use std::collections::HashMap;

use bytes::Bytes;
use wire::DeviceName;

/// See the module.
#[derive(Debug)]
pub(crate) struct Configs {
    max_devices: usize,
    max_bytes: usize,
    bytes: usize,
    kept: HashMap<DeviceName, Bytes>,
}

impl Configs {
    /// An empty table.
    pub(crate) fn new(max_devices: usize, max_bytes: usize) -> Self {
        Configs {
            max_devices,
            max_bytes,
            bytes: 0,
            kept: HashMap::new(),
        }
    }

    /// Keeps a configuration instead of the one before; an empty one removes it. False: there is no room.
    pub(crate) fn keep(&mut self, device: &DeviceName, config: Bytes) -> bool {
        if let Some(old) = self.kept.remove(device) {
            self.bytes -= old.len();
        }
        if config.is_empty() {
            return true;
        }
        if self.kept.len() >= self.max_devices || self.bytes + config.len() > self.max_bytes {
            return false;
        }
        self.bytes += config.len();
        self.kept.insert(device.clone(), config);
        true
    }

    /// The device's configuration.
    pub(crate) fn get(&self, device: &DeviceName) -> Option<Bytes> {
        self.kept.get(device).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded_and_an_empty_configuration_frees_its_place() {
        let [a, b, c] = ["t.a", "t.b", "t.c"].map(|n| n.parse::<DeviceName>().unwrap());
        let mut configs = Configs::new(2, 10);
        assert!(configs.keep(&a, Bytes::from("123456")));
        assert!(!configs.keep(&b, Bytes::from("12345")), "too many bytes");
        assert!(configs.keep(&b, Bytes::from("1234")));
        assert!(!configs.keep(&c, Bytes::from("")) || configs.get(&c).is_none());
        assert!(configs.keep(&a, Bytes::new()));
        assert_eq!(configs.get(&a), None);
        assert!(configs.keep(&c, Bytes::from("123456")));
        assert_eq!(configs.get(&c), Some(Bytes::from("123456")));
    }
}
