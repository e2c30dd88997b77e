//! A dump that was restored.

use std::process::{Command, Stdio};

use ctx0_schema::Verification;

use super::{SCHEMA, generated, record, verify};
use ctx0_stack::project::{Project, skip};

#[tokio::test]
async fn a_dump_that_was_restored_is_no_change() {
    let original = Project::on_own_server().await;
    original.install().await;
    let server = "select (current_setting('server_version_num')::int / 10000)::text";
    let server: u32 = original.value(server).await.parse().unwrap();
    let client = pg_dump_release();
    if client < server {
        let needs = format!("pg_dump {server} or newer in PATH, and not {client}");
        skip("a_dump_that_was_restored_is_no_change", &needs);
        return;
    }
    record(&original, &format!("{SCHEMA}\n{}", generated::schema(3))).await;
    let described = "select ctx0_private.describe_schema()::text";
    let before = original.value(described).await;
    let restored = Project::on_own_server().await;
    // Whatever these give away when a table is restored would be a change indeed.
    for objects in ["tables", "sequences", "functions"] {
        restored
            .sql(&format!(
                "alter default privileges in schema public revoke all on {objects} from anon, authenticated, service_role"
            ))
            .await;
    }
    let dump = Command::new("pg_dump")
        .arg("--no-owner")
        .arg(original.stack.database_url().unwrap())
        .output()
        .expect("pg_dump runs");
    assert!(dump.status.success(), "{dump:?}");
    let mut restore = Command::new("psql")
        .args(["--quiet", "--no-psqlrc"])
        .arg(restored.stack.database_url().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("psql runs");
    std::io::Write::write_all(&mut restore.stdin.take().unwrap(), &dump.stdout).unwrap();
    assert!(restore.wait().unwrap().success());
    restored.stack.reload_schema().await.unwrap();
    assert_eq!(restored.ledger().await, [1]);

    let found = verify(&restored).await;
    assert!(matches!(found, Verification::Unchanged { .. }), "{found}");
    // Though not as texts: PostgreSQL prints some expressions differently now.
    assert_ne!(restored.value(described).await, before);
    restored
        .sql("alter table ctx0_a alter column number set default 2")
        .await;
    assert!(matches!(
        verify(&restored).await,
        Verification::Drifted { .. }
    ));
}

/// The major version of the `pg_dump` in `PATH`, which must be as new as the server that it reads.
pub(crate) fn pg_dump_release() -> u32 {
    let output = Command::new("pg_dump").arg("--version").output();
    let text = String::from_utf8(output.expect("pg_dump runs").stdout).unwrap();
    let version = text.split(' ').nth(2).expect("a version");
    let digits = version.split(|c: char| !c.is_ascii_digit()).next();
    digits.unwrap().parse().expect("a number")
}
