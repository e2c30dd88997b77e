// Tests of the pure functions of `banner-model.js` and `banner-view.js`. Runs in the page, as the
// body of an async function; the result is what failed.

const load = (file) => import(new URL(file, location));
const { START, lacksBackup, offer, tested, update } = await load("banner-model.js");
const { PREVIEW_SECONDS, view, versions, words } = await load("banner-view.js");

const failures = [];
function test(name, body) {
  try {
    body();
  } catch (error) {
    failures.push(`${name}: ${error.message}`);
  }
}

function equal(actual, expected) {
  const [left, right] = [actual, expected].map((value) => JSON.stringify(value));
  if (left !== right) throw new Error(`${left} is not ${right}`);
}

/** A pure function leaves its arguments as they are. */
function freeze(value) {
  if (typeof value !== "object" || value === null) return value;
  Object.values(value).forEach(freeze);
  return Object.freeze(value);
}

/** The model after some messages, and the effects of the last one. */
function play(messages, model = START) {
  let effects = [];
  for (const message of messages) [model, ...effects] = update(freeze(model), freeze(message));
  return { model, effects, does: effects.map((effect) => effect.do) };
}

const pending = (...numbers) => numbers.map((version) => ({ version, migration_name: `v_${version}`, description: `Does ${version}` }));
const found = (numbers = [2], more = {}) => ({
  type: "updateAvailable",
  check: { currentVersion: 1, latestVersion: numbers.at(-1), pendingMigrations: pending(...numbers), ...more },
});
const seenVersion = (version, kind = "tested", more = {}) => ({
  version, state: { kind }, warnings: [], changes: [], rows: [], unseen: [], failure: null, ...more,
});
const seen = (...list) => ({ token: "token", backup: null, versions: list });
const lost = { kind: "dataLost", message: "deletes the column a" };
const TEST = { type: "test", now: 0 };
const ACT = { type: "act", now: 0 };
const previewed = (model, result) => ({ type: "previewed", ticket: model.ticket, result });

/** On offer, tested with this result. */
function testedWith(result, ...before) {
  const { model } = play([...(before.length > 0 ? before : [found()]), TEST]);
  return play([previewed(model, result)], model).model;
}

// Stopping.

test("an update that runs can be stopped once, and tells why it goes on", () => {
  const stopping = play([found(), ACT, { type: "cancel" }]);
  equal([stopping.does, view(stopping.model).buttons.cancel], [["cancelChange"], false]);
  equal(play([{ type: "cancel" }], stopping.model).does, []);
  const refused = play([{ type: "cancelled", result: { outcome: "notPermitted", process: 7 } }], stopping.model).model;
  equal([view(refused).alert.includes("select pg_cancel_backend(7)"), view(refused).buttons.cancel], [true, false]);
  const lost = play([{ type: "cancelled", error: { message: "gone" } }], stopping.model).model;
  equal([view(lost).alert, view(lost).buttons.cancel], ["Couldn't ask the database to stop it. Try again.", "Stop"]);
  const { model } = play([{ type: "failed", error: { code: "changeCancelled", message: "stopped", applied: [1] } }], stopping.model);
  equal(view(model).title, "ctx0 schema update stopped");
});

// The cause of an error.

const away = (more = {}) => ({ type: "failed", error: { code: "unreachable", message: "no response", retryable: true, doctorHelps: true, ...more } });
const DIAGNOSE = { type: "diagnose" };

test("the cause is looked for where the doctor can find more, and once", () => {
  equal(view(play([away({ doctorHelps: false })]).model).buttons.diagnose, false);
  const offered = play([away()]).model;
  equal(view(offered).buttons.diagnose, "Find the Cause");
  const looking = play([DIAGNOSE], offered);
  equal([looking.effects, view(looking.model).buttons.diagnose], [[{ do: "diagnose", ticket: looking.model.ticket }], "Looking…"]);
  equal(play([DIAGNOSE], looking.model).effects, []);
});

