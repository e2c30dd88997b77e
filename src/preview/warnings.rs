//! What a change means for the user, from what was seen of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{LockMode, SeenObject, SeenVersion, TableFacts, TableLock};
use crate::schema_objects::{Definition, ObjectKind, Part, PartKind};

/// What takes longer is worth a word, in milliseconds.
const SLOW: u64 = 1_000;

/// PostgreSQL's `query_canceled`, here after the time that a rehearsal may take.
const QUERY_CANCELED: &str = "57014";

/// The rows of each table that are looked at for values, by `ctx0_rehearse_migrations`.
const ROWS_LOOKED_AT: u64 = 10_000;

/// The roles of whoever has the anon key, or no key of the project's own.
const PUBLIC_ROLES: [&str; 3] = ["anon", "authenticated", "public"];

/// Something that the user should know before agreeing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Warning {
    /// What kind of thing it is.
    pub kind: WarningKind,
    /// The same in words, as a part of a sentence.
    pub message: String,
}

/// Kinds of warnings, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum WarningKind {
    /// Data is gone afterwards.
    DataLost,
    /// Others can read or change data that they could not before.
    Opened,
    /// Rows that are there are changed.
    RowsChanged,
    /// A table that has rows is written anew.
    Rewritten,
    /// A table is locked for long.
    Locked,
    /// It takes long.
    Slow,
    /// Something that others may use is gone.
    Dropped,
    /// Something that others may use has another name.
    Renamed,
    /// Rows must have a value that they could be without.
    Required,
}

impl WarningKind {
    /// Whether a backup would be wise.
    #[must_use]
    pub fn touches_data(self) -> bool {
        match self {
            Self::DataLost | Self::RowsChanged | Self::Rewritten => true,
            Self::Opened
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

/// All that there is to say of a version, the gravest first.
pub(super) fn warnings(seen: &SeenVersion, tables: &Tables) -> Vec<Warning> {
    let mut warnings = Warnings::default();
    for object in &seen.objects {
        match (&object.before, &object.after) {
            (Some(before), None) => warnings.dropped(before, tables),
            (Some(before), Some(after)) => warnings.changed(before, after, tables),
            (None, _) => {}
        }
        warnings.opened(object);
    }
    for rewrite in &seen.rewrites {
        let (name, Some(table)) = (short(&rewrite.relation), tables.get(&rewrite.id)) else {
            continue;
        };
        if table.has_rows && rewrite.empty {
            warnings.add(
                WarningKind::DataLost,
                format!("empties {name}: its data is lost ({})", extent(table)),
            );
        } else if table.has_rows {
            warnings.add(
                WarningKind::Rewritten,
                format!("rewrites {name} ({})", bytes(table.bytes)),
            );
        }
    }
    // What is done to a table of its own concerns nobody.
    for rows in seen.rows.iter().filter(|rows| rows.existed) {
        let name = short(&rows.relation);
        if rows.deleted > 0 {
            let count = count(rows.deleted, "row");
            warnings.add(WarningKind::DataLost, format!("deletes {count} of {name}"));
        }
        if rows.updated > 0 {
            let count = count(rows.updated, "row");
            warnings.add(
                WarningKind::RowsChanged,
                format!("changes {count} of {name}"),
            );
        }
    }
    let slow = seen.execution_ms.filter(|ms| *ms >= SLOW);
    for lock in &seen.locks {
        let rewritten = seen.rewrites.iter().any(|rewrite| {
            rewrite.relation == lock.relation && !rewrite.empty && tables.has_rows(&rewrite.id)
        });
        if let Some(what) = lock.keeps_waiting().filter(|_| slow.is_some() || rewritten) {
            let time = slow
                .map(|ms| format!(" for {}", duration(ms)))
                .unwrap_or_default();
            let name = short(&lock.relation);
            warnings.add(
                WarningKind::Locked,
                format!("locks {name} for {what}{time}"),
            );
        }
    }
    if let Some(ms) = slow {
        warnings.add(WarningKind::Slow, format!("needs {} here", duration(ms)));
    }
    if let Some(failure) = &seen.failure
        && failure.sqlstate == QUERY_CANCELED
    {
        let message = "needs more time than a rehearsal may take, which is 25 s";
        warnings.add(WarningKind::Slow, message.to_owned());
    }
    warnings.0.sort_by_key(|warning| warning.kind);
    warnings.0
}

impl TableLock {
    /// What waits for it.
    pub(super) fn keeps_waiting(&self) -> Option<&'static str> {
        match self.mode {
            LockMode::AccessExclusive => Some("reads and writes"),
            LockMode::Exclusive | LockMode::ShareRowExclusive | LockMode::Share => Some("writes"),
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
                format!("drops table {name}: its data is lost ({})", extent(table)),
            ),
            _ => self.add(
                WarningKind::Dropped,
                format!("drops {kind} {name}: what still uses it fails"),
            ),
        }
    }

    fn changed(&mut self, before: &Definition, after: &Definition, tables: &Tables) {
        let name = short(&after.name);
        if before.name != after.name {
            let (kind, old) = (&before.kind, short(&before.name));
            self.add(
                WarningKind::Renamed,
                format!("renames {kind} {old} to {name}: what uses the old name fails"),
            );
        }
        for old in before.columns() {
            let old_name = old.name();
            match after.columns().find(|new| new.id == old.id) {
                None => self.dropped_column(before, old, tables),
                Some(new) => {
                    if new.name != old.name {
                        let new = new.name();
                        self.add(
                            WarningKind::Renamed,
                            format!("renames column {old_name} of {name} to {new}: what uses the old name fails"),
                        );
                    }
                    if new.required && !old.required {
                        self.add(
                            WarningKind::Required,
                            format!("makes column {} of {name} required", new.name()),
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
                        "adds the required column {column} to {name}: rows without it are refused"
                    ),
                );
            }
        }
    }

    fn dropped_column(&mut self, before: &Definition, column: &Part, tables: &Tables) {
        let (name, table) = (column.name(), short(&before.name));
        let facts = tables.get(&before.id).filter(|facts| facts.has_rows);
        let number = column.id.as_ref().and_then(|id| id.parse::<u32>().ok());
        match facts {
            Some(facts) if number.is_some_and(|number| facts.filled.contains(&number)) => self.add(
                WarningKind::DataLost,
                format!("drops column {name} of {table}: its data is lost"),
            ),
            Some(facts) if facts.rows.is_none_or(|rows| rows > ROWS_LOOKED_AT) => self.add(
                WarningKind::DataLost,
                format!("drops column {name} of {table}: if there is data in it, that is lost"),
            ),
            _ => self.add(
                WarningKind::Dropped,
                format!("drops column {name} of {table}: what still uses it fails"),
            ),
        }
    }

    fn opened(&mut self, object: &SeenObject) {
        let Some(after) = &object.after else { return };
        let before = object
            .before
            .as_ref()
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
                _ => "it reads with its owner's rights",
            };
            self.add(
                WarningKind::Opened,
                format!("opens {kind} {name} to {roles}: {remedy}"),
            );
        }
    }
}

