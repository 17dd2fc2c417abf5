//! Aligned columns for people, with a little colour where a terminal shows it.

use std::fmt::Write;
use std::io::IsTerminal;

/// Whether output is dressed up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Paint {
    /// With colours.
    Coloured,
    /// Only text.
    Plain,
}

impl Paint {
    /// Coloured when stdout is a terminal and `NO_COLOR` is not set to anything.
    pub fn for_stdout() -> Self {
        Self::on(&std::io::stdout())
    }

    /// The same for stderr.
    pub fn for_stderr() -> Self {
        Self::on(&std::io::stderr())
    }

    fn on(out: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|text| text == "dumb");
        if out.is_terminal() && !refused && !dumb { Self::Coloured } else { Self::Plain }
    }

    fn open(self, tone: Tone) -> &'static str {
        match (self, tone) {
            (Self::Plain, _) | (_, Tone::Usual) => "",
            (_, Tone::Head) => "\x1b[1m",
            (_, Tone::Good) => "\x1b[32m",
            (_, Tone::Waiting) => "\x1b[33m",
            (_, Tone::Bad) => "\x1b[31m",
        }
    }

    /// `text` in a tone.
    pub fn tint(self, text: &str, tone: Tone) -> String {
        match self.open(tone) {
            "" => text.to_owned(),
            open => format!("{open}{text}\x1b[0m"),
        }
    }
}

/// What a cell says beyond its text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tone {
    /// As it should not be.
    Bad,
    /// As it should be.
    Good,
    /// A heading.
    Head,
    /// Nothing.
    Usual,
    /// On its way.
    Waiting,
}

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a heading; each column as wide as its widest cell.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    /// No rows yet.
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; an empty cell shows as `-`.
    pub fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        let dash = |(text, tone): (String, Tone)| {
            if text.is_empty() { ("-".to_owned(), tone) } else { (text, tone) }
        };
        self.rows.push(cells.into_iter().map(dash).collect());
    }

    /// The table as lines, each ended by a newline, none ending in spaces.
    pub fn render(&self, paint: Paint) -> String {
        let heading: Vec<_> =
            self.columns.iter().map(|(title, _)| ((*title).to_owned(), Tone::Head)).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let cells = self.rows.iter().chain([&heading]);
                cells
                    .filter_map(|row| row.get(column))
                    .map(|cell| width(&cell.0))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut out = String::new();
        for row in [&heading].into_iter().chain(&self.rows) {
            for (column, (text, tone)) in row.iter().enumerate() {
                let gap = widths.get(column).map_or(0, |most| most - width(text));
                let (before, after) = match self.columns.get(column) {
                    Some((_, Align::Right)) => (gap, 0),
                    _ if column + 1 == row.len() => (0, 0),
                    _ => (0, gap),
                };
                let between = if column == 0 { "" } else { "  " };
                let text = paint.tint(text, *tone);
                // Writing to a string cannot fail.
                let _ = write!(out, "{between}{:before$}{text}{:after$}", "", "");
            }
            out.push('\n');
        }
        out
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// `812ms`, `45s`, `3m`, `5h`, `12d`.
pub fn age(millis: u64) -> String {
    match millis / 1000 {
        0 => format!("{millis}ms"),
        seconds @ 1..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// `812B`, `12.4K`, `36M`, `1.2G`: three digits or so.
pub fn size(bytes: u64) -> String {
    let mut amount = bytes as f64;
    let mut units = ["B", "K", "M", "G", "T"].iter();
    let mut unit = units.next().unwrap_or(&"B");
    while amount >= 1000.0
        && let Some(next) = units.next()
    {
        amount /= 1024.0;
        unit = next;
    }
    if *unit == "B" || amount >= 99.95 {
        format!("{amount:.0}{unit}")
    } else {
        format!("{amount:.1}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_without_spaces() {
        let mut table =
            Table::new(&[("APP", Align::Left), ("REQUESTS", Align::Right), ("LAST", Align::Left)]);
        table.row([
            ("hello".to_owned(), Tone::Usual),
            ("7".to_owned(), Tone::Usual),
            (String::new(), Tone::Usual),
        ]);
        table.row([
            ("ä".to_owned(), Tone::Usual),
            ("1234567890".to_owned(), Tone::Good),
            ("exited 1".to_owned(), Tone::Bad),
        ]);
        let golden = "\
APP      REQUESTS  LAST
hello           7  -
ä      1234567890  exited 1
";
        assert_eq!(table.render(Paint::Plain), golden);
        let coloured = table.render(Paint::Coloured);
        assert!(coloured.contains("\x1b[32m1234567890\x1b[0m"));
        let mut plain = coloured;
        for code in ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, golden);
    }

    #[test]
    fn ages_and_sizes_are_short() {
        for (millis, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (59_999, "59s"),
            (60_000, "1m"),
            (3_600_000, "1h"),
            (172_800_000, "2d"),
        ] {
            assert_eq!(age(millis), text);
        }
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.0K"),
            (12_700, "12.4K"),
            (37_748_736, "36.0M"),
            (104_857_600, "100M"),
            (1_288_490_189, "1.2G"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
