//! `new`: the files of the next migration, and its entry in the manifest.

use std::{
    fs,
    io::{self, Write},
    ops::Range,
    path::Path,
};

use serde::Deserialize;
use serde_json::json;

use super::{
    Output,
    args::Global,
    exit::{Exit, Failure},
    text,
};

/// The folder that is used where none is named.
const DEFAULT_FOLDER: &str = "migrations";

/// What an empty folder begins with.
const EMPTY_MANIFEST: &str = "{\n  \"currentVersion\": 0,\n  \"migrations\": []\n}\n";

pub(super) fn new(
    global: &Global,
    name: &str,
    description: Option<&str>,
) -> Result<Output, Failure> {
    let folder = global
        .migrations
        .as_deref()
        .unwrap_or(Path::new(DEFAULT_FOLDER));
    let path = folder.join("manifest.json");
    let fail = |path: &Path, error: &io::Error| {
        let what = format!(
            "{} cannot be used: check the path and its permissions",
            path.display()
        );
        Failure::io(what, error)
    };
    let manifest = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => {
            EMPTY_MANIFEST.to_owned()
        }
        Err(error) => return Err(fail(&path, &error)),
    };
    let refused = |problem: String| {
        Failure::new(
            Exit::Failed,
            "manifest",
            format!("{}: {problem}", path.display()),
        )
    };
    let draft = Draft::new(&manifest, name, description).map_err(refused)?;

    let mut written = Vec::new();
    for (file, text) in draft.files() {
        let file = folder.join(file);
        create(&file, &text).map_err(|error| fail(&file, &error))?;
        written.push(file.display().to_string());
    }
    // Beside it and renamed, so that the manifest is whole at any time.
    let beside = folder.join(".manifest.json.new");
    fs::write(&beside, &draft.manifest)
        .and_then(|()| fs::rename(&beside, &path))
        .map_err(|error| fail(&path, &error))?;
    written.push(path.display().to_string());

    let mut said = text::success(&format!("Version {} has its files:", draft.version));
    for file in &written {
        said += &format!("  {file}\n");
    }
    said += "\nWrite the change in the first and how to revert it in the second. Delete the second, and `down` \
             in the manifest, if it cannot be reverted.\n";
    let json = json!({"version": draft.version, "name": draft.name, "files": written});
    Ok(Output::new(Exit::Done, said, &json))
}

/// Creates a file that is not there yet.
fn create(path: &Path, text: &str) -> io::Result<()> {
    fs::File::create_new(path)?.write_all(text.as_bytes())
}

/// A migration that is still to be written.
#[derive(Debug, PartialEq, Eq)]
struct Draft {
    version: u32,
    name: String,
    /// The manifest with its entry. What was in it stays as it was, to the blank.
    manifest: String,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "currentVersion")]
    current_version: u32,
    migrations: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    version: u32,
}

impl Draft {
    fn new(manifest: &str, name: &str, description: Option<&str>) -> Result<Self, String> {
        let json = manifest.trim_start_matches('\u{feff}');
        let known: Manifest =
            serde_json::from_str(json).map_err(|error| format!("{error}: correct it there"))?;
        let highest = known
            .migrations
            .iter()
            .map(|entry| entry.version)
            .max()
            .unwrap_or(0);
        if known.current_version != highest {
            let current = known.current_version;
            return Err(format!(
                "currentVersion is {current}, but the highest version is {highest}: make them equal"
            ));
        }
        let version = highest + 1;
        let words = words(name)?;
        let name = format!("{version:03}_{}", words.join("_"));
        let sentence = description.map_or_else(|| words.join(" "), str::to_owned);
        let entry = json!({
            "version": version, "name": &name, "description": sentence,
            "file": format!("{name}.sql"), "down": format!("{name}.down.sql"),
        });
        let manifest = with_entry(manifest, version, &lines(&entry))
            .ok_or("it is not an object with currentVersion and migrations: correct it")?;
        Ok(Self {
            version,
            name,
            manifest,
        })
    }

    /// The files to write, without their folder.
    fn files(&self) -> [(String, String); 2] {
        let (name, version) = (&self.name, self.version);
        [
            (
                format!("{name}.sql"),
                format!("-- Version {version}: write the change here.\n"),
            ),
            (
                format!("{name}.down.sql"),
                format!("-- Reverts version {version}: write here how.\n"),
            ),
        ]
    }
}

