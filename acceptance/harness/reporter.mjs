// A readable report of a run: one line per suite, failures in full, counts per engine, and the totals as last line.
import { inspect } from 'node:util';

const counts = () => ({ passed: 0, failed: 0, skipped: 0 });
const line = (c) => `${c.passed} passed, ${c.failed} failed, ${c.skipped} skipped`;

/** The engine of a suite's title "[engine] …"; tests outside of one have none. */
const engineOf = (title) => title.match(/^\[(\w+)\]/)?.[1] ?? 'harness';

function describeError(error) {
  const cause = error?.cause ?? error;
  if (!(cause instanceof Error)) return inspect(cause);
  const at = (cause.stack ?? '').split('\n').filter((l) => l.includes('.test.mjs')).map((l) => l.trim()).join('\n');
  return `${cause.message}\n${at}${cause.cause ? `\ncaused by ${inspect(cause.cause)}` : ''}`;
}

export default async function* report(source) {
  const total = counts();
  const engines = new Map();
  // The runner reports suite after suite, also when they run side by side: one is current at a time.
  let suite = { title: 'harness', ...counts() };
  const failures = [];
  const of = (title) => {
    const engine = engineOf(title);
    if (!engines.has(engine)) engines.set(engine, counts());
    return engines.get(engine);
  };
  for await (const { type, data } of source) {
    if (type === 'test:start' && /^\[\w+\] /.test(data.name)) suite = { title: data.name, ...counts() };
    else if (type === 'test:start' && data.nesting === 0) suite = { title: 'harness', ...counts() };
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    // A file that defines nothing on the chosen engines is reported as a test of its own: it is none.
    if (data.nesting === 0 && data.name.endsWith('.test.mjs') && type === 'test:pass') continue;
    const isSuite = data.details?.type === 'suite';
    if (isSuite && data.name === suite.title) {
      if (data.skip) { total.skipped++; of(data.name).skipped++; }
      const own = suite.passed + suite.failed + suite.skipped;
      if (type === 'test:fail' && suite.failed === 0) { // a hook failed
        total.failed++; of(data.name).failed++;
        failures.push({ title: data.name, name: '(hook)', error: data.details.error });
      }
      const seconds = (data.details.duration_ms / 1000).toFixed(1);
      yield `${data.skip ? '-' : type === 'test:pass' ? '✔' : '✖'} ${data.name}: ${data.skip ? `skipped (${data.skip})` : `${line(suite)}`} (${seconds} s)${own || data.skip ? '' : ' no tests'}\n`;
      continue;
    }
    if (isSuite) continue;
    const key = data.skip !== undefined || data.todo !== undefined ? 'skipped' : type === 'test:pass' ? 'passed' : 'failed';
    total[key]++; of(suite.title)[key]++; suite[key]++;
    if (key === 'failed') {
      failures.push({ title: suite.title, name: data.name, error: data.details.error });
      const [first] = describeError(data.details.error).trim().split('\n');
      yield `  ✖ ${suite.title}: ${data.name}: ${first.slice(0, 200)}\n`;
    }
    if (process.env.VERBOSE) yield `  ${key === 'passed' ? '✔' : '·'} ${data.name} (${Math.round(data.details.duration_ms)} ms)\n`;
  }
  for (const { title, name, error } of failures) {
    yield `\n✖ ${title}: ${name}\n${describeError(error).replace(/^/gm, '    ')}\n`;
  }
  yield '\n';
  for (const [engine, c] of [...engines].sort()) yield `${engine.padEnd(9)} ${line(c)}\n`;
  yield `${line(total)}\n`;
}
