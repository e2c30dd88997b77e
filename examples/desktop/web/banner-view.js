// What the banner shows, and in which words. Pure: a model in, plain values out.

import { backupAdvice, canAdopt, canDiagnose, canInstall, cannotRun, isThere, lacksBackup, lockConsent, mayRollBack, offer, recognised, tested } from "./banner-model.js";

/** How long a preview may take, in seconds: `PreviewRequest::DEFAULT_BUDGET`, as a test checks. */
export const PREVIEW_SECONDS = 5;

/** What is shown for a model: texts, the list, and which buttons there are. */
export function view(model) {
  if (model.dismissed) return { state: "", buttons: {} };
  const { view: shown, diagnosis } = model;
  const says = STATES[shown.state](shown, model);
  const current = offer(model);
  const list = items(model);
  const question = model.asking ? "The test is still running. Apply the update without it?" : "";
  const isTesting = model.preview?.state === "running";
  const backup = backup_(model);
  const adoption = adopts(model);
  const consent = adoption ?? consents(model);
  const summary = question ? { text: question, tone: "warning" } : diagnosis ? found(diagnosis) : summarize(model);
  return {
    ...says,
    state: shown.state,
    alert: says.alert ?? NOTICES[model.notice],
    list,
    listName: diagnosis ? "What was found" : "Changes",
    expanded: list.length > 0 && (model.expanded || diagnosis !== undefined),
    explanation: current && !model.preview && (model.expanded || shown.state === "rollback") ? explain(current) : "",
    clock: clock(model),
    summary,
    backup,
    /** What the user agrees to with the button `locking` or `adopt`. */
    consent: consent?.text,
    buttons: {
      toggle: list.length > 0 && !diagnosis && (model.expanded ? "Hide Changes" : "View Changes"),
      test: testButton(model, current),
      cancel: shown.state === "applying" ? !shown.isStopping && "Stop" : isTesting && !model.asking && !model.preview.isCancelled && "Cancel Test",
      copy: says.copies && "Copy Script",
      diagnose: canDiagnose(model) && ({ running: "Looking…", done: "Look Again", error: "Look Again" }[diagnosis?.state] ?? "Find the Cause"),
      untested: model.asking && "Apply Without Testing",
      keep: model.asking && "Keep Testing",
      adopt: adoption?.button,
      locking: !model.asking && !adoption && consent?.button,
      primary: !model.asking && primary(model, says),
    },
    /** Why the main button does nothing now. */
    blocked: blocked(model, backup),
    /** Whether the main button is what most people should press. */
    isDefault: !tested(model)?.versions.some(fails) && !isTesting && !consent && !cannotRun(model),
  };
}

