//! [core] A line that is being edited, and those that came before it.

use super::keys::Key;

/// Lines that are remembered.
pub(super) const HISTORY_LINES_MAX: usize = 1000;
/// More than anybody types, and less than hurts.
const LINE_CHARS_MAX: usize = 64 << 10;

/// What a key has led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The line may look different.
    Edited,
    /// It is to be carried out.
    Submitted(String),
    /// The word before the cursor is to be completed.
    Complete,
    /// The screen is to be cleared.
    Clear,
    Interrupted,
    End,
}

/// The lines before, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    lines: Vec<String>,
}

impl History {
    pub(super) fn new(lines: impl IntoIterator<Item = String>) -> History {
        let mut history = History::default();
        for line in lines {
            history.add(&line);
        }
        history
    }

    /// Whether the line is worth keeping: it is not empty, not what came just before it, and does not begin with a blank.
    pub(super) fn add(&mut self, line: &str) -> bool {
        let wanted = !line.trim().is_empty()
            && !line.starts_with(' ')
            && self.lines.last().is_none_or(|last| last != line);
        if wanted {
            if self.lines.len() == HISTORY_LINES_MAX {
                self.lines.remove(0);
            }
            self.lines.push(line.to_owned());
        }
        wanted
    }
}

/// The line, the cursor in it, and where in the history we are.
///
/// Invariants: `at` is at most the number of characters; `back` is at most the number of lines in the history.
#[derive(Debug, Default)]
pub(super) struct Line {
    text: Vec<char>,
    at: usize,
    /// How many lines back; zero is the line itself.
    back: usize,
    /// The line itself while an older one is shown.
    draft: Vec<char>,
}

impl Line {
    pub(super) fn press(&mut self, key: Key, history: &History) -> Outcome {
        match key {
            Key::Char(c) if self.text.len() < LINE_CHARS_MAX => {
                self.text.insert(self.at, c);
                self.at += 1;
            }
            Key::Char(_) => {}
            Key::Enter => return Outcome::Submitted(std::mem::take(self).text.into_iter().collect()),
            Key::Tab => return Outcome::Complete,
            Key::Backspace if self.at > 0 => {
                self.at -= 1;
                self.text.remove(self.at);
            }
            Key::EndOfInput if self.text.is_empty() => return Outcome::End,
            Key::Delete | Key::EndOfInput if self.at < self.text.len() => drop(self.text.remove(self.at)),
            Key::Backspace | Key::Delete | Key::EndOfInput => {}
            Key::Left => self.at = self.at.saturating_sub(1),
            Key::Right => self.at = (self.at + 1).min(self.text.len()),
            Key::Home => self.at = 0,
            Key::End => self.at = self.text.len(),
            Key::WordLeft => self.at = self.word_start(),
            Key::WordRight => self.at = self.word_end(),
            Key::KillToEnd => self.text.truncate(self.at),
            Key::KillToStart => {
                self.text.drain(..self.at);
                self.at = 0;
            }
            Key::KillWord => {
                let start = self.word_start();
                self.text.drain(start..self.at);
                self.at = start;
            }
            Key::Up => self.show(history, self.back + 1),
            Key::Down => self.show(history, self.back.saturating_sub(1)),
            Key::Clear => return Outcome::Clear,
            Key::Interrupt => {
                *self = Line::default();
                return Outcome::Interrupted;
            }
        }
        Outcome::Edited
    }

    fn word_start(&self) -> usize {
        let mut at = self.at;
        let is_blank = |at: usize| self.text[at].is_whitespace();
        while at > 0 && is_blank(at - 1) {
            at -= 1;
        }
        while at > 0 && !is_blank(at - 1) {
            at -= 1;
        }
        at
    }

    fn word_end(&self) -> usize {
        let rest = &self.text[self.at..];
        let blanks = rest.iter().take_while(|c| c.is_whitespace()).count();
        self.at + blanks + rest[blanks..].iter().take_while(|c| !c.is_whitespace()).count()
    }

