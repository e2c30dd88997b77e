//! What the REST layer knows about its database.

use std::collections::HashMap;

use postrust_core::{AppConfig, SchemaCache};
use sqlx::PgPool;

use crate::{StackError, transaction::Catalog};

/// The schema cache, and beside it the settings that PostgREST reads with it.
pub(crate) struct Schema {
    pub(crate) cache: SchemaCache,
    functions: HashMap<String, String>,
    roles: HashMap<String, String>,
    version: String,
}

/// PostgREST sets a function's own timeout before it calls the function: one
/// that the function sets comes too late, as the statement already runs.
const FUNCTION_TIMEOUTS: &str = "
    select p.proname::text, substr(setting, length('statement_timeout=') + 1)
    from pg_proc p, unnest(p.proconfig) as setting
    where p.pronamespace = 'public'::regnamespace
    and setting like 'statement_timeout=%'";

/// `set local role` does not bring a role's settings along, so PostgREST does.
const ROLE_TIMEOUTS: &str = "
    select r.rolname::text, substr(setting, length('statement_timeout=') + 1)
    from pg_roles r, unnest(r.rolconfig) as setting
    where setting like 'statement_timeout=%'";

/// What is read comes from these catalogs, and each change of them leaves other versions of their
/// rows. (The youngest one would not do: of two transactions the older may end last.)
const VERSION: &str = "
    select string_agg(concat_ws('/', rows, versions), ' ') from (
        select count(*) as rows, sum(hashtidextended(ctid, xmin::text::bigint)) as versions from pg_class
        union all select count(*), sum(hashtidextended(ctid, xmin::text::bigint)) from pg_attribute
        union all select count(*), sum(hashtidextended(ctid, xmin::text::bigint)) from pg_constraint
        union all select count(*), sum(hashtidextended(ctid, xmin::text::bigint)) from pg_type
        union all select count(*), sum(hashtidextended(ctid, xmin::text::bigint)) from pg_enum
        union all select count(*), sum(hashtidextended(ctid, xmin::text::bigint)) from pg_proc
        union all select count(*), sum(hashtidextended(ctid, xmin::text::bigint)) from pg_cast
        union all select count(*), sum(hashtidextended(ctid, xmin::text::bigint)) from pg_index
        union all select count(*), sum(hashtidextended(ctid, xmin::text::bigint)) from pg_namespace
        union all select count(*), sum(hashtidextended(ctid, xmin::text::bigint)) from pg_description
        union all select count(*), sum(hashtidextended(ctid, xmin::text::bigint)) from pg_db_role_setting
    ) catalogs";

impl Schema {
    /// Reads the schema as it is now; `None` where it is still the one that is `known`.
    pub(crate) async fn load(
        pool: &PgPool,
        config: &AppConfig,
        known: Option<&Schema>,
    ) -> Result<Option<Schema>, StackError> {
        // First, so that what changes meanwhile is not overlooked.
        let version: String = sqlx::query_scalar(VERSION).fetch_one(pool).await?;
        if known.is_some_and(|known| known.version == version) {
            return Ok(None);
        }
        Ok(Some(Schema {
            version,
            cache: SchemaCache::load_with_search_path_from(
                &Catalog(pool.clone()),
                &config.db_schemas,
                &config.db_extra_search_path,
            )
            .await?,
            functions: timeouts(pool, FUNCTION_TIMEOUTS).await?,
            roles: timeouts(pool, ROLE_TIMEOUTS).await?,
        }))
    }

    /// The `statement_timeout` of a request: that of the function it calls,
    /// or else that of its role, or else none but the login's.
    pub(crate) fn timeout(&self, path: &str, role: Option<&str>) -> Option<String> {
        path.strip_prefix("/rpc/")
            .and_then(|function| self.functions.get(function))
            .or_else(|| self.roles.get(role?))
            .cloned()
    }

    /// The first of the selected columns that the table does not have.
    pub(crate) fn missing_column(&self, path: &str, query: &str) -> Option<String> {
        let name = path.strip_prefix('/')?;
        let mut tables = self.cache.tables.values();
        let table = tables.find(|table| table.schema == "public" && table.name == name)?;
        let select = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("select="))?;
        select
            .split(',')
            .find(|column| *column != "*" && !table.columns.contains_key(*column))
            .map(|column| format!("{name}.{column}"))
    }
}

async fn timeouts(pool: &PgPool, sql: &'static str) -> Result<HashMap<String, String>, StackError> {
    let rows: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(pool).await?;
    Ok(rows.into_iter().collect())
}
