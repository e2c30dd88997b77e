//! The text of every error, as a person reads it: in `tests/snapshots`.
//!
//! `INSTA_UPDATE=always cargo test --all-features --lib error` writes the snapshots again, and the
//! diff shows what changed.

use std::{error::Error as StdError, fmt::Write, io, iter::successors, path::PathBuf};

use super::*;
use crate::{
    app_version::AppVersion, config::KeyError, ledger::RepairAction, manifest::ManifestErrorKind,
    manifest::Migrations,
};

/// Examples of each variant, with its name. A new variant compiles when it has one.
macro_rules! examples {
    ($kind:ident { $($variant:ident: [$($example:expr),+ $(,)?],)+ }) => {{
        fn variant(error: &$kind) -> &'static str {
            match error {
                $($kind::$variant { .. } => stringify!($variant),)+
            }
        }
        let examples = vec![$($((stringify!($variant), $example),)+)+];
        for (name, example) in &examples {
            assert_eq!(variant(example), *name);
        }
        examples
    }};
}

#[test]
fn of_an_operation() {
    let reason = || "JWT expired".to_owned();
    let excerpt = || "<html>Bad Gateway</html>".to_owned();
    let retryable = MigrationError {
        sqlstate: "40P01".to_owned(),
        message: "deadlock detected.".to_owned(),
        retryable: true,
        ..failed_migration()
    };
    let examples = examples!(Error {
        Config: [ConfigError::UserAgent.into()],
        Manifest: [Migrations::embedded(&[]).unwrap_err().into()],
        Ledger: [
            LedgerError::DatabaseAhead {
                current: version(5),
                latest: version(2),
                app_needed: None
            }
            .into(),
            LedgerError::Gap {
                current: version(4),
                missing: vec![version(1)]
            }
            .into(),
            LedgerError::Differs {
                version: version(1),
                applied: reason(),
                expected: reason()
            }
            .into(),
        ],
        UnknownVersion: [
            Error::UnknownVersion {
                version: version(9),
                latest: version(2)
            },
            Error::UnknownVersion {
                version: version(0),
                latest: version(2)
            },
        ],
        NotNext: [Error::NotNext {
            version: version(3),
            current: version(1),
            next: version(2)
        }],
        NotBelow: [
            Error::NotBelow {
                version: version(7),
                current: version(5)
            },
            Error::NotBelow {
                version: version(5),
                current: version(5)
            },
            Error::NotBelow {
                version: version(0),
                current: version(0)
            },
        ],
        NotReversible: [Error::NotReversible {
            version: version(2)
        }],
        Withheld: [Error::Withheld {
            version: version(3)
        }],
        PreviewOutdated: [Error::PreviewOutdated],
        BackupRequired: [Error::BackupRequired {
            version: version(2)
        }],
        BlankBackupName: [Error::BlankBackupName],
        CannotRepair: [Error::CannotRepair {
            reason: "version 2 is not in the ledger".to_owned()
        }],
        RepairOutdated: [Error::RepairOutdated {
            reason: "the ledger has version 2, the caller saw 1".to_owned()
        }],
        NotRecognised: [Error::NotRecognised {
            version: version(1)
        }],
        BlankReason: [Error::BlankReason],
        ChangeRunning: [Error::ChangeRunning],
        SchedulerStopped: [Error::SchedulerStopped],
        RpcNotInstalled: [Error::RpcNotInstalled {
            function: "ctx0_apply_migration"
        }],
        RpcOutdated: [
            Error::RpcOutdated {
                installed: Some(1),
                needed: 2
            },
            Error::RpcOutdated {
                installed: None,
                needed: 2
            },
        ],
        NothingRunsSql: [nothing_runs_sql(true), nothing_runs_sql(false)],
        RunByHand: [
            Error::RunByHand {
                script: SetupScript::Install,
                reason: "a hosted project needs a personal access token for that".to_owned(),
                editor_url: Some("https://supabase.com/dashboard/project/abc/sql/new".to_owned()),
            },
            Error::RunByHand {
                script: SetupScript::Uninstall,
                reason: "/pg/query responds with status 403, an empty body".to_owned(),
                editor_url: None,
            },
        ],
        SetupFailed: [Error::SetupFailed {
            sqlstate: "55000".to_owned(),
            reason: "table public.ctx0_schema_versions belongs to me and not to postgres"
                .to_owned(),
        }],
        NotServed: [Error::NotServed],
        KeyRejected: [
            Error::KeyRejected { reason: reason() },
            Error::KeyRejected {
                reason: "Legacy API keys are disabled".to_owned()
            },
            Error::KeyRejected {
                reason: "Server lacks JWT secret".to_owned()
            },
        ],
        ClockSkew: [Error::ClockSkew {
            reason: "JWT issued at future".to_owned()
        }],
        Blocked: [
            Error::Blocked {
                status: 403,
                excerpt: "a web page, \"Attention Required!\"".to_owned(),
                method: "POST",
                path: "/rest/v1/rpc/ctx0_*".to_owned(),
            },
            Error::Blocked {
                status: 403,
                excerpt: "a web page".to_owned(),
                method: "GET",
                path: "/rest/v1/ctx0_schema_versions".to_owned(),
            },
        ],
        ReadOnly: [Error::ReadOnly {
            reason: "cannot execute INSERT in a read-only transaction".to_owned()
        }],
        Raised: [Error::Raised {
            sqlstate: "P0001".to_owned(),
            reason: "no DDL on Fridays".to_owned()
        }],
        PermissionDenied: [Error::PermissionDenied {
            reason: "permission denied for table ctx0_schema_versions".to_owned(),
        }],
        SchemaNotExposed: [Error::SchemaNotExposed {
            reason: "Invalid schema: public".to_owned()
        }],
        DatabaseUnavailable: [Error::DatabaseUnavailable {
            reason: "Could not query the database for the schema cache. Retrying.".to_owned(),
        }],
        PoolExhausted: [Error::PoolExhausted],
        ProjectPaused: [Error::ProjectPaused],
        ProjectRestricted: [Error::ProjectRestricted {
            reason: "exceed_egress_quota: Service for this project is restricted".to_owned()
        }],
        RateLimited: [
            rate_limited(None),
            rate_limited(Some(0)),
            rate_limited(Some(1)),
            rate_limited(Some(90)),
            rate_limited(Some(150)),
            rate_limited(Some(86_400)),
        ],
        Gateway: [Error::Gateway {
            status: 502,
            excerpt: excerpt()
        }],
        RequestTooLarge: [Error::RequestTooLarge],
        Redirected: [
            Error::Redirected {
                location: Some("https://example.org/rest/v1/".to_owned())
            },
            Error::Redirected { location: None },
        ],
        LoginInFront: [Error::LoginInFront {
            status: 302,
            excerpt: "a redirect to https://login.example.org/".to_owned()
        }],
        NotSupabase: [Error::NotSupabase {
            status: 200,
            excerpt: excerpt()
        }],
        PostgrestTooOld: [Error::PostgrestTooOld {
            version: "11.2.2".to_owned()
        }],
        Unreachable: [
            Error::Unreachable {
                proxy: None,
                source: cause()
            },
            Error::Unreachable {
                proxy: Some("127.0.0.1:3128 of HTTPS_PROXY".to_owned()),
                source: cause()
            },
        ],
        NotTls: [Error::NotTls { source: cause() }],
        NotHttp: [Error::NotHttp { source: cause() }],
        Tls: [Error::Tls { source: cause() }],
        Timeout: [
            Error::Timeout {
                timeout: Duration::from_secs(35)
            },
            Error::Timeout {
                timeout: Duration::from_millis(1_500)
            },
        ],
        ConnectionLost: [Error::ConnectionLost { source: cause() }],
        Cancelled: [Error::Cancelled {
            reason: "canceling statement due to statement timeout".to_owned(),
        }],
        UnexpectedResponse: [
            Error::UnexpectedResponse {
                status: 400,
                code: Some("22P02".to_owned()),
                message: "invalid input syntax".to_owned(),
            },
            Error::UnexpectedResponse {
                status: 200,
                code: None,
                message: "the status is missing".to_owned(),
            },
        ],
        MigrationFailed: [
            Box::new(failed_migration()).into(),
            Box::new(retryable).into(),
        ],
        Conflict: [
            conflict(ConflictReason::Damaged),
            conflict(ConflictReason::AttemptReused),
            conflict(ConflictReason::DifferentMigration),
            conflict(ConflictReason::UnexpectedVersion),
            conflict(ConflictReason::Gap),
            conflict(ConflictReason::NotReversible),
            conflict_of(
                AttemptAction::Change(Action::Rollback),
                ConflictReason::UnexpectedVersion,
            ),
            conflict_of(
                AttemptAction::Repair(RepairAction::MarkApplied),
                ConflictReason::UnsafeTable,
            ),
        ],
        ChangeCancelled: [Error::ChangeCancelled {
            version: version(2),
            by: "Ada".to_owned(),
        }],
        StillRunning: [
            still_running(AttemptAction::Change(Action::Apply)),
            still_running(AttemptAction::Change(Action::Rollback)),
            still_running(AttemptAction::Repair(RepairAction::MarkApplied)),
        ],
        OutcomeUnknown: [
            outcome_unknown(AttemptAction::Change(Action::Apply)),
            outcome_unknown(AttemptAction::Change(Action::Rollback)),
            outcome_unknown(AttemptAction::Repair(RepairAction::Baseline)),
        ],
    });
    let mut text = String::new();
    for (name, error) in &examples {
        let passes = if error.is_retryable() {
            ", retryable"
        } else {
            ""
        };
        writeln!(text, "{name} ({}{passes})", error.code()).unwrap();
        add(&mut text, error);
    }
    assert_text("error", &text);
}

