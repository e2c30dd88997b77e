// The daemon as an object. It needs nothing from a browser but the connection it is given, so
// the same file serves a page and Electron's main process.

/** The methods of the daemon. */
export const METHODS = ["checkUpdates", "applyUpdates", "changeLog", "status", "preview", "cancelPreview", "cancelChange", "rollback", "verify", "doctor", "install", "recognise", "baseline"];

/** The events of the daemon, and `connection`, which the client adds. */
export const EVENTS = [
  "connection",
  "schema:updateAvailable",
  "schema:applyProgress",
  "schema:applied",
  "schema:rolledBack",
  "schema:ahead",
  "schema:error",
];

/**
 * Why a request failed. `code` is the daemon's name of the error, such as `unreachable`, or
 * `disconnected` if the response was lost with the connection. `installSql` is the setup script,
 * if installing is the remedy, and `editorUrl` the page on which it is pasted. `doctorHelps` says
 * whether `doctor()` can find out more,
 * and `mayLock` whether consent to a lock helps.
 */
export class SchemaError extends Error {
  constructor(message, data) {
    super(message);
    this.name = "SchemaError";
    Object.assign(this, data);
  }
}

/**
 * Sends requests to the daemon over JSON-RPC 2.0, receives its events, and reconnects until it
 * is closed.
 *
 * `connect` opens a connection: a `WebSocket`, or anything with its `send`, `close` and
 * `addEventListener` for `open`, `message` and `close`.
 */
export class SchemaClient {
  #connect;
  #socket;
  #open = false;
  #closed = false;
  #failures = 0;
  #retry;
  #lastId = 0;
  #calls = new Map();
  #listeners = new Map(EVENTS.map((event) => [event, new Set()]));
  #present = new Map([["connection", "connecting"]]);

  constructor(connect) {
    this.#connect = connect;
    this.#start();
  }

  /** Checks for updates now: `{hasUpdates, currentVersion, latestVersion, pendingMigrations, backup?, setup?, unrecorded?, newer?, hosted?, problem?}`. */
  checkUpdates() {
    return this.#ask("schema:checkUpdates");
  }

  /**
   * Applies what is pending, or joins the same run under way: `{success, applied, error?}`.
   * With the `token` of a preview it applies what that showed, or nothing. `backupBy` says who
   * made a backup. `mayLock` is the user's consent that a table is locked where nothing runs a
   * version outside a transaction.
   */
  applyUpdates({ token, backupBy, mayLock } = {}) {
    return this.#ask("schema:applyUpdates", { token, backupBy, mayLock });
  }

  /** What each version of this build does: `[{version, migration_name, description}]`. */
  changeLog() {
    return this.#ask("schema:changeLog");
  }

  /**
   * Runs the update, or the rollback to a version, on the database and undoes it, to see what it
   * does. Joins the same test while it runs; one that has ended is run again.
   */
  preview({ rollbackTo } = {}) {
    return this.#ask("schema:preview", { rollbackTo });
  }

  /** Ends the running preview in the database, for all windows. Returns whether there was one. */
  cancelPreview() {
    return this.#ask("schema:cancelPreview");
  }

  /**
   * Ends the run under way, or what another daemon changes, so that nothing of its version is left.
   * Returns what became of it: `{outcome, …}`.
   */
  cancelChange({ cancelledBy } = {}) {
    return this.#ask("schema:cancelChange", { cancelledBy });
  }

  /** Rolls back to a version, as its preview showed: `{success, rolledBack?, error?}`. */
  rollback({ version, token, backupBy, mayLock }) {
    return this.#ask("schema:rollback", { version, token, backupBy, mayLock });
  }

  /** Whether the schema was changed outside the migrations: `{state, differences?, reason?}`. */
  verify() {
    return this.#ask("schema:verify");
  }

  /** Looks for what is wrong with the project. */
  doctor() {
    return this.#ask("schema:doctor");
  }

  /** Installs the functions, or upgrades them: `{outcome, release, route}`. */
  install() {
    return this.#ask("schema:install");
  }

