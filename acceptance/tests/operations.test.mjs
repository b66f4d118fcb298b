// What docs/operations.md tells an operator to do, done: a backup taken while users chat and restored elsewhere, and an
// app's key replaced with an overlap.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { promisify } from 'node:util';
import { freshDatabase } from '../harness/backends.mjs';
import { engines } from '../harness/engines.mjs';
import { history } from '../harness/history.mjs';
import { freePort } from '../harness/ports.mjs';
import { RawClient } from '../harness/raw.mjs';
import { binary, Node } from '../harness/server.mjs';
import { userSig } from '../harness/sig.mjs';
import { sleep, until } from '../harness/wait.mjs';

const run = promisify(execFile);
const relogin = (raw) => raw.request('im_open_status.wslogin', { State: 'Online', is_web_uniapp: 0, InstType: 0, CustomInfo: '' });

/** Whether a program is installed: the sqlite3 shell is not needed for anything else. */
const installed = (program) => {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

/** Backs the server up as it runs; returns what makes it anew from the copy: the variables of its node. */
const backup = {
  async embedded(world) {
    const [from, to] = [`${world.server.dir}/data`, `${world.server.dir}/restored`];
    mkdirSync(to);
    await run('sqlite3', [`${from}/imserver.db`, `.backup ${to}/imserver.db`]);
    return async () => ({ IMSERVER_DATA_DIR: to });
  },
  async postgres(world) {
    const file = `${world.server.dir}/imserver.dump`;
    await run('pg_dump', ['--format=custom', `--file=${file}`, world.server.database.url]);
    return async (cleanUp) => {
      const restored = await freshDatabase();
      cleanUp.push(() => restored.drop());
      await run('pg_restore', [`--dbname=${restored.url}`, '--exit-on-error', file]);
      await run(binary(), ['migrate'], { env: { ...process.env, IMSERVER_DATABASE_URL: restored.url } });
      return { IMSERVER_DATABASE_URL: restored.url, IMSERVER_REDIS_URL: '' };
    };
  },
};

engines('backup and restore', { engines: ['embedded', 'postgres'], env: { IMSERVER_MAX_WEB_INSTANCES: '3' }, timeout: 120000 }, ({ test, engine }) => {
  test('a backup taken while users chat has all that was acknowledged before, and logins go on', { skip: engine === 'embedded' && !installed('sqlite3') }, async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const raw = await world.raw({ login: bob.userID });
    const { data } = await alice.sdk.createGroup({ type: 'Public', name: 'Team', memberList: [{ userID: bob.userID }] });
    const { groupID } = data.group;
    const sent = { [`C2C${alice.userID}`]: [], [`GROUP${groupID}`]: [] };
    const acknowledged = { ...sent };
    let talking = true;
    const talk = async () => {
      for (let i = 0; talking; i++) {
        sent[`C2C${alice.userID}`].push((await alice.sendText(bob.userID, `to you ${i}`)).ID);
        sent[`GROUP${groupID}`].push((await alice.sendText(groupID, `to all ${i}`, { group: true })).ID);
        await sleep(20);
      }
    };
    const talked = talk();
    await until(() => sent[`GROUP${groupID}`].length >= 10, { what: 'ten messages' });
    for (const [conversation, list] of Object.entries(sent)) acknowledged[conversation] = [...list];
    const restore = await backup[engine](world);
    talking = false;
    await talked;

    const cleanUp = [];
    const port = await freePort();
    const node = new Node('the restored node', port, `${world.server.dir}/restored.log`, world.nodes[0].env);
    try {
      node.env = { ...node.env, ...await restore(cleanUp), IMSERVER_LISTEN: `127.0.0.1:${port}` };
      await node.start();
      const again = world.user(bob.userID, { exact: true, url: node.url });
      await again.login();
      for (const [conversation, list] of Object.entries(acknowledged)) {
        await until(async () => {
          const seen = (await history(again, conversation)).map((m) => m.ID);
          return list.every((id) => seen.filter((s) => s === id).length === 1);
        }, { every: 300, what: `${conversation} after the restore` });
      }
      const back = await RawClient.open(node, world.app);
      back.session = raw.session;
      assert.equal((await relogin(back)).ErrorCode, 0, 'a login by key goes on');
      back.socket.terminate();
      const message = await again.sendText(alice.userID, 'from the copy');
      assert.ok((await history(again, `C2C${alice.userID}`)).some((m) => m.ID === message.ID));
      await again.leave();
    } finally {
      if (node.running) await node.stop();
      for (const step of cleanUp) await step();
    }
  });
});

engines('replacing a key', { env: { IMSERVER_MAX_WEB_INSTANCES: '5' }, timeout: 90000 }, ({ test }) => {
  test('old tickets and logins are good beside new ones, until the old key is taken out', async (world) => {
    const { appID, key: old } = world.app;
    const fresh = 'c0ffee'.repeat(10);
    const restart = async (keys, nodes = world.nodes) => {
      for (const node of nodes) await node.restart({ env: { IMSERVER_APPS: keys.map((key) => `${appID}:${key}`).join(',') } });
    };
    const userID = world.id('alice');
    const login = async (key) => {
      const raw = await world.raw();
      return [raw, (await raw.login(userID, { sig: userSig({ appID, key }, userID) })).ErrorCode];
    };
    const goesOn = async (session, node = 0) => {
      const raw = await world.raw({ node });
      raw.session = session;
      return (await relogin(raw)).ErrorCode;
    };
    const [first, ok] = await login(old);
    assert.equal(ok, 0);
    assert.equal((await login(fresh))[1], 70009, 'nobody knows the new key yet');

    await restart([old, fresh]);
    await restart([fresh, old], world.nodes.slice(0, 1)); // the first node is ahead of the others
    assert.equal(await goesOn(first.session), 0);
    const [second, stillGood] = await login(old);
    assert.equal(await goesOn(second.session, 1), 0, 'what it signs with the new key, the others know');
    await restart([fresh, old], world.nodes.slice(1));
    const [third, good] = await login(fresh);
    assert.deepEqual([stillGood, good], [0, 0]);

    await restart([fresh]);
    assert.equal(await goesOn(first.session), 70001, 'a login from before the new key ends');
    assert.deepEqual([await goesOn(second.session), await goesOn(third.session)], [0, 0], 'session keys were signed with the new key meanwhile');
    assert.equal((await login(old))[1], 70009);
    assert.equal((await login(fresh))[1], 0);
    await restart([old]); // for whoever tests next
  });
});
