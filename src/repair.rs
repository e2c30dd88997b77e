//! What a schema that was made by hand is, and how the ledger is made to say so. Pure.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    drift::{Difference, UncomparedObject},
    error::Error,
    ledger::{AppliedVersion, RepairAction},
    manifest::{Checksum, Migration, Migrations, Version},
    schema_objects::ObjectChange,
};

/// The schema that is there, compared with what each version of this build makes.
///
/// PostgreSQL compares them: the versions run in an empty schema, in a transaction that is rolled back.
/// Displays as text for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Recognition {
    /// The highest version in the ledger.
    pub current_version: Version,
    /// The objects of ctx0 that are there, such as `table public.ctx0_entries`.
    pub objects: Vec<String>,
    /// Each version of this build, lowest first.
    pub versions: Vec<ComparedVersion>,
    /// The differences from one version: from the one asked for, or else from the lowest of the closest.
    pub shown: Option<Differences>,
    #[serde(skip)]
    pub(crate) fingerprint: String,
}

/// A version of this build beside the schema that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ComparedVersion {
    /// The version.
    pub version: Version,
    /// Its name, such as `002_schema_versioning`.
    #[serde(rename = "migration_name")]
    pub migration_name: String,
    /// How alike the two are.
    pub likeness: Likeness,
}

/// Whether the schema is what a version makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Likeness {
    /// It is. The next version may make the same: one that changes only data, for example.
    Same,
    /// Some objects are not what the version makes, or could not be compared.
    Different {
        /// How many.
        objects: usize,
    },
    /// The version could not be run.
    NotCompared {
        /// Why not.
        reason: String,
    },
}

/// How the schema that is there differs from what a version makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Differences {
    /// The version.
    pub version: Version,
    /// The objects that differ: before as the version makes them, after as they are.
    pub changes: Vec<ObjectChange>,
    /// The objects that could not be compared.
    pub unknown: Vec<UncomparedObject>,
}

impl Recognition {
    /// The versions that make exactly the schema that is there, lowest first.
    ///
    /// If there are several, the lowest is the safe choice: those above it are pending then, and a preview
    /// shows what they do.
    pub fn same(&self) -> impl Iterator<Item = Version> {
        let same = self
            .versions
            .iter()
            .filter(|compared| compared.likeness == Likeness::Same);
        same.map(|compared| compared.version)
    }

    /// What the database has found.
    pub(crate) fn new(compared: Compared, migrations: &Migrations) -> Self {
        let mut found = compared.versions.into_iter();
        let mut failed = None;
        let mut likeness = |version| match found.next() {
            Some(FoundVersion::Made { differences: 0 }) => Likeness::Same,
            Some(FoundVersion::Made { differences }) => Likeness::Different {
                objects: differences,
            },
            Some(FoundVersion::NotMade { message }) => {
                failed = Some(version);
                Likeness::NotCompared { reason: message }
            }
            None => Likeness::NotCompared {
                reason: match failed {
                    Some(failed) => format!("version {failed} could not be run"),
                    None => "it was not run".to_owned(),
                },
            },
        };
        let versions = migrations.iter().map(|migration| ComparedVersion {
            version: migration.version(),
            migration_name: migration.name().to_owned(),
            likeness: likeness(migration.version()),
        });
        Self {
            current_version: compared.current_version,
            objects: compared.objects,
            versions: versions.collect(),
            shown: compared.shown.map(Differences::from),
            fingerprint: compared.fingerprint,
        }
    }
}

