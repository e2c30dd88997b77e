//! Which rows a version changes, from what PostgreSQL counted and what was left.

use std::collections::BTreeMap;

use super::{RowChange, SeenRows, warnings::Tables};

/// How grave a change of rows is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// The table is new: its rows are nobody's yet.
    OfANewTable,
    /// Rows of a table that was there.
    Existing,
    /// Rows go from one partition to another.
    Moved,
}

/// The changes that are left when what was rolled back is taken off the counts.
///
/// PostgreSQL counts what a block did also where the block was rolled back. Rows that are left as
/// they were have not been touched, so no more than the others can be changed or gone.
pub(super) fn row_changes(seen: &[SeenRows], tables: &Tables) -> Vec<(RowChange, Rows)> {
    let mut inserted_of_root = BTreeMap::new();
    for rows in seen {
        if let Some(root) = &rows.root {
            *inserted_of_root.entry(root.as_str()).or_insert(0) += rows.inserted;
        }
    }
    let changes = seen.iter().map(|rows| {
        let touched = tables
            .get(&rows.id)
            .and_then(|table| table.count)
            .zip(rows.kept)
            .map_or(u64::MAX, |(count, kept)| count.saturating_sub(kept));
        let deleted = rows.deleted.min(touched);
        let updated = rows.updated.min(touched - deleted);
        let moved = rows.root.as_ref().is_some_and(|root| {
            let inserted = inserted_of_root.get_mut(root.as_str());
            deleted > 0
                && inserted.is_some_and(|inserted| {
                    let moves = *inserted >= deleted;
                    *inserted = inserted.saturating_sub(deleted);
                    moves
                })
        });
        let kind = match rows.existed {
            false => Rows::OfANewTable,
            true if moved => Rows::Moved,
            true => Rows::Existing,
        };
        let change = RowChange {
            relation: rows.relation.clone(),
            inserted: rows.inserted,
            updated,
            deleted,
        };
        (change, kind)
    });
    changes
        .filter(|(change, _)| change.inserted + change.updated + change.deleted > 0)
        .collect()
}
