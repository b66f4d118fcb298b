// Runs the acceptance suite: builds the server once, runs the test files side by side, prints a summary, and merges
// what passing tests exercised into results/evidence.json. A full run that passed also says whether
// docs/compatibility.md is behind.
//
//   npm test                        every test file on every engine whose services are there
//   npm test -- first-light reload  only the files whose name contains one of the words
//   QUICK=1 npm test                without the single node on Postgres, where the file also runs on the cluster, as CI does
//   ENGINES=embedded npm test       only some engines;  VERBOSE=1: every test;  JOBS=2: files at once
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { binary, builtCommands } from './harness/server.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const words = process.argv.slice(2);
const files = readdirSync(join(here, 'tests')).filter((name) => name.endsWith('.test.mjs'))
  .filter((name) => words.length === 0 || words.some((word) => name.includes(word)))
  .map((name) => join('tests', name));
if (files.length === 0) {
  console.error('no test file matches');
  process.exit(2);
}

const evidence = join(here, 'results', 'evidence');
rmSync(join(here, 'results'), { recursive: true, force: true });
mkdirSync(evidence, { recursive: true });

const child = spawn(process.execPath, [
  '--test', `--test-concurrency=${process.env.JOBS ?? 2}`, '--test-reporter=./harness/reporter.mjs', '--test-reporter-destination=stdout', ...files,
], { cwd: here, stdio: ['inherit', 'pipe', 'inherit'], env: { ...process.env, IMSERVER_BIN: binary(), IMSERVER_EVIDENCE_DIR: evidence } });

let tail = '';
child.stdout.on('data', (data) => {
  process.stdout.write(data);
  tail = (tail + data).slice(-200);
});

child.on('close', (code) => {
  const merged = {};
  const left = readdirSync(evidence).sort();
  // For a second run of these files alone.
  writeFileSync(join(here, 'results', 'failed'), left.filter((name) => name.endsWith('.failed')).map((name) => name.replace('.failed', '')).join(' '));
  for (const name of left.filter((name) => name.endsWith('.json'))) {
    const part = JSON.parse(readFileSync(join(evidence, name), 'utf8'));
    for (const [kind, items] of Object.entries(part)) {
      merged[kind] ??= {};
      for (const item of items) merged[kind][item] ??= name.replace('.json', '');
    }
  }
  for (const kind of Object.keys(merged)) merged[kind] = Object.fromEntries(Object.entries(merged[kind]).sort());
  // Complete: what docs/compatibility.md may be written from.
  merged.complete = code === 0 && words.length === 0 && !process.env.ENGINES && !process.env.QUICK && Boolean(process.env.IMSERVER_TEST_POSTGRES_URL);
  merged.built = builtCommands();
  writeFileSync(join(here, 'results', 'evidence.json'), `${JSON.stringify(merged, null, 1)}\n`);
  // A full run also tells whether docs/compatibility.md is behind; renewing it is `npm run compat`.
  if (merged.complete && spawnSync(process.execPath, ['compat/generate.mjs', '--check'], { cwd: here, stdio: 'inherit' }).status !== 0) {
    console.log(tail.trimEnd().split('\n').pop()); // the totals stay the last line
  }
  process.exit(code ?? 1);
});
