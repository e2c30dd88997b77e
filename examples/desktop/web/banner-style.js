// The looks of the banner. A constructed sheet needs no exception in a Content-Security-Policy.
// The theme is the system's; the attribute theme="dark" or theme="light" overrides it.

export function style() {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(CSS);
  return sheet;
}

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
:host([state="setup"]), :host([state="rollback"]), :host([state="unavailable"]), :host([state="ahead"]),
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
.head { grid-area: 1 / 1; }
.dot { color: var(--tone); }
.title { font-weight: 600; text-wrap: balance; }
.alert, .detail { white-space: pre-line; }
/* Live regions stay in the page, so that what is written into them is spoken. */
p:empty:not([role="status"], [role="alert"]), .step:empty, .clock:empty { display: none; }
.consent:not(:empty) { padding-inline-start: 12px; border-inline-start: 2px solid light-dark(#875400, #f2be62); }
p:empty, .line:not(:has(:not(:empty))) { position: absolute; }
.alert { color: var(--tone); }
.detail { color: var(--muted); }
.alert, .body {
  max-height: clamp(5rem, 40vh, 24rem);
  overflow-y: auto;
  scrollbar-width: thin;
  scrollbar-color: var(--muted) transparent;
}
progress { width: 100%; height: 4px; background: var(--line); border: 0; border-radius: 2px; appearance: none; }
progress::-webkit-progress-bar { background: none; }
progress::-webkit-progress-value { background: var(--accent); border-radius: 2px; }
progress::-moz-progress-bar { background: var(--accent); border-radius: 2px; }
progress:indeterminate::-moz-progress-bar { background: none; }
progress:indeterminate {
  background: linear-gradient(90deg, transparent, var(--accent), transparent) 0 / 50% 100% no-repeat, var(--line);
  animation: slide 1.6s linear infinite;
}
@keyframes slide { from { background-position: -100% 0, 0 0; } to { background-position: 200% 0, 0 0; } }

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

.line, .head { display: flex; gap: 8px; align-items: baseline; }
.line > *, .head > * { min-width: 0; }
.clock, .dot { flex-shrink: 0; }
.summary { font-weight: 600; }
.summary[data-tone="muted"] { font-weight: 400; }
.summary[data-tone="good"] { color: light-dark(#17703a, #6fd694); }
.summary[data-tone="warning"] { color: light-dark(#875400, #f2be62); }
.summary[data-tone="grave"] { color: light-dark(#b3261e, #ff9a91); }
.clock { color: var(--muted); font-variant-numeric: tabular-nums; }
.explanation, .reason, .effect { color: var(--muted); }
.effect, .raw { flex-basis: 100%; }
.effect.warning { color: light-dark(#875400, #f2be62); }
.effect.grave { color: light-dark(#b3261e, #ff9a91); }
details summary { width: fit-content; color: var(--muted); cursor: pointer; }
.diff { margin: 4px 0; }
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
.default { color: var(--on-accent); background: var(--accent); border-color: var(--accent); }
/* In the corner in every state, and the last in the order of reading. */
.dismiss { grid-area: 1 / 2; align-self: start; min-width: 32px; margin: -6px -8px -6px 0; padding: 4px; background: none; border-color: transparent; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.moved:focus { outline: 2px solid var(--accent); outline-offset: 2px; }
[aria-disabled="true"] { color: var(--muted); background: var(--raised); border-color: var(--line); cursor: not-allowed; }
:host([state="applying"]) [aria-disabled="true"] { cursor: progress; }
:host([state="applying"]) .dot { animation: pulse 1.2s ease-in-out infinite alternate; }
@keyframes pulse { to { opacity: 0.25; } }
@media (prefers-reduced-motion: reduce) { .dot, progress { animation: none !important; } }
`;
