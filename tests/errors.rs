//! The text of every error, as a person reads it.
//!
//! Each is one sentence that begins in lower case, says what to do next and has no full
//! stop. What caused it is in `source()` and not repeated in the text.

use std::{error::Error as StdError, fmt, io, path::PathBuf, time::Duration};

use ctx0_schema::{
    Config, ConfigError, ConflictReason, Error, KeyError, LedgerError, LockHolder, ManifestError,
    ManifestErrorKind, Migrations, RunError, SchemaVersionManager, Version,
};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

mod texts {
    use super::*;

    #[test]
    fn of_what_a_server_or_the_network_does() {
        let reason = || "JWT expired".to_owned();
        let excerpt = || "<html>Bad Gateway</html>".to_owned();
        for (error, text) in [
            (
                Error::RpcNotInstalled {
                    function: "ctx0_apply_migration",
                },
                "the function ctx0_apply_migration is not installed in this database: paste the whole text of \
                 install_sql() (`cargo run --example install_sql` writes it to a file) into the SQL editor of the \
                 Supabase dashboard, run it, and try again",
            ),
            (
                Error::RpcOutdated {
                    installed: 1,
                    needed: 2,
                },
                "the installed functions are of release 1, this build needs 2: paste the text of install_sql() into \
                 the SQL editor again, which may be done at any time",
            ),
            (
                Error::KeyRejected { reason: reason() },
                "the server refused the service key (JWT expired): copy the current one from the dashboard under \
                 Project Settings → API Keys, or from SERVICE_ROLE_KEY in the .env of a self-hosted installation",
            ),
            (
                Error::PermissionDenied {
                    reason: "permission denied for table ctx0_schema_versions".to_owned(),
                },
                "the database refused the request (permission denied for table ctx0_schema_versions): use the \
                 service_role key, and run the text of install_sql() again, which restores the rights",
            ),
            (
                Error::SchemaNotExposed {
                    reason: "Invalid schema: public".to_owned(),
                },
                "the schema public is not exposed (Invalid schema: public): add it in the dashboard under Project \
                 Settings → Data API → Exposed schemas, or to PGRST_DB_SCHEMAS in the .env of a self-hosted \
                 installation",
            ),
            (
                Error::DatabaseUnavailable {
                    reason: "Could not query the database for the schema cache. Retrying."
                        .to_owned(),
                },
                "the database does not answer (Could not query the database for the schema cache. Retrying.): try \
                 again in a minute, and check that it is running",
            ),
            (
                Error::PoolExhausted,
                "all connections to the database are busy: nothing was done, try again in a minute",
            ),
            (
                Error::ProjectPaused,
                "the project is paused: resume it in the Supabase dashboard, then try again",
            ),
            (
                Error::RateLimited,
                "the server asks for fewer requests: try again in a minute",
            ),
            (
                Error::Gateway {
                    status: 502,
                    excerpt: excerpt(),
                },
                "the gateway answered 502 (<html>Bad Gateway</html>): try again in a minute, and check the services \
                 behind it",
            ),
            (
                Error::RequestTooLarge,
                "the gateway refuses a request of this size: raise its limit (client_max_body_size), or split the \
                 migration",
            ),
            (
                Error::Redirected {
                    location: "https://example.org/rest/v1/".to_owned(),
                },
                "the server redirects to https://example.org/rest/v1/, which is not followed: use that address in the \
                 configuration",
            ),
            (
                Error::NotSupabase {
                    status: 200,
                    excerpt: excerpt(),
                },
                "this does not look like Supabase (status 200, <html>Bad Gateway</html>): check the project's URL",
            ),
            (
                Error::PostgrestTooOld {
                    version: "11.2.2".to_owned(),
                },
                "the server runs PostgREST 11.2.2, which is too old and would cut long migrations short: update \
                 Supabase to a release with PostgREST 12.2 or newer",
            ),
            (
                Error::Unreachable { source: cause() },
                "the server cannot be reached: check the URL, the network and that Supabase is running",
            ),
            (
                Error::Tls { source: cause() },
                "no secure connection, because the server's certificate is not trusted or belongs to another host: \
                 check the URL, and name the file of a private certificate authority with ca_file()",
            ),
            (
                Error::Timeout {
                    timeout: Duration::from_secs(35),
                },
                "no response within 35 s: try again, and check the network",
            ),
            (
                Error::Timeout {
                    timeout: Duration::from_millis(1_500),
                },
                "no response within 1.5 s: try again, and check the network",
            ),
            (
                Error::ConnectionLost { source: cause() },
                "the connection broke: try again, and check the network",
            ),
            (
                Error::Cancelled {
                    reason: "canceling statement due to statement timeout".to_owned(),
                },
                "the database cancelled the request (canceling statement due to statement timeout): nothing was \
                 changed, try again when it is less busy",
            ),
            (
                Error::UnexpectedResponse {
                    status: 400,
                    code: Some("22P02".to_owned()),
                    message: "invalid input syntax".to_owned(),
                },
                "the server gave an unexpected answer (status 400, code 22P02): invalid input syntax; update the app, \
                 and report this text if it stays",
            ),
            (
                Error::UnexpectedResponse {
                    status: 200,
                    code: None,
                    message: "the status is missing".to_owned(),
                },
                "the server gave an unexpected answer (status 200): the status is missing; update the app, and report \
                 this text if it stays",
            ),
        ] {
            let has_cause = matches!(
                error,
                Error::Unreachable { .. } | Error::Tls { .. } | Error::ConnectionLost { .. }
            );
            assert_text(&error, text, has_cause);
        }
    }

