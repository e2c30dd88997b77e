//! How it looks and reads, whatever it has to say: on a `window.schema` that the test plays.

use serde_json::{Value, json};

use crate::{
    chromium::{Browser, Window},
    daemon::{Daemon, Start},
};

/// Installed by `tests/run`.
const AXE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/target/npm/node_modules/axe-core/axe.min.js"
);

/// `window.schema` with `tell`, which speaks for the daemon.
const PLAYED: &str = "
  const listeners = {};
  window.tell = (event, params) => listeners[event]?.forEach((listener) => listener(params));
  const never = () => new Promise(() => {});
  window.schema = {
    checkUpdates: never, applyUpdates: never, changeLog: never, status: never,
    preview: () => window.seen ? Promise.resolve(window.seen) : never(), cancelPreview: () => Promise.resolve(true), rollback: never, verify: never,
    on(event, listener) { (listeners[event] ??= new Set()).add(listener); return () => listeners[event].delete(listener); },
  };";

#[tokio::test]
async fn in_each_state_and_theme_the_text_has_enough_contrast() {
    let stage = Stage::set().await;
    for theme in ["dark", "light"] {
        stage.window.media(&[("prefers-color-scheme", theme)]).await;
        for scene in scenes() {
            stage.play(&scene).await;
            let weak = stage.window.js(CONTRAST, &[]).await;
            assert_eq!(weak, json!([]), "{theme} {}", scene.name);
            let picture = format!("wide-{theme}-{}", scene.name);
            stage.window.picture(&picture).await;
        }
    }
    stage.window.assert_clean_console().await;
}

#[tokio::test]
async fn the_theme_of_the_system_can_be_overruled() {
    let stage = Stage::set().await;
    stage.tell("schema:updateAvailable", &check(1)).await;
    let back =
        "return getComputedStyle(banner.shadowRoot.querySelector('section')).backgroundColor;";
    let dark = stage.window.js(back, &[]).await;
    stage
        .window
        .js("banner.setAttribute('theme', 'light');", &[])
        .await;
    let light = stage.window.js(back, &[]).await;
    stage
        .window
        .media(&[("prefers-color-scheme", "light")])
        .await;
    stage
        .window
        .js("banner.removeAttribute('theme');", &[])
        .await;
    assert_eq!(stage.window.js(back, &[]).await, light);
    stage
        .window
        .js("banner.setAttribute('theme', 'dark');", &[])
        .await;
    assert_eq!(stage.window.js(back, &[]).await, dark);
    assert_ne!(light, dark);
}

#[tokio::test]
async fn a_window_of_320_pixels_shows_all_of_it_without_scrolling_sideways() {
    let outside = "
        const wider = (part) => part.scrollWidth > part.clientWidth + 1 && getComputedStyle(part).display !== 'inline';
        const cut = (part) => {
          const { left, right } = part.getBoundingClientRect();
          return left < 0 || right > innerWidth || wider(part);
        };
        return [...parts('*').filter(cut).map((part) => part.outerHTML.slice(0, 200)), ...(wider(document.documentElement) ? ['page'] : [])];";
    let stage = Stage::set().await;
    stage.window.size(320, 640).await;
    for theme in ["dark", "light"] {
        stage.window.media(&[("prefers-color-scheme", theme)]).await;
        for scene in scenes() {
            stage.play(&scene).await;
            let outside = stage.window.js(outside, &[]).await;
            assert_eq!(outside, json!([]), "{}", scene.name);
            let picture = format!("narrow-{theme}-{}", scene.name);
            stage.window.picture(&picture).await;
        }
    }
}

