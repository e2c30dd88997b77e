//! A project for one test: a real PostgreSQL behind REST.

use std::{fs, path::Path};

use ctx0_schema::{Config, Migrations, SchemaVersionManager, Version, install_sql};
use ctx0_stack::{Rows, Stack};
use serde_json::json;
use tempfile::TempDir;

pub(crate) struct Project {
    pub(crate) stack: Stack,
}

impl Project {
    /// Nothing of ours.
    pub(crate) async fn empty() -> Self {
        Self {
            stack: Stack::postgres().await.expect("a stack starts"),
        }
    }

    /// The functions are installed, no version is applied.
    pub(crate) async fn installed() -> Self {
        let project = Self::empty().await;
        project.install().await;
        project
    }

    /// As the specification's user has it: version 1 of this crate's migrations.
    pub(crate) async fn at_version_1() -> Self {
        let project = Self::installed().await;
        let first = Version::new(1).expect("a version");
        project
            .manager()
            .apply_migration(first)
            .await
            .expect("version 1 is applied");
        project
    }

    /// All versions of this crate's migrations.
    pub(crate) async fn up_to_date() -> Self {
        let project = Self::at_version_1().await;
        let run = project.manager().apply_all_pending();
        run.await.expect("it is applied");
        project
    }

    pub(crate) async fn install(&self) {
        self.sql(install_sql()).await;
        self.stack
            .reload_schema()
            .await
            .expect("the schema is read again");
    }

    pub(crate) fn manager(&self) -> SchemaVersionManager {
        self.manager_of(Migrations::bundled().expect("migrations"))
    }

    fn manager_of(&self, migrations: Migrations) -> SchemaVersionManager {
        let config =
            Config::new(self.stack.url(), self.stack.service_key()).expect("a configuration");
        SchemaVersionManager::new(&config, migrations).expect("a manager")
    }

    /// Applies the first version of a folder, as another daemon would.
    pub(crate) async fn apply_first(&self, folder: &Folder) {
        let first = Version::new(1).expect("a version");
        let run = self.manager_of(folder.migrations()).apply_migration(first);
        run.await.expect("version 1 is applied");
    }

    /// Applies all versions of a folder, as another daemon would.
    pub(crate) async fn apply_all(&self, folder: &Folder) {
        let run = self.manager_of(folder.migrations()).apply_all_pending();
        run.await.expect("it is applied");
    }

    pub(crate) async fn sql(&self, sql: &str) -> Rows {
        self.stack
            .sql(sql)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{sql}"))
    }

    /// The versions in the ledger, whatever they are of.
    pub(crate) async fn versions(&self) -> Vec<String> {
        let rows = self
            .sql("select version::text from public.ctx0_schema_versions order by version")
            .await;
        rows.into_iter().flatten().flatten().collect()
    }

    /// The versions in the ledger, read back over REST.
    pub(crate) async fn ledger(&self) -> Vec<u32> {
        let ledger = self.manager().history().await.expect("the ledger");
        ledger.iter().map(|row| row.version.get()).collect()
    }
}

/// A folder of migrations.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// With these descriptions and texts, numbered from 1.
    pub(crate) fn of(migrations: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut entries = Vec::new();
        for (version, (description, sql)) in (1..).zip(migrations) {
            let name = format!("{version:03}_step");
            let file = format!("{name}.sql");
            fs::write(folder.path().join(&file), sql).expect("a migration");
            entries.push(
                json!({"version": version, "name": name, "description": description, "file": file}),
            );
        }
        let manifest = json!({"currentVersion": migrations.len(), "migrations": entries});
        fs::write(folder.path().join("manifest.json"), manifest.to_string()).expect("a manifest");
        Self(folder)
    }

    /// The same, but the last one wants a backup first.
    pub(crate) fn requiring_a_backup(self) -> Self {
        let path = self.path().join("manifest.json");
        let text = fs::read_to_string(&path).expect("a manifest");
        let mut manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let migrations = manifest["migrations"].as_array_mut().expect("a list");
        migrations.last_mut().expect("one")["backup"] = json!("required");
        fs::write(path, manifest.to_string()).expect("a manifest");
        self
    }

    pub(crate) fn migrations(&self) -> Migrations {
        Migrations::from_dir(self.path()).expect("migrations")
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// A migration that goes on until `Gate::open`.
pub(crate) struct Gate;

impl Gate {
    pub(crate) const SQL: &str = "do $$ begin
  while not exists (select from public.ctx0_gate) loop
    perform pg_catalog.pg_sleep(0.02);
  end loop;
end $$;";

    pub(crate) async fn close(project: &Project) {
        project
            .sql("create table public.ctx0_gate (open boolean)")
            .await;
    }

    pub(crate) async fn open(project: &Project) {
        project
            .sql("insert into public.ctx0_gate values (true)")
            .await;
    }
}
