//! The preload and the bridge of `examples/desktop/electron`, between a page and the daemon.
//! Electron is played: its two ends, and that only plain values go from one to the other.

use std::collections::BTreeSet;

use ctx0_schema::uninstall_sql;
use serde_json::{Value, json};

use crate::{chromium::Browser, daemon::Start, project};

const PRELOAD: &str = include_str!("../../examples/desktop/electron/preload.cjs");
const CLIENT: &str = include_str!("../../examples/desktop/web/schema-client.js");
const MESSAGES: &str = include_str!("../../examples/desktop/messages.schema.json");
const BRIDGE: &str = include_str!("../../examples/desktop/electron/bridge.mjs");

/// Electron as far as the two need it. Errors lose everything but their message on the way into
/// the page, and objects are copied.
const ELECTRON: &str = r#"
  const handlers = {};
  const heard = new Set();
  const ipcMain = { handle: (channel, handler) => (handlers[channel] = handler) };
  const webContents = {
    send: (channel, ...values) => {
      const copies = structuredClone(values);
      setTimeout(() => [...heard].forEach(([name, listener]) => name === channel && listener({}, ...copies)));
    },
  };
  const ipcRenderer = {
    on: (channel, listener) => heard.add([channel, listener]),
    off: (channel, listener) => heard.forEach((entry) => entry[1] === listener && heard.delete(entry)),
    invoke: async (channel, ...values) => {
      await main;
      return structuredClone(await handlers[channel]({}, ...structuredClone(values)));
    },
  };
  const crossing = (value) => {
    if (typeof value === "function") return (...values) => crossing(value(...values));
    if (value instanceof Promise) return value.then(crossing, (error) => { throw new Error(error.message); });
    return structuredClone(value);
  };
  const contextBridge = {
    exposeInMainWorld: (name, api) => (window[name] = Object.fromEntries(Object.entries(api).map(([key, value]) => [key, crossing(value)]))),
  };
  const require = () => ({ contextBridge, ipcRenderer });
"#;

/// The client, the preload and the daemon know the same methods.
#[test]
fn every_method_of_the_daemon_is_there() {
    let messages: Value = serde_json::from_str(MESSAGES).expect("JSON");
    let results = messages["results"].as_object().expect("the methods");
    let methods: BTreeSet<_> = results
        .keys()
        .map(|method| method.trim_start_matches("schema:"))
        .collect();
    let quoted = |text: &'static str| text.split('"').skip(1).step_by(2);
    let listed = CLIENT.lines().find(|line| line.contains("METHODS = "));
    let client: BTreeSet<_> = quoted(listed.expect("a list")).collect();
    assert_eq!(client, methods);
    let asked = PRELOAD.lines().filter(|line| line.contains(": ask("));
    let preload: BTreeSet<_> = asked.flat_map(quoted).collect();
    assert_eq!(preload, methods);
}

#[tokio::test]
async fn a_page_in_electron_uses_the_same_banner_and_client() {
    let project = project::at_version_1().await;
    let daemon = Start::on(&project).start().await;
    let browser = Browser::start().await;
    let window = browser.window().await;
    let (import, bridge) = BRIDGE.split_once("\";\n").expect("an import");
    assert!(import.ends_with("import { EVENTS, METHODS } from \"../web/schema-client.js"));
    let bridge = bridge.replace("export function", "function");
    let main = format!(
        "const main = import(new URL('schema-client.js', location)).then(({{ EVENTS, METHODS, SchemaClient }}) => {{
           {bridge}
           const address = new URL('ipc', location);
           address.protocol = 'ws:';
           window.client = new SchemaClient(() => new WebSocket(address));
           bridge(window.client, {{ ipcMain, windows: () => [{{ webContents }}] }});
         }});"
    );
    window
        .before_each_page(&format!("{{ {ELECTRON} {main} {{ {PRELOAD} }} }}"))
        .await;
    window.go(&daemon.address).await;
    window
        .until("typeof window.schema?.on === 'function'")
        .await;

    // The page may come too late for the event.
    window.until_state("available").await;
    window.command("changes").await;
    window
        .until("log().includes('Added schema version tracking table')")
        .await;
    // Parameters come over, too.
    window.command("preview 0").await;
    window.until("/v1[^]*ctx0_entries/.test(log())").await;
    window.click("Apply Update").await;
    window.until_state("applied").await;
    assert_eq!(project.ledger().await, [1, 2]);

    let late = "return new Promise((resolve) => schema.on('connection', resolve));";
    assert_eq!(window.js(late, &[]).await, json!("open"));
    let off = "
        let heard = 0;
        const off = schema.on('schema:applied', () => (heard += 1));
        await schema.checkUpdates();
        await new Promise((resolve) => { const other = schema.on('schema:applied', () => { other(); resolve(); }); schema.checkUpdates(); });
        const before = heard;
        off();
        await new Promise((resolve) => { const other = schema.on('schema:applied', () => { other(); resolve(); }); schema.checkUpdates(); });
        return before > 0 && heard === before;";
    assert_eq!(
        window
            .js(&format!("return (async () => {{ {off} }})();"), &[])
            .await,
        json!(true)
    );

    // Of a refusal the words come over.
    project.sql(uninstall_sql()).await;
    project
        .stack
        .reload_schema()
        .await
        .expect("the schema is read again");
    let refused = "return schema.status().catch((error) => error.message);";
    let refused = window.js(refused, &[]).await;
    let message = refused.as_str().expect("a message");
    assert!(message.contains("is not installed"), "{message}");
}
