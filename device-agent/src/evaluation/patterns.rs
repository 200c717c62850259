//! Which files the patterns of `rule_files` name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::rule_files::RuleFilesError;

/// Most files.
const MAX_FILES: usize = 100;

/// The files of all patterns, each once, in order. A pattern without wildcards must be there.
pub(super) fn files(patterns: &[PathBuf]) -> Result<Vec<PathBuf>, RuleFilesError> {
    let mut found: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        let mut files = match matching(pattern)? {
            Some(files) => files,
            None => vec![pattern.clone()],
        };
        files.sort();
        files.retain(|file| !found.contains(file));
        found.append(&mut files);
        if found.len() > MAX_FILES {
            let reason = format!("more than {MAX_FILES} rule files");
            return Err(RuleFilesError::Read {
                file: pattern.clone(),
                cause: io::Error::new(io::ErrorKind::FileTooLarge, reason),
            });
        }
    }
    Ok(found)
}

/// The files that a pattern stands for; `None` if it has no wildcard.
fn matching(pattern: &Path) -> Result<Option<Vec<PathBuf>>, RuleFilesError> {
    let refused = |reason| RuleFilesError::Pattern {
        pattern: pattern.display().to_string(),
        reason,
    };
    let name = pattern.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| refused("names no file"))?;
    let folder = pattern.parent().unwrap_or(Path::new(""));
    if folder.to_str().is_some_and(|folder| folder.contains(['*', '?'])) {
        return Err(refused("* and ? may stand in the last part of the path only"));
    }
    if !name.contains(['*', '?']) {
        return Ok(None);
    }
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|cause| RuleFilesError::Read {
        file: folder.to_owned(),
        cause,
    })?;
    let fits = |entry: &fs::DirEntry| {
        let file = entry.file_name();
        file.to_str()
            .is_some_and(|file| !file.starts_with('.') && is_like(file.as_bytes(), name.as_bytes()))
    };
    let files = entries.iter().filter(|entry| fits(entry)).map(fs::DirEntry::path);
    Ok(Some(files.filter(|file| file.is_file()).collect()))
}

/// Whether a name is as a pattern says: `*` is any text, `?` any byte.
fn is_like(name: &[u8], pattern: &[u8]) -> bool {
    let (mut n, mut p) = (0, 0);
    // Where the last `*` stands, and how much it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => {
                n += 1;
                p += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (n, p) = (taken + 1, at + 1);
            }
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_files_in_order_and_each_once() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yml", ".c.yml", "a.yaml"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let names = |patterns: &[&str]| {
            let patterns: Vec<PathBuf> = patterns.iter().map(|p| dir.path().join(p)).collect();
            let found = files(&patterns).map_err(|e| e.to_string())?;
            Ok::<_, String>(
                found
                    .iter()
                    .map(|f| f.file_name().unwrap().to_str().unwrap().to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(names(&["b.yml", "*.yml"]).unwrap(), ["b.yml", "a.yml"]);
        assert_eq!(names(&["?.y*ml"]).unwrap(), ["a.yaml", "a.yml", "b.yml"]);
        assert!(names(&["x*"]).unwrap().is_empty());
        assert!(names(&["*/a.yml"]).unwrap_err().contains("last part"));
        for (name, pattern, fits) in [
            ("abc", "a*c", true),
            ("abc", "*", true),
            ("aXbXc", "a*X?", true),
            ("abc", "a?", false),
            ("abc", "*b", false),
            ("", "*", true),
        ] {
            assert_eq!(
                is_like(name.as_bytes(), pattern.as_bytes()),
                fits,
                "{name} {pattern}"
            );
        }
    }
}
