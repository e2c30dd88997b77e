//! Many projects: each on a database of its own, behind a gateway of its own.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use ctx0_schema::{
    Fleet, FleetConsent, FleetError, FleetEvent, FleetFile, FleetOperation, FleetReport, Progress,
    ProjectOutcome, StopRule, WaitReason,
};
use ctx0_stack::project::{GATE, Project, migrations};
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    sync::{Notify, mpsc},
};

const FILES: [(&str, &str); 2] = [
    (
        "001_notes",
        "create table public.ctx0_notes (id int, label text);\ninsert into public.ctx0_notes values (1, 'one');",
    ),
    ("002_more", "create table public.ctx0_more (id int);"),
];

/// Waits until the gate of the project is opened.
const GATED: [(&str, &str); 2] = [("001_gated", GATE), FILES[1]];

fn consent() -> FleetOperation {
    FleetOperation::Apply(FleetConsent {
        allow_data_loss: false,
        may_lock: false,
        backup_by: None,
        budget: Duration::from_secs(25),
    })
}

/// A line for each project: its name, URL, key and groups.
fn file(projects: &[(&str, &str, &str, &str)]) -> FleetFile {
    let entries = projects.iter().map(|(name, url, key, groups)| {
        format!("[[projects]]\nname = '{name}'\nurl = '{url}'\nkey_command = ['echo', '{key}']\ngroups = [{groups}]\n")
    });
    FleetFile::parse(&entries.collect::<String>()).expect("a fleet file")
}

async fn installed(number: usize) -> Vec<Project> {
    let mut projects = Vec::new();
    for _ in 0..number {
        projects.push(Project::installed_on_own_server().await);
    }
    projects
}

fn of<'p>(
    project: &'p Project,
    name: &'p str,
    groups: &'p str,
) -> (&'p str, &'p str, &'p str, &'p str) {
    (
        name,
        project.stack.url(),
        project.stack.service_key(),
        groups,
    )
}

fn outcomes(report: &FleetReport) -> Vec<(&str, ProjectOutcome)> {
    let mut outcomes: Vec<_> = report
        .projects
        .iter()
        .map(|project| (&*project.name, project.outcome))
        .collect();
    outcomes.sort_by_key(|(name, _)| *name);
    outcomes
}

/// How many times a version was applied in each database.
async fn applied(projects: &[Project]) -> Vec<String> {
    let mut counts = Vec::new();
    for project in projects {
        let count =
            "select count(*) from ctx0_private.ctx0_schema_attempts where outcome = 'applied'";
        counts.push(project.value(count).await);
    }
    counts
}

