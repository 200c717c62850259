//! Numbers that name things: sessions, sequence numbers, boots, bridge epochs, nonces.

use std::fmt;

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u64);

        impl $name {
            /// Takes 64 random bits, or those of a message.
            pub const fn new(bits: u64) -> Self {
                $name(bits)
            }

            /// The bits.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:016x})"), self.0)
            }
        }
    };
}

random_id!(
    /// One start of an agent: 64 random bits, so that a cloned or restored image cannot reuse a sequence number.
    SessionId
);
random_id!(
    /// One boot of a device: monotonic times of records are comparable only within it.
    BootId
);
random_id!(
    /// One start of a bridge; never stored, so that a restart is always seen.
    BridgeEpoch
);
random_id!(
    /// One connection of a device.
    Nonce
);

/// The number of a record within its session, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(u64);

impl Seq {
    /// The first record of a session.
    pub const FIRST: Seq = Seq(1);

    /// A sequence number of a message or file.
    pub const fn new(n: u64) -> Self {
        Seq(n)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
