//! Who may do what with the objects of this crate, as each role, over REST and in SQL.
//!
//! Always on a PostgreSQL of their own: these tests grant what nobody should grant.

use ctx0_schema::{Version, install_sql, uninstall_sql};
use ctx0_stack::project::{LONGEST, Project};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::rest::{Rest, arguments, call_text, literal, sha256};

const STRANGERS: [&str; 2] = ["anon", "authenticated"];

/// What people paste to get rid of a "permission denied".
const GRANT_ALL: &str = "
    grant usage on schema public to anon, authenticated;
    grant all on all routines in schema public to anon, authenticated;
    grant all on all tables in schema public to anon, authenticated;
    grant all on all sequences in schema public to anon, authenticated;
    notify pgrst, 'reload schema';";

/// Texts that end a string, a statement or a function early where somebody lets them.
const HOSTILE: [&str; 8] = [
    "'); drop table public.ctx0_schema_versions; --",
    "'; select pg_sleep(60); --",
    "$$; drop table public.ctx0_schema_versions; $$",
    r"\'; drop table public.ctx0_schema_versions; \",
    "\"; drop table public.ctx0_schema_versions; \"",
    "/* ${name} %s %1$I {} :p_version",
    "a\nb\r\n\tc'\u{2019}\u{1f980}",
    "{\"outcome\": \"applied\"}",
];

#[tokio::test]
async fn strangers_are_refused_every_function_and_every_table() {
    let project = filled().await;
    let ours = Ours::of(&project).await;
    let before = contents(&project, &ours).await;
    let rest = Rest::of(&project);
    for role in STRANGERS {
        for (name, arguments) in &ours.functions {
            let answer = rest.call(role, name, arguments).await;
            assert_eq!(answer.code(), "42501", "{role} {name}");
        }
        for (table, column) in &ours.tables {
            for (method, body) in uses_of_a_table(column) {
                let answer = rest.send(role, method.clone(), table, &body).await;
                assert_eq!(answer.code(), "42501", "{role} {method} {table}");
            }
        }

        let mut statements = ours.calls.clone();
        for (table, column) in &ours.tables {
            statements.extend([
                format!("select from public.{table}"),
                format!("insert into public.{table} default values"),
                format!("update public.{table} set {column} = {column}"),
                format!("delete from public.{table}"),
                format!("truncate public.{table} cascade"),
                format!("lock table public.{table}"),
            ]);
        }
        for sequence in &ours.sequences {
            statements.extend([
                format!("select last_value from public.{sequence}"),
                format!("select nextval('public.{sequence}')"),
                format!("select setval('public.{sequence}', 1000)"),
            ]);
        }
        for (statement, outcome) in attempts(&project, role, &statements).await {
            assert_eq!(outcome, "42501", "{role}: {statement}");
        }
    }
    assert_eq!(contents(&project, &ours).await, before);
}

/// Truncating is left out: PostgreSQL asks no policy about it, and PostgREST has no way to do it.
#[tokio::test]
async fn strangers_are_refused_even_where_everything_was_granted_to_them() {
    let project = filled().await;
    project.sql(GRANT_ALL).await;
    project.stack.reload_schema().await.unwrap();
    let ours = Ours::of(&project).await;
    let before = contents(&project, &ours).await;
    let rest = Rest::of(&project);
    for role in STRANGERS {
        for (name, arguments) in &ours.functions {
            let answer = rest.call(role, name, arguments).await;
            assert_eq!(answer.code(), "42501", "{role} {name}");
        }
        for (table, column) in &ours.tables {
            for (method, body) in uses_of_a_table(column) {
                let answer = rest.send(role, method.clone(), table, &body).await;
                let what = format!("{role} {method} {table}: {answer:?}");
                if method == Method::POST {
                    assert_eq!(answer.code(), "42501", "{what}");
                } else {
                    assert!(answer.status < 300, "{what}");
                    assert!(answer.body.is_null() || answer.body == json!([]), "{what}");
                }
            }
        }

        for (statement, outcome) in attempts(&project, role, &ours.calls).await {
            assert_eq!(outcome, "42501", "{role}: {statement}");
        }
        for (table, column) in &ours.tables {
            let uses = [
                (format!("select from public.{table}"), "0 rows"),
                (
                    format!("insert into public.{table} default values"),
                    "42501",
                ),
                (
                    format!("update public.{table} set {column} = {column}"),
                    "0 rows",
                ),
                (format!("delete from public.{table}"), "0 rows"),
            ];
            let (statements, expected): (Vec<_>, Vec<_>) = uses.into_iter().unzip();
            let outcomes = attempts(&project, role, &statements).await;
            for ((statement, outcome), expected) in outcomes.iter().zip(expected) {
                assert_eq!(outcome, expected, "{role}: {statement}");
            }
        }
    }
    assert_eq!(contents(&project, &ours).await, before);
}

