//! Bytes as people read them: three digits and decimal units, as `docker images`, disks and registries count them. Every
//! size that this program tells people is written here; JSON has the exact number.

/// The units, the largest first.
const UNITS: [(f64, &str); 4] = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];

/// `999 B`, `65.2 kB`, `505 MB`, `1.23 GB`.
pub fn size(bytes: u64) -> String {
    let exact = bytes as f64;
    // What rounds to 1000 is told in the next unit.
    let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| exact >= unit * 0.9995) else { return format!("{bytes} B") };
    let value = exact / unit;
    let digits = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {name}")
}

/// `+12.3 MB`, `-1.00 kB`; nothing where both are the same.
pub fn growth(before: u64, after: u64) -> String {
    match before.cmp(&after) {
        std::cmp::Ordering::Equal => String::new(),
        std::cmp::Ordering::Less => format!("+{}", size(after - before)),
        std::cmp::Ordering::Greater => format!("-{}", size(before - after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_decimal_units() {
        for (bytes, words) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (1005, "1.00 kB"),
            (9_994, "9.99 kB"),
            (9_995, "10.0 kB"),
            (65_234, "65.2 kB"),
            (99_949, "99.9 kB"),
            (99_950, "100 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (412_300_000, "412 MB"),
            (505_400_000, "505 MB"),
            (999_600_000, "1.00 GB"),
            (1_230_000_000, "1.23 GB"),
            (1_933_000_000, "1.93 GB"),
            (2_500_000_000_000, "2.50 TB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(size(bytes), words, "{bytes}");
        }
    }

    #[test]
    fn what_grows_and_shrinks() {
        for (before, after, words) in
            [(1, 1, ""), (1, 3, "+2 B"), (2_000_000, 0, "-2.00 MB"), (0, 1_234, "+1.23 kB"), (412_300_500, 412_300_000, "-500 B")]
        {
            assert_eq!(growth(before, after), words);
        }
    }
}