/// The words of a name, in lower case.
fn words(name: &str) -> Result<Vec<String>, String> {
    let words: Vec<_> = name
        .to_lowercase()
        .split([' ', '-', '_'])
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let fits = |word: &String| {
        word.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if words.is_empty() || !words.iter().all(fits) {
        return Err(format!(
            "the name {name:?} cannot be a file name: use letters, digits and underscores, such as add_tags"
        ));
    }
    Ok(words)
}

/// The entry as the bundled manifest writes one.
fn lines(entry: &serde_json::Value) -> String {
    let keys = ["version", "name", "description", "file", "down"];
    let fields: Vec<_> = keys
        .iter()
        .map(|key| format!("      \"{key}\": {}", entry[*key]))
        .collect();
    format!("    {{\n{}\n    }}", fields.join(",\n"))
}

/// Adds an entry to the text of a manifest, whose lines go on to end as they do.
fn with_entry(text: &str, version: u32, entry: &str) -> Option<String> {
    let current = value_of(text, "currentVersion")?;
    let list = value_of(text, "migrations")?;
    let inside = &text[list.start + 1..list.end - 1];
    let list = if inside.trim().is_empty() {
        (list.clone(), format!("[\n{entry}\n  ]"))
    } else {
        let end = list.start + 1 + inside.trim_end().len();
        (end..end, format!(",\n{entry}"))
    };
    let mut changes = [(current, version.to_string()), list];
    changes.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut text = text.to_owned();
    for (range, replacement) in changes {
        text.replace_range(range, &replacement.replace('\n', line_end));
    }
    Some(text)
}

/// Where the value of a key of the outermost object is, in JSON that is valid.
fn value_of(text: &str, key: &str) -> Option<Range<usize>> {
    let key = format!("\"{key}\"");
    let (mut depth, mut at) = (0, 0);
    let mut found = None;
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let end = string_end(bytes, at);
                let is_key = text[end..].trim_start().starts_with(':');
                if depth == 1 && is_key && text[at..end] == key {
                    let colon = end + text[end..].find(':')?;
                    found = Some(colon + 1 + text[colon + 1..].find(|c: char| !c.is_whitespace())?);
                }
                at = end;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if let Some(start) = found.filter(|start| depth == 1 && bytes[*start] == b'[') {
                    return Some(start..at + 1);
                }
                if let Some(start) = found.filter(|_| depth == 0) {
                    return Some(start..start + text[start..at].trim_end().len());
                }
            }
            b',' => {
                if let Some(start) = found.filter(|_| depth == 1) {
                    return Some(start..start + text[start..at].trim_end().len());
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Behind the end of the string that begins here.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_migration_of_a_folder() {
        let draft = Draft::new(EMPTY_MANIFEST, "Add tags", None).unwrap();
        assert_eq!(
            draft.manifest,
            r#"{
  "currentVersion": 1,
  "migrations": [
    {
      "version": 1,
      "name": "001_add_tags",
      "description": "add tags",
      "file": "001_add_tags.sql",
      "down": "001_add_tags.down.sql"
    }
  ]
}
"#
        );
    }

    #[test]
    fn the_next_one_leaves_the_others_as_they_are() {
        let manifest = include_str!("../../migrations/manifest.json");
        let draft = Draft::new(manifest, "add-tags", Some("Tags \"and\" more")).unwrap();
        assert_eq!((draft.version, draft.name.as_str()), (3, "003_add_tags"));
        let before = manifest.replace("\"currentVersion\": 2", "\"currentVersion\": 3");
        let (before, _) = before.rsplit_once("\n  ]").unwrap();
        assert!(draft.manifest.starts_with(before), "{}", draft.manifest);
        assert!(
            draft
                .manifest
                .contains(r#""description": "Tags \"and\" more","#)
        );
        let again = Draft::new(&draft.manifest, "more", None).unwrap();
        assert_eq!(again.version, 4);
    }

    #[test]
    fn a_manifest_that_was_written_on_windows_stays_like_that() {
        let lf = Draft::new(EMPTY_MANIFEST, "a", None).unwrap();
        let lf = Draft::new(&lf.manifest, "b", None).unwrap().manifest;
        let crlf = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
        let draft = Draft::new(&crlf(EMPTY_MANIFEST), "a", None).unwrap();
        let draft = Draft::new(&draft.manifest, "b", None).unwrap();
        assert_eq!(draft.manifest, crlf(&lf));
    }

    #[test]
    fn keys_of_other_objects_and_brackets_in_strings_are_passed_over() {
        let manifest = r#"{"note": {"migrations": [1], "currentVersion": "]}\""},
            "migrations": [{"version": 1, "name": "[", "migrations": []}],"currentVersion":1}"#;
        let draft = Draft::new(manifest, "b", None).unwrap();
        let read: serde_json::Value = serde_json::from_str(&draft.manifest).unwrap();
        assert_eq!(read["currentVersion"], 2);
        assert_eq!(read["migrations"][1]["name"], "002_b");
        assert_eq!(read["note"]["migrations"], json!([1]));
    }

    #[test]
    fn what_cannot_be_a_name_or_a_manifest_is_refused() {
        for name in ["", "_", "../x", "a/b", "é", "a.b"] {
            assert!(
                Draft::new(EMPTY_MANIFEST, name, None)
                    .unwrap_err()
                    .contains("file name"),
                "{name}"
            );
        }
        for manifest in ["", "[]", "{}", r#"{"currentVersion": 2, "migrations": []}"#] {
            assert!(Draft::new(manifest, "a", None).is_err(), "{manifest}");
        }
    }
}