#[tokio::test]
async fn a_definer_function_of_the_users_own_opens_nothing() {
    let project = Project::installed_on_own_server().await;
    let wrappers = format!(
        "create function public.user_status() returns jsonb language sql security definer
           as 'select public.ctx0_schema_status()';
         create function public.user_apply() returns jsonb language sql security definer
           as 'select {}';
         grant execute on function public.user_status(), public.user_apply() to anon, authenticated;",
        call_text(1, &["create table public.user_table ()"]).replace('\'', "''"),
    );
    project.sql(&wrappers).await;
    let by_a_superuser = wrappers.replace("public.user_", "public.superuser_");
    project.stack.admin_sql(&by_a_superuser).await.unwrap();
    project.stack.reload_schema().await.unwrap();

    let rest = Rest::of(&project);
    for role in STRANGERS {
        for name in [
            "user_status",
            "user_apply",
            "superuser_status",
            "superuser_apply",
        ] {
            let answer = rest.call(role, name, &json!({})).await;
            assert_eq!(answer.code(), "42501", "{role} {name}");
        }
    }
    assert_eq!(project.ledger().await, Vec::<u32>::new());
    // It is the caller that counts, not the wrapper.
    let answer = rest.call("service_role", "user_apply", &json!({})).await;
    assert_eq!(answer.body["outcome"], "applied", "{answer:?}");
}

#[tokio::test]
async fn the_installation_grants_this_and_no_more() {
    let project = Project::installed_on_own_server().await;
    let grants = project
        .sql(
            r#"select concat_ws(' ', case grantee when 0 then 'public' else grantee::regrole::text end, privilege_type, name)
                from (select relname, relowner, coalesce(relacl, acldefault((case relkind when 'S' then 's' else 'r' end)::"char", relowner))
                        from pg_class
                       where relkind in ('r', 'S') and (relname like 'ctx0\_%' or relnamespace = 'ctx0_private'::regnamespace)
                      union all
                      select proname, proowner, coalesce(proacl, acldefault('f', proowner))
                        from pg_proc where proname like 'ctx0\_%' or pronamespace = 'ctx0_private'::regnamespace
                      union all
                      select typname, typowner, coalesce(typacl, acldefault('T', typowner))
                        from pg_type where typnamespace = 'ctx0_private'::regnamespace and typtype in ('c', 'd')
                         and not exists (select from pg_class c where c.oid = typrelid and c.relkind <> 'c')
                      union all
                      select nspname, nspowner, coalesce(nspacl, acldefault('n', nspowner))
                        from pg_namespace where nspname = 'ctx0_private') object (name, owner, acl),
                     aclexplode(acl)
               where grantee <> owner
               order by 1"#,
        )
        .await;
    let grants: Vec<_> = grants.iter().flatten().flatten().collect();
    assert_eq!(
        grants,
        [
            "service_role EXECUTE ctx0_apply_migration",
            "service_role EXECUTE ctx0_apply_migrations",
            "service_role EXECUTE ctx0_cancel_change",
            "service_role EXECUTE ctx0_cancel_preview",
            "service_role EXECUTE ctx0_diagnose",
            "service_role EXECUTE ctx0_recognise_schema",
            "service_role EXECUTE ctx0_rehearse_migrations",
            "service_role EXECUTE ctx0_rehearse_migrations_long",
            "service_role EXECUTE ctx0_repair_ledger",
            "service_role EXECUTE ctx0_rollback_migration",
            "service_role EXECUTE ctx0_running",
            "service_role EXECUTE ctx0_schema_status",
            "service_role EXECUTE ctx0_upgrade",
            "service_role EXECUTE ctx0_verify_schema",
            "service_role SELECT ctx0_schema_versions",
        ]
    );
}

#[tokio::test]
async fn the_service_role_calls_the_public_functions_and_none_of_the_others() {
    let project = filled().await;
    let ours = Ours::of(&project).await;
    let rest = Rest::of(&project);
    let mut open = Vec::new();
    for (name, arguments) in &ours.functions {
        let answer = rest.call("service_role", name, arguments).await;
        if answer.code() != "42501" {
            open.push(name.as_str());
        }
    }
    assert_eq!(
        open,
        [
            "ctx0_apply_migration",
            "ctx0_apply_migrations",
            "ctx0_cancel_change",
            "ctx0_cancel_preview",
            "ctx0_diagnose",
            "ctx0_recognise_schema",
            "ctx0_rehearse_migrations",
            "ctx0_rehearse_migrations_long",
            "ctx0_repair_ledger",
            "ctx0_rollback_migration",
            "ctx0_running",
            "ctx0_schema_status",
            "ctx0_upgrade",
            "ctx0_verify_schema",
        ]
    );
}

