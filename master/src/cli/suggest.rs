//! The word somebody probably meant.

/// The one of `known` nearest to `word`, when it is near enough to be meant: one slip, in longer
/// words one in three letters. Case does not count.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().collect();
    known
        .iter()
        .map(|candidate| (slips(&word, &candidate.chars().collect::<Vec<_>>()), *candidate))
        .filter(|(slips, candidate)| *slips <= (word.len().max(candidate.len()) / 3).max(1))
        .min_by_key(|(slips, _)| *slips)
        .filter(|(slips, candidate)| *slips < candidate.len())
        .map(|(_, candidate)| candidate)
}

/// Letters added, dropped, changed, or swapped with their neighbour between `left` and `right`.
fn slips(left: &[char], right: &[char]) -> usize {
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=left.len() {
        for j in 1..=right.len() {
            let changed = usize::from(left[i - 1] != right[j - 1]);
            let mut least =
                (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + changed);
            let swapped =
                i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
            if swapped {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["http", "https", "w", "c", "r", "builtin"];
        for (word, meant) in [
            ("htp", Some("http")),
            ("htpp", Some("http")),
            ("HTTP", Some("http")),
            ("htttps", Some("https")),
            ("bultin", Some("builtin")),
            ("W", Some("w")),
            ("x", None),
            ("rome", None),
            ("flask", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
    }
}
