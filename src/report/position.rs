use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::as_millis;
use crate::{
    ledger::Action,
    manifest::{Migration, Migrations, SqlFile, Version},
};

/// Where a running migration is, as the database tells it before the migration has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Position {
    /// Whether it is being applied or rolled back.
    pub action: Action,
    /// The version.
    pub version: Version,
    /// The statement that runs, from 1; 0 after the last one.
    pub statement: usize,
    /// How many statements there are.
    pub statements: usize,
    /// The line of this build's file on which the statement begins, from 1. `None` if this build does
    /// not have the file.
    #[serde(skip_deserializing)]
    pub line: Option<usize>,
    /// How long the version has been running.
    #[serde(
        rename(serialize = "versionMs", deserialize = "version_ms"),
        serialize_with = "as_millis",
        deserialize_with = "millis"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "u64"))]
    pub version_for: Duration,
    /// How long the statement has been running.
    #[serde(
        rename(serialize = "statementMs", deserialize = "statement_ms"),
        serialize_with = "as_millis",
        deserialize_with = "millis"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "u64"))]
    pub statement_for: Duration,
    /// What PostgreSQL is doing, in its own words, such as `building index: scanning table`: for an
    /// index, `vacuum`, `cluster`, `analyze` and `copy`, if the owner of the functions may see it.
    pub phase: Option<String>,
    /// How much of the phase is done, where PostgreSQL counts it: 0 to 100.
    pub percent: Option<u8>,
}

impl Position {
    /// With the line of this build's file.
    pub(crate) fn in_files_of(mut self, migrations: &Migrations) -> Self {
        let migration = migrations.get(self.version);
        let file = match self.action {
            Action::Apply => migration.map(Migration::up),
            Action::Rollback => migration.and_then(Migration::down),
        };
        let same = |file: &&SqlFile| file.statements().count() == self.statements;
        self.line = file
            .filter(same)
            .and_then(|file| file.line_of(self.statement));
        self
    }
}

/// `statement 2 of 7, line 31: building index: scanning table, 43 %`, for example.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.statement {
            0 => f.write_str("after the last statement")?,
            statement => write!(f, "statement {statement} of {}", self.statements)?,
        }
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(phase) = &self.phase {
            write!(f, ": {phase}")?;
        }
        if let Some(percent) = self.percent {
            write!(f, ", {percent} %")?;
        }
        Ok(())
    }
}

fn millis<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}