test("what is wrong is listed with what to do, and stays while the daemon tries again", () => {
  const { model } = play([away(), DIAGNOSE]);
  const checks = [
    { name: "address", state: "good", found: "it is fine", remedy: null },
    { name: "connection", state: "failed", found: "nobody is there", remedy: "start it" },
    { name: "clock", state: "notChecked", found: "", remedy: null },
  ];
  const done = play([{ type: "diagnosed", ticket: model.ticket, result: { checks } }, away()], model).model;
  const shown = view(done);
  equal([shown.expanded, shown.list.map(({ label, text }) => `${label}: ${text}`)], [true, ["Connection: nobody is there"]]);
  equal([shown.list[0].notes[0].text, shown.summary.text, shown.buttons.toggle, shown.buttons.diagnose], ["Start it", "Found one problem.", false, "Look Again"]);
  // What was found belongs to this error.
  equal(play([found()], done).model.diagnosis, undefined);
  const late = play([found(), { type: "diagnosed", ticket: model.ticket, result: { checks } }], model).model;
  equal(late.diagnosis, undefined);
});

test("a doctor that fails says so", () => {
  const { model } = play([away(), DIAGNOSE]);
  const failed = play([{ type: "diagnosed", ticket: model.ticket, error: { code: "disconnected", message: "gone" } }], model).model;
  equal([view(failed).summary.text, view(failed).expanded], ["Couldn't look for the cause: the connection to ctx0 was lost before it answered.", false]);
});

// The setup.

const missing = (more = {}) => found([2], { setup: { code: "rpcNotInstalled", message: "missing", installSql: "select 1", canInstall: true, ...more } });

test("the setup is one click where SQL runs over HTTP, and a text to copy elsewhere", () => {
  const oneClick = play([missing()]).model;
  equal([view(oneClick).buttons.primary, Boolean(view(oneClick).buttons.copy)], ["Install", false]);
  equal(play([ACT], oneClick).does, ["install"]);
  const byHand = play([missing({ canInstall: false })]).model;
  equal([view(byHand).buttons.primary, Boolean(view(byHand).buttons.copy)], ["Continue", true]);
  equal(play([ACT], byHand).does, ["check"]);
});

test("an installation is followed by a check", () => {
  const { model } = play([missing(), ACT]);
  equal(view(model).buttons.primary, "Installing…");
  equal(play([ACT], model).does, []);
  equal(play([{ type: "installed", result: { outcome: "installed" } }], model).does, ["check"]);
});

test("where the setup cannot run over HTTP the script and the editor are shown", () => {
  const error = { code: "runByHand", message: "closed", editorUrl: "http://localhost/sql" };
  const { model } = play([missing(), ACT, { type: "installed", error }]);
  equal(view(model).buttons.primary, "Continue");
  equal(view(model).detail.startsWith("ctx0 can't install its functions by itself here. Copy the setup script, run all of it in the SQL editor at http://localhost/sql"), true);
});

test("a setup that failed says why and can be tried again", () => {
  const error = { code: "setupFailed", message: "the database refused it" };
  const { model } = play([missing(), ACT, { type: "installed", error }]);
  equal([view(model).alert, view(model).buttons.primary], ["The database refused it.", "Try Again"]);
  equal(play([ACT], model).does, ["install"]);
});

// The consent.

test("looking sends nothing", () => {
  equal(play([found(), { type: "toggle" }]).effects, []);
});

test("a test starts from a click and only once", () => {
  const { model, effects } = play([found(), TEST]);
  equal(effects, [{ do: "preview", ticket: model.ticket, params: {} }]);
  equal(play([TEST], model).effects, []);
});

test("applying without a test sends no token", () => {
  const { model, effects } = play([found(), ACT]);
  equal(effects, [{ do: "apply", ticket: model.view.ticket, params: {} }]);
  equal(play([ACT], model).effects, []);
});

