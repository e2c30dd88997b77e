//! What the database records: the versions it has, and the attempts that changed them.

use std::fmt;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use crate::{
    app_version::AppVersion,
    manifest::{Checksum, Version},
};

/// A row of the ledger: a version that the database has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AppliedVersion {
    /// The version.
    pub version: Version,
    /// Its name, such as `002_schema_versioning`.
    pub migration_name: String,
    /// What it does, in a sentence.
    pub description: Option<String>,
    /// When it was applied. `None` where the row has no time, or one that is not a point in time
    /// (`infinity`). A time without an offset, as a ledger made by hand may have, counts as UTC.
    #[serde(default, deserialize_with = "lenient_timestamp")]
    #[cfg_attr(
        feature = "json-schema",
        schemars(with = "Option<String>", extend("format" = "date-time"))
    )]
    pub applied_at: Option<Timestamp>,
    /// Who applied it.
    pub applied_by: Option<String>,
    /// The checksum of the SQL that ran; `None` for a version recorded by hand.
    #[serde(default)]
    pub checksum: Option<Checksum>,
    /// How long the SQL ran, in milliseconds; `None` for a version recorded by hand.
    #[serde(default)]
    pub execution_ms: Option<u64>,
    /// Whether apps that do not know this version can no longer work with the database. `None`: not
    /// known, as in a ledger that was made by hand or by an earlier release.
    #[serde(default, deserialize_with = "lenient")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaking: Option<bool>,
    /// The oldest app that can work with this version, as the manifest of that app wrote it.
    #[serde(default, deserialize_with = "lenient")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_app_version: Option<String>,
}

impl AppliedVersion {
    /// Whether an app can work with this version although it does not know it.
    ///
    /// The oldest app that can decides where both versions are known. Otherwise the version must have
    /// been declared not to be breaking.
    pub(crate) fn works_with(&self, app: Option<&AppVersion>) -> bool {
        match (&self.min_app_version, app) {
            (Some(oldest), Some(app)) => oldest.parse().is_ok_and(|oldest| *app >= oldest),
            (_, _) => self.breaking == Some(false),
        }
    }

    /// The oldest app that can work with this version, where it is known.
    pub(crate) fn oldest_app(&self) -> Option<AppVersion> {
        self.min_app_version.as_ref()?.parse().ok()
    }
}

/// One recorded attempt to change the schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Attempt {
    /// The id under which it was requested. Every copy of the request carries the same one.
    pub attempt: uuid::Uuid,
    /// What was requested.
    pub action: AttemptAction,
    /// The version to apply, to roll back or to record.
    pub version: Version,
    /// What came of it.
    pub outcome: AttemptOutcome,
    /// The SQLSTATE of a failure.
    pub sqlstate: Option<String>,
    /// The message of a failure or a conflict.
    pub message: Option<String>,
    /// Who requested it.
    pub applied_by: Option<String>,
    /// Who said that there was a backup.
    pub backup_by: Option<String>,
    /// Why the ledger was repaired; `None` for an apply and a rollback.
    #[serde(default)]
    pub reason: Option<String>,
    /// Who asked to end it.
    #[serde(default)]
    pub cancelled_by: Option<String>,
    /// When it began.
    #[cfg_attr(
        feature = "json-schema",
        schemars(with = "String", extend("format" = "date-time"))
    )]
    pub started_at: Timestamp,
    /// When it ended.
    #[cfg_attr(
        feature = "json-schema",
        schemars(with = "String", extend("format" = "date-time"))
    )]
    pub finished_at: Timestamp,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// The version was applied.
    Applied,
    /// The database had the version before.
    AlreadyApplied,
    /// The version was rolled back.
    RolledBack,
    /// The database did not have the version.
    AlreadyRolledBack,
    /// The ledger was repaired.
    Recorded,
    /// The ledger needed no repair any more.
    AlreadyRecorded,
    /// The database refused to start. Nothing was changed.
    Conflict,
    /// The SQL failed. Nothing was changed.
    Failed,
    /// Somebody asked to end it. Nothing was changed.
    Cancelled,
}

/// The direction of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Action {
    /// To the next version.
    Apply,
    /// To the version before.
    Rollback,
}

/// A repair of the ledger, which runs no SQL of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum RepairAction {
    /// An empty ledger gets the versions that the schema has.
    Baseline,
    /// A version is added to the ledger.
    MarkApplied,
    /// A version is removed from the ledger.
    MarkNotApplied,
    /// A version gets another name and checksum.
    AcceptChecksum,
}

/// What an attempt was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum AttemptAction {
    /// To change the schema.
    Change(Action),
    /// To repair the ledger.
    Repair(RepairAction),
}

/// How the ledger disagrees with the migrations of this build.
///
/// Nothing is applied to such a database, and it is never reported as up to date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum LedgerError {
    /// A newer build has changed the database, in a way that this app may not be able to work with.
    #[error(
        "the database has schema version {current}, but this app only knows versions up to {latest}: update \
         the app{}",
        to_version(app_needed.as_ref())
    )]
    #[non_exhaustive]
    DatabaseAhead {
        /// The highest version in the ledger.
        current: Version,
        /// The highest version of this build.
        latest: Version,
        /// The oldest app that can work with the database, where the ledger says so.
        #[serde(skip_serializing_if = "Option::is_none")]
        app_needed: Option<AppVersion>,
    },
    /// Versions below the highest are missing from the ledger.
    #[error(
        "the ledger ctx0_schema_versions has version {current} but not {}: if the database has those changes, record \
         that with `ctx0-schema repair mark-applied`; otherwise restore a backup",
        Versions(missing)
    )]
    #[non_exhaustive]
    Gap {
        /// The highest version in the ledger.
        current: Version,
        /// The lowest missing versions, at most ten.
        missing: Vec<Version>,
    },
    /// A version was applied from a migration other than this build's.
    #[error(
        "version {version} was applied as {applied}, but this app has {expected} under that number: use the \
         app that applied it, or restore the original file; if both make the same, record that with `ctx0-schema repair \
         accept-checksum {version}`"
    )]
    #[non_exhaustive]
    Differs {
        /// The version.
        version: Version,
        /// Its name in the ledger, with the beginning of its checksum.
        applied: String,
        /// Its name in this build, with the beginning of its checksum.
        expected: String,
    },
}

