//! Patterns that match few texts and no others: `dev-0[0-9]`, `(a|b)c?`. Storage looks such texts up, where for other
//! patterns it has to try every value that a label has.

use regex_syntax::hir::{Class, Hir, HirKind, Repetition};

/// Most texts of a pattern.
const MOST: usize = 256;

/// All texts that an expression matches in whole, in order; `None` if there are many, or if it depends on what is around.
pub(super) fn texts(hir: &Hir) -> Option<Vec<String>> {
    let mut texts = expand(hir)?;
    texts.sort();
    texts.dedup();
    Some(texts)
}

fn expand(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Literal(literal) => Some(vec![std::str::from_utf8(&literal.0).ok()?.to_owned()]),
        HirKind::Class(class) => of_class(class),
        HirKind::Look(_) => None,
        HirKind::Repetition(repetition) => of_repetition(repetition),
        HirKind::Capture(capture) => expand(&capture.sub),
        HirKind::Concat(parts) => parts.iter().try_fold(vec![String::new()], |before, part| {
            product(&before, &expand(part)?)
        }),
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.append(&mut expand(part)?);
                if all.len() > MOST {
                    return None;
                }
            }
            Some(all)
        }
    }
}

fn of_class(class: &Class) -> Option<Vec<String>> {
    let Class::Unicode(class) = class else { return None };
    let count: usize = class.iter().map(|range| range.len()).sum();
    let chars = class.iter().flat_map(|range| range.start()..=range.end());
    (count <= MOST).then(|| chars.map(String::from).collect())
}

fn of_repetition(repetition: &Repetition) -> Option<Vec<String>> {
    let most = repetition.max.filter(|most| *most as usize <= MOST)?;
    let once = expand(&repetition.sub)?;
    let (mut times, mut all) = (vec![String::new()], Vec::new());
    for count in 0..=most {
        if count > 0 {
            times = product(&times, &once)?;
        }
        if count >= repetition.min {
            all.extend_from_slice(&times);
            if all.len() > MOST {
                return None;
            }
        }
    }
    Some(all)
}

/// Each text of one list before each of the other.
fn product(before: &[String], after: &[String]) -> Option<Vec<String>> {
    let pairs = before
        .iter()
        .flat_map(|b| after.iter().map(move |a| [b.as_str(), a].concat()));
    (before.len() * after.len() <= MOST).then(|| pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::super::re2;

    #[test]
    fn few_texts_are_listed() {
        for (pattern, expected) in [
            ("dev-0[0-2]", &["dev-00", "dev-01", "dev-02"][..]),
            ("(a|b)c?", &["a", "ac", "b", "bc"]),
            ("(?i)ab", &["AB", "Ab", "aB", "ab"]),
            ("x{2}|", &["", "xx"]),
            ("a{0}", &[""]),
            ("(?:a|a)", &["a"]),
            ("é[ñn]", &["én", "éñ"]),
        ] {
            assert_eq!(
                re2::finite(pattern).as_deref(),
                Some(&expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..]),
                "{pattern}"
            );
        }
        for pattern in [
            "a*",
            ".",
            "a|b.+",
            "[a-z][a-z]",
            "^a",
            "a$",
            "\\bx",
            "[0-9]{3}",
            "a{300}",
            "(",
        ] {
            assert_eq!(re2::finite(pattern), None, "{pattern}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_list_matches_what_the_pattern_does(
            pattern in "[ab()|?\\[\\]{}0-2^$.i-]{0,9}",
            values in proptest::collection::vec("[abAB0-2-]{0,4}", 20),
        ) {
            if let (Some(texts), Ok(regex)) = (re2::finite(&pattern), re2::compile_anchored(&pattern)) {
                proptest::prop_assert!(texts.iter().all(|text| regex.is_match(text)), "{pattern}: {texts:?}");
                for value in values {
                    proptest::prop_assert_eq!(texts.contains(&value), regex.is_match(&value), "{} {}", pattern, value);
                }
            }
        }
    }
}