#[tokio::test]
async fn the_service_role_reads_the_ledger_and_writes_nothing() {
    let project = filled().await;
    let ours = Ours::of(&project).await;
    let before = contents(&project, &ours).await;
    let rest = Rest::of(&project);
    for (table, column) in [("ctx0_schema_versions", "version")] {
        let answer = rest
            .send("service_role", Method::GET, table, &Value::Null)
            .await;
        assert_eq!(
            (answer.status, answer.body.as_array().map(Vec::len)),
            (200, Some(2)),
            "{table}"
        );
        for (method, body) in uses_of_a_table(column)
            .into_iter()
            .filter(|(method, _)| method != Method::GET)
        {
            let answer = rest
                .send("service_role", method.clone(), table, &body)
                .await;
            assert_eq!(answer.code(), "42501", "{method} {table}");
        }
        let statements = [
            format!("insert into public.{table} default values"),
            format!("update public.{table} set {column} = {column}"),
            format!("delete from public.{table}"),
            format!("truncate public.{table}"),
        ];
        for (statement, outcome) in attempts(&project, "service_role", &statements).await {
            assert_eq!(outcome, "42501", "{statement}");
        }
    }
    let statements = [
        "select nextval('public.ctx0_schema_versions_id_seq')".to_owned(),
        "select from ctx0_private.ctx0_schema_attempts".to_owned(),
        "delete from ctx0_private.ctx0_schema_attempts".to_owned(),
    ];
    for (statement, outcome) in attempts(&project, "service_role", &statements).await {
        assert_eq!(outcome, "42501", "{statement}");
    }
    assert_eq!(contents(&project, &ours).await, before);
}

#[tokio::test]
async fn nothing_belongs_to_a_superuser_whoever_installed_it() {
    let by_the_owner = Project::installed_on_own_server().await;
    assert_eq!(
        by_the_owner
            .value("select rolsuper::text from pg_roles where rolname = current_user")
            .await,
        "false"
    );
    let expected = by_the_owner.catalog().await;
    drop(by_the_owner);

    let project = Project::on_own_server().await;
    project.stack.admin_sql(install_sql()).await.unwrap();
    assert_eq!(project.catalog().await, expected);
    let superusers = r"
        select count(*) from pg_roles r
         where rolsuper
           and (exists (select from pg_proc where proname like 'ctx0\_%' and proowner = r.oid)
                or exists (select from pg_class where relname like 'ctx0\_%' and relowner = r.oid))";
    assert_eq!(project.value(superusers).await, "0");

    project.stack.reload_schema().await.unwrap();
    let who = "create table public.user_who as select current_user::text as who";
    let answer = Rest::of(&project)
        .call(
            "service_role",
            "ctx0_apply_migration",
            &arguments(1, &[who]),
        )
        .await;
    assert_eq!(answer.body["outcome"], "applied", "{answer:?}");
    assert_eq!(
        project.value("select who from public.user_who").await,
        "postgres"
    );
}

#[tokio::test]
async fn a_service_role_that_is_not_exempt_from_row_level_security_reads_the_ledger() {
    let project = Project::installed_on_own_server().await;
    let manager = project.bundled();
    manager.apply_all_pending().await.unwrap();
    let by_hand = "alter role service_role nobypassrls";
    project.stack.admin_sql(by_hand).await.unwrap();
    assert_eq!(manager.current_version().await.unwrap().get(), 2);
    assert!(manager.check_for_updates().await.unwrap().is_up_to_date());
}

/// A database whose owner is neither `postgres` nor a superuser, although a role `postgres` exists.
#[tokio::test]
async fn a_role_that_is_not_postgres_installs_and_owns_everything() {
    let project = Project::on_own_server().await;
    let by_the_owner = format!(
        "create role app_owner; grant create on database postgres to app_owner;
         grant create, usage on schema public, extensions to app_owner; set role app_owner;
         {}
         reset role;",
        install_sql()
    );
    project.stack.admin_sql(&by_the_owner).await.unwrap();
    project.stack.reload_schema().await.unwrap();
    let manager = project.bundled();
    assert!(manager.preview().budget(LONGEST).await.unwrap().succeeds());
    manager.apply_all_pending().await.unwrap();
    assert_eq!(manager.status().await.unwrap().owner, "app_owner");
    let unchanged = manager.verify().await.unwrap();
    assert_eq!(unchanged.to_string(), "the schema is as version 2 left it");
    manager.rollback_to(Version::ZERO).await.unwrap();
    let owners = r"
        select string_agg(distinct relowner::regrole::text, ',')
          from pg_class
         where relname like 'ctx0\_%' and relnamespace in ('public'::regnamespace, 'ctx0_private'::regnamespace)";
    assert_eq!(project.value(owners).await, "app_owner");
}

