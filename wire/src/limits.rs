//! Sizes that every reader enforces and every writer keeps to.
//!
//! They are checked before memory is taken for what they bound, so that no message can cost its reader more than a
//! known amount. What exceeds one is refused with the limit's name.

/// Bytes of an MQTT payload.
pub const MAX_MESSAGE: usize = 65_536;

/// Bytes of a decompressed body.
pub const MAX_BODY: usize = 8 << 20;

/// Bytes of memory that one message may take when it is decoded, columns apart.
pub const MAX_DECODED: usize = 16 << 20;

/// Series of a dictionary.
pub const MAX_SERIES: usize = 100_000;

/// Bytes of label text of a dictionary.
pub const MAX_DICTIONARY: usize = 64 << 20;

/// Labels of a set, also of an exemplar or alert.
pub const MAX_LABELS: usize = 64;

/// Bytes of a label's name.
pub const MAX_NAME: usize = 512;

/// Bytes of a label's value.
pub const MAX_VALUE: usize = 4096;

/// Bytes of all names and values of a label set, two more for each label included.
pub const MAX_SET: usize = 16_384;

/// Groups of a batch.
pub const MAX_GROUPS: usize = 256;

/// Rows of a group.
pub const MAX_ROWS: usize = 4096;

/// Rows of a batch, in all groups.
pub const MAX_BATCH_ROWS: usize = 16_384;

/// Values of a batch, absent ones included.
pub const MAX_CELLS: usize = 1 << 20;

/// Largest sequence number, sample total, and magnitude of a time in ms, of a monotonic time in ms.
pub const MAX_NUMBER: u64 = 1 << 53;

/// Sessions of a state or ack.
pub const MAX_SESSIONS: usize = 256;

/// Gaps of a state.
pub const MAX_GAPS: usize = 256;

/// Ranges of sequence numbers of a session in an ack.
pub const MAX_RANGES: usize = 4096;

/// Reasons in a list of counts.
pub const MAX_REASONS: usize = 64;

/// Bytes of a reason, a version or another short text.
pub const MAX_WORD: usize = 128;

/// Bytes of the reason why a device refused a configuration.
pub const MAX_REASON: usize = 1024;

/// Rule files of a device's configuration.
pub const MAX_RULE_FILES: usize = 100;