#[test]
fn of_a_ledger() {
    let examples = examples!(LedgerError {
        DatabaseAhead: [
            LedgerError::DatabaseAhead {
                current: version(5),
                latest: version(2),
                app_needed: None
            },
            LedgerError::DatabaseAhead {
                current: version(5),
                latest: version(2),
                app_needed: Some("1.4".parse().unwrap())
            }
        ],
        Gap: [LedgerError::Gap {
            current: version(4),
            missing: vec![version(1), version(3)]
        }],
        Differs: [LedgerError::Differs {
            version: version(1),
            applied: "001_a".to_owned(),
            expected: "001_a (checksum 061e995aebcb…)".to_owned(),
        }],
    });
    assert_texts("ledger_error", examples);
}

#[test]
fn of_a_configuration() {
    let path = || PathBuf::from("ca.pem");
    let examples = examples!(ConfigError {
        Unset: [ConfigError::Unset {
            name: "SUPABASE_URL"
        }],
        NotUtf8: [ConfigError::NotUtf8 {
            name: "SUPABASE_URL"
        }],
        Dashboard: [ConfigError::Dashboard {
            url: "https://abcdefghijklmnopqrst.supabase.co".to_owned()
        }],
        OtherAddress: [ConfigError::OtherAddress {
            reason: "this is the Management API",
            url: "https://abcdefghijklmnopqrst.supabase.co".to_owned()
        }],
        AppliedBy: [ConfigError::AppliedBy],
        HostedManifest: [ConfigError::HostedManifest],
        HostedChecksum: [ConfigError::HostedChecksum],
        AppVersion: ["latest".parse::<AppVersion>().unwrap_err().into()],
        AccessToken: [ConfigError::AccessToken],
        ProjectRef: [ConfigError::ProjectRef],
        ManagementApi: [ConfigError::ManagementApi],
        OutOfRange: [ConfigError::OutOfRange {
            setting: "retry_delay",
            value: Duration::ZERO,
            shortest: Duration::from_millis(1),
            longest: Duration::from_secs(5),
        }],
        Url: [ConfigError::Url {
            reason: "the URL is empty".to_owned()
        }],
        PlainHttp: [ConfigError::PlainHttp {
            host: "10.0.0.7".to_owned()
        }],
        Key: [KeyError::Empty.into()],
        CaFile: [ConfigError::CaFile {
            path: path(),
            source: io::Error::other("the cause")
        }],
        CaFileEmpty: [ConfigError::CaFileEmpty { path: path() }],
        UserAgent: [ConfigError::UserAgent],
        Client: [ConfigError::Client { source: cause() }],
    });
    assert_texts("config_error", examples);
}

