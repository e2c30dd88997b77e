// The window: a small terminal that hosts the banner.

import { SchemaClient } from "./schema-client.js";
import "./schema-update-banner.js";

const COMMANDS = {
  help: () => "check    look for a newer schema now\nstatus   how the database stands\nchanges  what each version does",
  check: async () => checked(await schema.checkUpdates()),
  status: async () => stands(await schema.status()),
  changes: async () => (await schema.changeLog()).map(({ version, description }) => `v${version}  ${description}`).join("\n"),
};

const CONNECTIONS = { connecting: "connecting…", open: "connected", lost: "the daemon is away" };

const schema = window.schema ?? connect();
const log = document.querySelector("#log");
const command = document.querySelector("#command");

document.querySelector("schema-update-banner").schema = schema;
schema.on("connection", (state) => (document.querySelector("#connection").textContent = CONNECTIONS[state]));
schema.on("schema:updateAvailable", (check) => print(checked(check)));
schema.on("schema:applied", ({ applied }) => applied.length > 0 && print(`applied ${applied.map((v) => `v${v}`).join(", ")}`));
schema.on("schema:error", ({ message }) => print(message));

document.querySelector("#prompt").addEventListener("submit", async (event) => {
  event.preventDefault();
  const typed = command.value.trim();
  command.value = "";
  if (!typed) return;
  print(`› ${typed}`, "typed");
  const run = Object.hasOwn(COMMANDS, typed) ? COMMANDS[typed] : () => `no such command: ${typed}; try help`;
  try {
    print(await run());
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

function print(text, className = "") {
  const line = document.createElement("p");
  line.className = className;
  line.textContent = text;
  log.append(line);
  log.scrollTop = log.scrollHeight;
}
