//! The pairs of a label set in one text: of each pair its name and its value, each after its length in bytes.
//!
//! A length is written as characters, so that the text stays one: 14 bits a character, the lowest first, bit 14 set in
//! all but the last. No such character is a surrogate, and a length below 128 is one byte.

/// Set in a character that more bits follow.
const MORE: u32 = 1 << 14;

/// Appends a part after its length.
fn push(out: &mut String, part: &str) {
    let mut len = part.len();
    loop {
        let more = if len >> 14 > 0 { MORE } else { 0 };
        let digit = char::from_u32(len as u32 & (MORE - 1) | more);
        out.push(digit.expect("15 bits are below the surrogates"));
        len >>= 14;
        if len == 0 {
            break;
        }
    }
    out.push_str(part);
}

/// The text of pairs.
pub(super) fn pack<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    // Room for the labels of most series.
    let mut text = String::with_capacity(256);
    for (name, value) in pairs {
        push(&mut text, name);
        push(&mut text, value);
    }
    text
}

/// The pairs of a text that `pack` made.
#[derive(Debug, Clone)]
pub(super) struct Pairs<'a>(pub(super) &'a str);

impl<'a> Pairs<'a> {
    #[inline]
    fn part(&mut self) -> &'a str {
        let len = match self.0.as_bytes() {
            [byte @ 0..=0x7f, ..] => {
                self.0 = &self.0[1..];
                usize::from(*byte)
            }
            _ => self.long_length(),
        };
        let (part, rest) = self.0.split_at(len);
        self.0 = rest;
        part
    }

    fn long_length(&mut self) -> usize {
        let (mut len, mut shift) = (0, 0);
        let mut digits = self.0.chars();
        for digit in digits.by_ref().map(u32::from) {
            len |= ((digit & (MORE - 1)) as usize) << shift;
            shift += 14;
            if digit & MORE == 0 {
                break;
            }
        }
        self.0 = digits.as_str();
        len
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        Some((self.part(), self.part()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pairs_come_back(pairs in proptest::collection::vec(("\\PC{0,9}", "\\PC{0,9}"), 0..9), long in 0usize..70_000) {
            let long = "é".repeat(long);
            let all = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain([("long", long.as_str())]);
            let all: Vec<(&str, &str)> = all.collect();
            let text = pack(all.iter().copied());
            prop_assert_eq!(Pairs(&text).collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn every_length_has_digits() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 1 << 20] {
            let text = pack([("x".repeat(len).as_str(), "v")].into_iter());
            assert_eq!(Pairs(&text).next().map(|(name, _)| name.len()), Some(len));
        }
    }
}