#[test]
fn of_a_key() {
    let examples = examples!(KeyError {
        Empty: [KeyError::Empty],
        NameOrQuotes: [KeyError::NameOrQuotes],
        LineBreak: [KeyError::LineBreak],
        Character: [KeyError::Character],
        NotAKey: [KeyError::NotAKey],
        AccessToken: [KeyError::AccessToken],
        OtherRole: [KeyError::OtherRole {
            role: "anon".to_owned()
        }],
        Expired: [
            KeyError::Expired { days: 0 },
            KeyError::Expired { days: 1 },
            KeyError::Expired { days: 40 },
        ],
    });
    assert_texts("key_error", examples);
}

#[test]
fn of_a_list_of_migrations() {
    let name = || "001_a".to_owned();
    let checksum = |text: &str| text.repeat(64).parse().unwrap();
    let examples = examples!(ManifestErrorKind {
        NoManifest: [ManifestErrorKind::NoManifest],
        Json: [ManifestErrorKind::Json {
            line: 3,
            column: 7,
            reason: "missing field `name`".to_owned()
        }],
        CurrentVersion: [ManifestErrorKind::CurrentVersion {
            stated: 3,
            highest: 2
        }],
        NotAVersion: [ManifestErrorKind::NotAVersion],
        Duplicate: [ManifestErrorKind::Duplicate],
        Unordered: [ManifestErrorKind::Unordered { before: 2 }],
        Missing: [ManifestErrorKind::Missing { missing: 2 }],
        NameIsNotFile: [ManifestErrorKind::NameIsNotFile { name: name() }],
        NameHasOtherNumber: [ManifestErrorKind::NameHasOtherNumber { name: name() }],
        NoFile: [ManifestErrorKind::NoFile],
        Unreadable: [ManifestErrorKind::Unreadable {
            source: io::Error::other("the cause")
        }],
        NotAFile: [ManifestErrorKind::NotAFile],
        OutsideFolder: [ManifestErrorKind::OutsideFolder],
        NotTheFile: [ManifestErrorKind::NotTheFile {
            real: PathBuf::from("other.sql")
        }],
        Empty: [ManifestErrorKind::Empty],
        NotUtf8: [ManifestErrorKind::NotUtf8 { line: 4 }],
        TooLarge: [ManifestErrorKind::TooLarge],
        Checksum: [ManifestErrorKind::Checksum {
            stated: checksum("a"),
            actual: checksum("b")
        }],
        Unterminated: [ManifestErrorKind::Unterminated {
            line: 2,
            what: "string"
        }],
        ZeroByte: [ManifestErrorKind::ZeroByte { line: 2 }],
        ByteOrderMark: [ManifestErrorKind::ByteOrderMark { line: 2 }],
        Backslash: [ManifestErrorKind::Backslash { line: 2 }],
        NotTransactional: [ManifestErrorKind::NotTransactional {
            line: 2,
            what: "copy … from stdin".to_owned(),
            remedy: "write its rows as `insert` statements"
        }],
        Role: [ManifestErrorKind::Role {
            line: 2,
            what: "set role".to_owned()
        }],
        OutsideOnly: [ManifestErrorKind::OutsideOnly {
            line: 2,
            what: "create index concurrently".to_owned()
        }],
        SecondStatement: [ManifestErrorKind::SecondStatement { line: 2 }],
        NotOutside: [ManifestErrorKind::NotOutside {
            line: 2,
            what: "create table".to_owned()
        }],
        UnnamedIndex: [ManifestErrorKind::UnnamedIndex { line: 2 }],
        SelectInto: [ManifestErrorKind::SelectInto { line: 2 }],
        OldStrings: [ManifestErrorKind::OldStrings { line: 2 }],
    });
    assert_texts("manifest_error", examples);
}