/** The texts of each state. */
const STATES = {
  "": () => ({}),
  available: (_, { check }) => ({
    title: `ctx0 schema update available (v${check.currentVersion} → v${check.pendingMigrations.at(-1).version})`,
    primary: "Apply Update",
  }),
  rollback: ({ version }, model) => (isThere(model)
    ? { title: `The database is already at v${version}` }
    : { title: `Roll back the ctx0 schema to v${version}?`, primary: "Roll Back" }),
  applying: ({ action, version, position, total, waiting, nextWay, isStopping, stop }) => ({
    alert: stop && STOPS[stop.outcome](stop),
    title: isStopping ? `Stopping${version ? ` v${version}` : ""}…` : version
      ? `${action === "rollback" ? "Rolling back" : "Applying"} v${version} (${position} of ${total})…`
      : `${action === "rollback" ? "Rolling back the ctx0 schema" : "Applying ctx0 schema update"}…`,
    detail: [nextWay && goesOn(nextWay), waiting && waits(waiting)].filter(Boolean).join("\n"),
    primary: action === "rollback" ? "Rolling Back…" : "Applying…",
    bar: bar(position, total, waiting),
  }),
  applied: ({ currentVersion }) => ({ title: `ctx0 schema updated to v${currentVersion}` }),
  rolledBack: ({ currentVersion }) => ({ title: `ctx0 schema rolled back to v${currentVersion}` }),
  rollbackFailed: ({ error }) => ({
    title: error.code === "changeCancelled" ? "ctx0 schema rollback stopped" : "ctx0 schema rollback failed",
    alert: words(error),
    detail: error.rolledBack.length > 0 && `${versions(error.rolledBack)} ${were(error.rolledBack)} rolled back before that.`,
  }),
  outdated: ({ busy }) => ({
    title: "This update has changed since you reviewed it",
    detail: "Nothing was changed. Review what is new, then apply it.",
    primary: busy ? "Checking…" : "Review Again",
  }),
  drifted: ({ differences }) => ({
    title: "Someone changed the ctx0 tables outside this app",
    detail: `Changed: ${differences.map(({ name }) => short(name)).join(", ")}. If that was you, no action is needed, but a later update may fail.`,
  }),
  current: ({ currentVersion }) => ({
    title: currentVersion ? `ctx0 schema is up to date (v${currentVersion})` : "ctx0 schema is up to date",
  }),
  failed: ({ error }) => ({
    title: error.code === "changeCancelled" ? "ctx0 schema update stopped" : "ctx0 schema update failed",
    alert: words(error),
    detail: error.applied.length > 0 && `${versions(error.applied)} ${were(error.applied)} applied and ${error.applied.length === 1 ? "stays" : "stay"} in place.`,
    primary: "Try Again",
  }),
  setup: (shown) => (canInstall(shown) ? install(shown) : paste(shown)),
  unavailable: ({ error, busy, unfinished }) => ({
    title: error.code === "hostedUnknown" ? "ctx0 updates wait for the hosted service" : error.retryable ? "Can't reach the ctx0 database" : "Can't check the ctx0 schema",
    detail: [unfinished && `Whether the ${unfinished === "rollback" ? "rollback" : "update"} finished isn't known yet.`, words(error)].filter(Boolean).join("\n"),
    primary: busy ? "Checking…" : "Check Again",
  }),
  newer: ({ currentVersion, latestVersion }) => ({
    title: `A newer app has updated your ctx0 database (v${currentVersion}; this app knows v${latestVersion})`,
    detail: "You can go on working here. Update this app when you have time.",
  }),
  ahead: ({ error }) => ({ title: "The ctx0 database is newer than this app", detail: words(error) }),
  problem: ({ error, busy }) => ({
    title: "The ctx0 database doesn't match this app",
    detail: words(error),
    primary: busy ? "Checking…" : "Check Again",
  }),
  reconnecting: () => ({ title: "Disconnected from ctx0. Reconnecting…" }),
};

/** The setup with one click. */
const install = ({ setup, busy, error }) => ({
  title: setup.code === "rpcNotInstalled" ? "One-time setup for ctx0" : "ctx0 needs its setup again",
  alert: error && words(error),
  detail: "ctx0 adds its own functions to your database, and changes none of your data.",
  script: setup.installSql,
  primary: busy ? "Installing…" : error ? "Try Again" : "Install",
});

/** The setup where the script must be pasted. */
const paste = ({ setup, busy }) => ({
  title: setup.code === "rpcOutdated" ? "ctx0 needs its setup script again" : "One-time setup for ctx0",
  detail: `ctx0 can't install its functions by itself here. Copy the setup script, run all of it in ${editor(setup)}, then click Continue. It changes none of your data.`,
  script: setup.installSql,
  copies: true,
  primary: busy ? "Checking…" : "Continue",
});

const editor = ({ editorUrl }) => (editorUrl ? `the SQL editor at ${editorUrl}` : "the SQL editor of your Supabase dashboard");

/** Names of the ways to run a step outside a transaction, in a sentence. */
const WAYS = { postgresMeta: "the SQL interface of your server", managementApi: "the Management API", pgCron: "a job of the database" };

