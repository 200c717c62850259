//! Channel `config`: the rule files that the bridge wants a device to evaluate.
//!
//! A configuration is named by the hash of its files, XXH64 over the name and the text of each, every part after its length
//! (u32, little-endian). The hash of no files is 0, so that a device that never got one and a device whose last one is empty
//! say the same.

use std::collections::BTreeSet;

use prost::Message;
use xxhash_rust::xxh64::Xxh64;

use crate::limits::{MAX_BODY, MAX_MESSAGE, MAX_NAME, MAX_RULE_FILES};
use crate::message::{DeviceConfig, RuleFile, VERSION};
use crate::payload::{self, PayloadError};
use crate::shape::{self, Shape, ShapeError};

const SHAPES: &[Shape] = &[Shape::message::<RuleFile>(3, &[])];

/// The field of a [`DeviceConfig`] that names it.
#[derive(Clone, Copy, PartialEq, Message)]
struct Head {
    #[prost(fixed64, tag = "2")]
    hash: u64,
}

/// Why a payload is no configuration, or files are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Of a newer version.
    #[error("configuration of version {0}; this is version 1")]
    Version(u32),
    /// Not what a configuration looks like.
    #[error("malformed configuration: {0}")]
    Malformed(&'static str),
    /// Beyond a limit.
    #[error("configuration exceeds the limit of {0}")]
    Limit(&'static str),
    /// The files are too large for a message.
    #[error(
        "the rule files take {0} bytes when compressed; a device's configuration has {MAX_MESSAGE} at most"
    )]
    Size(usize),
}

/// What names a configuration of these files.
pub fn hash(files: &[RuleFile]) -> u64 {
    if files.is_empty() {
        return 0;
    }
    let mut hash = Xxh64::new(0);
    for part in files.iter().flat_map(|file| [&file.name, &file.text]) {
        // A part beyond 4 GiB fits no message.
        hash.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.digest()
}

/// The payload of a configuration of files, and its hash.
///
/// # Errors
/// The files are beyond a limit, or one is there twice.
pub fn encode(rule_files: Vec<RuleFile>) -> Result<(u64, Vec<u8>), ConfigError> {
    check(&rule_files)?;
    let hash = hash(&rule_files);
    let config = DeviceConfig {
        version: VERSION,
        hash,
        rule_files,
    };
    let payload = payload::seal(&config.encode_to_vec());
    match payload.len() <= MAX_MESSAGE {
        true => Ok((hash, payload)),
        false => Err(ConfigError::Size(payload.len())),
    }
}

/// Reads a configuration. Its files are within the limits, each is there once, and the hash is theirs.
pub fn decode(payload: &[u8]) -> Result<DeviceConfig, ConfigError> {
    if payload.len() > MAX_MESSAGE {
        return Err(ConfigError::Size(payload.len()));
    }
    let body = payload::open(payload, MAX_BODY)?.into_owned();
    let config: DeviceConfig = shape::decode(body.into(), SHAPES)?;
    check(&config.rule_files)?;
    match hash(&config.rule_files) == config.hash {
        true => Ok(config),
        false => Err(ConfigError::Malformed("its hash is not that of its files")),
    }
}

/// The hash that a payload names which [`decode`] refuses; 0 if not even that can be read.
pub fn named(payload: &[u8]) -> u64 {
    let head = payload::open(payload, MAX_BODY)
        .ok()
        .and_then(|body| Head::decode(body.as_ref()).ok());
    head.map_or(0, |head| head.hash)
}

fn check(files: &[RuleFile]) -> Result<(), ConfigError> {
    if files.len() > MAX_RULE_FILES {
        return Err(ConfigError::Limit("rule files"));
    }
    if files.iter().any(|file| file.name.len() > MAX_NAME) {
        return Err(ConfigError::Limit("bytes of a file's name"));
    }
    let names: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
    match names.len() == files.len() && !names.contains("") {
        true => Ok(()),
        false => Err(ConfigError::Malformed("a file is there twice, or has no name")),
    }
}

impl From<PayloadError> for ConfigError {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::TooLarge { .. } => ConfigError::Limit("bytes of a body"),
            PayloadError::Codec(_) => ConfigError::Malformed("unknown payload codec"),
            PayloadError::Corrupt => ConfigError::Malformed("payload"),
        }
    }
}

impl From<ShapeError> for ConfigError {
    fn from(error: ShapeError) -> Self {
        match error {
            ShapeError::Version(version) => ConfigError::Version(version),
            ShapeError::Malformed => ConfigError::Malformed("protobuf"),
            ShapeError::Limit => ConfigError::Limit("memory of a message"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(name: &str, text: &str) -> RuleFile {
        RuleFile {
            name: name.to_owned(),
            text: text.to_owned(),
        }
    }

    fn sealed(config: &DeviceConfig) -> Vec<u8> {
        payload::seal(&config.encode_to_vec())
    }

    #[test]
    fn a_configuration_survives_and_none_is_named_0() {
        let files = vec![file("a.yml", "groups: []"), file("b.yml", "")];
        let (named_by, payload) = encode(files.clone()).unwrap();
        let read = decode(&payload).unwrap();
        assert_eq!((read.hash, &read.rule_files), (named_by, &files));
        assert_eq!(named(&payload), named_by);
        assert_eq!(encode(Vec::new()).unwrap().0, 0);
        // Text that moves from one part to the next is another configuration.
        assert_ne!(hash(&[file("ab", "c")]), hash(&[file("a", "bc")]));
    }

    #[test]
    fn what_is_wrong_is_refused_and_what_is_newer_still_names_itself() {
        let (hash, payload) = encode(vec![file("a.yml", "x")]).unwrap();
        let config = decode(&payload).unwrap();
        let newer = sealed(&DeviceConfig {
            version: 2,
            ..config.clone()
        });
        assert_eq!(decode(&newer), Err(ConfigError::Version(2)));
        assert_eq!(named(&newer), hash);
        let other = sealed(&DeviceConfig {
            hash: hash ^ 1,
            ..config.clone()
        });
        assert!(matches!(decode(&other), Err(ConfigError::Malformed(_))));
        for files in [
            vec![file("a", ""), file("a", "x")],
            vec![file("", "x")],
            vec![file(&"n".repeat(513), "x")],
            (0..101).map(|n| file(&n.to_string(), "")).collect(),
        ] {
            assert!(encode(files).is_err());
        }
        let mut bits = 7u64;
        let mut letter = || {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'!' + (bits >> 57) as u8 % 90)
        };
        let noise: String = std::iter::repeat_with(&mut letter).take(90_000).collect();
        assert!(matches!(
            encode(vec![file("a", &noise)]),
            Err(ConfigError::Size(_))
        ));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_configuration_and_harm_nobody(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut body = vec![0, 8, 1];
            body.extend(bytes);
            let _ = (decode(&body), named(&body));
        }
    }
}
