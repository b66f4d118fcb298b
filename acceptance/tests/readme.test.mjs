// What README.md shows is run as it stands there, with the values of this server in it.
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { userSig } from '../harness/sig.mjs';

const run = promisify(execFile);
const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
const blocks = (language) => [...readme.matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, 'gm'))].map((match) => match[1]);

/** Text with every `from` replaced; each must be there, or the test would run something else than it says. */
const filled = (text, pairs) => pairs.reduce((done, [from, to]) => {
  assert.ok(done.includes(from), `README.md does not say ${from}`);
  return done.replaceAll(from, to);
}, text);

engines('the readme', {}, ({ test, engine }) => {
  test('its JavaScript logs in and sends, in Node as it describes', async (world) => {
    const [alice] = await world.users('alice');
    const bob = world.id('bob');
    const [snippet, forNode, ...more] = blocks('js');
    assert.deepEqual(more, []);
    const script = filled(forNode + snippet, [
      ['1400000001', world.app.appID], ['ws://127.0.0.1:8080', world.node(1).url], ["'alice'", `'${alice.userID}'`], ["'bob'", `'${bob}'`],
      ["'…'", `'${userSig(world.app, bob)}'`], ['await chat.sendMessage(message);', 'await chat.sendMessage(message);\n  process.exit(0);'],
    ]);
    const folder = new URL('../results/', import.meta.url); // below node_modules' parent, or nothing could be imported
    mkdirSync(folder, { recursive: true });
    const file = new URL(`readme-${engine}.mjs`, folder);
    writeFileSync(file, script);
    try {
      await run(process.execPath, [file.pathname], { timeout: 60000, maxBuffer: 1 << 24 });
    } finally {
      rmSync(file);
    }
    const got = await alice.waitForMessage((message) => message.from === bob);
    assert.equal(got.payload.text, 'hello');
  });

  test('its REST call answers what it says', async (world) => {
    const [shell, ...more] = blocks('sh');
    assert.deepEqual(more, []);
    const [, call] = shell.split(/^sig=.*\n/m);
    const answer = call.match(/^# (.*)$/m)[1];
    const command = filled(call, [['http://127.0.0.1:8080', world.node().http], ['1400000001', world.app.appID], ['"alice"', `"${world.id('alice')}"`]]);
    const { stdout } = await run('sh', ['-c', command], { env: { ...process.env, sig: userSig(world.app, 'administrator') } });
    assert.deepEqual(JSON.parse(stdout), JSON.parse(answer));
  });
});
