//! The name that somebody meant who wrote another.

/// The known name nearest to `given`, where one is near enough to be what was meant.
pub(crate) fn did_you_mean<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let folded = given.to_lowercase().replace(['-', '_'], "");
    let allowed = 1 + given.chars().count() / 4;
    known
        .map(|name| (distance(&folded, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= allowed && *distance < name.chars().count())
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour: the optimal string alignment
/// distance, by the dynamic programme of Wagner and Fischer.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let a: Vec<char> = a.chars().take(LONGEST).collect();
    let b: Vec<char> = b.chars().take(LONGEST).collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["brokers", "topic", "startFrom", "group", "tls", "sasl"];
        for (given, expected) in [
            ("broker", Some("brokers")),
            ("start_from", Some("startFrom")),
            ("Topic", Some("topic")),
            ("gruop", Some("group")),
            ("ssl", Some("sasl")),
            ("password", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(did_you_mean(given, known.into_iter()), expected, "{given}");
        }
    }
}
