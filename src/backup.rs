//! How the user makes a backup first.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    config::{LOCAL_CLI, hosted_project, is_loopback},
    manifest::Backup,
};

/// That a backup should be made first, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BackupAdvice {
    /// Whether it must be.
    pub level: Backup,
    /// What to do, in words, with the project's own addresses.
    pub instructions: String,
}

impl BackupAdvice {
    pub(crate) fn new(level: Backup, instructions: &str) -> Self {
        Self {
            level,
            instructions: instructions.to_owned(),
        }
    }
}

/// What to do for a backup of the project behind this URL.
///
/// Sources: Supabase's pages "Database Backups" (which plans have any) and "Connect to your
/// database" (the direct host has IPv6 only, unless the project pays for IPv4); the compose file
/// for self-hosting (the service `db` publishes no port, and Supavisor listens on 5432); and the
/// configuration of the local CLI (54321 and 54322).
pub(crate) fn instructions(rest_url: &Url) -> String {
    let host = rest_url.host_str().unwrap_or_default();
    match hosted_project(rest_url) {
        Some(project) => format!(
            "Check that there is a backup from today at\n  \
             https://supabase.com/dashboard/project/{project}/database/backups/scheduled\n\
             The free plan has none. Then choose Connect on top of the dashboard, copy the host of the session \
             pooler, and run\n  \
             {PG_DUMP} \"postgresql://postgres.{project}:[YOUR-PASSWORD]@[POOLER-HOST]:5432/postgres\"\n\
             or, from a network with IPv6,\n  \
             {PG_DUMP} \"postgresql://postgres:[YOUR-PASSWORD]@db.{project}.supabase.co:5432/postgres\""
        ),
        None if is_loopback(rest_url) && rest_url.port() == Some(LOCAL_CLI) => {
            format!("Run\n  {PG_DUMP} \"postgresql://postgres:postgres@{host}:54322/postgres\"")
        }
        None => format!(
            "On {host}, in the folder of Supabase's docker-compose.yml, run\n  \
             docker compose exec -T db pg_dump --username=postgres --format=custom postgres > ctx0-backup.dump\n\
             or from elsewhere, where the port of the pooler is open, with the values of your .env,\n  \
             {PG_DUMP} \"postgresql://postgres.[POOLER_TENANT_ID]:[POSTGRES_PASSWORD]@{host}:5432/postgres\""
        ),
    }
}

const PG_DUMP: &str = "pg_dump --format=custom --file=ctx0-backup.dump";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> String {
        instructions(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_hosted_project_is_shown_its_own_page_and_its_own_database() {
        let text = of("https://abcdefghijklmnopqrst.supabase.co/rest/v1");
        assert!(text.contains("/dashboard/project/abcdefghijklmnopqrst/database/backups"));
        assert!(text.contains("//postgres.abcdefghijklmnopqrst:"));
        assert!(text.contains("@db.abcdefghijklmnopqrst.supabase.co:5432/"));
    }

    #[test]
    fn the_local_cli_is_shown_its_own_port() {
        let text = of("http://127.0.0.1:54321/rest/v1");
        assert_eq!(
            text,
            "Run\n  pg_dump --format=custom --file=ctx0-backup.dump \
             \"postgresql://postgres:postgres@127.0.0.1:54322/postgres\""
        );
    }

    #[test]
    fn a_self_hosted_project_is_shown_its_own_host() {
        for host in [
            "ctx0.example.org",
            "supabase.co.example.org",
            "127.0.0.1",
            "[::1]",
        ] {
            let text = of(&format!("https://{host}:8443/rest/v1"));
            assert!(
                text.starts_with(&format!("On {host}, in the folder")),
                "{text}"
            );
            assert!(text.contains(&format!("@{host}:5432/")), "{text}");
            assert!(!text.contains("dashboard"), "{text}");
        }
    }
}