test("applying after a test sends its token", () => {
  const { effects } = play([ACT], testedWith(seen(seenVersion(2))));
  equal(effects[0].params, { token: "token" });
});

test("applying during a test asks first", () => {
  const asking = play([found(), TEST, ACT]);
  equal([asking.effects, asking.model.asking], [[], true]);
  equal(play([ACT], asking.model).effects, []);
  equal(play([{ type: "keepTesting" }], asking.model).model.asking, false);
  equal(play([{ type: "actUntested", now: 0 }], asking.model).does, ["apply"]);
  equal(play([{ type: "actUntested", now: 0 }], play([found(), TEST]).model).effects, []);
});

test("the end of a test ends the question about it", () => {
  const { model } = play([found(), TEST, ACT]);
  equal(play([previewed(model, seen(seenVersion(2)))], model).model.asking, false);
});

test("a result that belongs to another offer is dropped", () => {
  const { model } = play([found(), TEST]);
  const late = previewed(model, seen(seenVersion(2)));
  equal(tested(play([found([2, 3]), late], model).model), undefined);
});

test("a required backup is confirmed before anything is sent, and by its name", () => {
  const required = found([2], { backup: { level: "required", instructions: "" } });
  const unticked = play([required, ACT]);
  equal([unticked.does, lacksBackup(unticked.model)], [["focusBackup"], true]);
  const ticked = play([required, { type: "backedUp", checked: true }, ACT]);
  equal(ticked.effects[0].params, { backupBy: "the user, in the banner" });
});

test("a backup that is not asked for is not claimed", () => {
  equal(play([found(), { type: "backedUp", checked: true }, ACT]).effects[0].params, {});
});

test("the tick is for one update", () => {
  const required = { backup: { level: "required", instructions: "" } };
  const ticked = [found([2], required), { type: "backedUp", checked: true }];
  for (const news of [found([2, 3], required), { type: "dismiss" }, { type: "applied", applied: [2], currentVersion: 2 }]) {
    equal(play([...ticked, news]).model.backedUp, false);
  }
  equal(play([...ticked, found([2], required)]).model.backedUp, true);
});

test("what is no longer wanted is cancelled in the database", () => {
  for (const news of [found([2, 3]), { type: "dismiss" }, { type: "offerRollback", version: 0 }]) {
    equal(play([found(), TEST, news]).does.includes("cancelPreview"), true);
  }
  equal(play([found(), TEST, { type: "cancel" }, { type: "cancel" }]).effects, []);
});

test("the same update keeps what is known of it", () => {
  const model = testedWith(seen(seenVersion(2)));
  equal(tested(play([found()], model).model).token, "token");
  equal(tested(play([found([2, 3])], model).model), undefined);
});

// Tables that were made by hand.

const MADE = found([1, 2, 3], { currentVersion: 0, unrecorded: ["table public.ctx0_notes", "table public.ctx0_tags"] });
const ADOPT = { type: "adopt" };
const compared = (...kinds) => ({ versions: kinds.map((kind, index) => ({ version: index + 1, likeness: { kind, objects: 3 - index } })) });

test("tables without a version are compared on a click, and the lowest that is the same is recorded", () => {
  const offered = play([MADE]);
  equal([offered.does.includes("recognise"), view(offered.model).buttons.adopt, view(offered.model).isDefault], [false, "Find Their Version", false]);
  const comparing = play([ADOPT], offered.model);
  equal([comparing.effects, view(comparing.model).buttons.adopt], [[{ do: "recognise", ticket: comparing.model.ticket }], "Comparing…"]);
  equal(play([ADOPT], comparing.model).effects, []);
  const known = play([{ type: "compared", ticket: comparing.model.ticket, result: compared("different", "same", "same") }], comparing.model).model;
  equal(view(known).consent, "This database already has the tables of version 2. Record it as version 2: nothing in the tables changes.");
  equal([view(known).buttons.adopt, view(known).buttons.primary], ["Record as v2", undefined]);
  // Applying would fail over them.
  equal(play([ACT], known).effects, []);
  const recording = play([ADOPT], known);
  equal([recording.effects[0].do, recording.effects[0].params.version, view(recording.model).buttons.adopt], ["baseline", 2, "Recording…"]);
  equal(play([ADOPT], recording.model).effects, []);
  const changed = play([{ type: "recorded", ticket: recording.model.ticket, error: { code: "notRecognised", message: "" } }], recording.model).model;
  equal([view(changed).consent.includes("have changed since"), view(changed).buttons.adopt], [true, "Try Again"]);
});

