//! Columns for people, tabs for scripts, JSON for programs.

use std::io::{self, IsTerminal, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use super::dates;
use super::flags::Format;
use crate::zk::Data;

pub(super) const BOLD: &str = "1";
pub(super) const RED: &str = "31";
pub(super) const GREEN: &str = "32";
pub(super) const YELLOW: &str = "33";

/// Text in a style, if it goes to a terminal and nobody has asked for less (<https://no-color.org>).
pub(super) fn styled(is_terminal: bool, style: &str, text: &str) -> String {
    if is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
        format!("\x1b[{style}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Tells people what went wrong.
pub(super) fn complain(complaint: &str) {
    let name = styled(io::stderr().is_terminal(), RED, "coordctl:");
    eprintln!("{name} {complaint}");
}

/// Rows of values under names.
#[derive(Debug)]
pub(super) struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<Value>>,
}

impl Table {
    pub(super) fn new(columns: &'static [&'static str]) -> Table {
        Table { columns, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, values: impl IntoIterator<Item = Value>) {
        let row: Vec<Value> = values.into_iter().collect();
        assert_eq!(row.len(), self.columns.len(), "a value for each column");
        self.rows.push(row);
    }

    pub(super) fn print(&self, format: Format) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match format {
            Format::Json => {
                let rows: Vec<Value> = self.rows.iter().map(|row| object(self.columns, row)).collect();
                serde_json::to_writer_pretty(&mut out, &rows)?;
                writeln!(out)
            }
            Format::Plain => {
                for row in &self.rows {
                    writeln!(out, "{}", row.iter().map(text).collect::<Vec<_>>().join("\t"))?;
                }
                Ok(())
            }
            Format::Table => {
                let aligned = self.aligned();
                let (header, rows) = aligned.split_once('\n').unwrap_or((&aligned, ""));
                writeln!(out, "{}", styled(out.is_terminal(), BOLD, header))?;
                out.write_all(rows.as_bytes())
            }
        }
    }

    fn aligned(&self) -> String {
        let header: Vec<String> = self.columns.iter().map(|name| name.to_uppercase()).collect();
        let mut lines = vec![header];
        lines.extend(self.rows.iter().map(|row| row.iter().map(text).collect()));
        let width =
            |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut aligned = String::new();
        for line in &lines {
            let cells: Vec<String> =
                line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            aligned.push_str(cells.join("  ").trim_end());
            aligned.push('\n');
        }
        aligned
    }
}

/// A time in milliseconds since 1970: for people a date, for programs the number.
pub(super) fn time(ms: i64, format: Format) -> Value {
    if format == Format::Table { dates::short(ms).into() } else { ms.into() }
}

/// One row by itself: a JSON object in a line of its own, or values with blanks or tabs.
pub(super) fn print_line(format: Format, columns: &[&str], row: &[Value]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Json => writeln!(out, "{}", object(columns, row))?,
        Format::Plain => writeln!(out, "{}", row.iter().map(text).collect::<Vec<_>>().join("\t"))?,
        Format::Table => {
            let cells: Vec<String> = row.iter().map(|value| format!("{:9}", text(value))).collect();
            writeln!(out, "{}", cells.join("  ").trim_end())?;
        }
    }
    out.flush()
}

fn object(columns: &[&str], row: &[Value]) -> Value {
    let fields = columns.iter().map(|name| name.replace(' ', "_")).zip(row.iter().cloned());
    Value::Object(fields.collect::<Map<String, Value>>())
}

/// Without quotes, and on one line.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => one_line(text),
        other => other.to_string(),
    }
}

/// With control characters made visible: what others wrote must not steer our terminal.
pub(super) fn one_line(text: &str) -> String {
    text.chars().flat_map(printable).collect()
}

fn printable(character: char) -> Vec<char> {
    if character.is_control() { character.escape_default().collect() } else { vec![character] }
}

/// Data as JSON: null or a text if it is one, else its base64 under another name.
pub(super) fn data_field(data: &Data) -> (&'static str, Value) {
    match std::str::from_utf8(data) {
        Ok(_) if data.is_null() => ("data", Value::Null),
        Ok(text) => ("data", text.into()),
        Err(_) => ("data_base64", BASE64_STANDARD.encode(data).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_control_characters_harmless() {
        let mut table = Table::new(&["name", "n"]);
        table.row(["żółw".into(), 1.into()]);
        table.row(["a\x1b[2J\nb".into(), Value::Null]);
        assert_eq!(table.aligned(), "NAME           N\nżółw           1\na\\u{1b}[2J\\nb  -\n");
    }

    #[test]
    fn data_is_text_or_base64() {
        assert_eq!(data_field(&b"x".as_slice().into()), ("data", "x".into()));
        assert_eq!(data_field(&Data::NULL), ("data", Value::Null));
        assert_eq!(data_field(&[0xff].as_slice().into()), ("data_base64", "/w==".into()));
    }
}
