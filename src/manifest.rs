//! The migrations that this build knows: `manifest.json` and the SQL files beside it.

mod checksum;
mod error;
mod source;
mod sql_file;
mod version;

use std::{fmt, iter, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

pub(crate) use self::sql_file::SqlFile;
pub use self::{
    checksum::{Checksum, ChecksumError},
    error::{ManifestError, ManifestErrorKind},
    version::{Version, VersionError},
};
use self::{
    error::Place,
    source::{Embedded, Folder, Source, is_inside},
};

/// The name of the file that lists the migrations.
const MANIFEST: &str = "manifest.json";

/// The largest migration that is accepted, in bytes.
pub const MAX_MIGRATION_BYTES: usize = 16 * 1024 * 1024;

/// The migrations of this repository, as files.
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

/// One step from a version to the next.
#[derive(Clone)]
pub struct Migration {
    version: Version,
    name: String,
    description: String,
    up: SqlFile,
    down: Option<SqlFile>,
    breaking: bool,
    backup: Option<Backup>,
}

/// Whether a migration asks for a backup first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
pub enum Backup {
    /// It would be wise.
    Recommended,
    /// The user must say that there is one.
    Required,
}

impl Migrations {
    /// The migrations that come with this crate.
    ///
    /// # Errors
    /// None in a released build: the list is tested.
    pub fn bundled() -> Result<Self, ManifestError> {
        Self::read(&Embedded(BUNDLED))
    }

    /// Reads `manifest.json` and the files that it names from a folder.
    ///
    /// # Errors
    /// [`ManifestError`], when anything is missing or does not agree. It names the
    /// file, the version and the remedy.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self, ManifestError> {
        Self::read(&Folder::open(folder.as_ref())?)
    }

    /// Takes the files from memory, as pairs of name and text, for a crate that
    /// brings its own migrations by `include_str!`. One of them is `manifest.json`.
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

    /// The highest version, or [`Version::ZERO`] where the list is empty.
    #[must_use]
    pub fn latest_version(&self) -> Version {
        self.0.last().map_or(Version::ZERO, Migration::version)
    }

    /// The migration to this version.
    #[must_use]
    pub fn get(&self, version: Version) -> Option<&Migration> {
        // Versions count from 1 without gaps, so the place follows from the number.
        self.0.get((version.get() as usize).checked_sub(1)?)
    }

    /// All of them, lowest version first.
    pub fn iter(&self) -> std::slice::Iter<'_, Migration> {
        self.0.iter()
    }

    /// Those above a version, lowest first.
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
    /// The version that the database has afterwards.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its name, such as `001_ctx0_schema`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does, in a sentence.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The file it was read from, as the manifest names it.
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

    /// The SQL that takes it back, where there is one.
    #[must_use]
    pub fn down_sql(&self) -> Option<&str> {
        self.down.as_ref().map(SqlFile::text)
    }

    /// Whether older builds cannot work with the database afterwards.
    #[must_use]
    pub fn is_breaking(&self) -> bool {
        self.breaking
    }

    /// Whether it asks for a backup first.
    #[must_use]
    pub fn backup(&self) -> Option<Backup> {
        self.backup
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

/// `manifest.json` as written. What it does not name is ignored, so that an older
/// build reads the manifest of a newer one.
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
    #[serde(default)]
    breaking: bool,
    backup: Option<Backup>,
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

    /// Checks one entry, of which `expected` is the place in the list, from 1.
    fn check(&self, entry: &Entry, expected: i64) -> Result<(), ManifestError> {
        let (version, name) = (entry.version, entry.name.clone());
        let refuse = |file: &str, problem| Err(Place::of(file, version).error(problem));
        let listed = |version| self.migrations.iter().filter(move |e| e.version == version);
        if version < 1 || Version::try_from(version).is_err() {
            return refuse(&entry.file, ManifestErrorKind::NotAVersion);
        }
        if listed(version).count() > 1 {
            return refuse(&entry.file, ManifestErrorKind::Duplicate);
        }
        if version != expected {
            let problem = match listed(expected).count() {
                0 => ManifestErrorKind::Missing { missing: expected },
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
        let up = SqlFile::read(source, self.file, self.version, self.checksum)?;
        let down = self
            .down
            .map(|file| SqlFile::read(source, file, self.version, None));
        Ok(Migration {
            version: Version::try_from(self.version)
                .map_err(|_| place.error(ManifestErrorKind::NotAVersion))?,
            name: self.name,
            description: self.description,
            up,
            down: down.transpose()?,
            breaking: self.breaking,
            backup: self.backup,
        })
    }
}

/// The reason alone: serde_json appends the place, which has fields of its own here.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ")
        .map_or(text.clone(), |(reason, _)| reason.to_owned())
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::{prelude::*, test_runner::TestRunner};
    use serde_json::json;

    use super::*;
    use crate::sql::{SqlError, Statements, line_ends};

    const CASES: u32 = 50_000;

    #[test]
    fn any_manifest_is_taken_whole_or_refused() {
        let mut taken = 0;
        over(CASES, |rng| {
            let files = folder(rng);
            let files: Vec<_> = files
                .iter()
                .map(|(name, text)| (*name, text.as_str()))
                .collect();
            let migrations = match Migrations::embedded(&files) {
                Ok(migrations) => migrations,
                Err(error) => {
                    prop_assert!(!error.to_string().is_empty());
                    return Ok(());
                }
            };
            taken += 1;
            for (migration, number) in migrations.iter().zip(1..) {
                prop_assert_eq!(migration.version().get(), number);
                prop_assert_eq!(migration.statements().collect::<String>(), migration.sql());
                prop_assert_eq!(migration.checksum(), Checksum::of(migration.sql()));
            }
            prop_assert_eq!(
                migrations.latest_version().get() as usize,
                migrations.iter().len()
            );
            Ok(())
        });
        assert!(taken > CASES / 50, "{taken} were valid");
    }

    #[test]
    fn any_text_is_cut_without_losing_a_byte_or_refused() {
        let mut cut = 0;
        over(CASES, |rng| {
            let text = sql(rng);
            let lines = 1..=line_ends(text.as_bytes()) + 1;
            match Statements::cut(text.clone()) {
                Ok(statements) => {
                    cut += 1;
                    let texts: Vec<_> = statements.iter().collect();
                    prop_assert_eq!(texts.concat(), text);
                    let starts: Vec<_> = (1..=texts.len()).map(|n| statements.line_of(n)).collect();
                    prop_assert!(starts.is_sorted());
                    for start in starts {
                        prop_assert!(start.is_some_and(|line| lines.contains(&line)));
                    }
                    prop_assert_eq!(statements.line_of(texts.len() + 1), None);
                }
                Err(SqlError::Empty) => {}
                Err(
                    SqlError::Unterminated { line, .. }
                    | SqlError::ZeroByte { line }
                    | SqlError::ByteOrderMark { line }
                    | SqlError::NotTransactional { line, .. }
                    | SqlError::SelectInto { line }
                    | SqlError::OldStrings { line },
                ) => prop_assert!(lines.contains(&line)),
            }
            Ok(())
        });
        assert!(cut > CASES / 50, "{cut} were valid");
    }

    /// Runs a property over random numbers, each case out of a seed of its own.
    fn over(cases: u32, mut property: impl FnMut(&mut Rng) -> Result<(), TestCaseError>) {
        let property = std::cell::RefCell::new(&mut property);
        let config = ProptestConfig {
            cases,
            failure_persistence: None,
            ..Default::default()
        };
        TestRunner::new(config)
            .run(&any::<u64>(), |seed| {
                property.borrow_mut()(&mut Rng::with_seed(seed))
            })
            .unwrap();
    }

    /// A manifest that is nearly right, and its files, of which one may be missing.
    fn folder(rng: &mut Rng) -> Vec<(&'static str, String)> {
        const NAMES: [&str; 3] = ["001_a", "002_b", "003_c"];
        const FILES: [&str; 3] = ["001_a.sql", "002_b.sql", "003_c.sql"];
        let count = rng.usize(..=NAMES.len());
        let entries: Vec<_> = (0..count)
            .map(|at| {
                let mut entry = json!({
                    "version": at + 1, "name": NAMES[at], "description": text(rng), "file": FILES[at],
                });
                if rng.u8(..4) == 0 {
                    let (key, value) = oddity(rng);
                    entry[key] = value;
                }
                entry
            })
            .collect();
        let current = if rng.u8(..8) == 0 {
            rng.usize(..4)
        } else {
            count
        };
        let mut manifest = json!({"currentVersion": current, "migrations": entries}).to_string();
        if rng.u8(..4) == 0 {
            manifest = damaged(rng, &manifest);
        }
        let there = if rng.u8(..8) == 0 {
            rng.usize(..=count)
        } else {
            count
        };
        let mut files = vec![(MANIFEST, manifest)];
        files.extend(FILES[..there].iter().map(|file| {
            let text = if rng.bool() {
                "select 1;".to_owned()
            } else {
                sql(rng)
            };
            (*file, text)
        }));
        files
    }

    /// What may be wrong with an entry, or unusual.
    fn oddity(rng: &mut Rng) -> (&'static str, serde_json::Value) {
        let all = [
            ("version", json!(rng.i64(-2..5))),
            ("version", json!(rng.i64(..))),
            ("version", json!("1")),
            ("name", json!(text(rng))),
            (
                "file",
                json!(
                    ["../001_a.sql", "/etc/passwd", "", ".", "a\\b", "001_a.sql"][rng.usize(..6)]
                ),
            ),
            ("checksum", json!("0".repeat(rng.usize(60..66)))),
            ("checksum", json!(Checksum::of("select 1;"))),
            (
                "down",
                json!(["002_b.sql", "nowhere.sql", ".."][rng.usize(..3)]),
            ),
            (
                "backup",
                json!(["required", "recommended", "maybe"][rng.usize(..3)]),
            ),
            ("breaking", json!(rng.bool())),
            ("breaking", json!(null)),
            ("later", json!({"any": [1, null]})),
        ];
        all[rng.usize(..all.len())].clone()
    }

    /// A text with some of its bytes changed or gone, as far as it is still text.
    fn damaged(rng: &mut Rng, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..bytes.len());
            match rng.u8(..3) {
                0 => bytes[at] = rng.u8(..),
                1 => bytes.insert(at, rng.u8(..)),
                _ => bytes.truncate(at + 1),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn text(rng: &mut Rng) -> String {
        let bytes: Vec<u8> = (0..rng.usize(..12)).map(|_| rng.u8(..)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Pieces of SQL, in an order that makes sense now and then.
    fn sql(rng: &mut Rng) -> String {
        const FRAGMENTS: [&str; 32] = [
            "select 1",
            "select 1;",
            "insert into t values (1);",
            ";",
            ";",
            "\n",
            "\n",
            " ",
            "\r\n",
            "'",
            "'it''s'",
            "\"",
            "$$",
            "$x$",
            "$1",
            "--",
            "/*",
            "*/",
            "(",
            ")",
            "\\",
            "e'\\'",
            "U&'",
            "é",
            "\0",
            "begin",
            "commit",
            "create function f() returns int begin atomic",
            "end",
            "case",
            "create index concurrently i on t (a)",
            "copy t from stdin",
        ];
        let fragments = (0..rng.usize(..12)).map(|_| FRAGMENTS[rng.usize(..FRAGMENTS.len())]);
        let mut sql: String = fragments.collect();
        if rng.u8(..8) == 0 {
            sql += &text(rng);
        }
        sql
    }
}
