//! A database that follows the hosted service, or only compares itself with it.

use std::time::Duration;

use ctx0_schema::{
    ConfigBuilder, Error, HostedComparison, HostedPolicy, HostedState, SchemaVersionManager,
    UpdateCheck,
};
use ctx0_stack::project::{LONGEST, Project, migrations, version};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{header, method, path},
};

const NAMES: [&str; 3] = ["001_a", "002_b", "003_c"];

/// The manifest of a hosted service with the first of these versions.
fn manifest(versions: usize) -> Value {
    let entries: Vec<_> = (1..)
        .zip(&NAMES[..versions])
        .map(|(version, name)| json!({"version": version, "name": name, "description": "", "file": format!("{name}.sql")}))
        .collect();
    json!({"currentVersion": versions, "migrations": entries})
}

/// The hosted service.
struct Hosted(MockServer);

impl Hosted {
    async fn start() -> Self {
        Self(MockServer::start().await)
    }

    fn url(&self) -> String {
        format!("{}/manifest.json", self.0.uri())
    }

    /// From now on it responds with this.
    async fn says(&self, response: ResponseTemplate) {
        self.0.reset().await;
        Mock::given(method("GET"))
            .and(path("/manifest.json"))
            .respond_with(response)
            .mount(&self.0)
            .await;
    }

    async fn got_no_secret(&self, project: &Project) {
        let requests = self.0.received_requests().await.unwrap();
        assert!(!requests.is_empty());
        for request in requests {
            for name in ["apikey", "authorization", "cookie"] {
                assert!(!request.headers.contains_key(name), "{name}");
            }
            assert!(request.body.is_empty());
            let headers = format!("{:?}", request.headers);
            assert!(!headers.contains(project.stack.service_key()), "{headers}");
        }
    }

    async fn has(&self, versions: usize) {
        self.says(ResponseTemplate::new(200).set_body_json(manifest(versions)))
            .await;
    }
}

fn config(project: &Project, hosted: &Hosted, policy: HostedPolicy) -> ConfigBuilder {
    project
        .config()
        .hosted_manifest(hosted.url())
        .hosted_policy(policy)
}

/// A build with three versions.
fn manager(config: ConfigBuilder) -> SchemaVersionManager {
    let files = NAMES.map(|name| (name, format!("create table public.ctx0_{name} (id int);")));
    SchemaVersionManager::new(
        &config.build().expect("a configuration"),
        migrations(&files),
    )
    .expect("a manager")
}

async fn check(manager: &SchemaVersionManager) -> (Vec<u32>, HostedComparison) {
    let UpdateCheck {
        pending_migrations,
        hosted,
        has_updates,
        problem,
        ..
    } = manager.check_for_updates().await.unwrap();
    assert_eq!(
        (has_updates, problem),
        (!pending_migrations.is_empty(), None)
    );
    let pending = pending_migrations
        .iter()
        .map(|pending| pending.version.get());
    (pending.collect(), hosted.expect("a comparison"))
}

