//! What a change means for the user, from what was seen of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    ColumnEffect, LockMode, PreviewState, RowChange, SeenColumn, SeenObject, SeenRewrite,
    SeenVersion, TableFacts, TableLock, Unfinished,
    format::{bytes, count, duration, short},
    rows::Rows,
};
use crate::{
    ledger::Action,
    manifest::Version,
    schema_objects::{Definition, ObjectKind, Part},
};

/// A version that takes longer gets a warning, in milliseconds.
const SLOW: u64 = 1_000;

/// Something that the user should know before agreeing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Warning {
    /// Its kind.
    pub kind: WarningKind,
    /// What the version does, without a capital and without a full stop: "deletes the column …".
    pub message: String,
}

impl Warning {
    /// That these objects, each with its kind, were changed by hand.
    pub(super) fn of_drift(objects: &[String]) -> Option<Self> {
        const SHOWN: usize = 3;
        if objects.is_empty() {
            return None;
        }
        let names = objects.iter().map(|name| name.replacen(" public.", " ", 1));
        let mut names: Vec<_> = names.take(SHOWN).collect();
        if objects.len() > SHOWN {
            names.push(format!("{} more", objects.len() - SHOWN));
        }
        let message = format!(
            "accepts what was changed by hand ({}): `verify` reports it only until then",
            names.join(", ")
        );
        Some(Self {
            kind: WarningKind::Drifted,
            message,
        })
    }
}

/// Kinds of warnings, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum WarningKind {
    /// Data is lost.
    DataLost,
    /// Other roles can read or change data that they could not before.
    Opened,
    /// Existing rows are changed, or leave the table with their partition.
    RowsChanged,
    /// A rollback does not restore what its version deleted or changed.
    NotRestored,
    /// A sequence is set back, so that new rows may get numbers that are in use.
    SequenceReset,
    /// The preview has left something that a rollback does not remove, such as a replication slot.
    LeftBehind,
    /// A table with rows is rewritten.
    Rewritten,
    /// A table is locked for a long time.
    Locked,
    /// It takes a long time, or more than the budget.
    Slow,
    /// Something that others may use is deleted.
    Dropped,
    /// Something that others may use is renamed.
    Renamed,
    /// Rows need a value that was optional before.
    Required,
    /// The schema was changed by hand before. What is applied records it as it is then, and
    /// [`verify`](crate::SchemaVersionManager::verify) no longer reports the change.
    Drifted,
}

impl WarningKind {
    /// Whether a backup is recommended.
    #[must_use]
    pub fn touches_data(self) -> bool {
        match self {
            Self::DataLost | Self::RowsChanged | Self::Rewritten => true,
            Self::Opened
            | Self::NotRestored
            | Self::SequenceReset
            | Self::LeftBehind
            | Self::Locked
            | Self::Slow
            | Self::Dropped
            | Self::Renamed
            | Self::Required
            | Self::Drifted => false,
        }
    }
}

/// The facts about tables, by their number.
pub(super) struct Tables(BTreeMap<String, TableFacts>);

impl Tables {
    pub(super) fn new(tables: Vec<TableFacts>) -> Self {
        Self(
            tables
                .into_iter()
                .map(|table| (table.id.clone(), table))
                .collect(),
        )
    }

    pub(super) fn get(&self, id: &str) -> Option<&TableFacts> {
        self.0.get(id)
    }

    /// The table, if there is something in it that can be lost. What came with an earlier version
    /// of the same preview holds nothing of the user's.
    fn with_rows(&self, id: &str) -> Option<&TableFacts> {
        self.get(id).filter(|table| table.has_rows)
    }
}

