//! What a rehearsal saw: what would change, what that means, and how it is shown.

mod definition;
mod format;
mod outside;
mod outside_table;
mod rows;
mod text;
mod warnings;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub(crate) use self::outside_table::SeenOutsideTable;
use self::warnings::Tables;
#[cfg(feature = "cli")]
pub(crate) use self::{
    format::short,
    text::{clean, not_brought_back},
};
pub use self::{
    outside::OutsidePreview,
    outside_table::OutsideTable,
    warnings::{Warning, WarningKind},
};
use crate::{
    backup::BackupAdvice,
    error::MigrationError,
    ledger::Action,
    manifest::{Backup, Checksum, Version},
    plan::{Step, Way, worth_a_backup},
    schema_objects::{Definition, ObjectChange},
};

/// What a change of the schema would do to the user's own database.
///
/// Displays as text for a person, with a unified diff of the definitions; [`Preview::in_colour`]
/// does the same for a terminal.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Preview {
    /// The version that the database has.
    pub current_version: Version,
    /// The version that it would have.
    pub target_version: Version,
    /// What each version would do, in the order in which they would run. Its
    /// [`state`](PreviewedVersion::state) says whether it was tested: after a failure, none is.
    pub versions: Vec<PreviewedVersion>,
    /// The backup to make first, if a version asks for one, or if data would be lost or rewritten.
    pub backup: Option<BackupAdvice>,
    /// Sequences that the preview has moved and could not set back, for example because another
    /// session uses them. Numbers that were only drawn are used up, which is harmless.
    pub sequences: Vec<MovedSequence>,
    /// Identifies what was previewed: [`Run::agreed_to`](crate::Run::agreed_to) applies exactly that.
    pub token: PreviewToken,
}

/// What one version would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PreviewedVersion {
    /// Whether it is applied or rolled back.
    pub action: Action,
    /// The version.
    pub version: Version,
    /// Its name.
    #[serde(rename = "migration_name")]
    pub migration_name: String,
    /// What it does, in a sentence.
    pub description: String,
    /// Whether it was tested.
    pub state: PreviewState,
    /// How it runs, if it is one that cannot run inside a transaction. It was tested inside one, as the same
    /// statement without `concurrently` where there is such. [`locks`](Self::locks) are those that it takes
    /// in the way that is open.
    pub outside: Option<OutsidePreview>,
    /// The table that such a version works on, and how long that may take. `None` where it was not tested.
    pub outside_table: Option<OutsideTable>,
    /// How long it took here, in milliseconds; `None` if it was not tested to its end.
    pub execution_ms: Option<u64>,
    /// What the user should know, the most severe first.
    pub warnings: Vec<Warning>,
    /// The objects whose definition differs.
    pub changes: Vec<ObjectChange>,
    /// The existing tables and views that it locks, unless an earlier version locks them as
    /// strongly.
    pub locks: Vec<TableLock>,
    /// The tables that it rewrites.
    pub rewrites: Vec<Rewrite>,
    /// The tables in which it changes rows.
    pub rows: Vec<RowChange>,
    /// What it does that could not be observed, in words.
    pub unseen: Vec<String>,
    /// Why it failed. It was rolled back.
    pub failure: Option<Box<MigrationError>>,
}

/// Whether a version was tested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum PreviewState {
    /// It succeeded.
    Tested,
    /// It failed.
    Failed,
    /// The preview ended first. It may succeed when applied.
    NotFinished {
        /// Why.
        reason: Unfinished,
    },
    /// It uses what an earlier version has to commit first, such as a new enum value. It can be tested
    /// once that version is applied.
    After {
        /// The version that has to be applied first.
        version: Version,
    },
    /// An earlier version failed or was not tested to its end.
    #[default]
    NotTested,
}

/// Why a preview ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Unfinished {
    /// Its budget was used.
    BudgetUsed,
    /// It was cancelled.
    Cancelled,
}

/// What became of a request to end a preview.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cancellation {
    /// It has ended: what it ran is rolled back.
    Cancelled,
    /// It was asked to end and still goes on, after as long as a preview may take: the owner of the
    /// installed functions may not cancel it. It ends before its next statement.
    Requested,
    /// It does not run, or has just ended.
    NotRunning,
}

