//! What a change means for the user, from what was seen of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    LockMode, PreviewState, RowChange, SeenObject, SeenVersion, TableFacts, TableLock, Unfinished,
    rows::Rows,
};
use crate::{
    ledger::Action,
    manifest::Version,
    schema_objects::{Definition, ObjectKind, Part, PartKind},
};

/// A version that takes longer gets a warning, in milliseconds.
const SLOW: u64 = 1_000;

/// The roles that anyone with a public key can use.
const PUBLIC_ROLES: [&str; 3] = ["anon", "authenticated", "public"];

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
            | Self::Required => false,
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

    /// Whether there is something in it that can be lost. What came with an earlier version
    /// of the same preview holds nothing of the user's.
    fn has_rows(&self, id: &str) -> bool {
        self.get(id).is_some_and(|table| table.has_rows)
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
    let mut warnings = Warnings::default();
    for object in &seen.objects {
        match (&object.before, &object.after) {
            (Some(before), None) => warnings.dropped(before, tables),
            (Some(before), Some(after)) => warnings.changed(before, after, tables),
            (None, _) => {}
        }
        if action == Action::Rollback {
            warnings.not_restored(version, object);
        }
        warnings.opened(object);
    }
    for rewrite in &seen.rewrites {
        let (name, Some(table)) = (short(&rewrite.relation), tables.get(&rewrite.id)) else {
            continue;
        };
        let gone = table
            .count
            .zip(rewrite.count)
            .map(|(before, after)| before.saturating_sub(after))
            .filter(|gone| {
                *gone > 0
                    && !rows
                        .iter()
                        .any(|(rows, _)| rows.relation == rewrite.relation && rows.deleted > 0)
            });
        if table.has_rows && rewrite.empty {
            warnings.add(
                WarningKind::DataLost,
                format!("deletes all data in {name} ({})", extent(table)),
            );
        } else if let Some(gone) = gone {
            warnings.add(
                WarningKind::DataLost,
                format!("rewrites {name} without {} of its data", count(gone, "row")),
            );
        } else if table.has_rows {
            warnings.add(
                WarningKind::Rewritten,
                format!("rewrites {name} ({})", bytes(table.bytes)),
            );
        }
    }
    for (rows, kind) in rows {
        let name = short(&rows.relation);
        let (deleted, updated) = (count(rows.deleted, "row"), count(rows.updated, "row"));
        match kind {
            // Nobody has used a table that the version itself created.
            Rows::OfANewTable => continue,
            Rows::Moved => warnings.add(
                WarningKind::RowsChanged,
                format!("moves {deleted} of {name} to other partitions, or replaces them"),
            ),
            Rows::Existing if rows.deleted > 0 => {
                warnings.add(
                    WarningKind::DataLost,
                    format!("deletes {deleted} of {name}"),
                );
            }
            Rows::Existing => {}
        }
        if rows.updated > 0 {
            warnings.add(
                WarningKind::RowsChanged,
                format!("changes {updated} of {name}"),
            );
        }
    }
    if seen.large_objects > 0 {
        let objects = count(seen.large_objects, "large object");
        warnings.add(WarningKind::DataLost, format!("deletes {objects}"));
    }
    for sequence in &seen.restarted {
        let name = short(&sequence.relation);
        let message =
            format!("sets the sequence {name} back: new rows may get numbers that are in use");
        warnings.add(WarningKind::SequenceReset, message);
    }
    for slot in &seen.slots {
        let message = format!(
            "creates the replication slot {slot}, which undoing this test does not remove: \
             while it exists, the database keeps its log files and the disk fills up"
        );
        warnings.add(WarningKind::LeftBehind, message);
    }
    let slow = seen.execution_ms.filter(|ms| *ms >= SLOW);
    for lock in &seen.locks {
        let rewritten = seen.rewrites.iter().any(|rewrite| {
            rewrite.relation == lock.relation && !rewrite.empty && tables.has_rows(&rewrite.id)
        });
        if let Some(what) = lock.prevents().filter(|_| slow.is_some() || rewritten) {
            let time = slow
                .map(|ms| format!(" for {}", duration(ms)))
                .unwrap_or_default();
            let name = short(&lock.relation);
            warnings.add(WarningKind::Locked, format!("{name} can't be {what}{time}"));
        }
    }
    if let Some(ms) = slow {
        warnings.add(
            WarningKind::Slow,
            format!("takes {} on this database", duration(ms)),
        );
    }
    if let PreviewState::NotFinished {
        reason: Unfinished::BudgetUsed,
    } = seen.state
    {
        let message = "too slow to test fully; it may still succeed when applied";
        warnings.add(WarningKind::Slow, message.to_owned());
    }
    warnings.0.sort_by_key(|warning| warning.kind);
    warnings.0
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

#[derive(Default)]
struct Warnings(Vec<Warning>);

impl Warnings {
    fn add(&mut self, kind: WarningKind, message: String) {
        self.0.push(Warning { kind, message });
    }

    fn dropped(&mut self, before: &Definition, tables: &Tables) {
        let (kind, name) = (&before.kind, short(&before.name));
        match tables.get(&before.id) {
            Some(table) if *kind == ObjectKind::Table && table.has_rows => self.add(
                WarningKind::DataLost,
                format!("deletes the table {name} and its data ({})", extent(table)),
            ),
            _ => self.add(
                WarningKind::Dropped,
                format!("deletes the {kind} {name}: anything that still uses it will fail"),
            ),
        }
    }

    fn changed(&mut self, before: &Definition, after: &Definition, tables: &Tables) {
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
        if let Some(table) = tables.get(&before.id).filter(|table| table.has_rows) {
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
        for old in before.columns() {
            let old_name = old.name();
            match after.columns().find(|new| new.id == old.id) {
                None => self.dropped_column(before, old, tables),
                Some(new) => {
                    self.altered_column(before, old, tables);
                    if new.name != old.name {
                        let new = new.name();
                        self.add(
                            WarningKind::Renamed,
                            format!("renames the column {old_name} of {name} to {new}: anything that uses the old name will fail"),
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
    }

    fn dropped_column(&mut self, before: &Definition, column: &Part, tables: &Tables) {
        let (name, table) = (column.name(), short(&before.name));
        let facts = tables.get(&before.id).filter(|facts| facts.has_rows);
        let number = column.number();
        if !column.generated
            && facts
                .is_some_and(|facts| number.is_some_and(|number| facts.filled.contains(&number)))
        {
            self.add(
                WarningKind::DataLost,
                format!("deletes the column {name} of {table} and the data in it"),
            );
        } else {
            self.add(
                WarningKind::Dropped,
                format!(
                    "deletes the column {name} of {table}: anything that still uses it will fail"
                ),
            );
        }
    }

    /// The type of a column changes, and its values were compared.
    fn altered_column(&mut self, before: &Definition, column: &Part, tables: &Tables) {
        let (name, table) = (column.name(), short(&before.name));
        let altered = tables
            .get(&before.id)
            .into_iter()
            .flat_map(|facts| &facts.altered)
            .find(|altered| Some(altered.number) == column.number());
        let Some(altered) = altered else { return };
        if altered.lost == Some(true) {
            self.add(
                WarningKind::DataLost,
                format!("deletes values in the column {name} of {table}"),
            );
        } else if altered.changed == Some(true) {
            self.add(
                WarningKind::DataLost,
                format!("rounds or shortens values in the column {name} of {table}"),
            );
        }
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
                        "opens the project to {}: it gets {}",
                        after.name,
                        part.name()
                    ),
                );
            }
        }
    }

    /// A policy of a table that was there lets more through. Permissive policies add up, and of the rows that they
    /// let through restrictive ones take away.
    fn let_through(&mut self, object: &SeenObject, after: &Definition) {
        let Some(before) = &object.before else { return };
        let table = short(&after.name);
        for policy in after.policies(false) {
            if policy.concerns.is_empty() || policy.is_one_of(before.policies(false)) {
                continue;
            }
            let (name, roles) = (policy.name(), policy.concerns.join(" and "));
            self.add(
                WarningKind::Opened,
                format!(
                    "opens table {table} to {roles} by the policy {name}: {}",
                    policy.definition
                ),
            );
        }
        for policy in before.policies(true) {
            let mut roles = policy.concerns.clone();
            roles.retain(|role| {
                after
                    .policies(false)
                    .any(|other| other.concerns.contains(role))
            });
            if roles.is_empty() || policy.is_one_of(after.policies(true)) {
                continue;
            }
            let (name, roles) = (policy.name(), roles.join(" and "));
            let how = match after.policies(true).find(|now| now.name == policy.name) {
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

impl Definition {
    fn policies(&self, restrictive: bool) -> impl Iterator<Item = &Part> {
        self.parts
            .iter()
            .filter(move |part| part.part == PartKind::Policy && part.restrictive == restrictive)
    }

    /// The tables that its rows are rows of too.
    fn parents(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| {
            part.part == PartKind::Option && ["partition of", "inherits"].contains(&part.name())
        })
    }

    fn columns(&self) -> impl Iterator<Item = &Part> {
        self.parts
            .iter()
            .filter(|part| part.part == PartKind::Column)
    }

    fn option(&self, name: &str) -> Option<&str> {
        let part = self
            .parts
            .iter()
            .find(|part| part.part == PartKind::Option && part.name() == name)?;
        Some(&part.definition)
    }

    /// The public roles that get past all checks of rows.
    fn open_to(&self) -> Vec<&str> {
        let secure = |kind: &PartKind| {
            self.parts
                .iter()
                .any(|part| part.part == *kind && part.security)
        };
        let unchecked = match &self.kind {
            ObjectKind::Table => self.option("row level security").is_none(),
            ObjectKind::View => !secure(&PartKind::Option),
            ObjectKind::MaterializedView
            | ObjectKind::ForeignTable
            | ObjectKind::Schema
            | ObjectKind::DefaultPrivileges => true,
            ObjectKind::Function | ObjectKind::Procedure => secure(&PartKind::Body),
            _ => false,
        };
        let grants = self
            .parts
            .iter()
            .filter(|part| part.part == PartKind::Grant);
        grants
            .map(|part| {
                // Of a column: `anon (name)`.
                let name = part.name();
                name.split_once(' ').map_or(name, |(role, _)| role)
            })
            .filter(|role| unchecked && PUBLIC_ROLES.contains(role))
            .collect()
    }
}

impl Part {
    /// Of a policy: whether one of these does the same.
    fn is_one_of<'a>(&self, mut policies: impl Iterator<Item = &'a Part>) -> bool {
        policies.any(|other| other.definition == self.definition)
    }

    /// Of a partition or an inheriting table: the name of its parent.
    fn parent_name(&self) -> &str {
        let ends = [" FOR VALUES ", " DEFAULT"];
        let ends = ends.iter().filter_map(|end| self.definition.find(end));
        short(&self.definition[..ends.min().unwrap_or(self.definition.len())])
    }

    /// Of a column: its number.
    fn number(&self) -> Option<u32> {
        self.id.as_ref()?.parse().ok()
    }

    /// Of a column: its type.
    fn type_name(&self) -> &str {
        let ends = [" collate ", " not null", " generated ", " default "];
        let ends = ends.iter().filter_map(|end| self.definition.find(end));
        &self.definition[..ends.min().unwrap_or(self.definition.len())]
    }

    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

/// Without the schema that everything is in.
pub(crate) fn short(name: &str) -> &str {
    name.strip_prefix("public.").unwrap_or(name)
}

fn extent(table: &TableFacts) -> String {
    let size = bytes(table.bytes);
    match table.count {
        Some(rows) if rows > 0 => format!("{}, {size}", count(rows, "row")),
        _ => size,
    }
}

/// As PostgreSQL's `pg_size_pretty` counts, with one more digit.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut size = number as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1000.0 && unit < UNITS.len() - 1 {
        size /= 1024.0;
        unit += 1;
    }
    match size {
        _ if number < 1024 => format!("{number} bytes"),
        size if size < 10.0 => format!("{size:.1} {}", UNITS[unit]),
        size => format!("{size:.0} {}", UNITS[unit]),
    }
}

pub(super) fn duration(ms: u64) -> String {
    match ms {
        0..10_000 => format!("about {}.{} s", ms / 1000, ms % 1000 / 100),
        10_000..120_000 => format!("about {} s", ms / 1000),
        _ => format!("about {} min", ms / 60_000),
    }
}

/// A number with its unit, in groups of three digits.
pub(super) fn count(number: u64, unit: &str) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} {unit}{}", if number == 1 { "" } else { "s" })
}
