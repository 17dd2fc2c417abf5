//! Doubly linked lists threaded through a slice: adding and taking out cost the same at any length
//! and allocate nothing.

/// A member's neighbours. A member is in one list at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Links {
    previous: u32,
    next: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self { previous: NONE, next: NONE }
    }
}

/// What can be a member of a [`List`].
pub(super) trait Linked {
    /// Its neighbours.
    fn links(&self) -> &Links;
    /// Its neighbours, to be changed by the list only.
    fn links_mut(&mut self) -> &mut Links;
}

/// The ends of one list; the members are named by their index in the slice given to each call.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    head: u32,
    tail: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NONE, tail: NONE }
    }
}

impl List {
    /// Adds `index`, which is in no list, before all others.
    pub(super) fn push_front<T: Linked>(&mut self, nodes: &mut [T], index: u32) {
        *nodes[index as usize].links_mut() = Links { previous: NONE, next: self.head };
        match self.head {
            NONE => self.tail = index,
            head => nodes[head as usize].links_mut().previous = index,
        }
        self.head = index;
    }

    /// Adds `index`, which is in no list, after all others.
    pub(super) fn push_back<T: Linked>(&mut self, nodes: &mut [T], index: u32) {
        *nodes[index as usize].links_mut() = Links { previous: self.tail, next: NONE };
        match self.tail {
            NONE => self.head = index,
            tail => nodes[tail as usize].links_mut().next = index,
        }
        self.tail = index;
    }

    /// Takes out `index`, which is in this list.
    pub(super) fn unlink<T: Linked>(&mut self, nodes: &mut [T], index: u32) {
        let links = std::mem::take(nodes[index as usize].links_mut());
        match links.previous {
            NONE => self.head = links.next,
            previous => nodes[previous as usize].links_mut().next = links.next,
        }
        match links.next {
            NONE => self.tail = links.previous,
            next => nodes[next as usize].links_mut().previous = links.previous,
        }
    }

    /// Takes out the first member.
    pub(super) fn pop_front<T: Linked>(&mut self, nodes: &mut [T]) -> Option<u32> {
        let head = self.first()?;
        self.unlink(nodes, head);
        Some(head)
    }

    /// The first member.
    pub(super) fn first(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    /// True when there is no member.
    pub(super) fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// The members in order.
    pub(super) fn iter<'a, T: Linked>(&self, nodes: &'a [T]) -> impl Iterator<Item = u32> + 'a {
        std::iter::successors(self.first(), |index| {
            let next = nodes[*index as usize].links().next;
            (next != NONE).then_some(next)
        })
    }
}

const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, Xoshiro};

    #[derive(Clone, Default)]
    struct Node(Links);

    impl Linked for Node {
        fn links(&self) -> &Links {
            &self.0
        }
        fn links_mut(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    #[test]
    fn behaves_like_a_vector() {
        let mut random = Xoshiro::new(9);
        let mut nodes = vec![Node::default(); 40];
        let (mut list, mut model) = (List::default(), Vec::<u32>::new());
        for _ in 0..4000 {
            let index = random.below(40) as u32;
            match model.iter().position(|member| *member == index) {
                Some(position) => {
                    list.unlink(&mut nodes, index);
                    model.remove(position);
                }
                None if random.below(2) == 0 => {
                    list.push_front(&mut nodes, index);
                    model.insert(0, index);
                }
                None => {
                    list.push_back(&mut nodes, index);
                    model.push(index);
                }
            }
            if random.below(10) == 0 {
                let expected = (!model.is_empty()).then(|| model.remove(0));
                assert_eq!(list.pop_front(&mut nodes), expected);
            }
            assert!(list.iter(&nodes).eq(model.iter().copied()));
            assert_eq!(list.is_empty(), model.is_empty());
        }
    }
}
