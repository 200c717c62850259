//! A dictionary's payload in two halves: the texts of its sections, which are the same for all devices of a fleet that
//! have the same series, and the rest, which names the device's own labels. Whoever keeps many keeps each text once.

use bytes::Bytes;
use prost::Message;

use crate::message;

/// The shortest text that is taken out, bytes.
const SHORTEST: usize = 64;

/// A payload of channel `dict` whose sections' longer texts stand apart; [`super::Decoder::join`] puts it together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The message without those texts.
    pub body: Vec<u8>,
    /// The texts, in the message's order.
    pub texts: Vec<Bytes>,
}

impl Outline {
    /// Takes a message apart.
    pub(super) fn of(mut message: message::Dict) -> Self {
        let fronts = message.sections.iter_mut().map(|section| &mut section.front);
        let long = fronts.filter(|front| front.len() >= SHORTEST);
        let texts = long.map(std::mem::take).collect();
        Outline {
            body: message.encode_to_vec(),
            texts,
        }
    }
}
