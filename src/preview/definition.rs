//! What a definition tells of rows, rights and policies.

use super::format::short;
use crate::schema_objects::{Definition, ObjectKind, Part, PartKind};

/// The roles that anyone with a public key can use.
const PUBLIC_ROLES: [&str; 3] = ["anon", "authenticated", "public"];

impl Definition {
    fn parts_of(&self, kind: PartKind) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.part == kind)
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = &Part> {
        self.parts_of(PartKind::Column)
    }

    /// The values of an enum.
    pub(super) fn values(&self) -> impl Iterator<Item = &Part> {
        self.parts_of(PartKind::Value)
    }

    /// The policies that let rows through.
    pub(super) fn permissive_policies(&self) -> impl Iterator<Item = &Part> {
        self.parts_of(PartKind::Policy)
            .filter(|policy| !policy.restrictive)
    }

    /// The policies that take away from what permissive ones let through.
    pub(super) fn restrictive_policies(&self) -> impl Iterator<Item = &Part> {
        self.parts_of(PartKind::Policy)
            .filter(|policy| policy.restrictive)
    }

    /// The tables that its rows are rows of too.
    pub(super) fn parents(&self) -> impl Iterator<Item = &Part> {
        self.parts_of(PartKind::Option)
            .filter(|option| ["partition of", "inherits"].contains(&option.name()))
    }

    /// The public roles that get past all checks of rows.
    pub(super) fn open_to(&self) -> Vec<&str> {
        let secure = |kind| self.parts_of(kind).any(|part| part.security);
        let unchecked = match &self.kind {
            ObjectKind::Table => !self
                .parts_of(PartKind::Option)
                .any(|option| option.name() == "row level security"),
            ObjectKind::View => !secure(PartKind::Option),
            ObjectKind::MaterializedView
            | ObjectKind::ForeignTable
            | ObjectKind::Schema
            | ObjectKind::DefaultPrivileges => true,
            ObjectKind::Function | ObjectKind::Procedure => secure(PartKind::Body),
            _ => false,
        };
        self.grantees()
            .filter(|role| unchecked && PUBLIC_ROLES.contains(role))
            .collect()
    }

    /// Whether a role has any privilege, be it of its own or everybody's.
    pub(super) fn is_granted_to(&self, role: &str) -> bool {
        self.grantees()
            .any(|grantee| grantee == role || grantee == "public")
    }

    fn grantees(&self) -> impl Iterator<Item = &str> {
        self.parts_of(PartKind::Grant).map(|grant| {
            // Of a column: `anon (name)`.
            let name = grant.name();
            name.split_once(' ').map_or(name, |(role, _)| role)
        })
    }
}

impl Part {
    /// Of a policy: whether one of these does the same.
    pub(super) fn is_one_of<'a>(&self, mut policies: impl Iterator<Item = &'a Part>) -> bool {
        policies.any(|other| other.definition == self.definition)
    }

    /// Of a partition or an inheriting table: the name of its parent.
    pub(super) fn parent_name(&self) -> &str {
        let ends = [" FOR VALUES ", " DEFAULT"];
        let ends = ends.iter().filter_map(|end| self.definition.find(end));
        short(&self.definition[..ends.min().unwrap_or(self.definition.len())])
    }

    /// Of a column: its number.
    pub(super) fn number(&self) -> Option<u32> {
        self.id.as_ref()?.parse().ok()
    }

    /// Of a column: its type.
    pub(super) fn type_name(&self) -> &str {
        let ends = [" collate ", " not null", " generated ", " default "];
        let ends = ends.iter().filter_map(|end| self.definition.find(end));
        &self.definition[..ends.min().unwrap_or(self.definition.len())]
    }

    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}
