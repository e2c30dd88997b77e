//! Fields of a manifest that nothing reads. They are accepted, so that an older build can read the manifest of a newer
//! one, but one of them may be misspelt.

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor, value},
    forward_to_deserialize_any,
};
use serde_json::Value;

use super::{Entry, ManifestFile};

/// Names the fields that this build does not know, such as "`brekaing` of version 2". Those that begin with `$`, such
/// as `$schema`, are for editors.
pub(crate) fn unknown_fields(text: &str) -> Vec<String> {
    let Ok(manifest) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let mut named: Vec<_> = unknown(&manifest, fields_of::<ManifestFile>())
        .map(|field| format!("`{field}`"))
        .collect();
    for entry in manifest["migrations"].as_array().into_iter().flatten() {
        let version = &entry["version"];
        let fields = unknown(entry, fields_of::<Entry>());
        named.extend(fields.map(|field| format!("`{field}` of version {version}")));
    }
    named
}

fn unknown<'a>(object: &'a Value, known: &'static [&str]) -> impl Iterator<Item = &'a String> {
    let fields = object
        .as_object()
        .into_iter()
        .flat_map(|object| object.keys());
    fields.filter(|field| !field.starts_with('$') && !known.contains(&field.as_str()))
}

/// The fields that a type reads, as its derived implementation states them.
fn fields_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut fields = &[][..];
    // It gets nothing to read, and has said by then what it would read.
    let _ = T::deserialize(Fields(&mut fields));
    fields
}

struct Fields<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(Error::custom("nothing to read"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
        Err(Error::custom("nothing to read"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_nothing_reads_is_named() {
        let known = r#"{"currentVersion": 1, "$schema": "https://a", "migrations": [{"version": 1, "name": "001_a",
            "description": "", "file": "001_a.sql", "down": "001_a.down.sql", "backup": "required", "breaking": true,
            "minAppVersion": "1.4.0", "transaction": false, "lockInstead": "never", "checksum": "0"}]}"#;
        assert_eq!(unknown_fields(known), [""; 0]);
        let unknown = r#"{"currentVersion": 2, "foo": 1, "migrations": [{"version": 1}, {"version": 2, "brekaing": true,
            "later": true}]}"#;
        assert_eq!(
            unknown_fields(unknown),
            ["`foo`", "`brekaing` of version 2", "`later` of version 2"]
        );
        for other in [
            "",
            "[]",
            "1",
            r#"{"migrations": 1}"#,
            r#"{"migrations": [1]}"#,
        ] {
            assert_eq!(unknown_fields(other), [""; 0], "{other}");
        }
    }
}
