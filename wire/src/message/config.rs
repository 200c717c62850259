//! What the bridge wants a device to run, and what the device says of it.

/// Channel `config`: rule files that a device evaluates beside its own.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DeviceConfig {
    /// Format version.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Of the rule files, as [`crate::config::hash`] has it; it stays where it is in every version.
    #[prost(fixed64, tag = "2")]
    pub hash: u64,
    /// The files, each once.
    #[prost(message, repeated, tag = "3")]
    pub rule_files: Vec<RuleFile>,
}

/// A rule file.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RuleFile {
    /// Its name, which with that of a group names the group's state.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its text.
    #[prost(string, tag = "2")]
    pub text: String,
}

/// What a device says of the configuration that was pushed to it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ConfigState {
    /// Hash of the one in force; 0: none, or one without files.
    #[prost(fixed64, tag = "1")]
    pub hash: u64,
    /// Hash of the one that was refused since; 0: none, or it could not be read.
    #[prost(fixed64, tag = "2")]
    pub refused: u64,
    /// Why it was refused; empty: none was.
    #[prost(string, tag = "3")]
    pub reason: String,
}
