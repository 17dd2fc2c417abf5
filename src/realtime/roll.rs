//! The part of an app's realtime that is one loop's own: its clients, and the groups they are in.

use super::client_id::ClientId;
use super::frame::Frame;
use super::group::GroupName;
use super::item::Close;
use super::letter::{Content, CountFor, Letter, MissedParcel, Parcel};
use super::message::Message;
use crate::limits::CLIENT_GROUP_COUNT;
use std::collections::HashMap;

/// The clients that one loop has of one app. It does what letters say, in their order.
#[derive(Debug, Default)]
pub struct Roll {
    by_id: HashMap<ClientId, u32>,
    members: Vec<Member>,
    vacant_members: Vec<u32>,
    by_name: HashMap<GroupName, u32>,
    groups: Vec<Group>,
    vacant_groups: Vec<u32>,
    /// The number of the letter that is being done: members with it are among its targets.
    pass: u64,
    targets: Vec<Target>,
    links: Vec<Link>,
    settled: Settled,
}

/// A client. A vacant place is in no group.
#[derive(Debug)]
struct Member {
    key: u64,
    memberships: Vec<Membership>,
    pass: u64,
    /// Its place among the targets of the pass.
    target: u32,
}

/// A group that a client is in, and its place among the members there.
#[derive(Clone, Copy, Debug)]
struct Membership {
    group: u32,
    place: u32,
}

#[derive(Debug)]
struct Group {
    name: GroupName,
    /// Each with its place among the memberships there.
    members: Vec<(u32, u32)>,
    /// Letters that were read with a join to it since it is here.
    joins: u64,
}

/// A client that a letter is for.
#[derive(Debug)]
struct Target {
    member: u32,
    /// Its first group among those of the letter: an index of a link.
    first_link: u32,
    last_link: u32,
    /// It is named, not only its groups.
    is_named: bool,
    is_excluded: bool,
}

/// One group of the letter that a target is in.
#[derive(Debug)]
struct Link {
    /// Its place among the groups of the letter.
    group: u32,
    next: u32,
}

/// What is to be done with a client.
#[derive(Clone, Copy, Debug)]
pub enum Deed<'a> {
    /// It gets a frame.
    Send {
        /// The frame.
        frame: &'a Frame,
        /// It may be dropped if the client is slow.
        is_lossy: bool,
        /// Its number in the first of the client's groups that has one: epoch and offset.
        note: Option<(u64, u64)>,
    },
    /// It gets a frame that it missed, whether there is room or not.
    SendMissed {
        /// The frame.
        frame: &'a Frame,
        /// As with [`Deed::Send`]; where the client has to begin anew in one group: where that is.
        note: Option<(u64, u64)>,
    },
    /// It is closed, after what it got before.
    Close(&'a Close),
    /// It did not get a frame, because this loop was too far behind: it is closed with 1013.
    Overflow,
    /// It is in too many groups already: of this instruction it joins none.
    GroupLimit,
}

/// How many clients of this loop got a frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Count {
    /// Who wants to know.
    pub count_for: CountFor,
    /// Clients.
    pub delivered: u64,
    /// Clients of each group that was named.
    pub groups: Vec<(GroupName, u64)>,
}

/// What the hub is to be told from time to time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Settled {
    /// What was read.
    pub(super) bytes: u64,
    /// Groups in which nobody is any more, and how many letters were read with a join to each.
    pub(super) vacated: Vec<(GroupName, u64)>,
}

impl Roll {
    /// Nobody is there.
    pub fn new() -> Self {
        Self::default()
    }

    /// `client` is there and in no group. `key` is the caller's own, and comes back with every deed.
    pub fn enter(&mut self, client: ClientId, key: u64) {
        let member = Member { key, memberships: Vec::new(), pass: 0, target: 0 };
        let index = place(&mut self.members, &mut self.vacant_members, member);
        if let Some(before) = self.by_id.insert(client, index) {
            debug_assert!(false, "{client} is there twice");
            self.vacate(before);
        }
        self.check();
    }

    /// `client` is gone, from all its groups. Its key, if it was there.
    pub fn leave(&mut self, client: ClientId) -> Option<u64> {
        let index = self.by_id.remove(&client)?;
        let key = self.members[index as usize].key;
        self.vacate(index);
        self.check();
        Some(key)
    }

