use crate::{
    app_version::AppVersion,
    ledger::{Action, AppliedVersion},
    manifest::{Backup, Checksum, LockInstead, Migration, Migrations, SqlFile, Version},
    sql::Outside,
};

/// One version to apply or roll back.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) version: Version,
    pub(crate) name: String,
    pub(crate) description: String,
    /// The checksum of the SQL that applies it, or did.
    pub(crate) checksum: Option<Checksum>,
    /// Has its files.
    migrations: Migrations,
}

impl Step {
    pub(crate) fn apply(migration: &Migration, migrations: &Migrations) -> Self {
        Self {
            action: Action::Apply,
            version: migration.version(),
            name: migration.name().to_owned(),
            description: migration.description().to_owned(),
            checksum: Some(migration.checksum()),
            migrations: migrations.clone(),
        }
    }

    pub(crate) fn roll_back(row: &AppliedVersion, migrations: &Migrations) -> Self {
        Self {
            action: Action::Rollback,
            version: row.version,
            name: row.migration_name.clone(),
            description: row.description.clone().unwrap_or_default(),
            checksum: row.checksum,
            migrations: migrations.clone(),
        }
    }

    /// The database's version before the step.
    pub(crate) fn starts_from(&self) -> Version {
        match self.action {
            Action::Apply => self.version.before(),
            Action::Rollback => self.version,
        }
    }

    /// The database's version after the step.
    pub(crate) fn leads_to(&self) -> Version {
        match self.action {
            Action::Apply => self.version,
            Action::Rollback => self.version.before(),
        }
    }

    /// Whether the manifest asks for a backup first.
    pub(crate) fn backup(&self) -> Option<Backup> {
        match self.action {
            Action::Apply => self.migration()?.backup(),
            Action::Rollback => None,
        }
    }

    /// Whether older apps can no longer work with the version, as the manifest says.
    pub(crate) fn breaking(&self) -> Option<bool> {
        self.migration()?.breaking()
    }

    /// The oldest app that can work with the version, as the manifest says.
    pub(crate) fn min_app_version(&self) -> Option<&AppVersion> {
        self.migration()?.min_app_version()
    }

    pub(crate) fn up(&self) -> Option<&SqlFile> {
        self.migration().map(Migration::up)
    }

    pub(crate) fn down(&self) -> Option<&SqlFile> {
        self.migration()?.down()
    }

    /// The file that runs. `None` where this build does not have it.
    pub(crate) fn runs(&self) -> Option<&SqlFile> {
        match self.action {
            Action::Apply => self.up(),
            Action::Rollback => self.down(),
        }
    }

    /// Whether it is a statement that runs outside a transaction, as far as this build knows.
    pub(crate) fn is_outside(&self) -> bool {
        self.runs().is_some_and(|file| file.outside().is_some())
    }

    /// Whether a preview can run it, or the same inside a transaction.
    pub(crate) fn can_be_tested(&self) -> bool {
        let outside = self.runs().and_then(SqlFile::outside);
        outside.is_none_or(Outside::can_run_inside)
    }

    /// Whether its statement may run inside a transaction, where nothing runs it outside one.
    pub(crate) fn may_run_inside(&self) -> bool {
        self.can_be_tested() && self.lock_instead() != Some(LockInstead::Never)
    }

    /// The table of an index that it makes, or of a partition that it detaches, as it is written.
    pub(crate) fn outside_table(&self) -> Option<&str> {
        match self.runs()?.outside()? {
            Outside::CreateIndex { table, .. } | Outside::DetachPartition { table, .. } => {
                Some(table)
            }
            Outside::DropIndex { .. } | Outside::Vacuum { .. } | Outside::Reindex { .. } => None,
        }
    }

    /// Whether its statement may run inside a transaction instead, as the manifest says.
    pub(crate) fn lock_instead(&self) -> Option<LockInstead> {
        self.migration()?.lock_instead()
    }

    /// This build's migration, if it is the one that the step is about.
    fn migration(&self) -> Option<&Migration> {
        self.migrations
            .get(self.version)
            .filter(|migration| migration.name() == self.name)
    }
}