    #[test]
    fn of_what_becomes_of_a_version() {
        for (error, text) in [
            (
                Error::UnknownVersion {
                    version: version(9),
                    latest: version(2),
                },
                "this build has no schema version 9, its latest is 2: update the app",
            ),
            (
                Error::NotNext {
                    version: version(3),
                    current: version(1),
                    next: version(2),
                },
                "version 3 cannot be applied to a database at version 1: apply version 2 first",
            ),
            (
                conflict(ConflictReason::UnexpectedVersion),
                "version 2 was not applied: the database has version 2, the caller expected 1; check for updates \
                 again before going on",
            ),
            (
                Error::StillRunning {
                    version: version(2),
                    waited: Duration::from_millis(1_200_900),
                },
                "version 2 is not applied yet: a migration still runs after 1200 s and goes on in the database, check \
                 again later",
            ),
            (
                Error::OutcomeUnknown {
                    version: version(2),
                    source: Box::new(Error::PoolExhausted),
                },
                "it is not known whether version 2 was applied, because the answer was lost: check for updates again, \
                 which tells",
            ),
        ] {
            let has_cause = matches!(error, Error::OutcomeUnknown { .. });
            assert_text(&error, text, has_cause);
        }
    }

    #[test]
    fn of_a_ledger_that_does_not_fit() {
        for (problem, text) in [
            (
                LedgerError::DatabaseAhead {
                    current: version(5),
                    latest: version(2),
                },
                "the database has schema version 5, this app knows versions up to 2 only: update the app, the database \
                 is fine as it is",
            ),
            (
                LedgerError::Gap {
                    current: version(4),
                    missing: vec![version(1), version(3)],
                },
                "the ledger ctx0_schema_versions has version 4, but lacks 1, 3: add the missing rows there if those \
                 changes were made by hand, or else restore a backup",
            ),
            (
                LedgerError::Differs {
                    version: version(1),
                    applied: "001_a".to_owned(),
                    expected: "001_a (checksum 061e995aebcb…)".to_owned(),
                },
                "version 1 was applied as 001_a, this build has 001_a (checksum 061e995aebcb…) under that number: use \
                 the app that applied it, or restore the migration's file as it was",
            ),
        ] {
            assert_text(&problem, text, false);
            assert_text(&Error::from(problem), text, false);
        }
    }

