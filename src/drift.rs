//! Whether the schema is still as the last change left it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    manifest::Version,
    schema_objects::{Definition, ObjectChange, PartKind},
};

/// The answer to "has somebody changed the schema past the migrations?".
///
/// Only the objects of ctx0 are looked at: what is in schema `public` under a name that begins
/// with `ctx0_`, with its columns, constraints, indexes, triggers, policies and rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(
    tag = "state",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Verification {
    /// It is as it was left.
    Unchanged {
        /// The version that the database has.
        current_version: Version,
    },
    /// It differs.
    Drifted {
        /// The version that the database has.
        current_version: Version,
        /// The objects that differ: before is how they were left, after how they are.
        differences: Vec<ObjectChange>,
    },
    /// There is nothing to compare with.
    CannotSay {
        /// The version that the database has.
        current_version: Version,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged { current_version } => {
                write!(f, "the schema is as version {current_version} left it")
            }
            Self::Drifted {
                current_version,
                differences,
            } => {
                writeln!(
                    f,
                    "the schema is not as version {current_version} left it; - is how it was left, + how it is:"
                )?;
                differences
                    .iter()
                    .try_for_each(|change| f.write_str(&change.diff))
            }
            Self::CannotSay { reason, .. } => {
                write!(
                    f,
                    "it cannot be said whether the schema has changed: {reason}"
                )
            }
        }
    }
}

/// What `ctx0_verify_schema` tells.
#[derive(Debug, Deserialize)]
pub(crate) struct Findings {
    current_version: Version,
    server_version: u32,
    fingerprint: String,
    recorded: Option<Recorded>,
    objects: Vec<Difference>,
}

#[derive(Debug, Deserialize)]
struct Recorded {
    server_version: u32,
    fingerprint: String,
}

#[derive(Debug, Deserialize)]
struct Difference {
    /// The kind and the name, such as `table public.ctx0_entries`.
    name: String,
    before: Option<Vec<PlainPart>>,
    after: Option<Vec<PlainPart>>,
}

/// Part, name, definition.
type PlainPart = (PartKind, Option<String>, Option<String>);

impl From<Findings> for Verification {
    fn from(findings: Findings) -> Self {
        let current_version = findings.current_version;
        let cannot_say = |reason: String| Self::CannotSay {
            current_version,
            reason,
        };
        let Some(recorded) = findings.recorded else {
            return cannot_say(format!(
                "version {current_version} was not reached through this app, so nothing was recorded"
            ));
        };
        if recorded.fingerprint == findings.fingerprint {
            return Self::Unchanged { current_version };
        }
        let (then, now) = (
            major(recorded.server_version),
            major(findings.server_version),
        );
        if then != now {
            return cannot_say(format!(
                "it was recorded by PostgreSQL {then}, and this is PostgreSQL {now}, which words definitions otherwise"
            ));
        }
        let differences: Vec<_> = findings
            .objects
            .into_iter()
            .filter(Difference::is_real)
            .filter_map(Difference::into_change)
            .collect();
        if differences.is_empty() {
            return Self::Unchanged { current_version };
        }
        Self::Drifted {
            current_version,
            differences,
        }
    }
}

impl Difference {
    /// Whether more differs than what a dump and its restoration change.
    fn is_real(&self) -> bool {
        let plain = |parts: &Option<Vec<PlainPart>>| {
            let parts = parts.as_ref()?.iter();
            let parts = parts.map(|(part, name, definition)| {
                (
                    part.clone(),
                    name.clone(),
                    definition.as_deref().map(without_casts),
                )
            });
            Some(parts.collect::<Vec<_>>())
        };
        plain(&self.before) != plain(&self.after)
    }

    fn into_change(self) -> Option<ObjectChange> {
        let side = |parts: Option<Vec<PlainPart>>| {
            parts.map(|parts| Definition::recorded(&self.name, parts))
        };
        ObjectChange::new(side(self.before), side(self.after))
    }
}

/// The number of a release that may word definitions otherwise, from `server_version_num`.
fn major(server_version: u32) -> u32 {
    server_version / 10_000
}

/// An expression without casts between texts, parentheses and blanks. When an expression on
/// `varchar` columns is dumped and restored, PostgreSQL puts these casts elsewhere.
fn without_casts(definition: &str) -> String {
    let mut plain = definition.to_owned();
    for cast in ["::character varying", "::text", "::bpchar"] {
        plain = plain.replace(cast, "");
    }
    plain.retain(|c| !matches!(c, '(' | ')' | '[' | ']') && !c.is_whitespace());
    plain
}
