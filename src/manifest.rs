//! The migrations of this build: `manifest.json` and the SQL files beside it.

mod checksum;
mod error;
mod source;
mod sql_file;
#[cfg(test)]
mod tests;
#[cfg(feature = "cli")]
mod unknown_fields;
mod version;

use std::{fmt, iter, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

pub(crate) use self::sql_file::SqlFile;
#[cfg(feature = "cli")]
pub(crate) use self::unknown_fields::unknown_fields;
pub use self::{
    checksum::{Checksum, ChecksumError},
    error::{ManifestError, ManifestErrorKind},
    version::{Version, VersionError},
};
use self::{
    error::Place,
    source::{Embedded, Folder, Source, is_inside},
};
use crate::{
    app_version::AppVersion,
    sql::{SqlError, Statements, normalise},
};

/// The name of the file that lists the migrations.
pub(crate) const MANIFEST: &str = "manifest.json";

/// The largest migration that is accepted, in bytes.
pub const MAX_MIGRATION_BYTES: usize = 16 * 1024 * 1024;

/// The ctx0 schema's own migrations.
const BUNDLED: &[(&str, &str)] = &[
    (MANIFEST, include_str!("../migrations/manifest.json")),
    (
        "001_ctx0_schema.sql",
        include_str!("../migrations/001_ctx0_schema.sql"),
    ),
    (
        "001_ctx0_schema.down.sql",
        include_str!("../migrations/001_ctx0_schema.down.sql"),
    ),
    (
        "002_schema_versioning.sql",
        include_str!("../migrations/002_schema_versioning.sql"),
    ),
    (
        "002_schema_versioning.down.sql",
        include_str!("../migrations/002_schema_versioning.down.sql"),
    ),
];

/// A checked list of migrations, numbered from 1 without gaps. Cheap to clone.
///
/// ```
/// use ctx0_schema::Migrations;
///
/// let migrations = Migrations::bundled()?;
/// for migration in &migrations {
///     println!("v{}: {}", migration.version(), migration.description());
/// }
/// # Ok::<(), ctx0_schema::ManifestError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Migrations(Arc<[Migration]>);

/// A migration: the SQL that leads from one version to the next.
#[derive(Clone)]
pub struct Migration {
    version: Version,
    name: String,
    description: String,
    up: SqlFile,
    down: Option<SqlFile>,
    breaking: Option<bool>,
    min_app_version: Option<AppVersion>,
    backup: Option<Backup>,
    transaction: bool,
    lock_instead: Option<LockInstead>,
}

/// The manifest of another installation: which versions it has.
#[derive(Clone, Debug)]
pub(crate) struct Listing(Arc<[(String, Option<Checksum>)]>);

impl Listing {
    /// Reads it with all checks but those of the SQL files.
    pub(crate) fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest = ManifestFile::parse(&normalise(text), MANIFEST)?;
        let entries = manifest.migrations.into_iter();
        Ok(Self(
            entries.map(|entry| (entry.name, entry.checksum)).collect(),
        ))
    }

    pub(crate) fn latest_version(&self) -> Version {
        let latest = u32::try_from(self.0.len()).ok().and_then(Version::new);
        latest.expect("versions count from 1 without gaps")
    }

    /// Whether this version is one of them: with its name, and its checksum where that is stated.
    pub(crate) fn has(&self, migration: &Migration) -> bool {
        let listed = self.0.get(migration.version.before().get() as usize);
        listed.is_some_and(|(name, checksum)| {
            *name == migration.name
                && checksum.is_none_or(|checksum| checksum == migration.checksum())
        })
    }
}

/// Whether a migration asks for a backup first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
pub enum Backup {
    /// A backup is recommended.
    Recommended,
    /// The migration is applied only after someone has said that there is a backup.
    Required,
}

/// Whether a statement outside a transaction may run inside one instead, which locks its table, where nothing runs
/// it outside and [`Run::may_lock`](crate::Run::may_lock) agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum LockInstead {
    /// It may not.
    #[serde(rename = "never")]
    Never,
    /// It may if the table with its indexes is smaller than this, in MiB.
    #[serde(rename = "belowMiB")]
    BelowMib(u32),
}

impl Migrations {
    /// Returns the migrations that ship with this crate.
    ///
    /// # Errors
    /// None in a released build: a test reads them.
    pub fn bundled() -> Result<Self, ManifestError> {
        Self::read(&Embedded(BUNDLED))
    }