impl fmt::Display for Recognition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.objects.len() {
            1 => writeln!(f, "1 object of ctx0 is there")?,
            number => writeln!(f, "{number} objects of ctx0 are there")?,
        }
        for compared in &self.versions {
            let (version, name) = (compared.version, &compared.migration_name);
            writeln!(f, "v{version} {name}: {}", compared.likeness)?;
        }
        match &self.shown {
            Some(shown) => shown.fmt(f),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Likeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("makes exactly this schema"),
            Self::Different { objects: 1 } => f.write_str("1 object differs"),
            Self::Different { objects } => write!(f, "{objects} objects differ"),
            Self::NotCompared { reason } => write!(f, "not compared: {reason}"),
        }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.changes.is_empty() {
            let version = self.version;
            writeln!(
                f,
                "differences from v{version} (- as it makes them, + as they are):"
            )?;
        }
        for change in &self.changes {
            f.write_str(&change.diff)?;
        }
        for unknown in &self.unknown {
            writeln!(f, "{} was not compared: {}", unknown.name, unknown.reason)?;
        }
        Ok(())
    }
}

/// A repair of the ledger. No SQL of a version runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The database has this version, and the ledger lacks it: add it.
    MarkApplied(Version),
    /// The database does not have this version, the highest in the ledger: remove it.
    MarkNotApplied(Version),
    /// The database has what this build has under this number, and the ledger says otherwise: record the
    /// name and the checksum of this build.
    AcceptChecksum(Version),
}

/// A repair with the state of the ledger for which it was planned.
///
/// Displays as what it does, for the question whether to do it. A repair whose state has changed since is
/// refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RepairPlan {
    /// What is done.
    pub action: RepairAction,
    /// The version. A baseline records this one and all below it.
    pub version: Version,
    /// The highest version in the ledger.
    pub current_version: Version,
    /// What the ledger says of the version now.
    pub before: Option<RecordedMigration>,
    /// What it will say.
    pub after: Option<RecordedMigration>,
    /// Whether the schema is known to be what the version makes. Only a baseline compares.
    pub is_same: Option<bool>,
    #[serde(skip)]
    pub(crate) fingerprint: Option<String>,
}

/// What the ledger says of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RecordedMigration {
    /// Its name.
    #[serde(rename = "migration_name")]
    pub migration_name: String,
    /// Its checksum; `None` for one that was recorded by hand.
    pub checksum: Option<Checksum>,
}

/// How a repair ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RepairReport {
    /// What was done.
    pub action: RepairAction,
    /// The version.
    pub version: Version,
    /// The highest version in the ledger now.
    pub current_version: Version,
    /// Whether the ledger was so before, so that nothing was recorded.
    pub already_recorded: bool,
}

impl From<&Migration> for RecordedMigration {
    fn from(migration: &Migration) -> Self {
        Self {
            migration_name: migration.name().to_owned(),
            checksum: Some(migration.checksum()),
        }
    }
}

impl From<&AppliedVersion> for RecordedMigration {
    fn from(row: &AppliedVersion) -> Self {
        Self {
            migration_name: row.migration_name.clone(),
            checksum: row.checksum,
        }
    }
}

impl fmt::Display for RecordedMigration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.migration_name)?;
        match self.checksum {
            Some(checksum) => write!(f, " (checksum {}…)", checksum.short()),
            None => Ok(()),
        }
    }
}

/// Plans to record the versions up to this one, for a schema that was made by hand.
pub(crate) fn plan_baseline(
    migrations: &Migrations,
    found: &Recognition,
    version: Version,
) -> Result<RepairPlan, Error> {
    let migration = known(migrations, version)?;
    if found.current_version != Version::ZERO {
        return Err(cannot(
            "a baseline is for an empty ledger; a ledger with versions is repaired one version at a time",
        ));
    }
    if found.objects.is_empty() {
        return Err(cannot(
            "the database has no objects of ctx0: apply the versions instead",
        ));
    }
    Ok(RepairPlan {
        action: RepairAction::Baseline,
        version,
        current_version: found.current_version,
        before: None,
        after: Some(migration.into()),
        is_same: Some(found.same().any(|same| same == version)),
        fingerprint: Some(found.fingerprint.clone()),
    })
}

