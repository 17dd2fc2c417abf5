//! Which certificate is for whom when several are for the same name.
//!
//! Each certificate claims names. For a name, what an operator said of it counts more than what was
//! merely found, and every certificate that is good today more than those that are not: who has two
//! for a name and lets one expire is served with the other. What is made here, or got here, stands
//! behind what an operator gave, even where that is for a wildcard.

use super::select::ByName;

/// Where a certificate was found. The smaller one is preferred.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Origin {
    /// Files that the configuration names.
    Files,
    /// A directory of certificates.
    Directory,
    /// An ACME authority.
    Acme,
    /// The machine's own local authority.
    Local,
    /// Made for the moment, until there is a better one.
    Temporary,
}

/// What one certificate can be served for.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Where it was found.
    pub origin: Origin,
    /// Today is one of its days.
    pub is_current: bool,
    /// The hosts that the configuration says it is for; `*` are all that nobody else is for.
    pub hosts: &'a [String],
    /// The names it has itself.
    pub names: &'a [String],
}

/// Who gets which certificate, by the positions of `claims`. `refused` are names that get none unless
/// one is for them; other names that none is for get the default: that of the host `*`, else the best
/// one.
pub fn arrange(claims: &[Claim<'_>], refused: &[String]) -> ByName {
    let mut ranked: Vec<(usize, &Claim<'_>)> = claims.iter().enumerate().collect();
    ranked.sort_by_key(|(_, claim)| (!claim.is_current, claim.origin));
    let mut by_name = ByName::default();
    // What is declared counts more than the names of another certificate of the same origin.
    for tier in ranked.chunk_by(|(_, one), (_, other)| is_tier(one, other)) {
        let hosts = tier.iter().flat_map(|(at, claim)| claim.hosts.iter().map(|host| (host, *at)));
        let names = tier.iter().flat_map(|(at, claim)| claim.names.iter().map(|name| (name, *at)));
        let is_given = tier.first().is_some_and(|(_, claim)| claim.origin <= Origin::Directory);
        let claimed: Vec<_> = hosts
            .filter(|(host, _)| *host != "*")
            .chain(names)
            .filter(|(name, _)| is_given || by_name.named(name).is_none())
            .collect();
        claimed.into_iter().for_each(|(name, position)| by_name.add(name, position));
    }
    let for_all = |(_, claim): &&(usize, &Claim<'_>)| claim.hosts.iter().any(|host| host == "*");
    if let Some((position, _)) = ranked.iter().find(for_all).or(ranked.first()) {
        by_name.set_default(*position);
    }
    for name in refused.iter().filter(|name| by_name.named(name).is_none()).collect::<Vec<_>>() {
        by_name.refuse(name);
    }
    by_name
}

fn is_tier(one: &Claim<'_>, other: &Claim<'_>) -> bool {
    (one.is_current, one.origin) == (other.is_current, other.origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// Who gets what, of claims written as origin, hosts, names; a minus marks those of other days.
    fn arranged(written: &[(Origin, &str, &str)], refused: &str) -> ByName {
        let parts: Vec<_> = written
            .iter()
            .map(|(origin, hosts, names)| {
                let is_current = !hosts.starts_with('-');
                (*origin, is_current, words(hosts.trim_start_matches('-')), words(names))
            })
            .collect();
        let claims: Vec<_> = parts
            .iter()
            .map(|(origin, is_current, hosts, names)| Claim {
                origin: *origin,
                is_current: *is_current,
                hosts,
                names,
            })
            .collect();
        arrange(&claims, &words(refused))
    }

    #[test]
    fn what_is_said_counts_more_than_what_is_found() {
        let by_name = arranged(
            &[
                (Origin::Temporary, "a.x", "a.x"),
                (Origin::Local, "a.x", "a.x localhost"),
                (Origin::Acme, "b.x", "b.x"),
                (Origin::Directory, "", "a.x b.x *.x"),
                (Origin::Files, "a.x", "a.x b.x"),
                (Origin::Files, "b.x", "b.x"),
            ],
            "",
        );
        for (name, expected) in [("a.x", 4), ("b.x", 5), ("c.x", 3), ("localhost", 1), ("y", 4)] {
            assert_eq!(by_name.select(Some(name)), Some(expected), "{name}");
        }
        assert_eq!(by_name.select(None), Some(4), "the first of the best");
    }

    #[test]
    fn a_wildcard_that_was_given_is_for_every_name_below_it() {
        let (directory, acme, local) = (Origin::Directory, Origin::Acme, Origin::Local);
        let by_name = arranged(
            &[
                (local, "b.x c.y", "b.x c.y"),
                (acme, "a.x", "a.x"),
                (directory, "", "*.x"),
                (local, "*.y d.y", "*.y d.y"),
            ],
            "",
        );
        for (name, expected) in [("a.x", 2), ("b.x", 2), ("c.y", 0), ("d.y", 3), ("e.y", 3)] {
            assert_eq!(by_name.select(Some(name)), Some(expected), "{name}");
        }
        let by_name = arranged(&[(directory, "-", "*.x"), (acme, "a.x", "a.x")], "");
        assert_eq!(by_name.select(Some("a.x")), Some(1), "it has expired");
    }

    #[test]
    fn a_certificate_of_other_days_stands_behind_all_others() {
        let by_name =
            arranged(&[(Origin::Files, "-a.x", "a.x b.x"), (Origin::Directory, "", "a.x")], "");
        assert_eq!(by_name.select(Some("a.x")), Some(1));
        assert_eq!(by_name.select(Some("b.x")), Some(0), "better than none");
        assert_eq!(by_name.select(None), Some(1));
    }

    #[test]
    fn the_star_is_for_those_nobody_else_is_for() {
        let files = Origin::Files;
        let by_name = arranged(&[(files, "a.x", "a.x"), (files, "*", "b.x")], "");
        assert_eq!(by_name.select(Some("a.x")), Some(0));
        assert_eq!(by_name.select(Some("c.x")), Some(1));
        assert_eq!(by_name.select(None), Some(1));
    }

    #[test]
    fn refused_names_get_nothing_unless_one_is_for_them() {
        let by_name = arranged(&[(Origin::Directory, "", "*.x")], "a.x A.Y");
        assert_eq!(by_name.select(Some("a.x")), Some(0));
        assert_eq!(by_name.select(Some("a.y")), None);
        assert_eq!(by_name.select(Some("a.Y.")), None);
        assert_eq!(by_name.select(Some("b.y")), Some(0));
        assert_eq!(by_name.select(None), Some(0));
    }
}