    /// Reads `manifest.json` and the files that it names from a folder. Never reads outside it.
    ///
    /// # Errors
    /// [`ManifestError`] if a file is missing or disagrees with the manifest. It names the file, the
    /// version and the remedy.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self, ManifestError> {
        Self::read(&Folder::open(folder.as_ref())?)
    }

    /// Reads the files from memory, as pairs of name and text: for a crate that embeds its own
    /// migrations with `include_str!`. One of them must be `manifest.json`.
    ///
    /// # Errors
    /// As [`Migrations::from_dir`].
    ///
    /// ```
    /// use ctx0_schema::Migrations;
    ///
    /// let migrations = Migrations::embedded(&[
    ///     ("manifest.json", r#"{"currentVersion": 1, "migrations": [
    ///         {"version": 1, "name": "001_notes", "description": "Notes", "file": "001_notes.sql"}]}"#),
    ///     ("001_notes.sql", "create table notes (id bigint primary key);"),
    /// ])?;
    /// assert_eq!(migrations.latest_version().get(), 1);
    /// # Ok::<(), ctx0_schema::ManifestError>(())
    /// ```
    pub fn embedded(files: &[(&str, &str)]) -> Result<Self, ManifestError> {
        Self::read(&Embedded(files))
    }

    /// Returns the highest version, or [`Version::ZERO`] if there are no migrations.
    #[must_use]
    pub fn latest_version(&self) -> Version {
        self.0.last().map_or(Version::ZERO, Migration::version)
    }

    /// Returns the migration that leads to a version.
    #[must_use]
    pub fn get(&self, version: Version) -> Option<&Migration> {
        // Versions count from 1 without gaps, so the place follows from the number.
        self.0.get((version.get() as usize).checked_sub(1)?)
    }

    /// Iterates over all migrations, lowest version first.
    pub fn iter(&self) -> std::slice::Iter<'_, Migration> {
        self.0.iter()
    }

    /// Returns the migrations above a version, lowest first.
    #[must_use]
    pub fn after(&self, version: Version) -> &[Migration] {
        self.0.get(version.get() as usize..).unwrap_or_default()
    }

    fn read(source: &dyn Source) -> Result<Self, ManifestError> {
        let text = source.read(&Place::manifest(source.origin(MANIFEST)), MANIFEST)?;
        let manifest = ManifestFile::parse(&text, &source.origin(MANIFEST))?;
        let migrations = manifest
            .migrations
            .into_iter()
            .map(|entry| entry.load(source));
        Ok(Self(migrations.collect::<Result<_, _>>()?))
    }
}

impl<'a> IntoIterator for &'a Migrations {
    type Item = &'a Migration;
    type IntoIter = std::slice::Iter<'a, Migration>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Migration {
    /// The version that it leads to.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its name, such as `001_ctx0_schema`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does, in one sentence.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The file that it was read from, as the manifest names it.
    #[must_use]
    pub fn file(&self) -> &str {
        self.up.name()
    }

    /// The SQL, with LF line endings and no byte order mark.
    #[must_use]
    pub fn sql(&self) -> &str {
        self.up.text()
    }

    /// The checksum of [`Migration::sql`].
    #[must_use]
    pub fn checksum(&self) -> Checksum {
        self.up.checksum()
    }

    /// The SQL that rolls it back. `None`: it is not reversible.
    #[must_use]
    pub fn down_sql(&self) -> Option<&str> {
        self.down.as_ref().map(SqlFile::text)
    }

    /// Whether apps that do not know this version can no longer work with the database afterwards.
    /// `None`: the manifest does not say, so such an app does not work with it.
    #[must_use]
    pub fn breaking(&self) -> Option<bool> {
        self.breaking
    }

    /// The oldest app that can work with the database afterwards, where the manifest says so.
    #[must_use]
    pub fn min_app_version(&self) -> Option<&AppVersion> {
        self.min_app_version.as_ref()
    }

    /// Whether it asks for a backup first, and how strongly.
    #[must_use]
    pub fn backup(&self) -> Option<Backup> {
        self.backup
    }

    /// Whether it is one transaction. The one statement of a version that is not, such as `create index
    /// concurrently`, runs outside, and its row in the ledger is written when its outcome is known.
    #[must_use]
    pub fn transaction(&self) -> bool {
        self.transaction
    }

    /// Whether the statement of a version that is not a transaction may run in one, as the manifest says.
    #[must_use]
    pub fn lock_instead(&self) -> Option<LockInstead> {
        self.lock_instead
    }

    /// The statements that the database runs one by one, in order; joined they are
    /// [`Migration::sql`]. [`MigrationError::statement`](crate::MigrationError::statement) counts them.
    pub fn statements(&self) -> impl Iterator<Item = &str> {
        self.up.statements()
    }

    pub(crate) fn up(&self) -> &SqlFile {
        &self.up
    }

    pub(crate) fn down(&self) -> Option<&SqlFile> {
        self.down.as_ref()
    }
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migration")
            .field("version", &self.version)
            .field("name", &self.name)
            .field("checksum", &self.checksum())
            .finish_non_exhaustive()
    }
}