impl Definition {
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
        let body = self.parts.iter().find(|part| part.part == PartKind::Body);
        let body = body
            .map(|part| part.definition.as_str())
            .unwrap_or_default();
        let unchecked = match &self.kind {
            ObjectKind::Table => self.option("row level security").is_none(),
            ObjectKind::View => !self.option("with").is_some_and(|with| {
                with.contains("security_invoker=true") || with.contains("security_invoker=on")
            }),
            ObjectKind::MaterializedView | ObjectKind::ForeignTable => true,
            ObjectKind::Function | ObjectKind::Procedure => {
                let header = body.split(" AS ").next().unwrap_or_default();
                header.contains(" SECURITY DEFINER")
                    // Triggers are not called by anyone.
                    && !header.contains("RETURNS trigger")
                    && !header.contains("RETURNS event_trigger")
            }
            _ => false,
        };
        let grants = self
            .parts
            .iter()
            .filter(|part| part.part == PartKind::Grant);
        grants
            .map(Part::name)
            .filter(|role| unchecked && PUBLIC_ROLES.contains(role))
            .collect()
    }
}

impl Part {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

/// Without the schema that everything is in.
pub(super) fn short(name: &str) -> &str {
    name.strip_prefix("public.").unwrap_or(name)
}

fn extent(table: &TableFacts) -> String {
    let size = bytes(table.bytes);
    match table.rows {
        Some(rows) if rows > 0 => format!("about {}, {size}", count(rows, "row")),
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

fn duration(ms: u64) -> String {
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
