//! Expressions to compare: those of scripts, a list of odd ones, and all of them changed at random.

use std::path::{Path, PathBuf};

use crate::random::Random;

/// Expressions of every eval in a folder's scripts.
fn of_folder(folder: &Path) -> Vec<String> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    paths.sort();
    let texts = paths.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    texts
        .flat_map(|text| text.lines().filter_map(of_line).collect::<Vec<_>>())
        .collect()
}

/// The expression behind `eval instant at 5m` or `eval range from 0 to 5m step 1m`.
fn of_line(line: &str) -> Option<String> {
    let mut words = line.trim().splitn(2, ' ');
    words.next().filter(|word| word.starts_with("eval"))?;
    let rest = words.next()?.trim_start();
    let skipped = if rest.starts_with("instant") { 3 } else { 7 };
    let mut rest = rest;
    for _ in 0..skipped {
        rest = rest.split_once(char::is_whitespace)?.1.trim_start();
    }
    Some(rest.to_owned())
}

/// Scripts of the repository and, where they are, Prometheus's; and the odd ones of `odd.txt`.
pub(crate) fn expressions() -> Vec<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = of_folder(&manifest.join("tests/scripts"));
    let upstream = std::env::var_os("PROMQLTEST_DIR")
        .map_or_else(|| manifest.join("../../shared/promqltest/v3.5.3"), PathBuf::from);
    all.extend(of_folder(&upstream));
    let odd = include_str!("odd.txt");
    all.extend(odd.lines().filter(|line| !line.is_empty()).map(str::to_owned));
    all
}

/// What is put into expressions.
const PIECES: [&str; 84] = [
    "sum",
    "avg",
    " by ",
    " without ",
    "(",
    ")",
    "a",
    "foo:bar",
    "{",
    "}",
    "b=~\"c.*\"",
    "b!=\"\"",
    "\"x\"=\"y\"",
    "[5m]",
    "[5m:1m]",
    "[5m:]",
    "[",
    "]",
    " offset ",
    "-",
    "5m",
    "1h30m",
    "@ ",
    "start()",
    " end() ",
    " 1",
    "+",
    "*",
    "/",
    "%",
    "^",
    " atan2 ",
    "==",
    "!=",
    ">",
    "<=",
    " bool ",
    " on",
    " ignoring",
    ",",
    " group_left",
    " group_right",
    "rate",
    "irate(",
    "\"x\"",
    "'y'",
    "`z`",
    "0x1f",
    "1e3",
    " and ",
    " or ",
    " unless ",
    "quantile",
    "topk",
    "limitk",
    "count_values",
    "NaN",
    "-Inf",
    "_",
    ":",
    "'",
    "`",
    "\\",
    "#",
    "\n",
    " ",
    "label_replace(",
    "vector(",
    "time()",
    "scalar(",
    "info(",
    "sort_by_label(",
    "absent(",
    "(1 + 2)",
    "0",
    "=",
    "=~",
    "!~",
    "!",
    "ä",
    "1.5",
    "abs(",
    "\"\\xff\"",
    "$",
];

/// Whether a character belongs to a word.
fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// An expression as words and single characters.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for c in text.chars() {
        match pieces.last_mut() {
            Some(last) if in_word(c) && last.ends_with(in_word) => last.push(c),
            _ => pieces.push(c.to_string()),
        }
    }
    pieces
}

/// An expression with one to three random changes; sometimes with a piece of another one.
pub(crate) fn mutated(text: &str, other: &str, random: &mut Random) -> String {
    let mut parts = pieces(text);
    let others = pieces(other);
    for _ in 0..=random.below(3) {
        let at = random.below(parts.len());
        match random.below(6) {
            0 if !parts.is_empty() => {
                parts.remove(at);
            }
            1 if !parts.is_empty() => parts[at] = random.choose(&PIECES).to_owned(),
            2 => parts.insert(at, random.choose(&PIECES).to_owned()),
            3 if parts.len() > 1 => {
                let to = random.below(parts.len());
                parts.swap(at, to);
            }
            4 => parts.truncate(random.below(parts.len() + 1)),
            _ if !others.is_empty() => {
                let from = random.below(others.len());
                let len = random.below(others.len() - from) + 1;
                parts.splice(at..at, others[from..from + len].iter().cloned());
            }
            _ => {}
        }
    }
    parts.concat()
}
