// What the banner knows, and how it changes. Pure: it reads no clock, touches no page and sends
// nothing. `update` returns the next model and what to do: requests to the daemon, and timers.

/** Who is recorded as having made a backup, and as having stopped an update. */
const BACKUP_BY = "the user, in the banner";

/** What is recorded as the reason of a baseline. */
const RECOGNISED = "the user recorded in the banner what was recognised";

const NOTHING = { state: "" };

export const START = {
  /** What is shown: `state` is one of those of `banner-view.js`, the rest is what it needs. */
  view: NOTHING,
  /** Shown once good news has been seen. */
  next: undefined,
  dismissed: false,
  connection: "connecting",
  /** The latest check that found updates. */
  check: undefined,
  /** Of the update or rollback on offer. */
  expanded: false,
  preview: undefined,
  backedUp: false,
  asking: false,
  /** What was found when the user asked for the cause of an error: `running`, `done` with checks, or `error`. */
  diagnosis: undefined,
  /**
   * Of tables that are there although no version is recorded: `comparing`, `compared` with a result, `recording`, or
   * `error`.
   */
  adoption: undefined,
  /** Why the last request was refused. */
  notice: "",
  /** Changes with each reset, so that late responses are recognized. */
  ticket: 0,
};

const UP_TO_DATE = ["applied", "current", "drifted"];
/** What stays until the user has seen it. */
const STAYS = ["failed", "rollbackFailed", "outdated"];
/** Refusals that leave the offer as it is. */
const REFUSALS = ["backupRequired", "blankBackupName", "changeRunning", "notBelow", "notReversible"];

/** The next model, and the effects: `[model, ...effects]`. */
export function update(model, message) {
  const result = HANDLERS[message.type](model, message);
  return Array.isArray(result) ? result : [result];
}

/** The update or rollback that a preview and the buttons are about. */
export function offer({ view, check }) {
  if (view.state === "rollback") return { rollbackTo: view.version };
  if (["available", "failed"].includes(view.state) && check) return { pending: check.pendingMigrations };
  return undefined;
}

/** The result of the preview, once there is one. */
export function tested({ preview }) {
  return preview?.state === "done" ? preview.result : undefined;
}

/** Whether a rollback may begin: only after a test that nobody cancelled, and only where it has anything to do. */
export function mayRollBack(model) {
  const versions = tested(model)?.versions ?? [];
  return versions.length > 0 && versions.every(({ state }) => state.reason !== "cancelled");
}

/** Whether the database is at the version already that a rollback would go to. */
export function isThere(model) {
  return model.view.state === "rollback" && tested(model)?.versions.length === 0;
}

/** The backup that is advised: by the preview, or else by the manifest. */
export function backupAdvice(model) {
  if (model.dismissed || !offer(model)) return undefined;
  const seen = tested(model);
  if (seen) return seen.backup ?? undefined;
  return model.view.state === "rollback" ? undefined : model.check.backup;
}

/** Whether the setup may work without anyone pasting the script. */
export function canInstall({ setup }) {
  return setup.canInstall !== false;
}

/** Whether there are tables of ctx0 that no version is recorded for. */
export function canAdopt({ view, check, dismissed }) {
  return !dismissed && view.state === "available" && Boolean(check?.unrecorded);
}

/** The lowest version that makes exactly the tables that are there; those above it are pending then. */
export function recognised({ adoption }) {
  return adoption?.result?.versions.find(({ likeness }) => likeness.kind === "same")?.version;
}

/** Whether the doctor can find out more about the error that is shown. */
export function canDiagnose({ view }) {
  return ["unavailable", "problem"].includes(view.state) && Boolean(view.error.doctorHelps);
}

/**
 * What the user has to agree to, because nothing runs a version outside a transaction: what waits while it runs
 * inside one, and on which table, `[{version, waits, reason, table}]`. Undefined where nothing is to be agreed to.
 */
