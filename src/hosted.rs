//! How the database compares with the hosted service, and how far that lets it go. Pure.

use std::cmp::Ordering;

use crate::{
    config::HostedPolicy,
    manifest::{Listing, Migrations, Version},
    report::{HostedComparison, HostedState, SchemaVersion},
};

/// What is known of the hosted service.
#[derive(Clone, Debug)]
pub(crate) struct HostedFacts {
    pub(crate) policy: HostedPolicy,
    pub(crate) listing: Option<Listing>,
    pub(crate) problem: Option<String>,
}

impl HostedFacts {
    /// The highest version that may be applied to a database at `current`.
    ///
    /// Only names and checksums are compared. What runs is in any case what this build has.
    pub(crate) fn released(&self, migrations: &Migrations, current: Version) -> Version {
        let released = match (self.policy, &self.listing) {
            (HostedPolicy::Free, _) => return migrations.latest_version(),
            (HostedPolicy::Follow, None) => return current,
            (HostedPolicy::Follow, Some(listing)) => migrations
                .after(current)
                .iter()
                .take_while(|migration| listing.has(migration)),
        };
        released
            .last()
            .map_or(current, |migration| migration.version())
    }

    /// How a database at `current` compares.
    pub(crate) fn compare(
        self,
        current: Version,
        withheld: Vec<SchemaVersion>,
    ) -> HostedComparison {
        let version = self.listing.map(|listing| listing.latest_version());
        HostedComparison {
            policy: self.policy,
            version,
            state: match version.map(|version| current.cmp(&version)) {
                None => HostedState::Unknown,
                Some(Ordering::Less) => HostedState::Behind,
                Some(Ordering::Equal) => HostedState::Level,
                Some(Ordering::Greater) => HostedState::Ahead,
            },
            withheld,
            problem: self.problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(names: &[&str]) -> String {
        let entries: Vec<_> = (1..)
            .zip(names)
            .map(|(version, name)| json!({"version": version, "name": name, "description": "", "file": format!("{name}.sql")}))
            .collect();
        json!({"currentVersion": names.len(), "migrations": entries}).to_string()
    }

    fn migrations() -> Migrations {
        let manifest = manifest(&["001_a", "002_b", "003_c"]);
        Migrations::embedded(&[
            ("manifest.json", &manifest),
            ("001_a.sql", "select 1;"),
            ("002_b.sql", "select 2;"),
            ("003_c.sql", "select 3;"),
        ])
        .unwrap()
    }

    fn facts(policy: HostedPolicy, listing: Option<&str>) -> HostedFacts {
        HostedFacts {
            policy,
            listing: listing.map(|text| Listing::parse(text).unwrap()),
            problem: None,
        }
    }

    fn released(policy: HostedPolicy, listing: Option<&str>, current: u32) -> u32 {
        let current = Version::new(current).unwrap();
        facts(policy, listing)
            .released(&migrations(), current)
            .get()
    }

    #[test]
    fn free_ignores_the_hosted_service() {
        for listing in [None, Some(&*manifest(&[])), Some(&*manifest(&["001_z"]))] {
            assert_eq!(released(HostedPolicy::Free, listing, 0), 3);
        }
    }

    #[test]
    fn follow_never_goes_past_it() {
        for (names, current, expected) in [
            (&["001_a", "002_b", "003_c", "004_d"][..], 0, 3),
            (&["001_a", "002_b"], 0, 2),
            (&["001_a", "002_b"], 1, 2),
            (&["001_a", "002_b"], 2, 2),
            (&["001_a"], 2, 2),
            (&[], 0, 0),
            // Another version under the same number is not the one that the hosted service has.
            (&["001_a", "002_z", "003_c"], 0, 1),
            (&["001_z", "002_b", "003_c"], 1, 3),
        ] {
            let listing = manifest(names);
            let released = released(HostedPolicy::Follow, Some(&listing), current);
            assert_eq!(released, expected, "{names:?} at {current}");
        }
    }

    #[test]
    fn follow_compares_checksums_where_they_are_stated() {
        let migrations = migrations();
        let own = migrations.get(Version::new(1).unwrap()).unwrap().checksum();
        for (checksum, expected) in [(own.to_string(), 1), ("0".repeat(64), 0)] {
            let listing = json!({"currentVersion": 1, "migrations": [
                {"version": 1, "name": "001_a", "description": "", "file": "001_a.sql", "checksum": checksum}]});
            let listing = listing.to_string();
            assert_eq!(released(HostedPolicy::Follow, Some(&listing), 0), expected);
        }
    }

    #[test]
    fn follow_without_knowledge_goes_nowhere() {
        for current in 0..4 {
            assert_eq!(released(HostedPolicy::Follow, None, current), current);
        }
    }

    #[test]
    fn a_database_is_behind_level_or_ahead() {
        let listing = manifest(&["001_a", "002_b"]);
        let state = |listing: Option<&str>, current| {
            let current = Version::new(current).unwrap();
            facts(HostedPolicy::Free, listing)
                .compare(current, Vec::new())
                .state
        };
        assert_eq!(state(Some(&listing), 1), HostedState::Behind);
        assert_eq!(state(Some(&listing), 2), HostedState::Level);
        assert_eq!(state(Some(&listing), 3), HostedState::Ahead);
        assert_eq!(state(None, 3), HostedState::Unknown);
    }
}
