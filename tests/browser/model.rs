//! The pure functions of the banner, in the page that uses them.

use ctx0_schema::PreviewRequest;
use serde_json::json;

use crate::{chromium::Browser, daemon::Start};

const TESTS: &str = include_str!("model.js");

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
}
