//! What a test agent does, and what it tells of itself: the two JSON texts between a test and its `test-agent`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wire::DeviceName;

/// What a test agent does. All of its devices do the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentPlan {
    /// Device id of tenant `default`; with several devices, its stem.
    pub id: String,
    /// Devices in the process.
    pub devices: u32,
    /// Series of each device.
    pub series: u32,
    /// Between two rows, ms.
    pub interval_ms: u64,
    /// Where the broker is, if not at the site's own port (behind a link, say).
    pub port: Option<u16>,
    /// Most bytes of a device's WAL.
    pub wal_bytes: u64,
    /// Rows logged at once at the start, as of an hour that is over.
    pub past_rows: u32,
    /// Between two of these, ms.
    pub past_interval_ms: u64,
    /// Its times are made up, as those of past rows always are: the wall clock is believed, whatever the bridge says.
    pub made_up_times: bool,
    /// Each row is of another of so many hours: this one and those before it.
    pub hours: u32,
    /// Where the logs are, if not in the site's folder `agents`.
    pub wals: Option<PathBuf>,
}

impl AgentPlan {
    /// One device with 20 series every 100 ms.
    pub fn new(id: &str) -> Self {
        AgentPlan {
            id: id.to_owned(),
            devices: 1,
            series: 20,
            interval_ms: 100,
            port: None,
            wal_bytes: 64 << 20,
            past_rows: 0,
            past_interval_ms: 15_000,
            made_up_times: false,
            hours: 1,
            wals: None,
        }
    }

    /// The same, `<id>-0` and so on in one process.
    #[must_use]
    pub fn times(self, devices: u32) -> Self {
        AgentPlan { devices, ..self }
    }

    /// The same, with the broker behind another port.
    #[must_use]
    pub fn through(self, port: u16) -> Self {
        AgentPlan {
            port: Some(port),
            ..self
        }
    }

    /// Who the devices are.
    ///
    /// # Panics
    /// If the id is none.
    pub fn names(&self) -> Vec<DeviceName> {
        let name = |id: String| {
            format!("default.{id}")
                .parse()
                .expect("the id of a plan is a device id")
        };
        match self.devices {
            1 => vec![name(self.id.clone())],
            several => (0..several).map(|n| name(format!("{}-{n}", self.id))).collect(),
        }
    }

    /// Who the only device is.
    ///
    /// # Panics
    /// If the id is none.
    pub fn name(&self) -> DeviceName {
        self.names().swap_remove(0)
    }
}

/// What a device of a test agent writes into its status file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Samples logged in the log's life.
    pub generated: u64,
    /// Samples settled by the bridge since its start.
    pub acked: u64,
    /// Samples given up in its life.
    pub dropped: u64,
    /// Records not settled yet, of all sessions.
    pub pending_records: u64,
    /// Gaps that the bridge does not know yet.
    pub gaps: u64,
    /// The bridge has answered on this connection.
    pub connected: bool,
    /// Its input has stopped and everything it made is in the WAL.
    pub quiet: bool,
    /// Its input makes a pause and everything it made is in the WAL.
    pub paused: bool,
}

/// What a test bridge does beside what every bridge does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgePlan {
    /// Where the store is, if not in the site's folder `data`.
    pub data: Option<PathBuf>,
    /// Its sizes are small, and its hours are over soon, so that files are begun, sealed, merged and freed all the time.
    pub busy: bool,
    /// Its disk fails as the site's file `disk-fault` says, see [`crate::site::Site::disk_fault`].
    pub faults: bool,
    /// Destinations, as the section `remote_write` of a bridge's config file has them; null: none.
    #[serde(default)]
    pub remote_write: serde_json::Value,
    /// The destination that acks wait for.
    pub ack_after: Option<String>,
    /// Bytes of a journal file.
    pub journal_file_bytes: Option<u64>,
    /// The section `alerting` of a bridge's config file; null: none.
    #[serde(default)]
    pub alerting: serde_json::Value,
    /// Rule files of the tenant `default`; groups that name no interval are evaluated every second.
    #[serde(default)]
    pub rule_files: Vec<PathBuf>,
    /// Rule files of the devices of the tenant `default` whose ids match a pattern.
    #[serde(default)]
    pub device_rules: Vec<(String, PathBuf)>,
}
