//! What requests are aimed at, and who has to answer there: the book by which a request that came to
//! the wrong app is noticed.

use std::sync::RwLock;
use std::time::SystemTime;

/// An app, or an app and its release as `app@release`; [`NOBODY`] for the edge's 404.
pub type Who = String;

/// Nobody answers there: the host, or the path, is not known.
pub const NOBODY: &str = "nobody";

/// Every place the clients ask at.
#[derive(Debug)]
pub struct Aims {
    list: RwLock<Vec<Aim>>,
}

/// One place.
#[derive(Debug)]
struct Aim {
    host: String,
    /// What the path begins with.
    path: String,
    /// Who may answer from when on; each but the last until the next one's time.
    spans: Vec<(SystemTime, Vec<Who>)>,
    /// It was there from the start and somebody always answers: large bodies can be sent.
    is_steady: bool,
}

/// The place of one request.
#[derive(Clone, Debug)]
pub struct Place {
    pub host: String,
    pub path: String,
    index: usize,
}

impl Aims {
    /// These places; without any, the one of a server with one app.
    pub fn new(places: &[(&str, &str, &str)]) -> Self {
        let only = [("a.test", "", "")];
        let places = if places.is_empty() { &only } else { places };
        let now = SystemTime::now();
        let aim = |(host, path, who): &(&str, &str, &str)| Aim {
            host: (*host).to_owned(),
            path: (*path).to_owned(),
            spans: vec![(now, vec![(*who).to_owned()])],
            is_steady: true,
        };
        Self { list: RwLock::new(places.iter().map(aim).collect()) }
    }

    /// The place for this request.
    pub fn place(&self, number: u64, needs_steady: bool) -> Place {
        let list = self.list.read().expect("the places");
        let fit = |(_, aim): &(usize, &Aim)| aim.is_steady || !needs_steady;
        let fitting: Vec<_> = list.iter().enumerate().filter(fit).collect();
        let turn = usize::try_from(number).expect("a number of requests") % fitting.len();
        let (index, aim) = fitting[turn];
        Place { host: aim.host.clone(), path: aim.path.clone(), index }
    }

    /// From now on the one who answers there may be this one as well. Places that are not known yet
    /// are asked from now on.
    pub fn changing(&self, host: &str, path: &str, who: &str) {
        let mut list = self.list.write().expect("the places");
        let known = list.iter_mut().find(|aim| aim.host == host && aim.path == path);
        let now = SystemTime::now();
        match known {
            Some(aim) => {
                assert!(!(aim.is_steady && who == NOBODY), "{host}{path} was there from the start");
                let (_, mut may) = aim.spans.last().expect("a span").clone();
                if may.last().is_none_or(|last| last != who) {
                    may.push(who.to_owned());
                    aim.spans.push((now, may));
                }
            }
            None => list.push(Aim {
                host: host.to_owned(),
                path: path.to_owned(),
                spans: vec![(now, vec![NOBODY.to_owned(), who.to_owned()])],
                is_steady: false,
            }),
        }
    }

    /// From now on only those answer who were named last.
    pub fn changed(&self) {
        let now = SystemTime::now();
        for aim in self.list.write().expect("the places").iter_mut() {
            let (_, may) = aim.spans.last().expect("a span");
            if let [_, .., last] = may.as_slice() {
                let last = vec![last.clone()];
                aim.spans.push((now, last));
            }
        }
    }

    /// What is wrong when `who` had to do with a request that was sent to `place` in this time.
    pub fn fault(
        &self,
        place: &Place,
        (begun, ended): (SystemTime, SystemTime),
        who: &str,
    ) -> Option<String> {
        let list = self.list.read().expect("the places");
        let aim = &list[place.index];
        let ends = aim.spans.iter().skip(1).map(|(from, _)| Some(*from)).chain([None]);
        let mut may = Vec::new();
        for ((from, names), to) in aim.spans.iter().zip(ends) {
            if *from <= ended && to.is_none_or(|to| begun <= to) {
                may.extend(names.iter());
            }
        }
        let (app, its) = match who.split_once('@') {
            Some((app, its)) => (app, Some(its)),
            None => (who, None),
        };
        let is_right = may.iter().any(|name| {
            let (own, release) = name.split_once('@').unwrap_or((name, ""));
            let is_any = name.is_empty() && app != NOBODY;
            is_any || own == app && (release.is_empty() || its.is_none_or(|its| its == release))
        });
        (!is_right)
            .then(|| format!("misrouted: {who} at {}{}, where {may:?} answer", aim.host, aim.path))
    }
}
