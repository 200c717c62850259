//! A small file system of its own, so that a disk can be full.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// A mounted tmpfs; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Mount {
    path: PathBuf,
}

impl Mount {
    /// Mounts so many bytes at a new folder; says why not where that is not allowed.
    pub(crate) fn new(path: PathBuf, bytes: u64) -> Result<Mount, String> {
        fs::create_dir_all(&path).expect("a folder in the site's");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(&path)
            .output()
            .map_err(|error| error.to_string())?;
        if !mounted.status.success() {
            return Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned());
        }
        Ok(Mount { path })
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Leaves so many bytes free.
    pub(crate) fn fill(&self, left: usize) {
        let mut file = fs::File::create(self.ballast()).expect("a file on the mount");
        let chunk = vec![7; 64 << 10];
        while file.write_all(&chunk).is_ok() {}
        let full = file.metadata().expect("an open file").len();
        file.set_len(full.saturating_sub(left as u64))
            .expect("a file can shrink");
    }

    /// Takes the ballast away.
    pub(crate) fn empty(&self) {
        let _ = fs::remove_file(self.ballast());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // At the latest with the last process that has a file open there.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