#[tokio::test]
async fn each_operation_reports_every_project() {
    use ProjectOutcome::{Applied, Drifted, Failed, Pending, Tested, Unchanged, UpToDate};
    let projects = installed(2).await;
    let empty = Project::on_own_server().await;
    let fleet = || {
        let file = file(&[
            of(&projects[0], "a", "'eu'"),
            of(&projects[1], "b", "'eu', 'us'"),
            of(&empty, "c", ""),
        ]);
        Fleet::new(file, migrations(&FILES)).concurrency(2)
    };
    let run = |operation| async { fleet().run(operation).await.unwrap() };

    let report = run(FleetOperation::Status).await;
    assert_eq!(
        outcomes(&report),
        [("a", Pending), ("b", Pending), ("c", Failed)]
    );
    let failure = |report: &FleetReport, name| {
        let project = report
            .projects
            .iter()
            .find(|project| project.name == name)
            .unwrap()
            .clone();
        project.failure.unwrap().code
    };
    assert_eq!(failure(&report, "c"), "rpcNotInstalled");
    assert!(!report.succeeded());
    let report = run(FleetOperation::Plan).await;
    assert_eq!(
        outcomes(&report),
        [("a", Pending), ("b", Pending), ("c", Pending)]
    );
    assert!(
        report
            .projects
            .iter()
            .all(|project| project.versions() == "v0 → v2")
    );
    let report = fleet()
        .group("us")
        .run(FleetOperation::Preview(Duration::from_secs(25)))
        .await
        .unwrap();
    assert_eq!(outcomes(&report), [("b", Tested)]);

    let report = fleet()
        .group("us")
        .group("eu")
        .run(consent())
        .await
        .unwrap();
    assert_eq!(outcomes(&report), [("a", Applied), ("b", Applied)]);
    assert!(report.succeeded());
    let report = fleet()
        .stop_after(StopRule::Never)
        .run(consent())
        .await
        .unwrap();
    assert_eq!(
        outcomes(&report),
        [("a", UpToDate), ("b", UpToDate), ("c", Failed)]
    );
    assert_eq!(applied(&projects).await, ["2", "2"]);

    projects[1]
        .sql("alter table public.ctx0_more add column by_hand int")
        .await;
    let report = run(FleetOperation::Verify).await;
    assert_eq!(
        outcomes(&report),
        [("a", Unchanged), ("b", Drifted), ("c", Failed)]
    );
    assert!(
        report.markdown().contains("public.ctx0\\_more"),
        "{}",
        report.markdown()
    );
    let refused = fleet()
        .group("mars")
        .run(FleetOperation::Plan)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, FleetError::NoSuchGroup { .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_failed_canary_keeps_all_others_as_they_are() {
    let projects = installed(3).await;
    // Its table is there already.
    projects[1]
        .sql("create table public.ctx0_more (id int)")
        .await;
    let file = || {
        file(&[
            of(&projects[0], "a", ""),
            of(&projects[1], "b", "'first'"),
            of(&projects[2], "c", "'first'"),
        ])
    };
    let report = Fleet::new(file(), migrations(&FILES))
        .canary("first")
        .stop_after(StopRule::Never)
        .run(consent())
        .await
        .unwrap();
    assert_eq!(
        outcomes(&report),
        [
            ("b", ProjectOutcome::Failed),
            ("c", ProjectOutcome::Applied)
        ]
    );
    assert_eq!(
        (report.stopped.as_deref(), &report.not_started[..]),
        (Some("a canary has failed"), &["a".to_owned()][..])
    );
    assert!(projects[0].ledger().await.is_empty());
    // The preview has found it, so nothing of it is there.
    assert!(projects[1].ledger().await.is_empty());

    projects[1].sql("drop table public.ctx0_more").await;
    let report = Fleet::new(file(), migrations(&FILES))
        .canary("first")
        .run(consent())
        .await
        .unwrap();
    assert!(report.succeeded(), "{report:?}");
    assert_eq!(applied(&projects).await, ["2", "2", "2"]);
}

#[tokio::test]
async fn data_is_deleted_only_where_that_was_agreed_to() {
    let projects = installed(1).await;
    let file = || file(&[of(&projects[0], "a", "")]);
    Fleet::new(file(), migrations(&FILES))
        .run(consent())
        .await
        .unwrap();
    let files = [
        &FILES[..],
        &[(
            "003_drops",
            "alter table public.ctx0_notes drop column label;",
        )],
    ]
    .concat();
    let report = Fleet::new(file(), migrations(&files))
        .run(consent())
        .await
        .unwrap();
    assert_eq!(outcomes(&report), [("a", ProjectOutcome::Refused)]);
    assert_eq!(projects[0].ledger().await, [1, 2]);
    let agreed = FleetOperation::Apply(FleetConsent {
        allow_data_loss: true,
        may_lock: false,
        backup_by: Some("Ada".to_owned()),
        budget: Duration::from_secs(25),
    });
    let report = Fleet::new(file(), migrations(&files))
        .run(agreed)
        .await
        .unwrap();
    assert_eq!(outcomes(&report), [("a", ProjectOutcome::Applied)]);
}

#[tokio::test]
async fn a_project_that_hangs_holds_up_nobody() {
    let projects = installed(2).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = format!("http://{}", listener.local_addr().unwrap());
    let others_ended = Arc::new(Notify::new());
    let released = Arc::clone(&others_ended);
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        released.notified().await;
        let refusal = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
        connection.write_all(refusal).await.unwrap();
    });
    let key = ctx0_stack::SECRET_KEY;
    let file = file(&[
        ("h", &hangs, key, ""),
        of(&projects[0], "a", ""),
        of(&projects[1], "b", ""),
    ]);
    let ended = Arc::new(Mutex::new(Vec::new()));
    let order = Arc::clone(&ended);
    let report = Fleet::new(file, migrations(&FILES))
        .concurrency(2)
        .configure(|config| {
            config
                .request_timeout(Duration::from_secs(120))
                .retry_deadline(Duration::from_secs(120))
        })
        .on_event(move |event| {
            if let FleetEvent::Finished(project) = event {
                if project.name == "b" {
                    others_ended.notify_one();
                }
                order.lock().unwrap().push(project.name);
            }
        })
        .run(consent())
        .await
        .unwrap();
    assert_eq!(*ended.lock().unwrap(), ["a", "b", "h"]);
    assert_eq!(
        outcomes(&report),
        [
            ("a", ProjectOutcome::Applied),
            ("b", ProjectOutcome::Applied),
            ("h", ProjectOutcome::Failed)
        ]
    );
}

