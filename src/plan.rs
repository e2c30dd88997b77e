//! What is to be done: the migrations of this build against the ledger's rows. No I/O.

mod step;

use serde::{Deserialize, Serialize};

use crate::manifest::{Checksum, Migration, Migrations, Version};

pub(crate) use self::step::Step;

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AppliedVersion {
    /// The version.
    pub version: Version,
    /// Its name.
    pub migration_name: String,
    /// What it did.
    pub description: Option<String>,
    /// When, in RFC 3339.
    pub applied_at: Option<String>,
    /// By whom.
    pub applied_by: Option<String>,
    /// The checksum of what ran; none where the row was written by hand.
    #[serde(default)]
    pub checksum: Option<Checksum>,
    /// Milliseconds that it took; none where the row was written by hand.
    #[serde(default)]
    pub execution_ms: Option<u64>,
}

/// Which way a version goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
pub enum Action {
    /// It is applied.
    Apply,
    /// It is taken back.
    Rollback,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Plan<'m> {
    /// The highest version in the ledger.
    pub(crate) current: Version,
    /// The migrations above it, lowest first; none where there is a problem.
    pub(crate) pending: &'m [Migration],
    /// Why nothing may be applied.
    pub(crate) problem: Option<LedgerError>,
}

/// Why a ledger does not fit the migrations of this build. Nothing is applied to such
/// a database, and it is never called up to date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum LedgerError {
    /// A newer build was here.
    #[error(
        "the database has schema version {current}, this app knows versions up to {latest} only: update the app, \
         the database is fine as it is"
    )]
    DatabaseAhead {
        /// The highest version in the ledger.
        current: Version,
        /// The highest version of this build.
        latest: Version,
    },
    /// Versions below the highest are not in the ledger.
    #[error(
        "the ledger ctx0_schema_versions has version {current}, but lacks {}: add the missing rows there if those \
         changes were made by hand, or else restore a backup",
        list(missing)
    )]
    Gap {
        /// The highest version in the ledger.
        current: Version,
        /// The first missing ones, at most ten.
        missing: Vec<Version>,
    },
    /// A version was applied from another migration than this build's.
    #[error(
        "version {version} was applied as {applied}, this build has {expected} under that number: use the app that \
         applied it, or restore the migration's file as it was"
    )]
    Differs {
        /// The version.
        version: Version,
        /// Its name and the beginning of its checksum in the ledger.
        applied: String,
        /// Its name and the beginning of its checksum in this build.
        expected: String,
    },
}

impl LedgerError {
    /// The name of the variant, as [`Error::code`](crate::Error::code) and the JSON have it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::DatabaseAhead { .. } => "databaseAhead",
            Self::Gap { .. } => "gap",
            Self::Differs { .. } => "differs",
        }
    }
}

/// Why the versions above one cannot be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotReversible {
    /// The ledger itself is not in order.
    Ledger(LedgerError),
    /// There are none.
    NotBelow { current: Version },
    /// Nobody knows how to take this one back.
    From(Version),
}

/// Compares. `ledger` is ordered by version.
pub(crate) fn plan<'m>(migrations: &'m Migrations, ledger: &[AppliedVersion]) -> Plan<'m> {
    let current = ledger.last().map_or(Version::ZERO, |row| row.version);
    let problem = differing(migrations, ledger)
        .or_else(|| gap(current, ledger))
        .or_else(|| ahead(current, migrations.latest_version()));
    let pending = if problem.is_none() {
        migrations.after(current)
    } else {
        &[]
    };
    Plan {
        current,
        pending,
        problem,
    }
}

