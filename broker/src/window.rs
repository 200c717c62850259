//! What was sent with QoS 1 and waits for its PUBACK, bounded in messages and bytes.

use std::collections::HashMap;

/// An in-flight window.
#[derive(Debug)]
pub(crate) struct Window {
    max_messages: usize,
    max_bytes: usize,
    bytes: usize,
    last: u16,
    waiting: HashMap<u16, usize>,
}

impl Window {
    /// An empty window; `max_messages` is cut to what packet ids can name.
    pub(crate) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Window {
            max_messages: max_messages.clamp(1, usize::from(u16::MAX) / 2),
            max_bytes,
            bytes: 0,
            last: 0,
            waiting: HashMap::new(),
        }
    }

    /// Whether a message may be sent. One message always fits into an empty window, however large it is.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.is_empty() || (self.waiting.len() < self.max_messages && self.bytes < self.max_bytes)
    }

    /// Takes a packet id for a message of so many bytes; the caller has asked [`Window::has_room`].
    pub(crate) fn take(&mut self, bytes: usize) -> u16 {
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !self.waiting.contains_key(&self.last) {
                break;
            }
        }
        self.waiting.insert(self.last, bytes);
        self.bytes += bytes;
        self.last
    }

    /// Frees what a PUBACK answers; false: it answers nothing.
    pub(crate) fn free(&mut self, pkid: u16) -> bool {
        match self.waiting.remove(&pkid) {
            Some(bytes) => {
                self.bytes -= bytes;
                true
            }
            None => false,
        }
    }

    /// Messages that wait.
    pub(crate) fn messages(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_bounded_in_messages_and_bytes_and_freed_in_any_order() {
        let mut window = Window::new(3, 100);
        let ids: Vec<u16> = (0..3).map(|_| window.take(10)).collect();
        assert_eq!(ids, [1, 2, 3]);
        assert!(!window.has_room());
        assert!(window.free(2));
        assert!(!window.free(2));
        assert!(window.has_room());
        assert_eq!(window.take(500), 4);
        assert!(!window.has_room(), "over in bytes");
        assert!(window.free(4) && window.free(1) && window.free(3));
        assert!(window.has_room());
        assert_eq!(window.messages(), 0);
    }

    #[test]
    fn packet_ids_wrap_past_zero_and_past_those_in_use() {
        let mut window = Window::new(10, 100);
        assert_eq!(window.take(1), 1);
        window.last = u16::MAX;
        assert_eq!(window.take(1), 2);
    }
}