    #[test]
    fn of_a_configuration() {
        let path = || PathBuf::from("ca.pem");
        for (error, text) in [
            (
                ConfigError::Unset {
                    name: "SUPABASE_URL",
                },
                "the environment variable SUPABASE_URL is not set: set it to the value from the Supabase dashboard or \
                 your .env",
            ),
            (
                ConfigError::Url {
                    reason: "the URL is empty".to_owned(),
                },
                "the URL is empty: use the project's URL, such as https://abcdefghijklmnopqrst.supabase.co",
            ),
            (
                ConfigError::PlainHttp {
                    host: "10.0.0.7".to_owned(),
                },
                "http://10.0.0.7 would send the service key unencrypted: use https, or, in a network that you trust, \
                 allow this one host with allow_plain_http_to(\"10.0.0.7\")",
            ),
            (
                ConfigError::CaFile {
                    path: path(),
                    source: io::Error::other("the cause"),
                },
                "the CA file ca.pem cannot be read: check the path and its permissions",
            ),
            (
                ConfigError::CaFileEmpty { path: path() },
                "the CA file ca.pem holds no certificate: it must be PEM, with BEGIN CERTIFICATE in it",
            ),
            (
                ConfigError::UserAgent,
                "the user agent cannot be sent as a header: use printable ASCII, and not an empty text",
            ),
            (
                ConfigError::Client { source: cause() },
                "the HTTP client could not be set up: check the CA file and the proxy variables of the environment",
            ),
        ] {
            let has_cause = matches!(
                error,
                ConfigError::CaFile { .. } | ConfigError::Client { .. }
            );
            assert_text(&error, text, has_cause);
            assert_text(&Error::from(error), text, has_cause);
        }
    }

    #[test]
    fn of_a_url_by_what_it_is() {
        for (url, reason) in [
            ("", "the URL is empty"),
            ("not a url", "this is not a URL"),
            ("ftp://abc.supabase.co", "the URL must begin with https://"),
            (
                "https://me:hush@abc.supabase.co",
                "the URL has a user name or password in it",
            ),
            (
                "postgresql://postgres:hush@db.abc.supabase.co/postgres",
                "this is the connection string of the database, which is not used",
            ),
            (
                "https://supabase.com/dashboard/project/abc",
                "this is the page of the dashboard",
            ),
        ] {
            let error = Config::new(url, "sb_secret_N7UND0").unwrap_err();
            let text = format!(
                "{reason}: use the project's URL, such as https://abcdefghijklmnopqrst.supabase.co"
            );
            assert_text(&error, &text, false);
        }
    }

    #[test]
    fn of_a_key() {
        let found = "use the service_role key or a secret key (sb_secret_…), found in the dashboard under Project \
                     Settings → API Keys, or as SERVICE_ROLE_KEY in the .env of a self-hosted installation";
        for (problem, text) in [
            (
                KeyError::Empty,
                format!("the service key is empty: {found}"),
            ),
            (
                KeyError::LineBreak,
                format!(
                    "the service key has a line break in it: {found}, and paste it in one line"
                ),
            ),
            (
                KeyError::Character,
                format!(
                    "the service key has a blank or another character in it that no key has: {found}, and paste it \
                     whole"
                ),
            ),
            (
                KeyError::NotAKey,
                format!("this is not a key of a Supabase project: {found}"),
            ),
            (
                KeyError::AccessToken,
                format!(
                    "this is a personal access token (sbp_…), not a key of the project: {found}"
                ),
            ),
            (
                KeyError::OtherRole {
                    role: "anon".to_owned(),
                },
                format!("this is the anon key, which may not change the schema: {found}"),
            ),
            (
                KeyError::Expired { days: 0 },
                format!(
                    "the service key expired less than a day ago: {found}, or correct this computer's clock"
                ),
            ),
            (
                KeyError::Expired { days: 1 },
                format!(
                    "the service key expired 1 day ago: {found}, or correct this computer's clock"
                ),
            ),
            (
                KeyError::Expired { days: 40 },
                format!(
                    "the service key expired 40 days ago: {found}, or correct this computer's clock"
                ),
            ),
        ] {
            assert_text(&problem, &text, false);
            assert_text(&Error::from(ConfigError::from(problem)), &text, false);
        }
    }