/// A sequence that does not stand where it stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MovedSequence {
    /// The sequence.
    pub relation: String,
    /// The last number before; `None` if it could not be read.
    pub from: Option<i64>,
    /// The last number now.
    pub to: Option<i64>,
}

impl MovedSequence {
    /// Whether the next number may be one that is taken.
    fn goes_back(&self) -> bool {
        self.from.zip(self.to).is_none_or(|(from, to)| to < from)
    }
}

/// A table that is locked to the end of the version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TableLock {
    /// The table or view.
    pub relation: String,
    /// How strongly it is locked.
    pub mode: LockMode,
}

impl TableLock {
    /// The lock of a statement outside a transaction on the table that it works on: it blocks neither reads nor writes.
    fn outside(relation: String) -> Self {
        let mode = LockMode::ShareUpdateExclusive;
        Self { relation, mode }
    }
}

/// The lock modes of PostgreSQL, the weakest first. Serialises to PostgreSQL's own names, such as
/// `AccessExclusiveLock`.
///
/// See <https://www.postgresql.org/docs/current/explicit-locking.html> for what waits for which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
pub enum LockMode {
    /// Taken by `select`.
    #[serde(rename = "AccessShareLock")]
    AccessShare,
    /// Taken by `select for update` and its siblings.
    #[serde(rename = "RowShareLock")]
    RowShare,
    /// Taken by `insert`, `update`, `delete` and `merge`.
    #[serde(rename = "RowExclusiveLock")]
    RowExclusive,
    /// Taken by `analyze` and some forms of `alter table`.
    #[serde(rename = "ShareUpdateExclusiveLock")]
    ShareUpdateExclusive,
    /// Taken by `create index`.
    #[serde(rename = "ShareLock")]
    Share,
    /// Taken by `create trigger` and some forms of `alter table`.
    #[serde(rename = "ShareRowExclusiveLock")]
    ShareRowExclusive,
    /// Taken by `refresh materialized view concurrently`.
    #[serde(rename = "ExclusiveLock")]
    Exclusive,
    /// Taken by `drop table`, `truncate` and most forms of `alter table`.
    #[serde(rename = "AccessExclusiveLock")]
    AccessExclusive,
}

impl fmt::Display for LockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A table that is rewritten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Rewrite {
    /// The table.
    pub relation: String,
    /// Its current size with its indexes, in bytes; `None` if it could not be read.
    pub bytes: Option<u64>,
}

/// A table in which rows are changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RowChange {
    /// The table.
    pub relation: String,
    /// Rows that are new.
    pub inserted: u64,
    /// Rows that are changed.
    pub updated: u64,
    /// Rows that are gone.
    pub deleted: u64,
}

/// Identifies what a preview showed: the versions, their checksums and the database's version.
///
/// It travels as text, so that a window can show the preview and send the consent:
///
/// ```
/// use ctx0_schema::PreviewToken;
///
/// let text = "61c0".repeat(16);
/// let token: PreviewToken = text.parse()?;
/// assert_eq!(token.to_string(), text);
/// # Ok::<(), ctx0_schema::PreviewTokenError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(
    feature = "json-schema",
    derive(schemars::JsonSchema),
    schemars(with = "String")
)]
pub struct PreviewToken(Checksum);

/// A text that is not a [`PreviewToken`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is not the token of a preview: send the token as the preview has it")]
#[non_exhaustive]
pub struct PreviewTokenError {}

impl FromStr for PreviewToken {
    type Err = PreviewTokenError;

    fn from_str(text: &str) -> Result<Self, PreviewTokenError> {
        text.parse().map(Self).map_err(|_| PreviewTokenError {})
    }
}

impl TryFrom<String> for PreviewToken {
    type Error = PreviewTokenError;

    fn try_from(text: String) -> Result<Self, PreviewTokenError> {
        text.parse()
    }
}

impl From<PreviewToken> for String {
    fn from(token: PreviewToken) -> Self {
        token.to_string()
    }
}

