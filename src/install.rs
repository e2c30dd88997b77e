//! The SQL that installs the functions, and the SQL that removes them.

/// The release of the installed functions that this build needs.
pub const RPC_VERSION: u32 = 3;

/// What `uninstall_sql()` leaves behind.
macro_rules! forget_history_sql {
    () => {
        "drop table if exists public.ctx0_schema_attempts, public.ctx0_schema_versions;\n"
    };
}

/// The named files of `sql-rpc/`, one after another.
macro_rules! sql {
    ($($file:literal)*) => {
        concat!($("\n", include_str!(concat!("../sql-rpc/", $file, ".sql"))),*)
    };
}

/// Removes what is installed, and keeps the record.
macro_rules! remove_sql {
    () => {
        concat!(
            "
-- The row of a version that is running outside a transaction is all that is known of it.
do $$
declare
  v_version integer;
begin
  if pg_catalog.to_regclass('ctx0_private.ctx0_schema_outside') is not null then
    execute 'select version from ctx0_private.ctx0_schema_outside' into v_version;
  end if;
  if v_version is not null then
    raise object_in_use using message = pg_catalog.format(
      'version %s is running outside a transaction, so nothing was removed: wait until it has ended, or stop it with '
      '\"ctx0-schema cancel\"; if nobody waits for it any more, apply it again', v_version);
  end if;
end
$$;
",
            sql! { "010_drop_earlier_release" },
            "
-- The record of what was applied moves next to the ledger, so that dropping the rest loses nothing.
alter table if exists ctx0_private.ctx0_schema_attempts set schema public;
drop schema if exists ctx0_private cascade;
notify pgrst, 'reload schema';
"
        )
    };
}

/// Installs what this crate calls: the ledger, the attempts and the functions.
///
/// Paste the whole text into the SQL editor of the Supabase dashboard, or give it to `psql`.
/// Run it as often as you like, over any earlier release. It changes none of your own objects.
#[must_use]
pub const fn install_sql() -> &'static str {
    concat!(
        "-- ctx0-schema ",
        env!("CARGO_PKG_VERSION"),
        ": lets the ctx0 daemon keep the ctx0 schema of this database up to date.\n",
        "-- Paste all of it into the SQL editor and run it. Running it again does no harm.\n",
        sql! {
            "003_begin"
            "005_earlier_release"
            "010_drop_earlier_release"
            "015_ctx0_private"
            "017_table_problem"
            "020_ctx0_schema_versions"
            "030_ctx0_schema_attempts"
            "032_ctx0_schema_cancellations"
            "034_ctx0_schema_outside"
            "040_answer"
            "042_is_newer"
            "045_lock_key"
            "047_current_version"
            "048_other_versions"
            "050_check_caller"
            "055_impose_limits"
            "056_outside_run"
            "057_must_stop"
            "058_running"
            "059_cancelled_by"
            "060_remember_session"
            "062_clean_session"
            "065_words"
            "070_lock_holders"
            "075_checksum"
            "080_is_intact"
            "083_installation"
            "085_installed_in_public"
            "086_marked"
            "087_grants"
            "088_index_expressions"
            "089_sorted"
            "090_schema_objects"
            "092_relation_parts"
            "100_describe_schema"
            "105_schema_step"
            "108_elsewhere"
            "110_run_migration"
            "114_latest_change"
            "115_describe_change"
            "116_outside_statement"
            "117_take_lock"
            "118_outside"
            "119_cron"
            "120_change_schema"
            "130_ctx0_apply_migration"
            "135_ctx0_apply_migrations"
            "140_ctx0_rollback_migration"
            "145_sequence_values"
            "146_has_numbers_beyond"
            "147_protect_sequences"
            "148_restore_sequences"
            "150_touched_objects"
            "152_look_at_objects"
            "154_observe_tables"
            "156_count_rows"
            "160_plan_rehearsal"
            "162_describe_version"
            "163_compare_column"
            "164_table_facts"
            "165_rehearsal_helpers"
            "166_rehearse_steps"
            "168_rehearse"
            "170_ctx0_rehearse_migrations"
            "172_event_triggers"
            "173_reprint"
            "174_compare_definitions"
            "176_ctx0_cancel_preview"
            "177_ctx0_cancel_change"
            "178_compare_objects"
            "179_drift"
            "180_ctx0_verify_schema"
            "181_recognise"
            "182_ctx0_recognise_schema"
            "184_repair_ledger"
            "185_ctx0_running"
            "186_ctx0_repair_ledger"
            "190_ctx0_schema_status"
            "192_ctx0_diagnose"
            "195_ctx0_upgrade"
            "900_owner_and_rights"
            "910_describe_again"
        }
    )
}

/// Removes the functions of [`install_sql`], of this release or an earlier one.
///
/// The record stays: the ledger and, moved beside it into `public`, the attempts. Installing again
/// puts both back into use. The last lines say how to drop them. The tables of ctx0 stay as well.
#[must_use]
pub const fn uninstall_sql() -> &'static str {
    concat!(
        "-- ctx0-schema ",
        env!("CARGO_PKG_VERSION"),
        ": removes the functions that keep the ctx0 schema of this database up to date.\n",
        sql! { "003_begin" },
        remove_sql!(),
        "\n-- What was applied, and when, is still recorded. To forget that as well:\n-- ",
        forget_history_sql!(),
    )
}

/// How long a script that is sent over HTTP waits for a running change, and for a table. Then the
/// client asks again: a gateway would end the request, and the script would wait on in the database.
const LIMITS: &str = "set local lock_timeout = '10s';\n";

/// The text of [`install_sql`] as it is sent over HTTP.
pub(crate) fn install_request() -> String {
    format!("{LIMITS}{}", install_sql())
}

/// Tells one installation from the next: the schema is made anew by each.
pub(crate) const INSTALLATION_SQL: &str =
    "select pg_catalog.to_regnamespace('ctx0_private')::oid::bigint as installation";

/// The SQLSTATE with which [`uninstall_request`] ends where its installation is gone.
pub(crate) const GONE: &str = "CTX03";

/// Removes this very installation, so that a late copy of the request does nothing to a later one.
pub(crate) fn uninstall_request(installation: Option<u32>, forget_history: bool) -> String {
    let installation = installation.map_or("null".to_owned(), |oid| oid.to_string());
    let forget = if forget_history {
        forget_history_sql!()
    } else {
        ""
    };
    format!(
        "{LIMITS}{}
do $$
begin
  if pg_catalog.to_regnamespace('ctx0_private')::oid is distinct from {installation} then
    raise sqlstate '{GONE}' using message = 'the functions that were to be removed are gone';
  end if;
end
$$;
{}{forget}",
        sql! { "003_begin" },
        remove_sql!(),
    )
}

/// A script for the installed functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupScript {
    /// [`install_sql`].
    Install,
    /// [`uninstall_sql`].
    Uninstall,
}

impl SetupScript {
    /// Its text, as it is pasted.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Install => install_sql(),
            Self::Uninstall => uninstall_sql(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_shell_and_code_page_passes_the_scripts_on_as_they_are() {
        assert!(install_sql().is_ascii() && uninstall_sql().is_ascii());
    }

    #[test]
    fn the_scripts_take_the_lock_of_a_change() {
        let key = sql! { "045_lock_key" };
        let key = key.split("select ").nth(1).unwrap();
        let key = key.split(';').next().unwrap();
        let lock = format!("pg_advisory_xact_lock({key}, 1)");
        for script in [install_sql(), uninstall_sql()] {
            assert!(script.contains(&lock), "{lock}");
        }
    }
}