  /**
   * Compares a schema that was made by hand with each version: `{objects, versions, shown?}`. A version
   * whose `likeness.kind` is `same` can be recorded.
   */
  recognise() {
    return this.#ask("schema:recognise");
  }

  /** Records that the database has this version already, if it makes exactly the schema that is there. */
  baseline({ version, reason }) {
    return this.#ask("schema:baseline", { version, reason });
  }

  /** The state of the database. */
  status() {
    return this.#ask("schema:status");
  }

  /**
   * Listens to one of `EVENTS`; the current state comes first. `connection` is `connecting`,
   * `open` or `lost`. Returns a function that ends it.
   */
  on(event, listener) {
    const listeners = this.#listeners.get(event);
    if (!listeners) throw new TypeError(`there is no event ${event}`);
    // Twice the same function is two listeners.
    const entry = { listener };
    listeners.add(entry);
    queueMicrotask(() => {
      if (listeners.has(entry) && this.#present.has(event)) call(listener, this.#present.get(event));
    });
    return () => listeners.delete(entry);
  }

  /** What a new listener to this event would hear at once. */
  present(event) {
    return this.#present.get(event);
  }

  /** Disconnects for good. Waiting requests fail. */
  close() {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#socket?.close();
    this.#refuseAll();
  }

  #start() {
    this.#socket = this.#connect();
    this.#socket.addEventListener("open", () => this.#opened());
    this.#socket.addEventListener("message", ({ data }) => call((text) => this.#received(text), data));
    this.#socket.addEventListener("close", () => this.#lost());
  }

  #opened() {
    this.#open = true;
    this.#failures = 0;
    this.#tell("connection", "open");
    for (const { text } of this.#calls.values()) this.#socket.send(text);
  }

  #lost() {
    // This may be out of date. The daemon sends the current state on the next connection.
    this.#present.clear();
    if (this.#open) this.#refuseAll();
    this.#open = false;
    if (this.#closed) return;
    const longest = Math.min(10_000, 250 * 2 ** this.#failures);
    this.#failures += 1;
    this.#retry = setTimeout(() => this.#start(), longest * (0.5 + Math.random() / 2));
    this.#tell("connection", "lost");
  }

  #ask(method, params) {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(disconnected());
      this.#lastId += 1;
      const text = JSON.stringify({ jsonrpc: "2.0", id: this.#lastId, method, params });
      this.#calls.set(this.#lastId, { text, resolve, reject });
      if (this.#open) this.#socket.send(text);
    });
  }

  #refuseAll() {
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const { reject } of calls) reject(disconnected());
  }

  #received(text) {
    const message = JSON.parse(text);
    if (message.method !== undefined) {
      this.#heard(message.method, message.params);
      return;
    }
    const waiting = this.#calls.get(message.id);
    if (!waiting) return;
    this.#calls.delete(message.id);
    const { error } = message;
    if (error) waiting.reject(new SchemaError(error.message, error.data));
    else waiting.resolve(message.result);
  }

  #heard(event, params) {
    // An event of a later daemon.
    if (!this.#listeners.has(event)) return;
    if (event !== "schema:applyProgress") {
      // Each of the others says how things stand, and so ends what was said before.
      for (const outdated of EVENTS.slice(1)) this.#present.delete(outdated);
    }
    // That something was applied or rolled back is news once, and no state.
    if (event === "schema:applied" || event === "schema:rolledBack") this.#notify(event, params);
    else this.#tell(event, params);
  }

  #tell(event, params) {
    this.#present.set(event, params);
    this.#notify(event, params);
  }

  #notify(event, params) {
    for (const { listener } of [...this.#listeners.get(event)]) call(listener, params);
  }
}

/** A mistake of one listener, or in one message, stays with it. */
function call(listener, params) {
  try {
    listener(params);
  } catch (error) {
    console.error(error);
  }
}

function disconnected() {
  return new SchemaError("the connection to ctx0 was lost before it answered", {
    code: "disconnected",
    retryable: true,
  });
}
