//! The row of a dictionary: one part for each payload of channel `dict` that it takes.
//!
//! A part is its length (u32, little-endian), then, if bit 31 of that is set, how many texts stand apart (u32), the
//! message without them, and their keys (u128 each) in the message's order; else the payload as it came, as version 1
//! of the file had all of them.

use bytes::Bytes;
use wire::dict::{Decoder, DictError, DictMessage, Dictionary};

const APART: u32 = 1 << 31;

/// A part of a row.
enum Part<'a> {
    Payload(&'a [u8]),
    /// A message and the keys of its texts.
    Outline(&'a [u8], &'a [u8]),
}

/// Appends a part: a message without its texts, and their keys.
pub(super) fn put(out: &mut Vec<u8>, body: &[u8], keys: &[u128]) {
    // A payload is at most 64 KiB.
    out.extend_from_slice(&(body.len() as u32 | APART).to_le_bytes());
    out.extend_from_slice(&(keys.len() as u32).to_le_bytes());
    out.extend_from_slice(body);
    for key in keys {
        out.extend_from_slice(&key.to_le_bytes());
    }
}

/// The dictionary of a row; `text` finds texts by their keys. `None` if anything of it is not as it should be.
pub(super) fn decode(
    decoder: &mut Decoder,
    bytes: &[u8],
    text: impl Fn(u128) -> Option<Bytes>,
) -> Option<Dictionary> {
    let mut list = Dictionary::new();
    for part in parts(bytes) {
        list = message(decoder, part?, &text)?.apply(&list).ok()?;
    }
    Some(list)
}

fn message(
    decoder: &mut Decoder,
    part: Part<'_>,
    text: impl Fn(u128) -> Option<Bytes>,
) -> Option<DictMessage> {
    match part {
        Part::Payload(payload) => decoder.decode(payload).ok(),
        Part::Outline(body, keys) => {
            let mut keys = numbers(keys);
            let mut next = || keys.next().and_then(&text);
            decoder
                .join(body, || next().ok_or(DictError::Malformed("its text is missing")))
                .ok()
        }
    }
}

/// The keys of the texts that a row names.
pub(super) fn keys(bytes: &[u8]) -> impl Iterator<Item = u128> {
    parts(bytes).flatten().flat_map(|part| match part {
        Part::Payload(_) => numbers(&[]),
        Part::Outline(_, keys) => numbers(keys),
    })
}

fn numbers(keys: &[u8]) -> impl Iterator<Item = u128> {
    let (keys, _) = keys.as_chunks::<16>();
    keys.iter().map(|key| u128::from_le_bytes(*key))
}

/// The parts of a row; `None` where it is cut short, and then no more.
fn parts(mut rest: &[u8]) -> impl Iterator<Item = Option<Part<'_>>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let part = take(&mut rest);
        if part.is_none() {
            rest = &[];
        }
        Some(part)
    })
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<Part<'a>> {
    let len = number(rest)?;
    if len & APART == 0 {
        return Some(Part::Payload(bytes(rest, len as usize)?));
    }
    let keys = 16 * number(rest)? as usize;
    let body = bytes(rest, (len & !APART) as usize)?;
    Some(Part::Outline(body, bytes(rest, keys)?))
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_le_bytes(*number))
}

fn bytes<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(bytes)
}
