//! `agent.yml`: from text to one checked type.
//!
//! Keys of `global` and `scrape_configs` are Prometheus's, with its defaults, so that these parts of a prometheus.yml
//! can be pasted; what is not supported is an unknown key, never ignored. Relative paths count from the file's folder.
//! `raw` has the keys as serde sees them, `check` turns them into [`Config`]; every error names file, line and key.

mod check;
mod raw;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use certs::ClientFiles;

use crate::evaluation::{RuleFilesError, Rules};
use crate::input::InputConfig;
use crate::uplink::BrokerAddress;
use crate::wal::WalConfig;

/// Larger files are no config of an agent, bytes.
const MAX_FILE: u64 = 1 << 20;

/// What an agent is told by its file. Who it is, its certificate says.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Brokers, tried in turn.
    pub brokers: Vec<BrokerAddress>,
    /// CA, certificate and key.
    pub tls: ClientFiles,
    /// Name that the broker's certificate must have instead of the URL's host.
    pub server_name: Option<String>,
    /// The log.
    pub wal: WalConfig,
    /// What is measured.
    pub inputs: InputConfig,
    /// What is evaluated on the device.
    pub rules: Rules,
}

/// Why a file is no config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read, or is too large.
    #[error("{}: {cause}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Rule files.
    #[error(transparent)]
    Rules(RuleFilesError),
    /// It can be read and is wrong.
    #[error("{}:{line}: {key}: {reason}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Line, counted from 1; 0 if unknown.
        line: u64,
        /// Path of the key, e.g. `wal.max_bytes`.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads and checks a file.
pub fn load(file: &Path) -> Result<Config, ConfigError> {
    let read = || {
        let size = std::fs::metadata(file)?.len();
        if size > MAX_FILE {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("larger than {MAX_FILE} bytes"),
            ));
        }
        std::fs::read_to_string(file)
    };
    let text = read().map_err(|cause| ConfigError::Read {
        file: file.to_owned(),
        cause,
    })?;
    parse(file, &text)
}

/// Checks a text; `file` names it in errors, and relative paths count from its folder.
pub fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
    check::config(file, raw::parse(file, text)?)
}
