// The window: a small terminal that hosts the banner.

import { SchemaClient } from "./schema-client.js";
import { isHostedUnknown } from "./banner-model.js";
import { PREVIEW_SECONDS, versions, words } from "./banner-view.js";
import "./schema-update-banner.js";

const COMMANDS = {
  help: () => HELP,
  check: async () => checked(await schema.checkUpdates()),
  status: async () => stands(await schema.status()),
  changes: async () => (await schema.changeLog()).map(({ version, description }) => `v${version}  ${description}`).join("\n"),
  preview: (version) => (version === undefined || isVersion(version) ? preview(version) : "Name the version of a rollback to test, for example: preview 1"),
  // The banner asks, and the events tell how it ends.
  rollback: (version) => (isVersion(version) ? void banner.offerRollback(version) : "Name the version to roll back to, for example: rollback 1"),
  verify: async () => verified(await schema.verify()),
};

/** Whether there can be such a version: from 0 to the largest `integer` of PostgreSQL. */
const isVersion = (version) => Number.isInteger(version) && version >= 0 && version < 2 ** 31;

const HELP = `check       check for updates now
status      show what is applied, and when
changes     list what each version does
preview     test the update on your database; preview 1: a rollback to v1
rollback 1  roll back to v1; asks first
verify      check for changes made outside this app`;

const CONNECTIONS = { connecting: "connecting…", open: "connected", lost: "disconnected" };

const banner = document.querySelector("schema-update-banner");
const schema = window.schema ?? connect();
const log = document.querySelector("#log");
const command = document.querySelector("#command");

banner.schema = schema;
schema.on("connection", (state) => (document.querySelector("#connection").textContent = CONNECTIONS[state]));
schema.on("schema:updateAvailable", (check) => print(checked(check)));
schema.on("schema:applied", ({ applied }) => applied.length > 0 && print(`Applied ${versions(applied)}.`));
schema.on("schema:rolledBack", ({ rolledBack }) => rolledBack.length > 0 && print(`Rolled back ${versions(rolledBack)}.`));
schema.on("schema:ahead", (check) => print(checked(check)));
schema.on("schema:error", (error) => print(words(error)));

document.querySelector("#prompt").addEventListener("submit", async (event) => {
  event.preventDefault();
  const typed = command.value.trim();
  command.value = "";
  if (!typed) return;
  print(`› ${typed}`, "typed");
  const [name, version] = typed.split(/\s+/);
  const run = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : () => `Unknown command: ${name}. Type help for a list.`;
  try {
    print(await run(version === undefined ? undefined : Number(version)));
  } catch (error) {
    print(words(error));
  }
});

// Keeps the last line in view when the banner above changes its height.
new ResizeObserver(() => (log.scrollTop = log.scrollHeight)).observe(log);
offerNotifications(document.querySelector("#notifications"));
print("ctx0 is ready. Type help for a list of commands.");

/** The daemon serves this page; the address contains its token. */
function connect() {
  const address = new URL("ipc", location);
  address.protocol = "ws:";
  const client = new SchemaClient(() => new WebSocket(address));
  client.on("connection", async (state) => {
    if (state !== "lost") return;
    const answer = await fetch(location.pathname).catch(() => undefined);
    if (answer?.status !== 403) return;
    // A daemon that was started again has a new token.
    client.close();
    banner.schema = undefined;
    print("The daemon was restarted. Open the address it printed.");
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

function checked({ hasUpdates, currentVersion, latestVersion, pendingMigrations, newer, hosted, problem }) {
  if (hasUpdates) return `The schema is at v${currentVersion}; v${pendingMigrations.at(-1).version} is available.`;
  if (newer) return `The schema is at v${currentVersion}. This app knows v${latestVersion} and can work with it.`;
  if (isHostedUnknown({ hosted })) return `Couldn't ask the hosted service (${hosted.problem}); updates wait until it answers.`;
  if (hosted?.withheld) return `The schema is at v${currentVersion}. v${latestVersion} comes when the hosted service has it.`;
  return problem ? words(problem) : `The schema is up to date (v${currentVersion}).`;
}

function stands({ current_version, server_version, ledger }) {
  const rows = ledger.map(({ version, applied_at, applied_by }) => `v${version}  ${applied_at}  ${applied_by}`);
  return [`The schema is at v${current_version}, on PostgreSQL ${server_version}.`, ...rows].join("\n");
}

async function preview(version) {
  print(`Testing on your database. ctx0 may have to wait for up to ${PREVIEW_SECONDS} seconds…`);
  const { currentVersion, targetVersion, versions: seen } = await schema.preview({ rollbackTo: version });
  if (seen.length === 0) return version === undefined ? `There is nothing to test. ${checked(await schema.checkUpdates())}` : `The database is already at v${currentVersion}: there is nothing to roll back.`;
  const lines = seen.flatMap(({ version, warnings, changes, failure }) => [
    `v${version}${failure ? ` fails: ${failure.message}` : ""}`,
    ...warnings.map(({ message }) => `! ${message}`),
    ...changes.map(({ diff }) => diff.trimEnd()),
  ]);
  return [`v${currentVersion} → v${targetVersion}: nothing was changed.`, ...lines].join("\n");
}

function verified({ state, currentVersion, differences, reason }) {
  if (state === "unchanged") return `No changes outside this app (v${currentVersion}).`;
  return reason ?? ["Changed outside this app:", ...differences.map(({ diff }) => diff.trimEnd())].join("\n");
}

function print(text, className = "") {
  // What an event tells is the answer to a command as well: once is enough.
  if (!text || (!className && log.lastElementChild?.textContent === text)) return;
  const line = document.createElement("p");
  line.className = className;
  line.textContent = text;
  log.append(line);
  log.scrollTop = log.scrollHeight;
}