#[tokio::test]
async fn at_400_percent_every_button_can_be_reached() {
    let stage = Stage::set().await;
    // A window of 1280 × 1024 pixels.
    stage.window.size(320, 256).await;
    let hidden = "
        return parts('button').filter((part) => {
          part.scrollIntoView({ block: 'center', behavior: 'instant' });
          const { left, top, width, height } = part.getBoundingClientRect();
          const hit = banner.shadowRoot.elementFromPoint(left + width / 2, top + height / 2);
          return hit !== part || left < 0 || left + width > innerWidth;
        }).map((part) => part.textContent);";
    for scene in scenes() {
        stage.play(&scene).await;
        assert_eq!(
            stage.window.js(hidden, &[]).await,
            json!([]),
            "{}",
            scene.name
        );
        stage
            .window
            .picture(&format!("zoomed-{}", scene.name))
            .await;
    }
}

/// The next press of a key must not begin what its button did not say.
#[tokio::test]
async fn the_focus_does_not_move_by_itself_to_what_changes_something() {
    let stage = Stage::set().await;
    let focused = "return banner.shadowRoot.activeElement?.textContent ?? '';";
    let scenes = scenes();
    for scene in scenes.iter().filter(|scene| scene.state == "setup") {
        for before in &scenes[..2] {
            stage.play(before).await;
        }
        stage
            .window
            .js("button('Hide Changes').focus();", &[])
            .await;
        for (event, params) in &scene.reported {
            stage.tell(event, params).await;
        }
        stage.window.until_state(scene.state).await;
        let focus = stage.window.js(focused, &[]).await;
        assert_eq!(focus, json!("×"), "{}", scene.name);
    }
}

