//! Decides which steps lead from the database's version to another one. Pure.

mod batch;
mod step;
#[cfg(test)]
mod tests;
mod way;

pub use self::way::Way;
pub(crate) use self::{batch::next_batch, step::Step};
use crate::{
    app_version::AppVersion,
    ledger::{AppliedVersion, LedgerError},
    manifest::{Checksum, Migration, Migrations, Version},
};

/// How to bring a database up to date.
#[derive(Clone, Debug)]
pub(crate) struct Plan<'p> {
    /// The highest version in the ledger.
    pub(crate) current: Version,
    /// The migrations above it, lowest first. Empty where there is a problem.
    pub(crate) pending: &'p [Migration],
    /// Those above what may be applied now.
    pub(crate) withheld: &'p [Migration],
    /// The ledger's rows above this build's latest version, where the app can work with all of them.
    pub(crate) newer: &'p [AppliedVersion],
    /// Why nothing may be applied.
    pub(crate) problem: Option<LedgerError>,
}

/// Why a database cannot be rolled back to a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoRollback {
    /// The ledger has gaps.
    Ledger(LedgerError),
    /// The version is above the database's own.
    NotBelow { current: Version },
    /// This version has no down migration.
    NotReversible(Version),
}

/// Compares the migrations of this app with the ledger, which is ordered by version. `released` says up
/// to which version a database may be brought from its own.
pub(crate) fn plan<'p>(
    migrations: &'p Migrations,
    ledger: &'p [AppliedVersion],
    app: Option<&AppVersion>,
    released: impl FnOnce(Version) -> Version,
) -> Plan<'p> {
    let current = ledger.last().map_or(Version::ZERO, |row| row.version);
    let latest = migrations.latest_version();
    let newer = &ledger[ledger.partition_point(|row| row.version <= latest)..];
    let problem = differing(migrations, ledger)
        .or_else(|| gap(current, ledger))
        .or_else(|| ahead(newer, current, latest, app));
    let (pending, newer) = match problem {
        None => (migrations.after(current), newer),
        Some(_) => (&[][..], &[][..]),
    };
    let released = released(current);
    let (pending, withheld) =
        pending.split_at(pending.partition_point(|migration| migration.version() <= released));
    Plan {
        current,
        pending,
        withheld,
        newer,
        problem,
    }
}

/// The ledger's rows above a version, newest first: the ones to roll back, if all of them can be.
/// `reversible` lists the versions whose down migration is stored in the database.
pub(crate) fn plan_rollback<'l>(
    migrations: &Migrations,
    ledger: &'l [AppliedVersion],
    reversible: &[Version],
    version: Version,
) -> Result<Vec<&'l AppliedVersion>, NoRollback> {
    let current = ledger.last().map_or(Version::ZERO, |row| row.version);
    if let Some(gap) = gap(current, ledger) {
        return Err(NoRollback::Ledger(gap));
    }
    if version > current {
        return Err(NoRollback::NotBelow { current });
    }
    // A version recorded by hand has no checksum and nothing stored, so this build's file counts.
    let has_file = |row: &AppliedVersion| {
        row.checksum.is_none()
            && migrations.get(row.version).is_some_and(|migration| {
                migration.name() == row.migration_name && migration.down().is_some()
            })
    };
    let above = ledger.iter().rev().filter(|row| row.version > version);
    above
        .map(|row| {
            if reversible.contains(&row.version) || has_file(row) {
                Ok(row)
            } else {
                Err(NoRollback::NotReversible(row.version))
            }
        })
        .collect()
}

/// Of what is to be applied, the part before which a backup makes sense. Where there is nothing of ctx0 yet, there is no
/// data that a version after the first could lose.
pub(crate) fn worth_a_backup<T>(has_data: bool, pending: &[T]) -> &[T] {
    let count = if has_data {
        pending.len()
    } else {
        pending.len().min(1)
    };
    &pending[..count]
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
        Some(checksum) => format!("{name} (checksum {}…)", checksum.short()),
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

fn ahead(
    newer: &[AppliedVersion],
    current: Version,
    latest: Version,
    app: Option<&AppVersion>,
) -> Option<LedgerError> {
    let breaking: Vec<_> = newer.iter().filter(|row| !row.works_with(app)).collect();
    if breaking.is_empty() {
        return None;
    }
    // Where one of them names no app, no app can be named that is new enough for all.
    let oldest_apps: Option<Vec<_>> = breaking
        .into_iter()
        .map(AppliedVersion::oldest_app)
        .collect();
    Some(LedgerError::DatabaseAhead {
        current,
        latest,
        app_needed: oldest_apps.and_then(|apps| apps.into_iter().max()),
    })
}
