//! What the rules of the language are made of.

use crate::edgefile::kind::Kind;

/// What may be written of one node.
#[derive(Clone, Copy, Debug)]
pub(in crate::edgefile) struct NodeRule {
    pub name: &'static str,
    /// One line, for who reads the schema.
    pub doc: &'static str,
    pub arguments: Arguments,
    pub properties: &'static [PropertyRule],
    /// Properties whose names the file chooses.
    pub free: Option<Free>,
    pub children: &'static [NodeRule],
    /// May stand more than once in its block.
    pub is_many: bool,
    /// Must stand in its block.
    pub is_required: bool,
    /// This version does what it says.
    pub is_served: bool,
    /// What holds without it, in words.
    pub default: &'static str,
}

/// Values by position.
#[derive(Clone, Copy, Debug)]
pub(in crate::edgefile) enum Arguments {
    None,
    One(&'static str, Kind),
    Maybe(&'static str, Kind),
    /// At least one.
    Many(&'static str, Kind),
}

/// A value by name.
#[derive(Clone, Copy, Debug)]
pub(in crate::edgefile) struct PropertyRule {
    pub name: &'static str,
    pub kind: Kind,
    pub doc: &'static str,
    /// What holds without it, in words.
    pub default: &'static str,
}

/// Values whose names the file chooses.
#[derive(Clone, Copy, Debug)]
pub(in crate::edgefile) struct Free {
    /// What a name is, in capitals.
    pub name: &'static str,
    pub names: Kind,
    pub values: Kind,
    /// May also be nodes of a block: `NAME "value"`.
    pub as_children: bool,
}

/// A node without anything, that may stand once.
pub(super) const fn node(name: &'static str, doc: &'static str) -> NodeRule {
    NodeRule {
        name,
        doc,
        arguments: Arguments::None,
        properties: &[],
        free: None,
        children: &[],
        is_many: false,
        is_required: false,
        is_served: true,
        default: "",
    }
}

impl NodeRule {
    pub(super) const fn one(mut self, name: &'static str, kind: Kind) -> Self {
        self.arguments = Arguments::One(name, kind);
        self
    }

    pub(super) const fn maybe(mut self, name: &'static str, kind: Kind) -> Self {
        self.arguments = Arguments::Maybe(name, kind);
        self
    }

    pub(super) const fn list(mut self, name: &'static str, kind: Kind) -> Self {
        self.arguments = Arguments::Many(name, kind);
        self
    }

    pub(super) const fn properties(mut self, properties: &'static [PropertyRule]) -> Self {
        self.properties = properties;
        self
    }

    pub(super) const fn free(mut self, free: Free) -> Self {
        self.free = Some(free);
        self
    }

    pub(super) const fn children(mut self, children: &'static [NodeRule]) -> Self {
        self.children = children;
        self
    }

    pub(super) const fn many(mut self) -> Self {
        self.is_many = true;
        self
    }

    pub(super) const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    pub(super) const fn later(mut self) -> Self {
        self.is_served = false;
        self
    }

    pub(super) const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }
}

/// A property that may be left out.
pub(super) const fn property(name: &'static str, kind: Kind, doc: &'static str) -> PropertyRule {
    PropertyRule { name, kind, doc, default: "" }
}

impl PropertyRule {
    pub(super) const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }
}
