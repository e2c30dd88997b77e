//! How the stack breaks, comes back and goes away.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use ctx0_stack::{Options, Stack};
use reqwest::Method;
use serde_json::json;

use crate::client::{call, outcome, request};

/// The gate is a sequence, because every transaction sees at once what that counts.
const SCHEMA: &str = "
    create table kept (id int);
    create sequence gate;
    create function wait_for_gate() returns void
    language plpgsql security definer as $$
    begin
        while (select not is_called from gate) loop
            perform pg_sleep(0.01);
        end loop;
    end $$;
    create function keep_slowly() returns int
    language sql set statement_timeout = '1min' as $$
        insert into kept values (1);
        select 1 from wait_for_gate();
    $$;";

async fn stack(options: Options) -> Stack {
    let stack = Stack::postgres_with(options).await.unwrap();
    stack.sql(SCHEMA).await.unwrap();
    stack.reload_schema().await.unwrap();
    stack
}

/// PostgREST asks for both in one statement.
#[tokio::test]
async fn a_count_belongs_to_its_rows_whatever_is_committed_meanwhile() {
    let stack = stack(Options::default()).await;
    stack
        .sql(
            "insert into kept values (1); create view seen as select id from kept, wait_for_gate()",
        )
        .await
        .unwrap();
    stack.reload_schema().await.unwrap();
    let read = request(&stack, Method::GET, "/seen", stack.service_key())
        .header("prefer", "count=exact")
        .send();
    let read = tokio::spawn(read);
    waiting(&stack, 1).await;
    stack.sql("insert into kept values (2)").await.unwrap();
    open_gate(&stack).await;
    let answer = read.await.unwrap().unwrap();
    let range = answer.headers()["content-range"].to_str().unwrap();
    assert_eq!((answer.status().as_u16(), range), (200, "0-0/1"));
}

/// Stacks in one process share what they have read.
#[tokio::test]
async fn what_was_read_during_a_change_is_not_taken_for_the_schema_of_another_stack() {
    let changing = stack(Options::default()).await;
    let other = stack(Options::default()).await;
    for stack in [&changing, &other] {
        let function = "create function passing() returns int language sql as 'select 1'";
        stack.sql(function).await.unwrap();
    }
    let changing = Arc::new(changing);
    let change = tokio::spawn({
        let stack = Arc::clone(&changing);
        // Reading begins with the tables and their triggers; the functions come later.
        let sql = "do $$ begin
                lock table pg_trigger;
                perform wait_for_gate();
                drop function passing();
            end $$";
        async move { stack.admin_sql(sql).await }
    });
    waiting(&changing, 1).await;
    let reload = tokio::spawn({
        let stack = Arc::clone(&changing);
        async move { stack.reload_schema().await }
    });
    until(async || {
        let sql = "select 1 from pg_locks where not granted and relation = 'pg_trigger'::regclass";
        !changing.admin_sql(sql).await.unwrap().is_empty()
    })
    .await;
    open_gate(&changing).await;
    change.await.unwrap().unwrap();
    reload.await.unwrap().unwrap();

    other.reload_schema().await.unwrap();
    let request = call(&other, "service_role", "passing", json!({}));
    assert_eq!(outcome(request).await, (200, json!(1)));
}

/// Waits until `count` requests wait for the gate.
async fn waiting(stack: &Stack, count: usize) {
    until(async || {
        let sql = "select 1 from pg_stat_activity where wait_event = 'PgSleep'";
        stack.admin_sql(sql).await.unwrap().len() == count
    })
    .await;
}

async fn open_gate(stack: &Stack) {
    stack.sql("select nextval('gate')").await.unwrap();
}

