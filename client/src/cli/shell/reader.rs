//! [shell] Lines from a terminal, with editing, or from whatever else the standard input is.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::keys::{Key, Keys};
use super::line::{HISTORY_LINES_MAX, History, Line, Outcome};

/// Terminals that do not say have as many columns.
const COLUMNS: usize = 80;
/// More are not shown at once.
const CANDIDATES_MAX: usize = 200;

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) enum Input {
    Line(String),
    /// The user thought better of it.
    Interrupted,
    End,
}

/// How the word before the cursor may go on.
#[derive(Debug, Default)]
pub(in crate::cli) struct Completions {
    /// How many characters of the line each candidate replaces.
    pub(in crate::cli) replaced: usize,
    pub(in crate::cli) candidates: BTreeSet<String>,
}

/// Reads lines one after the other.
pub(in crate::cli) struct Reader {
    is_terminal: bool,
    history: History,
    /// Where the history is kept, if anywhere.
    file: Option<PathBuf>,
    keys: Keys,
    /// Keys that came behind the end of a line.
    ahead: VecDeque<Key>,
    /// What is said while a line is being typed.
    notices: mpsc::Receiver<String>,
    resized: Signal,
}

impl Reader {
    pub(in crate::cli) fn new(file: Option<PathBuf>, notices: mpsc::Receiver<String>) -> io::Result<Reader> {
        let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        let file = file.filter(|_| is_terminal);
        // A history that cannot be read is none.
        let text = file.as_ref().and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
        let lines = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect::<Vec<_>>();
        if let Some(file) = file.as_ref().filter(|_| lines.len() > 2 * HISTORY_LINES_MAX) {
            let newest = lines[lines.len() - HISTORY_LINES_MAX..].join("\n") + "\n";
            let _ = std::fs::write(file, newest);
        }
        Ok(Reader {
            is_terminal,
            history: History::new(lines),
            file,
            keys: Keys::default(),
            ahead: VecDeque::new(),
            notices,
            resized: signal(SignalKind::window_change())?,
        })
    }

    pub(in crate::cli) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// The next line. `complete` is given what stands before the cursor.
    pub(in crate::cli) async fn line(
        &mut self,
        prompt: &str,
        complete: impl AsyncFn(&str) -> Completions,
    ) -> io::Result<Input> {
        if !self.is_terminal {
            return self.plain_line().await;
        }
        let raw = Raw::enter()?;
        let input = self.edited_line(prompt, complete).await;
        drop(raw);
        if let Ok(Input::Line(line)) = &input
            && self.history.add(line)
            && let Some(file) = &self.file
        {
            // Nobody stops working for want of a history.
            let _ = append(file, line);
        }
        input
    }

    async fn plain_line(&mut self) -> io::Result<Input> {
        let mut read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|count| (count > 0).then_some(line))
        });
        loop {
            tokio::select! {
                line = &mut read => {
                    return Ok(match line.map_err(io::Error::other)?? {
                        Some(line) => Input::Line(line.trim_end_matches(['\r', '\n']).to_owned()),
                        None => Input::End,
                    });
                }
                Some(notice) = self.notices.recv() => println!("{notice}"),
            }
        }
    }

    async fn edited_line(
        &mut self,
        prompt: &str,
        complete: impl AsyncFn(&str) -> Completions,
    ) -> io::Result<Input> {
        let mut line = Line::default();
        let mut reading: Option<JoinHandle<io::Result<Vec<u8>>>> = None;
        loop {
            while let Some(key) = self.ahead.pop_front() {
                match line.press(key, &self.history) {
                    Outcome::Edited => {}
                    Outcome::Submitted(text) => {
                        let mut whole = Line::default();
                        whole.replace(0, &text);
                        show(&format!("{}\r\n", whole.draw(prompt, columns())))?;
                        return Ok(Input::Line(text));
                    }
                    Outcome::Complete => self.complete(&mut line, &complete).await?,
                    Outcome::Clear => show("\x1b[H\x1b[2J")?,
                    Outcome::Interrupted => {
                        show("^C\r\n")?;
                        return Ok(Input::Interrupted);
                    }
                    Outcome::End => {
                        show("\r\n")?;
                        return Ok(Input::End);
                    }
                }
            }
            show(&line.draw(prompt, columns()))?;
            let read = reading.get_or_insert_with(|| tokio::task::spawn_blocking(read_some));
            tokio::select! {
                bytes = read => {
                    reading = None;
                    let bytes = bytes.map_err(io::Error::other)??;
                    if bytes.is_empty() {
                        return Ok(Input::End);
                    }
                    self.ahead.extend(self.keys.push(&bytes));
                }
                _ = self.resized.recv() => {}
                Some(notice) = self.notices.recv() => {
                    show(&format!("\r\x1b[K{}\r\n", notice.replace('\n', "\r\n")))?;
                }
            }
        }
    }

    /// Goes on as far as it is certain; where it is not, shows what is possible.
    async fn complete(&self, line: &mut Line, complete: impl AsyncFn(&str) -> Completions) -> io::Result<()> {
        let before = line.before();
        let Completions { replaced, candidates } = complete(&before).await;
        let Some(first) = candidates.first() else { return show("\x07") };
        let common = candidates.iter().skip(1).fold(first.as_str(), |common, other| {
            let same = common.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
            let end = same.map_or(common.len().min(other.len()), |((at, _), _)| at);
            &common[..end]
        });
        let typed: String = before.chars().skip(before.chars().count().saturating_sub(replaced)).collect();
        if candidates.len() == 1 || common.len() > typed.len() {
            line.replace(replaced, common);
            return Ok(());
        }
        let mut list: Vec<&str> =
            candidates.iter().take(CANDIDATES_MAX).map(|name| name.trim_end()).collect();
        let more = format!("and {} more", candidates.len() - list.len());
        if candidates.len() > list.len() {
            list.push(&more);
        }
        show(&format!("\r\n{}\r\n", list.join("  ")))
    }
}

fn append(file: &PathBuf, line: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
    writeln!(file, "{line}")
}

fn show(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn columns() -> usize {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => COLUMNS,
    }
}

/// Waits for some bytes. Not through the standard library's buffer, which would keep those of the next command.
fn read_some() -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 1024];
    loop {
        match rustix::io::read(io::stdin(), &mut bytes) {
            Ok(count) => {
                bytes.truncate(count);
                return Ok(bytes);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A terminal that sends every key at once and shows none of them, until this is dropped.
struct Raw {
    before: Termios,
}

impl Raw {
    fn enter() -> io::Result<Raw> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Raw { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that has gone needs no mode.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}
