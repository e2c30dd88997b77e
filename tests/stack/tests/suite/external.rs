//! A Supabase that the environment names.

use std::{env, process::Command};

use ctx0_stack::{Kind, Stack};
use serde_json::json;

use crate::client::{call, outcome};

/// The environment of this process is not changed: the test runs once more in
/// a process whose environment names another stack, unless it names one
/// already.
#[tokio::test]
async fn an_external_supabase_is_used_as_it_is() {
    let Some(stack) = Stack::external().await.unwrap() else {
        let stack = Stack::postgres().await.unwrap();
        let again = Command::new(env::current_exe().unwrap())
            .args(["--exact", "external::an_external_supabase_is_used_as_it_is"])
            .env("CTX0_TEST_SUPABASE_URL", stack.url())
            .env("CTX0_TEST_SERVICE_KEY", stack.service_key())
            .env("CTX0_TEST_DATABASE_URL", stack.database_url().unwrap())
            .output()
            .unwrap();
        let output = String::from_utf8(again.stdout).unwrap();
        assert!(again.status.success(), "{output}");
        assert!(output.contains("1 passed"), "{output}");
        let left = "select 1 from pg_proc where pronamespace = 'public'::regnamespace";
        assert!(stack.sql(left).await.unwrap().is_empty());
        return;
    };
    assert_eq!(stack.kind(), Kind::External);
    assert_eq!(Stack::for_tests().await.unwrap().kind(), Kind::External);
    assert!(stack.kill_database().await.is_err());
    assert!(stack.stop_rest().await.is_err());
    if stack.can_look_behind() {
        let make = "create function ctx0_stack_answer() returns int language sql as 'select 42'";
        stack.sql(make).await.unwrap();
        stack.reload_schema().await.unwrap();
        let request = call(&stack, "service_role", "ctx0_stack_answer", json!({}));
        let answer = outcome(request).await;
        stack
            .sql("drop function ctx0_stack_answer(); notify pgrst, 'reload schema'")
            .await
            .unwrap();
        assert_eq!(answer, (200, json!(42)));
    }
}
