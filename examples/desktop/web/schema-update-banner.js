// <schema-update-banner>: tells that a newer ctx0 schema exists, and applies it when the user
// agrees. Give its property `schema` a SchemaClient, or the `window.schema` of the Electron
// preload. It goes by the daemon's events; an answer to its own request only says that there
// is nothing more to wait for. Whatever comes from outside is shown as text, never as HTML.

/** How long good news stays, in milliseconds. */
const GOOD_NEWS = 6_000;

/** How long a lost connection may take to come back before the user hears of it. */
const GRACE = 1_000;

/** Where it is kept of which version the user was notified. */
const NOTIFIED = "ctx0-schema-notified";

const NOTHING = { state: "" };

export class SchemaUpdateBanner extends HTMLElement {
  #schema;
  #unsubscribe = [];
  #parts;
  /** What is to be said: `state` is one of `DESCRIPTIONS`, the rest is what that needs. */
  #view = NOTHING;
  #dismissed = false;
  #expanded = false;
  /** What an apply would bring, as the daemon told last. */
  #pending = [];
  /** What was seen of applying `pending`: `{pending, result}`, `{pending, error}`, or neither yet. */
  #preview;
  /** What the list of changes was made of. */
  #listed;
  /** Whether the schema was compared since the daemon is there. */
  #verified = false;
  /** What is said once good news goes. */
  #next;
  #grace;
  #goes;
  #cameFrom;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [style()];
    this.#parts = build(root);
    const { toggle, primary, copy, dismiss, made } = this.#parts;
    toggle.addEventListener("click", () => this.#toggle());
    primary.addEventListener("click", () => this.#act());
    copy.addEventListener("click", () => this.#copy());
    dismiss.addEventListener("click", () => this.dismiss());
    made.addEventListener("change", () => this.#render());
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.dismiss();
    });
    // Reached from outside only: moves within a shadow tree stay in it.
    this.addEventListener("focusin", ({ relatedTarget }) => (this.#cameFrom = relatedTarget));
  }

  /** What carries the methods and events of the daemon. */
  get schema() {
    return this.#schema;
  }

  set schema(schema) {
    this.#ignore();
    this.#schema = schema;
    if (this.isConnected) this.#listen();
  }

  connectedCallback() {
    this.#listen();
  }

  disconnectedCallback() {
    this.#ignore();
  }

  /** Hides it until the next check, or until something else is to be said. */
  dismiss() {
    this.#dismissed = true;
    this.#render();
  }

  #listen() {
    if (!this.#schema) return;
    const on = (event, listener) => this.#unsubscribe.push(this.#schema.on(event, listener));
    on("connection", (state) => this.#connection(state));
    on("schema:updateAvailable", (check) => this.#updateAvailable(check));
    on("schema:applyProgress", (progress) => this.#progress(progress));
    on("schema:applied", (report) => this.#applied(report));
    on("schema:rolledBack", (report) => this.#rolledBack(report));
    on("schema:error", (error) => this.#failed(error));
  }

  #ignore() {
    for (const off of this.#unsubscribe.splice(0)) off();
    clearTimeout(this.#grace);
    this.#show(NOTHING);
  }

  #connection(state) {
    clearTimeout(this.#grace);
    if (state === "lost") this.#verified = false;
    if (state !== "lost" || this.#view.state === "reconnecting") return;
    const show = () => this.#show({ state: "reconnecting" });
    // The answer to a run will not come any more.
    if (this.#view.state === "applying") show();
    else this.#grace = setTimeout(show, GRACE);
  }

  #updateAvailable(check, { asked = false } = {}) {
    // The same list stays the same object: what was seen of it is still true.
    if (!same(check.pendingMigrations, this.#pending)) this.#pending = check.pendingMigrations;
    // A run tells by itself how it goes, and why it failed stays until the user has seen it.
    const { state } = this.#view;
    if (state === "applying" || (RUN_FAILED.includes(state) && !this.#dismissed && !asked)) return;
    const view = { state: "available", check, backup: check.backup, pending: this.#pending };
    if (state === "rolledBack" && !this.#dismissed) {
      this.#next = view;
      return;
    }
    this.#show(view);
    notify(check);
  }

  #progress(progress) {
    const running = this.#view.state === "applying";
    const view = running ? this.#view : this.#run();
    const { event, action, version, position, total } = progress;
    view.steps.set(version, progress);
    if (event === "started") Object.assign(view, { action, version, position, total });
    view.waiting = event === "waiting" ? progress : undefined;
    this.#show(view, { quietly: running && this.#dismissed });
  }

  #applied({ applied, currentVersion }) {
    this.#pending = [];
    const { state } = this.#view;
    if (applied.length > 0) this.#show({ state: "applied", currentVersion });
    else if (UP_TO_DATE.includes(state) || (state === "rollbackFailed" && !this.#dismissed)) return;
    else if (state && !this.#dismissed) this.#show({ state: "current", currentVersion });
    else this.#show(NOTHING);
    if (applied.length === 0) this.#verify();
    else this.#verified = false;
  }

  #rolledBack({ rolledBack, currentVersion }) {
    this.#next = undefined;
    this.#verified = false;
    if (rolledBack.length > 0) this.#show({ state: "rolledBack", currentVersion });
    else if (this.#view.state === "applying") this.#show(NOTHING);
  }

  /** Looks once whether somebody has changed the schema past the migrations. */
  async #verify() {
    if (this.#verified) return;
    this.#verified = true;
    // Where it cannot be said there is nothing to say.
    const found = await this.#schema.verify().catch(() => undefined);
    const quiet = ["", ...UP_TO_DATE].includes(this.#view.state);
    if (found?.state === "drifted" && quiet) this.#show({ state: "drifted", differences: found.differences });
  }

  #failed(error) {
    const { state, pending, steps, backup } = this.#view;
    if (error.code === "previewOutdated") {
      this.#preview = undefined;
      this.#show({ state: "outdated", error });
    } else if (error.rolledBack) {
      this.#show({ state: "rollbackFailed", error });
    } else if (error.problem) {
      const ahead = error.problem.kind === "databaseAhead";
      this.#show({ state: ahead ? "ahead" : "problem", error });
    } else if (error.applied) {
      this.#show(error.installSql ? { state: "install", error } : { state: "failed", error, pending, steps, backup });
    } else if (state !== "applying" && (!RUN_FAILED.includes(state) || this.#dismissed)) {
      // The same again is no news: the daemon tries often while something is away.
      const again = state === "unavailable" && this.#view.error.code === error.code;
      this.#show({ state: "unavailable", error }, { quietly: again && this.#dismissed });
    }
  }

  #act() {
    if (this.#view.busy || this.#view.state === "applying") return;
    if (this.#lacksBackup()) {
      this.#parts.made.focus();
      return;
    }
    if (RETRIED_BY_CHECK.includes(this.#view.state)) this.#check();
    else this.#apply();
  }

  async #apply() {
    const consent = this.#consent();
    const view = this.#run();
    this.#show(view);
    try {
      const result = await this.#schema.applyUpdates(consent);
      if (this.#view !== view) return;
      if (result.success) this.#applied({ applied: result.applied, currentVersion: result.applied.at(-1) });
      else this.#failed({ message: result.error, applied: result.applied });
    } catch (error) {
      if (this.#view === view) this.#failed({ ...error, message: error.message, applied: [] });
    }
  }

  async #check() {
    const view = { ...this.#view, busy: true };
    this.#show(view);
    try {
      const check = await this.#schema.checkUpdates();
      if (this.#view !== view) return;
      if (check.hasUpdates) this.#updateAvailable(check, { asked: true });
      else if (!check.problem) this.#applied({ applied: [], currentVersion: check.currentVersion });
    } catch (error) {
      if (this.#view === view) this.#failed({ ...error, message: error.message });
    }
    if (this.#view === view) this.#show({ ...view, busy: false });
  }

  #run() {
    return { state: "applying", pending: this.#pending, steps: new Map(), backup: this.#view.backup };
  }

  /** What the user has agreed to: what was shown, where that was looked at. */
  #consent() {
    const seen = this.#preview?.pending === this.#pending ? this.#preview.result : undefined;
    return { token: seen?.token, backupBy: this.#parts.made.checked ? BACKUP_BY : undefined };
  }

  /** The advice of the manifest, or of what was seen where that is more. */
  #advice() {
    const { state, backup, pending } = this.#view;
    if (!APPLICABLE.includes(state)) return undefined;
    const seen = this.#preview?.pending === pending ? this.#preview.result?.backup : undefined;
    return seen ?? backup;
  }

  #lacksBackup() {
    return this.#advice()?.level === "required" && !this.#parts.made.checked;
  }

  /** What was seen of the changes that are shown, as long as one can agree to them. */
  #seen() {
    const { state, pending } = this.#view;
    return state === "available" && this.#preview?.pending === pending ? this.#preview : undefined;
  }

  /** How the look at the changes goes. */
  #looked() {
    const seen = this.#seen();
    if (!seen || seen.result) return "";
    if (seen.error) return `What it would change could not be looked at: ${seen.error.message}`;
    return "Looking at what it would change…";
  }

  /** Has the database show what would change, once for what is pending. */
  async #look() {
    const { pending } = this.#view;
    if (this.#view.state !== "available" || this.#preview?.pending === pending) return;
    const preview = { pending };
    this.#preview = preview;
    try {
      preview.result = await this.#schema.preview();
    } catch (error) {
      preview.error = error;
    }
    if (this.#preview === preview) this.#render();
  }

  async #copy() {
    const { sql, note } = this.#parts;
    try {
      await navigator.clipboard.writeText(sql.textContent);
      note.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(sql);
      note.textContent = "The text is selected: copy it with Ctrl+C or ⌘C.";
    }
  }

  #toggle() {
    this.#expanded = !this.#expanded;
    this.#render();
  }

  #show(view, { quietly = false } = {}) {
    clearTimeout(this.#goes);
    if (view.state !== this.#view.state) this.#parts.note.textContent = "";
    this.#view = view;
    if (!quietly) this.#dismissed = false;
    this.#render();
    if (GOOD.includes(view.state)) this.#goes = setTimeout(() => this.#goOn(), GOOD_NEWS);
  }

  #goOn() {
    const next = this.#next ?? NOTHING;
    this.#next = undefined;
    this.#show(next);
  }

  #render() {
    const { box, dot, title, alert, detail, bar, changes, look, backup, advice, how, sql, toggle, copy, primary } = this.#parts;
    const view = this.#dismissed ? NOTHING : this.#view;
    const says = DESCRIPTIONS[view.state](view);
    const running = view.state === "applying";
    const busy = running || view.busy === true;
    const hasChanges = (view.pending ?? view.differences)?.length > 0;
    const focused = this.shadowRoot.activeElement;

    if (view.state) this.setAttribute("state", view.state);
    else this.removeAttribute("state");
    box.ariaLabel = view.state ? "ctx0 schema" : null;
    box.ariaBusy = String(busy);
    dot.hidden = !view.state;
    write(title, says.title);
    write(alert, says.alert);
    write(detail, says.detail);
    bar.hidden = !running;
    progress(bar, view);

    toggle.hidden = !hasChanges;
    toggle.textContent = this.#expanded ? "Hide Changes" : "View Changes";
    toggle.ariaExpanded = String(this.#expanded);
    changes.hidden = !hasChanges || !this.#expanded;
    if (!changes.hidden) {
      this.#look();
      this.#list(view);
    }
    write(look, changes.hidden ? "" : this.#looked());

    const wanted = this.#dismissed ? undefined : this.#advice();
    backup.hidden = !wanted;
    write(advice, wanted && BACKUP[wanted.level]);
    write(how, wanted?.instructions);

    sql.hidden = copy.hidden = !view.error?.installSql;
    write(sql, view.error?.installSql);
    primary.hidden = !says.primary;
    write(primary, says.primary);
    // A disabled button would lose the focus.
    primary.ariaDisabled = String(busy || (!this.#dismissed && this.#lacksBackup()));
    for (const scroller of [alert, changes, how, sql]) {
      scroller.tabIndex = scroller.scrollHeight > scroller.clientHeight ? 0 : -1;
    }
    if (focused?.checkVisibility() === false) this.#keepFocus();
  }

  #list({ state, pending, steps, differences }) {
    const preview = this.#seen()?.result;
    const made = [pending ?? differences, preview];
    if (this.#listed?.every((part, index) => part === made[index]) !== true) {
      this.#listed = made;
      this.#parts.changes.replaceChildren(...(pending?.map((next) => change(next, preview)) ?? differences.map(difference)));
    }
    for (const [index, item] of [...this.#parts.changes.children].entries()) {
      const step = pending && steps?.get(pending[index].version);
      item.dataset.step = step?.event ?? "";
      write(item.querySelector(".step"), STEPS[step?.event]?.(step, state));
    }
  }

  /** What had the focus is gone: it goes to what is left, or back to where it came from. */
  #keepFocus() {
    const { primary, dismiss } = this.#parts;
    const next = [primary, dismiss].find((button) => button.checkVisibility());
    (next ?? this.#cameFrom)?.focus();
  }
}

/** What is said in each state, and on the main button. */
const DESCRIPTIONS = {
  "": () => ({}),
  available: ({ check }) => ({
    title: `ctx0 schema update available (v${check.currentVersion} → v${check.latestVersion})`,
    primary: "Apply Update",
  }),
  applying: ({ action, version, position, total, waiting }) => ({
    title: version
      ? `${action === "rollback" ? "Taking back" : "Applying"} v${version} (${position} of ${total})…`
      : "Applying ctx0 schema update…",
    detail: waiting && `${WAITING[waiting.reason] ?? "Waiting"} (${Math.round(waiting.waitedMs / 1000)} s)`,
    primary: "Applying…",
  }),
  applied: ({ currentVersion }) => ({ title: `ctx0 schema updated to v${currentVersion}` }),
  rolledBack: ({ currentVersion }) => ({ title: `ctx0 schema taken back to v${currentVersion}` }),
  rollbackFailed: ({ error }) => ({
    title: "ctx0 schema could not be taken back",
    alert: error.message,
    detail: error.rolledBack.length > 0 && `Taken back before: ${error.rolledBack.map((v) => `v${v}`).join(", ")}.`,
  }),
  outdated: ({ busy }) => ({
    title: "The update is not what you looked at any more",
    detail: "Nothing was changed. Check again, and look at the changes once more.",
    primary: busy ? "Checking…" : "Check Again",
  }),
  drifted: ({ differences }) => ({
    title: "The ctx0 schema was changed by something else",
    detail:
      `Not as this app left it: ${differences.map(({ name }) => short(name)).join(", ")}. ` +
      "If you did that yourself there is nothing to do; a later update may fail over it.",
  }),
  current: ({ currentVersion }) => ({
    title: currentVersion ? `ctx0 schema is up to date (v${currentVersion})` : "ctx0 schema is up to date",
  }),
  failed: ({ error }) => ({
    title: "ctx0 schema update failed",
    alert: error.message,
    detail: error.applied.length > 0 && `Applied before, and kept: ${error.applied.map((v) => `v${v}`).join(", ")}.`,
    primary: "Retry",
  }),
  install: ({ error }) => ({
    title: `One step first: ${error.code === "rpcOutdated" ? "update" : "install"} the ctx0 functions`,
    detail:
      "Copy this text, paste all of it into the SQL editor of your Supabase dashboard and run it there. " +
      "Then choose Retry.",
    primary: "Retry",
  }),
  unavailable: ({ error, busy }) => ({
    title: error.retryable ? "The ctx0 database is not available" : "The ctx0 schema could not be checked",
    detail: error.message,
    primary: busy ? "Checking…" : "Check Again",
  }),
  ahead: ({ error }) => ({ title: "The ctx0 database is newer than this app", detail: error.message }),
  problem: ({ error, busy }) => ({
    title: "The ctx0 database does not match this app",
    detail: error.message,
    primary: busy ? "Checking…" : "Check Again",
  }),
  reconnecting: () => ({ title: "Connection to the ctx0 daemon lost, reconnecting…" }),
};

const GOOD = ["applied", "rolledBack", "current"];
const UP_TO_DATE = ["applied", "current", "drifted"];
const APPLICABLE = ["available", "failed"];
const RUN_FAILED = ["failed", "install", "rollbackFailed", "outdated"];
const RETRIED_BY_CHECK = ["unavailable", "problem", "outdated"];

const BACKUP = {
  recommended: "A backup is recommended first.",
  required: "A backup is required first.",
};

/** Who is recorded as having said that there is a backup. */
const BACKUP_BY = "the user, in the banner";

/** What is said beside a version of a run. */
const STEPS = {
  started: (_, state) => state === "applying" && "applying…",
  waiting: (_, state) => state === "applying" && "applying…",
  applied: ({ executionMs }) => (executionMs === null ? "applied" : `applied in ${executionMs} ms`),
  rolledBack: ({ executionMs }) => (executionMs === null ? "taken back" : `taken back in ${executionMs} ms`),
  failed: () => "failed",
};

const WAITING = {
  running: "Still running in the database",
  noResponse: "No answer yet, asking again",
  tableInUse: "A table is in use, trying again",
};

/** Tells it outside of a window that is not in front, once a version. */
function notify({ currentVersion, latestVersion }) {
  if (document.hasFocus() || globalThis.Notification?.permission !== "granted") return;
  if (localStorage.getItem(NOTIFIED) === String(latestVersion)) return;
  localStorage.setItem(NOTIFIED, String(latestVersion));
  const title = `ctx0 schema update available (v${currentVersion} → v${latestVersion})`;
  // Several windows may be quick enough to notify: one tag is one notification.
  const notification = new Notification(title, { tag: `ctx0-schema-v${latestVersion}` });
  notification.addEventListener("click", () => window.focus());
}

function change({ version, migration_name, description }, preview) {
  // A direction of writing that the text sets for itself ends with its element.
  const what = element("span", {}, `v${version}: `, element("bdi", {}, description || migration_name));
  return element("li", {}, what, element("span", { className: "step" }), ...(preview ? effects(preview, version) : []));
}

/** What a version would do. */
function effects({ versions }, version) {
  const seen = versions.find((seen) => seen.version === version);
  const note = (text) => [element("p", { className: "effect" }, text)];
  if (!seen) return note("Not looked at, because the one before it would fail.");
  if (seen.failure) return [warning({ kind: "fails", message: `It would fail: ${seen.failure.message}` })];
  const nothing = seen.changes.length + seen.rows.length + seen.warnings.length === 0;
  return [
    ...seen.warnings.map(warning),
    ...seen.changes.map(({ diff }) => lines(diff)),
    ...seen.rows.flatMap((rows) => note(rowChange(rows))),
    ...(nothing ? note("No definition and no row would change.") : []),
  ];
}

function rowChange({ relation, inserted, updated, deleted }) {
  const kinds = [[inserted, "inserted"], [updated, "changed"], [deleted, "deleted"]].filter(([count]) => count > 0);
  const words = kinds.map(([count, what]) => `${count.toLocaleString("en")} row${count === 1 ? "" : "s"} ${what}`);
  return `${short(relation)}: ${words.join(", ")}`;
}

/** Without the schema that everything is in. */
function short(name) {
  return name.replace(/^public\./, "");
}

function difference({ name, diff }) {
  return element("li", {}, element("bdi", {}, short(name)), element("span", { className: "step" }), lines(diff));
}

function warning({ kind, message }) {
  const grave = ["dataLost", "opened", "fails"].includes(kind) ? "grave" : "";
  return element("p", { className: `effect warning ${grave}` }, message);
}

/** A unified diff, each line by its sign. */
function lines(diff) {
  const kinds = { "+": "added", "-": "removed", "@": "place" };
  const rows = diff.trimEnd().split("\n").map((line) => {
    const name = /^(---|\+\+\+) /.test(line) ? "name" : kinds[line[0]];
    return element("span", { className: name ?? "" }, `${line}\n`);
  });
  return element("pre", { className: "diff" }, ...rows);
}

function same(left, right) {
  return JSON.stringify(left) === JSON.stringify(right);
}

function progress(bar, { position, total, version, steps }) {
  if (!total) return bar.removeAttribute("value");
  bar.max = total;
  const done = ["applied", "rolledBack"].includes(steps.get(version).event);
  bar.value = done ? position : position - 1;
}

/** Writes only what is new, because a screen reader speaks what is written. */
function write(part, text) {
  if (part.textContent !== (text || "")) part.textContent = text || "";
}

function build(root) {
  const parts = {
    dot: element("span", { className: "dot", ariaHidden: "true" }, "●"),
    title: element("p", { className: "title", role: "status" }),
    alert: element("p", { className: "alert", role: "alert" }),
    detail: element("p", { className: "detail" }),
    bar: element("progress", { ariaLabel: "Progress" }),
    changes: element("ul", { id: "changes", ariaLabel: "Changes" }),
    look: element("p", { className: "look", role: "status" }),
    advice: element("p"),
    how: element("pre"),
    made: element("input", { type: "checkbox" }),
    sql: element("pre"),
    toggle: element("button", { type: "button" }),
    copy: element("button", { type: "button" }, "Copy Text"),
    note: element("span", { className: "note", role: "status" }),
    primary: element("button", { type: "button", className: "primary" }),
    dismiss: element("button", { type: "button", className: "dismiss", ariaLabel: "Dismiss" }, "×"),
  };
  const { dot, title, alert, detail, bar, changes, look, advice, how, made, sql, toggle, copy, note, primary, dismiss } = parts;
  toggle.setAttribute("aria-controls", changes.id);
  const actions = element("div", { className: "actions" }, toggle, copy, primary, note);
  const head = element("div", { className: "head" }, dot, title);
  const check = element("label", {}, made, "I have made a backup");
  parts.backup = element("div", { className: "backup", role: "group", ariaLabel: "Backup" }, advice, how, check);
  parts.box = element("section", {}, head, alert, detail, bar, changes, look, parts.backup, sql, actions, dismiss);
  root.append(parts.box);
  return parts;
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function style() {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(CSS);
  return sheet;
}

// A constructed sheet needs no exception in a Content-Security-Policy. The theme is the
// system's; the attribute theme="dark" or theme="light" overrules it.
const CSS = `
:host {
  color-scheme: light dark;
  --surface: light-dark(#ffffff, #1b1d27);
  --raised: light-dark(#f1f3f8, #262936);
  --line: light-dark(#c3c9d8, #3a3f52);
  --text: light-dark(#1c2030, #e6e8f0);
  --muted: light-dark(#50576b, #a9afc3);
  --accent: light-dark(#2b55c8, #8fb0ff);
  --on-accent: light-dark(#ffffff, #10131c);
  --tone: var(--accent);
  display: block;
  color: var(--text);
  font: 14px/1.5 system-ui, sans-serif;
}
:host([theme="dark"]) { color-scheme: dark; }
:host([theme="light"]) { color-scheme: light; }
:host([state="applied"]), :host([state="current"]), :host([state="rolledBack"]) { --tone: light-dark(#17703a, #6fd694); }
:host([state="failed"]), :host([state="rollbackFailed"]) { --tone: light-dark(#b3261e, #ff9a91); }
:host([state="install"]), :host([state="unavailable"]), :host([state="ahead"]),
:host([state="problem"]), :host([state="outdated"]), :host([state="drifted"]),
:host([state="reconnecting"]) { --tone: light-dark(#875400, #f2be62); }

[hidden] { display: none !important; }
:host([state]) section {
  display: grid;
  grid-template-columns: 1fr auto;
  gap: 8px 12px;
  padding: 12px 14px;
  background: var(--surface);
  border: 1px solid var(--line);
  border-inline-start: 4px solid var(--tone);
  border-radius: 8px;
}
section > * { grid-column: 1 / -1; min-width: 0; }
p, ul, pre { margin: 0; overflow-wrap: anywhere; }
.head { display: flex; grid-area: 1 / 1; gap: 8px; }
.dot { color: var(--tone); }
.title { font-weight: 600; text-wrap: balance; }
.alert, .detail { white-space: pre-line; }
p:empty:not([role="status"]), .step:empty { display: none; }
.alert::first-letter, .detail::first-letter { text-transform: uppercase; }
.alert { color: var(--tone); }
.detail { color: var(--muted); }
.alert, ul, pre {
  max-height: clamp(4rem, 30vh, 24rem);
  overflow-y: auto;
  scrollbar-width: thin;
  scrollbar-color: var(--muted) transparent;
}
progress { width: 100%; height: 4px; background: var(--line); border: 0; border-radius: 2px; appearance: none; }
progress::-webkit-progress-bar { background: none; }
progress::-webkit-progress-value { background: var(--accent); border-radius: 2px; }
progress::-moz-progress-bar { background: var(--accent); border-radius: 2px; }
progress:indeterminate::-moz-progress-bar { background: none; }

ul {
  padding: 0;
  padding-inline-start: 12px;
  list-style: none;
  border-inline-start: 2px solid var(--line);
}
li { display: flex; flex-wrap: wrap; gap: 0 12px; justify-content: space-between; padding: 2px 4px 2px 0; }
li > :first-child { min-width: 0; }
.step { color: var(--muted); font-variant-numeric: tabular-nums; }
li[data-step="applied"] .step { color: light-dark(#17703a, #6fd694); }
li[data-step="failed"] .step { color: light-dark(#b3261e, #ff9a91); }

.look, .effect { color: var(--muted); }
.look:empty { display: none; }
.effect { flex-basis: 100%; }
.effect.warning { color: light-dark(#875400, #f2be62); }
.effect.grave { color: light-dark(#b3261e, #ff9a91); }
.effect.warning::before { content: "! "; font-weight: 700; }
.diff { flex-basis: 100%; box-sizing: border-box; max-height: none; margin: 4px 0; }
.diff .added { color: light-dark(#17703a, #6fd694); }
.diff .removed { color: light-dark(#b3261e, #ff9a91); }
.diff .place { color: var(--muted); }
.diff .name { font-weight: 600; }
.backup { display: grid; gap: 4px; padding-inline-start: 12px; border-inline-start: 2px solid var(--tone); }
.backup p { font-weight: 600; }
.backup label { display: flex; gap: 8px; align-items: center; min-height: 32px; cursor: pointer; }
.backup input { inline-size: 16px; block-size: 16px; margin: 0; accent-color: var(--accent); }

pre {
  padding: 8px 12px;
  font: 12px/1.5 ui-monospace, monospace;
  white-space: pre-wrap;
  background: var(--raised);
  border-radius: 6px;
}

.actions { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin-block-start: 2px; }
.actions:not(:has(button:not([hidden]))), :host(:not([state])) button { display: none; }
.note { color: var(--muted); }
button {
  min-height: 32px;
  padding: 4px 12px;
  color: var(--text);
  font: inherit;
  background: var(--raised);
  border: 1px solid var(--line);
  border-radius: 6px;
  cursor: pointer;
}
button:not([aria-disabled="true"]):hover { border-color: var(--muted); }
.primary { color: var(--on-accent); background: var(--accent); border-color: var(--accent); }
/* In the corner in every state, and the last in the order of reading. */
.dismiss { grid-area: 1 / 2; align-self: start; min-width: 32px; margin: -6px -8px -6px 0; padding: 4px; background: none; border-color: transparent; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
[aria-disabled="true"] { color: var(--muted); background: var(--raised); border-color: var(--line); cursor: not-allowed; }
[aria-busy="true"] [aria-disabled="true"] { cursor: progress; }
:host([state="applying"]) .dot { animation: pulse 1.2s ease-in-out infinite alternate; }
@keyframes pulse { to { opacity: 0.25; } }
@media (prefers-reduced-motion: reduce) { .dot { animation: none !important; } }
`;

customElements.define("schema-update-banner", SchemaUpdateBanner);
