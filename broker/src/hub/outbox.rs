//! What waits for a device: acks, configuration, commands; bounded in messages and bytes.
//!
//! Acks go with QoS 0 and are idempotent, so the oldest makes room for the newest. Configuration and commands go with
//! the QoS that the device asked for, behind a small window.

use std::collections::VecDeque;

use bytes::Bytes;
use wire::topic::Down;

use crate::window::Window;

const MAX_MESSAGES: usize = 32;
const MAX_BYTES: usize = 512 << 10;
const WINDOW_MESSAGES: usize = 16;

/// A message to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) channel: Down,
    pub(crate) payload: Bytes,
    /// Replayed at subscribe.
    pub(crate) retained: bool,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posted {
    /// It waits.
    Queued,
    /// It waits, and so many older acks were dropped for it.
    Replaced(usize),
    /// The device has not subscribed to its channel.
    NotSubscribed,
    /// There is no room.
    Full,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// For each down channel: subscribed, and with QoS 1.
    subscribed: [Option<bool>; Down::ALL.len()],
    notes: VecDeque<Note>,
    bytes: usize,
    window: Window,
}

impl Outbox {
    /// An empty outbox without subscriptions.
    pub(crate) fn new() -> Self {
        Outbox {
            subscribed: [None; Down::ALL.len()],
            notes: VecDeque::new(),
            bytes: 0,
            window: Window::new(WINDOW_MESSAGES, MAX_BYTES),
        }
    }

    /// Subscribes, or changes the QoS.
    pub(crate) fn subscribe(&mut self, channel: Down, qos1: bool) {
        self.subscribed[channel as usize] = Some(qos1);
    }

    /// Unsubscribes; what waits is still sent.
    pub(crate) fn unsubscribe(&mut self, channel: Down) {
        self.subscribed[channel as usize] = None;
    }

    /// Adds a message.
    pub(crate) fn post(&mut self, note: Note) -> Posted {
        if self.subscribed[note.channel as usize].is_none() {
            return Posted::NotSubscribed;
        }
        let mut dropped = 0;
        while self.notes.len() >= MAX_MESSAGES || self.bytes + note.payload.len() > MAX_BYTES {
            let oldest = self.notes.iter().position(|n| n.channel == Down::Ack);
            let Some(old) = oldest.and_then(|at| self.notes.remove(at)) else {
                return Posted::Full;
            };
            self.bytes -= old.payload.len();
            dropped += 1;
        }
        self.bytes += note.payload.len();
        self.notes.push_back(note);
        if dropped > 0 {
            Posted::Replaced(dropped)
        } else {
            Posted::Queued
        }
    }

    /// Takes the oldest message that may be sent, with its packet id if it goes with QoS 1; with the last one the memory goes.
    pub(crate) fn take(&mut self) -> Option<(Note, Option<u16>)> {
        let head = self.notes.front()?;
        let qos1 = head.channel != Down::Ack && self.subscribed[head.channel as usize] == Some(true);
        if qos1 && !self.window.has_room() {
            return None;
        }
        let note = self.notes.pop_front()?;
        if self.notes.is_empty() {
            self.notes = VecDeque::new();
        }
        self.bytes -= note.payload.len();
        let pkid = qos1.then(|| self.window.take(note.payload.len()));
        Some((note, pkid))
    }

    /// Takes a PUBACK; false: it answers nothing.
    pub(crate) fn acked(&mut self, pkid: u16) -> bool {
        self.window.free(pkid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(channel: Down, len: usize) -> Note {
        Note {
            channel,
            payload: Bytes::from(vec![len as u8; len]),
            retained: false,
        }
    }

    #[test]
    fn only_subscribed_channels_are_kept() {
        let mut outbox = Outbox::new();
        assert_eq!(outbox.post(note(Down::Ack, 1)), Posted::NotSubscribed);
        outbox.subscribe(Down::Ack, true);
        assert_eq!(outbox.post(note(Down::Ack, 1)), Posted::Queued);
        assert_eq!(
            outbox.take(),
            Some((note(Down::Ack, 1), None)),
            "acks go with QoS 0"
        );
        outbox.unsubscribe(Down::Ack);
        assert_eq!(outbox.post(note(Down::Ack, 1)), Posted::NotSubscribed);
    }

    #[test]
    fn the_oldest_ack_makes_room_and_commands_stay() {
        let mut outbox = Outbox::new();
        outbox.subscribe(Down::Ack, false);
        outbox.subscribe(Down::Cmd, true);
        assert_eq!(outbox.post(note(Down::Cmd, 200)), Posted::Queued);
        for n in 1..MAX_MESSAGES {
            assert_eq!(outbox.post(note(Down::Ack, n)), Posted::Queued);
        }
        assert_eq!(outbox.post(note(Down::Ack, 99)), Posted::Replaced(1));
        assert_eq!(outbox.take(), Some((note(Down::Cmd, 200), Some(1))));
        assert_eq!(outbox.take(), Some((note(Down::Ack, 2), None)));
        assert!(outbox.acked(1) && !outbox.acked(1));
    }

    #[test]
    fn commands_beyond_the_bounds_are_refused() {
        let mut outbox = Outbox::new();
        outbox.subscribe(Down::Cmd, true);
        for _ in 0..MAX_MESSAGES {
            assert_eq!(outbox.post(note(Down::Cmd, 1)), Posted::Queued);
        }
        assert_eq!(outbox.post(note(Down::Cmd, 1)), Posted::Full);
        let sent = std::iter::from_fn(|| outbox.take()).count();
        assert_eq!(sent, WINDOW_MESSAGES, "the window closes");
        assert!(outbox.acked(3));
        assert!(outbox.take().is_some());
    }
}
