//! Writes batches and groups.

use prost::Message;

use crate::batch::columns::Columns;
use crate::batch::decimal::RAW;
use crate::batch::group::Group;
use crate::batch::key::{GroupKey, Key, KeyId};
use crate::batch::presence::Presence;
use crate::batch::{Batch, stamps};
use crate::message::{self, VERSION};
use crate::payload;

/// What a batch may refer to.
#[derive(Debug, Clone, Copy)]
pub enum Encoding<'a> {
    /// Nothing but its dictionary.
    SelfContained,
    /// Nothing but its dictionary, and it makes the key of this number.
    Defines(KeyId),
    /// This key. A group whose series the key does not have, in this order, stands alone; the batch is self-contained
    /// if the key is of another session or boot, or has none of the groups.
    Keyed(&'a Key),
}

/// A batch as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The payload.
    pub payload: Vec<u8>,
    /// The key that it defines.
    pub key: Option<Key>,
}

/// A group as a log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedGroup {
    /// The group, not compressed.
    pub bytes: Vec<u8>,
    /// What later groups with the same series may refer to, if this one stands alone.
    pub key: Option<GroupKey>,
}

/// Writes a batch; an `Encoder` that is kept writes shorter ones, faster.
pub fn encode(batch: &Batch, how: Encoding<'_>) -> Encoded {
    Encoder::new().encode(batch, how)
}

/// Writes batches, and remembers in which mode it last wrote each series of a session's dictionary: a key then names the
/// mode that most later values fit.
#[derive(Debug, Default)]
pub struct Encoder {
    modes: Vec<u8>,
    columns: Columns,
}

impl Encoder {
    /// An encoder that remembers nothing yet.
    pub fn new() -> Self {
        Encoder::default()
    }

    /// Writes a batch. Groups without rows are left out. The result may exceed `MAX_MESSAGE`; the caller decides how many
    /// rows it takes.
    ///
    /// # Panics
    /// If a group's series do not rise, or its `values` or `present` do not have a cell for each series and row.
    pub fn encode(&mut self, batch: &Batch, how: Encoding<'_>) -> Encoded {
        let header = &batch.header;
        let groups: Vec<&Group> = batch
            .groups
            .iter()
            .filter(|group| !group.rows.is_empty())
            .collect();
        let (key, places) = match how {
            Encoding::Keyed(key) if key.session == header.session && key.boot == header.boot => {
                let places: Vec<_> = groups.iter().map(|group| place_in(key, group)).collect();
                let used = places.iter().any(Option::is_some);
                (used.then_some(key), places)
            }
            _ => (None, vec![None; groups.len()]),
        };
        let mut keys = Vec::new();
        let mut written = Vec::new();
        for (group, place) in groups.into_iter().zip(places) {
            let reference = place.and_then(|place| key?.groups.get(place));
            let (mut message, group_key) = self.group(group, reference);
            message.key_group = place.map_or(0, |place| place as u32 + 1);
            written.push(message);
            keys.extend(group_key);
        }
        let defines = match how {
            Encoding::Defines(id) => Some(id),
            _ => None,
        };
        let same_dict = key.is_some_and(|key| key.dict == header.dict);
        let body = message::Batch {
            version: VERSION,
            session: header.session.get(),
            dict: if same_dict {
                Default::default()
            } else {
                header.dict.as_bytes().to_vec().into()
            },
            key: key.map_or(0, |key| key.id.get()),
            defines: defines.map_or(0, KeyId::get),
            total: header.total,
            boot: if key.is_some() { 0 } else { header.boot.get() },
            clock_error_ms: header.clock_error_ms,
            groups: written,
        };
        Encoded {
            payload: payload::seal(&body.encode_to_vec()),
            key: defines.map(|id| Key {
                id,
                session: header.session,
                boot: header.boot,
                dict: header.dict,
                groups: keys,
            }),
        }
    }

    /// Writes one group with at least one row, for a log: as differences from `reference` if that has the same series,
    /// else standing alone. `decode_group` needs the same reference.
    ///
    /// # Panics
    /// If there is no row, the series do not rise, or `values` or `present` do not have a cell for each series and row.
    pub fn encode_group(&mut self, group: &Group, reference: Option<&GroupKey>) -> EncodedGroup {
        let reference = reference.filter(|key| key.series == group.series);
        let (mut message, key) = self.group(group, reference);
        message.key_group = u32::from(reference.is_some());
        EncodedGroup {
            bytes: message.encode_to_vec(),
            key,
        }
    }

    fn group(&mut self, group: &Group, reference: Option<&GroupKey>) -> (message::Group, Option<GroupKey>) {
        let cells = group.series.len() * group.rows.len();
        assert_eq!(group.values.len(), cells, "a value for each cell");
        let bits = group.present.as_ref().map_or(cells, Presence::len);
        assert_eq!(bits, cells, "a bit for each cell");
        let highest = group.series.last().map_or(0, |id| id.index() + 1);
        if self.modes.len() < highest {
            self.modes.resize(highest, RAW);
        }
        self.columns.reset(group.series.len());
        let key = match reference {
            Some(reference) => {
                self.keyed_values(group, reference);
                None
            }
            None => Some(self.lone_values(group)),
        };
        (self.columns.message(group, reference), key)
    }

    fn keyed_values(&mut self, group: &Group, reference: &GroupKey) {
        let rows = group.rows.len();
        let mut some = Vec::new();
        if group.present.is_none() {
            self.columns.mark_changed(&group.values, rows, &reference.bits);
        } else {
            for (at, bits) in reference.bits.iter().enumerate() {
                if floats(group, at, &mut some)
                    .iter()
                    .any(|value| value.to_bits() != *bits)
                {
                    self.columns.set_changed(at);
                }
            }
        }
        for byte in 0..group.series.len().div_ceil(8) {
            let mut changed = self.columns.changed_byte(byte);
            while changed != 0 {
                let at = byte * 8 + changed.trailing_zeros() as usize;
                changed &= changed - 1;
                let last = &mut self.modes[group.series[at].index()];
                let values = floats(group, at, &mut some);
                self.columns
                    .push_keyed(values, (reference.bits[at], reference.modes[at]), last);
            }
        }
    }

    fn lone_values(&mut self, group: &Group) -> GroupKey {
        let mut key = GroupKey {
            series: group.series.clone(),
            bits: Vec::with_capacity(group.series.len()),
            modes: Vec::with_capacity(group.series.len()),
            time_ms: group.rows[0].time.ms(),
            offset_ms: stamps::offset_ms(&group.rows[0]),
        };
        let mut some = Vec::new();
        for (at, id) in group.series.iter().enumerate() {
            let values = floats(group, at, &mut some);
            let mode = self.columns.push_alone(at, values, &mut self.modes[id.index()]);
            key.bits.push(values.first().map_or(0, |value| value.to_bits()));
            key.modes.push(mode);
        }
        key
    }
}

/// The floats of the series at a position; `some` holds them if some cells have none.
#[inline]
fn floats<'a>(group: &'a Group, at: usize, some: &'a mut Vec<f64>) -> &'a [f64] {
    let rows = group.rows.len();
    let cells = at * rows..(at + 1) * rows;
    match &group.present {
        None => &group.values[cells],
        Some(present) => {
            some.clear();
            some.extend(
                cells
                    .filter(|cell| present.get(*cell))
                    .map(|cell| group.values[cell]),
            );
            some
        }
    }
}

/// Which of a key's groups has a group's series.
fn place_in(key: &Key, group: &Group) -> Option<usize> {
    key.groups.iter().position(|place| place.series == group.series)
}
