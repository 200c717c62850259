//! Dictionaries as payloads.
//!
//! Consecutive sets of one target form a section: the labels that all of them carry stand once, the rest of each set
//! is text (`name 0xFF value 0xFF …`, bytes that UTF-8 never has) of which only what differs from the set before is
//! written. node_exporter's 523 series take 12 bytes each that way, after snappy.

use bytes::Bytes;
use prost::Message;

use super::outline::Outline;
use super::texts::{Common, END, Known};
use super::{DictError, DictHash, Dictionary, digest, hash_set, text_len};
use crate::labels::Labels;
use crate::limits::{MAX_BODY, MAX_DECODED, MAX_MESSAGE, MAX_SERIES};
use crate::message::{self, Pair, VERSION};
use crate::payload::{self, PayloadError};
use crate::shape::{self, Shape, ShapeError};
use crate::varint::{Short, put};

/// Bytes that a message's own fields, and a section's, take beside the labels; generous.
const FRAME: usize = 128;

/// Labels that tell targets apart; a section ends where one of them changes.
const TARGET: [&str; 2] = ["instance", "job"];

const SHAPES: &[Shape] = &[Shape::message::<message::DictSection>(
    4,
    &[Shape::message::<Pair>(1, &[])],
)];

/// A list, or an addition to one, as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DictMessage {
    base: Option<DictHash>,
    hash: DictHash,
    /// Each keeps to the limits of a dictionary.
    sets: Vec<Labels>,
    message: message::Dict,
}

impl DictMessage {
    /// The message in two halves.
    pub fn outline(&self) -> Outline {
        Outline::of(self.message.clone())
    }

    /// The list that it extends; `None`: the empty one.
    pub fn base(&self) -> Option<DictHash> {
        self.base
    }

    /// The list that results, as the message says.
    pub fn hash(&self) -> DictHash {
        self.hash
    }

    /// The sets that it appends.
    pub fn sets(&self) -> &[Labels] {
        &self.sets
    }

    /// The resulting list. `base` must be the list that the message extends (else `Base`; any list will do for a
    /// message that starts from nothing), and the result must have the hash that the message says (else `Hash`).
    pub fn apply(self, base: &Dictionary) -> Result<Dictionary, DictError> {
        let mut list = match self.base {
            None => Dictionary::new(),
            Some(wanted) if wanted == base.hash() => base.clone(),
            Some(wanted) => return Err(DictError::Base { wanted }),
        };
        list.extend_checked(self.sets)?;
        match list.hash() {
            found if found == self.hash => Ok(list),
            found => Err(DictError::Hash {
                found,
                said: self.hash,
            }),
        }
    }
}

/// The payloads that bring a receiver to `dict`, to be sent in order, each at most `MAX_MESSAGE` bytes: what follows
/// the list `known` (hash and length), or everything if that is `None` or no beginning of `dict`. None if it is `dict`.
pub fn encode(dict: &Dictionary, known: Option<(DictHash, usize)>) -> Vec<Vec<u8>> {
    let messages = messages(dict, known).into_iter();
    messages
        .map(|message| payload::seal(&message.encode_to_vec()))
        .collect()
}

/// The payloads of all of a list, each in two halves.
pub fn outlines(dict: &Dictionary) -> Vec<Outline> {
    messages(dict, None).into_iter().map(Outline::of).collect()
}

fn messages(dict: &Dictionary, known: Option<(DictHash, usize)>) -> Vec<message::Dict> {
    let known = known.filter(|&(hash, len)| dict.hash_at(len) == Some(hash));
    let mut start = known.map_or(0, |(_, len)| len);
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    let mut scratch = Vec::new();
    for set in &dict.sets[..start] {
        hash_set(&mut hasher, set, &mut scratch);
    }
    let mut messages = Vec::new();
    while start < dict.sets.len() {
        let base = (start > 0).then(|| digest(&hasher));
        let end = chunk_end(&dict.sets, start);
        let sets = &dict.sets[start..end];
        for set in sets {
            hash_set(&mut hasher, set, &mut scratch);
        }
        messages.push(message_of(base, digest(&hasher), sets));
        start = end;
    }
    messages
}

/// How far a message from `start` on may reach so that its body stays below `MAX_MESSAGE`, whatever the encoding saves.
fn chunk_end(sets: &[Labels], start: usize) -> usize {
    let mut size = FRAME;
    let fits = sets[start..].iter().take_while(|set| {
        // Two varints of three bytes at most for each set; each may open a section of its own and so repeat labels.
        size += text_len(set) + 6 + 16;
        size <= MAX_MESSAGE
    });
    start + fits.count().max(1)
}