#[tokio::test]
async fn objects_with_the_same_names_are_not_used_instead() {
    let project = Project::installed_on_own_server().await;
    let shadows = project.value(SHADOW_POSTGRESQL).await;
    assert!(
        shadows.parse::<u32>().unwrap() > 2000,
        "{shadows} functions and operators were shadowed"
    );

    // As a session of the service role that prefers the shadows, in both of the ways.
    let session = |version, statements| {
        format!(
            "create temp table ctx0_schema_versions (like public.ctx0_schema_versions);
             create temp table ctx0_schema_attempts (like ctx0_private.ctx0_schema_attempts);
             create temp table pg_roles as select 'anon'::name as rolname, true as rolsuper;
             create temp table pg_locks ();
             set search_path = pg_temp, public, pg_catalog;
             set role service_role;
             select public.ctx0_schema_status()::text;
             select {}::text;",
            call_text(version, statements)
        )
    };
    let rows = project
        .sql(&session(1, &["create table public.user_a ()"]))
        .await;
    assert!(
        rows[1][0]
            .as_ref()
            .unwrap()
            .contains(r#""outcome": "applied""#),
        "{rows:?}"
    );

    // As a migration that prefers them itself, and then fails.
    let prefer = "set search_path = public, pg_catalog;";
    let rest = Rest::of(&project);
    let answer = rest
        .call(
            "service_role",
            "ctx0_apply_migration",
            &arguments(2, &[prefer, "nonsense"]),
        )
        .await;
    assert_eq!(
        (&answer.body["sqlstate"], &answer.body["statement"]),
        (&json!("42601"), &json!(2)),
        "{answer:?}"
    );
    let answer = rest
        .call(
            "service_role",
            "ctx0_apply_migration",
            &arguments(2, &[prefer, "analyze"]),
        )
        .await;
    assert_eq!(answer.body["outcome"], "applied", "{answer:?}");
    assert_eq!(project.ledger().await, [1, 2]);

    project.sql(GRANT_ALL).await;
    let refused = project
        .stack
        .sql(&session(3, &[""]).replace("service_role", "anon"))
        .await
        .unwrap_err();
    assert_eq!(refused.sqlstate().as_deref(), Some("42501"));
}

#[tokio::test]
async fn hostile_texts_arrive_literally() {
    let project = Project::installed_on_own_server().await;
    let catalog = project.catalog().await;
    let rest = Rest::of(&project);
    for (version, hostile) in (1..).zip(HOSTILE) {
        let mut arguments = arguments(version, &["select 1"]);
        for name in ["p_name", "p_description", "p_applied_by", "p_backup_by"] {
            arguments[name] = format!("{name} {hostile}").into();
        }
        arguments["p_down_sql"] = json!([hostile, "more"]);
        arguments["p_down_checksum"] = sha256(&format!("{hostile}more")).into();
        let answer = rest
            .call("service_role", "ctx0_apply_migration", &arguments)
            .await;
        assert_eq!(answer.body["outcome"], "applied", "{hostile}: {answer:?}");
        // The name comes back in the message of a conflict.
        let mut other = arguments.clone();
        other["p_name"] = "other".into();
        other["p_attempt"] = Uuid::new_v4().to_string().into();
        let answer = rest
            .call("service_role", "ctx0_apply_migration", &other)
            .await;
        assert!(
            answer.body["message"].as_str().unwrap().contains(hostile),
            "{hostile}: {answer:?}"
        );

        let filter = format!("version=eq.{version}");
        let row = rest.read("ctx0_schema_versions", &filter).await;
        assert_eq!(row["migration_name"], arguments["p_name"]);
        assert_eq!(row["description"], arguments["p_description"]);
        assert_eq!(row["applied_by"], arguments["p_applied_by"]);
        let row = project
            .value(&format!(
                "select to_jsonb(a)::text from ctx0_private.ctx0_schema_attempts a
                  where version = {version} and outcome = 'applied'"
            ))
            .await;
        let row: Value = serde_json::from_str(&row).unwrap();
        assert_eq!(row["down_sql"], arguments["p_down_sql"]);
        assert_eq!(row["backup_by"], arguments["p_backup_by"]);
        assert_eq!(row["applied_by"], arguments["p_applied_by"]);

        for (name, code) in [("p_attempt", "22P02"), ("p_version", "22P02")] {
            let mut wrong = arguments.clone();
            wrong[name] = hostile.into();
            let answer = rest
                .call("service_role", "ctx0_apply_migration", &wrong)
                .await;
            assert_eq!(
                (answer.status, answer.code()),
                (400, code),
                "{name}: {hostile}"
            );
        }
    }
    assert_eq!(project.catalog().await, catalog);
    assert_eq!(project.ledger().await.len(), HOSTILE.len());
}

#[tokio::test]
async fn a_call_that_makes_no_sense_is_refused_and_not_recorded() {
    let project = filled().await;
    let ours = Ours::of(&project).await;
    let before = contents(&project, &ours).await;
    let rest = Rest::of(&project);
    let cases = [
        ("p_version", json!(null), 400, "22023"),
        ("p_name", json!(null), 400, "22023"),
        ("p_name", json!(""), 400, "22023"),
        ("p_sql", json!(null), 400, "22023"),
        ("p_sql", json!([]), 400, "22023"),
        ("p_sql", json!([null]), 400, "22023"),
        ("p_sql", json!(["select 1", null]), 400, "22023"),
        ("p_checksum", json!(null), 400, "22023"),
        ("p_attempt", json!(null), 400, "22023"),
        ("p_version", json!(0), 400, "22023"),
        ("p_version", json!(-1), 400, "22023"),
        ("p_version", json!(2_147_483_648_i64), 400, "22003"),
        ("p_version", json!("three"), 400, "22P02"),
        ("p_attempt", json!("first"), 400, "22P02"),
        ("p_nonsense", json!(1), 404, "PGRST202"),
    ];
    for (name, value, status, code) in cases {
        let mut arguments = arguments(3, &["select 1"]);
        arguments[name] = value.clone();
        if name == "p_sql" {
            // The checksum is right, so that it is the text itself which is refused.
            let statements = value
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            arguments["p_checksum"] = sha256(&statements.collect::<String>()).into();
        }
        let answer = rest
            .call("service_role", "ctx0_apply_migration", &arguments)
            .await;
        assert_eq!(
            (answer.status, answer.code()),
            (status, code),
            "{name} = {value}: {answer:?}"
        );
    }
    let missing = json!({"p_version": 3, "p_name": "003_test"});
    let answer = rest
        .call("service_role", "ctx0_apply_migration", &missing)
        .await;
    assert_eq!(
        (answer.status, answer.code()),
        (404, "PGRST202"),
        "{answer:?}"
    );
    assert_eq!(contents(&project, &ours).await, before);
}

#[tokio::test]
async fn a_damaged_text_is_a_conflict_and_not_recorded() {
    let project = filled().await;
    let ours = Ours::of(&project).await;
    let before = contents(&project, &ours).await;
    let rest = Rest::of(&project);
    let whole = arguments(3, &["select 1;", "select 2;"]);
    let mut cases = vec![
        ("p_sql", json!(["select 1;"])),
        ("p_sql", json!(["select 2;", "select 1;"])),
        ("p_sql", json!(["select 1;", "select 2; "])),
        ("p_checksum", json!("")),
        ("p_checksum", json!(sha256("another text"))),
        ("p_checksum", json!(&sha256("select 1;select 2;")[1..])),
    ];
    cases.extend(HOSTILE.map(|hostile| ("p_checksum", json!(hostile))));
    for (name, value) in cases {
        let mut damaged = whole.clone();
        damaged[name] = value;
        let answer = rest
            .call("service_role", "ctx0_apply_migration", &damaged)
            .await;
        assert_eq!(
            (answer.status, &answer.body["reason"]),
            (200, &json!("damaged")),
            "{answer:?}"
        );
    }
    assert_eq!(contents(&project, &ours).await, before);
    // The true one can still come under the same attempt, wherever its text is cut.
    let mut recut = whole.clone();
    recut["p_sql"] = json!(["select 1;", "select 2;", ""]);
    let answer = rest
        .call("service_role", "ctx0_apply_migration", &recut)
        .await;
    assert_eq!(answer.body["outcome"], "applied", "{answer:?}");
}

#[tokio::test]
async fn an_attempt_cannot_be_used_for_something_else() {
    let project = filled().await;
    let rest = Rest::of(&project);
    let first = arguments(3, &["select 1;"]);
    let answer = rest
        .call("service_role", "ctx0_apply_migration", &first)
        .await;
    assert_eq!(answer.body["outcome"], "applied", "{answer:?}");
    let ours = Ours::of(&project).await;
    let before = contents(&project, &ours).await;

    for mut other in [
        arguments(4, &["select 1;"]),
        arguments(3, &["select 2;"]),
        arguments(2, &["select 1;"]),
    ] {
        other["p_attempt"] = first["p_attempt"].clone();
        let answer = rest
            .call("service_role", "ctx0_apply_migration", &other)
            .await;
        assert_eq!(
            (answer.status, &answer.body["reason"]),
            (200, &json!("attempt_reused")),
            "{answer:?}"
        );
    }
    let answer = rest
        .call("service_role", "ctx0_apply_migration", &first)
        .await;
    assert_eq!(
        (&answer.body["outcome"], &answer.body["replayed"]),
        (&json!("applied"), &json!(true))
    );
    assert_eq!(contents(&project, &ours).await, before);
}

#[tokio::test]
async fn the_security_advisor_of_supabase_finds_nothing() {
    let project = filled().await;
    for (lint, query, offence) in ADVISOR {
        let found = project.sql(query).await;
        assert!(found.is_empty(), "{lint}: {found:?}");
        // And it would find it.
        project.sql(offence).await;
        let found = project.sql(query).await;
        assert_eq!(found, [[Some("ctx0_test_offence".to_owned())]], "{lint}");
        project
            .sql("drop table if exists public.ctx0_test_offence")
            .await;
        project
            .sql("drop function if exists public.ctx0_test_offence()")
            .await;
    }
}

#[tokio::test]
async fn uninstalling_leaves_none_of_the_functions_that_were_installed() {
    let functions = "select oid::regprocedure::text from pg_proc where pronamespace = 'public'::regnamespace order by 1";
    let project = Project::on_own_server().await;
    let before = project.sql(functions).await;
    project.install().await;
    assert_ne!(project.sql(functions).await, before);
    project.sql(uninstall_sql()).await;
    assert_eq!(project.sql(functions).await, before);
    let schema = "select (to_regnamespace('ctx0_private') is null)::text";
    assert_eq!(project.value(schema).await, "true");
}

/// Supabase's advisor in our own words, and stricter: name, query, what it would find.
///
/// <https://supabase.com/docs/guides/database/database-advisors>
const ADVISOR: [(&str, &str, &str); 4] = [
    (
        "0011_function_search_path_mutable",
        r"select proname::text from pg_proc
           where (pronamespace = 'public'::regnamespace and proname like 'ctx0\_%'
                  or pronamespace = 'ctx0_private'::regnamespace)
             and not exists (select from unnest(proconfig) setting where setting like 'search\_path=%')",
        "create function public.ctx0_test_offence() returns int language sql as 'select 1';
         revoke all on function public.ctx0_test_offence() from public, anon, authenticated;",
    ),
    (
        "0013_rls_disabled_in_public",
        r"select relname::text from pg_class
           where relnamespace = 'public'::regnamespace and relname like 'ctx0\_%'
             and relkind in ('r', 'p') and not relrowsecurity",
        "create table public.ctx0_test_offence ()",
    ),
    (
        "0028_anon_security_definer_function_executable",
        r"select proname::text from pg_proc
           where pronamespace = 'public'::regnamespace and proname like 'ctx0\_%'
             and prosecdef and has_function_privilege('anon', oid, 'execute')",
        "create function public.ctx0_test_offence() returns int language sql security definer as 'select 1'",
    ),
    (
        "0029_authenticated_security_definer_function_executable",
        r"select proname::text from pg_proc
           where pronamespace = 'public'::regnamespace and proname like 'ctx0\_%'
             and prosecdef and has_function_privilege('authenticated', oid, 'execute')",
        "create function public.ctx0_test_offence() returns int language sql security definer as 'select 1'",
    ),
];

/// Makes a function in `public` for every one of PostgreSQL's, and an operator for every one,
/// all of which fail, and returns how many there are. Some take the exact arguments of calls
/// to functions that PostgreSQL declares for any arguments, and so would be preferred to them.
const SHADOW_POSTGRESQL: &str = r#"
create function public.shadow_fails() returns void language plpgsql as
  $f$ begin raise exception 'an object of the user was used'; end $f$;
create table public.shadow_count as select 0 as number;
do $do$
declare
  v_body constant text := 'begin raise exception ''an object of the user was used''; end';
  v_one record;
  v_number int := 0;
begin
  for v_one in
    select format('create function public.%I(%s) returns %s%s language plpgsql as %L',
                  proname, oidvectortypes(proargtypes), case when proretset then 'setof ' else '' end,
                  format_type(prorettype, null), v_body) as command
      from pg_proc
     where pronamespace = 'pg_catalog'::regnamespace and prokind = 'f'
    union all
    select format('create function public.%s returns %s language plpgsql as %L', signature, result, v_body)
      from (values
        ('format(text, text)', 'text'),
        ('format(text, integer)', 'text'),
        ('format(text, integer, text)', 'text'),
        ('format(text, integer, integer)', 'text'),
        ('jsonb_build_object(text, text)', 'jsonb'),
        ('jsonb_build_object(text, boolean)', 'jsonb'),
        ('jsonb_build_object(text, text, text, text)', 'jsonb'),
        ('jsonb_build_object(text, text, text, bigint, text, integer)', 'jsonb'),
        ('jsonb_build_object(text, integer, text, uuid, text, integer, text, integer)', 'jsonb')
      ) exact (signature, result)
    union all
    select format('create function public.shadow_operator_%s(%s) returns %s language plpgsql as %L;'
                  'create operator public.%s (function = public.shadow_operator_%s%s, rightarg = %s)',
                  oid, concat_ws(', ', nullif(oprleft, 0)::regtype, oprright::regtype), oprresult::regtype, v_body,
                  oprname, oid, ', leftarg = ' || nullif(oprleft, 0)::regtype, oprright::regtype)
      from pg_operator
     where oprnamespace = 'pg_catalog'::regnamespace
  loop
    begin
      execute v_one.command;
      v_number := v_number + 1;
    exception when others then
      null; -- Some take internal types, which no function in SQL can have.
    end;
  end loop;
  update public.shadow_count set number = v_number;
end
$do$;
select number from public.shadow_count;
"#;

/// Everything of ours, and at least one row in each table.
async fn filled() -> Project {
    let project = Project::installed_on_own_server().await;
    project
        .bundled()
        .apply_all_pending()
        .await
        .expect("the bundled migrations");
    project
        .sql(
            "insert into public.ctx0_sessions (title) values ('a');
             insert into public.ctx0_entries (content) values ('a');
             insert into public.ctx0_queries (query) values ('a');",
        )
        .await;
    project
        .stack
        .reload_schema()
        .await
        .expect("the schema is read again");
    project
}

/// What a stranger could try to use, read from the catalog so that nothing is forgotten.
struct Ours {
    /// Each function that can be called, with arguments that it could be called with.
    functions: Vec<(String, Value)>,
    /// The same as SQL, with a null for each argument.
    calls: Vec<String>,
    /// Each table, and one of its columns.
    tables: Vec<(String, String)>,
    sequences: Vec<String>,
}

impl Ours {
    async fn of(project: &Project) -> Self {
        let text = |cell: &Option<String>| cell.clone().expect("no null");
        let functions = project
            .sql(
                r"select p.proname::text,
                         (select coalesce(jsonb_object_agg(name, case type::regtype::text
                                   when 'integer' then to_jsonb(3)
                                   when 'text[]' then to_jsonb('{select 1}'::text[])
                                   when 'boolean' then to_jsonb(true)
                                   when 'uuid' then to_jsonb(gen_random_uuid())
                                   else to_jsonb('a'::text)
                                 end), '{}')
                            from unnest(p.proargnames, p.proargtypes) argument (name, type))::text,
                         format('select %I.%I(%s)', p.pronamespace::regnamespace, p.proname,
                                (select string_agg(format('null::%s', type::regtype), ', ') from unnest(p.proargtypes) type))
                    from pg_proc p
                   where (p.pronamespace = 'public'::regnamespace and p.proname like 'ctx0\_%'
                          or p.pronamespace = 'ctx0_private'::regnamespace)
                     and p.prorettype <> 'trigger'::regtype
                   order by 1",
            )
            .await;
        let tables = project
            .sql(
                r"select c.relname::text, a.attname::text
                    from pg_class c
                    join pg_attribute a on a.attrelid = c.oid and a.attnum = 1
                   where c.relnamespace = 'public'::regnamespace and c.relname like 'ctx0\_%' and c.relkind in ('r', 'p')
                   order by 1",
            )
            .await;
        let sequences = project
            .sql(r"select relname::text from pg_class where relkind = 'S' and relname like 'ctx0\_%' order by 1")
            .await;
        let ours = Self {
            functions: functions
                .iter()
                .filter(|row| text(&row[2]).starts_with("select public."))
                .map(|row| {
                    (
                        text(&row[0]),
                        serde_json::from_str(&text(&row[1])).expect("an object"),
                    )
                })
                .collect(),
            calls: functions.iter().map(|row| text(&row[2])).collect(),
            tables: tables
                .iter()
                .map(|row| (text(&row[0]), text(&row[1])))
                .collect(),
            sequences: sequences.iter().map(|row| text(&row[0])).collect(),
        };
        assert!(ours.functions.len() >= 5 && ours.tables.len() >= 2 && !ours.sequences.is_empty());
        ours
    }
}

/// Every row of every table of ours.
async fn contents(project: &Project, ours: &Ours) -> String {
    let tables = ours
        .tables
        .iter()
        .map(|(table, _)| format!("public.{table}"));
    let parts: Vec<_> = tables
        .chain(["ctx0_private.ctx0_schema_attempts".to_owned()])
        .map(|table| {
            format!("(select coalesce(jsonb_agg(r order by r::text), '[]') from {table} r)::text")
        })
        .collect();
    project
        .value(&format!("select concat_ws(e'\\n', {})", parts.join(", ")))
        .await
}

fn uses_of_a_table(column: &str) -> [(Method, Value); 4] {
    [
        (Method::GET, Value::Null),
        (Method::POST, json!({})),
        (Method::PATCH, json!({ column: null })),
        (Method::DELETE, Value::Null),
    ]
}

/// What becomes of each statement under a role: its SQLSTATE, or how many rows it met.
async fn attempts(project: &Project, role: &str, statements: &[String]) -> Vec<(String, String)> {
    let rows = project
        .sql(&format!(
            "create function pg_temp.attempt(p_role text, p_statement text) returns text language plpgsql as $attempt$
             declare
               v_rows bigint;
             begin
               execute format('set local role %I', p_role);
               execute p_statement;
               get diagnostics v_rows = row_count;
               reset role;
               return v_rows || ' rows';
             exception when others then
               return sqlstate;
             end
             $attempt$;
             select s, pg_temp.attempt({}, s) from jsonb_array_elements_text({}::jsonb) s",
            literal(role),
            literal(&json!(statements).to_string()),
        ))
        .await;
    assert_eq!(rows.len(), statements.len());
    rows.into_iter()
        .map(|row| {
            let [statement, outcome] = <[_; 2]>::try_from(row).expect("two columns");
            (
                statement.expect("a statement"),
                outcome.expect("an outcome"),
            )
        })
        .collect()
}

/// A role of the project's own that gets everything by default privileges, and may bypass row
/// level security.
#[tokio::test]
async fn what_default_privileges_give_to_other_roles_is_revoked() {
    let project = Project::on_own_server().await;
    project
        .stack
        .admin_sql(
            "create role app bypassrls;
             alter default privileges for role postgres grant all on tables to app;
             alter default privileges for role postgres grant all on functions to app;
             alter default privileges for role postgres grant all on sequences to app;
             alter default privileges for role postgres grant all on schemas to app;
             alter default privileges for role postgres grant all on types to app;",
        )
        .await
        .unwrap();
    project.install().await;
    let rights = project
        .value(
            "select concat(
               has_table_privilege('app', 'public.ctx0_schema_versions', 'select, insert, update, delete, trigger, references'),
               has_sequence_privilege('app', 'public.ctx0_schema_versions_id_seq', 'usage, select, update'),
               has_schema_privilege('app', 'ctx0_private', 'usage, create'),
               has_function_privilege('app', 'public.ctx0_schema_status()', 'execute'))",
        )
        .await;
    assert_eq!(rights, "ffff");
}

#[tokio::test]
async fn a_ledger_that_a_stranger_made_is_not_taken_over() {
    let project = Project::on_own_server().await;
    project
        .stack
        .admin_sql(
            "create role stranger; grant create, usage on schema public to stranger; set role stranger;
             create table public.ctx0_schema_versions (id serial primary key, version int not null unique,
               migration_name text not null, description text, applied_at timestamptz, applied_by text);
             reset role;",
        )
        .await
        .unwrap();
    for refused in [
        project.stack.sql(install_sql()).await.unwrap_err(),
        project.stack.admin_sql(install_sql()).await.unwrap_err(),
    ] {
        assert_eq!(refused.sqlstate().as_deref(), Some("55000"), "{refused:?}");
    }
    project
        .stack
        .admin_sql("alter table public.ctx0_schema_versions owner to postgres")
        .await
        .unwrap();
    project.install().await;
    project.bundled().apply_all_pending().await.unwrap();
}