impl PreviewToken {
    pub(crate) fn of(current: Version, steps: &[Step]) -> Self {
        let mut text = format!("at {current}\n");
        for step in steps {
            let checksum = step.checksum.map(|checksum| checksum.to_string());
            text += &format!(
                "{:?} {} {:?} {}\n",
                step.action,
                step.version,
                step.name,
                checksum.unwrap_or_default()
            );
        }
        Self(Checksum::of(&text))
    }
}

impl fmt::Display for PreviewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PreviewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PreviewToken({:.12}…)", self.to_string())
    }
}

impl Preview {
    /// Puts together what the database reported about the steps.
    pub(crate) fn new(
        current: Version,
        steps: &[Step],
        seen: Rehearsal,
        instructions: &str,
    ) -> Self {
        let (tables, seen_open) = (Tables::new(seen.tables), seen.open);
        let seen_versions = seen
            .versions
            .into_iter()
            .chain(std::iter::repeat_with(SeenVersion::default));
        let mut versions: Vec<_> = steps
            .iter()
            .zip(seen_versions)
            .map(|(step, seen)| PreviewedVersion::new(step, seen, &tables, seen_open.as_ref()))
            .collect();
        if let Some(first) = versions.first_mut() {
            first.warnings.extend(Warning::of_drift(&seen.drifted));
        }
        let has_data = current != Version::ZERO || seen.unrecorded;
        let asked = worth_a_backup(has_data, steps).iter();
        let asked = asked.filter_map(Step::backup);
        let saw = versions
            .iter()
            .flat_map(|version| &version.warnings)
            .filter(|warning| warning.kind.touches_data())
            .map(|_| Backup::Recommended);
        let level = asked.chain(saw).max();
        Self {
            current_version: current,
            target_version: steps.last().map_or(current, Step::leads_to),
            token: PreviewToken::of(current, steps),
            backup: level.map(|level| BackupAdvice::new(level, instructions)),
            sequences: seen.sequences,
            versions,
        }
    }

    /// Whether every version was tested and works.
    #[must_use]
    pub fn succeeds(&self) -> bool {
        self.versions
            .iter()
            .all(|version| version.state == PreviewState::Tested)
    }

    /// Why a version would fail.
    #[must_use]
    pub fn failure(&self) -> Option<&MigrationError> {
        self.versions
            .iter()
            .find_map(|version| version.failure.as_deref())
    }

    /// What the user should know, of all versions.
    pub fn warnings(&self) -> impl Iterator<Item = &Warning> {
        self.versions.iter().flat_map(|version| &version.warnings)
    }

    /// The versions that cannot run inside a transaction, with how they run.
    #[cfg(feature = "fleet")]
    pub(crate) fn outside(&self) -> impl Iterator<Item = (Version, &OutsidePreview)> {
        let versions = self.versions.iter();
        versions.filter_map(|seen| Some((seen.version, seen.outside.as_ref()?)))
    }

    /// The same text as `Display`, with the colours of a terminal.
    #[must_use]
    pub fn in_colour(&self) -> impl fmt::Display {
        text::text(self, true)
    }
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::text(self, false))
    }
}

impl PreviewedVersion {
    fn new(
        step: &Step,
        mut seen: SeenVersion,
        tables: &Tables,
        open: Option<&Result<Way, String>>,
    ) -> Self {
        let outside = OutsidePreview::of(step, &seen, open);
        if let Some(table) = &seen.outside_table
            && outside
                .as_ref()
                .is_some_and(|outside| !outside.needs_consent())
        {
            // Outside a transaction its own table is locked less. A partition that is detached is not.
            seen.locks.retain(|lock| lock.relation != table.relation);
            seen.locks
                .insert(0, TableLock::outside(table.relation.clone()));
        }
        let rows = rows::row_changes(&seen.rows, tables);
        let warnings = warnings::warnings(step.action, step.version, &seen, &rows, tables);
        let rewrites = seen.rewrites.into_iter().map(|rewrite| Rewrite {
            bytes: tables.get(&rewrite.id).map(|table| table.bytes),
            relation: rewrite.relation,
        });
        Self {
            action: step.action,
            version: step.version,
            migration_name: step.name.clone(),
            description: step.description.clone(),
            state: seen.state,
            outside,
            outside_table: seen.outside_table.map(OutsideTable::from),
            execution_ms: seen.execution_ms,
            warnings,
            rewrites: rewrites.collect(),
            changes: seen
                .objects
                .into_iter()
                .filter_map(|object| ObjectChange::new(object.before, object.after))
                .collect(),
            locks: seen.locks,
            rows: rows.into_iter().map(|(rows, _)| rows).collect(),
            unseen: seen.unseen,
            failure: seen.failure.map(Box::new),
        }
    }
}