impl LedgerError {
    /// The name of the variant, as in [`Error::code`](crate::Error::code) and the JSON.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::DatabaseAhead { .. } => "databaseAhead",
            Self::Gap { .. } => "gap",
            Self::Differs { .. } => "differs",
        }
    }
}

/// Collects the ledger page by page: PostgREST returns at most `db-max-rows` rows at once,
/// which is 1,000 on Supabase.
#[derive(Debug, Default)]
pub(crate) struct Pages(Vec<AppliedVersion>);

/// A page whose versions do not rise from the end of the page before.
#[derive(Debug)]
pub(crate) struct OutOfOrder;

impl Pages {
    /// The version above which the next page begins.
    pub(crate) fn above(&self) -> Version {
        self.0.last().map_or(Version::ZERO, |row| row.version)
    }

    /// Adds a page, and returns whether it was the last one. `total` is how many rows there are
    /// above the last version, where the server counted them.
    pub(crate) fn add(
        &mut self,
        page: Vec<AppliedVersion>,
        total: Option<usize>,
    ) -> Result<bool, OutOfOrder> {
        // If a row were not above the one before it, the pages would never end.
        let versions = std::iter::once(self.above()).chain(page.iter().map(|row| row.version));
        if !versions.is_sorted_by(|a, b| a < b) {
            return Err(OutOfOrder);
        }
        let last = page.is_empty() || total.is_none_or(|total| total <= page.len());
        self.0.extend(page);
        Ok(last)
    }

    pub(crate) fn into_rows(self) -> Vec<AppliedVersion> {
        self.0
    }
}

/// The end of a sentence that asks to update the app.
fn to_version(needed: Option<&AppVersion>) -> String {
    needed.map_or_else(String::new, |needed| format!(" to {needed} or newer"))
}

/// Versions as a list for a sentence.
struct Versions<'a>(&'a [Version]);

impl fmt::Display for Versions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, version) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{version}")?;
        }
        Ok(())
    }
}

/// A column that someone may have made otherwise: what it cannot hold is not known.
fn lenient<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// The time of a row: a ledger made by hand may have one without an offset, or `infinity`, and
/// neither is a reason not to read the ledger.
fn lenient_timestamp<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| {
        let with_offset = text.parse().ok();
        with_offset.or_else(|| {
            let as_utc = text.parse::<DateTime>().ok()?;
            TimeZone::UTC.to_timestamp(as_utc).ok()
        })
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(version: u32, applied_at: &str) -> AppliedVersion {
        serde_json::from_value(json!({
            "version": version, "migration_name": "001_a", "description": null,
            "applied_at": applied_at, "applied_by": null,
        }))
        .unwrap()
    }

    #[test]
    fn one_point_in_time_is_equal_however_it_is_written() {
        let utc = row(1, "2026-11-25T09:51:44.16922+00:00");
        for text in [
            "2026-11-25T09:51:44.169220+00:00",
            "2026-11-25T10:51:44.16922+01:00",
            "2026-11-25T09:51:44.16922",
        ] {
            assert_eq!(row(1, text), utc, "{text}");
        }
        assert_ne!(row(1, "2026-11-25T09:51:45Z"), utc);
    }

    #[test]
    fn a_row_whose_time_is_no_point_in_time_is_read_all_the_same() {
        for text in ["infinity", "-infinity", "12026-01-01T00:00:00", "", "noon"] {
            assert_eq!(row(1, text).applied_at, None, "{text}");
        }
    }

    #[test]
    fn whether_a_version_breaks_older_apps_is_unknown_in_every_other_form() {
        let with = |breaking, oldest| -> AppliedVersion {
            serde_json::from_value(json!({
                "version": 1, "migration_name": "001_a", "description": null, "applied_at": null, "applied_by": null,
                "breaking": breaking, "min_app_version": oldest,
            }))
            .unwrap()
        };
        for value in [json!(null), json!("false"), json!(0), json!({})] {
            assert_eq!(with(value, json!(7)), row(1, ""));
        }
        assert_eq!(row(1, "").breaking, None);
        assert!(with(json!(false), json!(null)).works_with(None));
    }

    #[test]
    fn pages_end_at_the_total_or_with_an_empty_page() {
        let page = || vec![row(1, ""), row(2, "")];
        let last = |page, total| Pages::default().add(page, total).unwrap();
        assert!(last(page(), None));
        assert!(last(page(), Some(2)));
        assert!(!last(page(), Some(3)));
        assert!(last(Vec::new(), Some(3)));
    }

    #[test]
    fn pages_that_do_not_rise_are_refused() {
        let mut pages = Pages::default();
        pages.add(vec![row(1, ""), row(2, "")], Some(4)).unwrap();
        assert_eq!(pages.above().get(), 2);
        for page in [
            vec![row(2, "")],
            vec![row(4, ""), row(3, "")],
            vec![row(0, "")],
        ] {
            assert!(pages.add(page, None).is_err());
        }
    }
}
