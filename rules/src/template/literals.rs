//! String literals of actions, written so that gtmpl-ng reads them as Go does: it takes escapes in raw strings for
//! escapes, does not know all of those that Go has, and never ends on some that Go refuses (`"\u1"`).

use std::borrow::Cow;

use promql::{Expr, parse};

/// The same template; only literals that would be misread are written otherwise. An error is where a literal begins
/// that Go refuses.
pub(super) fn normalized(template: &str) -> Result<Cow<'_, str>, usize> {
    let mut out = String::new();
    let mut done = 0;
    let mut at = 0;
    while let Some(start) = template[at..].find("{{") {
        at += start + 2;
        let trimmed = template[at..].trim_start_matches('-').trim_start();
        if let Some(comment) = trimmed.strip_prefix("/*") {
            at = template.len() - comment.len() + comment.find("*/").map_or(comment.len(), |end| end + 2);
        }
        while at < template.len() && !template[at..].starts_with("}}") {
            let Some(literal) = literal_at(&template[at..]) else {
                at += template[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            };
            if let Some(rewritten) = rewritten(literal).map_err(|Invalid| at)? {
                out.push_str(&template[done..at]);
                out.push_str(&rewritten);
                done = at + literal.len();
            }
            at += literal.len();
        }
    }
    if done == 0 {
        return Ok(Cow::Borrowed(template));
    }
    out.push_str(&template[done..]);
    Ok(Cow::Owned(out))
}

/// The literal at the start, with its quotes; `None` if there is none or it has no end.
pub(super) fn literal_at(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| ['"', '`', '\''].contains(c))?;
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == quote && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped && quote != '`';
        ends
    });
    end.map(|(at, _)| &text[..=at])
}

/// A literal that Go refuses, or of bytes that are no UTF-8.
#[derive(Debug)]
struct Invalid;

/// A literal in other words, if it would be misread as it is.
fn rewritten(literal: &str) -> Result<Option<String>, Invalid> {
    let body = &literal[1..literal.len() - 1];
    let is_known = |escaped: &str| escaped.starts_with(['n', 'r', 't', '"', '\\']);
    let is_plain = match literal.chars().next() {
        Some('`') => !body.contains(['\\', '\n', '\r']),
        Some('"') => body.replace("\\\\", "").split('\\').skip(1).all(is_known),
        _ => true,
    };
    if is_plain {
        return Ok(None);
    }
    // PromQL's literals are Go's.
    let Ok(Expr::Text(text)) = parse(literal).map(|plan| plan.expr().clone()) else {
        return Err(Invalid);
    };
    let text = String::from_utf8(text.bytes).map_err(|_| Invalid)?;
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_literals_of_actions_that_would_be_misread_change() {
        for same in [
            "`a\\n` {{ $x }} \"\\a\"",
            "{{ \"a\\\"b\\n\\\\d\" }} `\\d`",
            "{{/* `\\d` */}}{{- /* \"\\a\" */ -}}",
            "{{ `plain` }} {{ 'c' }} {{ '\\'' }}",
            "{{ `\\d",
            "{{ \"",
        ] {
            assert_eq!(normalized(same).unwrap(), same);
        }
        assert_eq!(
            normalized("{{ match `^\\d+\"$` .x }}é{{ \"\\u00e9\\x41\\101\" }}").unwrap(),
            "{{ match \"^\\\\d+\\\"$\" .x }}é{{ \"éAA\" }}"
        );
        for (bad, at) in [
            ("{{ \"\\u\" }}", 3),
            ("{{ 1 }}{{ `a` \"\\x\" }}", 14),
            ("{{ \"\\xff\" }}", 3),
            ("{{ \"\\d\" }}", 3),
        ] {
            assert_eq!(normalized(bad), Err(at), "{bad}");
        }
    }
}