/// Plans a repair of this ledger, which is ordered by version.
pub(crate) fn plan_repair(
    migrations: &Migrations,
    ledger: &[AppliedVersion],
    repair: Repair,
) -> Result<RepairPlan, Error> {
    let current_version = ledger.last().map_or(Version::ZERO, |row| row.version);
    let (Repair::MarkApplied(version)
    | Repair::MarkNotApplied(version)
    | Repair::AcceptChecksum(version)) = repair;
    let before = ledger
        .iter()
        .find(|row| row.version == version)
        .map(RecordedMigration::from);
    let ours = || known(migrations, version).map(RecordedMigration::from);
    let (action, after) = match (repair, &before) {
        (Repair::MarkApplied(_), None) => {
            let ours = ours()?;
            if version > current_version.next() {
                let next = current_version.next();
                return Err(cannot(&format!(
                    "version {version} cannot follow version {current_version}: mark version {next} first"
                )));
            }
            (RepairAction::MarkApplied, Some(ours))
        }
        (Repair::MarkApplied(_), Some(before)) => {
            let more = if ours()? == *before {
                ""
            } else {
                ", from another text: accept the checksum of this build"
            };
            return Err(cannot(&format!(
                "version {version} is in the ledger already{more}"
            )));
        }
        (Repair::MarkNotApplied(_), Some(_)) if version == current_version => {
            (RepairAction::MarkNotApplied, None)
        }
        (Repair::MarkNotApplied(_), Some(_)) => {
            return Err(cannot(&format!(
                "only the highest version can be marked as not applied, which is {current_version}"
            )));
        }
        (Repair::AcceptChecksum(_), Some(before)) => {
            let ours = ours()?;
            if ours == *before {
                return Err(cannot(&format!(
                    "the ledger has this checksum of version {version} already"
                )));
            }
            (RepairAction::AcceptChecksum, Some(ours))
        }
        (Repair::MarkNotApplied(_) | Repair::AcceptChecksum(_), None) => {
            return Err(cannot(&format!("version {version} is not in the ledger")));
        }
    };
    Ok(RepairPlan {
        action,
        version,
        current_version,
        before,
        after,
        is_same: None,
        fingerprint: None,
    })
}

fn known(migrations: &Migrations, version: Version) -> Result<&Migration, Error> {
    migrations.get(version).ok_or(Error::UnknownVersion {
        version,
        latest: migrations.latest_version(),
    })
}

fn cannot(reason: &str) -> Error {
    Error::CannotRepair {
        reason: reason.to_owned(),
    }
}

impl fmt::Display for RepairPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version;
        let after = self.after.iter().map(ToString::to_string);
        let after = after.collect::<String>();
        let before = self.before.iter().map(ToString::to_string);
        let before = before.collect::<String>();
        match self.action {
            RepairAction::Baseline if version.get() == 1 => {
                write!(f, "records version 1 as applied, without running it")
            }
            RepairAction::Baseline => write!(
                f,
                "records versions 1 to {version} as applied, without running them"
            ),
            RepairAction::MarkApplied => write!(
                f,
                "records version {version} as applied, without running it: {after}"
            ),
            RepairAction::MarkNotApplied => write!(
                f,
                "removes version {version} from the ledger, without rolling it back: {before}"
            ),
            RepairAction::AcceptChecksum => write!(
                f,
                "records version {version} as {after}, in place of {before}"
            ),
        }
    }
}

/// The response of `ctx0_recognise_schema`.
#[derive(Debug, Deserialize)]
pub(crate) struct Compared {
    current_version: Version,
    objects: Vec<String>,
    fingerprint: String,
    versions: Vec<FoundVersion>,
    shown: Option<Shown>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum FoundVersion {
    Made { differences: usize },
    NotMade { message: String },
}

#[derive(Debug, Deserialize)]
struct Shown {
    version: Version,
    objects: Vec<Difference>,
    unknown: Vec<UncomparedObject>,
}

impl From<Shown> for Differences {
    fn from(shown: Shown) -> Self {
        let changes = shown.objects.into_iter();
        Self {
            version: shown.version,
            changes: changes.filter_map(Difference::into_change).collect(),
            unknown: shown.unknown,
        }
    }
}