test("tables that are no version leave the update on offer", () => {
  const comparing = play([MADE, ADOPT]).model;
  const result = { ...compared("different", "different", "different"), shown: { changes: [{ kind: "table", name: "public.ctx0_notes", diff: "-a" }] } };
  const { model } = play([{ type: "compared", ticket: comparing.ticket, result }], comparing);
  const shown = view(model);
  equal([shown.consent.includes("closest is v3 (1 object differs)"), shown.buttons.adopt, shown.buttons.primary], [true, "Compare Again", "Apply Update"]);
  equal(shown.list.map(({ text }) => text), ["ctx0_notes"]);
  equal(play([ACT], model).does, ["apply"]);
  // One that was not compared may be the version.
  for (const [kinds, text] of [
    [["different", "different", "notCompared"], "v3 couldn't be compared with them, and they are none of the versions before."],
    [["different", "notCompared", "notCompared"], "v2 and later couldn't be compared with them"],
  ]) {
    const partly = play([{ type: "compared", ticket: comparing.ticket, result: compared(...kinds) }], comparing).model;
    equal([view(partly).consent.includes(text), view(partly).consent.includes("closest")], [true, false]);
  }
});

test("nothing is compared where every table has its version, or the result is of another offer", () => {
  equal([view(play([found()]).model).buttons.adopt, play([ADOPT], play([found()]).model).effects], [undefined, []]);
  const { model } = play([MADE, ADOPT]);
  const late = play([found([2, 3]), { type: "compared", ticket: model.ticket, result: compared("same") }], model).model;
  equal(late.adoption, undefined);
});

// Outside a transaction.

const OUTSIDE = { way: "postgresMeta", reason: null, waits: null };
const LOCKS = { way: "transaction", reason: "/pg/query is closed", waits: "writing to ctx0_notes waits about 12 s" };
const CLOSED = { way: null, reason: "/pg/query is closed", waits: null };
const LOCKING = { type: "actLocking", now: 0 };
const TABLE = { relation: "public.ctx0_notes", bytes: 3221225472, size: "3.0 GB", fastestSecs: 24, slowestSecs: 120, takes: "about 24 s to 2 min" };
const outside = (how, outsideTable = null) => seen(seenVersion(2, "tested", { outside: how, outsideTable }));
const notesOf = (model) => view(model).list[0].notes.map(({ text }) => text);

test("a version that runs beside the app says so, before and after the test", () => {
  const check = found([2], { pendingMigrations: [{ ...pending(2)[0], outside: true }] });
  for (const model of [play([check]).model, testedWith(outside(OUTSIDE), check)]) {
    const [note] = notesOf(model).slice(-1);
    equal([note.startsWith("Runs beside the app"), note.includes("isn't undone as a whole"), note.includes("removed by itself")], [true, true, true]);
    equal([view(model).consent, view(model).buttons.locking, view(model).buttons.primary], [undefined, undefined, "Apply Update"]);
  }
});

test("a version that runs beside the app says how long it takes where it reads its table", () => {
  const said = (table) => notesOf(testedWith(outside(OUTSIDE, table))).filter((note) => note.startsWith("Takes"));
  equal(said(TABLE), ["Takes about 24 s to 2 min: ctx0_notes has 3.0 GB."]);
  equal([said({ ...TABLE, slowestSecs: 0, takes: "a moment" }), said(null)], [[], []]);
});