/// `manifest.json` as written. Unknown keys are ignored, so that an older build can read the
/// manifest of a newer one.
#[derive(Deserialize)]
#[serde(expecting = "an object with currentVersion and migrations")]
struct ManifestFile {
    #[serde(rename = "currentVersion")]
    current_version: i64,
    migrations: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with version, name, description and file")]
struct Entry {
    version: i64,
    name: String,
    description: String,
    file: String,
    checksum: Option<Checksum>,
    down: Option<String>,
    breaking: Option<bool>,
    #[serde(rename = "minAppVersion")]
    min_app_version: Option<AppVersion>,
    backup: Option<Backup>,
    #[serde(default = "yes")]
    transaction: bool,
    #[serde(rename = "lockInstead")]
    lock_instead: Option<LockInstead>,
}

fn yes() -> bool {
    true
}

impl ManifestFile {
    /// Reads the text and checks what can be checked without the SQL files.
    fn parse(text: &str, origin: &str) -> Result<Self, ManifestError> {
        let place = Place::manifest(origin.to_owned());
        let manifest: Self = serde_json::from_str(text).map_err(|error| {
            place.clone().error(ManifestErrorKind::Json {
                line: error.line(),
                column: error.column(),
                reason: without_place(&error),
            })
        })?;

        for (entry, expected) in manifest.migrations.iter().zip(1..) {
            manifest.check(entry, expected)?;
        }
        let highest = manifest.migrations.last().map_or(0, |entry| entry.version);
        if manifest.current_version != highest {
            return Err(place.error(ManifestErrorKind::CurrentVersion {
                stated: manifest.current_version,
                highest,
            }));
        }
        Ok(manifest)
    }

    /// Checks one entry. `expected` is its place in the list, from 1.
    fn check(&self, entry: &Entry, expected: i64) -> Result<(), ManifestError> {
        let (version, name) = (entry.version, entry.name.clone());
        let refuse = |file: &str, problem| Err(Place::of(file, version).error(problem));
        let listed = |version| self.migrations.iter().filter(move |e| e.version == version);
        if version < 1 || Version::try_from(version).is_err() {
            return refuse(&entry.file, ManifestErrorKind::NotAVersion);
        }
        if version != expected {
            let problem = match (listed(version).count(), listed(expected).count()) {
                (2.., _) => ManifestErrorKind::Duplicate,
                (_, 0) => ManifestErrorKind::Missing { missing: expected },
                _ => ManifestErrorKind::Unordered { before: expected },
            };
            return refuse(&entry.file, problem);
        }
        for file in iter::once(&entry.file).chain(&entry.down) {
            if !is_inside(file) {
                return refuse(file, ManifestErrorKind::OutsideFolder);
            }
        }
        if entry.file != format!("{name}.sql") {
            return refuse(&entry.file, ManifestErrorKind::NameIsNotFile { name });
        }
        let digits = name.split(|c: char| !c.is_ascii_digit()).next();
        if digits.is_some_and(|digits| !digits.is_empty() && digits.parse() != Ok(version)) {
            return refuse(&entry.file, ManifestErrorKind::NameHasOtherNumber { name });
        }
        Ok(())
    }
}

impl Entry {
    fn load(self, source: &dyn Source) -> Result<Migration, ManifestError> {
        let place = Place::of(&self.file, self.version);
        let (cut_up, cut_down): (Cut, Cut) = match self.transaction {
            true => (Statements::cut, Statements::cut),
            false => (Statements::alone, alone_if_possible),
        };
        let up = SqlFile::read(source, self.file, self.version, self.checksum, cut_up)?;
        let down = self
            .down
            .map(|file| SqlFile::read(source, file, self.version, None, cut_down));
        Ok(Migration {
            version: Version::try_from(self.version)
                .map_err(|_| place.error(ManifestErrorKind::NotAVersion))?,
            name: self.name,
            description: self.description,
            up,
            down: down.transpose()?,
            breaking: self.breaking,
            min_app_version: self.min_app_version,
            backup: self.backup,
            transaction: self.transaction,
            lock_instead: self.lock_instead,
        })
    }
}

/// Makes statements of a text.
type Cut = fn(String) -> Result<Statements, SqlError>;

/// For the way down from a version that is no transaction, which may be one all the same.
fn alone_if_possible(text: String) -> Result<Statements, SqlError> {
    match Statements::cut(text.clone()) {
        Err(SqlError::OutsideOnly { .. }) => Statements::alone(text),
        cut => cut,
    }
}

/// The reason alone: serde_json appends the place, which has fields of its own here.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ")
        .map_or(text.clone(), |(reason, _)| reason.to_owned())
}
