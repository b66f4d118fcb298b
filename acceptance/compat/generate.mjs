// Writes docs/compatibility.md: every public method and event of the SDK's type file and every command of the protocol,
// each with what is known about it from passing acceptance tests.
//
//   node compat/generate.mjs            from the kept evidence (compat/evidence.json)
//   node compat/generate.mjs --update   takes the evidence of the last run (results/evidence.json) first; needs a full run
//   node compat/generate.mjs --check    fails if the page is not what the kept evidence gives, or if the last run did
//                                       not show everything that the kept evidence claims
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const page = path('../../docs/compatibility.md');
const kept = path('./evidence.json');
const latest = path('../results/evidence.json');
const read = (file) => JSON.parse(readFileSync(file, 'utf8'));

/** Public methods and events of the SDK's type file; leading underscores are private. */
function declared() {
  const file = path('../node_modules/@tencentcloud/chat/index.d.ts');
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
  const names = { methods: [], events: [], signaling: [] };
  const enums = { EVENT: names.events, TSignaling: names.signaling };
  const visit = (node) => {
    if (ts.isClassDeclaration(node) && node.name.text === 'ChatSDK') {
      for (const member of node.members) if (ts.isMethodDeclaration(member)) names.methods.push(member.name.getText());
    }
    if (ts.isEnumDeclaration(node) && enums[node.name.text]) {
      for (const member of node.members) enums[node.name.text].push(member.name.getText());
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  names.methods = names.methods.filter((name) => !name.startsWith('_'));
  names.signaling = names.signaling.filter((name) => !name.startsWith('ACTION_TYPE'));
  return Object.fromEntries(Object.entries(names).map(([key, list]) => [key, [...new Set(list)]]));
}

const works = (test) => ['works', `\`${test}\``];

/** State of a name and the test that shows it. */
function stateOf(name, evidence, kind) {
  if (evidence[kind]?.[name]) return works(evidence[kind][name]);
  const refused = evidence[kind === 'rest' ? 'refusedREST' : 'refused']?.[name];
  if (refused) return ['answers an error', `\`${refused}\``];
  const built = kind === 'rest' ? evidence.built?.rest : kind === 'commands' ? evidence.built?.socket : undefined;
  return ['not yet', built?.includes(name) ? 'built, not asserted yet' : ''];
}

function table(title, head, names, evidence, kind) {
  const rows = names.map((name) => [`\`${name}\``, ...stateOf(name, evidence, kind)]);
  const count = (state) => rows.filter((row) => row[1] === state).length;
  return [
    `## ${title}`, '',
    `${rows.length} in all: ${count('works')} work, ${count('answers an error')} answer an error, ${count('not yet')} not yet.`, '',
    `| ${head} | state | shown by |`, '|---|---|---|', ...rows.map((row) => `| ${row.join(' | ')} |`), '',
  ].join('\n');
}

function render(evidence) {
  const { methods, events, signaling } = declared();
  const commands = read(path('./commands.json'));
  const names = (list) => list.map(({ name }) => name);
  return `${[
    '# What works', '',
    'Written by `npm run compat` in `acceptance/` from what the acceptance suite showed; do not edit.', '',
    '- **works**: an unmodified SDK (or a backend\'s call) used it in a test that passed on every engine it ran on; the last column names the test file.',
    '- **answers an error**: not offered, on purpose; a test asserts that it answers an error code.',
    '- **not yet**: nothing asserts it.', '',
    'The SDK is `@tencentcloud/chat` 3.6.6. Its predecessor `tim-js-sdk` 2.27.6 is run against the same server in `v2`.', '',
    table('Methods of the SDK', 'method', methods, evidence, 'methods'),
    table('Events of the SDK', 'event', events, evidence, 'events'),
    table('Events of its signaling', 'event', signaling, evidence, 'events'),
    table('Commands of the socket, from client to server', 'command', names(commands.socket.filter((c) => !c.push)), evidence, 'commands'),
    table('Pushes of the socket, from server to client', 'push', names(commands.socket.filter((c) => c.push)), evidence, 'commands'),
    table('Commands of the REST API', 'command', names(commands.rest), evidence, 'rest'),
  ].join('\n').trimEnd()}\n`;
}

// Sent now and then, as time and circumstances have it: not seen in every run.
const occasional = new Set(['imopenstat.tim_web_report_v2', 'StatSvc.KickOther', 'im_open_status.wshello']);

/** What the kept evidence claims that the last run did not show. */
function unshown(claimed, shown) {
  return ['methods', 'events', 'commands', 'rest', 'refused', 'refusedREST'].flatMap((kind) =>
    Object.keys(claimed[kind] ?? {}).filter((name) => !shown[kind]?.[name] && !occasional.has(name)).map((name) => `${kind}: ${name}`));
}

const mode = process.argv[2];
if (mode === '--update') {
  const shown = read(latest);
  if (!shown.complete) throw new Error('the last run was not a full one: run npm test without words or ENGINES, and let it pass');
  delete shown.complete;
  writeFileSync(kept, `${JSON.stringify(shown, null, 1)}\n`);
}
const text = render(read(kept));
if (mode === '--check') {
  const problems = [];
  if (!existsSync(page) || readFileSync(page, 'utf8') !== text) problems.push('docs/compatibility.md is not what its evidence gives: npm run compat');
  if (existsSync(latest) && read(latest).complete) problems.push(...unshown(read(kept), read(latest)).map((line) => `claimed, but not shown by the last run: ${line}`));
  for (const problem of problems) console.error(problem);
  process.exit(problems.length ? 1 : 0);
}
writeFileSync(page, text);
