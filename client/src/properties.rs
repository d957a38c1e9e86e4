//! Java's properties format, in which the servers' configuration files are written, and names in them.
//!
//! One entry per logical line: `key = value`, `key: value` or `key value`. A line whose last character is an unescaped
//! backslash goes on in the next one; `#` and `!` start a comment at the beginning of a line only.

/// The most that a configuration file may have.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// One `key = value` of a properties file, with the line it begins on (counted from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key with its escapes resolved.
    pub key: String,
    /// The value with its escapes resolved and without the blanks around it.
    pub value: String,
    /// The first line of the entry.
    pub line: usize,
}

/// Why a properties file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    /// A configuration is a few kilobytes; anything bigger is not one.
    #[error("{0} bytes are more than the {FILE_BYTES_MAX} a configuration file may have")]
    TooBig(usize),
    /// `\u` must be followed by four hexadecimal digits.
    #[error("line {0}: \\u must be followed by four hexadecimal digits")]
    BadEscape(usize),
}

/// Reads every entry of a properties file, in order, repeated keys included.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, PropertiesError> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(PropertiesError::TooBig(bytes.len()));
    }
    // Java reads these files as Latin-1; people write UTF-8. Latin-1 is what is left when the bytes are no UTF-8.
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    };
    let mut entries = Vec::new();
    for (line, content) in logical_lines(&text) {
        let (key, value) = split(&content);
        let key = unescape(key).ok_or(PropertiesError::BadEscape(line))?;
        let value = unescape(value).ok_or(PropertiesError::BadEscape(line))?;
        entries.push(Entry { key, value: value.trim().to_owned(), line });
    }
    Ok(entries)
}

/// Joins continued lines and drops blank ones and comments.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start_matches(is_blank);
        if open.is_none() && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let (first, mut content) = open.take().unwrap_or((index + 1, String::new()));
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            content.push_str(&line[..line.len() - 1]);
            open = Some((first, content));
        } else {
            content.push_str(line);
            lines.push((first, content));
        }
    }
    lines.extend(open);
    lines
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// Splits at the first separator that no backslash protects.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|&(_, c)| {
            let separates = !escaped && (is_blank(c) || c == '=' || c == ':');
            escaped = c == '\\' && !escaped;
            separates
        })
        .map_or(line.len(), |(index, _)| index);
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(is_blank))
}

fn unescape(text: &str) -> Option<String> {
    // UTF-16, because a character beyond the basic plane is written as two escapes that only make sense together.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                        return None;
                    }
                    units.push(u16::from_str_radix(&digits, 16).ok()?);
                    continue;
                }
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    Some(String::from_utf16_lossy(&units))
}

/// How many single-character edits lie between two names: what was mistyped is near what was meant.
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let entries = parse(text.as_bytes()).expect("a valid file");
        let got: Vec<_> = entries.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn separators_comments_and_blanks() {
        check(
            "a=1\nb = 2\n c: 3\nd 4\n\te\t=\t5 \n",
            &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")],
        );
        check("# no\n! no\n\n   # no\nkey\nempty=\n", &[("key", ""), ("empty", "")]);
        check("server.1=a:2888:3888;2181\r\nx==y\r\n", &[("server.1", "a:2888:3888;2181"), ("x", "=y")]);
    }

    #[test]
    fn escapes_and_continuation_lines() {
        check("a\\ b\\:c = d\\te\n", &[("a b:c", "d\te")]);
        check("list = one, \\\n    two\nnext=1", &[("list", "one, two"), ("next", "1")]);
        check("path=C:\\\\data\\\\\nnext=1", &[("path", "C:\\data\\"), ("next", "1")]);
        check("u=\\u00e9\\uD83D\\uDE00", &[("u", "é😀")]);
        check("a=b\\\n# still the value", &[("a", "b# still the value")]);
        check("a=b\\", &[("a", "b")]);
        assert_eq!(parse(b"ok=1\nbad=\\u12"), Err(PropertiesError::BadEscape(2)));
    }

    #[test]
    fn lines_are_counted_and_latin_1_is_read() {
        let entries = parse(b"# c\n\nname=caf\xe9\n").unwrap();
        assert_eq!(entries, [Entry { key: "name".into(), value: "café".into(), line: 3 }]);
        assert_eq!(parse(&vec![b'x'; FILE_BYTES_MAX + 1]), Err(PropertiesError::TooBig(FILE_BYTES_MAX + 1)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
