use std::{error::Error, fmt, io, path::PathBuf};

use super::{Checksum, MAX_MIGRATION_BYTES};
use crate::sql::SqlError;

/// Why a list of migrations was refused. The text names the file, the version and
/// what to do; nothing was sent to any database.
#[derive(Debug)]
pub struct ManifestError {
    place: Place,
    kind: ManifestErrorKind,
}

impl ManifestError {
    /// The file at fault, as the manifest or the caller names it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.place.file
    }

    /// The version at fault as the manifest states it, where it is one version's fault.
    #[must_use]
    pub fn version(&self) -> Option<i64> {
        self.place.version
    }

    /// What is wrong with it.
    #[must_use]
    pub fn kind(&self) -> &ManifestErrorKind {
        &self.kind
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place.file)?;
        if let Some(version) = self.place.version {
            write!(f, " (version {version})")?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl Error for ManifestError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

/// What can be wrong with a list of migrations.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestErrorKind {
    /// There is no `manifest.json`.
    #[error("not found: add a manifest.json that lists the migrations, or correct the folder")]
    NoManifest,
    /// The manifest is not JSON, or not of the specification's form.
    #[error("not a valid manifest at line {line}, column {column} ({reason}): correct it there")]
    #[non_exhaustive]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1; 0 at a line's very start.
        column: usize,
        /// What was found and what was wanted.
        reason: String,
    },
    /// `currentVersion` is not the highest version of the list.
    #[error(
        "currentVersion is {stated}, but the highest version listed is {highest}: make them equal"
    )]
    #[non_exhaustive]
    CurrentVersion {
        /// What the manifest says.
        stated: i64,
        /// What its list says.
        highest: i64,
    },
    /// A version that is zero, negative or too large.
    #[error(
        "versions are whole numbers from 1 to {}: give it the next free number",
        i32::MAX
    )]
    NotAVersion,
    /// Two migrations have this version.
    #[error("the version is listed twice: give one of the two the next free number")]
    Duplicate,
    /// The list is not in order.
    #[error("it is listed before version {before}: list the lowest version first")]
    #[non_exhaustive]
    Unordered {
        /// The lower version that comes after it.
        before: i64,
    },
    /// The list has a hole.
    #[error("version {missing} is missing before it: add it, or renumber from {missing} on")]
    #[non_exhaustive]
    Missing {
        /// The first version that is not there.
        missing: i64,
    },
    /// The file is not the name with `.sql`.
    #[error("the file must be {name}.sql, after its name: rename one of the two")]
    #[non_exhaustive]
    NameIsNotFile {
        /// The name in the manifest.
        name: String,
    },
    /// The name begins with another number than the version.
    #[error("the name {name} begins with another number than the version: make them equal")]
    #[non_exhaustive]
    NameHasOtherNumber {
        /// The name in the manifest.
        name: String,
    },
    /// A listed file is not there.
    #[error("file not found: add it beside manifest.json, or correct the manifest")]
    NoFile,
    /// The system did not let the file be read.
    #[error("the file cannot be read: check its permissions")]
    #[non_exhaustive]
    Unreadable {
        /// What the system said.
        source: io::Error,
    },
    /// A folder or a device where a file should be.
    #[error("this is not a file: put the SQL into a plain file of that name")]
    NotAFile,
    /// `..`, an absolute path or the like.
    #[error(
        "the file lies outside of the manifest's folder: use a plain name such as 003_tags.sql"
    )]
    OutsideFolder,
    /// A symlink, or a name whose letters differ in case.
    #[error("the name leads to another file, {}: put a copy of the file itself there", real.display())]
    #[non_exhaustive]
    NotTheFile {
        /// Where it leads.
        real: PathBuf,
    },
    /// No statement in it.
    #[error("it contains no statement: write the migration, or remove it from the manifest")]
    Empty,
    /// Not UTF-8.
    #[error("line {line} is not UTF-8: save the file in UTF-8")]
    #[non_exhaustive]
    NotUtf8 {
        /// The line, from 1.
        line: usize,
    },
    /// Over 16 MiB.
    #[error("it is larger than {} MiB: split it into several versions", MAX_MIGRATION_BYTES / 1024 / 1024)]
    TooLarge,
    /// The text was changed after its checksum was written.
    #[error(
        "its checksum is {actual}, the manifest says {stated}: undo the change to the file, or, \
         if no database has this version yet, write the new checksum"
    )]
    #[non_exhaustive]
    Checksum {
        /// What the manifest says.
        stated: Checksum,
        /// What the file has.
        actual: Checksum,
    },
    /// A string, comment or quoted name that never ends.
    #[error("the {what} that begins on line {line} never ends: close it")]
    #[non_exhaustive]
    Unterminated {
        /// The line, from 1.
        line: usize,
        /// What was not closed.
        what: &'static str,
    },
    /// A zero byte.
    #[error("there is a zero byte on line {line}, which PostgreSQL cannot store: remove it")]
    #[non_exhaustive]
    ZeroByte {
        /// The line, from 1.
        line: usize,
    },
    /// A byte order mark inside the text, as left by joining two files.
    #[error(
        "there is a byte order mark (U+FEFF) on line {line}, which PostgreSQL reads as a letter: delete it"
    )]
    #[non_exhaustive]
    ByteOrderMark {
        /// The line, from 1.
        line: usize,
    },
    /// A backslash outside of a string.
    #[error(
        "there is a backslash outside of a string on line {line}, where PostgreSQL has no use for one: remove it, or \
         put it between quotes"
    )]
    #[non_exhaustive]
    Backslash {
        /// The line, from 1.
        line: usize,
    },
    /// A statement that cannot run inside the one transaction of a migration.
    #[error(
        "`{what}` on line {line} cannot run inside a migration, which is one transaction: {remedy}"
    )]
    #[non_exhaustive]
    NotTransactional {
        /// The line, from 1.
        line: usize,
        /// The command.
        what: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A change of the role, such as `set role`.
    #[error(
        "`{what}` on line {line} cannot be part of a migration, which always runs as the owner of the installed \
         functions: remove it"
    )]
    #[non_exhaustive]
    Role {
        /// The line, from 1.
        line: usize,
        /// The command.
        what: String,
    },
    /// A statement that PostgreSQL runs outside a transaction only.
    #[error(
        "`{what}` on line {line} cannot run inside a transaction: move it into a version of its own that has \
         \"transaction\": false in the manifest"
    )]
    #[non_exhaustive]
    OutsideOnly {
        /// The line, from 1.
        line: usize,
        /// The command.
        what: String,
    },
    /// A version with `"transaction": false` has several statements.
    #[error(
        "a version with \"transaction\": false has one statement, and a second one begins on line {line}: move it into \
         a version of its own"
    )]
    #[non_exhaustive]
    SecondStatement {
        /// The line of the second one, from 1.
        line: usize,
    },
    /// The statement of a version with `"transaction": false` is none of those that can be.
    #[error(
        "`{what}` on line {line} cannot be the statement of a version with \"transaction\": false, which is \
         `create [unique] index concurrently`, `drop index concurrently` of one index, `reindex … concurrently` of an \
         index or table, `vacuum` of a table but not `full`, `alter table … detach partition … concurrently`, or \
         `alter type … add value`: \
         remove \"transaction\" from the manifest, or the statement"
    )]
    #[non_exhaustive]
    NotOutside {
        /// The line, from 1.
        line: usize,
        /// The command.
        what: String,
    },
    /// An index without a name, in a version with `"transaction": false`.
    #[error(
        "the index on line {line} has no name, by which a version with \"transaction\": false knows whether it was \
         made: give it one"
    )]
    #[non_exhaustive]
    UnnamedIndex {
        /// The line, from 1.
        line: usize,
    },
    /// `select … into`, which PL/pgSQL does not execute.
    #[error(
        "`select … into` on line {line} cannot run inside a migration: use `create table … as`"
    )]
    #[non_exhaustive]
    SelectInto {
        /// The line, from 1.
        line: usize,
    },
    /// `standard_conforming_strings = off`, after which PostgreSQL reads the rest differently.
    #[error(
        "line {line} switches standard_conforming_strings off, which changes how strings are read: remove it, and \
         write strings with backslash escapes as E'…'"
    )]
    #[non_exhaustive]
    OldStrings {
        /// The line, from 1.
        line: usize,
    },
}

