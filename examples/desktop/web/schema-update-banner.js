// <schema-update-banner>: tells that a newer ctx0 schema exists, and applies it when the user
// agrees. Set its property `schema` to a SchemaClient, or to the `window.schema` of the Electron
// preload. `banner-model.js` decides, `banner-view.js` words it; this file draws it and talks to
// the daemon. Text from outside is shown as text, never as HTML.

import { START, update } from "./banner-model.js";
import { BACKUP_MADE, view } from "./banner-view.js";
import { style } from "./banner-style.js";

/** How long good news stays on the screen, in milliseconds. */
const GOOD_NEWS = 6_000;

/** How long a lost connection may take to come back before the user hears of it. */
const GRACE = 1_000;

/** Remembers which version of a newer app the user has heard of. */
const HEARD_OF = "ctx0-schema-heard-of";

/** Remembers which version the user was notified of. */
const NOTIFIED = "ctx0-schema-notified";

export class SchemaUpdateBanner extends HTMLElement {
  #schema;
  #unsubscribe = [];
  #parts;
  #model = START;
  /** What the list on the page was made of. */
  #listed = "";
  #ticking;
  #grace;
  #leaves;
  #cameFrom;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [style()];
    this.#parts = build(root);
    const { toggle, test, cancel, copy, diagnose, untested, keep, adopt, locking, primary, dismiss, made } = this.#parts;
    // The second click of a double click would be on what the first one has brought there.
    const on = (button, type) =>
      button.addEventListener("click", ({ detail }) => detail < 2 && this.#send({ type, now: Date.now() }));
    on(toggle, "toggle");
    on(test, "test");
    on(cancel, "cancel");
    on(diagnose, "diagnose");
    on(untested, "actUntested");
    on(keep, "keepTesting");
    on(adopt, "adopt");
    on(locking, "actLocking");
    on(primary, "act");
    on(dismiss, "dismiss");
    copy.addEventListener("click", () => this.#copy());
    made.addEventListener("change", () => this.#send({ type: "backedUp", checked: made.checked }));
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.dismiss();
      // A key that is held down decides once.
      if (event.repeat && ["Enter", " "].includes(event.key)) event.preventDefault();
    });
    // Only from outside: moves within a shadow tree stay in it. A button that is hidden has lost the focus, so the
    // move from it comes from nowhere, and so does the return of a window to the front.
    this.addEventListener("focusin", ({ relatedTarget }) => (this.#cameFrom = relatedTarget ?? this.#cameFrom));
  }

  /** Carries the methods and events of the daemon. */
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

  /** Hides it until the next check, or until there is news. */
  dismiss() {
    this.#send({ type: "dismiss" });
  }

  /** Asks whether to roll back to a version: nothing runs before the user agrees. */
  offerRollback(version) {
    this.#send({ type: "offerRollback", version });
    this.#parts.primary.focus();
  }

  #listen() {
    if (!this.#schema) return;
    const seen = () => this.#leaveWhenSeen();
    document.addEventListener("visibilitychange", seen);
    this.#unsubscribe.push(() => document.removeEventListener("visibilitychange", seen));
    const on = (event, message) => this.#unsubscribe.push(this.#schema.on(event, (params) => this.#send(message(params))));
    on("connection", (state) => ({ type: "connection", state }));
    on("schema:updateAvailable", (check) => ({ type: "updateAvailable", check }));
    on("schema:applyProgress", (progress) => ({ type: "progress", progress, now: Date.now() }));
    on("schema:applied", (report) => ({ type: "applied", ...report }));
    on("schema:rolledBack", (report) => ({ type: "rolledBack", ...report }));
    on("schema:ahead", (check) => ({ type: "ahead", check, isKnown: recall(HEARD_OF) === String(check.currentVersion) }));
    on("schema:error", (error) => ({ type: "failed", error }));
  }

  #ignore() {
    for (const off of this.#unsubscribe.splice(0)) off();
    clearTimeout(this.#grace);
    this.#model = { ...START, ticket: this.#model.ticket + 1 };
    this.#render();
  }

  #send(message) {
    const before = this.#model;
    const [model, ...effects] = update(before, message);
    this.#model = model;
    if (message.type === "connection") clearTimeout(this.#grace);
    this.#render();
    if (model.view !== before.view || model.dismissed !== before.dismissed) {
      clearTimeout(this.#leaves);
      this.#leaves = undefined;
      this.#leaveWhenSeen();
    }
    for (const effect of effects) this.#do(effect);
  }

  #do({ do: what, ticket, params, check, version }) {
    const schema = this.#schema;
    const answer = (request, type) =>
      request.then(
        (result) => ({ result }),
        (error) => ({ error: { ...error, message: error.message } }),
      ).then((end) => this.#send({ type, ticket, now: Date.now(), ...end }));
    const effects = {
      preview: () => answer(schema.preview(params), "previewed"),
      cancelPreview: () => void schema.cancelPreview().catch(() => {}),
      cancelChange: () => answer(schema.cancelChange(params), "cancelled"),
      apply: () => answer(schema.applyUpdates(params), "ran"),
      rollback: () => answer(schema.rollback(params), "ran"),
      check: () => answer(schema.checkUpdates(), "checked"),
      diagnose: () => answer(schema.doctor(), "diagnosed"),
      verify: () => answer(schema.verify(), "verified"),
      recognise: () => answer(schema.recognise(), "compared"),
      baseline: () => answer(schema.baseline(params), "recorded"),
      install: () => answer(schema.install(), "installed"),
      notify: () => notify(check),
      remember: () => remember(HEARD_OF, version),
      focusBackup: () => this.#parts.made.focus(),
      waitForConnection: () => (this.#grace = setTimeout(() => this.#send({ type: "stillDisconnected" }), GRACE)),
    };
    effects[what]();
  }

  /** Good news leaves once it was on the screen for its time. */
  #leaveWhenSeen() {
    const isGood = !this.#model.dismissed && ["applied", "rolledBack", "current"].includes(this.#model.view.state);
    if (!isGood || document.hidden) {
      clearTimeout(this.#leaves);
      this.#leaves = undefined;
      return;
    }
    this.#leaves ??= setTimeout(() => this.#send({ type: "seen" }), GOOD_NEWS);
  }

  async #copy() {
    const { sql, script, note } = this.#parts;
    try {
      await navigator.clipboard.writeText(sql.textContent);
      note.textContent = "Copied.";
    } catch {
      script.open = true;
      getSelection().selectAllChildren(sql);
      note.textContent = "The script is selected. Copy it with Ctrl+C or ⌘C.";
    }
  }

  #render() {
    const parts = this.#parts;
    const shown = view(this.#model);
    const focused = this.shadowRoot.activeElement;
    const wasShown = this.getAttribute("state") ?? "";

    if (shown.state) this.setAttribute("state", shown.state);
    else this.removeAttribute("state");
    parts.box.ariaLabel = shown.state ? "ctx0 schema" : null;
    parts.dot.hidden = !shown.state;
    if (shown.state !== wasShown) write(parts.note, "");
    write(parts.title, shown.title);
    write(parts.alert, shown.alert);
    write(parts.detail, shown.detail);
    progress(parts.bar, shown.bar);
    write(parts.explanation, shown.explanation);
    write(parts.summary, shown.summary?.text);
    parts.summary.dataset.tone = shown.summary?.tone ?? "";
    this.#renderClock(shown);

    parts.changes.hidden = !shown.expanded;
    if (shown.expanded) this.#renderList(shown.list);
    parts.changes.ariaLabel = shown.listName;
    parts.changes.ariaBusy = String(shown.state === "applying");
    parts.toggle.ariaExpanded = String(Boolean(shown.expanded));
    parts.script.hidden = !shown.script;
    write(parts.sql, shown.script);
    parts.body.hidden = !shown.expanded && !shown.script;

    parts.backup.hidden = !shown.backup;
    write(parts.advice, shown.backup?.text);
    write(parts.how, shown.backup?.instructions);
    parts.made.checked = Boolean(shown.backup?.checked);

    write(parts.consent, shown.consent);

    for (const name of ["toggle", "test", "cancel", "copy", "diagnose", "untested", "keep", "adopt", "locking", "primary"]) {
      parts[name].hidden = !shown.buttons[name];
      write(parts[name], shown.buttons[name]);
    }
    // A button that is really disabled would lose the focus.
    for (const button of [parts.locking, parts.primary]) button.ariaDisabled = String(Boolean(shown.blocked));
    write(parts.reason, shown.blocked === "busy" ? "" : shown.blocked);
    parts.primary.classList.toggle("default", Boolean(shown.isDefault));
    for (const scroller of [parts.alert, parts.body]) {
      if (scroller.scrollHeight > scroller.clientHeight) scroller.tabIndex = 0;
      else scroller.removeAttribute("tabindex");
    }
    if (focused?.checkVisibility() === false) this.#keepFocus();
  }

  #renderClock({ clock, state }) {
    const { clock: head, testClock } = this.#parts;
    clearInterval(this.#ticking);
    const tick = () => {
      const seconds = clock === undefined ? "" : `${Math.max(0, Math.floor((Date.now() - clock) / 1000))} s`;
      head.textContent = state === "applying" ? seconds : "";
      testClock.textContent = state === "applying" ? "" : seconds;
    };
    tick();
    if (clock !== undefined) this.#ticking = setInterval(tick, 1_000);
  }

  #renderList(list) {
    const made = JSON.stringify(list.map(({ step, event, ...rest }) => rest));
    if (made !== this.#listed) {
      this.#listed = made;
      this.#parts.changes.replaceChildren(...list.map(listItem));
    }
    for (const [index, item] of [...this.#parts.changes.children].entries()) {
      item.dataset.step = list[index].event ?? "";
      write(item.querySelector(".step"), list[index].step);
    }
  }

  /** What had the focus is gone: it goes to what is left, or back to where it came from. */
  #keepFocus() {
    const { cancel, keep, test, diagnose, toggle, dismiss } = this.#parts;
    // Not to what changes something, which the next press of a key would begin.
    const next = [keep, cancel, test, diagnose, toggle, dismiss].find((button) => button.checkVisibility());
    const target = next ?? this.#cameFrom;
    if (!target) return;
    target.focus();
    // A browser hides the ring after a click; here the focus has moved by itself.
    if (next) {
      next.classList.add("moved");
      next.addEventListener("blur", () => next.classList.remove("moved"), { once: true });
    }
  }
}

/** What the browser keeps for this app. It may refuse to. */
function recall(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(name, String(value));
  } catch {
    // Then the user hears of it again.
  }
}

/** Notifies the user once a version, while the window is not in front. */
function notify({ currentVersion, pendingMigrations }) {
  // Not the latest version of the app: the rest may be held back until the hosted service has it.
  const latestVersion = pendingMigrations.at(-1).version;
  if (document.hasFocus() || globalThis.Notification?.permission !== "granted") return;
  if (recall(NOTIFIED) === String(latestVersion)) return;
  remember(NOTIFIED, latestVersion);
  const title = `ctx0 schema update available (v${currentVersion} → v${latestVersion})`;
  // Several windows may notify at the same time: one tag is one notification.
  const notification = new Notification(title, { tag: `ctx0-schema-v${latestVersion}` });
  notification.addEventListener("click", () => window.focus());
}

function listItem({ label, text, notes, diffs }) {
  // A direction of writing that the text sets for itself ends with its element.
  const what = element("span", {}, `${label}: `, element("bdi", {}, text));
  const more = notes.map(({ tone, text }) => element("p", { className: `effect ${tone}` }, text));
  const raw = diffs.length > 0 ? [element("details", { className: "raw" }, element("summary", {}, "Show definitions"), ...diffs.map(diff))] : [];
  return element("li", {}, what, element("span", { className: "step" }), ...more, ...raw);
}

function diff(text) {
  const kind = (line) => {
    if (line.startsWith("---") || line.startsWith("+++")) return "name";
    return { "+": "added", "-": "removed", "@": "place" }[line[0]] ?? "";
  };
  const lines = text.trimEnd().split("\n");
  return element("pre", { className: "diff" }, ...lines.map((line) => element("span", { className: kind(line) }, `${line}\n`)));
}

function progress(bar, share) {
  bar.hidden = !share;
  if (share?.max) Object.assign(bar, share);
  else bar.removeAttribute("value");
}

/** Writes only what is new, because a screen reader speaks what is written. */
function write(part, text) {
  if (part.textContent !== (text || "")) part.textContent = text || "";
}

function build(root) {
  const button = (properties, ...children) => element("button", { type: "button", ...properties }, ...children);
  const parts = {
    dot: element("span", { className: "dot", ariaHidden: "true" }, "●"),
    title: element("p", { className: "title", role: "status" }),
    clock: element("span", { className: "clock", ariaHidden: "true" }),
    alert: element("p", { className: "alert", role: "alert" }),
    detail: element("p", { className: "detail", role: "status" }),
    bar: element("progress", { ariaLabel: "Progress" }),
    changes: element("ul", { id: "changes" }),
    sql: element("pre"),
    explanation: element("p", { className: "explanation", id: "explanation" }),
    advice: element("p"),
    how: element("pre"),
    made: element("input", { type: "checkbox" }),
    summary: element("p", { className: "summary", role: "status" }),
    testClock: element("span", { className: "clock", ariaHidden: "true" }),
    consent: element("p", { className: "consent", id: "consent", role: "status" }),
    reason: element("p", { className: "reason", id: "reason" }),
    toggle: button(),
    test: button(),
    cancel: button(),
    copy: button(),
    diagnose: button(),
    untested: button(),
    keep: button({ className: "default" }),
    adopt: button(),
    locking: button(),
    primary: button({ className: "primary" }),
    note: element("span", { className: "note", role: "status" }),
    dismiss: button({ className: "dismiss", ariaLabel: "Dismiss" }, "×"),
  };
  const { dot, title, clock, alert, detail, bar, changes, sql, explanation, advice, how, made, summary, testClock, consent, reason } = parts;
  const { toggle, test, cancel, copy, diagnose, untested, keep, adopt, locking, primary, note, dismiss } = parts;
  toggle.setAttribute("aria-controls", changes.id);
  test.setAttribute("aria-describedby", explanation.id);
  adopt.setAttribute("aria-describedby", consent.id);
  locking.setAttribute("aria-describedby", `${consent.id} ${reason.id}`);
  primary.setAttribute("aria-describedby", reason.id);
  parts.script = element("details", {}, element("summary", {}, "Show script"), sql);
  parts.body = element("div", { className: "body", role: "group", ariaLabel: "Details" }, changes, parts.script);
  const head = element("div", { className: "head" }, dot, title, clock);
  const check = element("label", {}, made, BACKUP_MADE);
  const help = element("details", {}, element("summary", {}, "How to back up"), how);
  parts.backup = element("div", { className: "backup", role: "group", ariaLabel: "Backup" }, advice, help, check);
  const line = element("div", { className: "line" }, summary, testClock);
  const actions = element("div", { className: "actions" }, toggle, test, cancel, copy, diagnose, untested, keep, adopt, locking, primary, note);
  parts.box = element("section", {}, head, alert, detail, bar, parts.body, explanation, parts.backup, line, consent, reason, actions, dismiss);
  root.append(parts.box);
  return parts;
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

customElements.define("schema-update-banner", SchemaUpdateBanner);
