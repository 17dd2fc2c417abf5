//! The two text formats that monitoring systems read: Prometheus' own (0.0.4) and OpenMetrics 1.0.

use super::text;
use super::timings::Timings;
use crate::http1::weight::{FULL, weight};

/// One of the formats.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format, version 0.0.4.
    #[default]
    Text,
}

impl Format {
    /// The one that `accept`, the value of `Accept`, prefers; the older one when it names neither, or
    /// is empty. Between equals the first named wins.
    pub fn preferred(accept: &[u8]) -> Self {
        let mut best = (0, Self::Text);
        for range in accept.split(|byte| *byte == b',') {
            let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let media = parts.next().unwrap_or_default();
            let is = |name: &str| media.eq_ignore_ascii_case(name.as_bytes());
            let (mut quality, mut is_known) = (FULL, true);
            for parameter in parts {
                match weight(parameter) {
                    Some(found) => quality = found,
                    None if is("application/openmetrics-text") => {
                        is_known &= is_version_we_speak(parameter);
                    }
                    None => {}
                }
            }
            let format = match () {
                () if is("application/openmetrics-text") && is_known => Self::OpenMetrics,
                () if is("text/plain") || is("text/*") || is("*/*") => Self::Text,
                () => continue,
            };
            if quality > best.0 {
                best = (quality, format);
            }
        }
        best.1
    }

    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// What else is said of OpenMetrics, its characters for example, does not matter.
fn is_version_we_speak(parameter: &[u8]) -> bool {
    match parameter.strip_prefix(b"version=") {
        Some(version) => matches!(version, b"1.0.0" | b"1.0" | b"1" | b"0.0.1"),
        None => true,
    }
}

/// Metrics of one name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Family {
    /// Its name as samples have it, but for what histograms put behind it.
    pub name: &'static str,
    /// What kind of numbers they are.
    pub kind: Kind,
    /// The labels of each.
    pub labels: &'static [&'static str],
    /// What they mean, in one line.
    pub help: &'static str,
}

/// A kind of numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is as it is at the moment.
    Gauge,
    /// Durations in buckets.
    Histogram,
    /// Always 1: what matters are its labels.
    Info,
}

impl Kind {
    /// Its name in documents, and in Prometheus' own format but for [`Self::Info`], which is a gauge
    /// there.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// Metrics being written.
pub struct Page<'o> {
    out: &'o mut Vec<u8>,
    format: Format,
}

impl<'o> Page<'o> {
    /// Appends to `out`.
    pub fn new(format: Format, out: &'o mut Vec<u8>) -> Self {
        Self { out, format }
    }

    /// Begins the next family; each is begun once, and its samples follow.
    pub fn family(&mut self, family: &'static Family) -> Samples<'_> {
        let (name, kind) = match (self.format, family.kind) {
            (Format::OpenMetrics, kind) => {
                let name = family.name;
                let base = name.strip_suffix("_total").or(name.strip_suffix("_info"));
                (base.unwrap_or(name), kind)
            }
            (Format::Text, Kind::Info) => (family.name, Kind::Gauge),
            (Format::Text, kind) => (family.name, kind),
        };
        text::push(self.out, format_args!("# HELP {name} "));
        push_escaped(self.out, family.help, self.format == Format::OpenMetrics);
        text::push(self.out, format_args!("\n# TYPE {name} {}\n", kind.as_str()));
        Samples { out: self.out, family }
    }

    /// Nothing follows.
    pub fn end(self) {
        if self.format == Format::OpenMetrics {
            self.out.extend_from_slice(b"# EOF\n");
        }
    }
}

/// The samples of one family.
pub struct Samples<'p> {
    out: &'p mut Vec<u8>,
    family: &'static Family,
}

impl Samples<'_> {
    /// A whole number; `values` are those of the family's labels, in its order.
    pub fn count(&mut self, values: &[&str], count: u64) -> &mut Self {
        self.name("", values, None);
        text::push_number(self.out, count);
        self.out.push(b'\n');
        self
    }

    /// Any number.
    pub fn number(&mut self, values: &[&str], number: f64) -> &mut Self {
        self.name("", values, None);
        push_float(self.out, number);
        self.out.push(b'\n');
        self
    }

    /// A histogram: its buckets, sum and count.
    pub fn histogram(&mut self, values: &[&str], timings: &Timings) -> &mut Self {
        for (bound, count) in timings.cumulative() {
            self.name("_bucket", values, Some(bound));
            text::push_number(self.out, count);
            self.out.push(b'\n');
        }
        self.name("_sum", values, None);
        push_float(self.out, timings.sum());
        self.out.push(b'\n');
        self.name("_count", values, None);
        text::push_number(self.out, timings.count());
        self.out.push(b'\n');
        self
    }

    fn name(&mut self, suffix: &str, values: &[&str], bound: Option<f64>) {
        debug_assert_eq!(values.len(), self.family.labels.len(), "{}", self.family.name);
        self.out.extend_from_slice(self.family.name.as_bytes());
        self.out.extend_from_slice(suffix.as_bytes());
        let mut before = b'{';
        for (label, value) in self.family.labels.iter().zip(values) {
            self.out.push(before);
            before = b',';
            text::push(self.out, format_args!("{label}=\""));
            push_escaped(self.out, value, true);
            self.out.push(b'"');
        }
        if let Some(bound) = bound {
            self.out.push(before);
            before = b',';
            self.out.extend_from_slice(b"le=\"");
            push_float(self.out, bound);
            self.out.push(b'"');
        }
        self.out.extend_from_slice(if before == b',' { b"} " } else { b" " });
    }
}