impl From<SqlError> for ManifestErrorKind {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Empty => Self::Empty,
            SqlError::Unterminated { line, what } => Self::Unterminated { line, what },
            SqlError::ZeroByte { line } => Self::ZeroByte { line },
            SqlError::ByteOrderMark { line } => Self::ByteOrderMark { line },
            SqlError::Backslash { line } => Self::Backslash { line },
            SqlError::NotTransactional { line, what, remedy } => {
                Self::NotTransactional { line, what, remedy }
            }
            SqlError::Role { line, what } => Self::Role { line, what },
            SqlError::OutsideOnly { line, what } => Self::OutsideOnly { line, what },
            SqlError::SecondStatement { line } => Self::SecondStatement { line },
            SqlError::NotOutside { line, what } => Self::NotOutside { line, what },
            SqlError::UnnamedIndex { line } => Self::UnnamedIndex { line },
            SqlError::SelectInto { line } => Self::SelectInto { line },
            SqlError::OldStrings { line } => Self::OldStrings { line },
        }
    }
}

/// Which file, and for which version.
#[derive(Clone, Debug)]
pub(super) struct Place {
    file: String,
    version: Option<i64>,
}

impl Place {
    pub(super) fn manifest(file: String) -> Self {
        Self {
            file,
            version: None,
        }
    }

    pub(super) fn of(file: &str, version: i64) -> Self {
        Self {
            file: file.to_owned(),
            version: Some(version),
        }
    }

    pub(super) fn error(self, kind: ManifestErrorKind) -> ManifestError {
        ManifestError { place: self, kind }
    }
}