    #[test]
    fn of_a_list_of_migrations() {
        let stated = "061e995aebcb765888ac7580f67ee3815a03b9b9c3fd5ff2dbb40db98b53a737";
        let actual = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let name = || "001_a".to_owned();
        for (problem, text) in [
            (
                ManifestErrorKind::NoManifest,
                "not found: add a manifest.json that lists the migrations, or correct the folder",
            ),
            (
                ManifestErrorKind::Json {
                    line: 3,
                    column: 7,
                    reason: "missing field `name`".to_owned(),
                },
                "not a valid manifest at line 3, column 7 (missing field `name`): correct it there",
            ),
            (
                ManifestErrorKind::CurrentVersion {
                    stated: 3,
                    highest: 2,
                },
                "currentVersion is 3, but the highest version listed is 2: make them equal",
            ),
            (
                ManifestErrorKind::NotAVersion,
                "versions are whole numbers from 1 to 2147483647: give it the next free number",
            ),
            (
                ManifestErrorKind::Duplicate,
                "the version is listed twice: give one of the two the next free number",
            ),
            (
                ManifestErrorKind::Unordered { before: 2 },
                "it is listed before version 2: list the lowest version first",
            ),
            (
                ManifestErrorKind::Missing { missing: 2 },
                "version 2 is missing before it: add it, or renumber from 2 on",
            ),
            (
                ManifestErrorKind::NameIsNotFile { name: name() },
                "the file must be 001_a.sql, after its name: rename one of the two",
            ),
            (
                ManifestErrorKind::NameHasOtherNumber { name: name() },
                "the name 001_a begins with another number than the version: make them equal",
            ),
            (
                ManifestErrorKind::NoFile,
                "file not found: add it beside manifest.json, or correct the manifest",
            ),
            (
                ManifestErrorKind::Unreadable {
                    source: io::Error::other("the cause"),
                },
                "the file cannot be read: check its permissions",
            ),
            (
                ManifestErrorKind::NotAFile,
                "this is not a file: put the SQL into a plain file of that name",
            ),
            (
                ManifestErrorKind::OutsideFolder,
                "the file lies outside of the manifest's folder: use a plain name such as 003_tags.sql",
            ),
            (
                ManifestErrorKind::NotTheFile {
                    real: PathBuf::from("other.sql"),
                },
                "the name leads to another file, other.sql: put a copy of the file itself there",
            ),
            (
                ManifestErrorKind::Empty,
                "there is no statement in it: write the migration, or take it out of the manifest",
            ),
            (
                ManifestErrorKind::NotUtf8 { line: 4 },
                "line 4 is not UTF-8: save the file in UTF-8",
            ),
            (
                ManifestErrorKind::TooLarge,
                "it is larger than 16 MiB: split it into several versions",
            ),
            (
                ManifestErrorKind::Checksum {
                    stated: stated.parse().unwrap(),
                    actual: actual.parse().unwrap(),
                },
                "its checksum is ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad, the manifest says \
                 061e995aebcb765888ac7580f67ee3815a03b9b9c3fd5ff2dbb40db98b53a737: undo the change to the file, or, if \
                 no database has this version yet, write the new checksum",
            ),
            (
                ManifestErrorKind::Unterminated {
                    line: 2,
                    what: "string",
                },
                "the string that begins on line 2 never ends: close it",
            ),
            (
                ManifestErrorKind::ZeroByte { line: 2 },
                "there is a zero byte on line 2, which PostgreSQL cannot store: remove it",
            ),
            (
                ManifestErrorKind::NotTransactional {
                    line: 2,
                    what: "vacuum".to_owned(),
                },
                "`vacuum` on line 2 cannot run inside a migration, which is one transaction: remove it (an index can \
                 be made without `concurrently`, data goes into `insert` statements)",
            ),
        ] {
            let has_cause = matches!(problem, ManifestErrorKind::Unreadable { .. });
            assert_text(&problem, text, has_cause);
        }
    }