test("the consent to a lock says how large the table is", () => {
  const { consent, buttons } = view(testedWith(outside(LOCKS, TABLE)));
  equal(consent.endsWith("it runs all the same, and writing to ctx0_notes waits about 12 s (it has 3.0 GB)."), true);
  equal(buttons.locking, "Apply Now; writing to ctx0_notes waits about 12 s");
});

test("a lock needs consent by its own words and button", () => {
  const model = testedWith(outside(LOCKS));
  const { consent, buttons, isDefault } = view(model);
  equal(consent.includes("writing to ctx0_notes waits about 12 s") && consent.includes("/pg/query is closed"), true);
  equal([buttons.locking, buttons.primary, isDefault], ["Apply Now; writing to ctx0_notes waits about 12 s", undefined, false]);
  equal(play([LOCKING], model).effects[0].params, { token: "token", mayLock: true });
});

test("no other message consents to a lock", () => {
  const model = testedWith(outside(LOCKS));
  equal(play([ACT], model).effects, []);
  const others = ["actUntested", "keepTesting", "toggle", "diagnose", "cancel", "dismiss", "seen"];
  for (const type of others) equal(play([{ type, now: 0 }], model).does.includes("apply"), false);
  // Nor does its own where there is nothing to consent to.
  for (const other of [play([found()]).model, play([found(), TEST]).model, testedWith(outside(OUTSIDE)), testedWith(outside(CLOSED))]) {
    equal(play([LOCKING], other).effects, []);
  }
  // Consent is to what was tested: another update, a dismissal and a new test end it.
  for (const news of [found([2, 3]), { type: "dismiss" }, TEST]) equal(play([news, LOCKING], model).does.includes("apply"), false);
});

test("the consent to a lock does not replace a required backup", () => {
  const advice = { level: "required", instructions: "" };
  const model = testedWith({ ...outside(LOCKS), backup: advice });
  equal([play([LOCKING], model).does, Boolean(view(model).blocked)], [["focusBackup"], true]);
  const ticked = play([{ type: "backedUp", checked: true }, LOCKING], model);
  equal(ticked.effects[0].params, { token: "token", backupBy: "the user, in the banner", mayLock: true });
});

test("a run that nothing could run offers the lock where that helps", () => {
  const failed = (more) => ({ type: "failed", error: { code: "nothingRunsSql", message: "closed", applied: [], ...more } });
  const offered = play([found(), ACT, failed({ mayLock: true })]).model;
  equal([view(offered).buttons.locking, view(offered).buttons.primary], ["Apply Now; writing waits", "Try Again"]);
  equal(play([ACT], offered).effects[0].params, {});
  equal(play([LOCKING], offered).effects[0].params, { mayLock: true });
  const forbidden = play([found(), ACT, failed({})]).model;
  equal([view(forbidden).buttons.locking, play([LOCKING], forbidden).effects], [undefined, []]);
  // What a test finds then counts.
  const { model } = play([TEST], offered);
  equal(view(model).buttons.locking, undefined);
  equal(view(play([previewed(model, outside(OUTSIDE))], model).model).buttons.locking, undefined);
});

test("a rollback that locks is consented to after its test", () => {
  const rollback = { type: "offerRollback", version: 0 };
  const model = testedWith(seen(seenVersion(1, "tested", { outside: LOCKS })), rollback);
  equal([view(model).buttons.locking, view(model).buttons.primary], ["Roll Back Now; writing to ctx0_notes waits about 12 s", undefined]);
  equal(play([LOCKING], model).effects[0].params, { version: 0, token: "token", mayLock: true });
  const cancelled = seenVersion(1, "notFinished", { state: { kind: "notFinished", reason: "cancelled" }, outside: LOCKS });
  const untested = testedWith(seen(cancelled), rollback);
  equal([view(untested).buttons.locking, play([LOCKING], untested).effects], [undefined, []]);
});