fn message_of(base: Option<DictHash>, hash: DictHash, sets: &[Labels]) -> message::Dict {
    let same_target = |a: &Labels, b: &Labels| TARGET.iter().all(|name| a.get(name) == b.get(name));
    message::Dict {
        version: VERSION,
        base: base.map_or_else(Default::default, |h| h.as_bytes().to_vec().into()),
        hash: hash.as_bytes().to_vec().into(),
        sections: sets.chunk_by(same_target).map(section).collect(),
    }
}

fn section(sets: &[Labels]) -> message::DictSection {
    // A lone set has nothing to share, and its text is the shorter form.
    let common: Vec<(&str, &str)> = match sets {
        [first, rest @ ..] if !rest.is_empty() => first
            .iter()
            .filter(|(name, value)| rest.iter().all(|set| set.get(name) == Some(value)))
            .collect(),
        _ => Vec::new(),
    };
    let mut front = Vec::new();
    let mut before = Vec::new();
    for set in sets {
        let mut text = Vec::new();
        for (name, value) in set.iter().filter(|pair| !common.contains(pair)) {
            text.extend_from_slice(name.as_bytes());
            text.push(END);
            text.extend_from_slice(value.as_bytes());
            text.push(END);
        }
        let shared = before.iter().zip(&text).take_while(|(a, b)| a == b).count();
        put(&mut front, shared as u64);
        put(&mut front, (text.len() - shared) as u64);
        front.extend_from_slice(&text[shared..]);
        before = text;
    }
    let pair = |(name, value): (&str, &str)| Pair {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    message::DictSection {
        common: common.into_iter().map(pair).collect(),
        sets: sets.len() as u32,
        front: front.into(),
    }
}

/// Reads a payload of channel `dict`.
pub fn decode(payload: &[u8]) -> Result<DictMessage, DictError> {
    Decoder::default().decode(payload)
}

/// Reads payloads of channel `dict`; it remembers some texts of sections, as devices with the same series send the same.
#[derive(Debug, Default)]
pub struct Decoder(Known);

impl Decoder {
    /// Reads a payload.
    pub fn decode(&mut self, payload: &[u8]) -> Result<DictMessage, DictError> {
        let body = payload::open(payload, MAX_BODY)?.into_owned();
        self.message(shape::decode(body.into(), SHAPES)?)
    }

    /// Puts an [`Outline`]'s message together; `text` gives its next text.
    pub fn join(
        &mut self,
        body: &[u8],
        mut text: impl FnMut() -> Result<Bytes, DictError>,
    ) -> Result<DictMessage, DictError> {
        let mut message: message::Dict = shape::decode(Bytes::copy_from_slice(body), SHAPES)?;
        // A section of any set has a text.
        let sections = message.sections.iter_mut();
        for section in sections.filter(|section| section.sets > 0 && section.front.is_empty()) {
            section.front = text()?;
        }
        self.message(message)
    }

    fn message(&mut self, message: message::Dict) -> Result<DictMessage, DictError> {
        let hash = DictHash::from_slice(&message.hash).ok_or(DictError::Malformed("hash"))?;
        let base = match message.base.is_empty() {
            true => None,
            false => Some(DictHash::from_slice(&message.base).ok_or(DictError::Malformed("base"))?),
        };
        let mut sets = Vec::new();
        let mut left = MAX_DECODED;
        for section in &message.sections {
            if section.sets as usize > MAX_SERIES - sets.len() {
                return Err(DictError::Limit("series of a device"));
            }
            let text = self.0.read(&section.front, section.sets as usize, left)?;
            text.sets(&Common::new(&section.common)?, &mut left, &mut sets)?;
        }
        Ok(DictMessage {
            base,
            hash,
            sets,
            message,
        })
    }
}

impl From<PayloadError> for DictError {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::TooLarge { .. } => DictError::Limit("bytes of a body"),
            PayloadError::Codec(_) => DictError::Malformed("unknown payload codec"),
            PayloadError::Corrupt => DictError::Malformed("payload"),
        }
    }
}

impl From<ShapeError> for DictError {
    fn from(error: ShapeError) -> Self {
        match error {
            ShapeError::Version(version) => DictError::Version(version),
            ShapeError::Malformed => DictError::Malformed("protobuf"),
            ShapeError::Limit => DictError::Limit("memory of a message"),
        }
    }
}

impl From<Short> for DictError {
    fn from(_: Short) -> Self {
        DictError::Malformed("column ends early")
    }
}