    #[test]
    fn of_a_list_of_migrations_name_the_file_and_the_version() {
        let none = Migrations::embedded(&[]).unwrap_err();
        let text = "manifest.json: not found: add a manifest.json that lists the migrations, or correct the folder";
        assert_text(&none, text, false);
        assert_text(&Error::from(none), text, false);

        let no_file = Migrations::embedded(&[("manifest.json", MANIFEST)]).unwrap_err();
        let text = "001_a.sql (version 1): file not found: add it beside manifest.json, or correct the manifest";
        assert_text(&no_file, text, false);
    }

    #[tokio::test]
    async fn of_a_migration_that_failed() {
        for (answer, text) in [
            (
                json!({
                    "statement": 2, "sqlstate": "42P01", "retryable": false,
                    "message": "relation \"nope\" does not exist",
                }),
                "version 1 failed, nothing of it is left in the database: 001_a.sql, statement 2, line 3: relation \
                 \"nope\" does not exist (SQLSTATE 42P01); correct what it names, then apply it again",
            ),
            (
                json!({
                    "statement": 1, "sqlstate": "23505", "retryable": false,
                    "message": "could not create unique index \"notes_key\"",
                    "detail": "Key (title)=(a) is duplicated.",
                    "hint": "Remove one.",
                    "context": "SQL statement \"select 1\"",
                }),
                "version 1 failed, nothing of it is left in the database: 001_a.sql, statement 1, line 1: could not \
                 create unique index \"notes_key\" (SQLSTATE 23505); detail: Key (title)=(a) is duplicated; hint: \
                 Remove one; correct what it names, then apply it again",
            ),
            (
                json!({
                    "statement": 3, "sqlstate": "23503", "retryable": false,
                    "message": "insert or update on table \"notes\" violates a foreign key",
                }),
                "version 1 failed, nothing of it is left in the database: 001_a.sql, at its end: insert or update on \
                 table \"notes\" violates a foreign key (SQLSTATE 23503); correct what it names, then apply it again",
            ),
            (
                json!({
                    "statement": 1, "sqlstate": "40P01", "retryable": true,
                    "message": "deadlock detected.",
                }),
                "version 1 failed, nothing of it is left in the database: 001_a.sql, statement 1, line 1: deadlock \
                 detected (SQLSTATE 40P01); apply it again in a moment",
            ),
            (
                json!({
                    "statement": 1, "sqlstate": "55P03", "retryable": true,
                    "message": "canceling statement due to lock timeout",
                    "holders": [
                        {"relation": "notes", "mode": "AccessShareLock", "pid": 4711},
                        {
                            "relation": "tags", "mode": "RowExclusiveLock", "pid": 4712, "user": "postgres",
                            "application": "psql", "state": "idle in transaction",
                            "since": "2026-01-02T03:04:05Z",
                        },
                    ],
                }),
                "version 1 failed, nothing of it is left in the database: 001_a.sql, statement 1, line 1: canceling \
                 statement due to lock timeout (SQLSTATE 55P03); notes is held by process 4711; tags is held by \
                 process 4712 (postgres, psql, idle in transaction) since 2026-01-02T03:04:05Z; apply it again in a \
                 moment",
            ),
        ] {
            let retryable = answer["retryable"] == true;
            let error = failed(answer).await;
            assert_text(&error, text, false);
            assert_text(&error.error, text, false);
            assert_eq!(error.error.is_retryable(), retryable, "{error}");
            assert_eq!(error.error.code(), "migrationFailed");
            assert_eq!(
                serde_json::to_value(&error).unwrap(),
                json!({"success": false, "applied": [], "error": text})
            );
        }
    }

    #[test]
    fn of_who_holds_a_table() {
        let seen = json!({
            "relation": "notes", "mode": "AccessShareLock", "pid": 4711, "user": "authenticator",
        });
        let holder: LockHolder = serde_json::from_value(seen).unwrap();
        assert_eq!(
            holder.to_string(),
            "notes is held by process 4711 (authenticator)"
        );
    }

