//! The configuration file as it is shown over HTTP: YAML again, with `<secret>` in the place of each.

use std::fmt::Write;

use serde_json::Value;

/// Keys whose values nobody is to see, whatever stands below them.
const SECRET: [&str; 8] = [
    "bearer_token",
    "client_secret",
    "credentials",
    "headers",
    "password",
    "secret_key",
    "token",
    "url_secret",
];

/// A file's text without secrets; one that is no YAML is not shown.
pub(crate) fn without_secrets(text: &str) -> String {
    let mut out = String::new();
    if let Ok(value) = serde_saphyr::from_str::<Value>(text) {
        put(&mut out, &value, 0);
    }
    out
}

/// Writes a value at an indent; lists and maps begin a line of their own.
fn put(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                let _ = write!(out, "{:indent$}{}:", "", scalar(&Value::String(key.clone())));
                put_member(out, key, value, indent);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut inner = String::new();
                put(&mut inner, item, indent + 2);
                // The first line stands behind the dash.
                let _ = writeln!(out, "{:indent$}- {}", "", inner.trim());
            }
        }
        other => {
            let _ = writeln!(out, "{:indent$}{}", "", scalar(other));
        }
    }
}

fn put_member(out: &mut String, key: &str, value: &Value, indent: usize) {
    if SECRET.contains(&key) {
        out.push_str(" <secret>\n");
        return;
    }
    match value {
        Value::Object(members) if !members.is_empty() => {
            out.push('\n');
            put(out, value, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            put(out, value, indent);
        }
        other => {
            let _ = writeln!(out, " {}", scalar(&without_password(other)));
        }
    }
}

/// An address without the password that it may hold.
fn without_password(value: &Value) -> Value {
    let Value::String(text) = value else {
        return value.clone();
    };
    let shown = text.split_once("://").and_then(|(scheme, rest)| {
        let (login, host) = rest.split_once('@').filter(|(login, _)| !login.contains('/'))?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}:<secret>@{host}"))
    });
    Value::String(shown.unwrap_or_else(|| text.clone()))
}

/// A text that YAML would take for something else, in quotes.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let begins = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == '/');
    let words = ["true", "false", "null", "yes", "no", "on", "off"];
    begins
        && chars.all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !words.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_shown_as_yaml_that_says_the_same_without_secrets() {
        let text = "dir: /x\n\
                    remote_write:\n\
                    - {url: 'http://u:p@h:9090/api', basic_auth: {username: u, password: hidden}}\n\
                    - url: 'http://b'\n  write_relabel_configs: [{source_labels: [__name__], regex: 'go_.*', action: drop}]\n\
                    storage: {retention: {time: 30d}, max_series_per_device: 7}\n\
                    web: {}\n";
        let shown = without_secrets(text);
        assert!(!shown.contains("hidden") && !shown.contains("u:p@"), "{shown}");
        let mut expected: Value = serde_saphyr::from_str(text).unwrap();
        expected["remote_write"][0]["url"] = "http://u:<secret>@h:9090/api".into();
        expected["remote_write"][0]["basic_auth"]["password"] = "<secret>".into();
        assert_eq!(
            serde_saphyr::from_str::<Value>(&shown).unwrap(),
            expected,
            "{shown}"
        );
        assert_eq!(without_secrets("a: ["), "");
    }
}
