//! The embedded database, which the examples use where no PostgreSQL is installed.

use ctx0_stack::{Kind, Stack};
use reqwest::Method;
use serde_json::json;

use crate::client::{call, outcome, request};

#[tokio::test]
async fn the_embedded_stack_works_like_the_real_one() {
    let stack = Stack::embedded().await.unwrap();
    assert_eq!(stack.kind(), Kind::Embedded);
    assert!(stack.can_look_behind());

    // The roles are there, and the owner is no superuser.
    let who = "select current_user, current_setting('is_superuser')";
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        stack.sql(who).await.unwrap(),
        [[some("postgres"), some("off")]]
    );
    assert_eq!(
        stack.admin_sql(who).await.unwrap(),
        [[some("supabase_admin"), some("on")]]
    );
    stack
        .sql(
            "create function makes_a_table() returns jsonb language plpgsql security definer
             as $$ begin
                 create table fresh (id int, at text default current_setting('role'));
                 insert into fresh values (1);
                 notify pgrst, 'reload schema';
                 return jsonb_build_object('owner', current_user, 'login', session_user);
             end $$",
        )
        .await
        .unwrap();

    // The REST layer knows it once it has reloaded its schema.
    let make = || call(&stack, "service_role", "makes_a_table", json!({}));
    assert_eq!(outcome(make()).await.0, 404);
    stack.reload_schema().await.unwrap();
    assert_eq!(
        outcome(make()).await,
        (200, json!({"owner": "postgres", "login": "supabase_admin"}))
    );

    // What a call made is there for the next request, unasked.
    let read = || request(&stack, Method::GET, "/fresh", stack.service_key());
    let rows = json!([{"id": 1, "at": "service_role"}]);
    assert_eq!(outcome(read()).await, (200, rows.clone()));

    // Errors look the same, and leave the one connection in order.
    let (status, body) = outcome(make()).await;
    assert_eq!((status, &body["code"]), (400, &json!("42P07")));
    assert!(stack.sql("begin; select 1 / 0").await.is_err());
    assert_eq!(outcome(read()).await, (200, rows.clone()));

    // The database stays when the REST layer goes.
    stack.stop_rest().await.unwrap();
    assert_eq!(
        stack.sql("select id from fresh").await.unwrap(),
        [[some("1")]]
    );
    stack.start_rest().await.unwrap();
    let answer = loop {
        match outcome(read()).await {
            (503, _) => (),
            answer => break answer,
        }
    };
    assert_eq!(answer, (200, rows));
}