/** That one way is closed, and which one is taken instead. */
function goesOn({ version, way, reason }) {
  const why = `(${plain(reason)})`;
  return way === "transaction"
    ? `v${version} can't run beside the app here ${why}. Writing to its table waits until it is done.`
    : `v${version} runs through ${WAYS[way] ?? way} instead ${why}.`;
}

const WAITING = {
  running: "This step is still running in your database",
  otherChange: "Waiting for another update to finish",
  preview: "Waiting for a test of another window to end",
  functionsMissing: "ctx0's functions aren't in the database yet. Trying again…",
  noResponse: "Waiting for the server…",
  tableInUse: "A table is in use. Trying again…",
};

/** What is waited for, and where it is. */
function waits({ reason, position }) {
  if (!position) return WAITING[reason] ?? "Waiting…";
  const { version, statement, statements, phase, percent } = position;
  const step = statement === 0 ? "Finishing" : `Step ${statement} of ${statements}`;
  const counted = typeof percent === "number" ? ` (${percent} %)` : "";
  const at = `${step}${phase ? `: ${phase}` : ""}${counted}`;
  return reason === "running" ? at : `${WAITING[reason] ?? "Waiting"} (v${version}, ${decapitalize(at)})`;
}

/** Why an update that was to be stopped goes on. */
const STOPS = {
  notPermitted: ({ process }) =>
    `Your database doesn't let ctx0 stop the running step. It ends before the next one, or an administrator runs: select pg_cancel_backend(${process});`,
  requested: () => "The running step doesn't stop by itself. It ends before the next one.",
  failed: () => "Couldn't ask the database to stop it. Try again.",
};

const NOTICES = {
  backupRequired: "Back up your database before applying.",
  changeRunning: "An update is in progress. Try again when it finishes.",
};

/** Errors whose text in the library is for developers. */
const PLAIN = {
  previewOutdated: "This update has changed since you reviewed it. Review it again.",
  backupRequired: "Back up your database first.",
  changeRunning: "An update or a test is in progress. Try again when it finishes.",
  notBelow: "The database isn't above that version, so there is nothing to roll back.",
  rpcNotInstalled: "One-time setup needed: ctx0's functions aren't in your database.",
  rpcOutdated: "ctx0 needs its setup again: the functions in your database are older than this app.",
  permissionDenied: "ctx0 isn't allowed to do this. Check that it uses the service_role key, and install its functions again.",
  notServed: "The functions are installed, but Supabase doesn't serve them yet. Restart its rest service, then try again.",
  tls: "No secure connection: the server's certificate isn't trusted or belongs to another host. Check the project URL and, for a private certificate authority, its CA file.",
  notRecognised: "Your tables have changed since they were compared. Compare them again.",
  changeCancelled: "The step that was running was undone. Nothing of it was changed.",
  disconnected: "The connection to ctx0 was lost before it answered.",
};

/** An error as a user reads it. */
export function words({ code, message }) {
  return PLAIN[code] ?? stopped(sentence(message));
}

/** What can be done about tables that no version is recorded for. */
function adopts(model) {
  if (!canAdopt(model)) return undefined;
  const { adoption, check } = model;
  const found = check.unrecorded.length;
  const there = `This database already has ctx0 tables that no version is recorded for (${found} ${found === 1 ? "object" : "objects"}).`;
  if (!adoption) return { text: `${there} Find out which version they are, so that the update fits.`, button: "Find Their Version" };
  if (adoption.state === "error") return { text: `${there} ${stopped(sentence(words(adoption.error)))}`, button: "Try Again" };
  if (adoption.state === "comparing") return { text: "Comparing your tables with each version. This may take up to 25 seconds…", button: "Comparing…" };
  const version = recognised(model);
  if (version === undefined) return { text: `${there} ${closest(adoption.result)} The update may fail over them.`, button: "Compare Again" };
  return {
    text: `This database already has the tables of version ${version}. Record it as version ${version}: nothing in the tables changes.`,
    button: adoption.state === "recording" ? "Recording…" : `Record as v${version}`,
  };
}

