//! Many projects: what is printed, the exit codes, and a run that is killed.

use std::fs;

use ctx0_schema::FleetReport;
use ctx0_stack::project::{GATE, Project};
use serde_json::json;

use crate::support::Cli;

/// Waits until the gate of the project is opened.
const GATED: [(&str, &str); 2] = [
    ("001_gated", GATE),
    ("002_table", "create table public.ctx0_table (id int);"),
];

/// Some projects, a folder with `fleet.toml`, and the variables with their keys.
struct Fleet {
    names: Vec<&'static str>,
    projects: Vec<Project>,
    cli: Cli,
}

impl Fleet {
    async fn start() -> Self {
        Self::of(&[("a", "'first'"), ("b", "'rest'"), ("c", "'rest'")]).await
    }

    /// Of projects with these names and groups.
    async fn of(all: &[(&'static str, &str)]) -> Self {
        let mut projects = Vec::new();
        let mut file = String::new();
        for (name, groups) in all {
            let project = Project::installed_on_own_server().await;
            let url = project.stack.url();
            file += &format!(
                "[[projects]]\nname = '{name}'\nurl = '{url}'\nkey_env = 'KEY_OF_{name}'\ngroups = [{groups}]\n"
            );
            projects.push(project);
        }
        let cli = Cli::on(&projects[0]);
        fs::write(cli.path().join("fleet.toml"), file).unwrap();
        let names = all.iter().map(|(name, _)| *name).collect();
        Self {
            names,
            projects,
            cli,
        }
    }

    fn keys(&self) -> Vec<(String, String)> {
        let names = self.names.iter().zip(&self.projects);
        names
            .map(|(name, project)| {
                (
                    format!("KEY_OF_{name}"),
                    project.stack.service_key().to_owned(),
                )
            })
            .collect()
    }

    async fn expect(&self, code: i32, arguments: &[&str]) -> crate::support::Ended {
        let all = [&["fleet"], arguments].concat();
        let ended = self.cli.run_with(&all, |command| {
            command.envs(self.keys());
        });
        let ended = ended.await;
        assert_eq!(
            ended.code, code,
            "{arguments:?}\n{}\n{}",
            ended.out, ended.err
        );
        for (_, key) in self.keys() {
            assert!(!ended.out.contains(&key) && !ended.err.contains(&key));
        }
        ended
    }

    /// The versions that were applied in each project, as often as they were.
    async fn applied(&self) -> Vec<String> {
        let mut all = Vec::new();
        for project in &self.projects {
            let applied = "select string_agg(version::text, ' ' order by version)
                             from ctx0_private.ctx0_schema_attempts where outcome = 'applied'";
            all.push(project.value(applied).await);
        }
        all
    }
}

#[tokio::test]
async fn each_state_of_a_fleet_has_its_exit_code() {
    let fleet = Fleet::start().await;
    let plan = fleet.expect(3, &["plan", "--json"]).await;
    let report = plan.json();
    assert_eq!(report["operation"], "plan");
    assert_eq!(report["projects"].as_array().unwrap().len(), 3);
    assert!(plan.says("a: pending, v0 → v2"), "{}", plan.err);
    let refused = fleet.expect(7, &["apply"]).await;
    assert!(refused.says("--yes"), "{}", refused.err);
    fleet
        .expect(
            0,
            &["apply", "--yes", "--group", "rest", "--markdown", "page.md"],
        )
        .await;
    let page = fs::read_to_string(fleet.cli.path().join("page.md")).unwrap();
    assert!(
        page.contains("# Fleet apply\n\n2 applied.") && page.contains("| b | applied | v0 → v2 |"),
        "{page}"
    );
    fleet.expect(3, &["status"]).await;
    fleet
        .expect(
            0,
            &["apply", "--yes", "--canary", "first", "--concurrency", "1"],
        )
        .await;
    fleet.expect(0, &["status"]).await;
    fleet.expect(0, &["verify"]).await;
    fleet.projects[1]
        .sql("alter table public.ctx0_sessions add column by_hand text")
        .await;
    fleet.expect(4, &["verify"]).await;

    fleet.projects[2]
        .sql("delete from public.ctx0_schema_versions where version = 1")
        .await;
    let failed = fleet.expect(1, &["status"]).await;
    assert!(failed.out.contains("c: failed"), "{}", failed.out);
    fleet.expect(2, &["status", "--file", "nowhere.toml"]).await;
    fleet.expect(2, &["status", "--group", "mars"]).await;
    fleet
        .expect(2, &["status", "--url", "https://example.org"])
        .await;
    fs::write(
        fleet.cli.path().join("key.toml"),
        "[[projects]]\nname = 'a'\nurl = 'https://a.example'\nkey = 'sb_secret_hush'\n",
    )
    .unwrap();
    let refused = fleet.expect(2, &["status", "--file", "key.toml"]).await;
    assert!(
        refused.says("key_env") && !refused.says("hush"),
        "{}",
        refused.err
    );
}

#[tokio::test]
async fn a_run_that_is_killed_goes_on_from_its_report_and_applies_nothing_twice() {
    let fleet = Fleet::start().await;
    let folder = fleet.cli.migrations(&GATED).to_owned();
    for which in 0..3 {
        fleet.projects[which].close_gate().await;
    }
    fleet.projects[0].open_gate().await;
    fleet.projects[2].open_gate().await;
    let apply = [
        "apply",
        "--yes",
        "--allow-data-loss",
        "--budget=100ms",
        "--concurrency=1",
        &folder,
    ];
    let mut killed = fleet.cli.start(
        &[&["fleet"], &apply[..], &["--report=run.jsonl"]].concat(),
        &fleet.keys(),
    );
    let running = "ctx0_private.running() ->> 'held_by' = 'change'";
    fleet.projects[1].until(running).await;
    killed.kill().await.unwrap();
    let lines = fs::read_to_string(fleet.cli.path().join("run.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 2, "{lines}");

    // What the killed run had sent goes on in the database, and the next run may meet it there.
    let resume = [&apply[..], &["--resume=run.jsonl", "--json"]].concat();
    let (resumed, ()) = tokio::join!(fleet.expect(0, &resume), fleet.projects[1].open_gate());
    let report = resumed.json();
    let names: Vec<_> = report["projects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|project| project["name"].clone())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(!resumed.err.contains("a: "), "{}", resumed.err);
    assert_eq!(fleet.applied().await, ["1 2", "1 2", "1 2"]);
    assert_eq!(report["notStarted"], json!([]));
}

/// The script that the guide shows, as it stands there.
fn script_of_the_guide() -> &'static str {
    let page = include_str!("../../src/guide/fleet.md");
    let section = page.split_once("## On several machines").unwrap().1;
    let script = section.split_once("```sh\n").unwrap().1;
    script.split_once("```").unwrap().0
}

#[tokio::test]
async fn groups_share_a_fleet_and_their_reports_are_one() {
    let fleet = Fleet::of(&[
        ("a", "'eu'"),
        ("b", "'us'"),
        ("both", "'eu', 'us'"),
        ("c", "'asia'"),
        ("none", ""),
    ])
    .await;
    let keys = fleet.keys();
    let ended = fleet.cli.run_script(script_of_the_guide(), &keys).await;
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    assert_eq!(fleet.applied().await, ["1 2"; 5]);

    let names = |file: &str| {
        let text = fs::read_to_string(fleet.cli.path().join(file)).unwrap();
        let report = FleetReport::from_lines(&text).unwrap();
        assert!(report.succeeded(), "{report:?}");
        let mut names: Vec<_> = report.projects.into_iter().map(|p| p.name).collect();
        names.sort();
        names
    };
    assert_eq!(names("eu.jsonl"), ["a", "both"]);
    assert_eq!(names("us.jsonl"), ["b", "both"]);
    assert_eq!(names("asia.jsonl"), ["c"]);
    assert_eq!(names("all.jsonl"), ["a", "b", "both", "c", "none"]);
    // What has a report was not begun again.
    let page = fs::read_to_string(fleet.cli.path().join("all.md")).unwrap();
    assert!(page.starts_with("# Fleet apply\n"), "{page}");
    for name in ["a", "b", "both", "c", "none"] {
        assert_eq!(page.matches(&format!("| {name} |")).count(), 1, "{page}");
    }
    let all = fs::read_to_string(fleet.cli.path().join("all.jsonl")).unwrap();
    let lines = all.lines().count();
    // Three runs, five projects, and the one of two groups a second time.
    assert_eq!(lines, 3 + 5 + 1, "{all}");
}

#[tokio::test]
async fn on_a_terminal_each_project_under_way_has_a_line() {
    let fleet = Fleet::start().await;
    let folder = fleet.cli.migrations(&GATED).to_owned();
    for which in 0..3 {
        fleet.projects[which].close_gate().await;
    }
    fleet.projects[0].open_gate().await;
    let keys = fleet.keys();
    let keys: Vec<_> = keys
        .iter()
        .map(|(name, key)| (name.as_str(), key.as_str()))
        .collect();
    let arguments = [
        "fleet",
        "apply",
        "--allow-data-loss",
        "--yes",
        "--budget=100ms",
        &folder,
    ];
    let mut terminal = fleet.cli.terminal_with(100, &arguments, &keys);
    terminal.see("a: applied, v0 → v2").await;
    // What stays in sight while it runs.
    terminal.see("b: v1, statement 1 of 1").await;
    terminal.see("c: v1, statement 1 of 1").await;
    fleet.projects[2].open_gate().await;
    terminal.see("c: applied").await;
    terminal.see("b: v1, statement 1 of 1").await;
    fleet.projects[1].open_gate().await;
    assert_eq!(terminal.end().await, 0, "{}", terminal.text());
    // The lines of what was under way are gone.
    assert!(
        !terminal.text().contains("statement 1 of 1"),
        "{}",
        terminal.text()
    );
    assert!(terminal.text().contains("3 applied"), "{}", terminal.text());
}

/// Runs in a shell in which a file may have so few bytes that the report has room for no project.
#[cfg(unix)]
#[tokio::test]
async fn a_report_that_can_no_longer_be_written_interrupts_nothing_and_loses_no_result() {
    let names: [&'static str; 3] = ["a", "b", "c"].map(|name| &*name.repeat(1500).leak());
    let fleet = Fleet::of(&names.map(|name| (name, ""))).await;
    let script = "trap '' XFSZ; ulimit -f 1; \
                  exec ctx0-schema fleet apply --yes --concurrency 2 --report run.jsonl --json";
    let ended = fleet.cli.run_script(script, &fleet.keys()).await;
    assert_eq!(ended.code, 1, "{}\n{}", ended.out, ended.err);
    assert_eq!(fleet.applied().await, ["1 2", "1 2", ""]);
    let report = ended.json();
    let mut results: Vec<_> = report["projects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|project| (project["name"].as_str().unwrap(), &project["outcome"]))
        .collect();
    results.sort_by_key(|(name, _)| *name);
    let applied = json!("applied");
    assert_eq!(results, [(names[0], &applied), (names[1], &applied)]);
    assert_eq!(report["notStarted"], json!([names[2]]));
    assert_eq!(report["error"]["code"], "io");
    assert!(ended.err.contains("because: "), "{}", ended.err);

    let resumed = fleet.expect(0, &["apply", "--yes", "--resume=run.jsonl", "--json"]);
    assert_eq!(
        resumed.await.json()["projects"].as_array().unwrap().len(),
        3
    );
    assert_eq!(fleet.applied().await, ["1 2", "1 2", "1 2"]);
}

#[tokio::test]
async fn a_page_that_cannot_be_written_is_found_before_any_project_is_begun() {
    let fleet = Fleet::of(&[("a", "")]).await;
    let apply = ["apply", "--yes", "--json", "--markdown=no/such/page.md"];
    let refused = fleet.expect(1, &apply).await;
    assert_eq!(refused.json()["error"]["code"], "io");
    assert!(refused.says("no/such/page.md"), "{}", refused.err);
    assert_eq!(fleet.applied().await, [""]);
}

/// A device that can be opened and is always full.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_page_that_could_not_be_written_at_the_end_loses_no_result() {
    let fleet = Fleet::of(&[("a", "")]).await;
    let apply = ["apply", "--yes", "--json", "--markdown=/dev/full"];
    let ended = fleet.expect(1, &apply).await;
    let report = ended.json();
    assert_eq!(report["projects"][0]["outcome"], "applied");
    assert_eq!(report["error"]["code"], "io");
    assert!(
        ended.says("1 applied") && ended.says("/dev/full"),
        "{}",
        ended.err
    );
}