test("what nothing can run is said first", () => {
  const { summary, isDefault } = view(testedWith(outside(CLOSED)));
  equal([summary.text.startsWith("v2 can't run here"), summary.tone, isDefault], [true, "grave", false]);
});

test("the way that is taken instead stays in sight while it runs", () => {
  const tell = (progress) => ({ type: "progress", now: 0, progress: { version: 2, ...progress } });
  const started = tell({ event: "started", action: "apply", position: 1, total: 2 });
  const next = tell({ event: "nextWay", way: "transaction", reason: "/pg/query is closed" });
  const waits = tell({ event: "waiting", reason: "running", waitedMs: 0 });
  const said = "v2 can't run beside the app here (/pg/query is closed). Writing to its table waits until it is done.";
  const { model } = play([started, next, waits]);
  equal(view(model).detail.split("\n"), [said, "This step is still running in your database"]);
  equal(view(play([tell({ event: "started", version: 3, action: "apply", position: 2, total: 2 })], model).model).detail, "");
});

test("a step that did not fail is not called failed", () => {
  const ended = (end) => {
    const steps = [{ event: "started", action: "apply", version: 2, position: 1, total: 1 }, { event: "failed", version: 2, end, error: "" }];
    const { model } = play([found(), ...steps.map((progress) => ({ type: "progress", now: 0, progress })), { type: "failed", error: { message: "", applied: [] } }]);
    return view(model).list[0].step;
  };
  equal(["failed", "cancelled", "stillRunning", "unknown"].map(ended), ["failed", "stopped", "still running", "not known yet"]);
});

// Other computers.

const aheadOf = (currentVersion, isKnown = false) => ({
  type: "ahead", isKnown, check: { currentVersion, latestVersion: 2, pendingMigrations: [], newer: pending(currentVersion) },
});

test("a newer database that the app can work with is told once a version", () => {
  const told = play([aheadOf(3)]);
  equal([told.model.view.state, told.does], ["newer", []]);
  equal(play([aheadOf(3)], told.model).model, told.model);
  const dismissed = play([{ type: "dismiss" }], told.model);
  equal([view(dismissed.model).state, dismissed.effects], ["", [{ do: "remember", version: 3 }]]);
  const known = play([aheadOf(3, true)], dismissed.model);
  equal([view(known.model).state, known.does], ["", ["verify"]]);
  equal(view(play([aheadOf(4)], known.model).model).state, "newer");
});

test("a newer database ends what was wrong or on offer, but no question about a rollback", () => {
  equal(play([found(), TEST, aheadOf(3)]).does, ["cancelPreview"]);
  equal(play([{ type: "failed", error: { code: "unreachable", message: "", retryable: true } }, aheadOf(3)]).model.view.state, "newer");
  equal(play([{ type: "offerRollback", version: 0 }, aheadOf(3)]).model.view.state, "rollback");
});

test("an update that stops older apps says so", () => {
  const notes = (more) => view(play([found([2], { pendingMigrations: [{ ...pending(2)[0], ...more }] })]).model).list[0].notes.map(({ text }) => text);
  equal(notes({}), []);
  equal(notes({ breaking: false }), []);
  equal(notes({ breaking: true }), ["Apps on other computers must be updated as well."]);
  equal(notes({ breaking: true, min_app_version: "1.4.0" }), ["Apps on other computers must be version 1.4.0 or newer."]);
});

// Drift.

test("each check compares the schema, and a dismissed change of it comes back", () => {
  const upToDate = { type: "applied", applied: [], currentVersion: 2 };
  const drift = { type: "verified", result: { state: "drifted", differences: [{ kind: "table", name: "public.a", diff: "" }] } };
  const first = play([upToDate]);
  const second = play([{ type: "verified", result: { state: "unchanged" } }, upToDate], first.model);
  equal([first.does, second.does, second.model.view.state], [["verify"], ["verify"], ""]);
  const { model } = play([drift, { type: "dismiss" }], second.model);
  equal(view(model).state, "");
  const again = play([upToDate], model);
  equal([again.does, view(play([drift], again.model).model).state], [["verify"], "drifted"]);
  equal(view(play([drift, { type: "verified", result: { state: "unchanged" } }], again.model).model).state, "");
  // An offer is not covered by it.
  equal(play([found(), drift]).model.view.state, "available");
});

