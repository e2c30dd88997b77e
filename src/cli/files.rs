//! `checksum`: the checksums of the migrations.

use serde_json::json;

use super::{Output, args::Global, exit::Failure, settings};
use crate::manifest::SqlFile;

pub(super) fn checksum(global: &Global) -> Result<Output, Failure> {
    let migrations = settings::migrations(global)?;
    // As sha256sum prints them.
    let lines = migrations
        .iter()
        .map(|migration| format!("{}  {}\n", migration.checksum(), migration.file()));
    let text = lines.collect();
    let entries: Vec<_> = migrations
        .iter()
        .map(|migration| {
            json!({
                "version": migration.version(),
                "name": migration.name(),
                "file": migration.file(),
                "checksum": migration.checksum(),
                "downChecksum": migration.down().map(SqlFile::checksum),
            })
        })
        .collect();
    Ok(Output::verbatim(text, &json!({ "migrations": entries })))
}
