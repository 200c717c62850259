//! The pairs of a label set in one text: how many there are, then of each pair its name and its value, each after its
//! length in bytes.
//!
//! Numbers are written as characters, so that the text stays one: 14 bits a character, the lowest last, bit 14 set in
//! all but the last; so no character is a surrogate, and a number below 128 is one byte.

/// Set in a character that more bits follow.
const MORE: u32 = 1 << 14;

/// Writes a number.
fn put(out: &mut String, n: usize) {
    let head = n >> 14;
    if head > 0 {
        put_head(out, head);
    }
    out.push(digit(n, 0));
}

fn put_head(out: &mut String, n: usize) {
    if n >> 14 > 0 {
        put_head(out, n >> 14);
    }
    out.push(digit(n, MORE));
}

fn digit(n: usize, flag: u32) -> char {
    let digit = char::from_u32((n as u32 & (MORE - 1)) | flag);
    digit.expect("15 bits are below the surrogates")
}

/// Takes a number off the text, 0 at its end.
#[inline]
fn take(text: &mut &str) -> usize {
    if let [byte @ 0..=0x7f, ..] = *text.as_bytes() {
        *text = &text[1..];
        return usize::from(byte);
    }
    take_long(text)
}

fn take_long(text: &mut &str) -> usize {
    let mut n = 0;
    let mut digits = text.chars();
    for digit in digits.by_ref().map(u32::from) {
        n = n << 14 | (digit & (MORE - 1)) as usize;
        if digit & MORE == 0 {
            break;
        }
    }
    *text = digits.as_str();
    n
}

/// The text of pairs.
pub(super) fn pack<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Box<str> {
    let (count, bytes) = pairs.clone().fold((0, 0), |(count, bytes), (name, value)| {
        (count + 1, bytes + name.len() + value.len())
    });
    if count == 0 {
        return Box::default();
    }
    // A length beyond 127 takes a byte or two more.
    let mut text = String::with_capacity(1 + bytes + 2 * count);
    put(&mut text, count);
    for part in pairs.flat_map(|(name, value)| [name, value]) {
        put(&mut text, part.len());
        text.push_str(part);
    }
    text.into_boxed_str()
}

/// The pairs of a text that `pack` made.
#[derive(Debug, Clone)]
pub(super) struct Pairs<'a> {
    text: &'a str,
    left: usize,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(mut text: &'a str) -> Self {
        let left = take(&mut text);
        Pairs { text, left }
    }

    #[inline]
    fn part(&mut self) -> &'a str {
        let len = take(&mut self.text);
        let (part, rest) = self.text.split_at(len);
        self.text = rest;
        part
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some((self.part(), self.part()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

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
            let found = Pairs::new(&text);
            prop_assert_eq!(found.len(), pairs.len() + 1);
            prop_assert_eq!(found.collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn any_length_has_digits() {
        for n in [0, 1, 127, 128, 16_383, 16_384, 1 << 28, usize::MAX] {
            let mut text = String::new();
            put(&mut text, n);
            let mut rest = text.as_str();
            assert_eq!(take(&mut rest), n);
            assert_eq!(rest, "");
        }
        assert_eq!(Pairs::new("").next(), None);
    }
}
