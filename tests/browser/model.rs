//! The pure functions of the banner, in the page that uses them.

use ctx0_schema::PreviewRequest;
use serde_json::{Value, json};

use crate::{chromium::Browser, daemon::Start};

const TESTS: &str = include_str!("model.js");
const MESSAGES: &str = include_str!("../../examples/desktop/messages.schema.json");

#[tokio::test]
async fn the_banner_decides_and_words_as_it_should() {
    let daemon = Start::nowhere().start().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    let failures = format!("return (async () => {{ {TESTS} }})();");
    assert_eq!(window.js_alone(&failures, &[]).await, json!([]));
    // The page says how long a test may take before it has asked the daemon anything.
    let seconds = "return import(new URL('banner-view.js', location)).then(({ PREVIEW_SECONDS }) => PREVIEW_SECONDS);";
    assert_eq!(
        window.js_alone(seconds, &[]).await,
        json!(PreviewRequest::DEFAULT_BUDGET.as_secs())
    );
    // Each check of the doctor has a name for the user.
    let messages: Value = serde_json::from_str(MESSAGES).expect("JSON");
    let checks = messages["$defs"]["CheckName"]["oneOf"].as_array();
    let checks = checks.expect("the checks").iter();
    let checks: Vec<_> = checks.map(|check| check["const"].clone()).collect();
    let names = "return import(new URL('banner-view.js', location)).then(({ CHECKS }) => Object.keys(CHECKS));";
    assert_eq!(window.js_alone(names, &[]).await, json!(checks));
}
