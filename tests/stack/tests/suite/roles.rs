//! Roles, privileges and timeouts as Supabase has them.

use std::time::{Duration, Instant};

use ctx0_stack::{Rows, Stack};
use serde_json::json;

use crate::client::{call, outcome};

fn text(rows: Rows) -> Vec<String> {
    rows.into_iter()
        .map(|row| {
            let values: Vec<_> = row.into_iter().map(Option::unwrap_or_default).collect();
            values.join(" ")
        })
        .collect()
}

#[tokio::test]
async fn the_roles_are_supabases() {
    let stack = Stack::postgres().await.unwrap();
    let roles = "
        select rolname, rolcanlogin, rolsuper, rolbypassrls, rolinherit,
               array_to_string(rolconfig, ',')
        from pg_roles where rolname !~ '^pg_' order by rolname";
    assert_eq!(
        text(stack.sql(roles).await.unwrap()),
        [
            "anon f f f t statement_timeout=3s",
            "authenticated f f f t statement_timeout=8s",
            "authenticator t f f f statement_timeout=8s,lock_timeout=8s",
            "postgres t f t t search_path=\"$user\", public, extensions",
            "service_role f f t t ",
            "supabase_admin t t t t search_path=\"$user\", public, extensions",
        ]
    );
    let owners = "
        select datdba::regrole, (select nspowner::regrole from pg_namespace where nspname = 'public'),
               (select string_agg(extname, ',' order by extname) from pg_extension
                where extnamespace = 'extensions'::regnamespace)
        from pg_database where datname = current_database()";
    assert_eq!(
        text(stack.sql(owners).await.unwrap()),
        ["postgres postgres pgcrypto,uuid-ossp"]
    );
}

#[tokio::test]
async fn sql_runs_as_the_owner_in_one_transaction() {
    let stack = Stack::postgres().await.unwrap();
    let who = "select current_user, session_user, current_setting('is_superuser')";
    assert_eq!(
        text(stack.sql(who).await.unwrap()),
        ["postgres postgres off"]
    );
    assert_eq!(
        text(stack.admin_sql(who).await.unwrap()),
        ["supabase_admin supabase_admin on"]
    );

    let failed = stack.sql("create table half (); select 1 / 0").await;
    assert_eq!(failed.unwrap_err().sqlstate().as_deref(), Some("22012"));
    let half = stack.sql("select to_regclass('half')").await.unwrap();
    assert_eq!(half, [[None]], "the first statement was undone with it");
}

#[tokio::test]
async fn whatever_is_made_in_public_belongs_to_the_whole_api() {
    let stack = Stack::postgres().await.unwrap();
    for superuser in [false, true] {
        let sql = "
            create table made (id serial);
            create function made() returns int language sql as 'select 1';
            select string_agg(role, ',' order by role) from unnest('{anon,authenticated,service_role}'::text[]) role
            where has_table_privilege(role, 'made', 'delete')
            and has_sequence_privilege(role, 'made_id_seq', 'usage')
            and has_function_privilege(role, 'made()', 'execute');
            drop table made;
            drop function made();";
        let granted = match superuser {
            false => stack.sql(sql).await,
            true => stack.admin_sql(sql).await,
        };
        assert_eq!(text(granted.unwrap()), ["anon,authenticated,service_role"]);
    }
}

#[tokio::test]
async fn each_role_runs_under_its_own_timeout() {
    let stack = Stack::postgres().await.unwrap();
    stack
        .sql(
            "create function timeouts() returns text language sql as $$
                select current_setting('statement_timeout') || ' ' || current_setting('lock_timeout')
             $$;
             create function patient() returns text language sql set statement_timeout = '15min'
             as $$ select current_setting('statement_timeout') $$;
             create function who() returns text language sql as $$
                select session_user || ' ' || current_user || ' ' || current_setting('role')
             $$;",
        )
        .await
        .unwrap();
    stack.reload_schema().await.unwrap();
    for (role, timeouts) in [
        ("anon", "3s 8s"),
        ("authenticated", "8s 8s"),
        ("service_role", "8s 8s"),
    ] {
        for (function, answer) in [
            ("timeouts", timeouts),
            ("patient", "15min"),
            ("who", &format!("authenticator {role} {role}")),
        ] {
            let request = call(&stack, role, function, json!({}));
            assert_eq!(outcome(request).await, (200, json!(answer)));
        }
    }
}

#[tokio::test]
async fn only_a_functions_own_timeout_outlasts_the_eight_seconds() {
    let stack = Stack::postgres().await.unwrap();
    stack
        .sql(
            "create function plain() returns text language sql
             as $$ select 'slept' from pg_sleep(600) $$;
             create function patient() returns text language sql set statement_timeout = '15min'
             as $$ select 'slept' from pg_sleep(9) $$;
             create function brief() returns text language sql set statement_timeout = '1s'
             as $$ select 'slept' from pg_sleep(600) $$;",
        )
        .await
        .unwrap();
    stack.reload_schema().await.unwrap();
    let timed = async |function| {
        let started = Instant::now();
        let answer = outcome(call(&stack, "service_role", function, json!({}))).await;
        (answer, started.elapsed())
    };
    let (plain, patient, brief) = tokio::join!(timed("plain"), timed("patient"), timed("brief"));

    assert_eq!(patient.0, (200, json!("slept")));
    assert!(brief.1 < plain.1, "{brief:?} {plain:?}");
    for (((status, body), took), limit) in [(plain, 8), (brief, 1)] {
        assert_eq!((status, &body["code"]), (500, &json!("57014")));
        assert!(took >= Duration::from_secs(limit), "after {took:?}");
    }
}
