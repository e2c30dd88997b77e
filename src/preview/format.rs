//! Names and numbers as a person reads them.

/// Without the schema that everything is in.
pub(crate) fn short(name: &str) -> &str {
    name.strip_prefix("public.").unwrap_or(name)
}

/// As PostgreSQL's `pg_size_pretty` counts, with one more digit.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut size = number as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1000.0 && unit < UNITS.len() - 1 {
        size /= 1024.0;
        unit += 1;
    }
    match size {
        _ if number < 1024 => format!("{number} bytes"),
        size if size < 10.0 => format!("{size:.1} {}", UNITS[unit]),
        size => format!("{size:.0} {}", UNITS[unit]),
    }
}

pub(super) fn duration(ms: u64) -> String {
    match ms {
        0..10_000 => format!("about {}.{} s", ms / 1000, ms % 1000 / 100),
        10_000..120_000 => format!("about {} s", ms / 1000),
        _ => format!("about {} min", ms / 60_000),
    }
}

/// A number with its unit, in groups of three digits.
pub(super) fn count(number: u64, unit: &str) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} {unit}{}", if number == 1 { "" } else { "s" })
}