/// The warnings about a version, the most severe first.
pub(super) fn warnings(
    action: Action,
    version: Version,
    seen: &SeenVersion,
    rows: &[(RowChange, Rows)],
    tables: &Tables,
) -> Vec<Warning> {
    let mut warnings = Warnings {
        tables,
        found: Vec::new(),
    };
    for object in &seen.objects {
        match (&object.before, &object.after) {
            (Some(before), None) => warnings.dropped(before),
            (Some(before), Some(after)) => warnings.changed(before, after),
            (None, _) => {}
        }
        if action == Action::Rollback {
            warnings.not_restored(version, object);
        }
        warnings.opened(object);
    }
    for column in &seen.columns {
        warnings.altered(column);
    }
    for rewrite in &seen.rewrites {
        warnings.rewritten(rewrite, rows);
    }
    for (rows, kind) in rows {
        warnings.rows_changed(rows, *kind);
    }
    if seen.large_objects > 0 {
        let objects = count(seen.large_objects, "large object");
        warnings.add(WarningKind::DataLost, format!("deletes {objects}"));
    }
    for sequence in &seen.restarted {
        let name = short(&sequence.relation);
        let does = match sequence.from {
            Some(_) => format!("sets the sequence {name} back"),
            None => format!("starts the sequence {name} where its column already has numbers"),
        };
        warnings.add(
            WarningKind::SequenceReset,
            format!("{does}: new rows may get numbers that are in use"),
        );
    }
    for slot in &seen.slots {
        warnings.add(
            WarningKind::LeftBehind,
            format!(
                "creates the replication slot {slot}, which undoing this test does not remove: \
                 while it exists, the database keeps its log files and the disk fills up"
            ),
        );
    }
    warnings.slow(seen);
    warnings.found.sort_by_key(|warning| warning.kind);
    warnings.found
}

impl TableLock {
    /// What the app cannot do with the table meanwhile.
    pub(super) fn prevents(&self) -> Option<&'static str> {
        match self.mode {
            LockMode::AccessExclusive => Some("read or changed"),
            LockMode::Exclusive | LockMode::ShareRowExclusive | LockMode::Share => Some("changed"),
            LockMode::AccessShare
            | LockMode::RowShare
            | LockMode::RowExclusive
            | LockMode::ShareUpdateExclusive => None,
        }
    }
}

struct Warnings<'a> {
    tables: &'a Tables,
    found: Vec<Warning>,
}

