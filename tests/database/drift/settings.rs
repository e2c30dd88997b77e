//! Settings that change how PostgreSQL prints a definition.

use ctx0_schema::Verification;

use super::{SCHEMA, record, verify};
use ctx0_stack::project::Project;

const SETTINGS: [&str; 12] = [
    "timezone = 'Asia/Kolkata'",
    "datestyle = 'SQL, DMY'",
    "intervalstyle = 'sql_standard'",
    "bytea_output = 'escape'",
    "quote_all_identifiers = on",
    "standard_conforming_strings = off",
    "extra_float_digits = 0",
    "transform_null_equals = on",
    "array_nulls = off",
    "xmloption = document",
    "xmlbinary = hex",
    "search_path = extensions, public",
];

#[tokio::test]
async fn no_setting_of_the_database_or_of_a_role_is_a_change() {
    let project = Project::installed_on_own_server().await;
    record(&project, SCHEMA).await;
    for setting in SETTINGS {
        for place in ["database postgres", "role authenticator", "role postgres"] {
            project
                .stack
                .admin_sql(&format!("alter {place} set {setting}"))
                .await
                .unwrap();
        }
    }
    // With connections that know of the settings.
    let exact =
        "select objects = ctx0_private.describe_schema() from ctx0_private.ctx0_schema_attempts";
    assert_eq!(project.value(exact).await, "t");
    let found = verify(&project).await;
    assert!(matches!(found, Verification::Unchanged { .. }), "{found}");
    project.sql(super::changes::REWORDED).await;
    let found = verify(&project).await;
    assert!(matches!(found, Verification::Unchanged { .. }), "{found}");
}