/** The version that the tables are most like. */
function closest({ versions: compared }) {
  const differing = compared.filter(({ likeness }) => likeness.kind === "different").sort((a, b) => a.likeness.objects - b.likeness.objects);
  if (differing.length === 0) return "They couldn't be compared with any version.";
  const unseen = compared.filter(({ likeness }) => likeness.kind === "notCompared").map(({ version }) => version);
  // One of these may be the version, so the closest of the others says little.
  if (unseen.length > 0) return `v${unseen[0]}${unseen.length > 1 ? " and later" : ""} couldn't be compared with them, and they are none of the versions before.`;
  const [{ version, likeness }] = differing;
  return `They are no version exactly; closest is v${version} (${likeness.objects} ${likeness.objects === 1 ? "object differs" : "objects differ"}).`;
}

/** What the user agrees to where a version would lock its table, and the button that says so. */
function consents(model) {
  const locking = lockConsent(model);
  if (!locking || model.asking) return undefined;
  if (locking.length === 0) {
    return {
      text: "If you agree, it runs all the same, and writing to its table waits until it is done. Test it first to see for how long.",
      button: "Apply Now; writing waits",
    };
  }
  const what = versions(locking.map(({ version }) => version));
  const [{ reason, waits }] = locking;
  const all = locking.map(({ version, waits: each, table }) => {
    const facts = [locking.length > 1 && `v${version}`, table && `it has ${table.size}`].filter(Boolean);
    return facts.length > 0 ? `${each} (${facts.join(", ")})` : each;
  }).join(", ");
  return {
    text: `${what} can't run beside the app here (${plain(reason)}). If you agree, it runs all the same, and ${all}.`,
    button: `${model.view.state === "rollback" ? "Roll Back" : "Apply"} Now; ${locking.length === 1 ? waits : "the app waits"}`,
  };
}

/** The label of the main button. */
function primary(model, { primary: label }) {
  // It would fail over what is there.
  if (recognised(model) !== undefined) return undefined;
  // The button of the consent takes its place.
  if (tested(model) && lockConsent(model)) return undefined;
  if (model.view.state !== "rollback" || isThere(model)) return label;
  // Rolling back is never offered untested.
  if (mayRollBack(model)) return label;
  return model.preview?.state === "running" || isFinal(model.preview?.error) ? undefined : testLabel(model);
}

function testButton(model, current) {
  if (!current || model.asking || (model.view.state === "rollback" && !mayRollBack(model))) return undefined;
  if (model.preview?.state === "running") return undefined;
  return (model.expanded || model.preview) && testLabel(model);
}

function testLabel({ preview }) {
  return { done: "Test Again", error: "Try Again" }[preview?.state] ?? "Test on My Data";
}

/** Whether trying again cannot help. */
function isFinal(error) {
  return ["notBelow", "notReversible"].includes(error?.code);
}

function blocked(model, backup) {
  const { busy, state } = model.view;
  if (state === "applying" || busy) return "busy";
  return backup && lacksBackup(model) ? `Tick “${BACKUP_MADE}” first.` : "";
}

const explain = ({ rollbackTo }) =>
  `Testing runs this ${rollbackTo === undefined ? "update" : "rollback"} on your database and undoes it. ` +
  `Meanwhile, ctx0 may have to wait for up to ${PREVIEW_SECONDS} seconds.`;

/** Since when the seconds are counted, where something is waited for. */
function clock({ view: { state, since, waiting }, preview }) {
  if (state === "applying") return waiting?.since ?? since;
  return preview?.state === "running" ? preview.since : undefined;
}

/**
 * The share that is done: the versions before, and of this one the statements before and what
 * PostgreSQL counts of the running one. With one version nobody knows it before there is a count.
 */
