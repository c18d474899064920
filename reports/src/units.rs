//! Numbers as people read them: `1.23 M`, `12.5 %`, `2 min 43 s`.
//!
//! A missing or non-finite number is shown as [`MISSING`]; negative numbers carry a true minus sign; number and
//! unit are joined by a no-break space.

/// What stands where a number is missing.
pub const MISSING: &str = "–";

/// No-break space between number and unit.
pub(crate) const GAP: char = '\u{a0}';

/// Decimal prefixes with the power of ten they stand for, largest first.
const PREFIXES: [(f64, &str); 5] = [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];

/// The prefix for numbers of the size of `value`, with its factor; `(1, "")` below a thousand.
pub(crate) fn prefix(value: f64) -> (f64, &'static str) {
    let fits = |&&(factor, _): &&(f64, &str)| value.abs() >= factor * 0.9995;
    PREFIXES.iter().find(fits).copied().unwrap_or((1.0, ""))
}

/// `value` with three significant digits and a decimal prefix: `1.23 M`, `340 k`, `12.0`.
#[must_use]
pub fn si(value: Option<f64>) -> String {
    let Some(value) = finite(value) else { return MISSING.into() };
    let (factor, name) = prefix(value);
    let number = significant(value / factor);
    if name.is_empty() { number } else { format!("{number}{GAP}{name}") }
}

/// A count: whole below a thousand, with a decimal prefix above.
#[must_use]
pub fn count(value: Option<u64>) -> String {
    match value {
        Some(small) if small < 1000 => small.to_string(),
        other => si(other.map(|v| v as f64)),
    }
}

/// A share as percent with one digit: `12.5 %`.
#[must_use]
pub fn percent(share: Option<f64>) -> String {
    let shown = finite(share.map(|v| v * 100.0)).map(|v| format!("{}{GAP}%", plain(v, 1)));
    shown.unwrap_or_else(|| MISSING.into())
}

/// A number with `digits` digits after the point.
#[must_use]
pub fn fixed(value: Option<f64>, digits: usize) -> String {
    finite(value).map_or_else(|| MISSING.into(), |v| plain(v, digits))
}

/// A finite number with `digits` digits after the point, in powers of ten where it is beyond all sense.
fn plain(value: f64, digits: usize) -> String {
    minus(if value.abs() < 1e9 { format!("{value:.digits$}") } else { format!("{value:.2e}") })
}

/// `text` (a formatted number) with `+` before it unless it is negative, zero or missing.
#[must_use]
pub fn signed(text: String) -> String {
    let positive = text.chars().any(|c| ('1'..='9').contains(&c)) && !text.starts_with('−');
    if positive { format!("+{text}") } else { text }
}

/// A duration: `850 ms`, `12.3 s`, `2 min 43 s`, `1 h 05 min`.
#[must_use]
pub fn duration(seconds: Option<f64>) -> String {
    let Some(seconds) = finite(seconds).filter(|s| *s >= 0.0) else { return MISSING.into() };
    let whole = seconds.round();
    match seconds {
        s if s < 0.9995 => format!("{:.0}{GAP}ms", s * 1000.0),
        s if s < 59.95 => format!("{s:.1}{GAP}s"),
        _ if whole < 3600.0 => format!("{:.0}{GAP}min {:02.0}{GAP}s", (whole / 60.0).floor(), whole % 60.0),
        _ => format!("{:.0}{GAP}h {:02.0}{GAP}min", (whole / 3600.0).floor(), (whole % 3600.0 / 60.0).floor()),
    }
}

/// Three significant digits, without an exponent between 0.001 and 1000.
fn significant(value: f64) -> String {
    let size = value.abs();
    if size > 0.0 && !(1e-3..1e6).contains(&size) {
        return minus(format!("{value:.2e}"));
    }
    let digits = if size >= 99.95 {
        0
    } else if size >= 9.995 {
        1
    } else if size >= 0.9995 || size == 0.0 {
        2
    } else {
        4
    };
    minus(format!("{value:.digits$}"))
}

/// Puts a true minus sign, and none before a zero.
pub(crate) fn minus(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| matches!(c, '0' | '.')) => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// The value where it is finite.
fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|v| v.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        let cases = [(1_234_567.0, "1.23 M"), (340_000.0, "340 k"), (999_990.0, "1.00 M"), (12.0, "12.0")];
        for (value, expected) in cases {
            assert_eq!(si(Some(value)).replace(GAP, " "), expected);
        }
        assert_eq!(si(Some(-2.5e9)).replace(GAP, " "), "−2.50 G");
        assert_eq!(count(Some(250)), "250");
        assert_eq!(percent(Some(0.125)).replace(GAP, " "), "12.5 %");
    }

    #[test]
    fn missing_numbers_are_a_dash() {
        for value in [None, Some(f64::NAN), Some(f64::INFINITY)] {
            assert_eq!(si(value), MISSING);
            assert_eq!(percent(value), MISSING);
            assert_eq!(duration(value), MISSING);
            assert_eq!(fixed(value, 3), MISSING);
        }
    }

    #[test]
    fn durations_and_signs() {
        let cases = [(0.85, "850 ms"), (12.34, "12.3 s"), (163.0, "2 min 43 s"), (3900.0, "1 h 05 min"), (59.97, "1 min 00 s")];
        for (seconds, expected) in cases {
            assert_eq!(duration(Some(seconds)).replace(GAP, " "), expected);
        }
        assert_eq!(signed(fixed(Some(0.25), 2)), "+0.25");
        assert_eq!(signed(fixed(Some(-0.25), 2)), "−0.25");
        assert_eq!(signed(fixed(Some(-0.0001), 2)), "0.00");
    }
}
