//! What the REST layer knows about its database.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use postrust_core::{AppConfig, SchemaCache};
use sqlx::{AssertSqlSafe, PgPool};

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

/// What is read comes from these catalogs: the columns of a row that say what it means, and the one
/// that tells PostgreSQL's own rows from those made since.
const CATALOGS: [(&str, &str, &str); 13] = [
    (
        "pg_class",
        "oid, relname, relnamespace, reltype, relowner, relkind, relispartition, relacl, reloptions",
        "oid",
    ),
    ("pg_attribute", "catalog", "attrelid"),
    ("pg_attrdef", "catalog", "oid"),
    ("pg_cast", "catalog", "oid"),
    ("pg_constraint", "catalog", "oid"),
    ("pg_description", "catalog", "objoid"),
    ("pg_enum", "catalog", "oid"),
    ("pg_index", "catalog", "indexrelid"),
    ("pg_namespace", "catalog", "oid"),
    ("pg_proc", "catalog", "oid"),
    ("pg_rewrite", "catalog", "oid"),
    ("pg_type", "catalog", "oid"),
    ("pg_db_role_setting", "catalog", "setrole"),
];

/// Says what the catalogs contain: PostgreSQL's own rows by their versions, and the others by their
/// columns. So it is the same for two clusters of one template in which the same was done, and only
/// for those. (The youngest version would not do: of two transactions the older may end last.)
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let first = 16_384;
    let catalogs = CATALOGS.map(|(catalog, columns, oid)| {
        format!(
            "select '{catalog}', count(*),
                    sum(case when {oid} < {first} then hashtidextended(ctid, xmin::text::bigint)
                             else hashtextextended(row({columns})::text, 0) end)
               from {catalog} catalog"
        )
    });
    format!(
        "select concat_ws(' ', version(),
                (select sum(hashtextextended(concat_ws(' ', oid, rolname), 0)) from pg_roles),
                (select string_agg(c::text, ' ' order by name) from ({}) c (name, rows, hash)))",
        catalogs.join(" union all ")
    )
});

/// What this process has read, by [`VERSION`]: reading takes long, and most stacks begin alike.
static READ: Mutex<VecDeque<Arc<Schema>>> = Mutex::new(VecDeque::new());

/// How many are kept.
const KEPT: usize = 16;

impl Schema {
    /// Reads the schema as it is now.
    pub(crate) async fn load(pool: &PgPool, config: &AppConfig) -> Result<Arc<Schema>, StackError> {
        let version = read_version(pool).await?;
        if let Some(known) = known(&version) {
            return Ok(known);
        }
        let schema = Arc::new(Schema {
            version,
            cache: SchemaCache::load_with_search_path_from(
                &Catalog(pool.clone()),
                &config.db_schemas,
                &config.db_extra_search_path,
            )
            .await?,
            functions: timeouts(pool, FUNCTION_TIMEOUTS).await?,
            roles: timeouts(pool, ROLE_TIMEOUTS).await?,
        });
        // What was read while something changed belongs to no version.
        if read_version(pool).await? == schema.version {
            keep(Arc::clone(&schema));
        }
        Ok(schema)
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

async fn read_version(pool: &PgPool) -> Result<String, StackError> {
    let sql = AssertSqlSafe(VERSION.as_str());
    Ok(sqlx::query_scalar(sql).fetch_one(pool).await?)
}

/// What was read at this version.
fn known(version: &str) -> Option<Arc<Schema>> {
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    let place = read.iter().position(|schema| schema.version == version)?;
    // The one that was used last is at the front.
    let schema = read.remove(place)?;
    read.push_front(Arc::clone(&schema));
    Some(schema)
}

fn keep(schema: Arc<Schema>) {
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    read.truncate(KEPT - 1);
    read.push_front(schema);
}

async fn timeouts(pool: &PgPool, sql: &'static str) -> Result<HashMap<String, String>, StackError> {
    let rows: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(pool).await?;
    Ok(rows.into_iter().collect())
}