function bar(position, total, waiting) {
  const at = waiting?.reason === "running" ? waiting.position : undefined;
  const statement = at ? (at.statement === 0 ? at.statements : at.statement - 1 + (at.percent ?? 0) / 100) : 0;
  const value = position - 1 + (at ? statement / at.statements : 0);
  return total > 1 || value > 0 ? { max: total, value } : {};
}

// The backup.

export const BACKUP_MADE = "I have made a backup";

const LEVELS = { recommended: "Back up your database first (recommended)", required: "Back up your database before applying" };

function backup_(model) {
  const advice = backupAdvice(model);
  if (!advice || model.asking) return undefined;
  const isRollback = model.view.state === "rollback";
  const text = isRollback && advice.level === "required" ? "Back up your database before rolling back" : LEVELS[advice.level];
  return { text, instructions: advice.instructions, checked: model.backedUp };
}

// The one line about data.

/** What the update does to data, as far as it is known. */
export function summarize(model) {
  const { preview } = model;
  if (!offer(model) || !preview) return undefined;
  if (preview.state === "running") return { text: preview.isCancelled ? "Cancelling the test…" : `Testing on your database. ctx0 may have to wait for up to ${PREVIEW_SECONDS} seconds…`, tone: "muted" };
  if (preview.state === "error") {
    const what = model.view.state === "rollback" ? "the rollback" : "the changes";
    return { text: `Couldn't test ${what}: ${decapitalize(words(preview.error))}`, tone: "warning" };
  }
  return isThere(model) ? undefined : summary(preview.result, model.view.state === "rollback");
}

function summary({ versions: seen }, isRollback) {
  const warnings = seen.flatMap((version) => version.warnings);
  const losses = warnings.filter(({ kind }) => kind === "dataLost");
  const others = warnings.filter(({ kind }) => ["opened", "rowsChanged", "notRestored", "sequenceReset", "leftBehind", "dropped"].includes(kind));
  const parts = [];
  const failed = seen.findIndex(fails);
  const closed = seen.find(({ outside }) => outside?.way === null);
  if (closed) parts.push(`v${closed.version} can't run here: nothing can run it beside the app (${plain(closed.outside.reason)}).`);
  if (failed >= 0) parts.push(failure(seen, failed, isRollback));
  const ended = seen.find(({ state }) => state.kind === "notFinished");
  if (ended) parts.push(unfinished(ended.state, isRollback));
  if (losses.length > 0) parts.push(sentence(losses[0].message) + more(losses.length - 1));
  else if (others.length > 0) parts.push(sentence(others[0].message) + more(others.length - 1));
  const isComplete = seen.every(isTested);
  if (losses.length === 0 && isComplete) parts.push(warnings.some(({ kind }) => kind === "dropped") ? "No data is deleted." : "Nothing is deleted.");
  if (!isComplete && failed < 0 && !ended) parts.push(later(seen.find(({ state }) => state.kind === "after")));
  // Warnings say what the definitions tell; which rows a version has changed, nobody has recorded.
  if (isRollback && failed < 0) parts.push(`Data that ${versions(seen.map(({ version }) => version))} changed or deleted doesn't come back.`);
  const tone = failed >= 0 || closed || losses.length > 0 ? "grave" : ended || others.length > 0 || !isComplete ? "warning" : "good";
  return { text: parts.map(stopped).join(" "), tone };
}

function failure(seen, failed, isRollback) {
  const { version, failure: why } = seen[failed];
  const what = isRollback ? "Rolling back" : "This update";
  const before = seen.slice(0, failed).map((version) => version.version);
  const rest = before.length > 0 ? ` ${versions(before)} would still be ${isRollback ? "rolled back" : "applied"}.` : "";
  return `${what} will fail at v${version} (${decapitalize(why.message)}).${rest}`;
}

function unfinished({ reason }, isRollback) {
  const may = isRollback ? "It may still succeed." : "It may still succeed when applied.";
  if (reason === "cancelled") return "Test cancelled.";
  return `Too slow to test fully: more than ${PREVIEW_SECONDS} s. ${may}`;
}