#[tokio::test]
async fn a_run_that_ended_early_goes_on_from_its_report_and_does_nothing_twice() {
    let projects = installed(4).await;
    let names = ["a", "b", "c", "d"];
    let entries: Vec<_> = projects
        .iter()
        .zip(names)
        .map(|(project, name)| of(project, name, ""))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.jsonl");
    let begun = Arc::new(Mutex::new(Vec::new()));
    let fleet = || {
        let begun = Arc::clone(&begun);
        Fleet::new(file(&entries), migrations(&FILES))
            .concurrency(1)
            .on_event(move |event| {
                if let FleetEvent::Started { name } = event {
                    begun.lock().unwrap().push(name);
                }
            })
    };
    // It is dropped while it works on the third project.
    let ends_early = fleet().report_to(&path).run(consent());
    let third = async {
        while begun.lock().unwrap().len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = ends_early => panic!("it was to end early"),
        () = third => {}
    }
    cut_short(&path);
    let refused = fleet().report_to(&path).run(consent()).await.unwrap_err();
    assert!(
        matches!(refused, FleetError::ReportExists { .. }),
        "{refused}"
    );
    let refused = fleet()
        .resume(&path)
        .run(FleetOperation::Plan)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, FleetError::OtherReport { .. }),
        "{refused}"
    );

    begun.lock().unwrap().clear();
    let report = fleet().resume(&path).run(consent()).await.unwrap();
    assert_eq!(*begun.lock().unwrap(), ["c", "d"]);
    assert!(report.succeeded(), "{report:?}");
    assert_eq!(report.projects.len(), 4);
    assert_eq!(applied(&projects).await, ["2", "2", "2", "2"]);
    let read = FleetReport::from_lines(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(
        outcomes(&read),
        names.map(|name| (
            name,
            read.projects
                .iter()
                .find(|p| p.name == name)
                .unwrap()
                .outcome
        ))
    );

    begun.lock().unwrap().clear();
    assert!(
        fleet()
            .resume(&path)
            .run(consent())
            .await
            .unwrap()
            .succeeded()
    );
    assert!(begun.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_last_request_of_a_run_that_was_killed_is_waited_for() {
    let projects = installed(2).await;
    projects[0].close_gate().await;
    projects[1].close_gate().await;
    projects[1].open_gate().await;
    let entries = [of(&projects[0], "a", ""), of(&projects[1], "b", "")];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.jsonl");
    let (told, mut waits) = mpsc::unbounded_channel();
    let fleet = || {
        let told = told.clone();
        Fleet::new(file(&entries), migrations(&GATED))
            .concurrency(1)
            .on_event(move |event| {
                if let FleetEvent::Progress {
                    progress:
                        Progress::Waiting {
                            reason: WaitReason::OtherChange,
                            ..
                        },
                    ..
                } = event
                {
                    told.send(()).unwrap();
                }
            })
    };
    let apply = || {
        FleetOperation::Apply(FleetConsent {
            allow_data_loss: true,
            may_lock: false,
            backup_by: None,
            budget: Duration::from_millis(100),
        })
    };
    let running = "ctx0_private.running() ->> 'held_by' = 'change'";
    tokio::select! {
        _ = fleet().report_to(&path).run(apply()) => panic!("its first project waits"),
        () = projects[0].until(running) => {}
    }

    // It cannot wait for ever.
    let report = fleet()
        .configure(|config| config.apply_deadline(Duration::ZERO))
        .resume(&path)
        .run(apply())
        .await
        .unwrap();
    assert_eq!(outcomes(&report), [("a", ProjectOutcome::Failed)]);
    let failure = report.projects[0].failure.clone().unwrap();
    assert_eq!((&*failure.code, failure.retryable), ("changeRunning", true));

    let open = async {
        waits.recv().await.unwrap();
        let running = format!("select {running}");
        assert_eq!(projects[0].value(&running).await, "t");
        projects[0].open_gate().await;
    };
    let (report, ()) = tokio::join!(fleet().resume(&path).run(apply()), open);
    let report = report.unwrap();
    assert_eq!(
        outcomes(&report),
        [
            ("a", ProjectOutcome::UpToDate),
            ("b", ProjectOutcome::Applied)
        ]
    );
    assert_eq!(
        report.projects[0].message,
        "up to date: another run has applied what was pending"
    );
    assert_eq!(applied(&projects).await, ["2", "2"]);
}

#[tokio::test]
async fn a_project_whose_url_has_changed_is_begun_again() {
    let projects = installed(2).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.jsonl");
    let fleet = |project| Fleet::new(file(&[of(project, "a", "")]), migrations(&FILES));
    let report = fleet(&projects[0]).report_to(&path).run(consent());
    assert!(report.await.unwrap().succeeded());
    for _ in 0..2 {
        let report = fleet(&projects[1]).resume(&path).run(consent());
        let report = report.await.unwrap();
        assert_eq!(outcomes(&report), [("a", ProjectOutcome::Applied)]);
    }
    assert_eq!(applied(&projects).await, ["2", "2"]);
}

/// As a process that is killed while it writes leaves the file.
fn cut_short(path: &Path) {
    let text = fs::read_to_string(path).unwrap() + "{\"name\":\"c\",\"outco";
    fs::write(path, text).unwrap();
}
