//! As much of JSON as Prometheus's answers need.

/// The string literal at the start of a text.
pub(crate) fn text(json: &str) -> Option<String> {
    let mut chars = json.strip_prefix('"')?.chars();
    let mut units: Vec<u16> = Vec::new();
    loop {
        let c = match chars.next()? {
            '"' => return String::from_utf16(&units).ok(),
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