// Rolling back.

const ROLLBACK = { type: "offerRollback", version: 0 };

test("a rollback is tested first and sends the token", () => {
  const offered = play([ROLLBACK]);
  equal([offer(offered.model), offered.effects], [{ rollbackTo: 0 }, []]);
  equal(play([ACT], offered.model).effects[0].params, { rollbackTo: 0 });
  const { effects } = play([ACT], testedWith(seen(seenVersion(1)), ROLLBACK));
  equal([effects[0].do, effects[0].params], ["rollback", { version: 0, token: "token" }]);
});

test("a rollback to the version of the database has nothing to do", () => {
  const { title, summary, buttons, backup } = view(testedWith(seen(), ROLLBACK));
  equal([title, summary, backup], ["The database is already at v0", undefined, undefined]);
  equal(Object.entries(buttons).filter(([, label]) => label), []);
  equal(play([ACT], testedWith(seen(), ROLLBACK)).effects, []);
});

test("a cancelled test is no consent to a rollback", () => {
  const cancelled = seenVersion(1, "notFinished", { state: { kind: "notFinished", reason: "cancelled" } });
  const model = testedWith(seen(cancelled), ROLLBACK);
  equal(view(model).buttons.primary, "Test Again");
  equal(play([ACT], model).does, ["preview"]);
});

test("a slow test is one", () => {
  const slow = seenVersion(1, "notFinished", { state: { kind: "notFinished", reason: "budgetUsed" } });
  equal(view(testedWith(seen(slow), ROLLBACK)).buttons.primary, "Roll Back");
});

test("a run is not covered by the offer of a rollback", () => {
  const { model } = play([found(), ACT, ROLLBACK]);
  equal([model.view.state, view(model).alert], ["applying", "An update is in progress. Try again when it finishes."]);
});

// What others do.

test("a run of another window takes the place of the offer", () => {
  const started = { type: "progress", now: 9, progress: { event: "started", action: "apply", version: 2, position: 1, total: 1 } };
  const { model } = play([found(), TEST, started]);
  equal([model.view.state, model.preview], ["applying", undefined]);
});

test("a refusal gives the offer back", () => {
  const { model } = play([found(), ACT]);
  const refused = { type: "ran", ticket: model.view.ticket, error: { code: "changeRunning", message: "" } };
  const next = play([refused], model);
  equal([next.model.view.state, next.does], ["available", ["check"]]);
  equal(view(next.model).alert, "An update is in progress. Try again when it finishes.");
});

test("a short interruption is not shown, a longer one is", () => {
  const lost = play([found(), { type: "connection", state: "lost" }]);
  equal([lost.model.view.state, lost.does], ["available", ["waitForConnection"]]);
  equal(play([{ type: "stillDisconnected" }], lost.model).model.view.state, "reconnecting");
  equal(play([{ type: "connection", state: "open" }, { type: "stillDisconnected" }], lost.model).model.view.state, "available");
});

test("a run of which the end is not known gives way to what is known", () => {
  const lost = [{ type: "connection", state: "lost" }, { type: "connection", state: "open" }];
  const running = play([found(), ACT]).model;
  // A daemon that is there tells how its run ends.
  equal(play([away()], running).model.view.state, "applying");
  for (const before of [[], [{ type: "cancel" }], [{ type: "stillDisconnected" }]]) {
    const messages = before[0]?.type === "stillDisconnected" ? [lost[0], before[0], lost[1]] : [...before, ...lost];
    const { model } = play([...messages, away(), away()], running);
    const { title, detail, buttons } = view(model);
    equal([title, detail], ["Can't reach the ctx0 database", "Whether the update finished isn't known yet.\nNo response."]);
    equal([buttons.cancel, buttons.primary], [false, "Check Again"]);
    equal(play([found()], model).model.view.state, "available");
  }
  const rollback = testedWith(seen(seenVersion(1)), { type: "offerRollback", version: 0 });
  const { model } = play([ACT, ...lost, away()], rollback);
  equal(view(model).detail.startsWith("Whether the rollback finished isn't known yet."), true);
});