impl Warnings<'_> {
    fn add(&mut self, kind: WarningKind, message: String) {
        self.found.push(Warning { kind, message });
    }

    fn dropped(&mut self, before: &Definition) {
        let (kind, name) = (&before.kind, short(&before.name));
        match self.tables.with_rows(&before.id) {
            Some(table) if *kind == ObjectKind::Table => self.add(
                WarningKind::DataLost,
                format!("deletes the table {name} and its data ({})", extent(table)),
            ),
            _ => self.add(
                WarningKind::Dropped,
                format!("deletes the {kind} {name}: anything that still uses it will fail"),
            ),
        }
    }

    fn changed(&mut self, before: &Definition, after: &Definition) {
        let name = short(&after.name);
        if before.name != after.name {
            let (kind, old) = (&before.kind, short(&before.name));
            self.add(
                WarningKind::Renamed,
                format!(
                    "renames the {kind} {old} to {name}: anything that uses the old name will fail"
                ),
            );
        }
        if let Some(table) = self.tables.with_rows(&before.id) {
            for parent in before.parents() {
                if !after.parents().any(|now| now.id == parent.id) {
                    let (parent, extent) = (parent.parent_name(), extent(table));
                    self.add(
                        WarningKind::RowsChanged,
                        format!("takes {name} and its rows out of {parent} ({extent})"),
                    );
                }
            }
        }
        let column = column_of(before);
        for old in before.columns() {
            let old_name = old.name();
            match after.columns().find(|new| new.id == old.id) {
                None => self.dropped_column(before, old),
                Some(new) => {
                    if new.name != old.name {
                        let new = new.name();
                        self.add(
                            WarningKind::Renamed,
                            format!("renames the {column} {old_name} of {name} to {new}: anything that uses the old name will fail"),
                        );
                    }
                    if new.required && !old.required {
                        self.add(
                            WarningKind::Required,
                            format!("makes the column {} of {name} required", new.name()),
                        );
                    }
                }
            }
        }
        for new in after.columns().filter(|new| new.required && !new.filled) {
            if !before.columns().any(|old| old.id == new.id) {
                let column = new.name();
                self.add(
                    WarningKind::Required,
                    format!(
                        "adds the required column {column} to {name}: rows without it will be refused"
                    ),
                );
            }
        }
        for old in before.values() {
            let new = after.values().find(|new| new.id == old.id);
            if let Some(new) = new.filter(|new| new.name != old.name) {
                let (old, new) = (old.name(), new.name());
                self.add(
                    WarningKind::Renamed,
                    format!("renames the value {old} of {name} to {new}: anything that uses the old name will fail"),
                );
            }
        }
    }

    fn dropped_column(&mut self, before: &Definition, column: &Part) {
        let (what, name, table) = (column_of(before), column.name(), short(&before.name));
        let facts = self.tables.with_rows(&before.id);
        let number = column.number();
        if !column.generated
            && facts
                .is_some_and(|facts| number.is_some_and(|number| facts.filled.contains(&number)))
        {
            self.add(
                WarningKind::DataLost,
                format!("deletes the {what} {name} of {table} and the data in it"),
            );
        } else {
            self.add(
                WarningKind::Dropped,
                format!(
                    "deletes the {what} {name} of {table}: anything that still uses it will fail"
                ),
            );
        }
    }

    fn altered(&mut self, column: &SeenColumn) {
        let (name, table) = (&column.name, short(&column.relation));
        let effect = self
            .tables
            .get(&column.id)
            .into_iter()
            .flat_map(|facts| &facts.altered)
            .find(|altered| altered.number == column.number)
            .and_then(|altered| altered.effect);
        let (kind, verb) = match effect {
            None => return,
            Some(ColumnEffect::Deleted) => (WarningKind::DataLost, "deletes"),
            Some(ColumnEffect::Rounded) => (WarningKind::DataLost, "rounds or shortens"),
            Some(ColumnEffect::Replaced) => (WarningKind::DataLost, "overwrites"),
            Some(ColumnEffect::Recomputed) => (WarningKind::RowsChanged, "changes"),
        };
        self.add(
            kind,
            format!("{verb} values in the column {name} of {table}"),
        );
    }

    /// What a rollback cannot bring back, because the version that it rolls back had lost it.
    fn not_restored(&mut self, version: Version, object: &SeenObject) {
        match (&object.before, &object.after) {
            (None, Some(after)) if after.kind == ObjectKind::Table => {
                let name = short(&after.name);
                self.add(
                    WarningKind::NotRestored,
                    format!("restores the table {name} without its rows, which version {version} deleted"),
                );
            }
            (Some(before), Some(after)) if after.kind == ObjectKind::Table => {
                let table = short(&after.name);
                for new in after.columns().filter(|new| !new.generated) {
                    let name = new.name();
                    match before.columns().find(|old| old.id == new.id) {
                        None => self.add(
                            WarningKind::NotRestored,
                            format!("restores the column {name} of {table} without its values, which version {version} deleted"),
                        ),
                        Some(old) if old.type_name() != new.type_name() => self.add(
                            WarningKind::NotRestored,
                            format!("restores the type of the column {name} of {table}, not the values that version {version} rounded or shortened"),
                        ),
                        Some(_) => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn rewritten(&mut self, rewrite: &SeenRewrite, rows: &[(RowChange, Rows)]) {
        let name = short(&rewrite.relation);
        let Some(table) = self.tables.get(&rewrite.id) else {
            return;
        };
        // Otherwise it says how many rows are deleted.
        let none_deleted = !rows
            .iter()
            .any(|(rows, _)| rows.relation == rewrite.relation && rows.deleted > 0);
        let gone = match (table.count, rewrite.count) {
            (Some(before), Some(after)) if none_deleted => before.saturating_sub(after),
            _ => 0,
        };
        if table.has_rows && rewrite.empty {
            self.add(
                WarningKind::DataLost,
                format!("deletes all data in {name} ({})", extent(table)),
            );
        } else if gone > 0 {
            self.add(
                WarningKind::DataLost,
                format!("rewrites {name} without {} of its data", count(gone, "row")),
            );
        } else if table.has_rows {
            self.add(
                WarningKind::Rewritten,
                format!("rewrites {name} ({})", bytes(table.bytes)),
            );
        }
    }

    fn rows_changed(&mut self, rows: &RowChange, kind: Rows) {
        let name = short(&rows.relation);
        let (deleted, updated) = (count(rows.deleted, "row"), count(rows.updated, "row"));
        match kind {
            // Nobody has used a table that the version itself created.
            Rows::OfANewTable => return,
            Rows::Moved => self.add(
                WarningKind::RowsChanged,
                format!("moves {deleted} of {name} to other partitions, or replaces them"),
            ),
            Rows::Existing if rows.deleted > 0 => self.add(
                WarningKind::DataLost,
                format!("deletes {deleted} of {name}"),
            ),
            Rows::Existing => {}
        }
        if rows.updated > 0 {
            self.add(
                WarningKind::RowsChanged,
                format!("changes {updated} of {name}"),
            );
        }
    }

    /// What takes long, and what cannot be used meanwhile.
    fn slow(&mut self, seen: &SeenVersion) {
        let slow = seen.execution_ms.filter(|ms| *ms >= SLOW);
        for lock in &seen.locks {
            let rewritten = seen.rewrites.iter().any(|rewrite| {
                rewrite.relation == lock.relation
                    && !rewrite.empty
                    && self.tables.with_rows(&rewrite.id).is_some()
            });
            if let Some(what) = lock.prevents().filter(|_| slow.is_some() || rewritten) {
                let time = slow
                    .map(|ms| format!(" for {}", duration(ms)))
                    .unwrap_or_default();
                let name = short(&lock.relation);
                self.add(WarningKind::Locked, format!("{name} can't be {what}{time}"));
            }
        }
        if let Some(ms) = slow {
            self.add(
                WarningKind::Slow,
                format!("takes {} on this database", duration(ms)),
            );
        }
        if let PreviewState::NotFinished {
            reason: Unfinished::BudgetUsed,
        } = seen.state
        {
            self.add(
                WarningKind::Slow,
                "too slow to test fully; it may still succeed when applied".to_owned(),
            );
        }
    }

    fn opened(&mut self, object: &SeenObject) {
        let Some(after) = &object.after else { return };
        self.let_through(object, after);
        let exposed = |definition: &Definition| {
            definition.kind != ObjectKind::Table || definition.name.starts_with("public.")
        };
        let before = object
            .before
            .as_ref()
            // What moves into the schema that everybody reaches was not open there.
            .filter(|before| exposed(before) || !exposed(after))
            .map(Definition::open_to)
            .unwrap_or_default();
        let roles: Vec<_> = after
            .open_to()
            .into_iter()
            .filter(|role| !before.contains(role))
            .collect();
        if !roles.is_empty() {
            let (kind, name, roles) = (&after.kind, short(&after.name), roles.join(", "));
            let remedy = match kind {
                ObjectKind::Table => "row level security is off",
                ObjectKind::Function | ObjectKind::Procedure => "it runs with its owner's rights",
                ObjectKind::Schema => "they reach what is granted to them in it",
                ObjectKind::DefaultPrivileges => "they get rights on what is created there later",
                _ => "it reads with its owner's rights",
            };
            self.add(
                WarningKind::Opened,
                format!("opens {kind} {name} to {roles}: {remedy}"),
            );
        }
        if after.kind == ObjectKind::Role
            && let Some(before) = &object.before
        {
            let new = after
                .parts
                .iter()
                .filter(|part| !before.parts.contains(part));
            for part in new {
                self.add(
                    WarningKind::Opened,
                    format!(
                        "opens the project to {}: it becomes {}",
                        after.name,
                        part.name()
                    ),
                );
            }
        }
    }

    /// A policy of a table that was there lets more through, because it or a privilege is new. Permissive policies add up,
    /// and of the rows that they let through restrictive ones take away.
    fn let_through(&mut self, object: &SeenObject, after: &Definition) {
        let Some(before) = &object.before else { return };
        let table = short(&after.name);
        for policy in after.permissive_policies() {
            let is_new = !policy.is_one_of(before.permissive_policies());
            let mut roles = policy.concerns.clone();
            roles.retain(|role| {
                after.is_granted_to(role) && (is_new || !before.is_granted_to(role))
            });
            if roles.is_empty() {
                continue;
            }
            let (name, roles) = (policy.name(), roles.join(" and "));
            self.add(
                WarningKind::Opened,
                format!(
                    "opens table {table} to {roles} by the policy {name}: {}",
                    policy.definition
                ),
            );
        }
        for policy in before.restrictive_policies() {
            let mut roles = policy.concerns.clone();
            roles.retain(|role| {
                after
                    .permissive_policies()
                    .any(|other| other.concerns.contains(role))
            });
            if roles.is_empty() || policy.is_one_of(after.restrictive_policies()) {
                continue;
            }
            let (name, roles) = (policy.name(), roles.join(" and "));
            let how = match after
                .restrictive_policies()
                .find(|now| now.name == policy.name)
            {
                Some(now) => format!("the policy {name} becomes: {}", now.definition),
                None => format!("the restrictive policy {name} is deleted"),
            };
            self.add(
                WarningKind::Opened,
                format!("opens table {table} to {roles}: {how}"),
            );
        }
    }
}

/// What the columns of an object are called.
fn column_of(object: &Definition) -> &'static str {
    match object.kind {
        ObjectKind::Type => "attribute",
        _ => "column",
    }
}

fn extent(table: &TableFacts) -> String {
    let size = bytes(table.bytes);
    match table.count {
        Some(rows) if rows > 0 => format!("{}, {size}", count(rows, "row")),
        _ => size,
    }
}
