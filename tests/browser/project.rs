//! A project for one test, on a PostgreSQL that the test may stop, and folders of migrations for its
//! daemon.

use std::{fs, path::Path};

use ctx0_schema::{Migrations, Run, Version};
use ctx0_stack::project::Project;
use serde_json::json;
use tempfile::TempDir;

/// Nothing of ours.
pub(crate) async fn empty() -> Project {
    Project::on_own_server().await
}

/// The functions are installed, no version is applied.
pub(crate) async fn installed() -> Project {
    Project::installed_on_own_server().await
}

/// As the specification's user has it: version 1 of this crate's migrations.
pub(crate) async fn at_version_1() -> Project {
    let project = installed().await;
    apply(project.bundled().apply_migration(first())).await;
    project
}

/// All versions of this crate's migrations.
pub(crate) async fn up_to_date() -> Project {
    let project = at_version_1().await;
    apply(project.bundled().apply_all_pending()).await;
    project
}

/// Applies the first version of a folder, as another daemon would.
pub(crate) async fn apply_first(project: &Project, folder: &Folder) {
    apply(
        project
            .manager(folder.migrations())
            .apply_migration(first()),
    )
    .await;
}

/// Applies all versions of a folder, as another daemon would.
pub(crate) async fn apply_all(project: &Project, folder: &Folder) {
    apply(project.manager(folder.migrations()).apply_all_pending()).await;
}

async fn apply(run: Run) {
    run.await.expect("it is applied");
}

fn first() -> Version {
    Version::new(1).expect("a version")
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
        self.declaring(json!({"backup": "required"}))
    }

    /// The same, with these fields in the manifest's entry of the last one.
    pub(crate) fn declaring(self, fields: serde_json::Value) -> Self {
        let path = self.path().join("manifest.json");
        let text = fs::read_to_string(&path).expect("a manifest");
        let mut manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let migrations = manifest["migrations"].as_array_mut().expect("a list");
        let last = migrations.last_mut().expect("one").as_object_mut();
        let fields = fields.as_object().expect("an object").clone();
        last.expect("an object").extend(fields);
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

/// In SQL: a migration is running, also in a test of it.
pub(crate) const RUNNING: &str = "ctx0_private.running() is not null";
