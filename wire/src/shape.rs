//! What a message would cost to decode, found out before it is decoded.
//!
//! prost takes a struct of some hundred bytes for a nested message that is two bytes on the wire. So the nested
//! messages are counted first, by walking the protobuf fields, and the sum of their sizes is held against a budget.

use crate::limits::MAX_DECODED;
use crate::message::VERSION;
use crate::varint::{Reader, Short};

/// A field that prost allocates for: a nested message, a string, or an element of a list.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Its tag.
    pub(crate) tag: u64,
    /// Bytes of memory that each occurrence takes, its own bytes apart.
    pub(crate) cost: usize,
    /// How many times its own bytes it takes (packed varints widen to 8 bytes).
    pub(crate) widens: usize,
    /// Such fields within it.
    pub(crate) inner: &'static [Shape],
}

impl Shape {
    /// A nested message of type `M`.
    pub(crate) const fn message<M>(tag: u64, inner: &'static [Shape]) -> Shape {
        Shape {
            tag,
            cost: 2 * size_of::<M>(),
            widens: 1,
            inner,
        }
    }

    /// A list of numbers.
    pub(crate) const fn numbers(tag: u64) -> Shape {
        Shape {
            tag,
            cost: 16,
            widens: 16,
            inner: &[],
        }
    }
}

/// Why a body is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShapeError {
    /// Of this newer version.
    Version(u32),
    /// No protobuf message.
    Malformed,
    /// It would take more than `MAX_DECODED` bytes.
    Limit,
}

impl From<Short> for ShapeError {
    fn from(_: Short) -> Self {
        ShapeError::Malformed
    }
}

/// Decodes a body whose field 1 is its version, if the version is known and the cost within the budget.
pub(crate) fn decode<M: prost::Message + Default>(
    body: bytes::Bytes,
    shapes: &'static [Shape],
) -> Result<M, ShapeError> {
    match version(&body)? {
        VERSION => {}
        0 => return Err(ShapeError::Malformed),
        newer => return Err(ShapeError::Version(newer)),
    }
    decode_unversioned(body, shapes)
}

/// Decodes a body without a version, if the cost is within the budget.
pub(crate) fn decode_unversioned<M: prost::Message + Default>(
    body: bytes::Bytes,
    shapes: &'static [Shape],
) -> Result<M, ShapeError> {
    let mut left = MAX_DECODED;
    charge(&body, shapes, &mut left)?;
    M::decode(body).map_err(|_| ShapeError::Malformed)
}

/// A field's content: a length-delimited one's bytes, or a number.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn next_field<'a>(reader: &mut Reader<'a>) -> Result<(u64, Field<'a>), ShapeError> {
    let head = reader.varint()?;
    let field = match head & 7 {
        0 => Field::Number(reader.varint()?),
        1 => Field::Number(reader.take(8).map(|_| 0)?),
        2 => {
            let len = reader.size()?;
            Field::Bytes(reader.take(len)?)
        }
        5 => Field::Number(reader.take(4).map(|_| 0)?),
        // Groups, which proto3 does not have.
        _ => return Err(ShapeError::Malformed),
    };
    Ok((head >> 3, field))
}

/// The version that a body names in its field 1; 0 if it names none.
pub(crate) fn version(body: &[u8]) -> Result<u32, ShapeError> {
    let mut reader = Reader::new(body);
    let mut version = 0;
    while !reader.is_empty() {
        if let (1, Field::Number(n)) = next_field(&mut reader)? {
            version = u32::try_from(n).map_err(|_| ShapeError::Malformed)?;
        }
    }
    Ok(version)
}

fn charge(body: &[u8], shapes: &'static [Shape], left: &mut usize) -> Result<(), ShapeError> {
    let mut reader = Reader::new(body);
    while !reader.is_empty() {
        let (tag, field) = next_field(&mut reader)?;
        let Some(shape) = shapes.iter().find(|s| s.tag == tag) else {
            continue;
        };
        let bytes = match field {
            Field::Bytes(bytes) => bytes,
            Field::Number(_) => &[],
        };
        let cost = shape.cost + shape.widens * bytes.len();
        *left = left.checked_sub(cost).ok_or(ShapeError::Limit)?;
        if !shape.inner.is_empty() {
            charge(bytes, shape.inner, left)?;
        }
    }
    Ok(())
}