fn assert_texts<E: StdError + 'static>(snapshot: &str, examples: Vec<(&str, E)>) {
    let mut text = String::new();
    for (name, error) in &examples {
        writeln!(text, "{name}").unwrap();
        add(&mut text, error);
    }
    assert_text(snapshot, &text);
}

/// Adds what a person reads, which keeps the rules of all error texts.
fn add(text: &mut String, error: &(dyn StdError + 'static)) {
    let said = error.to_string();
    assert!(
        !said.starts_with(char::is_uppercase),
        "begins in lower case: {said}"
    );
    assert!(
        !said.ends_with(['.', '!', '\n', ' ']),
        "has no full stop: {said}"
    );
    writeln!(text, "  {said}").unwrap();
    for cause in successors(error.source(), |cause| (*cause).source()) {
        let cause = cause.to_string();
        assert!(!said.contains(&cause), "repeats its cause: {said}");
        writeln!(text, "  because: {cause}").unwrap();
    }
}

fn assert_text(snapshot: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => "../../tests/snapshots",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(snapshot, text) });
}

#[test]
fn an_error_inside_functions_says_where() {
    let installed = "PL/pgSQL function ctx0_private.run_migration(text,integer,text[]) line 50 at EXECUTE\n\
                     PL/pgSQL assignment \"v_answer := ctx0_private.run_migration(\n        p_action => 'apply')\"\n\
                     PL/pgSQL function ctx0_private.rehearse_steps(jsonb) line 40 at assignment";
    for (context, expected) in [
        // An error to which PostgreSQL knows the place has no line of its statement.
        (installed.to_owned(), ""),
        (
            format!("SQL statement \"\n-- the statement\nselect 1 / 0;\"\n{installed}"),
            "",
        ),
        (
            format!(
                "PL/pgSQL assignment \"a := 1/0\"\nPL/pgSQL function f() line 5 at assignment\n\
                 SQL statement \"SELECT f(),\n   2\"\nPL/pgSQL function inline_code_block line 3 at PERFORM\n\
                 SQL statement \"\ndo $$ begin\n  perform f();\nend $$;\n\"\n{installed}"
            ),
            "; context: PL/pgSQL assignment \"a := 1/0\", in PL/pgSQL function f() line 5 at assignment, in SQL \
             statement \"SELECT f(), 2\", in PL/pgSQL function inline_code_block line 3 at PERFORM",
        ),
        // Cut after 2,000 characters.
        (
            "SQL function \"f\" statement 1\nSQL statement \"\nselect f(),\n  'a long".to_owned(),
            "; context: SQL function \"f\" statement 1",
        ),
        // In another language.
        ("PL/pgSQL-Funktion f() Zeile 5".to_owned(), ""),
    ] {
        let failure = MigrationError {
            line: Some(12),
            last_line: Some(15),
            context: Some(context),
            ..failed_migration()
        };
        assert_eq!(
            failure.reason().to_string(),
            format!(
                "001_a.sql, statement 2, which begins on line 12: relation \"nope\" does not exist (SQLSTATE \
                 42P01){expected}"
            )
        );
    }
}

