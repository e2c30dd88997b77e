//! The checks of the server: PostgREST's limits, who may run SQL, and the database itself.

use serde::Deserialize;

use super::{Check, CheckName, Facts};

/// What `ctx0_diagnose` returns.
#[derive(Debug, Deserialize)]
pub(crate) struct Health {
    read_only: bool,
    read_only_by_default: bool,
    database_bytes: Option<u64>,
    timeouts: Timeouts,
    /// Where the database configures PostgREST.
    max_rows: Option<String>,
    extensions: Vec<Extension>,
}

/// In milliseconds; 0 is none.
#[derive(Debug, Deserialize)]
struct Timeouts {
    statement_ms: u64,
    transaction_ms: u64,
    functions_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Extension {
    name: String,
    /// Where it is installed.
    schema: Option<String>,
    available: bool,
}

/// Who may run SQL past PostgREST.
#[derive(Debug)]
pub(crate) struct SqlAccess {
    pub(crate) with_key: bool,
    pub(crate) without_key: bool,
    /// Whether the functions are in the database, which only the key can see.
    pub(crate) installed: bool,
}

/// The extensions that texts name in `create extension`. Only to look them up: whether a migration needs
/// one is known when it runs.
pub(crate) fn extensions<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names = Vec::new();
    for text in texts {
        let lines = text
            .lines()
            .map(|line| line.split("--").next().unwrap_or_default());
        let text = lines.collect::<Vec<_>>().join(" ").to_lowercase();
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            if word != "create" || words.clone().next() != Some("extension") {
                continue;
            }
            let name = words
                .by_ref()
                .skip(1)
                .find(|word| !["if", "not", "exists"].contains(word));
            let name = name
                .unwrap_or_default()
                .trim_end_matches(';')
                .trim_matches('"');
            let is_name = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
            if !name.is_empty() && name.chars().all(is_name) {
                names.push(name.to_owned());
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

pub(super) fn max_rows(facts: &Facts<'_>) -> Check {
    let name = CheckName::MaxRows;
    if !facts.probe.responded || facts.probe.error.is_some() {
        return Check::not_checked(name);
    }
    let configured = match &facts.health {
        Some(Ok(Health {
            max_rows: Some(rows),
            ..
        })) => Some(rows),
        _ => None,
    };
    let remedy = "set PGRST_DB_MAX_ROWS to 1000, or Max rows in the dashboard under Project Settings → Data API";
    match facts.probe.rows {
        Some((0, total)) if total > 0 => Check::failing(
            name,
            format!("the REST API returns none of the {total} rows of the ledger"),
            remedy,
        ),
        Some((returned, total)) if returned < total => Check::good(
            name,
            format!("the ledger is read in pages of {returned} rows"),
        ),
        _ => match configured {
            Some(rows) => Check::good(name, format!("{rows}; the ledger fits")),
            None => Check::good(name, "the ledger fits into one response"),
        },
    }
}

pub(super) fn sql_access(facts: &Facts<'_>) -> Check {
    let name = CheckName::SqlAccess;
    match &facts.sql_access {
        _ if facts.probe.error.is_some() => Check::not_checked(name),
        None => Check::good(name, "not used here: this is a hosted project"),
        Some(SqlAccess {
            without_key: true, ..
        }) => Check::failing(
            name,
            "anyone who reaches the gateway can run SQL, without a key",
            "let the gateway ask for the service key on /pg/, as the compose file of Supabase does; then change the \
             keys and the database's passwords",
        ),
        Some(SqlAccess { with_key: true, .. }) => {
            Check::good(name, "open to the service key, closed without a key")
        }
        Some(_) => Check::good(
            name,
            "closed: the functions are installed in the SQL editor",
        ),
    }
}

pub(super) fn database(facts: &Facts<'_>) -> Check {
    let name = CheckName::Database;
    let health = match &facts.health {
        None => return Check::not_checked(name),
        Some(Err(error)) => return Check::failed(name, error),
        Some(Ok(health)) => health,
    };
    let size = match health.database_bytes {
        Some(bytes) => format!("{} MB", bytes.div_ceil(1_000_000)),
        None => "size unknown".to_owned(),
    };
    let remedy = "this is usually a full disk, or a replica: free or add disk space in the dashboard under Database → \
                  Settings, or on the server of a self-hosted installation";
    if health.read_only {
        Check::failing(name, format!("{size}, read-only"), remedy)
    } else if health.read_only_by_default {
        Check::warning(name, format!("{size}, read-only by default"), remedy)
    } else {
        Check::good(name, format!("{size}, writable"))
    }
}

pub(super) fn timeouts(facts: &Facts<'_>) -> Check {
    let name = CheckName::Timeouts;
    let Some(Ok(Health { timeouts, .. })) = &facts.health else {
        return Check::not_checked(name);
    };
    let longest = timeouts.functions_ms;
    let found = format!(
        "a change may take {}; other requests of this role {}",
        time(longest),
        time(timeouts.statement_ms)
    );
    let cut = timeouts.transaction_ms;
    if longest < 60_000 {
        let remedy =
            "someone has changed the functions: `ctx0-schema install --again` restores them";
        return Check::warning(name, found, remedy);
    }
    if 0 < cut && cut < longest {
        let remedy = "run \"alter role authenticator set transaction_timeout = 0\" as postgres in the SQL editor, \
                      and on the role service_role and the database if they have it";
        let found = format!("transaction_timeout ends every change after {}", time(cut));
        return Check::warning(name, found, remedy);
    }
    Check::good(name, found)
}

/// `15 min`, for example.
fn time(ms: u64) -> String {
    match ms / 1000 {
        0 => "any time".to_owned(),
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

pub(super) fn extensions_there(facts: &Facts<'_>) -> Check {
    let name = CheckName::Extensions;
    let Some(Ok(Health { extensions, .. })) = &facts.health else {
        return Check::not_checked(name);
    };
    let found = extensions.iter().map(|extension| {
        let Extension {
            name,
            schema,
            available,
        } = extension;
        match schema {
            Some(schema) => format!("{name} in {schema}"),
            None if *available => format!("{name} can be installed"),
            None => format!("{name} is not on this server"),
        }
    });
    let found = found.collect::<Vec<_>>().join(", ");
    let missing = |extension: &Extension| extension.schema.is_none() && !extension.available;
    if extensions.iter().any(missing) {
        let remedy = "a version that needs it fails or goes without it, which a preview shows; use a database image \
                      that has it";
        Check::warning(name, found, remedy)
    } else if extensions.is_empty() {
        Check::good(name, "the migrations name none")
    } else {
        Check::good(name, found)
    }
}
