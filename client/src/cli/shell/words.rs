//! [core] A line as words, as shells have them: blanks between, quotes and backslashes for blanks inside.

/// Reads the words of a line.
pub(in crate::cli) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            c if c.is_whitespace() => words.extend(word.take()),
            quote @ ('\'' | '"') => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        None => return Err(format!("a {quote} is missing")),
                        Some(c) if c == quote => break,
                        Some('\\') if quote == '"' => word.extend(characters.next()),
                        Some(c) => word.push(c),
                    }
                }
            }
            '\\' => match characters.next() {
                None => return Err("nothing follows the \\".to_owned()),
                Some(c) => word.get_or_insert_default().push(c),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// The word that a line ends in, as it was typed: everything behind the last blank that is not escaped.
pub(in crate::cli) fn last(line: &str) -> &str {
    let mut start = 0;
    let mut escaped = false;
    for (at, character) in line.char_indices() {
        if character.is_whitespace() && !escaped {
            start = at + character.len_utf8();
        }
        escaped = character == '\\' && !escaped;
    }
    &line[start..]
}

/// The same text as one word.
pub(in crate::cli) fn escaped(text: &str) -> String {
    let mut word = String::new();
    for character in text.chars() {
        if character.is_whitespace() || "'\"\\".contains(character) {
            word.push('\\');
        }
        word.push(character);
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (line, expected) in [
            ("", &[][..]),
            ("  ls   /a ", &["ls", "/a"]),
            (r#"set /a "two words" ''"#, &["set", "/a", "two words", ""]),
            (r#"a\ b 'c\d' "e\"f""#, &["a b", r"c\d", r#"e"f"#]),
            ("x'y'z", &["xyz"]),
        ] {
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
        for bad in ["'", "a \"b", "\\"] {
            assert!(split(bad).is_err(), "{bad}");
        }
        for text in ["/a b", "it's", "\\"] {
            assert_eq!(split(&escaped(text)).unwrap(), [text]);
        }
        assert_eq!((last("get /a\\ b"), last("get "), last("")), ("/a\\ b", "", ""));
    }
}
