// What passing tests exercised: SDK methods that resolved, SDK events that were waited for, commands that answered.
// compat/generate.mjs turns it into docs/compatibility.md.
import { AsyncLocalStorage } from 'node:async_hooks';
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const kinds = ['methods', 'events', 'commands', 'rest', 'refused', 'refusedREST'];
const fresh = () => Object.fromEntries(kinds.map((kind) => [kind, new Set()]));

const kept = fresh();
const running = new AsyncLocalStorage(); // what the test has exercised so far: engines run their tests side by side

/**
 * Notes that the running test exercised something. Outside a test nothing is noted.
 * @param {'methods'|'events'|'commands'|'rest'|'refused'|'refusedREST'} kind
 *   methods: an SDK method resolved; events: an SDK event was awaited and came; commands: a command of the socket
 *   answered ErrorCode 0 or was pushed; rest: a REST command answered 0; refused, refusedREST: a test asserted that
 *   the method or command answers an error because it is not offered
 * @param {string} name
 */
export function note(kind, name) {
  running.getStore()?.[kind].add(name);
}

/** Runs a test body; what it exercised is kept only if it passes. */
export async function witnessed(body) {
  const mine = fresh();
  await running.run(mine, body);
  for (const kind of kinds) for (const name of mine[kind]) kept[kind].add(name);
}

// Each test file runs in a process of its own and leaves one file; run.mjs merges them.
process.on('exit', (code) => {
  const dir = process.env.IMSERVER_EVIDENCE_DIR;
  if (!dir) return;
  mkdirSync(dir, { recursive: true });
  const name = basename(process.argv[1] ?? 'unknown').replace(/\.test\.mjs$/, '');
  const out = Object.fromEntries(kinds.map((kind) => [kind, [...kept[kind]].sort()]));
  writeFileSync(join(dir, `${name}.json`), JSON.stringify(out));
  if (code !== 0) writeFileSync(join(dir, `${name}.failed`), '');
});
