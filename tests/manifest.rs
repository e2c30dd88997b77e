//! What a folder of migrations may hold, and what is said of one that may not.
//!
//! Whatever does not need a disk is tried from a folder and from memory, with one result.

use std::{
    fs,
    mem::discriminant,
    path::{Path, PathBuf},
};

use ctx0_schema::{
    Backup, MAX_MIGRATION_BYTES, ManifestError, ManifestErrorKind, Migration, Migrations, Version,
    install_sql,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// As the specification has it, to the letter.
const SPECIFICATION: &str = r#"{ "currentVersion": 2, "migrations": [ { "version": 1, "name": "001_ctx0_schema", "description": "Initial ctx0 schema with entries, sessions, queries", "file": "001_ctx0_schema.sql" }, { "version": 2, "name": "002_schema_versioning", "description": "Added schema version tracking table", "file": "002_schema_versioning.sql" } ] }"#;

/// `printf 'select 1;\nselect 2;\n' | sha256sum`
const TWO_LINES: &str = "select 1;\nselect 2;\n";
const TWO_LINES_SHA256: &str = "061e995aebcb765888ac7580f67ee3815a03b9b9c3fd5ff2dbb40db98b53a737";

mod accepted {
    use super::*;

    #[test]
    fn the_manifest_of_the_specification() {
        let migrations = accepted(&[
            ("manifest.json", SPECIFICATION),
            ("001_ctx0_schema.sql", "select 1;"),
            ("002_schema_versioning.sql", "select 2;"),
        ]);
        let read: Vec<_> = migrations.iter().map(fields).collect();
        let expected = [
            (
                1,
                "001_ctx0_schema",
                "Initial ctx0 schema with entries, sessions, queries",
                "001_ctx0_schema.sql",
                "select 1;",
            ),
            (
                2,
                "002_schema_versioning",
                "Added schema version tracking table",
                "002_schema_versioning.sql",
                "select 2;",
            ),
        ];
        for (read, (version, name, description, file, sql)) in read.iter().zip(expected) {
            assert_eq!(read["version"], version);
            assert_eq!(read["name"], name);
            assert_eq!(read["description"], description);
            assert_eq!(read["file"], file);
            assert_eq!(read["sql"], sql);
        }
        assert_eq!(migrations.latest_version().get(), 2);
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn an_entry_without_optional_fields_asks_for_nothing() {
        let migrations = accepted(&[
            ("manifest.json", &manifest(1, &[entry(1, "001_a")])),
            ("001_a.sql", "select 1;"),
        ]);
        let migration = first(&migrations);
        assert_eq!(migration.down_sql(), None);
        assert_eq!(migration.breaking(), None);
        assert!(migration.transaction());
        assert_eq!(migration.min_app_version(), None);
        assert_eq!(migration.backup(), None);
    }

    #[test]
    fn optional_fields_are_read_and_unknown_ones_ignored() {
        for (text, backup) in [
            ("recommended", Backup::Recommended),
            ("required", Backup::Required),
        ] {
            let entry = with(
                entry(1, "001_a"),
                json!({
                    "checksum": TWO_LINES_SHA256,
                    "down": "001_a.down.sql",
                    "breaking": true,
                    "minAppVersion": "1.4",
                    "backup": text,
                    "author": {"name": "someone"},
                }),
            );
            let manifest = json!({
                "$schema": "https://example.org/manifest.schema.json",
                "currentVersion": 1,
                "migrations": [entry],
                "generatedAt": [2026, null],
            });
            let migrations = accepted(&[
                ("manifest.json", &manifest.to_string()),
                ("001_a.sql", TWO_LINES),
                ("001_a.down.sql", "select 'down';"),
            ]);
            let migration = first(&migrations);
            assert_eq!(migration.checksum().to_string(), TWO_LINES_SHA256);
            assert_eq!(migration.down_sql(), Some("select 'down';"));
            assert_eq!(migration.breaking(), Some(true));
            assert_eq!(migration.min_app_version().unwrap().to_string(), "1.4.0");
            assert_eq!(migration.backup(), Some(backup));
        }
    }

    #[test]
    fn a_version_that_is_one_statement_outside_a_transaction() {
        for (up, down) in [
            (
                "create index concurrently i on t (a);",
                "drop index concurrently i;",
            ),
            ("create index concurrently i on t (a);", "drop index i;"),
            (
                "drop index concurrently if exists i;",
                "create unique index concurrently i on t (a);",
            ),
            ("alter type e add value 'x';", "select 1; select 2;"),
        ] {
            let entry = with(
                entry(1, "001_a"),
                json!({"transaction": false, "down": "down.sql"}),
            );
            let migrations = accepted(&[
                ("manifest.json", &manifest(1, &[entry])),
                ("001_a.sql", up),
                ("down.sql", down),
            ]);
            let migration = first(&migrations);
            assert!(!migration.transaction());
            assert_eq!(migration.sql(), up);
            assert_eq!(migration.down_sql(), Some(down));
        }
    }

    #[test]
    fn a_checksum_in_capital_letters() {
        let checksum = json!({"checksum": TWO_LINES_SHA256.to_uppercase()});
        let migrations = accepted(&[
            (
                "manifest.json",
                &manifest(1, &[with(entry(1, "001_a"), checksum)]),
            ),
            ("001_a.sql", TWO_LINES),
        ]);
        assert_eq!(first(&migrations).checksum().to_string(), TWO_LINES_SHA256);
    }

    #[test]
    fn windows_line_endings_and_a_byte_order_mark_change_neither_the_text_nor_the_checksum() {
        let crlf = TWO_LINES.replace('\n', "\r\n");
        for text in [
            TWO_LINES,
            &crlf,
            &format!("\u{feff}{TWO_LINES}"),
            &format!("\u{feff}{crlf}"),
        ] {
            let entry = with(
                entry(1, "001_a"),
                json!({"checksum": TWO_LINES_SHA256, "down": "down.sql"}),
            );
            let manifest =
                serde_json::to_string_pretty(&json!({"currentVersion": 1, "migrations": [entry]}))
                    .unwrap();
            let manifest = format!("\u{feff}{}", manifest.replace('\n', "\r\n"));
            let migrations = accepted(&[
                ("manifest.json", &manifest),
                ("001_a.sql", text),
                ("down.sql", text),
            ]);
            let migration = first(&migrations);
            assert_eq!(migration.sql(), TWO_LINES);
            assert_eq!(migration.down_sql(), Some(TWO_LINES));
            assert_eq!(migration.checksum().to_string(), TWO_LINES_SHA256);
        }
    }

    #[test]
    fn a_file_of_exactly_16_mib() {
        let sql = sql_of(MAX_MIGRATION_BYTES);
        let migrations = accepted(&[
            ("manifest.json", &manifest(1, &[entry(1, "001_a")])),
            ("001_a.sql", &sql),
        ]);
        assert_eq!(first(&migrations).sql().len(), 16 * 1024 * 1024);
    }

    #[test]
    fn files_in_a_folder_below() {
        let down = json!({"down": "down/001_a.sql"});
        let migrations = accepted(&[
            (
                "manifest.json",
                &manifest(1, &[with(entry(1, "sql/001_a"), down)]),
            ),
            ("sql/001_a.sql", "select 1;"),
            ("down/001_a.sql", "select 'down';"),
        ]);
        assert_eq!(first(&migrations).down_sql(), Some("select 'down';"));
    }

    #[test]
    fn a_name_without_a_number() {
        let entries = [entry(1, "first"), entry(2, "v2_second")];
        accepted(&[
            ("manifest.json", &manifest(2, &entries)),
            ("first.sql", "select 1;"),
            ("v2_second.sql", "select 2;"),
        ]);
    }

    #[test]
    fn an_empty_list() {
        let migrations = accepted(&[("manifest.json", &manifest(0, &[]))]);
        assert_eq!(migrations.latest_version(), Version::ZERO);
        assert_eq!(migrations.iter().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_symlink_to_the_folder_itself() {
        let folder = Folder::of(&[
            ("manifest.json", &manifest(1, &[entry(1, "001_a")])),
            ("001_a.sql", "select 1;"),
        ]);
        let link = folder.outside("link");
        std::os::unix::fs::symlink(&folder.path, &link).unwrap();
        assert!(Migrations::from_dir(link).is_ok());
    }
}

mod refused_manifests {
    use super::*;

    #[test]
    fn no_manifest() {
        let error = refused(&[("001_a.sql", "select 1;")]);
        assert!(matches!(error.kind(), ManifestErrorKind::NoManifest));
        assert_names(&error, "manifest.json", None, "add a manifest.json");
    }

    #[test]
    fn no_folder() {
        let folder = Folder::of(&[]);
        let path = folder.path.join("nowhere");
        let error = Migrations::from_dir(&path).unwrap_err();
        assert!(matches!(error.kind(), ManifestErrorKind::NoManifest));
        let manifest = path.join("manifest.json").display().to_string();
        assert_names(&error, &manifest, None, "correct the folder");
    }

    #[test]
    fn the_path_of_a_file_instead_of_the_folder() {
        let folder = Folder::of(&[("manifest.json", &manifest(0, &[]))]);
        let error = Migrations::from_dir(folder.path.join("manifest.json")).unwrap_err();
        assert!(matches!(error.kind(), ManifestErrorKind::NoManifest));
        assert!(error.to_string().contains("correct the folder"), "{error}");
    }

    #[test]
    fn text_that_is_not_json_with_its_line_and_column() {
        for (text, line, column) in [
            ("", 1, 0),
            ("{\n  \"currentVersion\": 1,\n  migrations: []\n}", 3, 3),
            ("{\"currentVersion\": 0, \"migrations\": [],}", 1, 40),
            ("{\"currentVersion\": 0,\n\"migrations\": []", 2, 16),
            ("{\"currentVersion\": 0, \"migrations\": []}\n}", 2, 1),
            ("currentVersion: 1\n", 1, 1),
        ] {
            assert_json(text, line, column, "");
        }
    }

    #[test]
    fn json_of_another_form_with_its_line_and_column() {
        let one = |fields: &str| {
            format!(
                "{{\"currentVersion\": 1, \"migrations\": [\n{{{fields}, \"description\": \"\", \
                 \"file\": \"001_a.sql\"}}]}}"
            )
        };
        for (text, line, column, reason) in [
            (
                "[]".to_owned(),
                1,
                2,
                "expected an object with currentVersion and migrations",
            ),
            ("{}".to_owned(), 1, 2, "missing field `currentVersion`"),
            (
                "{\"currentVersion\": 0}".to_owned(),
                1,
                21,
                "missing field `migrations`",
            ),
            (
                "{\"currentVersion\": \"2\", \"migrations\": []}".to_owned(),
                1,
                22,
                "invalid type: string \"2\"",
            ),
            (
                "{\"currentVersion\": 0, \"migrations\": {}}".to_owned(),
                1,
                36,
                "invalid type: map",
            ),
            (
                one("\"version\": 1.5, \"name\": \"001_a\""),
                2,
                15,
                "invalid type: floating point `1.5`",
            ),
            (
                one("\"version\": 99999999999999999999, \"name\": \"001_a\""),
                2,
                32,
                "invalid type: floating point",
            ),
            (one("\"version\": 1"), 2, 54, "missing field `name`"),
            (
                one("\"version\": 1, \"name\": \"001_a\", \"breaking\": \"yes\""),
                2,
                49,
                "invalid type: string \"yes\"",
            ),
            (
                one("\"version\": 1, \"name\": \"001_a\", \"backup\": \"maybe\""),
                2,
                49,
                "unknown variant `maybe`, expected `recommended` or `required`",
            ),
            (
                one("\"version\": 1, \"name\": \"001_a\", \"checksum\": \"abc\""),
                2,
                49,
                "a checksum is 64 hexadecimal digits (SHA-256)",
            ),
        ] {
            assert_json(&text, line, column, reason);
        }
    }

    #[test]
    fn a_current_version_that_is_not_the_highest() {
        for stated in [0, 1, 3, -1] {
            let entries = [entry(1, "001_a"), entry(2, "002_b")];
            let error = refused(&[("manifest.json", &manifest(stated, &entries))]);
            assert!(
                matches!(
                    error.kind(),
                    ManifestErrorKind::CurrentVersion { stated: found, highest: 2, .. } if *found == stated
                ),
                "{error:?}"
            );
            assert_names(&error, "manifest.json", None, "make them equal");
        }
    }

    #[test]
    fn a_version_that_is_listed_twice() {
        for versions in [&[1, 1][..], &[1, 2, 1], &[1, 2, 3, 2]] {
            let error = refused_versions(versions);
            assert!(
                matches!(error.kind(), ManifestErrorKind::Duplicate),
                "{versions:?}: {error:?}"
            );
            let twice = *versions.last().unwrap();
            assert_names(
                &error,
                &file_of(twice),
                Some(twice),
                "give one of the two the next free number",
            );
        }
    }

    #[test]
    fn a_version_that_is_zero_negative_or_too_large_for_an_integer() {
        for version in [0, -1, i64::MIN, 2_147_483_648, i64::MAX] {
            let error = refused_versions(&[version]);
            assert!(
                matches!(error.kind(), ManifestErrorKind::NotAVersion),
                "{version}: {error:?}"
            );
            assert_names(
                &error,
                &file_of(version),
                Some(version),
                "give it the next free number",
            );
        }
    }

    #[test]
    fn a_version_that_is_missing() {
        for (versions, missing, before) in
            [(&[2][..], 1, 2), (&[1, 3], 2, 3), (&[1, 2, 5, 7], 3, 5)]
        {
            let error = refused_versions(versions);
            assert!(
                matches!(error.kind(), ManifestErrorKind::Missing { missing: found, .. } if *found == missing),
                "{versions:?}: {error:?}"
            );
            let remedy = format!("add it, or renumber from {missing} on");
            assert_names(&error, &file_of(before), Some(before), &remedy);
        }
    }

    #[test]
    fn versions_that_are_not_in_order() {
        for (versions, at, before) in [(&[2, 1][..], 2, 1), (&[1, 3, 2], 3, 2), (&[3, 1, 2], 3, 1)]
        {
            let error = refused_versions(versions);
            assert!(
                matches!(error.kind(), ManifestErrorKind::Unordered { before: found, .. } if *found == before),
                "{versions:?}: {error:?}"
            );
            assert_names(
                &error,
                &file_of(at),
                Some(at),
                "list the lowest version first",
            );
        }
    }

    #[test]
    fn a_name_that_does_not_match_its_file() {
        for file in [
            "001_b.sql",
            "001_a.SQL",
            "001_A.sql",
            "001_a",
            "sub/001_a.sql",
        ] {
            let entry = with(entry(1, "001_a"), json!({"file": file}));
            let error = refused(&[
                ("manifest.json", &manifest(1, &[entry])),
                (file, "select 1;"),
            ]);
            assert!(
                matches!(error.kind(), ManifestErrorKind::NameIsNotFile { name, .. } if name == "001_a"),
                "{file}: {error:?}"
            );
            assert_names(&error, file, Some(1), "rename one of the two");
        }
    }

    #[test]
    fn a_name_with_another_number_than_the_version() {
        for name in [
            "002_a",
            "0_a",
            "10",
            "20260101_a",
            "99999999999999999999999_a",
        ] {
            let file = format!("{name}.sql");
            let error = refused(&[
                ("manifest.json", &manifest(1, &[entry(1, name)])),
                (&file, "select 1;"),
            ]);
            assert!(
                matches!(error.kind(), ManifestErrorKind::NameHasOtherNumber { name: found, .. } if found == name),
                "{name}: {error:?}"
            );
            assert_names(&error, &file, Some(1), "make them equal");
        }
    }

    fn assert_json(text: &str, line: usize, column: usize, reason: &str) {
        let error = refused(&[("manifest.json", text)]);
        let ManifestErrorKind::Json {
            line: found_line,
            column: found_column,
            reason: found_reason,
            ..
        } = error.kind()
        else {
            panic!("{text}: {error:?}");
        };
        assert_eq!(
            (*found_line, *found_column),
            (line, column),
            "{text}: {error}"
        );
        assert!(found_reason.contains(reason), "{text}: {error}");
        assert!(
            !found_reason.contains(" at line "),
            "the place is said once: {error}"
        );
        let place = format!("line {line}, column {column} ");
        assert_names(&error, "manifest.json", None, "correct it there");
        assert!(error.to_string().contains(&place), "{error}");
    }

    fn refused_versions(versions: &[i64]) -> ManifestError {
        let entries: Vec<_> = versions
            .iter()
            .map(|version| entry(*version, &name_of(*version)))
            .collect();
        let highest = *versions.iter().max().unwrap();
        refused(&[("manifest.json", &manifest(highest, &entries))])
    }

    fn name_of(version: i64) -> String {
        format!("v{version}")
    }

    fn file_of(version: i64) -> String {
        format!("v{version}.sql")
    }
}

/// Each one as the migration and as its down migration, whose file is named then.
mod refused_files {
    use super::*;

    #[test]
    fn a_missing_file() {
        for role in ROLES {
            let error = role.refused(None);
            assert!(matches!(error.kind(), ManifestErrorKind::NoFile));
            assert_names(
                &error,
                role.file,
                Some(1),
                "add it beside manifest.json, or correct the manifest",
            );
        }
    }

    #[test]
    fn a_file_without_a_statement() {
        for role in ROLES {
            for sql in [
                "",
                "\u{feff}",
                " \r\n\t\n",
                "-- select 1;\n",
                "/* select 1; */ ;",
            ] {
                let error = role.refused(Some(sql));
                assert!(
                    matches!(error.kind(), ManifestErrorKind::Empty),
                    "{sql:?}: {error:?}"
                );
                assert_names(&error, role.file, Some(1), "write the migration");
            }
        }
    }

    #[test]
    fn a_file_that_is_not_utf_8_with_its_line() {
        for role in ROLES {
            let folder = role.folder(Some(b"select 1;\r\nselect 2;\nselect 'caf\xe9';\n"));
            let error = Migrations::from_dir(&folder.path).unwrap_err();
            assert!(matches!(
                error.kind(),
                ManifestErrorKind::NotUtf8 { line: 3, .. }
            ));
            assert_names(&error, role.file, Some(1), "save the file in UTF-8");
        }
    }

    #[test]
    fn a_file_over_16_mib() {
        let sql = sql_of(MAX_MIGRATION_BYTES + 1);
        for role in ROLES {
            let error = role.refused(Some(&sql));
            assert!(matches!(error.kind(), ManifestErrorKind::TooLarge));
            assert_names(&error, role.file, Some(1), "split it into several versions");
        }
    }

    #[test]
    fn a_file_that_never_closes_what_it_opens_with_its_line() {
        for role in ROLES {
            let error = role.refused(Some("select 1;\nselect 'a;\n"));
            assert!(matches!(
                error.kind(),
                ManifestErrorKind::Unterminated {
                    line: 2,
                    what: "string",
                    ..
                }
            ));
            assert_names(&error, role.file, Some(1), "close it");
        }
    }

    #[test]
    fn a_file_with_a_zero_byte_with_its_line() {
        for role in ROLES {
            let error = role.refused(Some("select 1;\nselect '\0';\n"));
            assert!(matches!(
                error.kind(),
                ManifestErrorKind::ZeroByte { line: 2, .. }
            ));
            assert_names(&error, role.file, Some(1), "remove it");
        }
    }

    #[test]
    fn what_runs_outside_a_transaction_only_with_the_remedy() {
        for (sql, command) in [
            (
                "create index concurrently i on t (a)",
                "create index concurrently",
            ),
            (
                "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)",
                "create unique index concurrently",
            ),
            ("drop index concurrently i", "drop index concurrently"),
            (
                "alter table t detach partition p concurrently",
                "alter table … detach partition … concurrently",
            ),
        ] {
            for role in ROLES {
                let error = role.refused(Some(&format!("select 1;\n\n{sql};\n")));
                assert!(
                    matches!(
                        error.kind(),
                        ManifestErrorKind::OutsideOnly { line: 3, what, .. } if what == command
                    ),
                    "{sql}: {error:?}"
                );
                assert_names(&error, role.file, Some(1), "\"transaction\": false");
            }
        }
    }

    #[test]
    fn a_version_without_a_transaction_that_is_not_one_such_statement() {
        let outside = with(entry(1, "001_a"), json!({"transaction": false}));
        for (sql, kind, words) in [
            (
                "create index concurrently i on t (a);\nselect 1;",
                "SecondStatement",
                "line 2",
            ),
            (
                "create table t (id int)",
                "NotOutside",
                "`create table` on line 1",
            ),
            ("create index i on t (a)", "NotOutside", "`create index`"),
            (
                "drop index concurrently i, j",
                "NotOutside",
                "`drop index` on line 1",
            ),
            (
                "-- an index\ncreate index concurrently on t (a)",
                "UnnamedIndex",
                "line 2",
            ),
            (
                "alter table p detach partition c",
                "NotOutside",
                "`alter table` on line 1",
            ),
            ("begin", "NotTransactional", "`begin`"),
        ] {
            let error = refused(&[
                (
                    "manifest.json",
                    &manifest(1, std::slice::from_ref(&outside)),
                ),
                ("001_a.sql", sql),
            ]);
            assert!(
                format!("{:?}", error.kind()).starts_with(kind),
                "{sql}: {error:?}"
            );
            assert_names(&error, "001_a.sql", Some(1), words);
        }
    }

    #[test]
    fn sql_that_cannot_run_inside_one_transaction_with_its_line() {
        for (sql, command, remedy) in [
            ("VACUUM (full) t", "vacuum", "in a version of its own"),
            ("begin", "begin", "remove it"),
            ("Commit", "commit", "remove it"),
            ("alter system reset all", "alter system", "by hand"),
            ("\\connect other", "\\connect", "a command of psql"),
            ("copy t (a) from stdin", "copy … from stdin", "`insert`"),
        ] {
            // What looks like a command on the lines before is none.
            let sql =
                format!("select 'commit;'; -- vacuum;\n/* begin; */ select $$ \\i $$;\n\n{sql};\n");
            for role in ROLES {
                let error = role.refused(Some(&sql));
                assert!(
                    matches!(
                        error.kind(),
                        ManifestErrorKind::NotTransactional { line: 4, what, .. } if what == command
                    ),
                    "{sql}: {error:?}"
                );
                let place = format!("`{command}` on line 4 ");
                assert_names(&error, role.file, Some(1), remedy);
                assert!(error.to_string().contains(&place), "{error}");
            }
        }
    }

    #[test]
    fn a_file_with_another_checksum() {
        let checksum = json!({"checksum": TWO_LINES_SHA256});
        let error = refused(&[
            (
                "manifest.json",
                &manifest(1, &[with(entry(1, "001_a"), checksum)]),
            ),
            ("001_a.sql", "select 1;\nselect 3;\n"),
        ]);
        let ManifestErrorKind::Checksum { stated, actual, .. } = error.kind() else {
            panic!("{error:?}");
        };
        assert_eq!(stated.to_string(), TWO_LINES_SHA256);
        assert_ne!(stated, actual);
        assert_names(&error, "001_a.sql", Some(1), "undo the change to the file");
        assert!(error.to_string().contains(TWO_LINES_SHA256), "{error}");
        assert!(error.to_string().contains(&actual.to_string()), "{error}");
    }

    #[test]
    fn a_file_outside_of_the_folder() {
        // The file is really there, so only the refusal keeps it from being read.
        for name in ["../001_a", "sub/../../001_a", "./001_a", "..\\001_a"] {
            let file = format!("{name}.sql");
            for entry in [entry(1, name), with_down("001_b", &file)] {
                let error = refused(&[
                    ("manifest.json", &manifest(1, &[entry])),
                    ("001_b.sql", "select 1;"),
                    ("sub/empty.sql", ""),
                    (&file, "select 1;"),
                ]);
                assert_outside(&error, &file);
            }
        }
    }

    #[test]
    fn an_absolute_path() {
        // The first one is really there.
        let folder = Folder::of(&[]);
        let name = folder.outside("001_a").display().to_string();
        fs::write(format!("{name}.sql"), "select 1;").unwrap();
        for name in [&name, "/001_a", "C:001_a", "C:\\001_a", "\\\\host\\001_a"] {
            let file = format!("{name}.sql");
            for entry in [entry(1, name), with_down("001_b", &file)] {
                let error = refused(&[
                    ("manifest.json", &manifest(1, &[entry])),
                    ("001_b.sql", "select 1;"),
                ]);
                assert_outside(&error, &file);
            }
        }
    }

    #[test]
    fn no_file_name_at_all() {
        let error = refused(&[
            ("manifest.json", &manifest(1, &[with_down("001_a", "")])),
            ("001_a.sql", "select 1;"),
        ]);
        assert_outside(&error, "");
    }

    #[test]
    fn a_folder_in_the_place_of_a_file() {
        for role in ROLES {
            let folder = role.folder(None);
            fs::create_dir(folder.path.join(role.file)).unwrap();
            let error = Migrations::from_dir(&folder.path).unwrap_err();
            assert!(matches!(error.kind(), ManifestErrorKind::NotAFile));
            assert_names(&error, role.file, Some(1), "put the SQL into a plain file");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_symlink_wherever_it_leads() {
        for role in ROLES {
            for outside in [true, false] {
                let folder = role.folder(None);
                let target = if outside {
                    folder.outside("target.sql")
                } else {
                    folder.path.join("target.sql")
                };
                fs::write(&target, "select 1;").unwrap();
                std::os::unix::fs::symlink(&target, folder.path.join(role.file)).unwrap();
                let error = Migrations::from_dir(&folder.path).unwrap_err();
                assert_not_the_file(&error, role.file, &target);
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_in_a_symlinked_folder() {
        let folder = Folder::of(&[
            (
                "manifest.json",
                &manifest(1, &[with_down("001_a", "down/001_a.sql")]),
            ),
            ("001_a.sql", "select 1;"),
        ]);
        let down = folder.outside("down");
        fs::create_dir(&down).unwrap();
        fs::write(down.join("001_a.sql"), "select 1;").unwrap();
        std::os::unix::fs::symlink(&down, folder.path.join("down")).unwrap();
        let error = Migrations::from_dir(&folder.path).unwrap_err();
        assert_not_the_file(&error, "down/001_a.sql", &down.join("001_a.sql"));
    }

    #[cfg(unix)]
    #[test]
    fn a_symlinked_manifest() {
        let folder = Folder::of(&[]);
        let target = folder.outside("manifest.json");
        fs::write(&target, manifest(0, &[])).unwrap();
        let link = folder.path.join("manifest.json");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let error = Migrations::from_dir(&folder.path).unwrap_err();
        assert!(matches!(error.kind(), ManifestErrorKind::NotTheFile { .. }));
        assert_names(
            &error,
            &link.display().to_string(),
            None,
            "put a copy of the file itself there",
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_symlink_to_itself_cannot_be_read() {
        for role in ROLES {
            let folder = role.folder(None);
            std::os::unix::fs::symlink(role.file, folder.path.join(role.file)).unwrap();
            assert_unreadable(&Migrations::from_dir(&folder.path).unwrap_err(), role.file);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_the_user_may_not_read() {
        use std::os::unix::fs::PermissionsExt;

        for role in ROLES {
            let folder = role.folder(Some(b"select 1;"));
            let path = folder.path.join(role.file);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
            // The superuser may read everything: then there is nothing to refuse.
            match (Migrations::from_dir(&folder.path), fs::read(&path)) {
                (Err(error), Err(_)) => assert_unreadable(&error, role.file),
                (Ok(_), Ok(_)) => {}
                (result, read) => panic!("{result:?} although reading gives {read:?}"),
            }
        }
    }

    /// As what a file stands in a manifest.
    struct Role {
        file: &'static str,
        down: bool,
    }

    const ROLES: [Role; 2] = [
        Role {
            file: "001_a.sql",
            down: false,
        },
        Role {
            file: "001_a.down.sql",
            down: true,
        },
    ];

    impl Role {
        /// Refuses one version, of which the file in this role has this text, or is not there.
        fn refused(&self, text: Option<&str>) -> ManifestError {
            let manifest = self.manifest();
            let mut files = self.others(&manifest);
            files.extend(text.map(|text| (self.file, text)));
            refused(&files)
        }

        fn folder(&self, text: Option<&[u8]>) -> Folder {
            let folder = Folder::of(&self.others(&self.manifest()));
            if let Some(text) = text {
                fs::write(folder.path.join(self.file), text).unwrap();
            }
            folder
        }

        fn manifest(&self) -> String {
            let entry = if self.down {
                with_down("001_a", self.file)
            } else {
                entry(1, "001_a")
            };
            manifest(1, &[entry])
        }

        /// The files that are not in this role.
        fn others<'a>(&self, manifest: &'a str) -> Vec<(&'a str, &'a str)> {
            let migration = self.down.then_some(("001_a.sql", "select 1;"));
            [("manifest.json", manifest)]
                .into_iter()
                .chain(migration)
                .collect()
        }
    }

    fn with_down(name: &str, down: &str) -> Value {
        with(entry(1, name), json!({"down": down}))
    }

    fn assert_outside(error: &ManifestError, file: &str) {
        assert!(
            matches!(error.kind(), ManifestErrorKind::OutsideFolder),
            "{file}: {error:?}"
        );
        assert_names(
            error,
            file,
            Some(1),
            "use a plain name such as 003_tags.sql",
        );
    }

    #[cfg(unix)]
    fn assert_not_the_file(error: &ManifestError, file: &str, target: &Path) {
        let target = target.canonicalize().unwrap();
        assert!(
            matches!(error.kind(), ManifestErrorKind::NotTheFile { real, .. } if *real == target),
            "{error:?}"
        );
        assert_names(error, file, Some(1), "put a copy of the file itself there");
        assert!(
            error.to_string().contains(&target.display().to_string()),
            "{error}"
        );
    }

    #[cfg(unix)]
    fn assert_unreadable(error: &ManifestError, file: &str) {
        assert!(
            matches!(error.kind(), ManifestErrorKind::Unreadable { .. }),
            "{error:?}"
        );
        assert_names(error, file, Some(1), "check its permissions");
        let cause = std::error::Error::source(error).unwrap().to_string();
        assert!(!error.to_string().contains(&cause), "{error}: {cause}");
    }
}

mod of_this_crate {
    use super::*;

    #[test]
    fn the_bundled_migrations_are_those_of_the_folder() {
        let bundled = Migrations::bundled().unwrap();
        let folder = Migrations::from_dir(root("migrations")).unwrap();
        assert_eq!(all(&bundled), all(&folder));
        assert!(bundled.latest_version() >= Version::new(2).unwrap());
    }

    #[test]
    fn every_file_of_the_folder_belongs_to_a_version() {
        let text = fs::read_to_string(root("migrations/manifest.json")).unwrap();
        let manifest: Value = serde_json::from_str(&text).unwrap();
        let entries = manifest["migrations"].as_array().unwrap();
        let named = |field: &str| {
            let files = entries.iter().filter_map(|entry| entry[field].as_str());
            files.map(str::to_owned).collect::<Vec<_>>()
        };
        let mut expected = [
            named("file"),
            named("down"),
            vec!["manifest.json".to_owned()],
        ]
        .concat();
        expected.sort();
        assert_eq!(files_of("migrations"), expected);
    }

    #[test]
    fn the_first_versions_are_described_as_the_specification_does() {
        let text = fs::read_to_string(root("migrations/manifest.json")).unwrap();
        let ours: Value = serde_json::from_str(&text).unwrap();
        let specification: Value = serde_json::from_str(SPECIFICATION).unwrap();
        let expected = specification["migrations"].as_array().unwrap();
        for (ours, expected) in ours["migrations"].as_array().unwrap().iter().zip(expected) {
            for (field, value) in expected.as_object().unwrap() {
                assert_eq!(ours[field], *value, "{field}");
            }
        }
    }

    #[test]
    fn the_install_text_is_every_file_of_sql_rpc_in_order() {
        let texts: Vec<_> = files_of("sql-rpc")
            .iter()
            .map(|file| fs::read_to_string(root("sql-rpc").join(file)).unwrap())
            .collect();
        assert!(install_sql().ends_with(&texts.join("\n")));
        let header = install_sql().len() - texts.join("\n").len();
        for line in install_sql()[..header].lines() {
            assert!(line.is_empty() || line.starts_with("-- "), "{line}");
        }
    }

    fn root(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    fn files_of(folder: &str) -> Vec<String> {
        let mut files: Vec<_> = fs::read_dir(root(folder))
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        files
    }
}

/// A folder of migrations inside another, so that there is something outside of it.
struct Folder {
    root: TempDir,
    path: PathBuf,
}

impl Folder {
    fn of(files: &[(&str, &str)]) -> Self {
        let root = TempDir::new().unwrap();
        let path = root.path().join("migrations");
        fs::create_dir(&path).unwrap();
        for (name, text) in files {
            let file = path.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        Self { root, path }
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }
}

/// The migrations of these files, which are the same from a folder and from memory.
fn accepted(files: &[(&str, &str)]) -> Migrations {
    let (folder, embedded) = read(files);
    let (folder, embedded) = (folder.unwrap(), embedded.unwrap());
    assert_eq!(all(&folder), all(&embedded));
    folder
}

/// Why these files are refused, which is the same from a folder and from memory.
fn refused(files: &[(&str, &str)]) -> ManifestError {
    let (folder, embedded) = read(files);
    let (folder, embedded) = (folder.unwrap_err(), embedded.unwrap_err());
    assert_eq!(
        discriminant(folder.kind()),
        discriminant(embedded.kind()),
        "{folder:?} {embedded:?}"
    );
    assert_eq!(folder.kind().to_string(), embedded.kind().to_string());
    assert_eq!(folder.version(), embedded.version());
    assert!(folder.file().ends_with(embedded.file()), "{folder:?}");
    embedded
}

type Read = Result<Migrations, ManifestError>;

fn read(files: &[(&str, &str)]) -> (Read, Read) {
    let folder = Folder::of(files);
    (
        Migrations::from_dir(&folder.path),
        Migrations::embedded(files),
    )
}

/// The text begins with the file and the version, and says what to do.
fn assert_names(error: &ManifestError, file: &str, version: Option<i64>, remedy: &str) {
    assert_eq!((error.file(), error.version()), (file, version));
    let place = match version {
        Some(version) => format!("{file} (version {version}): "),
        None => format!("{file}: "),
    };
    let text = error.to_string();
    assert!(text.starts_with(&place), "{text}");
    assert!(text.contains(remedy), "{text}");
}

fn manifest(current: i64, entries: &[Value]) -> String {
    json!({"currentVersion": current, "migrations": entries}).to_string()
}

/// An entry with the fields of the specification.
fn entry(version: i64, name: &str) -> Value {
    json!({
        "version": version,
        "name": name,
        "description": "Something",
        "file": format!("{name}.sql"),
    })
}

/// The entry with these fields too, or instead.
fn with(mut entry: Value, fields: Value) -> Value {
    let (Value::Object(entry_fields), Value::Object(fields)) = (&mut entry, fields) else {
        panic!("both are objects");
    };
    entry_fields.extend(fields);
    entry
}

/// One statement in so many bytes.
fn sql_of(bytes: usize) -> String {
    let statement = "select 1; -- ";
    statement.to_owned() + &"x".repeat(bytes - statement.len())
}

fn first(migrations: &Migrations) -> &Migration {
    migrations.iter().next().unwrap()
}

fn all(migrations: &Migrations) -> Vec<Value> {
    migrations.iter().map(fields).collect()
}

/// All that a migration is.
fn fields(migration: &Migration) -> Value {
    json!({
        "version": migration.version(),
        "name": migration.name(),
        "description": migration.description(),
        "file": migration.file(),
        "sql": migration.sql(),
        "checksum": migration.checksum(),
        "down": migration.down_sql(),
        "breaking": migration.breaking(),
        "minAppVersion": migration.min_app_version(),
        "backup": migration.backup(),
    })
}