    fn show(&mut self, history: &History, back: usize) {
        if back > history.lines.len() || back == self.back {
            return;
        }
        if self.back == 0 {
            self.draft = std::mem::take(&mut self.text);
        }
        self.text = match history.lines.len().checked_sub(back).and_then(|at| history.lines.get(at)) {
            Some(line) => line.chars().collect(),
            None => std::mem::take(&mut self.draft),
        };
        self.back = back;
        self.at = self.text.len();
    }

    /// What stands before the cursor.
    pub(super) fn before(&self) -> String {
        self.text[..self.at].iter().collect()
    }

    /// Replaces the last so many characters before the cursor.
    pub(super) fn replace(&mut self, count: usize, with: &str) {
        let start = self.at.saturating_sub(count);
        let with: Vec<char> = with.chars().collect();
        let end = start + with.len();
        self.text.splice(start..self.at, with);
        self.at = end;
    }

    /// What draws the line on one row of so many columns, whatever was there before: as much as fits around the cursor.
    pub(super) fn draw(&self, prompt: &str, columns: usize) -> String {
        // A prompt that leaves no room for the line is no help.
        let prompt: String = prompt.chars().take(columns.saturating_sub(12)).collect();
        let room = columns.saturating_sub(prompt.chars().count() + 1).max(1);
        let first = (self.at + 1).saturating_sub(room);
        let shown: String =
            self.text.iter().skip(first).take(room).map(|c| if c.is_control() { '?' } else { *c }).collect();
        let column = prompt.chars().count() + self.at - first;
        let cursor = if column == 0 { "\r".to_owned() } else { format!("\r\x1b[{column}C") };
        format!("\r\x1b[K{prompt}{shown}{cursor}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Keys;
    use super::*;

    /// What the line is after these keys, with `|` for the cursor.
    fn typed(history: &History, bytes: &[u8]) -> String {
        let mut line = Line::default();
        for key in Keys::default().push(bytes) {
            line.press(key, history);
        }
        let after: String = line.text[line.at..].iter().collect();
        format!("{}|{after}", line.before())
    }

    #[test]
    fn editing() {
        let history = History::new(["first", "first", " secret", "second"].map(str::to_owned));
        for (bytes, expected) in [
            (&b"ls /a\x1b[D\x1b[Dx"[..], "ls x|/a"),
            (b"abc\x01\x1b[3~\x05d", "bcd|"),
            (b"one two  \x17three", "one three|"),
            (b"one two\x1bb\x0b", "one |"),
            (b"one two\x1bb\x15", "|two"),
            (b"one two\x01\x1bf!", "one!| two"),
            (b"draft\x1b[A", "second|"),
            (b"draft\x1b[A\x1b[A\x1b[A", "first|"),
            (b"draft\x1b[A\x1b[A\x1b[B\x1b[B", "draft|"),
            (b"x\x7f\x7f\x1b[C", "|"),
            (b"gone\x03new", "new|"),
        ] {
            assert_eq!(typed(&history, bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn lines_end_as_they_should() {
        let history = History::default();
        let mut line = Line::default();
        assert_eq!(line.press(Key::EndOfInput, &history), Outcome::End);
        line.press(Key::Char('x'), &history);
        assert_eq!(line.press(Key::EndOfInput, &history), Outcome::Edited);
        assert_eq!(line.press(Key::Enter, &history), Outcome::Submitted("x".to_owned()));
        assert_eq!(line.press(Key::Enter, &history), Outcome::Submitted(String::new()));
        line.replace(5, "/abc");
        line.replace(1, "d ");
        assert_eq!(line.before(), "/abd ");
    }

    #[test]
    fn a_long_line_shows_what_is_around_the_cursor() {
        let mut line = Line::default();
        line.replace(0, "0123456789abcdefghij");
        assert_eq!(line.draw("> ", 80), "\r\x1b[K> 0123456789abcdefghij\r\x1b[22C");
        assert_eq!(line.draw("> ", 20), "\r\x1b[K> 456789abcdefghij\r\x1b[18C");
        line.press(Key::Home, &History::default());
        assert_eq!(line.draw("> ", 20), "\r\x1b[K> 0123456789abcdefg\r\x1b[2C");
        assert_eq!(line.draw("> ", 1), "\r\x1b[K0\r");
    }
}