#[tokio::test]
async fn follow_plans_previews_and_applies_nothing_that_the_hosted_service_lacks() {
    let (project, hosted) = (Project::installed().await, Hosted::start().await);
    let manager = manager(config(&project, &hosted, HostedPolicy::Follow));
    hosted.has(2).await;

    let (pending, compared) = check(&manager).await;
    assert_eq!(pending, [1, 2]);
    assert_eq!(
        (compared.version, compared.state),
        (Some(version(2)), HostedState::Behind)
    );
    assert_eq!(
        compared
            .withheld
            .iter()
            .map(|next| next.version.get())
            .collect::<Vec<_>>(),
        [3]
    );
    let preview = manager.preview().budget(LONGEST).await.unwrap();
    assert_eq!(preview.target_version, version(2));
    let report = manager
        .apply_all_pending()
        .agreed_to(preview.token)
        .await
        .unwrap();
    assert_eq!(
        (report.applied, report.current_version),
        (vec![version(1), version(2)], version(2))
    );
    let (pending, compared) = check(&manager).await;
    assert_eq!((pending, compared.state), (vec![], HostedState::Level));
    assert_eq!(manager.apply_all_pending().await.unwrap().applied, []);
    let refused = manager.apply_migration(version(3)).await.unwrap_err().error;
    assert!(
        matches!(refused, Error::Withheld { version: v, .. } if v == version(3)),
        "{refused}"
    );
    // What is there already is no error.
    assert_eq!(
        manager.apply_migration(version(2)).await.unwrap().applied,
        []
    );

    // A preview of what is released no longer is refused.
    hosted.has(3).await;
    let preview = manager.preview().budget(LONGEST).await.unwrap();
    hosted.has(2).await;
    let refused = manager
        .apply_all_pending()
        .agreed_to(preview.token)
        .await
        .unwrap_err()
        .error;
    assert!(matches!(refused, Error::PreviewOutdated), "{refused}");
    assert_eq!(project.ledger().await, [1, 2]);
    hosted.has(3).await;
    assert_eq!(
        manager.apply_all_pending().await.unwrap().applied,
        [version(3)]
    );
    hosted.has(1).await;
    assert_eq!(check(&manager).await.1.state, HostedState::Ahead);
}

#[tokio::test]
async fn free_compares_and_applies_what_this_build_has() {
    let (project, hosted) = (Project::installed().await, Hosted::start().await);
    let manager = manager(config(&project, &hosted, HostedPolicy::Free));
    hosted.has(1).await;
    let (pending, compared) = check(&manager).await;
    assert_eq!(
        (pending, compared.state, compared.withheld),
        (vec![1, 2, 3], HostedState::Behind, vec![])
    );
    manager.apply_all_pending().await.unwrap();
    assert_eq!(check(&manager).await.1.state, HostedState::Ahead);
}

#[tokio::test]
async fn the_hosted_service_gets_no_secret_and_answers_only_what_is_new() {
    let (project, hosted) = (Project::installed().await, Hosted::start().await);
    let manager = manager(config(&project, &hosted, HostedPolicy::Follow));
    let first = ResponseTemplate::new(200)
        .set_body_json(manifest(2))
        .insert_header("etag", "\"v2\"");
    hosted.says(first).await;
    let known = check(&manager).await;
    hosted.got_no_secret(&project).await;
    hosted.0.reset().await;
    Mock::given(header("if-none-match", "\"v2\""))
        .respond_with(ResponseTemplate::new(304))
        .expect(1)
        .mount(&hosted.0)
        .await;
    assert_eq!(check(&manager).await, known);
    hosted.got_no_secret(&project).await;
}