#[tokio::test]
async fn axe_finds_nothing_in_any_state() {
    let axe = std::fs::read_to_string(AXE)
        .unwrap_or_else(|error| panic!("{AXE}: {error}: run tests/run, which installs axe-core"));
    let stage = Stage::set().await;
    stage.window.js_alone(&axe, &[]).await;
    let found = "
        return axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
          violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.flat()).join(' ')}`));";
    for theme in ["dark", "light"] {
        stage.window.media(&[("prefers-color-scheme", theme)]).await;
        for scene in scenes() {
            stage.play(&scene).await;
            let found = stage.window.js(found, &[]).await;
            assert_eq!(found, json!([]), "{theme} {}", scene.name);
        }
    }
}

#[tokio::test]
async fn no_text_names_a_function_or_a_command() {
    let stage = Stage::set().await;
    for scene in scenes() {
        stage.play(&scene).await;
        // What is copied into the SQL editor is SQL.
        let said = stage
            .window
            .js(
                "parts('details').forEach((part) => (part.open = false)); return text();",
                &[],
            )
            .await;
        let said = said.as_str().expect("a text");
        for never in ["()", "cargo ", "_sql", "taken back", "way back"] {
            assert!(!said.contains(never), "{}: {said}", scene.name);
        }
    }
}

#[tokio::test]
async fn the_way_out_stays_in_its_corner_in_every_state() {
    let stage = Stage::set().await;
    let corner = "
        const { top, right } = button('Dismiss').getBoundingClientRect();
        const box = parts('section')[0].getBoundingClientRect();
        return [top - box.top, box.right - right];";
    let mut corners = Vec::new();
    for scene in scenes() {
        stage.play(&scene).await;
        corners.push(stage.window.js(corner, &[]).await);
    }
    corners.dedup();
    assert_eq!(corners.len(), 1, "{corners:?}");
}

#[tokio::test]
async fn who_asks_again_sees_that_it_is_being_checked_and_cannot_ask_twice() {
    let stage = Stage::set().await;
    let away = json!({"code": "unreachable", "message": "it is away", "retryable": true});
    stage.tell("schema:error", &away).await;
    stage
        .window
        .js("window.asked = 0; banner.schema.checkUpdates = () => { asked += 1; return new Promise(() => {}); };", &[])
        .await;
    stage.window.click("Check Again").await;
    stage.window.click("Checking…").await;
    let state = "return [asked, button('Checking…').ariaDisabled];";
    assert_eq!(stage.window.js(state, &[]).await, json!([1, "true"]));
    // The daemon's word ends the wait.
    stage.tell("schema:updateAvailable", &check(1)).await;
    assert_eq!(
        stage.window.buttons().await,
        json!(["View Changes", "Apply Update", "Dismiss"])
    );
}

#[tokio::test]
async fn many_versions_and_long_descriptions_scroll_within_the_banner() {
    let stage = Stage::set().await;
    let mut check = check(300);
    let long = "Whatever it takes to say it. ".repeat(200);
    check["pendingMigrations"][0]["description"] = json!(format!("{long}{}", "x".repeat(5_000)));
    stage.tell("schema:updateAvailable", &check).await;
    stage.tell("schema:applyProgress", &started(2, 300)).await;
    stage.window.click("View Changes").await;
    let sizes = "const list = parts('.body')[0]; return [parts('li').length, list.tabIndex, list.clientHeight < innerHeight / 2, list.scrollWidth <= list.clientWidth];";
    assert_eq!(
        stage.window.js(sizes, &[]).await,
        json!([300, 0, true, true])
    );
    stage
        .window
        .until("button('Applying…').getBoundingClientRect().bottom < innerHeight")
        .await;
    stage.window.picture("many").await;

    // What a reader has before the eyes, and what has the focus, stays through the run.
    stage
        .window
        .js(
            "const list = parts('.body')[0]; list.focus(); list.scrollTop = 4_000;",
            &[],
        )
        .await;
    let kept = "
        const list = parts('.body')[0];
        const { top } = list.getBoundingClientRect();
        const first = parts('li').find((item) => item.getBoundingClientRect().bottom > top);
        return [first.textContent, Math.round(first.getBoundingClientRect().top - top), banner.shadowRoot.activeElement.tagName];";
    let before = stage.window.js(kept, &[]).await;
    for version in 1..=3 {
        let started = json!({"event": "started", "version": version, "migration_name": "x", "position": version, "total": 300});
        stage.tell("schema:applyProgress", &started).await;
        stage
            .tell(
                "schema:applyProgress",
                &json!({"event": "applied", "version": version, "executionMs": 4}),
            )
            .await;
    }
    assert_eq!(stage.window.js(kept, &[]).await, before);
    assert_eq!(before[2], json!("DIV"));
}

#[tokio::test]
async fn a_screen_reader_hears_what_happens_and_what_buttons_do() {
    let stage = Stage::set().await;
    stage.tell("schema:updateAvailable", &check(2)).await;
    assert_eq!(
        stage.spoken().await,
        [
            "region ctx0 schema",
            "status ctx0 schema update available (v1 → v3)",
            "button View Changes collapsed",
            "button Apply Update",
            "button Dismiss",
        ]
    );
    stage.tell("schema:applyProgress", &started(2, 2)).await;
    stage.window.click("View Changes").await;
    assert_eq!(
        stage.spoken().await,
        [
            "region ctx0 schema",
            "status Applying v2 (1 of 2)…",
            "progressbar Progress",
            "list Changes",
            "listitem v2: |Adds what version 2 has|in progress…",
            "listitem v3: |Adds what version 3 has",
            "button Hide Changes expanded",
            "button Stop",
            "button Applying… disabled",
            "button Dismiss",
        ]
    );
    let error = json!({"code": "migrationFailed", "message": "it broke", "retryable": false, "applied": []});
    stage.tell("schema:error", &error).await;
    let spoken = stage.spoken().await;
    assert_eq!(
        spoken[..3],
        [
            "region ctx0 schema",
            "status ctx0 schema update failed",
            "alert It broke."
        ]
    );
    // Without anything to say it is not there at all.
    stage.window.click("Dismiss").await;
    assert_eq!(stage.spoken().await, Vec::<String>::new());
}

#[tokio::test]
async fn nothing_moves_for_those_who_asked_for_that() {
    let stage = Stage::set().await;
    let moving = "return banner.shadowRoot.getAnimations().length;";
    stage.tell("schema:applyProgress", &started(2, 2)).await;
    assert_eq!(stage.window.js(moving, &[]).await, json!(1));
    stage.tell("schema:applyProgress", &started(2, 1)).await;
    assert_eq!(stage.window.js(moving, &[]).await, json!(2));
    stage
        .window
        .media(&[("prefers-reduced-motion", "reduce")])
        .await;
    assert_eq!(stage.window.js(moving, &[]).await, json!(0));
}

#[tokio::test]
async fn good_news_stays_a_moment_and_goes() {
    let stage = Stage::set().await;
    // The check after the run finds nothing more, and says so.
    let stays = "
        window.held = undefined;
        const began = performance.now();
        tell('schema:applied', { applied: [2], currentVersion: 2 });
        tell('schema:applied', { applied: [], currentVersion: 2 });
        const said = text();
        return new Promise((resolve) => {
          const gone = () => banner.hasAttribute('state') || resolve([said, performance.now() - began]);
          new MutationObserver(gone).observe(banner, { attributes: true });
        });";
    let stays = stage.window.js(stays, &[]).await;
    assert_eq!(stays[0], json!("● ctx0 schema updated to v2 ×"));
    assert!(stays[1].as_f64() >= Some(5_900.0), "{stays}");
}

#[tokio::test]
async fn good_news_waits_for_a_window_that_is_hidden() {
    let stage = Stage::set().await;
    let hide = "
        Object.defineProperty(document, 'hidden', { configurable: true, get: () => HIDDEN });
        document.dispatchEvent(new Event('visibilitychange'));";
    stage.window.js(&hide.replace("HIDDEN", "true"), &[]).await;
    stage
        .tell(
            "schema:applied",
            &json!({"applied": [2], "currentVersion": 2}),
        )
        .await;
    stage.window.until_state("applied").await;
    assert_eq!(stage.window.js("return held.length;", &[]).await, json!(0));
    stage.window.js(&hide.replace("HIDDEN", "false"), &[]).await;
    assert_eq!(stage.window.js("return held.length;", &[]).await, json!(1));
    stage.window.good_news_goes().await;
}

#[tokio::test]
async fn a_test_is_announced_when_it_begins_and_when_it_ends() {
    let stage = Stage::set().await;
    stage.tell("schema:updateAvailable", &check(3)).await;
    stage
        .window
        .js("banner.schema.preview = () => new Promise((resolve) => (window.finish = resolve)); banner.schema.cancelPreview = () => Promise.resolve();", &[])
        .await;
    stage.window.click("View Changes").await;
    stage.window.click("Test on My Data").await;
    let spoken = stage.spoken().await.join("\n");
    assert!(
        spoken.contains("status Testing on your database"),
        "{spoken}"
    );
    // Seconds are shown, and not spoken one by one.
    assert!(
        !spoken.lines().any(|line| line.ends_with(" 0 s")),
        "{spoken}"
    );
    // What had the focus is gone; the focus has moved on, and can be seen.
    let focus = "const part = banner.shadowRoot.activeElement; return [part.textContent, getComputedStyle(part).outlineStyle];";
    assert_eq!(
        stage.window.js(focus, &[]).await,
        json!(["Cancel Test", "solid"])
    );
    stage.window.js("finish(arguments[0]);", &[seen()]).await;
    stage.window.until("button('Test Again')").await;
    let spoken = stage.spoken().await.join("\n");
    assert!(
        spoken.contains("status This update will fail at v4"),
        "{spoken}"
    );
    // And says why the button does nothing.
    let why = "const main = parts('.primary')[0]; return [main.ariaDisabled, banner.shadowRoot.getElementById(main.getAttribute('aria-describedby')).textContent];";
    assert_eq!(
        stage.window.js(why, &[]).await,
        json!(["true", "Tick “I have made a backup” first."])
    );
    // The next press of a key, meant to cancel, changes nothing.
    assert_eq!(
        stage.window.js(focus, &[]).await,
        json!(["Test Again", "solid"])
    );
}

#[tokio::test]
async fn a_failure_that_was_dismissed_does_not_come_back_each_minute() {
    let stage = Stage::set().await;
    let away = |code: &str| json!({"code": code, "message": "it is away", "retryable": true});
    stage.tell("schema:error", &away("unreachable")).await;
    stage.window.click("Dismiss").await;
    stage.tell("schema:error", &away("unreachable")).await;
    assert_eq!(stage.window.text().await, "");
    stage
        .tell("schema:error", &away("databaseUnavailable"))
        .await;
    stage.window.until_state("unavailable").await;
    stage.window.click("Dismiss").await;
    stage.tell("schema:updateAvailable", &check(1)).await;
    stage.window.until_state("available").await;
}

#[tokio::test]
async fn a_dismissed_run_still_reports_its_end() {
    let stage = Stage::set().await;
    stage.tell("schema:applyProgress", &started(2, 1)).await;
    stage.window.click("Dismiss").await;
    stage
        .tell(
            "schema:applyProgress",
            &json!({"event": "applied", "version": 2, "executionMs": 4}),
        )
        .await;
    assert_eq!(stage.window.text().await, "");
    stage
        .tell(
            "schema:applied",
            &json!({"applied": [2], "currentVersion": 2}),
        )
        .await;
    stage.window.until_state("applied").await;
}

/// A window whose daemon is played.
struct Stage {
    window: Window,
    _browser: Browser,
    _daemon: Daemon,
}

impl Stage {
    async fn set() -> Self {
        let daemon = Start::nowhere().start().await;
        let browser = Browser::start().await;
        let window = browser.window().await;
        window.before_each_page(PLAYED).await;
        window.size(1000, 420).await;
        window.go(&daemon.address).await;
        window.until("banner.schema").await;
        Self {
            window,
            _browser: browser,
            _daemon: daemon,
        }
    }

    async fn tell(&self, event: &str, params: &Value) {
        self.window
            .js(
                "tell(arguments[0], arguments[1]);",
                &[json!(event), params.clone()],
            )
            .await;
    }

    /// Lets the daemon say what belongs to a scene, and opens the changes where there are some.
    async fn play(&self, scene: &Scene) {
        let seen = scene.seen.clone();
        self.window
            .js("window.seen = arguments[0] ?? undefined;", &[seen])
            .await;
        for (event, params) in &scene.reported {
            self.tell(event, params).await;
        }
        self.window.until_state(scene.state).await;
        if self.window.buttons().await[0] == json!("View Changes") {
            self.window.click("View Changes").await;
        }
        if scene.seen != Value::Null {
            self.window.click("Test on My Data").await;
            self.window.until("button('Test Again')").await;
        }
    }

    /// The banner as assistive technology has it: role, name or text, and state.
    async fn spoken(&self) -> Vec<String> {
        let tree = self
            .window
            .devtools("Accessibility.getFullAXTree", json!({}))
            .await;
        let nodes = tree["nodes"].as_array().expect("a tree");
        let node = |id: &Value| {
            nodes
                .iter()
                .find(|node| node["nodeId"] == *id)
                .expect("a node")
        };
        let mut spoken = Vec::new();
        let region = nodes
            .iter()
            .find(|node| node["role"]["value"] == "region" && node["ignored"] == false);
        let mut left: Vec<&Value> = region.into_iter().collect();
        while let Some(next) = left.pop() {
            let role = next["role"]["value"].as_str().unwrap_or_default();
            let children = next["childIds"]
                .as_array()
                .map(|ids| ids.iter().map(node).collect::<Vec<_>>());
            let children = children.unwrap_or_default();
            let mut words = vec![role.to_owned()];
            words.extend(next["name"]["value"].as_str().map(str::to_owned));
            if ["status", "alert", "listitem"].contains(&role) {
                words.truncate(1);
                words.push(read(&children, &node));
            }
            for property in next["properties"].as_array().into_iter().flatten() {
                let (name, value) = (&property["name"], &property["value"]["value"]);
                words.extend(match (name.as_str().expect("a name"), value) {
                    ("disabled", value) if *value == json!(true) => Some("disabled".to_owned()),
                    ("expanded", value) => Some(
                        if *value == json!(true) {
                            "expanded"
                        } else {
                            "collapsed"
                        }
                        .to_owned(),
                    ),
                    _ => None,
                });
            }
            let roles = [
                "region",
                "status",
                "alert",
                "button",
                "progressbar",
                "list",
                "listitem",
            ];
            let line = words.join(" ").trim_end().to_owned();
            if roles.contains(&role)
                && next["ignored"] == false
                && !["status", "alert"].contains(&line.as_str())
            {
                spoken.push(line);
            }
            if !["button", "status", "alert", "listitem"].contains(&role) {
                left.extend(children.into_iter().rev());
            }
        }
        spoken
    }
}

/// The texts below some nodes.
fn read<'a>(nodes: &[&'a Value], node: &impl Fn(&Value) -> &'a Value) -> String {
    let texts = nodes.iter().map(|next| {
        if next["role"]["value"] == "StaticText" {
            return next["name"]["value"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
        }
        let children: Vec<&Value> = next["childIds"]
            .as_array()
            .into_iter()
            .flatten()
            .map(node)
            .collect();
        read(&children, node)
    });
    let texts: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
    texts.join("|")
}

/// What the daemon tells, one after the other, and the state that this leads to.
struct Scene {
    name: &'static str,
    state: &'static str,
    reported: Vec<(&'static str, Value)>,
    /// What a preview shows meanwhile; null while it is being made.
    seen: Value,
}

/// One of each thing that the banner says, in an order in which each one follows the other.
fn scenes() -> Vec<Scene> {
    let scene = |name, state, reported| Scene {
        name,
        state,
        reported,
        seen: Value::Null,
    };
    let error =
        |code: &str, message: &str| json!({"code": code, "message": message, "retryable": true});
    let with = |mut error: Value, name: &str, value: Value| {
        error[name] = value;
        error
    };
    let of_a_run = |error| with(error, "applied", json!([]));
    let problem = |kind: &str, message: &str| {
        let error = with(error(kind, message), "problem", json!({"kind": kind}));
        vec![("schema:error", error)]
    };
    let missing = |code: &str| {
        let line = "create or replace function public.ctx0_apply_migration(p_version int)\n";
        let head = "-- ctx0-schema: lets the ctx0 daemon keep this database up to date.\n";
        let sql = format!("{head}{}", line.repeat(40));
        let error = with(
            error(code, "the functions are missing"),
            "installSql",
            json!(sql),
        );
        vec![("schema:error", of_a_run(error))]
    };
    let step = |event: &str, version: u32, more: &str, value: u32| {
        let step = json!({"event": event, "version": version});
        ("schema:applyProgress", with(step, more, json!(value)))
    };
    let broke = "version 3 failed, nothing of it is left in the database: 003_step.sql, statement 2, line 2: \
                 relation \"public.ctx0_missing\" does not exist (SQLSTATE 42P01); correct what it names, then apply again";
    let builds = json!({
        "event": "waiting", "version": 3, "reason": "running", "waitedMs": 12_400,
        "position": {"action": "apply", "version": 3, "statement": 2, "statements": 3, "line": 7, "versionMs": 12_400,
            "statementMs": 9_000, "phase": "building index: scanning table", "percent": 43},
    });
    let closed = "version 2 cannot run inside a transaction, and nothing runs it outside one (/pg/query responds with status \
                  404, an empty body), so nothing was changed: open /pg/ of a self-hosted installation to the service key, or \
                  set SUPABASE_ACCESS_TOKEN for a hosted project; or agree that the table is locked meanwhile";
    let stopped = json!({"code": "changeCancelled", "message": "stopped", "retryable": false, "applied": [2]});
    let waits = json!({"event": "waiting", "version": 3, "reason": "running", "waitedMs": 12_400});
    let ahead = "the database has schema version 3, this app knows versions up to 2 only: update the app, \
                 the database is fine as it is";
    let gap = "the ledger ctx0_schema_versions has version 2, but lacks 1: add the missing rows there if those \
               changes were made by hand, or else restore a backup";
    vec![
        scene(
            "unavailable",
            "unavailable",
            vec![
                ("connection", json!("open")),
                (
                    "schema:error",
                    error(
                        "unreachable",
                        "the server cannot be reached: check the URL, the network and that Supabase is running",
                    ),
                ),
            ],
        ),
        scene(
            "available",
            "available",
            vec![("schema:updateAvailable", check(3))],
        ),
        Scene {
            name: "seen",
            state: "available",
            reported: vec![(
                "schema:updateAvailable",
                with(
                    {
                        // Another list than before, so it is reviewed again.
                        let mut check = check(3);
                        check["pendingMigrations"][0]["description"] =
                            json!("Tags in place of a label");
                        check
                    },
                    "backup",
                    json!({"level": "recommended", "instructions": "Run\n  pg_dump"}),
                ),
            )],
            seen: seen(),
        },
        Scene {
            name: "lock",
            state: "available",
            reported: vec![(
                "schema:updateAvailable",
                check_outside("Finds notes faster"),
            )],
            seen: seen_outside(json!({
                "way": "transaction", "reason": "/pg/query responds with status 404, an empty body",
                "waits": "writing to ctx0_notes waits about 12 s",
            })),
        },
        Scene {
            name: "beside",
            state: "available",
            reported: vec![(
                "schema:updateAvailable",
                check_outside("Finds notes by title"),
            )],
            seen: seen_outside(json!({"way": "postgresMeta", "reason": null, "waits": null})),
        },
        Scene {
            name: "closed",
            state: "available",
            reported: vec![(
                "schema:updateAvailable",
                check_outside("Finds notes by label"),
            )],
            seen: seen_outside(json!({
                "way": null, "reason": "/pg/query responds with status 404, an empty body", "waits": null,
            })),
        },
        scene(
            "available-again",
            "available",
            vec![("schema:updateAvailable", check(3))],
        ),
        scene(
            "next-way",
            "applying",
            vec![
                ("schema:applyProgress", started(2, 1)),
                (
                    "schema:applyProgress",
                    json!({
                        "event": "nextWay", "version": 2, "way": "transaction",
                        "reason": "/pg/query responds with status 404, an empty body",
                    }),
                ),
            ],
        ),
        scene(
            "needs-lock",
            "failed",
            vec![(
                "schema:error",
                with(
                    of_a_run(error("nothingRunsSql", closed)),
                    "mayLock",
                    json!(true),
                ),
            )],
        ),
        scene(
            "applying",
            "applying",
            vec![
                ("schema:applyProgress", started(2, 3)),
                step("applied", 2, "executionMs", 41),
                (
                    "schema:applyProgress",
                    with(started(3, 3), "position", json!(2)),
                ),
            ],
        ),
        scene("waiting", "applying", vec![("schema:applyProgress", waits)]),
        scene(
            "building",
            "applying",
            vec![("schema:applyProgress", builds)],
        ),
        scene("stopped", "failed", vec![("schema:error", stopped)]),
        scene(
            "failed",
            "failed",
            vec![
                step("failed", 3, "version", 3),
                (
                    "schema:error",
                    with(error("migrationFailed", broke), "applied", json!([2])),
                ),
            ],
        ),
        scene("setup", "setup", missing("rpcNotInstalled")),
        scene("setup-again", "setup", missing("rpcOutdated")),
        scene(
            "rollback-failed",
            "rollbackFailed",
            vec![(
                "schema:error",
                with(error("migrationFailed", broke), "rolledBack", json!([4])),
            )],
        ),
        scene(
            "rolled-back",
            "rolledBack",
            vec![(
                "schema:rolledBack",
                json!({"rolledBack": [3, 2], "currentVersion": 1}),
            )],
        ),
        scene("ahead", "ahead", problem("databaseAhead", ahead)),
        scene(
            "newer",
            "newer",
            vec![(
                "schema:ahead",
                json!({
                    "hasUpdates": false, "currentVersion": 3, "latestVersion": 2, "pendingMigrations": [],
                    "newer": [{"version": 3, "migration_name": "003_labels", "description": "Added labels"}],
                }),
            )],
        ),
        scene("problem", "problem", problem("gap", gap)),
        scene(
            "current",
            "current",
            vec![(
                "schema:applied",
                json!({"applied": [], "currentVersion": 2}),
            )],
        ),
        scene(
            "applied",
            "applied",
            vec![(
                "schema:applied",
                json!({"applied": [2], "currentVersion": 2}),
            )],
        ),
        scene(
            "reconnecting",
            "reconnecting",
            vec![("connection", json!("lost"))],
        ),
    ]
}

/// A preview of the versions 2 to 4, of which the last would fail.
fn seen() -> Value {
    let version = |version: u32, more: Value| {
        let mut seen = json!({
            "version": version, "warnings": [], "changes": [], "rows": [], "unseen": [], "failure": null,
            "state": {"kind": "tested"},
        });
        seen.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        seen
    };
    let diff = "--- table public.ctx0_entries\n+++ table public.ctx0_entries\n@@ -1,3 +1,3 @@\n column id uuid not null\n\
                -column label text\n+column tags text[] not null default '{}'::text[]\n";
    json!({
        "token": "seen",
        "versions": [
            version(2, json!({
                "warnings": [
                    {"kind": "dataLost", "message": "deletes the column label of ctx0_entries and the data in it"},
                    {"kind": "rewritten", "message": "rewrites ctx0_entries (101 MB)"},
                ],
                "changes": [{"diff": diff}],
            })),
            version(3, json!({})),
            version(4, json!({"state": {"kind": "failed"}, "failure": {"message": "relation \"ctx0_missing\" does not exist"}})),
        ],
        "backup": {
            "level": "required",
            "instructions": "On ctx0.example.org, in the folder of Supabase's docker-compose.yml, run\n  docker compose exec -T db \
                             pg_dump --username=postgres --format=custom postgres > ctx0-backup.dump",
        },
    })
}

/// A preview of version 2, which cannot run inside a transaction.
fn seen_outside(how: Value) -> Value {
    json!({
        "token": "seen", "backup": null,
        "versions": [{
            "version": 2, "warnings": [], "rows": [], "unseen": [], "failure": null, "state": {"kind": "tested"}, "outside": how,
            "changes": [{"diff": "--- table public.ctx0_notes\n+++ table public.ctx0_notes\n@@ -3 +3,2 @@\n column title text\n+index ctx0_notes_title_idx btree (title)\n"}],
        }],
    })
}

/// A check that found a version that runs outside a transaction.
fn check_outside(description: &str) -> Value {
    let mut check = check(1);
    check["pendingMigrations"][0]["description"] = json!(description);
    check["pendingMigrations"][0]["outside"] = json!(true);
    check
}

/// A check that found this many versions after the first.
fn check(pending: u32) -> Value {
    let versions: Vec<_> = (2..2 + pending)
        .map(|version| {
            json!({
                "version": version, "migration_name": format!("{version:03}_step"),
                "description": format!("Adds what version {version} has"),
            })
        })
        .collect();
    json!({"hasUpdates": true, "currentVersion": 1, "latestVersion": 1 + pending, "pendingMigrations": versions})
}

fn started(version: u32, total: u32) -> Value {
    json!({"event": "started", "version": version, "migration_name": "002_step", "position": 1, "total": total})
}

/// The parts whose text is weaker against its ground than WCAG AA allows (4.5 : 1).
const CONTRAST: &str = r#"
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  const light = (color) => channels(color).slice(0, 3)
    .map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (part) => {
    const color = getComputedStyle(part).backgroundColor;
    if (channels(color)[3] !== 0) return color;
    return ground(part.parentElement ?? part.getRootNode().host);
  };
  const weak = [];
  for (const part of parts("*")) {
    if (![...part.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim())) continue;
    const [text, back] = [getComputedStyle(part).color, ground(part)].map(light);
    const ratio = (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
    if (!(ratio >= 4.5)) weak.push(`${part.className || part.tagName} ${ratio.toFixed(2)}`);
  }
  return weak;
"#;
