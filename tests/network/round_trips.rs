//! What each operation costs on the wire. At a distance the round trips are what counts.

use std::time::Duration;

use ctx0_schema::{Config, Migrations, SchemaVersionManager, Version};
use ctx0_stack::distance::{Counts, Distance};
use ctx0_stack::project::{Project, migrations, version};

/// A project, and the way to it.
struct Far {
    project: Project,
    distance: Distance,
}

impl Far {
    async fn installed() -> Self {
        let project = Project::installed().await;
        let upstream = project.stack.url().trim_start_matches("http://");
        let distance = Distance::start(upstream, Duration::ZERO).await;
        let distance = distance.expect("it listens");
        Self { project, distance }
    }

    fn manager(&self, migrations: Migrations) -> SchemaVersionManager {
        let url = format!("http://{}", self.distance.address());
        let config = Config::new(&url, self.project.stack.service_key());
        let config = config.expect("a valid configuration");
        SchemaVersionManager::new(&config, migrations).expect("a manager")
    }

    /// Connections and round trips since the last time, which took no more than these bytes.
    fn cost(&self, sent: usize, received: usize) -> (usize, usize) {
        let counts = self.distance.take_counts();
        let Counts {
            connections,
            round_trips,
            ..
        } = counts;
        assert!(
            counts.sent <= sent && counts.received <= received,
            "at most {sent} and {received} bytes, not {counts:?}"
        );
        (connections, round_trips)
    }
}

fn versions(count: usize) -> Migrations {
    let files: Vec<_> = (1..=count)
        .map(|number| {
            let sql = format!("create table public.ctx0_{number} (id int);");
            (format!("{number:03}_a"), sql)
        })
        .collect();
    migrations(&files)
}

#[tokio::test]
async fn an_operation_takes_the_fewest_round_trips_on_a_connection_that_is_kept() {
    let far = Far::installed().await;
    let manager = far.manager(versions(3));

    manager.check_for_updates().await.unwrap();
    assert_eq!(far.cost(700, 500), (1, 1), "a cold check");
    manager.check_for_updates().await.unwrap();
    assert_eq!(far.cost(700, 500), (0, 1), "a warm check");
    manager.preview().await.unwrap();
    assert_eq!(far.cost(3_000, 10_000), (0, 2), "a preview");
    manager.apply_all_pending().await.unwrap();
    assert_eq!(far.cost(4_000, 2_500), (0, 2), "an apply of three versions");
    manager.apply_all_pending().await.unwrap();
    assert_eq!(far.cost(700, 2_000), (0, 1), "an apply of nothing");
    manager.verify().await.unwrap();
    assert_eq!(far.cost(900, 700), (0, 1), "a verification");

    let manager = far.manager(versions(5));
    manager.apply_all_pending().await.unwrap();
    assert_eq!(
        far.cost(4_500, 4_000),
        (1, 3),
        "two versions on a database in use"
    );
    let manager = far.manager(versions(6));
    manager.apply_migration(version(6)).await.unwrap();
    assert_eq!(far.cost(2_500, 3_500), (1, 2), "one version");
}

#[tokio::test]
async fn a_rollback_is_one_request_to_plan_and_one_for_each_version() {
    let far = Far::installed().await;
    let manager = far.manager(Migrations::bundled().unwrap());
    manager.apply_all_pending().await.unwrap();
    far.distance.take_counts();
    manager.preview_rollback(Version::ZERO).await.unwrap();
    assert_eq!(far.cost(3_000, 30_000), (0, 2), "a preview of two versions");
    manager.rollback_to(Version::ZERO).await.unwrap();
    assert_eq!(far.cost(3_500, 5_000), (0, 3), "two versions");
}

/// A ledger grows by a row for each version, and is read at each check.
#[tokio::test]
async fn a_check_against_a_ledger_of_hundreds_of_rows_stays_one_request() {
    let far = Far::installed().await;
    let manager = far.manager(versions(500));
    manager.apply_all_pending().await.unwrap();
    far.distance.take_counts();
    manager.check_for_updates().await.unwrap();
    assert_eq!(far.cost(700, 500 * 350), (0, 1));
}