#[tokio::test]
async fn whatever_the_hosted_service_responds_a_check_goes_on_and_nothing_else_runs() {
    let (project, hosted) = (Project::installed().await, Hosted::start().await);
    let json = |value: &Value| ResponseTemplate::new(200).set_body_json(value);
    let body = |text: &str| ResponseTemplate::new(200).set_body_string(text);
    let mut other_name = manifest(3);
    other_name["migrations"][0]["name"] = json!("001_evil");
    other_name["migrations"][0]["file"] = json!("001_evil.sql");
    let mut other_text = manifest(3);
    other_text["migrations"][0]["checksum"] = json!("0".repeat(64));
    let mut outside = manifest(3);
    outside["migrations"][0]["file"] = json!("../../etc/passwd");
    let mut short = manifest(3);
    short["currentVersion"] = json!(99);
    let large = format!("{}{}", manifest(3), " ".repeat(300 * 1024));
    for (response, problem) in [
        (ResponseTemplate::new(404), "status 404"),
        (ResponseTemplate::new(500), "status 500"),
        (ResponseTemplate::new(304), "status 304"),
        (
            ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:9/"),
            "redirects are not followed",
        ),
        (body("<html>\u{1b}[2J"), "not a valid manifest"),
        (body(""), "not a valid manifest"),
        (body(&large), "larger than 256 KiB"),
        (
            ResponseTemplate::new(200).set_body_bytes([0xff, 0xfe]),
            "not UTF-8",
        ),
        (
            json(&json!({"currentVersion": -1, "migrations": []})),
            "currentVersion",
        ),
        (json(&outside), "outside of the manifest's folder"),
        (json(&short), "currentVersion is 99"),
        (
            json(&manifest(3)).set_delay(Duration::from_secs(60)),
            "no response within 5 s",
        ),
        // These can be read, but have other versions than this build.
        (json(&other_name), ""),
        (json(&other_text), ""),
    ] {
        hosted.says(response).await;
        for (policy, expected) in [
            (HostedPolicy::Follow, vec![]),
            (HostedPolicy::Free, vec![1, 2, 3]),
        ] {
            let manager = manager(config(&project, &hosted, policy));
            let (pending, compared) = check(&manager).await;
            assert_eq!(pending, expected, "{problem}");
            let said = compared.problem.unwrap_or_default();
            assert!(said.contains(problem) && !said.contains('\u{1b}'), "{said}");
            assert_eq!(said.is_empty(), problem.is_empty(), "{said}");
        }
        let following = manager(config(&project, &hosted, HostedPolicy::Follow));
        assert_eq!(following.apply_all_pending().await.unwrap().applied, []);
        assert!(project.ledger().await.is_empty());
    }
    let away = project
        .config()
        .hosted_manifest("http://127.0.0.1:1/manifest.json");
    assert!(check(&manager(away)).await.1.problem.is_some());
}

#[tokio::test]
async fn a_manifest_with_more_versions_than_this_build_runs_nothing_of_its_own() {
    let (project, hosted) = (Project::installed().await, Hosted::start().await);
    let mut more = manifest(3);
    let evil = json!({"version": 4, "name": "004_evil", "description": "", "file": "004_evil.sql",
        "sql": "drop schema public cascade", "down": "004_evil.down.sql"});
    more["migrations"].as_array_mut().unwrap().push(evil);
    more["currentVersion"] = json!(4);
    hosted
        .says(ResponseTemplate::new(200).set_body_json(&more))
        .await;
    let manager = manager(config(&project, &hosted, HostedPolicy::Follow));
    assert_eq!(manager.apply_all_pending().await.unwrap().applied.len(), 3);
    assert_eq!(check(&manager).await.1.state, HostedState::Behind);
    assert_eq!(project.ledger().await, [1, 2, 3]);
}

#[tokio::test]
async fn what_was_known_counts_while_the_hosted_service_is_away() {
    let (project, hosted) = (Project::installed().await, Hosted::start().await);
    let manager = manager(config(&project, &hosted, HostedPolicy::Follow));
    hosted.has(1).await;
    assert_eq!(check(&manager).await.0, [1]);
    hosted.says(ResponseTemplate::new(503)).await;
    let (pending, compared) = check(&manager).await;
    assert_eq!((pending, compared.version), (vec![1], Some(version(1))));
    assert_eq!(compared.problem.as_deref(), Some("status 503"));
    assert_eq!(
        manager.apply_all_pending().await.unwrap().applied,
        [version(1)]
    );
}

#[tokio::test]
async fn a_pinned_checksum_accepts_one_manifest_only() {
    let (project, hosted) = (Project::installed().await, Hosted::start().await);
    let pinned = Sha256::digest(manifest(2).to_string());
    let pinned: String = pinned.iter().map(|byte| format!("{byte:02x}")).collect();
    let manager = manager(config(&project, &hosted, HostedPolicy::Follow).hosted_checksum(pinned));
    hosted.has(3).await;
    let (pending, compared) = check(&manager).await;
    assert!(pending.is_empty());
    assert!(
        compared.problem.unwrap().starts_with("its checksum is"),
        "it is another manifest"
    );
    hosted.has(2).await;
    assert_eq!(check(&manager).await.0, [1, 2]);
}