/// The rows that have to be taken back to reach a version, newest first, if all of them can be.
/// `stored` lists the versions for which the database knows the way back.
pub(crate) fn way_back<'l>(
    migrations: &Migrations,
    ledger: &'l [AppliedVersion],
    stored: &[Version],
    version: Version,
) -> Result<Vec<&'l AppliedVersion>, NotReversible> {
    let current = ledger.last().map_or(Version::ZERO, |row| row.version);
    if let Some(gap) = gap(current, ledger) {
        return Err(NotReversible::Ledger(gap));
    }
    if version > current {
        return Err(NotReversible::NotBelow { current });
    }
    let rows: Vec<_> = ledger.iter().filter(|row| row.version > version).collect();
    let has_way_back = |row: &AppliedVersion| {
        // A row that was written by hand has neither a checksum nor a way back of its own.
        let ours = migrations.get(row.version);
        stored.contains(&row.version)
            || row.checksum.is_none()
                && ours
                    .is_some_and(|ours| ours.name() == row.migration_name && ours.down().is_some())
    };
    match rows.iter().rev().find(|row| !has_way_back(row)) {
        Some(row) => Err(NotReversible::From(row.version)),
        None => Ok(rows.into_iter().rev().collect()),
    }
}

fn differing(migrations: &Migrations, ledger: &[AppliedVersion]) -> Option<LedgerError> {
    let pairs = ledger
        .iter()
        .filter_map(|row| Some((row, migrations.get(row.version)?)));
    let (row, ours) = pairs.into_iter().find(|(row, ours)| {
        // A row that was written by hand has no checksum.
        row.migration_name != ours.name()
            || row
                .checksum
                .is_some_and(|checksum| checksum != ours.checksum())
    })?;
    Some(LedgerError::Differs {
        version: row.version,
        applied: shown(&row.migration_name, row.checksum),
        expected: shown(ours.name(), Some(ours.checksum())),
    })
}

fn shown(name: &str, checksum: Option<Checksum>) -> String {
    match checksum {
        Some(checksum) => format!("{name} (checksum {}…)", &checksum.to_string()[..12]),
        None => name.to_owned(),
    }
}

fn gap(current: Version, ledger: &[AppliedVersion]) -> Option<LedgerError> {
    if ledger.len() == current.get() as usize {
        return None;
    }
    let has = |number: &u32| {
        ledger
            .binary_search_by_key(number, |row| row.version.get())
            .is_ok()
    };
    let missing = (1..current.get())
        .filter(|number| !has(number))
        .filter_map(Version::new)
        .take(10)
        .collect();
    Some(LedgerError::Gap { current, missing })
}

fn ahead(current: Version, latest: Version) -> Option<LedgerError> {
    (current > latest).then_some(LedgerError::DatabaseAhead { current, latest })
}