    #[test]
    fn of_a_refused_key_do_not_repeat_it() {
        for key in [
            "sb_secret_hush\n",
            "sb_secret_hush hush",
            "sb_publishable_hush",
            "sbp_hush",
            "hush",
            "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.hush",
        ] {
            let error = Config::new("https://abc.supabase.co", key).unwrap_err();
            for text in [error.to_string(), format!("{error:?}")] {
                assert!(!text.contains("hush"), "{text}");
            }
        }
    }

    /// The text is this one and keeps the rules of all texts.
    #[track_caller]
    fn assert_text(error: &dyn StdError, expected: &str, has_cause: bool) {
        let text = error.to_string();
        assert_eq!(text, expected);
        assert!(
            !text.starts_with(char::is_uppercase),
            "begins in lower case: {text}"
        );
        assert!(
            !text.ends_with(['.', '!', '\n', ' ']),
            "has no full stop: {text}"
        );
        assert_eq!(error.source().is_some(), has_cause, "the cause of: {text}");
        for cause in std::iter::successors(error.source(), |cause| (*cause).source()) {
            assert!(
                !text.contains(&cause.to_string()),
                "repeats its cause: {text}"
            );
        }
    }

    /// A migration of two statements that the database answers with this failure.
    async fn failed(failure: Value) -> RunError {
        let server = MockServer::start().await;
        let answer = |value: Value| ResponseTemplate::new(200).set_body_json(value);
        let mut outcome = failure;
        outcome["outcome"] = json!("failed");
        outcome["rpc_version"] = json!(3);
        Mock::given(method("GET"))
            .and(path("/rest/v1/ctx0_schema_versions"))
            .respond_with(answer(json!([])))
            .mount(&server)
            .await;
        Mock::given(method("POST"))
            .and(path("/rest/v1/rpc/ctx0_apply_migration"))
            .respond_with(answer(outcome))
            .mount(&server)
            .await;

        let config = Config::new(server.uri(), "sb_secret_N7UND0").unwrap();
        let migrations = Migrations::embedded(&[
            ("manifest.json", MANIFEST),
            ("001_a.sql", "select 1;\n\nselect * from nope;\n"),
        ])
        .unwrap();
        let manager = SchemaVersionManager::new(&config, migrations).unwrap();
        // A table in use is not waited for.
        manager
            .apply_all_pending()
            .deadline(Duration::ZERO)
            .await
            .unwrap_err()
    }
}

mod programs {
    use super::*;

    #[test]
    fn may_try_again_what_may_pass_by_itself() {
        for (error, _, retryable) in every_error() {
            assert_eq!(error.is_retryable(), retryable, "{error}");
        }
    }

    #[test]
    fn know_an_error_by_its_code() {
        for (error, code, _) in every_error() {
            assert_eq!(error.code(), code, "{error}");
        }
    }