    /// The key of `client`.
    pub fn key(&self, client: ClientId) -> Option<u64> {
        self.by_id.get(&client).map(|index| self.members[*index as usize].key)
    }

    /// How many clients are there.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many groups somebody of this loop is in.
    pub fn group_count(&self) -> usize {
        self.by_name.len()
    }

    /// The groups that `client` is in, in no order.
    pub fn groups_of(&self, client: ClientId) -> impl Iterator<Item = &GroupName> {
        let index = self.by_id.get(&client);
        let memberships = index.map(|index| self.members[*index as usize].memberships.as_slice());
        memberships
            .unwrap_or_default()
            .iter()
            .map(|membership| &self.groups[membership.group as usize].name)
    }

    /// Does what a letter says. `sink` does each deed with the client of a key, at once, and answers
    /// whether a frame was taken: it counts then. What closes clients in the meantime is for later:
    /// [`Self::leave`]. A count is made if somebody wants one.
    pub fn apply(
        &mut self,
        letter: &Letter,
        sink: &mut impl FnMut(u64, Deed<'_>) -> bool,
    ) -> Option<Count> {
        self.settled.bytes += letter.weight();
        let count = match &letter.0 {
            Content::Parcel(parcel) => self.apply_parcel(parcel, sink),
            Content::Missed(parcel) => {
                self.apply_missed(parcel, sink);
                None
            }
        };
        self.check();
        count
    }

    /// What the hub is to be told, if anything: after some letters, and after clients left.
    pub fn take_settled(&mut self) -> Option<Settled> {
        let is_something = self.settled.bytes > 0 || !self.settled.vacated.is_empty();
        is_something.then(|| std::mem::take(&mut self.settled))
    }

    /// Panics when the roll contradicts itself.
    pub fn check_invariants(&self) {
        assert_eq!(
            self.by_id.len() + self.vacant_members.len(),
            self.members.len(),
            "a client leaked"
        );
        assert_eq!(
            self.by_name.len() + self.vacant_groups.len(),
            self.groups.len(),
            "a group leaked"
        );
        let mut membership_count = 0;
        for (client, index) in &self.by_id {
            let member = &self.members[*index as usize];
            assert!(
                member.memberships.len() <= CLIENT_GROUP_COUNT,
                "{client} is in too many groups"
            );
            for (place, membership) in member.memberships.iter().enumerate() {
                let group = &self.groups[membership.group as usize];
                let back = group.members[membership.place as usize];
                assert_eq!(back, (*index, place as u32), "{client} and {} disagree", group.name);
            }
            membership_count += member.memberships.len();
        }
        for (name, index) in &self.by_name {
            let group = &self.groups[*index as usize];
            assert_eq!(group.name, *name, "a name leads elsewhere");
            assert!(!group.members.is_empty(), "nobody is in {name}");
            assert!(group.joins > 0, "{name}: joined without a letter");
            membership_count -= group.members.len();
        }
        assert_eq!(membership_count, 0, "memberships are miscounted");
    }

    fn apply_parcel(
        &mut self,
        parcel: &Parcel,
        sink: &mut impl FnMut(u64, Deed<'_>) -> bool,
    ) -> Option<Count> {
        self.aim(parcel);
        self.change_groups(parcel, sink);
        let (delivered, by_group) = self.deliver(parcel, sink);
        if let Some(close) = &parcel.close {
            for target in &self.targets {
                sink(self.members[target.member as usize].key, Deed::Close(close));
            }
        }
        self.drop_vacant(parcel.joins.iter().chain(&parcel.leaves));
        let groups =
            || parcel.groups.iter().map(|named| named.name.clone()).zip(by_group).collect();
        parcel.count.map(|count_for| Count { count_for, delivered, groups: groups() })
    }

    fn apply_missed(
        &mut self,
        parcel: &MissedParcel,
        sink: &mut impl FnMut(u64, Deed<'_>) -> bool,
    ) {
        let groups: Vec<u32> = parcel.joins.iter().map(|name| self.joined(name)).collect();
        if let Some(index) = self.by_id.get(&parcel.client).copied() {
            for group in groups {
                self.join(index, group);
            }
            let key = self.members[index as usize].key;
            for (frame, note) in &parcel.frames {
                sink(key, Deed::SendMissed { frame, note: *note });
            }
        }
        self.drop_vacant(&parcel.joins);
    }

    /// Finds the clients that a letter is for, each once.
    fn aim(&mut self, parcel: &Parcel) {
        self.targets.clear();
        self.links.clear();
        self.pass += 1;
        for (place, named) in parcel.groups.iter().enumerate() {
            let Some(index) = self.by_name.get(&named.name) else { continue };
            for (member, _) in &self.groups[*index as usize].members {
                let link = self.links.len() as u32;
                self.links.push(Link { group: place as u32, next: NONE });
                let target = target(
                    &mut self.targets,
                    &mut self.members[*member as usize],
                    *member,
                    self.pass,
                );
                match target.last_link {
                    NONE => target.first_link = link,
                    last => self.links[last as usize].next = link,
                }
                target.last_link = link;
            }
        }
        for client in &parcel.clients {
            if let Some(index) = self.by_id.get(client) {
                let member = &mut self.members[*index as usize];
                target(&mut self.targets, member, *index, self.pass).is_named = true;
            }
        }
        for client in &parcel.excludes {
            if let Some(index) = self.by_id.get(client)
                && let member = &self.members[*index as usize]
                && member.pass == self.pass
            {
                self.targets[member.target as usize].is_excluded = true;
            }
        }
    }

    fn change_groups(&mut self, parcel: &Parcel, sink: &mut impl FnMut(u64, Deed<'_>) -> bool) {
        if !parcel.joins.is_empty() {
            let groups: Vec<u32> = parcel.joins.iter().map(|name| self.joined(name)).collect();
            for at in 0..self.targets.len() {
                let index = self.targets[at].member;
                let member = &self.members[index as usize];
                let new = groups.iter().filter(|group| !member.is_in(**group)).count();
                if member.memberships.len() + new > CLIENT_GROUP_COUNT {
                    sink(member.key, Deed::GroupLimit);
                } else {
                    groups.iter().for_each(|group| self.join(index, *group));
                }
            }
        }
        for name in &parcel.leaves {
            let Some(group) = self.by_name.get(name).copied() else { continue };
            for at in 0..self.targets.len() {
                self.part(self.targets[at].member, group);
            }
        }
    }

    /// Gives the frame to whoever is to get it: how many took it, in all and of each group.
    fn deliver(
        &self,
        parcel: &Parcel,
        sink: &mut impl FnMut(u64, Deed<'_>) -> bool,
    ) -> (u64, Vec<u64>) {
        let mut delivered = 0;
        let mut by_group = vec![0; parcel.groups.len()];
        if !parcel.has_payload() && !parcel.is_lost {
            return (delivered, by_group);
        }
        let mut numbered = Numbered::default();
        for target in self.targets.iter().filter(|target| !target.is_excluded) {
            let key = self.members[target.member as usize].key;
            let groups = || self.links_of(target).map(|link| &parcel.groups[link.group as usize]);
            let is_lossy = !target.is_named && groups().all(|named| named.is_lossy);
            if parcel.is_lost {
                // Who may lose some stays.
                if !is_lossy {
                    sink(key, Deed::Overflow);
                }
                continue;
            }
            numbered.set(groups().filter_map(|named| named.note));
            let (frame, note) = match (&parcel.message, &parcel.frame) {
                (Some(message), _) if !numbered.places.is_empty() => numbered.of(message),
                (_, Some(plain)) => (plain, None),
                (_, None) => continue,
            };
            if sink(key, Deed::Send { frame, is_lossy, note }) {
                delivered += 1;
                for link in self.links_of(target) {
                    by_group[link.group as usize] += 1;
                }
            }
        }
        (delivered, by_group)
    }

    fn links_of(&self, target: &Target) -> impl Iterator<Item = &Link> + Clone {
        let link = |index: u32| self.links.get(index as usize);
        std::iter::successors(link(target.first_link), move |before| link(before.next))
    }

    /// The group, which is here from now on: a letter with a join to it is being done.
    fn joined(&mut self, name: &GroupName) -> u32 {
        let index = match self.by_name.get(name) {
            Some(index) => *index,
            None => {
                let group = Group { name: name.clone(), members: Vec::new(), joins: 0 };
                let index = place(&mut self.groups, &mut self.vacant_groups, group);
                self.by_name.insert(name.clone(), index);
                index
            }
        };
        self.groups[index as usize].joins += 1;
        index
    }

    fn join(&mut self, index: u32, group: u32) {
        let member = &mut self.members[index as usize];
        if !member.is_in(group) {
            let members = &mut self.groups[group as usize].members;
            let place = members.len() as u32;
            members.push((index, member.memberships.len() as u32));
            member.memberships.push(Membership { group, place });
        }
    }

    fn part(&mut self, index: u32, group: u32) {
        let memberships = &mut self.members[index as usize].memberships;
        let Some(at) = memberships.iter().position(|membership| membership.group == group) else {
            return;
        };
        let place = memberships.swap_remove(at).place;
        // Whoever took the vacated places is told its new one.
        if let Some(moved) = memberships.get(at) {
            self.groups[moved.group as usize].members[moved.place as usize].1 = at as u32;
        }
        let members = &mut self.groups[group as usize].members;
        members.swap_remove(place as usize);
        if let Some((moved, membership)) = members.get(place as usize).copied() {
            self.members[moved as usize].memberships[membership as usize].place = place;
        }
    }

    /// Takes a client out of all its groups.
    fn vacate(&mut self, index: u32) {
        while let Some(Membership { group, .. }) =
            self.members[index as usize].memberships.last().copied()
        {
            self.part(index, group);
            self.drop_if_vacant(group);
        }
        self.members[index as usize].memberships = Vec::new();
        self.vacant_members.push(index);
    }

    fn drop_vacant<'a>(&mut self, names: impl IntoIterator<Item = &'a GroupName>) {
        for name in names {
            if let Some(group) = self.by_name.get(name) {
                self.drop_if_vacant(*group);
            }
        }
    }

    /// A group without members is forgotten, and the hub told.
    fn drop_if_vacant(&mut self, index: u32) {
        let group = &mut self.groups[index as usize];
        if group.members.is_empty() {
            let joins = std::mem::take(&mut group.joins);
            group.members = Vec::new();
            self.by_name.remove(&group.name);
            self.settled.vacated.push((group.name.clone(), joins));
            self.vacant_groups.push(index);
        }
    }

    #[inline]
    fn check(&self) {
        if cfg!(debug_assertions) && self.members.len() + self.groups.len() < 100 {
            self.check_invariants();
        }
    }
}

impl Member {
    fn is_in(&self, group: u32) -> bool {
        self.memberships.iter().any(|membership| membership.group == group)
    }
}

/// The numbers that a client is told, and the frame that says them: mostly the same for the next one.
#[derive(Default)]
struct Numbered {
    places: Vec<u32>,
    frame: Option<Frame>,
}

impl Numbered {
    fn set(&mut self, places: impl Iterator<Item = u32> + Clone) {
        if !places.clone().eq(self.places.iter().copied()) {
            self.places.clear();
            self.places.extend(places);
            self.frame = None;
        }
    }

    fn of(&mut self, message: &Message) -> (&Frame, Option<(u64, u64)>) {
        let note = message.position(&self.places);
        (self.frame.get_or_insert_with(|| message.frame(&self.places)), note)
    }
}

/// The target of `member`, which is one from now on.
fn target<'a>(
    targets: &'a mut Vec<Target>,
    member: &mut Member,
    index: u32,
    pass: u64,
) -> &'a mut Target {
    if member.pass != pass {
        member.pass = pass;
        member.target = targets.len() as u32;
        targets.push(Target {
            member: index,
            first_link: NONE,
            last_link: NONE,
            is_named: false,
            is_excluded: false,
        });
    }
    &mut targets[member.target as usize]
}

/// Puts a value where there is room.
fn place<T>(values: &mut Vec<T>, vacant: &mut Vec<u32>, value: T) -> u32 {
    match vacant.pop() {
        Some(index) => {
            values[index as usize] = value;
            index
        }
        None => {
            values.push(value);
            (values.len() - 1) as u32
        }
    }
}

const NONE: u32 = u32::MAX;
