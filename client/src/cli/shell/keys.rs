//! [core] What a terminal sends, as keys.

/// A key, or what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Tab,
    Backspace,
    Delete,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    WordLeft,
    WordRight,
    KillToEnd,
    KillToStart,
    KillWord,
    Clear,
    Interrupt,
    /// Ctrl-D: the end of the input on an empty line.
    EndOfInput,
}

/// The longest sequence that is waited for; what is longer is no key.
const SEQUENCE_BYTES_MAX: usize = 16;

/// Bytes that have come, of which the last may be the beginning of a key.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pending: Vec<u8>,
}

impl Keys {
    /// The keys that are complete with these bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.pending.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut at = 0;
        while let Some((used, key)) = next(&self.pending[at..]) {
            at += used;
            keys.extend(key);
        }
        self.pending.drain(..at);
        keys
    }
}

/// How many bytes the first key has, and the key if it is one; `None` if there is more to come.
fn next(bytes: &[u8]) -> Option<(usize, Option<Key>)> {
    let (&first, rest) = bytes.split_first()?;
    let key = match first {
        1 => Key::Home,
        2 => Key::Left,
        3 => Key::Interrupt,
        4 => Key::EndOfInput,
        5 => Key::End,
        6 => Key::Right,
        8 | 0x7f => Key::Backspace,
        b'\t' => Key::Tab,
        b'\r' | b'\n' => Key::Enter,
        11 => Key::KillToEnd,
        12 => Key::Clear,
        14 => Key::Down,
        16 => Key::Up,
        21 => Key::KillToStart,
        23 => Key::KillWord,
        0x1b => return sequence(rest).map(|(used, key)| (1 + used, key)),
        0..0x20 => return Some((1, None)),
        _ => return character(bytes),
    };
    Some((1, Some(key)))
}

/// What follows an escape.
fn sequence(rest: &[u8]) -> Option<(usize, Option<Key>)> {
    let (&kind, rest) = rest.split_first()?;
    match kind {
        b'b' => return Some((1, Some(Key::WordLeft))),
        b'f' => return Some((1, Some(Key::WordRight))),
        0x7f => return Some((1, Some(Key::KillWord))),
        b'[' | b'O' => {}
        _ => return Some((1, None)),
    }
    let Some(end) = rest.iter().position(|byte| (0x40..0x7f).contains(byte)) else {
        return (rest.len() > SEQUENCE_BYTES_MAX).then_some((1 + rest.len(), None));
    };
    let key = match (&rest[..end], rest[end]) {
        (b"", b'A') => Some(Key::Up),
        (b"", b'B') => Some(Key::Down),
        (b"", b'C') => Some(Key::Right),
        (b"", b'D') => Some(Key::Left),
        (b"1;5" | b"1;3", b'C') => Some(Key::WordRight),
        (b"1;5" | b"1;3", b'D') => Some(Key::WordLeft),
        (b"", b'H') | (b"1" | b"7", b'~') => Some(Key::Home),
        (b"", b'F') | (b"4" | b"8", b'~') => Some(Key::End),
        (b"3", b'~') => Some(Key::Delete),
        _ => None,
    };
    Some((1 + end + 1, key))
}

/// One character of UTF-8; what is none is dropped.
fn character(bytes: &[u8]) -> Option<(usize, Option<Key>)> {
    let whole = match bytes[0] {
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf8 => 4,
        _ => 1,
    };
    let text = match std::str::from_utf8(bytes.get(..whole).unwrap_or(bytes)) {
        Ok(text) => text,
        // Cut off where more may come.
        Err(error) if error.error_len().is_none() && bytes.len() < whole => return None,
        Err(error) => return Some((error.error_len().unwrap_or(whole).max(1), None)),
    };
    text.chars().next().map(|c| (c.len_utf8(), Some(Key::Char(c))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_whole_however_they_are_cut() {
        let bytes = b"a\xc5\xbc\x1b[A\x1b[3~\x1bOF\x1b[1;5D\x1bb\x03\xff\x1b[99Zz\r";
        let expected = [
            Key::Char('a'),
            Key::Char('ż'),
            Key::Up,
            Key::Delete,
            Key::End,
            Key::WordLeft,
            Key::WordLeft,
            Key::Interrupt,
            Key::Char('z'),
            Key::Enter,
        ];
        assert_eq!(Keys::default().push(bytes), expected);
        let mut keys = Keys::default();
        let single: Vec<Key> = bytes.iter().flat_map(|byte| keys.push(&[*byte])).collect();
        assert_eq!(single, expected);
    }

    #[test]
    fn what_never_ends_is_given_up() {
        let mut keys = Keys::default();
        assert_eq!(keys.push(b"\x1b[00000000000000000000"), []);
        assert_eq!(keys.push(b"x"), [Key::Char('x')]);
    }
}