    /// Each with its code and whether it may pass by itself.
    fn every_error() -> Vec<(Error, &'static str, bool)> {
        let text = String::new;
        let ledger = LedgerError::DatabaseAhead {
            current: version(2),
            latest: version(1),
        };
        let gap = LedgerError::Gap {
            current: version(2),
            missing: vec![version(1)],
        };
        let differs = LedgerError::Differs {
            version: version(1),
            applied: text(),
            expected: text(),
        };
        let unknown_version = Error::UnknownVersion {
            version: version(2),
            latest: version(1),
        };
        let not_next = Error::NotNext {
            version: version(3),
            current: version(1),
            next: version(2),
        };
        let rpc_outdated = Error::RpcOutdated {
            installed: 1,
            needed: 2,
        };
        let gateway = Error::Gateway {
            status: 502,
            excerpt: text(),
        };
        let not_supabase = Error::NotSupabase {
            status: 404,
            excerpt: text(),
        };
        let timeout = Error::Timeout {
            timeout: Duration::from_secs(1),
        };
        let unexpected = Error::UnexpectedResponse {
            status: 400,
            code: None,
            message: text(),
        };
        let running = Error::StillRunning {
            version: version(1),
            waited: Duration::ZERO,
        };
        // Asking again tells, whatever it was that lost the answer.
        let unknown = Error::OutcomeUnknown {
            version: version(1),
            source: Box::new(Error::ProjectPaused),
        };
        vec![
            (ConfigError::UserAgent.into(), "config", false),
            (manifest_error().into(), "manifest", false),
            (ledger.into(), "databaseAhead", false),
            (gap.into(), "gap", false),
            (differs.into(), "differs", false),
            (unknown_version, "unknownVersion", false),
            (not_next, "notNext", false),
            (
                Error::RpcNotInstalled { function: "f" },
                "rpcNotInstalled",
                false,
            ),
            (rpc_outdated, "rpcOutdated", false),
            (Error::KeyRejected { reason: text() }, "keyRejected", false),
            (
                Error::PermissionDenied { reason: text() },
                "permissionDenied",
                false,
            ),
            (
                Error::SchemaNotExposed { reason: text() },
                "schemaNotExposed",
                false,
            ),
            (
                Error::DatabaseUnavailable { reason: text() },
                "databaseUnavailable",
                true,
            ),
            (Error::PoolExhausted, "poolExhausted", true),
            (Error::ProjectPaused, "projectPaused", false),
            (Error::RateLimited, "rateLimited", true),
            (gateway, "gateway", true),
            (Error::RequestTooLarge, "requestTooLarge", false),
            (Error::Redirected { location: text() }, "redirected", false),
            (not_supabase, "notSupabase", false),
            (
                Error::PostgrestTooOld { version: text() },
                "postgrestTooOld",
                false,
            ),
            (Error::Unreachable { source: cause() }, "unreachable", true),
            (Error::Tls { source: cause() }, "tls", false),
            (timeout, "timeout", true),
            (
                Error::ConnectionLost { source: cause() },
                "connectionLost",
                true,
            ),
            (Error::Cancelled { reason: text() }, "cancelled", true),
            (unexpected, "unexpectedResponse", false),
            (conflict(ConflictReason::Damaged), "conflict", true),
            (
                conflict(ConflictReason::UnexpectedVersion),
                "conflict",
                true,
            ),
            (conflict(ConflictReason::AttemptReused), "conflict", false),
            (
                conflict(ConflictReason::DifferentMigration),
                "conflict",
                false,
            ),
            (conflict(ConflictReason::Gap), "conflict", false),
            (running, "stillRunning", true),
            (unknown, "outcomeUnknown", true),
        ]
    }
}

#[test]
fn errors_configurations_and_managers_may_go_to_any_thread() {
    fn any_thread<T: Send + Sync + 'static>() {}
    any_thread::<Error>();
    any_thread::<RunError>();
    any_thread::<ConfigError>();
    any_thread::<ManifestError>();
    any_thread::<Config>();
    any_thread::<Migrations>();
    any_thread::<SchemaVersionManager>();
}

#[test]
fn managers_configurations_and_migrations_can_be_cloned_and_shown() {
    fn clone_and_debug<T: Clone + fmt::Debug>() {}
    clone_and_debug::<SchemaVersionManager>();
    clone_and_debug::<Config>();
    clone_and_debug::<Migrations>();
}

const MANIFEST: &str = r#"{"currentVersion": 1, "migrations": [
    {"version": 1, "name": "001_a", "description": "", "file": "001_a.sql"}]}"#;

fn version(number: u32) -> Version {
    Version::new(number).unwrap()
}

fn cause() -> Box<dyn StdError + Send + Sync> {
    "the cause".into()
}

fn conflict(reason: ConflictReason) -> Error {
    Error::Conflict {
        version: version(2),
        reason,
        message: "the database has version 2, the caller expected 1".to_owned(),
    }
}

fn manifest_error() -> ManifestError {
    Migrations::embedded(&[]).unwrap_err()
}
