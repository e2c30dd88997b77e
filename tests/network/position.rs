//! A migration is seen from other connections while it runs.

use std::sync::Arc;

use ctx0_schema::{Action, Position, Progress, WaitReason};
use ctx0_stack::project::{GATE, migrations};
use tokio::task::JoinHandle;

use crate::support::{Network, Running};

/// A table of about 100 pages, and an index on it that is not built further than to the middle before
/// nobody holds the advisory lock.
const HALF_AN_INDEX: &str = "\
create function public.until_told(id integer) returns integer language plpgsql immutable as $$
begin
  while id = 500 and not pg_try_advisory_lock_shared(42) loop
    perform pg_sleep(0.01);
  end loop;
  return id;
end
$$;
create table public.large as select id, repeat('x', 700) as filler from generate_series(1, 1000) id;

create index large_idx on public.large (public.until_told(id));
";

/// Holds the advisory lock that the index waits for.
struct Held(Arc<Network>, JoinHandle<()>);

impl Held {
    async fn start(network: &Arc<Network>) -> Self {
        let session = Arc::clone(network);
        let task = tokio::spawn(async move {
            // It ends with an error, because its session is terminated.
            let hold = "set application_name = 'holder'; select pg_advisory_lock(42); select pg_sleep(3600)";
            let _ = session.stack.sql(hold).await;
        });
        network
            .until("exists (select from pg_locks where locktype = 'advisory' and objid = 42 and granted)")
            .await;
        Self(Arc::clone(network), task)
    }

    async fn end(self) {
        let ended = "select pg_terminate_backend(pid, 60000)::text from pg_stat_activity where application_name = 'holder'";
        assert_eq!(self.0.value(ended).await, "true");
        self.1.await.expect("no panic");
    }
}

async fn until_seen(run: &mut Running, wanted: impl Fn(&Position) -> bool) {
    run.until(|progress| {
        matches!(progress, Progress::Waiting { position: Some(position), .. } if wanted(position))
    })
    .await;
}

#[tokio::test]
async fn a_statement_is_seen_while_it_runs_by_who_asked_for_it_and_by_everyone_else() {
    let network = Network::start().await;
    let files = migrations(&[(
        "001_long",
        &format!("select 1;\n\n-- Long.\n{GATE}\nselect 3;"),
    )]);
    let manager = network.manager(&files);
    let mut run = Running::start(manager.apply_all_pending());
    let second = |position: &Position| {
        (position.action, position.version.get()) == (Action::Apply, 1)
            && (position.statement, position.statements) == (2, 3)
            && position.line == Some(4)
            && (position.phase.as_deref(), position.percent) == (None, None)
    };
    // Its own request has no response yet.
    until_seen(&mut run, second).await;
    let status = network.manager(&files).status().await.expect("the status");
    assert!(status.locked);
    let position = status.position.expect("a position");
    assert!(second(&position), "{position:?}");

    let other = network.manager(&files).apply_all_pending();
    let mut other = Running::start(other);
    other
        .until(|progress| {
            matches!(progress, Progress::Waiting { reason: WaitReason::OtherChange, position: Some(position), .. }
                if second(position))
        })
        .await;
    network.open_gate().await;
    assert_eq!(run.success().await, (vec![1], 1));
    assert_eq!(other.success().await, (vec![], 1));
    let status = manager.status().await.expect("the status");
    assert_eq!((status.locked, status.position), (false, None));
}

#[tokio::test]
async fn an_index_that_is_being_built_has_a_phase_and_a_percentage() {
    let network = Arc::new(Network::start().await);
    let held = Held::start(&network).await;
    let manager = network.manager(&migrations(&[("001_index", HALF_AN_INDEX)]));
    let mut run = Running::start(manager.apply_all_pending());
    until_seen(&mut run, |position| {
        position.phase.as_deref() == Some("building index: scanning table")
            && position
                .percent
                .is_some_and(|percent| (40..60).contains(&percent))
            && (position.statement, position.statements) == (3, 3)
            && position.line == Some(11)
    })
    .await;
    held.end().await;
    assert_eq!(run.success().await, (vec![1], 1));
}

#[tokio::test]
async fn a_rollback_is_seen_as_well() {
    let network = Network::start().await;
    let manager = network.manager(&migrations(&[("001_a", "select 1;")]));
    assert_eq!(
        Running::start(manager.apply_all_pending()).success().await,
        (vec![1], 1)
    );
    // As if it had been applied with this way down.
    let down = format!("array['select 1;', $down${GATE}$down$]");
    network
        .sql(&format!(
            "update ctx0_private.ctx0_schema_attempts set down_sql = {down}"
        ))
        .await;
    let mut run = Running::start(manager.rollback_to(ctx0_schema::Version::ZERO));
    until_seen(&mut run, |position| {
        (position.action, position.statement, position.line) == (Action::Rollback, 2, None)
    })
    .await;
    network.open_gate().await;
    assert_eq!(run.success().await, (vec![], 0));
}

#[tokio::test]
async fn a_name_that_a_migration_gives_itself_stays_and_hides_where_it_is() {
    let network = Network::start().await;
    let text = format!(
        "set application_name = 'nightly';\n{GATE}\n\
         do $$ begin assert current_setting('application_name') = 'nightly'; end $$;\n\
         reset application_name;\ndelete from public.gate_of_ctx0_tests;\n{GATE}"
    );
    let manager = network.manager(&migrations(&[("001_named", &text)]));
    let mut run = Running::start(manager.apply_all_pending());
    run.until(|progress| {
        matches!(
            progress,
            Progress::Waiting {
                reason: WaitReason::Running,
                position: None,
                ..
            }
        )
    })
    .await;
    network.open_gate().await;
    until_seen(&mut run, |position| position.statement == 6).await;
    network.open_gate().await;
    assert_eq!(run.success().await, (vec![1], 1));
}