/** A version that needs what another one commits. */
const later = (after) =>
  after ? `v${after.version} can only be tested once v${after.state.version} is applied.` : "Not all of it could be tested.";

const more = (count) => (count > 0 ? ` (and ${count} more ${count === 1 ? "warning" : "warnings"})` : "");

const isTested = ({ state }) => state.kind === "tested";

const fails = ({ state }) => state.kind === "failed";

// The cause of an error.

/** What the doctor looks at: `CheckName` of the library, as a test checks. */
export const CHECKS = {
  address: "Address",
  key: "Key",
  connection: "Connection",
  clock: "Clock",
  restApi: "REST API",
  maxRows: "Row limit",
  sqlAccess: "SQL access",
  functions: "Functions",
  database: "Database",
  timeouts: "Time limits",
  extensions: "Extensions",
  ledger: "Versions",
  running: "Running update",
  lastChange: "Last update",
  drift: "Tables",
};

function found({ state, checks, error }) {
  if (state === "running") return { text: "Looking for the cause…", tone: "muted" };
  if (state === "error") return { text: stopped(`Couldn't look for the cause: ${decapitalize(words(error))}`), tone: "warning" };
  const problems = checks.filter((check) => check.state === "failed").length;
  if (problems > 0) return { text: problems === 1 ? "Found one problem." : `Found ${problems} problems.`, tone: "grave" };
  return { text: checks.length > 0 ? "Nothing is broken now, but this may matter." : "Found no problem. Check again.", tone: "warning" };
}

// The list.

/** How a step ended that was not completed. */
const ENDS = { cancelled: "stopped", stillRunning: "still running", unknown: "not known yet" };

const STEPS = {
  started: (_, state) => state === "applying" && "in progress…",
  waiting: (_, state) => state === "applying" && "in progress…",
  nextWay: (_, state) => state === "applying" && "in progress…",
  applied: ({ executionMs }) => (executionMs === null ? "applied" : `applied in ${executionMs} ms`),
  rolledBack: ({ executionMs }) => (executionMs === null ? "rolled back" : `rolled back in ${executionMs} ms`),
  failed: ({ end }) => ENDS[end] ?? "failed",
};

function items(model) {
  const { view: shown, diagnosis } = model;
  if (diagnosis?.checks) return diagnosis.checks.map(checked);
  const differences = recognised(model) === undefined ? model.adoption?.result?.shown : undefined;
  if (differences) return differences.changes.map(({ kind, name, diff }) => ({ label: kind, text: short(name), step: "", notes: [], diffs: [diff] }));
  if (shown.state === "drifted") {
    return shown.differences.map(({ kind, name, diff }) => ({ label: kind, text: short(name), step: "", notes: [], diffs: [diff] }));
  }
  const seen = tested(model)?.versions ?? [];
  if (shown.state === "rollback") {
    return seen.map((version) => ({ ...item(version, version), step: "" }));
  }
  if (shown.state === "newer") return shown.newer.map(({ version, migration_name, description }) => ({ ...item({ version, migration_name, description }), step: "" }));
  const pending = shown.pending ?? offer(model)?.pending ?? [];
  return pending.map((next) => {
    const step = shown.steps?.[next.version];
    return {
      ...item(next, seen.find(({ version }) => version === next.version)),
      step: STEPS[step?.event]?.(step, shown.state) || "",
      event: step?.event ?? "",
    };
  });
}

function item({ version, migration_name, description, ...next }, seen) {
  const said = [...otherApps(next), ...(seen ? notes(seen) : []), ...beside(seen?.outside ?? next.outside, seen?.outsideTable)];
  return { label: `v${version}`, text: description || migration_name, notes: said, diffs: seen?.changes.map(({ diff }) => diff) ?? [] };
}