/// Both formats escape backslashes and line feeds, and quotation marks where there are some around.
fn push_escaped(out: &mut Vec<u8>, text: &str, quotes: bool) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quotes => out.extend_from_slice(b"\\\""),
            byte => out.push(byte),
        }
    }
}

/// With a decimal point, as OpenMetrics wants bounds to be: `1.0`, `0.005`, `+Inf`.
fn push_float(out: &mut Vec<u8>, number: f64) {
    match number {
        number if number == f64::INFINITY => out.extend_from_slice(b"+Inf"),
        number if number.is_finite() => text::push(out, format_args!("{number:?}")),
        _ => out.extend_from_slice(b"NaN"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    static TOTAL: Family =
        Family { name: "rip_a_total", kind: Kind::Counter, labels: &["x", "y"], help: "A \"b\"." };
    static TIMES: Family =
        Family { name: "rip_b_seconds", kind: Kind::Histogram, labels: &["x"], help: "B\\c." };
    static INFO: Family =
        Family { name: "rip_build_info", kind: Kind::Info, labels: &[], help: "C." };

    fn page(format: Format) -> String {
        let mut out = Vec::new();
        let mut page = Page::new(format, &mut out);
        page.family(&TOTAL).count(&["", "a\"b\\c\nd"], 7);
        let mut timings = Timings::default();
        timings.add(Duration::from_millis(2000));
        page.family(&TIMES).histogram(&["v"], &timings);
        page.family(&INFO).number(&[], 1.0);
        page.end();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_older_format_is_as_it_is_read() {
        let page = page(Format::Text);
        let lines: Vec<_> = page.lines().collect();
        assert_eq!(lines[0], "# HELP rip_a_total A \"b\".");
        assert_eq!(lines[1], "# TYPE rip_a_total counter");
        assert_eq!(lines[2], r#"rip_a_total{x="",y="a\"b\\c\nd"} 7"#);
        assert_eq!(lines[3], r"# HELP rip_b_seconds B\\c.");
        assert_eq!(lines[5], r#"rip_b_seconds_bucket{x="v",le="0.001"} 0"#);
        assert_eq!(lines[15], r#"rip_b_seconds_bucket{x="v",le="2.5"} 1"#);
        assert_eq!(lines[14], r#"rip_b_seconds_bucket{x="v",le="1.0"} 0"#);
        assert_eq!(lines[20], r#"rip_b_seconds_bucket{x="v",le="+Inf"} 1"#);
        assert_eq!(lines[21], r#"rip_b_seconds_sum{x="v"} 2.0"#);
        assert_eq!(lines[22], r#"rip_b_seconds_count{x="v"} 1"#);
        assert_eq!(lines[24..], ["# TYPE rip_build_info gauge", "rip_build_info 1.0"]);
    }

    #[test]
    fn the_newer_one_names_families_without_their_ends_and_has_one_itself() {
        let page = page(Format::OpenMetrics);
        assert!(page.starts_with("# HELP rip_a A \\\"b\\\".\n# TYPE rip_a counter\nrip_a_total{"));
        assert!(page.contains("# TYPE rip_b_seconds histogram\n"));
        assert!(page.ends_with("# TYPE rip_build info\nrip_build_info 1.0\n# EOF\n"));
    }

    #[test]
    fn the_format_is_the_one_that_is_preferred() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=values;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;\
                          q=0.4,*/*;q=0.1";
        for (accept, expected) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html", Format::Text),
            (prometheus, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; version=1.0.0", Format::OpenMetrics),
            ("application/openmetrics-text; version=2.0.0", Format::Text),
            ("application/openmetrics-text;q=0.1, text/plain;q=0.5", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
        ] {
            assert_eq!(Format::preferred(accept.as_bytes()), expected, "{accept}");
        }
    }
}