/// What `ctx0_rehearse_migrations` reports, with failures placed in the files of the steps.
#[derive(Debug, Default)]
pub(crate) struct Rehearsal {
    pub(crate) versions: Vec<SeenVersion>,
    pub(crate) tables: Vec<TableFacts>,
    pub(crate) sequences: Vec<MovedSequence>,
    /// Whether there are objects of ctx0, although the ledger is empty.
    pub(crate) unrecorded: bool,
    /// The objects that were changed by hand, each with its kind.
    pub(crate) drifted: Vec<String>,
    /// The way past PostgREST or why there is none, where a version needs one.
    pub(crate) open: Option<Result<Way, String>>,
}

#[derive(Debug, Default)]
pub(crate) struct SeenVersion {
    pub(crate) state: PreviewState,
    pub(crate) execution_ms: Option<u64>,
    pub(crate) outside_table: Option<SeenOutsideTable>,
    pub(crate) objects: Vec<SeenObject>,
    pub(crate) locks: Vec<TableLock>,
    pub(crate) rewrites: Vec<SeenRewrite>,
    /// Columns whose values may be others now.
    pub(crate) columns: Vec<SeenColumn>,
    pub(crate) rows: Vec<SeenRows>,
    /// Sequences that give numbers again which may be taken.
    pub(crate) restarted: Vec<MovedSequence>,
    pub(crate) unseen: Vec<String>,
    /// How many were deleted.
    pub(crate) large_objects: u64,
    /// Replication slots that it has made, which stay.
    pub(crate) slots: Vec<String>,
    pub(crate) failure: Option<MigrationError>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SeenObject {
    before: Option<Definition>,
    after: Option<Definition>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SeenRewrite {
    id: String,
    relation: String,
    /// Whether nothing is in the new file.
    empty: bool,
    /// The rows in it, where they were counted.
    #[serde(default)]
    count: Option<u64>,
}

/// A column that was altered in a table that was rewritten.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SeenColumn {
    /// That of its table.
    id: String,
    number: u32,
    relation: String,
    name: String,
}

/// The rows of a table as PostgreSQL counts them, also those that were rolled back since.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SeenRows {
    id: String,
    relation: String,
    /// Whether the table was there before.
    existed: bool,
    /// Of a partition: its outermost table.
    #[serde(default)]
    root: Option<String>,
    /// The rows that were left as they are, where they were counted.
    #[serde(default)]
    kept: Option<u64>,
    inserted: u64,
    updated: u64,
    deleted: u64,
}

/// What is known of a table as it is without the change.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TableFacts {
    id: String,
    bytes: u64,
    /// How many rows it has, where they were counted.
    #[serde(default)]
    count: Option<u64>,
    has_rows: bool,
    /// Of the columns that go, those that hold a value.
    #[serde(default)]
    filled: Vec<u32>,
    /// The columns that are altered while the table is rewritten.
    #[serde(default)]
    altered: Vec<AlteredColumn>,
}

/// What becomes of the values of a column; `None`: nothing, or they could not be compared.
#[derive(Clone, Debug, Deserialize)]
struct AlteredColumn {
    number: u32,
    #[serde(default)]
    effect: Option<ColumnEffect>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ColumnEffect {
    /// Some become null.
    Deleted,
    /// Some are rounded or shortened.
    Rounded,
    /// Others take their place.
    Replaced,
    /// As `Replaced`, but values that were different stay different.
    Recomputed,
}