// The words.

test("the line about data says the important first", () => {
  const failed = { failure: { message: "division by zero" } };
  const notFinished = (reason) => ({ state: { kind: "notFinished", reason } });
  for (const [result, text, tone] of [
    [[seenVersion(2)], "Nothing is deleted.", "good"],
    [[seenVersion(2, "tested", { warnings: [lost] })], "Deletes the column a.", "grave"],
    [[seenVersion(2, "tested", { warnings: [lost, lost, lost] })], "Deletes the column a (and 2 more warnings).", "grave"],
    [[seenVersion(2, "failed", failed)], "This update will fail at v2 (division by zero).", "grave"],
    [
      [seenVersion(2, "tested", { warnings: [lost] }), seenVersion(3), seenVersion(4), seenVersion(5, "failed", failed)],
      "This update will fail at v5 (division by zero). v2–v4 would still be applied. Deletes the column a.",
      "grave",
    ],
    [
      [seenVersion(2, "notFinished", notFinished("budgetUsed")), seenVersion(3, "notTested")],
      `Too slow to test fully: more than ${PREVIEW_SECONDS} s. It may still succeed when applied.`,
      "warning",
    ],
    [[seenVersion(2, "notFinished", notFinished("cancelled"))], "Test cancelled.", "warning"],
    [
      [seenVersion(2), seenVersion(3, "after", { state: { kind: "after", version: 2 } })],
      "v3 can only be tested once v2 is applied.",
      "warning",
    ],
    [
      [seenVersion(2, "tested", { warnings: [lost] }), seenVersion(3, "after", { state: { kind: "after", version: 2 } })],
      "Deletes the column a. v3 can only be tested once v2 is applied.",
      "grave",
    ],
  ]) {
    equal(view(testedWith(seen(...result))).summary, { text, tone });
  }
});

test("a rollback is not said to bring data back", () => {
  const summary = (...result) => view(testedWith(seen(...result), ROLLBACK)).summary.text;
  equal(summary(seenVersion(2), seenVersion(1)), "Nothing is deleted. Data that v1 and v2 changed or deleted doesn't come back.");
  equal(summary(seenVersion(1, "failed", { failure: { message: "no" } })), "Rolling back will fail at v1 (no).");
});

test("a known failure is not the default", () => {
  const failed = seen(seenVersion(2, "failed", { failure: { message: "no" } }));
  equal(view(testedWith(failed)).isDefault, false);
  equal(view(play([found()]).model).isDefault, true);
});

test("a wait says what for", () => {
  const waiting = (reason) => ({ type: "progress", now: 0, progress: { event: "waiting", version: 2, reason, waitedMs: 0 } });
  const details = ["running", "otherChange", "preview", "functionsMissing", "noResponse", "tableInUse", "of a later daemon"].map(
    (reason) => view(play([waiting(reason)]).model).detail,
  );
  equal(new Set(details).size, 7);
  equal(details.every((detail) => detail), true);
});

test("versions are put together", () => {
  const cases = [[[], ""], [[2], "v2"], [[3, 2], "v2 and v3"], [[2, 3, 4], "v2–v4"], [[2, 3, 5], "v2, v3 and v5"]];
  for (const [numbers, text] of cases) equal(versions(numbers), text);
});

test("an error of the library becomes a sentence", () => {
  equal(words({ code: "unreachable", message: "could not connect: try again" }), "Could not connect: try again.");
});

return failures;