/** A check of the doctor, and what to do. */
function checked({ name, found, remedy }) {
  const notes = remedy ? [{ tone: "", text: sentence(remedy) }] : [];
  return { label: CHECKS[name] ?? name, text: found, step: "", notes, diffs: [] };
}

/** What the version means for the apps of other computers. */
function otherApps({ breaking, min_app_version: oldest }) {
  const text = oldest ? `Apps on other computers must be version ${oldest} or newer.` : "Apps on other computers must be updated as well.";
  return oldest || breaking ? [{ tone: "warning", text }] : [];
}

const BESIDE =
  "Runs beside the app: reading and writing go on. If it breaks off, it isn't undone as a whole; what is left is removed by itself before the next try.";

/**
 * What it means that a version runs outside a transaction: `true` where only that is known, or the way it goes. `table`
 * is what it works on, where that is known.
 */
function beside(outside, table) {
  if (!outside) return [];
  const { way, reason, waits } = outside === true ? { way: "" } : outside;
  if (way === "transaction") return [{ tone: "warning", text: `Can't run beside the app here: ${waits}.` }];
  if (way === null) return [{ tone: "grave", text: `Can't run here: nothing can run it beside the app (${plain(reason)}).` }];
  const takes = table?.slowestSecs > 0 && { tone: "", text: `Takes ${table.takes}: ${short(table.relation)} has ${table.size}.` };
  return [takes, { tone: "", text: BESIDE }].filter(Boolean);
}

/** What a preview showed of a version, the important first. */
function notes(seen) {
  const said = seen.warnings.map(({ kind, message }) => ({ tone: ["dataLost", "opened", "notRestored"].includes(kind) ? "grave" : "warning", text: sentence(message) }));
  const note = (text) => said.push({ tone: "", text });
  if (fails(seen)) said.unshift({ tone: "grave", text: `Fails: ${seen.failure.message}` });
  seen.unseen.forEach((what) => said.push({ tone: "warning", text: sentence(what) }));
  seen.rows.forEach((rows) => note(rowChange(rows)));
  const isEmpty = seen.changes.length + seen.rows.length + seen.warnings.length + seen.unseen.length === 0;
  if (isTested(seen) && isEmpty) note("No changes to tables or data.");
  const untested = UNTESTED[seen.state.kind]?.(seen.state);
  if (untested) note(untested);
  return said;
}

const UNTESTED = {
  // That it was too slow is a warning already.
  notFinished: ({ reason }) => reason === "cancelled" && "Not tested to its end: the test was cancelled.",
  after: ({ version }) => `Can only be tested once v${version} is applied.`,
  notTested: () => "Not tested.",
};

function rowChange({ relation, inserted, updated, deleted }) {
  const kinds = [[inserted, "added"], [updated, "changed"], [deleted, "deleted"]].filter(([count]) => count > 0);
  const counts = kinds.map(([count, what]) => `${count.toLocaleString("en")} row${count === 1 ? "" : "s"} ${what}`);
  return `${short(relation)}: ${counts.join(", ")}`;
}

// Words.

/** Without the schema that everything is in. */
export const short = (name) => name.replace(/^public\./, "");

/** For the beginning of a sentence; the name of a table stays. */
const sentence = (text) => (/^\w+_/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1));

/** Without what a server said beside its status. */
const plain = (reason) => reason.replace(/( status \d+), .*$/s, "$1");

const stopped = (text) => (/[.?…!]$/.test(text) ? text : `${text}.`);

/** For the middle of a sentence; a name in capitals stays. */
const decapitalize = (text) => (/^[A-Z][a-z]/.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text);

/** `v2`, `v2 and v3`, `v2–v4`, `v2, v3 and v5`. */
export function versions(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const isRow = sorted.length > 2 && sorted.at(-1) - sorted[0] === sorted.length - 1;
  if (isRow) return `v${sorted[0]}–v${sorted.at(-1)}`;
  const names = sorted.map((version) => `v${version}`);
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

const were = (numbers) => (numbers.length === 1 ? "was" : "were");
