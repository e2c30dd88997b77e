//! Another client of the database never waits unless the user was warned.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ctx0_stack::project::{GATE, Project};
use tokio::{
    task::JoinHandle,
    time::{interval, sleep},
};

use crate::{
    chromium::Browser,
    daemon::Start,
    project::{self, Folder},
};

#[tokio::test]
async fn another_client_waits_only_during_an_announced_test_and_no_longer_once_it_is_cancelled() {
    let project = project::installed().await;
    project.close_gate().await;
    project
        .sql("create table public.ctx0_notes (id int primary key); alter table public.ctx0_notes enable row level security; notify pgrst, 'reload schema'")
        .await;
    project.stack.reload_schema().await.expect("it is read");
    let lock = format!("alter table public.ctx0_notes add column label text;\n{GATE}");
    let folder = Folder::of(&[("Labels", &lock)]);
    let daemon = Start::on(&project).migrations(&folder).start().await;
    let browser = Browser::start().await;
    let reader = Reader::start(&project);
    reader.reads_on().await;

    // Looking: the migration, if it ran, would hold the table until the gate opens.
    let window = browser.open(&daemon.address).await;
    window.until_state("available").await;
    window.click("View Changes").await;
    window
        .until("text().includes('ctx0 may have to wait')")
        .await;
    window.click("Hide Changes").await;
    window.click("View Changes").await;
    reader.reads_on().await;
    assert!(!is_held(&project).await);

    // Testing, as announced.
    window.click("Test on My Data").await;
    window
        .until("text().includes('Testing on your database')")
        .await;
    project.until(HELD).await;
    window.click("Cancel Test").await;
    window.until("text().includes('Test cancelled.')").await;
    assert!(!is_held(&project).await, "it has ended in the database");
    reader.reads_on().await;

    // Dismissing ends a test as well, and so does closing the window.
    window.click("Test Again").await;
    project.until(HELD).await;
    window.click("Dismiss").await;
    project.until(&format!("not {HELD}")).await;
    reader.reads_on().await;
    let other = browser.open(&daemon.address).await;
    other.click("View Changes").await;
    other.click("Test on My Data").await;
    project.until(HELD).await;
    drop(other);
    project.until(&format!("not {HELD}")).await;
    reader.reads_on().await;

    // Applying, as asked for.
    project.open_gate().await;
    let window = browser.open(&daemon.address).await;
    window.click("Apply Update").await;
    window.until_state("applied").await;
    reader.reads_on().await;
    assert_eq!(project.ledger().await, [1]);
}

/// In SQL: something holds the table against its readers.
const HELD: &str = "exists (select from pg_locks where relation = 'public.ctx0_notes'::regclass and mode = 'AccessExclusiveLock' and granted)";

async fn is_held(project: &Project) -> bool {
    project.value(&format!("select {HELD}")).await == "t"
}

/// Reads a table every 100 ms.
struct Reader {
    read: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Reader {
    fn start(project: &Project) -> Self {
        let address = format!("{}/rest/v1/ctx0_notes?select=id", project.stack.url());
        let key = project.stack.service_key().to_owned();
        let read = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&read);
        let task = tokio::spawn(async move {
            let client = reqwest::Client::new();
            let mut ticks = interval(Duration::from_millis(100));
            loop {
                ticks.tick().await;
                let request = client
                    .get(&address)
                    .header("apikey", &key)
                    .bearer_auth(&key);
                if request
                    .send()
                    .await
                    .is_ok_and(|answer| answer.status().is_success())
                {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Self { read, task }
    }

    /// Waits for five more reads, which do not come while something holds the table.
    async fn reads_on(&self) {
        let wanted = self.read.load(Ordering::SeqCst) + 5;
        while self.read.load(Ordering::SeqCst) < wanted {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}