export function lockConsent(model) {
  const { view, preview, dismissed } = model;
  if (dismissed || !offer(model) || preview?.state === "running") return undefined;
  if (view.state === "rollback" && !mayRollBack(model)) return undefined;
  const seen = tested(model);
  if (seen) {
    const locking = seen.versions.filter(({ outside }) => outside?.way === "transaction");
    return locking.length > 0 ? locking.map(({ version, outside, outsideTable: table }) => ({ version, table, ...outside })) : undefined;
  }
  return view.state === "failed" && view.error.mayLock ? [] : undefined;
}

/** The version that nothing runs, whatever the user agrees to. */
export function cannotRun(model) {
  return tested(model)?.versions.find(({ outside }) => outside && outside.way === null);
}

/** Whether a backup is required that the user has not confirmed. */
export function lacksBackup(model) {
  return backupAdvice(model)?.level === "required" && !model.backedUp;
}

/** Whether updates wait because the hosted service could not be asked. */
export function isHostedUnknown({ hosted }) {
  return hosted?.state === "unknown" && hosted.withheld?.length > 0;
}

const HANDLERS = {
  // The daemon.

  connection(model, { state }) {
    if (state !== "lost") return { ...model, connection: state };
    return [{ ...model, connection: state, view: { ...model.view, stale: true } }, { do: "waitForConnection" }];
  },

  stillDisconnected(model) {
    if (model.connection === "open" || model.view.state === "reconnecting") return model;
    return show(reset(model), { state: "reconnecting", unfinished: unfinished(model) });
  },

  updateAvailable(model, { check, asked = false }) {
    const isNew = !same(model.check, check);
    const [known, ...effects] = isNew ? leave(model) : [model];
    const next = { ...known, check };
    const { state, stale } = model.view;
    const view = { state: check.setup ? "setup" : "available", setup: check.setup };
    const keeps = STAYS.includes(state) || (state === "rollback" && !isNew);
    if ((state === "applying" && !stale) || (keeps && !model.dismissed && !asked)) return [next, ...effects];
    if (state === "rolledBack" && !model.dismissed) return [{ ...next, next: view }, ...effects];
    return [show(next, view, { keepNotice: state === "available" }), ...effects, { do: "notify", check }];
  },

  progress(model, { progress, now }) {
    const isRunning = model.view.state === "applying";
    const started = isRunning ? model : run(model, now);
    const { version, event } = progress;
    const steps = { ...started.view.steps, [version]: progress };
    const view = { ...started.view, stale: false, steps, waiting: undefined };
    if (event === "nextWay") view.nextWay = progress;
    if (event === "started") {
      const { action, position, total } = progress;
      Object.assign(view, { action, version, position, total, since: now, nextWay: undefined });
    }
    if (event === "waiting") view.waiting = { ...progress, since: now - progress.waitedMs };
    return isRunning ? { ...started, view } : show(started, view);
  },

  applied(model, { applied, currentVersion }) {
    const { state } = model.view;
    const next = { ...model, check: undefined };
    // Each check compares the schema: it may have been changed while the window was open.
    const verify = { do: "verify" };
    if (applied.length > 0) return show(reset(next), { state: "applied", currentVersion });
    if (UP_TO_DATE.includes(state) || (["rollback", "rollbackFailed"].includes(state) && !model.dismissed)) return [next, verify];
    const [left, ...effects] = leave(next);
    const view = state && !model.dismissed ? { state: "current", currentVersion } : NOTHING;
    return [show(left, view), ...effects, verify];
  },

  rolledBack(model, { rolledBack, currentVersion }) {
    const next = reset({ ...model, next: undefined });
    if (rolledBack.length > 0) return show(next, { state: "rolledBack", currentVersion });
    return model.view.state === "applying" ? show(next, NOTHING) : next;
  },

  // The database is newer than this app, which can work with it. The user hears of each version once.
  ahead(model, { check, isKnown }) {
    const { currentVersion } = check;
    if (isKnown) return HANDLERS.applied(model, { applied: [], currentVersion });
    const { state } = model.view;
    const next = { ...model, check: undefined };
    const view = { state: "newer", ...check };
    const isShown = state === "newer" && model.view.currentVersion === currentVersion;
    if (isShown || (["rollback", "rollbackFailed"].includes(state) && !model.dismissed)) return next;
    if (state === "rolledBack" && !model.dismissed) return { ...next, next: view };
    const [left, ...effects] = leave(next);
    return [show(left, view), ...effects];
  },

  failed(model, { error }) {
    const { state, stale, steps, pending } = model.view;
    if (error.rolledBack) return show(reset(model), { state: "rollbackFailed", error });
    if (error.problem) {
      const [left, ...effects] = leave({ ...model, check: undefined });
      return [show(left, { state: error.problem.kind === "databaseAhead" ? "ahead" : "problem", error }), ...effects];
    }
    if (error.applied) {
      if (error.installSql) return show(reset(model), { state: "setup", setup: error });
      return show(reset(model), { state: "failed", error, steps, pending });
    }
    if ((state === "applying" && !stale) || (STAYS.includes(state) && !model.dismissed)) return model;
    // The same failure again is no news: the daemon tries often while something is away.
    const isKnown = state === "unavailable" && model.view.error.code === error.code;
    // A check that reached the database has seen whether it finished.
    const view = { state: "unavailable", error, unfinished: error.code === "hostedUnknown" ? undefined : unfinished(model) };
    if (isKnown) return { ...model, view };
    const [left, ...effects] = leave(model);
    return [show(left, view), ...effects];
  },

  // The responses.

  previewed(model, { ticket, result, error }) {
    if (ticket !== model.ticket || model.preview?.state !== "running") return model;
    const versions = result?.versions.map((seen) => ({ state: { kind: seen.failure ? "failed" : "tested" }, unseen: [], ...seen }));
    const preview = error ? { state: "error", error } : { state: "done", result: { ...result, versions } };
    return { ...model, preview, asking: false, backedUp: false };
  },

  ran(model, { ticket, result, error }) {
    if (ticket !== model.view.ticket) return model;
    // The events tell how it ends, also after a lost connection.
    if (error?.code === "disconnected") return model;
    const isRollback = model.view.action === "rollback";
    if (result?.success) {
      if (isRollback) return model.view.state === "applying" ? show(model, NOTHING) : model;
      const { applied } = result;
      return HANDLERS.applied(model, { applied, currentVersion: applied.at(-1) });
    }
    if (result) return HANDLERS.failed(model, { error: { message: result.error, [isRollback ? "rolledBack" : "applied"]: result.rolledBack ?? result.applied } });
    if (error.code === "previewOutdated") return show(model, { state: "outdated" });
    if (!REFUSALS.includes(error.code)) {
      return HANDLERS.failed(model, { error: { ...error, [isRollback ? "rolledBack" : "applied"]: [] } });
    }
    // Another run that began meanwhile tells how it goes.
    if (error.code === "changeRunning" && Object.keys(model.view.steps).length > 0) return model;
    const back = model.check && !isRollback ? { state: "available" } : NOTHING;
    return [{ ...show(model, back), notice: error.code }, { do: "check", quiet: true }];
  },

  checked(model, { result, error }) {
    if (model.view.busy !== true) return model;
    const idle = { ...model, view: { ...model.view, busy: false } };
    if (error) return HANDLERS.failed(idle, { error });
    if (result.hasUpdates) return HANDLERS.updateAvailable(idle, { check: result, asked: true });
    // A problem is an event of its own, and so are a newer database and a hosted service that can't be asked.
    return result.problem || result.newer || isHostedUnknown(result) ? idle : HANDLERS.applied(idle, { applied: [], currentVersion: result.currentVersion });
  },

  installed(model, { error }) {
    const { state, busy, setup } = model.view;
    if (state !== "setup" || busy !== true) return model;
    if (!error) return [model, { do: "check" }];
    const byHand = error.code === "runByHand";
    const known = byHand ? { ...setup, canInstall: false, editorUrl: error.editorUrl ?? setup.editorUrl } : setup;
    return { ...model, view: { ...model.view, busy: false, setup: known, error: byHand ? undefined : error } };
  },

  /** What became of an update that was to be stopped; the run itself tells how it ended. */
  cancelled(model, { result, error }) {
    if (model.view.state !== "applying" || !model.view.isStopping) return model;
    const isOpen = error !== undefined || ["notPermitted", "requested"].includes(result.outcome);
    return isOpen ? { ...model, view: { ...model.view, isStopping: result !== undefined, stop: result ?? { outcome: "failed" } } } : model;
  },

  diagnosed(model, { ticket, result, error }) {
    if (ticket !== model.ticket || model.diagnosis?.state !== "running") return model;
    const checks = result?.checks.filter(({ state }) => ["failed", "warning"].includes(state));
    return { ...model, diagnosis: error ? { state: "error", error } : { state: "done", checks } };
  },

  compared(model, { ticket, result, error }) {
    if (ticket !== model.ticket || model.adoption?.state !== "comparing") return model;
    return { ...model, adoption: error ? { state: "error", error } : { state: "compared", result } };
  },

  /** The check after it tells what is pending now. */
  recorded(model, { ticket, error }) {
    if (ticket !== model.ticket || model.adoption?.state !== "recording") return model;
    return error ? { ...model, adoption: { state: "error", error } } : reset(model);
  },

  verified(model, { result }) {
    const { state } = model.view;
    const isQuiet = ["", ...UP_TO_DATE].includes(state);
    if (result?.state === "drifted" && isQuiet) return show(model, { state: "drifted", differences: result.differences });
    return result?.state === "unchanged" && state === "drifted" ? show(reset(model), NOTHING) : model;
  },

  // The user.

  toggle: (model) => ({ ...model, expanded: !model.expanded }),

  test(model, { now }) {
    if (!offer(model) || model.preview?.state === "running") return model;
    const next = reset(model);
    const preview = { state: "running", since: now };
    const params = { rollbackTo: offer(model).rollbackTo };
    return [{ ...next, expanded: model.expanded, preview }, { do: "preview", ticket: next.ticket, params }];
  },

  /** Ends what runs: a test, or the update itself. */
  cancel(model) {
    const { state, isStopping } = model.view;
    if (state === "applying") {
      if (isStopping) return model;
      return [{ ...model, view: { ...model.view, isStopping: true } }, { do: "cancelChange", params: { cancelledBy: BACKUP_BY } }];
    }
    if (model.preview?.state !== "running" || model.preview.isCancelled) return model;
    return [{ ...model, asking: false, preview: { ...model.preview, isCancelled: true } }, { do: "cancelPreview" }];
  },

  diagnose(model) {
    if (!canDiagnose(model) || model.diagnosis?.state === "running") return model;
    const next = reset(model);
    return [{ ...next, diagnosis: { state: "running" } }, { do: "diagnose", ticket: next.ticket }];
  },

  /** Looks which version the tables are that are there, and once that is known records it. */
  adopt(model) {
    if (!canAdopt(model) || ["comparing", "recording"].includes(model.adoption?.state)) return model;
    const version = recognised(model);
    if (version === undefined) {
      const [next, ...effects] = leave(model);
      return [{ ...next, adoption: { state: "comparing" } }, ...effects, { do: "recognise", ticket: next.ticket }];
    }
    const adoption = { ...model.adoption, state: "recording" };
    return [{ ...model, adoption }, { do: "baseline", ticket: model.ticket, params: { version, reason: RECOGNISED } }];
  },

  backedUp: (model, { checked }) => ({ ...model, backedUp: checked }),

  act(model, { now }) {
    const { state, busy } = model.view;
    if (busy || state === "applying") return model;
    if (state === "setup" && canInstall(model.view)) {
      return [{ ...model, view: { ...model.view, busy: true, error: undefined } }, { do: "install" }];
    }
    if (["unavailable", "problem", "outdated", "setup"].includes(state)) {
      return [{ ...model, view: { ...model.view, busy: true } }, { do: "check" }];
    }
    if (isThere(model)) return model;
    if (state === "rollback" && !mayRollBack(model)) return HANDLERS.test(model, { now });
    if (tested(model) && lockConsent(model)) return model;
    if (recognised(model) !== undefined) return model;
    if (lacksBackup(model)) return [model, { do: "focusBackup" }];
    if (model.preview?.state === "running") return { ...model, asking: true };
    return start(model, now);
  },

  /** The consent to a lock, which no other message gives. */
  actLocking(model, { now }) {
    if (!lockConsent(model)) return model;
    return lacksBackup(model) ? [model, { do: "focusBackup" }] : start(model, now, true);
  },

  actUntested: (model, { now }) => (model.asking ? start(model, now) : model),

  keepTesting: (model) => ({ ...model, asking: false }),

  offerRollback(model, { version }) {
    if (model.view.state === "applying") return { ...model, dismissed: false, notice: "changeRunning" };
    const [left, ...effects] = leave(model);
    return [show(left, { state: "rollback", version }), ...effects];
  },

  dismiss(model) {
    const [left, ...effects] = leave(model);
    const { state, currentVersion } = model.view;
    if (state === "newer") effects.push({ do: "remember", version: currentVersion });
    const view = state === "rollback" ? NOTHING : model.view;
    return [{ ...left, view, dismissed: true }, ...effects];
  },

  /** Good news was on the screen for long enough. */
  seen: (model) => show({ ...model, next: undefined }, model.next ?? NOTHING),
};

