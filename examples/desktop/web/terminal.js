// The window: a small terminal that hosts the banner.

import { SchemaClient } from "./schema-client.js";
import "./schema-update-banner.js";

const COMMANDS = {
  help: () => HELP,
  check: async () => checked(await schema.checkUpdates()),
  status: async () => stands(await schema.status()),
  changes: async () => (await schema.changeLog()).map(({ version, description }) => `v${version}  ${description}`).join("\n"),
  preview: async (version) => seen(await schema.preview({ rollbackTo: version })),
  // How it ends is told by the events.
  rollback: async (version) => void (await schema.rollback({ version })),
  verify: async () => verified(await schema.verify()),
};

const HELP = `check       look for a newer schema now
status      how the database stands
changes     what each version does
preview     what an update would change; preview 1: what taking back to v1 would
rollback 1  take the database back to v1
verify      whether somebody else has changed the schema`;

const CONNECTIONS = { connecting: "connecting…", open: "connected", lost: "the daemon is away" };

const schema = window.schema ?? connect();
const log = document.querySelector("#log");
const command = document.querySelector("#command");

document.querySelector("schema-update-banner").schema = schema;
schema.on("connection", (state) => (document.querySelector("#connection").textContent = CONNECTIONS[state]));
schema.on("schema:updateAvailable", (check) => print(checked(check)));
schema.on("schema:applied", ({ applied }) => applied.length > 0 && print(`applied ${applied.map((v) => `v${v}`).join(", ")}`));
schema.on("schema:rolledBack", ({ rolledBack }) => print(`took back ${rolledBack.map((v) => `v${v}`).join(", ")}`));
schema.on("schema:error", ({ message }) => print(message));

document.querySelector("#prompt").addEventListener("submit", async (event) => {
  event.preventDefault();
  const typed = command.value.trim();
  command.value = "";
  if (!typed) return;
  print(`› ${typed}`, "typed");
  const [name, version] = typed.split(/\s+/);
  const run = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : () => `no such command: ${name}; try help`;
  try {
    print(await run(version && Number(version)));
  } catch (error) {
    print(error.message);
  }
});

// The last line stays in sight when the banner above takes or leaves room.
new ResizeObserver(() => (log.scrollTop = log.scrollHeight)).observe(log);
offerNotifications(document.querySelector("#notifications"));
print("ctx0 is ready. Type help for what it can do.");

/** The daemon is where this page came from; its address holds the key to it. */
function connect() {
  const address = new URL("ipc", location);
  address.protocol = "ws:";
  const client = new SchemaClient(() => new WebSocket(address));
  client.on("connection", async (state) => {
    if (state !== "lost") return;
    const answer = await fetch(location.pathname).catch(() => undefined);
    if (answer?.status !== 403) return;
    // Another start of the daemon has another key.
    client.close();
    document.querySelector("schema-update-banner").schema = undefined;
    print("The daemon was started again. Open the address that it printed.");
  });
  return client;
}

function offerNotifications(button) {
  button.hidden = globalThis.Notification?.permission !== "default";
  button.addEventListener("click", async () => {
    await Notification.requestPermission();
    button.hidden = true;
  });
}

function checked({ hasUpdates, currentVersion, latestVersion, problem }) {
  if (hasUpdates) return `schema v${currentVersion}, v${latestVersion} is available`;
  return problem?.message ?? `schema v${currentVersion}, up to date`;
}

function stands({ current_version, server_version, ledger }) {
  const rows = ledger.map(({ version, applied_at, applied_by }) => `v${version}  ${applied_at}  ${applied_by}`);
  return [`schema v${current_version}, PostgreSQL ${server_version}`, ...rows].join("\n");
}

function seen({ currentVersion, targetVersion, versions }) {
  const lines = versions.flatMap(({ version, warnings, changes, failure }) => [
    `v${version}${failure ? ` would fail: ${failure.message}` : ""}`,
    ...warnings.map(({ message }) => `! ${message}`),
    ...changes.map(({ diff }) => diff.trimEnd()),
  ]);
  return [`schema v${currentVersion} → v${targetVersion}, nothing was changed`, ...lines].join("\n");
}

function verified({ state, currentVersion, differences, reason }) {
  if (state === "unchanged") return `schema v${currentVersion}, as it was left`;
  return reason ?? ["not as it was left:", ...differences.map(({ diff }) => diff.trimEnd())].join("\n");
}

function print(text, className = "") {
  if (!text) return;
  const line = document.createElement("p");
  line.className = className;
  line.textContent = text;
  log.append(line);
  log.scrollTop = log.scrollHeight;
}
