//! As much of JSON as Prometheus's answers need.

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// null, true, false.
    Word(String),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl Value {
    /// The field of an object; `None` of anything else.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields
                .iter()
                .find(|(field, _)| field == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// A number, also one in a string.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.trim_start_matches('+').parse().ok(),
            _ => None,
        }
    }
}

/// The value that a text is.
pub(crate) fn parse(json: &str) -> Option<Value> {
    let (value, rest) = value(json)?;
    rest.trim().is_empty().then_some(value)
}

fn value(json: &str) -> Option<(Value, &str)> {
    let json = json.trim_start();
    match json.chars().next()? {
        '"' => text(json).map(|(text, rest)| (Value::Text(text), rest)),
        '[' => {
            let (mut items, mut rest) = (Vec::new(), json[1..].trim_start());
            while !rest.starts_with(']') {
                let (item, after) = value(rest)?;
                items.push(item);
                rest = after.trim_start();
                rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            }
            Some((Value::List(items), &rest[1..]))
        }
        '{' => {
            let (mut fields, mut rest) = (Vec::new(), json[1..].trim_start());
            while !rest.starts_with('}') {
                let (name, after) = text(rest)?;
                let (field, after) = value(after.trim_start().strip_prefix(':')?)?;
                fields.push((name, field));
                rest = after.trim_start();
                rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            }
            Some((Value::Object(fields), &rest[1..]))
        }
        _ => {
            let end = json.find([',', ']', '}']).unwrap_or(json.len());
            let (word, rest) = json.split_at(end);
            let word = word.trim();
            let number = word.parse().map(Value::Number);
            Some((number.unwrap_or_else(|_| Value::Word(word.to_owned())), rest))
        }
    }
}

/// The string literal at the start of a text, and what follows.
fn text(json: &str) -> Option<(String, &str)> {
    let mut chars = json.strip_prefix('"')?.chars();
    let mut units: Vec<u16> = Vec::new();
    loop {
        let c = match chars.next()? {
            '"' => return Some((String::from_utf16(&units).ok()?, chars.as_str())),
            '\\' => match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'b' => '\x08',
                'f' => '\x0c',
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    units.push(u16::from_str_radix(&digits, 16).ok()?);
                    continue;
                }
                c => c,
            },
            c => c,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
}
