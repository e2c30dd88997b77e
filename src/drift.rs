//! Whether the schema was changed outside the migrations.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    manifest::Version,
    schema_objects::{Definition, ObjectChange, PartKind},
};

/// Whether the schema was changed outside the migrations.
///
/// Everything in schema `public` whose name begins with `ctx0_` is compared with what the last
/// apply or rollback left: tables with their columns, constraints, indexes, triggers, policies,
/// rules, statistics, publications and comments; views, functions, types and sequences; owners and
/// rights.
///
/// Partitions come and go with the data: one that was created, attached or dropped since is not
/// reported. One that was there and still is, is compared like any table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(
    tag = "state",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Verification {
    /// Nothing was changed.
    #[non_exhaustive]
    Unchanged {
        /// The version of the database.
        current_version: Version,
    },
    /// Something was changed.
    #[non_exhaustive]
    Drifted {
        /// The version of the database.
        current_version: Version,
        /// The objects that differ: before as the last change left them, after as they are now.
        differences: Vec<ObjectChange>,
    },
    /// The schema cannot be compared.
    #[non_exhaustive]
    CannotSay {
        /// The version of the database.
        current_version: Version,
        /// Why not.
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
                    "the schema was changed since version {current_version} (- as it was left, + as it is now):"
                )?;
                differences
                    .iter()
                    .try_for_each(|change| f.write_str(&change.diff))
            }
            Self::CannotSay { reason, .. } => {
                write!(f, "cannot tell whether the schema was changed: {reason}")
            }
        }
    }
}

/// The response of `ctx0_verify_schema`.
#[derive(Debug, Deserialize)]
pub(crate) struct Findings {
    current_version: Version,
    format: u32,
    recorded: Option<Recorded>,
    objects: Vec<Difference>,
    unknown: Vec<UncomparedObject>,
}

#[derive(Debug, Deserialize)]
struct Recorded {
    format: u32,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Difference {
    /// The kind and the name, such as `table public.ctx0_entries`.
    name: String,
    before: Option<Vec<PlainPart>>,
    after: Option<Vec<PlainPart>>,
}

/// An object that could not be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct UncomparedObject {
    /// Its kind and name, such as `view public.ctx0_recent`.
    pub name: String,
    /// Why not.
    pub reason: String,
}

/// Part, name, definition.
type PlainPart = (PartKind, Option<String>, Option<String>);

impl From<Findings> for Verification {
    fn from(findings: Findings) -> Self {
        let current_version = findings.current_version;
        match findings.why_not() {
            Some(reason) => Self::CannotSay {
                current_version,
                reason,
            },
            None if findings.objects.is_empty() => Self::Unchanged { current_version },
            None => Self::Drifted {
                current_version,
                differences: findings
                    .objects
                    .into_iter()
                    .filter_map(Difference::into_change)
                    .collect(),
            },
        }
    }
}

impl Findings {
    /// Why the schema cannot be compared.
    fn why_not(&self) -> Option<String> {
        let version = self.current_version;
        let Some(recorded) = &self.recorded else {
            if version == Version::ZERO {
                let reason = "no version is applied yet, so there is nothing to compare with";
                return Some(reason.to_owned());
            }
            return Some(format!(
                "nothing was recorded with version {version} to compare with: it was not applied by this app, or the run \
                 that applied it was interrupted; the next version that is applied can be compared again"
            ));
        };
        if recorded.format != self.format {
            let other = if recorded.format < self.format {
                "an earlier"
            } else {
                "a newer"
            };
            return Some(format!(
                "version {version} was recorded by {other} release of the installed functions, which describes a \
                 schema differently; the next version that is applied can be compared again"
            ));
        }
        // What is known to have changed is worth more than what is not known.
        match &self.unknown[..] {
            [first, ..] if self.objects.is_empty() => Some(format!(
                "PostgreSQL prints the {} differently than before, and could not be asked whether it means the same: {}",
                first.name, first.reason
            )),
            _ => None,
        }
    }
}

impl Difference {
    pub(crate) fn into_change(self) -> Option<ObjectChange> {
        let side = |parts: Option<Vec<PlainPart>>| {
            parts.map(|parts| Definition::recorded(&self.name, parts))
        };
        ObjectChange::new(side(self.before), side(self.after))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn verification(changes: &Value) -> Verification {
        let mut findings = json!({
            "rpc_version": 2, "server_version": 150_018, "current_version": 3, "format": 2,
            "recorded": { "action": "apply", "version": 3, "format": 2 }, "objects": [], "unknown": [],
        });
        for (key, value) in changes.as_object().unwrap() {
            findings[key] = value.clone();
        }
        serde_json::from_value::<Findings>(findings).unwrap().into()
    }

    fn table(name: &str) -> Value {
        json!([{
            "name": format!("table public.ctx0_{name}"),
            "before": [["policy", "own", "for select to public using (\u{1}(a = b)\u{2})"]],
            "after": [["policy", "own", "for select to public using (\u{1}true\u{2})"]],
        }])
    }

    #[test]
    fn no_difference_is_unchanged() {
        let found = verification(&json!({}));
        assert_eq!(found.to_string(), "the schema is as version 3 left it");
    }

    #[test]
    fn a_difference_shows_both_sides_as_postgresql_prints_them() {
        let found = verification(&json!({ "objects": table("a") }));
        assert_eq!(
            found.to_string(),
            "the schema was changed since version 3 (- as it was left, + as it is now):\n\
             --- table public.ctx0_a\n\
             +++ table public.ctx0_a\n\
             @@ -1 +1 @@\n\
             -policy own for select to public using ((a = b))\n\
             +policy own for select to public using (true)\n"
        );
    }

    #[test]
    fn a_known_change_counts_more_than_an_unknown_one() {
        let unknown = json!([{ "name": "view public.ctx0_b", "reason": "the event trigger audit would run" }]);
        let found = verification(&json!({ "objects": table("a"), "unknown": unknown }));
        assert!(matches!(found, Verification::Drifted { .. }), "{found}");
        let found = verification(&json!({ "unknown": unknown }));
        assert_eq!(
            found.to_string(),
            "cannot tell whether the schema was changed: PostgreSQL prints the view public.ctx0_b differently than \
             before, and could not be asked whether it means the same: the event trigger audit would run"
        );
    }

    #[test]
    fn what_was_recorded_otherwise_or_not_at_all_cannot_be_compared() {
        for (changes, reason) in [
            (
                json!({ "recorded": null, "current_version": 0 }),
                "no version is applied yet, so there is nothing to compare with",
            ),
            (
                json!({ "recorded": null }),
                "nothing was recorded with version 3 to compare with: it was not applied by this app, or the run that \
                 applied it was interrupted; the next version that is applied can be compared again",
            ),
            (
                json!({ "recorded": { "format": 1 } }),
                "version 3 was recorded by an earlier release of the installed functions, which describes a schema \
                 differently; the next version that is applied can be compared again",
            ),
            (
                json!({ "recorded": { "format": 3 } }),
                "version 3 was recorded by a newer release of the installed functions, which describes a schema \
                 differently; the next version that is applied can be compared again",
            ),
        ] {
            let found = verification(&changes);
            let Verification::CannotSay {
                reason: reported, ..
            } = found
            else {
                panic!("{found}")
            };
            assert_eq!(reported, reason);
        }
    }
}