/** Shows something, also where the user had dismissed what was there. */
function show(model, view, { keepNotice = false } = {}) {
  return { ...model, view, dismissed: false, notice: keepNotice ? model.notice : "" };
}

/** Without everything that belongs to one offer. */
function reset(model) {
  return { ...model, expanded: false, preview: undefined, backedUp: false, asking: false, diagnosis: undefined, adoption: undefined, notice: "", ticket: model.ticket + 1 };
}

/** Resets, and ends a preview that nobody waits for now. */
function leave(model) {
  const isRunning = model.preview?.state === "running" && !model.preview.isCancelled;
  return isRunning ? [reset(model), { do: "cancelPreview" }] : [reset(model)];
}

function run(model, now) {
  const next = reset(model);
  const pending = model.check?.pendingMigrations;
  return { ...next, view: { state: "applying", ticket: next.ticket, since: now, pending, steps: {} } };
}

/**
 * Starts what the user agreed to: what the preview showed, where there is one. `mayLock` only where they agreed
 * to that by its own words.
 */
function start(model, now, mayLock = undefined) {
  const token = tested(model)?.token;
  const backupBy = backupAdvice(model) && model.backedUp ? BACKUP_BY : undefined;
  const { rollbackTo } = offer(model) ?? {};
  const next = show(run(model, now), run(model, now).view);
  if (rollbackTo === undefined) return [next, { do: "apply", ticket: next.ticket, params: { token, backupBy, mayLock } }];
  next.view.action = "rollback";
  return [next, { do: "rollback", ticket: next.ticket, params: { version: rollbackTo, token, backupBy, mayLock } }];
}

/** The run of which a lost connection took the end: `apply` or `rollback`. */
function unfinished({ view: { state, action = "apply", unfinished: known } }) {
  return state === "applying" ? action : known;
}

/** Whether two checks offer the same update. */
function same(left, right) {
  const key = ({ currentVersion, pendingMigrations, setup, unrecorded } = {}) =>
    JSON.stringify([currentVersion, pendingMigrations, setup?.code, unrecorded]);
  return left !== undefined && key(left) === key(right);
}
