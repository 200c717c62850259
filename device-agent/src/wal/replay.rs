//! What a log's segments have, settled records too: scrapes for who wants the recent past again, and which alerts are there.
//! Reads beside a running log.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use prost::Message as _;
use wire::BootId;
use wire::batch::Group;
use wire::dict::Dictionary;
use wire::message::Alert;

use crate::input::Moment;
use crate::wal::folder::SegmentName;
use crate::wal::format::{Found, HEADER, Kind, SegmentHeader, walk};
use crate::wal::reader::{apply, decode};
use crate::wal::recover::MAX_SEGMENT;

/// When a scrape was logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) boot: BootId,
    pub(crate) stamp: Moment,
    /// The wall clock was trusted.
    pub(crate) trusted: bool,
}

/// Hands over the scrapes of a log, oldest first, each with the number of its segment, within which ids of series mean the
/// same. Segments that end before anything `is_wanted` are passed over; what is damaged, or freed meanwhile, too.
///
/// # Errors
/// The folder cannot be listed.
pub(crate) fn replay(
    folder: &Path,
    is_wanted: impl Fn(Logged) -> bool,
    mut take: impl FnMut(u64, Logged, &Group, &Dictionary),
) -> io::Result<()> {
    let names = names(folder)?;
    let header =
        |name: &SegmentName| SegmentHeader::decode(&read(folder, *name, HEADER as u64)?, name.session);
    let headers: Vec<Option<SegmentHeader>> = names.iter().map(header).collect();
    for (at, name) in names.iter().enumerate() {
        let Some(header) = headers[at] else { continue };
        let next = headers.get(at + 1).copied().flatten();
        // It ends before the next one of its boot begins.
        let end = next.filter(|next| next.boot == header.boot).map(|next| Logged {
            boot: next.boot,
            stamp: next.stamp,
            trusted: true,
        });
        if end.is_some_and(|end| !is_wanted(end)) {
            continue;
        }
        if let Some(bytes) = read(folder, *name, MAX_SEGMENT) {
            segment(&bytes, *name, header.boot, &is_wanted, &mut take);
        }
    }
    Ok(())
}

/// Whether the newest record of each of some alerts is the one that is given: a kill came between the log and what knows of it.
///
/// # Errors
/// The folder cannot be listed.
pub(crate) fn has_logged(folder: &Path, alerts: &[Alert]) -> io::Result<Vec<bool>> {
    let mut logged = vec![false; alerts.len()];
    for name in names(folder)? {
        let bytes = read(folder, name, MAX_SEGMENT).unwrap_or_default();
        for found in walk(&bytes, name.session) {
            let Found::Record(header, payload) = found else {
                continue;
            };
            if header.kind != Kind::Alert {
                continue;
            }
            let Ok(record) = Alert::decode(payload) else {
                continue;
            };
            let of_it = alerts.iter().zip(&mut logged);
            for (alert, logged) in of_it.filter(|(alert, _)| alert.labels == record.labels) {
                *logged = *alert == record;
            }
        }
    }
    Ok(logged)
}

/// All segments, oldest first.
fn names(folder: &Path) -> io::Result<Vec<SegmentName>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().to_str().and_then(SegmentName::parse));
    }
    names.sort();
    Ok(names)
}

fn read(folder: &Path, name: SegmentName, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(folder.join(name.file())).ok()?;
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn segment(
    bytes: &[u8],
    name: SegmentName,
    boot: BootId,
    is_wanted: &impl Fn(Logged) -> bool,
    take: &mut impl FnMut(u64, Logged, &Group, &Dictionary),
) {
    let mut dictionary = Dictionary::new();
    let mut references = HashMap::new();
    for found in walk(bytes, name.session) {
        let Found::Record(header, payload) = found else {
            continue;
        };
        match header.kind {
            Kind::Dictionary => apply(&mut dictionary, payload),
            Kind::Alert => {}
            Kind::Row => {
                let logged = Logged {
                    boot,
                    stamp: header.stamp,
                    trusted: header.trusted,
                };
                let wanted = is_wanted(logged);
                let group = decode(header.seq, payload, dictionary.len(), &mut references, wanted);
                if let (true, Some(group)) = (wanted, group) {
                    take(name.number, logged, &group, &dictionary);
                }
            }
        }
    }
}
