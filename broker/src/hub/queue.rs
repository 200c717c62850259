//! What a device has sent and no bridge has taken yet, in the order in which it came.
//!
//! Bounded by what surrounds it: batches and dictionaries by credit, states to two, alerts and replies by their own
//! small allowance.

use std::collections::VecDeque;

use bytes::Bytes;
use wire::topic::Up;

/// States that may wait; of more, only the newest counts.
const MAX_STATES: usize = 2;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) channel: Up,
    pub(crate) payload: Bytes,
    /// Sent because a bridge subscribed, not because the device just said it.
    pub(crate) retained: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    messages: VecDeque<Message>,
    bytes: usize,
    states: usize,
    alert_bytes: usize,
}

impl Queue {
    /// Adds a message; a third state replaces the newest of the two that wait.
    pub(crate) fn push(&mut self, message: Message) {
        if message.channel == Up::State {
            if self.states == MAX_STATES
                && let Some(at) = self.messages.iter().rposition(|m| m.channel == Up::State)
                && let Some(old) = self.messages.remove(at)
            {
                self.forget(&old);
            }
            self.states += 1;
        }
        if is_alert(message.channel) {
            self.alert_bytes += message.payload.len();
        }
        self.bytes += message.payload.len();
        self.messages.push_back(message);
    }

    /// The oldest message.
    pub(crate) fn head(&self) -> Option<&Message> {
        self.messages.front()
    }

    /// Takes the oldest message; with the last one the queue's memory goes.
    pub(crate) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.forget(&message);
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        Some(message)
    }

    /// Removes messages of the channels that `gone` names; how many.
    pub(crate) fn drop_channels(&mut self, gone: impl Fn(Up) -> bool) -> usize {
        let before = self.messages.len();
        self.messages.retain(|m| !gone(m.channel));
        let (mut bytes, mut states, mut alert_bytes) = (0, 0, 0);
        for message in &self.messages {
            bytes += message.payload.len();
            states += usize::from(message.channel == Up::State);
            alert_bytes += if is_alert(message.channel) {
                message.payload.len()
            } else {
                0
            };
        }
        (self.bytes, self.states, self.alert_bytes) = (bytes, states, alert_bytes);
        before - self.messages.len()
    }

    /// The newest state that waits.
    pub(crate) fn last_state(&self) -> Option<&Message> {
        self.messages.iter().rev().find(|m| m.channel == Up::State)
    }

    /// Payload bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Payload bytes of alerts and replies that wait.
    pub(crate) fn alert_bytes(&self) -> usize {
        self.alert_bytes
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn forget(&mut self, message: &Message) {
        self.bytes -= message.payload.len();
        self.states -= usize::from(message.channel == Up::State);
        if is_alert(message.channel) {
            self.alert_bytes -= message.payload.len();
        }
    }
}

/// Channels outside credit with an allowance of their own.
pub(crate) fn is_alert(channel: Up) -> bool {
    matches!(channel, Up::Alert | Up::Reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(channel: Up, text: &'static str) -> Message {
        Message {
            channel,
            payload: Bytes::from_static(text.as_bytes()),
            retained: false,
        }
    }

    fn drain(queue: &mut Queue) -> Vec<Bytes> {
        std::iter::from_fn(|| queue.pop()).map(|m| m.payload).collect()
    }

    #[test]
    fn messages_leave_in_the_order_in_which_they_came() {
        let mut queue = Queue::default();
        for (channel, text) in [
            (Up::State, "s1"),
            (Up::Dict, "d1"),
            (Up::Batch, "b1"),
            (Up::Alert, "a1"),
        ] {
            queue.push(message(channel, text));
        }
        assert_eq!((queue.bytes(), queue.alert_bytes()), (8, 2));
        assert_eq!(drain(&mut queue), ["s1", "d1", "b1", "a1"]);
        assert_eq!(
            (queue.bytes(), queue.alert_bytes(), queue.is_empty()),
            (0, 0, true)
        );
    }

    #[test]
    fn of_many_states_the_oldest_and_the_newest_wait() {
        let mut queue = Queue::default();
        for text in ["s1", "s2", "s3"] {
            queue.push(message(Up::State, text));
            queue.push(message(Up::Batch, "b"));
        }
        queue.push(message(Up::State, "s4"));
        assert_eq!(
            queue.last_state().map(|m| m.payload.clone()),
            Some(Bytes::from("s4"))
        );
        assert_eq!(drain(&mut queue), ["s1", "b", "b", "b", "s4"]);
    }

    #[test]
    fn channels_can_be_dropped_and_the_sums_follow() {
        let mut queue = Queue::default();
        for (channel, text) in [
            (Up::State, "s1"),
            (Up::Batch, "bb"),
            (Up::Alert, "aaa"),
            (Up::Batch, "b"),
        ] {
            queue.push(message(channel, text));
        }
        assert_eq!(queue.drop_channels(|c| c == Up::Batch), 2);
        assert_eq!((queue.bytes(), queue.alert_bytes()), (5, 3));
        assert_eq!(drain(&mut queue), ["s1", "aaa"]);
    }
}