async fn until(condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !condition().await {
        assert!(Instant::now() < deadline, "waited for 120 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn kept(stack: &Stack) -> usize {
    stack.sql("select 1 from kept").await.unwrap().len()
}

#[tokio::test]
async fn a_killed_database_is_answered_for_and_comes_back() {
    let stack = stack(Options::default()).await;
    stack.sql("insert into kept values (7)").await.unwrap();
    let slow = call(&stack, "service_role", "keep_slowly", json!({}));
    let slow = tokio::spawn(outcome(slow));
    waiting(&stack, 1).await;

    stack.kill_database().await.unwrap();
    let (status, body) = slow.await.unwrap();
    assert_eq!((status, &body["code"]), (503, &json!("PGRST001")));
    assert!(stack.sql("select 1").await.is_err());
    let response = request(&stack, Method::GET, "/kept", stack.service_key())
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["retry-after"], "0");
    let (status, body) = crate::client::read(response).await;
    assert_eq!((status, &body["code"]), (503, &json!("PGRST002")));

    stack.start_database().await.unwrap();
    assert_eq!(
        stack.sql("select id from kept").await.unwrap(),
        [[Some("7".to_owned())]]
    );
    until(async || {
        let read = request(&stack, Method::GET, "/kept", stack.service_key());
        match outcome(read).await {
            (503, body) => {
                assert_eq!(body["code"], "PGRST002");
                false
            }
            found => {
                assert_eq!(found, (200, json!([{"id": 7}])));
                true
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_stopped_rest_layer_cuts_its_requests_and_comes_back_on_its_port() {
    let stack = stack(Options::default()).await;
    let url = stack.url().to_owned();
    let slow = call(&stack, "service_role", "keep_slowly", json!({}));
    let slow = tokio::spawn(slow.send());
    waiting(&stack, 1).await;

    stack.stop_rest().await.unwrap();
    assert!(slow.await.unwrap().is_err(), "unanswered");
    let refused = reqwest::get(&url).await.unwrap_err();
    assert!(refused.is_connect(), "{refused:?}");
    open_gate(&stack).await;
    until(async || {
        let sql = "select 1 from pg_stat_activity where usename = 'authenticator'";
        stack.admin_sql(sql).await.unwrap().is_empty()
    })
    .await;
    assert_eq!(kept(&stack).await, 0, "nobody was left to commit it");

    stack.start_rest().await.unwrap();
    assert_eq!(stack.url(), url);
    until(async || {
        let read = request(&stack, Method::GET, "/kept", stack.service_key());
        outcome(read).await == (200, json!([]))
    })
    .await;
}

#[tokio::test]
async fn a_request_outlives_its_client() {
    let stack = stack(Options::default()).await;
    let slow = call(&stack, "service_role", "keep_slowly", json!({}));
    let client = tokio::spawn(slow.send());
    waiting(&stack, 1).await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    open_gate(&stack).await;
    until(async || kept(&stack).await == 1).await;
}

#[tokio::test]
async fn an_exhausted_pool_refuses_after_its_timeout() {
    let stack = stack(Options {
        pool: 2,
        // Two that wait for a connection get it within this time on a busy machine.
        pool_timeout: Duration::from_secs(2),
        ..Options::default()
    })
    .await;
    let slow = || outcome(call(&stack, "service_role", "keep_slowly", json!({})));
    let refused = async {
        waiting(&stack, 2).await;
        let kept = request(&stack, Method::GET, "/kept", stack.service_key());
        let refused = outcome(kept).await;
        open_gate(&stack).await;
        refused
    };
    let (one, two, (status, body)) = tokio::join!(slow(), slow(), refused);
    assert_eq!((one, two), ((200, json!(1)), (200, json!(1))));
    assert_eq!((status, &body["code"]), (504, &json!("PGRST003")));
}

#[tokio::test]
async fn a_lost_race_is_run_again_until_it_is_won() {
    let stack = stack(Options::default()).await;
    stack
        .sql(
            "create sequence tries;
             create function unlucky() returns int language plpgsql security definer as $$
             declare try int := nextval('tries');
             begin
                 if try < 5 then raise serialization_failure; end if;
                 return try;
             end $$",
        )
        .await
        .unwrap();
    stack.reload_schema().await.unwrap();
    let request = call(&stack, "service_role", "unlucky", json!({}));
    assert_eq!(outcome(request).await, (200, json!(5)));
}

#[tokio::test]
async fn a_dropped_stack_leaves_nothing() {
    let stack = Stack::postgres().await.unwrap();
    let url = stack.url().to_owned();
    let rows = stack.admin_sql("show data_directory").await.unwrap();
    let data = rows[0][0].clone().unwrap();
    assert!(Path::new(&data).exists());
    drop(stack);
    assert!(!Path::new(&data).parent().unwrap().exists());
    assert!(reqwest::get(&url).await.unwrap_err().is_connect());
}

/// A stack in a process of its own, whose temporary files are in a directory
/// of their own.
struct Process {
    child: Child,
    /// Kept open, as the process may still write.
    _output: BufReader<ChildStdout>,
    files: tempfile::TempDir,
}

impl Process {
    /// Starts the process and returns when its stack is ready.
    fn start(arguments: &[&str]) -> Process {
        let files = tempfile::tempdir().unwrap();
        // Root's stack works in it as another user.
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ctx0-stack"))
            .args(arguments)
            .env("TMPDIR", files.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.by_ref().lines().map(Result::unwrap);
        assert!(lines.any(|line| line.starts_with("SUPABASE_ANON_KEY=")));
        assert!(left(files.path()) > 0);
        Process {
            child,
            _output: output,
            files,
        }
    }
}

/// The number of files in a directory, apart from the templates for the next
/// cluster.
fn left(directory: &Path) -> usize {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("ctx0-templates-"))
        .count()
}

#[tokio::test]
async fn a_killed_process_leaves_nothing() {
    for arguments in [&["--postgres"][..], &[]] {
        let mut process = Process::start(arguments);
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        until(async || left(process.files.path()) == 0).await;
    }
}

#[tokio::test]
async fn the_program_ends_with_its_input_and_leaves_nothing() {
    let mut process = Process::start(&["--postgres"]);
    drop(process.child.stdin.take());
    assert!(process.child.wait().unwrap().success());
    assert_eq!(left(process.files.path()), 0);
}

#[tokio::test]
async fn two_processes_can_make_the_first_template_together() {
    let files = tempfile::tempdir().unwrap();
    fs::set_permissions(files.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let start = || {
        Command::new(env!("CARGO_BIN_EXE_ctx0-stack"))
            .arg("--postgres")
            .env("TMPDIR", files.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    for mut process in [start(), start()] {
        assert!(process.wait().unwrap().success());
    }
}
