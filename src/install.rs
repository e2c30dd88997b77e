//! The SQL that is pasted into the SQL editor once.

/// The release of the installed functions that this build needs.
pub const RPC_VERSION: u32 = 2;

/// The whole text that installs what this crate calls: the ledger, the attempts and the
/// functions. To be pasted into the SQL editor of the Supabase dashboard, or given to
/// `psql`; any number of times, over any older state. It changes nothing of the user's.
#[must_use]
pub const fn install_sql() -> &'static str {
    concat!(
        "-- ctx0-schema ",
        env!("CARGO_PKG_VERSION"),
        ": lets the ctx0 daemon bring this database's ctx0 schema up to date.\n",
        "-- Paste all of it into the SQL editor and run it. Doing so again is harmless.\n\n",
        include_str!("../sql-rpc/010_drop_functions.sql"),
        "\n",
        include_str!("../sql-rpc/020_ctx0_schema_versions.sql"),
        "\n",
        include_str!("../sql-rpc/030_ctx0_schema_attempts.sql"),
        "\n",
        include_str!("../sql-rpc/040_ctx0_check_caller.sql"),
        "\n",
        include_str!("../sql-rpc/050_ctx0_clean_session.sql"),
        "\n",
        include_str!("../sql-rpc/060_ctx0_lock_holders.sql"),
        "\n",
        include_str!("../sql-rpc/070_ctx0_is_intact.sql"),
        "\n",
        include_str!("../sql-rpc/080_ctx0_schema_objects.sql"),
        "\n",
        include_str!("../sql-rpc/090_ctx0_describe_schema.sql"),
        "\n",
        include_str!("../sql-rpc/100_ctx0_run_migration.sql"),
        "\n",
        include_str!("../sql-rpc/110_ctx0_change_schema.sql"),
        "\n",
        include_str!("../sql-rpc/120_ctx0_apply_migration.sql"),
        "\n",
        include_str!("../sql-rpc/130_ctx0_rollback_migration.sql"),
        "\n",
        include_str!("../sql-rpc/140_ctx0_observe_tables.sql"),
        "\n",
        include_str!("../sql-rpc/150_ctx0_rehearse_migrations.sql"),
        "\n",
        include_str!("../sql-rpc/160_ctx0_verify_schema.sql"),
        "\n",
        include_str!("../sql-rpc/170_ctx0_schema_status.sql"),
        "\n",
        include_str!("../sql-rpc/900_owner_and_reload.sql"),
    )
}

/// The whole text that takes the functions of [`install_sql`] away again. The ledger and the
/// attempts stay, because they say what is in the database; its last lines tell how to drop
/// them too. The tables of ctx0 itself are not touched.
#[must_use]
pub const fn uninstall_sql() -> &'static str {
    concat!(
        "-- ctx0-schema ",
        env!("CARGO_PKG_VERSION"),
        ": takes away the functions that bring this database's ctx0 schema up to date.\n\n",
        include_str!("../sql-rpc/010_drop_functions.sql"),
        "\nnotify pgrst, 'reload schema';\n",
        "\n-- What was applied, and when, is still recorded. To forget that as well:\n",
        "-- drop table public.ctx0_schema_attempts, public.ctx0_schema_versions;\n",
    )
}
