//! Names of partitions: endpoints of the ring, and folders on disk.
//!
//! A folder is named like its partition where that is safe; other bytes are `%` and two hex digits, so that each name
//! has one folder and each folder one name.

use std::path::Path;

/// Partitions that a store has at most, those that left the ring included.
pub const MAX_PARTITIONS: usize = 256;

/// The longest folder name, bytes; file systems take 255.
const MAX_FOLDER: usize = 240;

/// The partition of results of rules, which no ring may name.
pub(crate) const RESULTS: &str = "results";

/// Names in a store's folder that are no partitions'.
const TAKEN: [&str; 4] = ["journal", "snapshots", "lock", "dict.redb"];

/// A name that no folder can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the endpoint {0:?} is too long: its partition's folder needs a name of {MAX_FOLDER} bytes at most")]
pub(crate) struct TooLong(String);

/// The name of a partition on the ring and on disk if no file names them.
pub(crate) fn partition_name(number: u32) -> String {
    format!("p{number:03}")
}

/// The folder of a partition.
pub(crate) fn folder_of(name: &str) -> Result<String, TooLong> {
    let mut folder = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        let is_safe = byte.is_ascii_alphanumeric() || b"_:-".contains(&byte) || (byte == b'.' && at > 0);
        if is_safe && !(at == 0 && TAKEN.contains(&name)) {
            folder.push(char::from(byte));
        } else {
            folder.push_str(&format!("%{byte:02X}"));
        }
    }
    match folder.len() <= MAX_FOLDER {
        true => Ok(folder),
        false => Err(TooLong(name.to_owned())),
    }
}

/// The partition of a folder; `None` if it is no partition's.
pub(crate) fn name_of(folder: &str) -> Option<String> {
    let mut name = Vec::with_capacity(folder.len());
    let mut rest = folder.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            let (hex, after) = rest.split_at_checked(2)?;
            name.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = after;
        } else {
            name.push(*byte);
        }
    }
    let name = String::from_utf8(name).ok()?;
    // One folder for each name: another spelling is none of ours.
    (folder_of(&name).ok()? == folder).then_some(name)
}

/// Partitions that a store's folder has, sorted; an index makes a folder a partition.
pub(crate) fn on_disk(dir: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if !["index.redb", "index.copy.redb"]
            .iter()
            .any(|file| path.join(file).is_file())
        {
            continue;
        }
        let folder = path.file_name().and_then(|name| name.to_str());
        names.extend(folder.and_then(name_of));
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn safe_names_stay_and_others_are_escaped() {
        for (name, folder) in [
            ("p000", "p000"),
            ("receive-0.receive.svc:10901", "receive-0.receive.svc:10901"),
            ("[::1]:10901", "%5B::1%5D:10901"),
            ("../etc", "%2E.%2Fetc"),
            (".hidden", "%2Ehidden"),
            ("journal", "%6Aournal"),
            ("a%b", "a%25b"),
        ] {
            assert_eq!(folder_of(name).unwrap(), folder);
            assert_eq!(name_of(folder).unwrap(), name);
        }
        assert_eq!(name_of("%70000"), None);
        assert_eq!(name_of("%7"), None);
        assert!(folder_of(&"x".repeat(MAX_FOLDER + 1)).is_err());
    }

    #[test]
    fn a_folder_with_an_index_is_a_partition() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, file) in [
            ("p001", "index.copy.redb"),
            ("%2Ex", "index.redb"),
            ("other", "note"),
            ("journal", "1.redb"),
        ] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
            std::fs::write(dir.path().join(folder).join(file), b"").unwrap();
        }
        assert_eq!(on_disk(dir.path()).unwrap(), [".x", "p001"]);
    }

    proptest! {
        #[test]
        fn each_name_has_a_folder_of_its_own(name in ".{1,60}") {
            if let Ok(folder) = folder_of(&name) {
                prop_assert!(!folder.contains('/') && !folder.starts_with('.') && !TAKEN.contains(&folder.as_str()));
                prop_assert_eq!(name_of(&folder), Some(name));
            }
        }
    }
}