fn failed_migration() -> MigrationError {
    MigrationError {
        action: Action::Apply,
        version: version(1),
        file: Some("001_a.sql".to_owned()),
        statement: Some(2),
        line: Some(3),
        last_line: Some(3),
        sqlstate: "42P01".to_owned(),
        message: "relation \"nope\" does not exist".to_owned(),
        detail: None,
        hint: None,
        context: None,
        retryable: false,
        holders: Vec::new(),
    }
}

fn nothing_runs_sql(may_lock: bool) -> Error {
    Error::NothingRunsSql {
        version: version(3),
        reason: "/pg/query responds with status 404, an empty body".to_owned(),
        may_lock,
    }
}

fn still_running(action: AttemptAction) -> Error {
    Error::StillRunning {
        action,
        version: version(2),
        waited: Duration::from_millis(1_200_900),
    }
}

fn outcome_unknown(action: AttemptAction) -> Error {
    Error::OutcomeUnknown {
        action,
        version: version(2),
        source: Box::new(Error::PoolExhausted),
    }
}

fn conflict(reason: ConflictReason) -> Error {
    conflict_of(AttemptAction::Change(Action::Apply), reason)
}

fn conflict_of(action: AttemptAction, reason: ConflictReason) -> Error {
    Error::Conflict {
        action,
        version: version(2),
        reason,
        message: "the database has version 2, the caller expected 1".to_owned(),
    }
}

fn version(number: u32) -> Version {
    Version::new(number).unwrap()
}

fn rate_limited(seconds: Option<u64>) -> Error {
    Error::RateLimited {
        retry_after: seconds.map(Duration::from_secs),
    }
}

fn cause() -> Box<dyn StdError + Send + Sync> {
    "the cause".into()
}
