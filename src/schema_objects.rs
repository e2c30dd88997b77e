//! Objects of the database with their definitions, and how a definition changed.

mod diff;

use std::fmt;

use serde::{
    Deserialize, Serialize,
    de::{IntoDeserializer, value::StrDeserializer},
};

/// An object whose definition changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ObjectChange {
    /// What kind of object it is.
    pub kind: ObjectKind,
    /// Its name with its schema.
    pub name: String,
    /// The definition before; `None` for a new object.
    pub before: Option<Definition>,
    /// The definition after; `None` for a dropped object.
    pub after: Option<Definition>,
    /// The change of the definition as a unified diff.
    pub diff: String,
}

/// The definition of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Definition {
    /// The object's name with its schema.
    pub name: String,
    /// Its columns, constraints, indexes and so on.
    #[serde(rename(deserialize = "definition"))]
    pub parts: Vec<Part>,
    #[serde(skip_serializing)]
    pub(crate) kind: ObjectKind,
    /// Stays the same when the object is renamed.
    #[serde(skip_serializing)]
    pub(crate) id: String,
}

/// A part of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PartRow")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Part {
    /// What kind of part it is.
    pub part: PartKind,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// The rest, as PostgreSQL writes it.
    pub definition: String,
    /// Stays the same when the part is renamed.
    #[serde(skip)]
    pub(crate) id: Option<String>,
    /// For a column: whether it is `not null`.
    #[serde(skip)]
    pub(crate) required: bool,
    /// For a column: whether a row that does not name it still gets a value.
    #[serde(skip)]
    pub(crate) filled: bool,
    /// For a column: whether its values are computed.
    #[serde(skip)]
    pub(crate) generated: bool,
    /// For a policy: whom it lets through, or limits if it is restrictive.
    #[serde(skip)]
    pub(crate) concerns: Vec<&'static str>,
    /// For a policy: whether rows need it beside another one.
    #[serde(skip)]
    pub(crate) restrictive: bool,
    /// For the body of a function: whether it runs with its owner's rights and can be called. For
    /// the options of a view: `security_invoker`, whether it reads with the rights of its caller.
    #[serde(skip)]
    pub(crate) security: bool,
}

/// The kinds of objects that a preview and a verification compare.
///
/// Serialises to PostgreSQL's own words, such as `materialized view`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum ObjectKind {
    /// A table, partitioned or not.
    Table,
    /// A view.
    View,
    /// A materialized view.
    #[serde(rename = "materialized view")]
    MaterializedView,
    /// A foreign table.
    #[serde(rename = "foreign table")]
    ForeignTable,
    /// A sequence other than that of an identity column.
    Sequence,
    /// An enum, domain, range or composite type.
    Type,
    /// A function.
    Function,
    /// A procedure.
    Procedure,
    /// An aggregate function.
    Aggregate,
    /// A schema.
    Schema,
    /// An extension.
    Extension,
    /// A role: `anon` or `authenticated`, with what it can do beyond grants.
    Role,
    /// What roles get on objects that are created later.
    #[serde(rename = "default privileges")]
    DefaultPrivileges,
    /// A kind that newer installed functions report and this release does not know.
    #[serde(untagged)]
    Other(String),
}

/// The kinds of parts that make up a definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum PartKind {
    /// A column.
    Column,
    /// A constraint.
    Constraint,
    /// An index that no constraint owns.
    Index,
    /// A trigger.
    Trigger,
    /// A policy of row level security.
    Policy,
    /// A rewrite rule.
    Rule,
    /// An extended statistics object.
    Statistics,
    /// The membership in a publication.
    Publication,
    /// A comment on the object, or on the column of this name.
    Comment,
    /// The privileges of one role.
    Grant,
    /// An option, such as `row level security`.
    Option,
    /// A value of an enum type.
    Value,
    /// The text of a function or a view, or the one-line definition of a sequence or a type.
    Body,
    /// A kind that newer installed functions report and this release does not know.
    #[serde(untagged)]
    Other(String),
}

impl ObjectKind {
    /// The kind in PostgreSQL's words, such as `materialized view`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Table => "table",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::ForeignTable => "foreign table",
            Self::Sequence => "sequence",
            Self::Type => "type",
            Self::Function => "function",
            Self::Procedure => "procedure",
            Self::Aggregate => "aggregate",
            Self::Schema => "schema",
            Self::Extension => "extension",
            Self::Role => "role",
            Self::DefaultPrivileges => "default privileges",
            Self::Other(kind) => kind,
        }
    }
}

