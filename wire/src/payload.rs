//! The payload of every message: one codec byte, then the body.
//!
//! Codec 0 is the body as it is, 1 a snappy block; 2 is reserved for zstd. The writer takes the shorter of 0 and 1, so
//! a payload is at most one byte longer than its body.

use std::borrow::Cow;

const PLAIN: u8 = 0;
const SNAPPY: u8 = 1;

/// A snappy block's densest element makes 64 bytes of 3.
const MAX_RATIO: usize = 22;

/// Why a payload cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// A codec that this version does not know.
    #[error("payload codec {0} is unknown")]
    Codec(u8),
    /// The body would be larger than the caller allows.
    #[error("body of {size} bytes exceeds {max}")]
    TooLarge {
        /// Bytes that the payload declares.
        size: usize,
        /// The caller's limit, bytes.
        max: usize,
    },
    /// Empty, or no snappy block.
    #[error("payload is corrupt")]
    Corrupt,
}

/// Wraps a body, compressed where that is shorter.
pub fn seal(body: &[u8]) -> Vec<u8> {
    let mut sealed = vec![0; 1 + snap::raw::max_compress_len(body.len())];
    match snap::raw::Encoder::new().compress(body, &mut sealed[1..]) {
        Ok(len) if len < body.len() => {
            sealed[0] = SNAPPY;
            sealed.truncate(1 + len);
        }
        _ => {
            sealed.clear();
            sealed.push(PLAIN);
            sealed.extend_from_slice(body);
        }
    }
    sealed
}

/// The body of a payload. Its size is checked against `max_body` bytes before memory is taken for it.
pub fn open(payload: &[u8], max_body: usize) -> Result<Cow<'_, [u8]>, PayloadError> {
    let (&codec, body) = payload.split_first().ok_or(PayloadError::Corrupt)?;
    let within = |size: usize| match size <= max_body {
        true => Ok(size),
        false => Err(PayloadError::TooLarge { size, max: max_body }),
    };
    match codec {
        PLAIN => within(body.len()).map(|_| Cow::Borrowed(body)),
        SNAPPY => {
            let size = within(snap::raw::decompress_len(body).map_err(|_| PayloadError::Corrupt)?)?;
            if size > body.len().saturating_mul(MAX_RATIO) {
                return Err(PayloadError::Corrupt);
            }
            let opened = snap::raw::Decoder::new().decompress_vec(body);
            opened.map(Cow::Owned).map_err(|_| PayloadError::Corrupt)
        }
        other => Err(PayloadError::Codec(other)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bodies_survive_and_grow_by_one_byte_at_most(
            body in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..5000),
        ) {
            let sealed = seal(&body);
            prop_assert!(sealed.len() <= body.len() + 1);
            let opened = open(&sealed, body.len()).unwrap();
            prop_assert_eq!(opened.as_ref(), body.as_slice());
            if !body.is_empty() {
                let refused = open(&sealed, body.len() - 1);
                prop_assert_eq!(refused, Err(PayloadError::TooLarge { size: body.len(), max: body.len() - 1 }));
            }
        }

        #[test]
        fn arbitrary_bytes_open_within_the_limit_or_not_at_all(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            codec in 0u8..4,
        ) {
            let mut payload = vec![codec];
            payload.extend(bytes);
            if let Ok(body) = open(&payload, 200) {
                prop_assert!(body.len() <= 200);
            }
        }
    }

    #[test]
    fn a_declared_size_beyond_what_snappy_can_make_is_corrupt() {
        // Declares 1 MiB, carries 2 bytes.
        assert_eq!(
            open(&[1, 0x80, 0x80, 0x40, 0, 0], 8 << 20),
            Err(PayloadError::Corrupt)
        );
        assert_eq!(open(&[], 8), Err(PayloadError::Corrupt));
        assert_eq!(open(&[9], 8), Err(PayloadError::Codec(9)));
    }

    #[test]
    fn runs_of_one_byte_stay_within_the_ratio() {
        let body = vec![7; 1 << 20];
        assert_eq!(open(&seal(&body), body.len()).unwrap().as_ref(), body.as_slice());
    }
}
