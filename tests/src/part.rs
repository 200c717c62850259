//! One process of a site.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running process, killed when dropped.
#[derive(Debug)]
pub struct Part {
    child: Child,
    name: String,
}

impl Part {
    /// Starts a program; its stderr is appended to a log file.
    ///
    /// # Panics
    /// If it cannot be started: the harness is for tests.
    pub fn start(name: &str, program: &Path, args: &[String], log: &Path) -> Part {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log file in the site's folder");
        let child = Command::new(program)
            .args(args)
            // Its end tells the process that the test is gone (`part_main::follow`).
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        Part {
            child,
            name: name.to_owned(),
        }
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        // A process that ended by itself is as dead as one that was killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal, if the process still runs.
    ///
    /// # Panics
    /// If the process is not ours, which cannot be.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            let pid = i32::try_from(self.child.id()).expect("a pid fits an i32");
            kill(Pid::from_raw(pid), signal).expect("the process is ours and not reaped");
        }
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// If it does not end in time, or not with 0.
    pub fn terminate(&mut self, patience: Duration) {
        self.signal(Signal::SIGTERM);
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                assert!(status.success(), "{} ended with {status}", self.name);
                return;
            }
            assert!(
                Instant::now() < until,
                "{} did not end in {patience:?}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Resident memory, bytes.
    pub fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap_or_default();
        statm
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok())
            .unwrap_or(0)
            * 4096
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.kill();
    }
}
