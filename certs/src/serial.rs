//! A certificate's serial number: 1-20 bytes without leading zeros, written in hex.

use std::fmt;
use std::str::FromStr;

/// The longest serial, bytes (RFC 5280 4.1.2.2).
const MAX_LEN: usize = 20;

/// A certificate's serial number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial(Vec<u8>);

/// Why bytes or a text are no serial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SerialError {
    /// No bytes, or more than 20.
    #[error("a serial has 1 to 20 bytes, not {0}")]
    Length(usize),
    /// Not pairs of hex digits.
    #[error("a serial is written as pairs of hex digits")]
    Hex,
}

impl Serial {
    /// From the integer's bytes, most significant first; leading zeros do not count.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SerialError> {
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        let bytes = match bytes {
            [] => return Err(SerialError::Length(0)),
            all if zeros == all.len() => &all[..1],
            some => &some[zeros..],
        };
        if bytes.len() > MAX_LEN {
            return Err(SerialError::Length(bytes.len()));
        }
        Ok(Serial(bytes.to_vec()))
    }

    /// 127 random bits in 16 bytes, the first of them not zero, so that the length never varies.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes)?;
        bytes[0] = (bytes[0] & 0x3f) | 0x40;
        Ok(Serial(bytes.to_vec()))
    }

    /// The integer's bytes, most significant first.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl FromStr for Serial {
    type Err = SerialError;

    /// Takes `0a1b`, and `0A:1B` as OpenSSL prints it.
    fn from_str(text: &str) -> Result<Self, SerialError> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) || !digits.len().is_multiple_of(2) {
            return Err(SerialError::Hex);
        }
        if digits.len() > 4 * MAX_LEN {
            return Err(SerialError::Length(digits.len() / 2));
        }
        let bytes: Result<Vec<u8>, _> = (0..digits.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&digits[i..i + 2], 16))
            .collect();
        Serial::from_bytes(&bytes.map_err(|_| SerialError::Hex)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_survives_its_text() {
        for _ in 0..32 {
            let serial = Serial::random().unwrap();
            assert_eq!(serial.to_string().len(), 32);
            assert_eq!(serial.to_string().parse::<Serial>().unwrap(), serial);
        }
        assert_eq!("00:0A:1b".parse::<Serial>().unwrap().to_string(), "0a1b");
        assert_eq!("00".parse::<Serial>().unwrap().as_bytes(), [0]);
    }

    #[test]
    fn what_is_no_serial_is_refused() {
        for bad in [
            "",
            ":",
            "abc",
            "zz",
            "+1",
            "é0",
            &"11".repeat(21),
            &"11".repeat(4000),
        ] {
            assert!(bad.parse::<Serial>().is_err(), "{bad}");
        }
    }
}
