//! The word somebody probably meant.

/// The one of `known` nearest to `word`, when it is near enough to be meant: one slip, in longer
/// words one in three letters. Case does not count.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let word: Vec<char> = word.to_lowercase().chars().collect();
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| {
            let lower: Vec<char> = candidate.to_lowercase().chars().collect();
            (slips(&word, &lower), candidate)
        })
        .filter(|(slips, candidate)| *slips <= (word.len().max(candidate.len()) / 3).max(1))
        .min_by_key(|(slips, _)| *slips)
        .filter(|(slips, candidate)| *slips < candidate.len())
        .map(|(_, candidate)| candidate)
}

/// Letters added, dropped, changed, or swapped with their neighbour between `left` and `right`.
fn slips(left: &[char], right: &[char]) -> usize {
    // The last three rows of the table of distances between beginnings.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, here) in left.iter().enumerate() {
        let mut row = Vec::with_capacity(last.len());
        row.push(i + 1);
        for (j, there) in right.iter().enumerate() {
            let of = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let changed = of(&last, j) + usize::from(here != there);
            let mut least = changed.min(of(&last, j + 1) + 1).min(of(&row, j) + 1);
            let swapped =
                i > 0 && j > 0 && left.get(i - 1) == Some(there) && right.get(j - 1) == Some(here);
            if swapped {
                least = least.min(of(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

/// Longer words are not compared: they are no slips of the finger.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["workers", "watch", "max-queue", "user"];
        for (word, meant) in [
            ("worker", Some("workers")),
            ("wrokers", Some("workers")),
            ("max_queue", Some("max-queue")),
            ("maxQueue", Some("max-queue")),
            ("USER", Some("user")),
            ("x", None),
            ("something", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(nearest(&"w".repeat(1000), known), None);
    }
}
