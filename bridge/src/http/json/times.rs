//! Times as JSON has them: seconds with the milliseconds that they have.

use super::short;

/// Bytes that a pair begins with at most: `[`, a sign, 16 digits, a point, 3 digits, `,"`.
const MAX_BEGIN: usize = 24;

/// Times that an answer has, each with the text that a pair of it begins with: series mostly share them, so that a time is
/// written once.
#[derive(Default)]
pub(super) struct Times {
    /// Rising.
    ms: Vec<i64>,
    /// Text and length for each: one of a fixed size is copied faster.
    texts: Vec<([u8; MAX_BEGIN], usize)>,
}

impl Times {
    /// Writes a pair up to its value, which is a string: `[time,"`. The time is most likely the one at `next`.
    pub(super) fn begin_pair(&mut self, out: &mut Vec<u8>, next: &mut usize, ms: i64) {
        if self.ms.get(*next) != Some(&ms) {
            match self.ms.binary_search(&ms) {
                Ok(at) => *next = at,
                Err(at) if at == self.ms.len() => {
                    self.add(ms);
                    *next = at;
                }
                Err(_) => return begin_pair(out, ms),
            }
        }
        let (text, len) = &self.texts[*next];
        let end = out.len() + len;
        out.extend_from_slice(text);
        out.truncate(end);
        *next += 1;
    }

    /// Adds a time later than all.
    fn add(&mut self, ms: i64) {
        let mut text = Vec::with_capacity(MAX_BEGIN);
        begin_pair(&mut text, ms);
        let len = text.len();
        text.resize(MAX_BEGIN, 0);
        let text = text.first_chunk().copied().unwrap_or_default();
        self.ms.push(ms);
        self.texts.push((text, len));
    }
}

fn begin_pair(out: &mut Vec<u8>, ms: i64) {
    out.push(b'[');
    time(out, ms);
    out.extend_from_slice(b",\"");
}

/// Unix ms as seconds.
pub(crate) fn time(out: &mut Vec<u8>, ms: i64) {
    let (sign, ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
    let (whole, part) = (ms / 1000, ms % 1000);
    out.extend_from_slice(sign.as_bytes());
    short(out, itoa::Buffer::new().format(whole).as_bytes());
    if part > 0 {
        let digit = |n: u64| b'0' + (n % 10) as u8;
        out.extend_from_slice(&[b'.', digit(part / 100), digit(part / 10), digit(part)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_of_series_are_their_own() {
        let mut times = Times::default();
        for series in [vec![1, 2, 4], vec![2, 4, 8], vec![1, 3, 8], vec![], vec![8, 16]] {
            let mut next = 0;
            for ms in series {
                let text = written(|out| times.begin_pair(out, &mut next, ms));
                assert_eq!(text, written(|out| begin_pair(out, ms)));
            }
        }
        assert_eq!(times.ms, [1, 2, 4, 8, 16]);
    }

    #[test]
    fn times_are_seconds_with_the_milliseconds_they_have() {
        for (ms, expected) in [
            (1_435_781_451_781, "1435781451.781"),
            (1_000, "1"),
            (1_050, "1.050"),
            (-1_001, "-1.001"),
            (0, "0"),
        ] {
            assert_eq!(written(|out| time(out, ms)), expected);
        }
    }
}