impl PartKind {
    /// The kind in PostgreSQL's words, such as `column`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Column => "column",
            Self::Constraint => "constraint",
            Self::Index => "index",
            Self::Trigger => "trigger",
            Self::Policy => "policy",
            Self::Rule => "rule",
            Self::Statistics => "statistics",
            Self::Publication => "publication",
            Self::Comment => "comment",
            Self::Grant => "grant",
            Self::Option => "option",
            Self::Value => "value",
            Self::Body => "body",
            Self::Other(kind) => kind,
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for PartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ObjectChange {
    /// The change from one definition to another; `None` where neither is given.
    pub(crate) fn new(before: Option<Definition>, after: Option<Definition>) -> Option<Self> {
        let Definition { kind, name, .. } = after.as_ref().or(before.as_ref())?;
        Some(Self {
            kind: kind.clone(),
            name: name.clone(),
            diff: diff::diff(before.as_ref(), after.as_ref()),
            before,
            after,
        })
    }
}

impl Definition {
    /// From what is recorded of an object: its kind and name in one text, such as
    /// `table public.ctx0_entries`, and of each part the kind, name and definition.
    pub(crate) fn recorded(
        kind_and_name: &str,
        parts: Vec<(PartKind, Option<String>, Option<String>)>,
    ) -> Self {
        let at = kind_and_name.find(" public.").unwrap_or_default();
        let (kind, name) = kind_and_name.split_at(at);
        let parts = parts
            .into_iter()
            .map(|(part, name, definition)| PartRow(part, name, definition, None, None).into());
        Self {
            kind: ObjectKind::from(kind),
            name: name.trim_start().to_owned(),
            id: String::new(),
            parts: parts.collect(),
        }
    }
}

impl From<&str> for ObjectKind {
    fn from(kind: &str) -> Self {
        let deserializer: StrDeserializer<'_, serde::de::value::Error> = kind.into_deserializer();
        Self::deserialize(deserializer).unwrap_or_else(|_| Self::Other(kind.to_owned()))
    }
}

/// Part, name, definition, id, flags: a row of `schema_objects`. A recorded description has
/// the first three only.
#[derive(Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
pub(crate) struct PartRow(
    PartKind,
    Option<String>,
    Option<String>,
    #[serde(default)] Option<String>,
    #[serde(default)] Option<String>,
);

/// Stand around the expressions in a definition, for `ctx0_verify_schema`.
const MARKS: [char; 2] = ['\u{1}', '\u{2}'];

impl From<PartRow> for Part {
    fn from(PartRow(part, name, definition, id, flags): PartRow) -> Self {
        let flags = flags.unwrap_or_default();
        Self {
            part,
            name,
            definition: definition.unwrap_or_default().replace(MARKS, ""),
            id,
            required: flags.contains('n'),
            filled: flags.contains('d'),
            generated: flags.contains('g'),
            concerns: [('a', "anon"), ('u', "authenticated")]
                .into_iter()
                .filter(|(flag, _)| flags.contains(*flag))
                .map(|(_, role)| role)
                .collect(),
            restrictive: flags.contains('r'),
            security: flags.contains(['s', 'i']),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn a_kind_is_written_as_it_is_read_and_shown() {
        for text in [
            "table",
            "materialized view",
            "foreign table",
            "aggregate",
            "event trigger",
        ] {
            let kind: ObjectKind = from_value(json!(text)).unwrap();
            assert_eq!(to_value(&kind).unwrap(), json!(text));
            assert_eq!(kind.to_string(), text);
            assert_eq!(
                matches!(kind, ObjectKind::Other(_)),
                text == "event trigger"
            );
        }
        for text in ["column", "grant", "body", "rule of a later release"] {
            let kind: PartKind = from_value(json!(text)).unwrap();
            assert_eq!(to_value(&kind).unwrap(), json!(text));
            assert_eq!(kind.to_string(), text);
            assert_eq!(matches!(kind, PartKind::Other(_)), text.contains(' '));
        }
    }

    #[test]
    fn every_kind_of_part_that_the_installed_functions_report_has_a_variant() {
        let sql = crate::install::install_sql();
        let (_, sql) = sql
            .split_once("function ctx0_private.schema_objects(")
            .unwrap();
        let (sql, _) = sql
            .split_once("function ctx0_private.describe_schema(")
            .unwrap();
        let kinds = sql.split("array['").skip(1);
        let kinds = kinds.filter_map(|rest| rest.split_once('\''));
        let kinds: Vec<_> = kinds.filter(|(_, next)| next.starts_with(',')).collect();
        assert!(kinds.len() > 15, "{}", kinds.len());
        for (kind, _) in kinds {
            let read: PartKind = from_value(json!(kind)).unwrap();
            assert!(!matches!(read, PartKind::Other(_)), "{kind}");
        }
    }

    #[test]
    fn a_part_is_read_with_and_without_what_a_recorded_description_leaves_out() {
        let whole: Part =
            from_value(json!(["column", "a", "integer not null", "1", "nd"])).unwrap();
        assert!(whole.required && whole.filled && whole.id.as_deref() == Some("1"));
        let recorded: Part = from_value(json!(["column", "a", "integer not null"])).unwrap();
        assert!(!recorded.required && recorded.id.is_none());
        assert_eq!(recorded.definition, whole.definition);
    }
}
