//! The index of issued certificates: what `certs list` shows and what a name is revoked by.
//!
//! A text file, one certificate per line, oldest first: serial (hex), identity (its URI, which carries role and name),
//! last valid second, second of revocation or `-` (both as Unix time), separated by single spaces. The first line names
//! the format. The index is written before the files it speaks of, so nothing is ever issued that it does not know.

use std::fmt::Write;

use wire::{Identity, Timestamp};

use crate::serial::Serial;

const HEADER: &str = "# backhaul certs 1: serial identity not_after revoked_at";

/// One issued certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The certificate's serial.
    pub serial: Serial,
    /// Whose it is.
    pub identity: Identity,
    /// Its last valid second.
    pub not_after: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A line of the index that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the index is broken: {text:?}")]
pub struct IndexFault {
    /// The line, counted from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
}

/// What was, or is to be, revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The serial.
    pub serial: Serial,
    /// Whose it is; unknown if the index never had it.
    pub identity: Option<Identity>,
}

/// Shorter serials (bytes) are not taken for one that the index does not know: more likely a mistyped name.
const MIN_UNKNOWN_SERIAL: usize = 8;

/// All issued certificates, in the order of issuing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    pub(crate) entries: Vec<IndexEntry>,
}

impl Index {
    /// Reads the text; lines that are empty or start with `#` are passed over.
    pub fn parse(text: &str) -> Result<Self, IndexFault> {
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let entries = lines.map(|(at, line)| {
            entry(line).ok_or_else(|| IndexFault {
                line: at + 1,
                text: line.chars().take(128).collect(),
            })
        });
        Ok(Index {
            entries: entries.collect::<Result<_, _>>()?,
        })
    }

    /// The certificates.
    pub fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// The certificates of a name (`<tenant>.<id>`) or with a serial (hex). A long serial that the index does not know
    /// (made in memory, or before the index was lost) counts too; anything else unknown gives nothing.
    pub(crate) fn matching(&self, name_or_serial: &str) -> Vec<Revocation> {
        let serial = name_or_serial.parse::<Serial>().ok();
        let of = |entry: &IndexEntry| {
            Some(&entry.serial) == serial.as_ref() || entry.identity.name().to_string() == name_or_serial
        };
        let known = self.entries.iter().filter(|entry| of(entry));
        let known: Vec<_> = known
            .map(|entry| Revocation {
                serial: entry.serial.clone(),
                identity: Some(entry.identity.clone()),
            })
            .collect();
        match serial {
            Some(serial) if known.is_empty() && serial.as_bytes().len() >= MIN_UNKNOWN_SERIAL => {
                vec![Revocation {
                    serial,
                    identity: None,
                }]
            }
            _ => known,
        }
    }

    /// The text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for entry in &self.entries {
            let revoked = entry
                .revoked_at
                .map_or_else(|| "-".to_owned(), |at| (at.ms() / 1000).to_string());
            let not_after = entry.not_after.ms() / 1000;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{} {} {not_after} {revoked}",
                entry.serial,
                entry.identity.uri()
            );
        }
        text
    }
}

fn entry(line: &str) -> Option<IndexEntry> {
    let mut fields = line.split(' ');
    let (serial, uri, not_after, revoked) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() {
        return None;
    }
    Some(IndexEntry {
        serial: serial.parse().ok()?,
        identity: Identity::from_uri(uri).ok()?,
        not_after: seconds(not_after)?,
        revoked_at: if revoked == "-" {
            None
        } else {
            Some(seconds(revoked)?)
        },
    })
}

fn seconds(text: &str) -> Option<Timestamp> {
    text.parse::<i64>()
        .ok()?
        .checked_mul(1000)
        .map(Timestamp::from_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_survives_its_text() {
        let text = format!(
            "{HEADER}\n0a1b spiffe://backhaul/acme/device/gw-1 1800000000 -\n\
             ff spiffe://backhaul/_backhaul/bridge/bridge 1800000000 1700000000\n"
        );
        let index = Index::parse(&text).unwrap();
        assert_eq!(index.entries().len(), 2);
        assert_eq!(
            index.entries()[1].revoked_at,
            Some(Timestamp::from_ms(1_700_000_000_000))
        );
        assert_eq!(index.to_text(), text);
    }

    #[test]
    fn a_broken_line_is_named() {
        let fault = Index::parse(&format!("{HEADER}\n\nzz spiffe://backhaul/a/device/b 1 -\n")).unwrap_err();
        assert_eq!(fault.line, 3);
        for bad in [
            "00",
            "0a spiffe://backhaul/a/device/b 1",
            "0a spiffe://backhaul/a/device/b 1 - -",
            "0a x 1 -",
        ] {
            assert!(Index::parse(bad).is_err(), "{bad}");
        }
    }
}