fn list(versions: &[Version]) -> String {
    versions
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three migrations, `001_a` to `003_c`.
    fn migrations() -> Migrations {
        let files: Vec<(String, String)> = ["001_a", "002_b", "003_c"]
            .iter()
            .map(|name| (format!("{name}.sql"), format!("select '{name}';")))
            .collect();
        let entries: Vec<String> = (1..)
            .zip(["001_a", "002_b", "003_c"])
            .map(|(version, name)| {
                format!(r#"{{"version":{version},"name":"{name}","description":"","file":"{name}.sql"}}"#)
            })
            .collect();
        let manifest = format!(
            r#"{{"currentVersion":3,"migrations":[{}]}}"#,
            entries.join(",")
        );
        let mut all = vec![("manifest.json", manifest.as_str())];
        all.extend(
            files
                .iter()
                .map(|(name, sql)| (name.as_str(), sql.as_str())),
        );
        Migrations::embedded(&all).unwrap()
    }

    fn row(version: u32, name: &str, checksum: Option<Checksum>) -> AppliedVersion {
        AppliedVersion {
            version: Version::new(version).unwrap(),
            migration_name: name.to_owned(),
            description: None,
            applied_at: None,
            applied_by: None,
            checksum,
            execution_ms: None,
        }
    }

    /// Rows as this build would have written them, for names with their versions.
    fn applied(names: &[(u32, &str)]) -> Vec<AppliedVersion> {
        names
            .iter()
            .map(|(version, name)| {
                row(
                    *version,
                    name,
                    Some(Checksum::of(&format!("select '{name}';"))),
                )
            })
            .collect()
    }

    fn pending(plan: &Plan<'_>) -> Vec<u32> {
        plan.pending
            .iter()
            .map(|migration| migration.version().get())
            .collect()
    }

    #[test]
    fn an_empty_ledger_means_that_everything_is_pending() {
        let migrations = migrations();
        let plan = plan(&migrations, &[]);
        assert_eq!(
            (plan.current, pending(&plan), plan.problem),
            (Version::ZERO, vec![1, 2, 3], None)
        );
    }

    #[test]
    fn what_is_in_the_ledger_is_not_pending() {
        let migrations = migrations();
        let plan = plan(&migrations, &applied(&[(1, "001_a"), (2, "002_b")]));
        assert_eq!(
            (plan.current.get(), pending(&plan), plan.problem),
            (2, vec![3], None)
        );
    }

    #[test]
    fn a_full_ledger_is_up_to_date() {
        let migrations = migrations();
        let plan = plan(
            &migrations,
            &applied(&[(1, "001_a"), (2, "002_b"), (3, "003_c")]),
        );
        assert_eq!((pending(&plan), plan.problem), (vec![], None));
    }

    #[test]
    fn a_row_made_by_hand_is_known_by_its_name() {
        let migrations = migrations();
        let plan = plan(&migrations, &[row(1, "001_a", None)]);
        assert_eq!((pending(&plan), plan.problem), (vec![2, 3], None));
    }

    #[test]
    fn a_database_ahead_is_a_problem_of_its_own() {
        let migrations = migrations();
        let ledger = applied(&[(1, "001_a"), (2, "002_b"), (3, "003_c"), (4, "004_d")]);
        let plan = plan(&migrations, &ledger);
        let (current, latest) = (Version::new(4).unwrap(), Version::new(3).unwrap());
        assert_eq!(
            plan.problem,
            Some(LedgerError::DatabaseAhead { current, latest })
        );
        assert!(plan.pending.is_empty());
    }

    #[test]
    fn a_gap_names_what_is_missing() {
        let migrations = migrations();
        let plan = plan(&migrations, &applied(&[(3, "003_c")]));
        let missing = vec![Version::new(1).unwrap(), Version::new(2).unwrap()];
        assert_eq!(
            plan.problem,
            Some(LedgerError::Gap {
                current: Version::new(3).unwrap(),
                missing
            })
        );
        assert!(plan.pending.is_empty());
    }

    #[test]
    fn a_gap_of_millions_is_named_by_its_beginning() {
        let migrations = migrations();
        let Some(LedgerError::Gap { missing, .. }) =
            plan(&migrations, &applied(&[(i32::MAX as u32, "x")])).problem
        else {
            panic!("a gap");
        };
        assert_eq!(missing.len(), 10);
    }

    #[test]
    fn another_name_or_another_text_under_a_known_version_differs() {
        let migrations = migrations();
        let other_text = row(1, "001_a", Some(Checksum::of("select 'other';")));
        for ledger in [
            applied(&[(1, "001_x")]),
            vec![other_text],
            vec![row(1, "001_x", None)],
        ] {
            let plan = plan(&migrations, &ledger);
            assert!(
                matches!(plan.problem, Some(LedgerError::Differs { version, .. }) if version.get() == 1),
                "{plan:?}"
            );
            assert!(plan.pending.is_empty());
        }
    }

    #[test]
    fn a_difference_weighs_more_than_a_database_ahead() {
        let migrations = migrations();
        let ledger = applied(&[(1, "001_x"), (2, "002_b"), (3, "003_c"), (4, "004_d")]);
        assert!(matches!(
            plan(&migrations, &ledger).problem,
            Some(LedgerError::Differs { .. })
        ));
    }
}
