// What docs/operations.md tells about bringing Postgres back to a point in time, done: its commands are read from there.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { engines } from '../harness/engines.mjs';
import { history } from '../harness/history.mjs';
import { missing, postgres } from '../harness/postgreses.mjs';
import { sleep, until } from '../harness/wait.mjs';

const runbook = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8').split('### To a point in time')[1].split('\n## ')[0];
const blocks = runbook.match(/(?<=\n\n)( {4,}.*\n)+/g).map((block) => block.replace(/^ +/gm, ''));

/** The runbook's lines that contain a word, for the folder of the backups and the moment of a test. */
function told(word, dir, moment = '') {
  const [block, ...others] = blocks.filter((text) => text.includes(word));
  assert.ok(block && others.length === 0, `one block of the runbook has ${word}`);
  const lines = moment === null ? block.replace(/^recovery_target_time.*\n/m, '') : block.replace('2025-05-01 12:34:56+00', moment);
  return lines.replaceAll('/backup', `${dir}/backup`);
}

const archiving = postgres(async ({ dir, shell }) => {
  await shell('mkdir -p backup/wal');
  return told('archive_command', dir).replace('archive_timeout = 60', 'archive_timeout = 2'); // a minute is too long to wait for
});
const env = { IMSERVER_MAX_WEB_INSTANCES: '3', IMSERVER_GROUP_RATE: '0', IMSERVER_LIMITS_COMMAND_RATE: '0' };
const relogin = (raw) => raw.request('im_open_status.wslogin', { State: 'Online', is_web_uniapp: 0, InstType: 0, CustomInfo: '' });

/** Two users who chat, one to one and in a group, until quiet(); said has what they sent, and when it was sent and acknowledged. */
async function chat(world) {
  const [alice, bob] = await world.users('alice', 'bob');
  const { data } = await alice.sdk.createGroup({ type: 'Public', name: 'Team', memberList: [{ userID: bob.userID }] });
  const { groupID } = data.group;
  const said = [];
  let talking = true;
  const talk = async (to, conversation, options) => {
    while (talking) {
      const sentAt = Date.now();
      const { ID } = await alice.sendText(to, `${said.length}`, options);
      said.push({ ID, conversation, sentAt, ackedAt: Date.now() });
      await sleep(20);
    }
  };
  const talks = [talk(bob.userID, `C2C${alice.userID}`), talk(groupID, `GROUP${groupID}`, { group: true })];
  const more = (count, from = said.length) => until(() => said.length >= from + count, { what: `${count} more messages` });
  const quiet = async () => {
    talking = false;
    await Promise.all(talks);
  };
  return { alice, bob, groupID, said, more, quiet };
}

/** The runbook's restore, from nodes that have stopped to nodes that have started. A moment of null is the end of the archive. */
async function restore({ nodes, server: { database, redis } }, moment) {
  await database.shell(told('recovery.signal', database.dir, moment));
  await database.start();
  await database.shell(told('CHECKPOINT', database.dir));
  await redis.flush();
  for (const node of nodes) await node.start();
}

/** Compares what a user reads, on a device that knows nothing yet, with what has to be there and what must not. */
async function assertReads(world, userID, there, gone) {
  const reader = world.user(userID, { exact: true });
  await reader.login();
  for (const conversation of new Set(there.map((m) => m.conversation))) {
    const ids = (list) => list.filter((m) => m.conversation === conversation).map((m) => m.ID);
    let seen;
    await until(async () => { // the SDK has a group's history only after its list of groups
      seen = (await history(reader, conversation)).map((m) => m.ID);
      return ids(there).every((id) => seen.includes(id));
    }, { every: 300, what: `all of ${conversation} that is not lost` });
    assert.equal(new Set(seen).size, seen.length, `${conversation}: nothing twice`);
    assert.deepEqual(ids(gone).filter((id) => seen.includes(id)), [], `${conversation}: nothing from later`);
  }
  return reader;
}

engines('to a point in time', { engines: ['cluster'], database: archiving, skip: missing, env, timeout: 120000 }, ({ test }) => {
  test('what was acknowledged before that moment is there, once; what was sent later is not; logins go on', async (world) => {
    const { database } = world.server;
    const { alice, bob, groupID, said, more, quiet } = await chat(world);
    const early = await world.raw({ login: bob.userID });
    await more(10);
    await database.shell(told('pg_basebackup', database.dir));
    await more(10);
    const moment = Date.now();
    await more(10);
    const late = await world.raw({ login: world.id('late') });
    await quiet();

    for (const node of world.nodes) await node.stop();
    await database.stop();
    await database.shell('mv "$PGDATA" old');
    await restore(world, new Date(moment).toISOString().replace('T', ' ').replace('Z', '+00'));

    const before = said.filter((m) => m.ackedAt < moment);
    const after = said.filter((m) => m.sentAt > moment);
    assert.ok(before.length >= 20 && after.length >= 6, `${before.length} before, ${after.length} after`);
    const again = await assertReads(world, bob.userID, before, after);
    const codes = [];
    for (const session of [early.session, late.session]) {
      const raw = await world.raw();
      raw.session = session;
      codes.push((await relogin(raw)).ErrorCode);
    }
    assert.deepEqual(codes, [0, 70001], 'a login from before goes on, one from later is told to log in again');
    assert.equal((await (await world.raw()).login(late.userID)).ErrorCode, 0);
    for (const [to, options] of [[bob.userID], [groupID, { group: true }]]) {
      const { ID } = await alice.sendText(to, 'from the copy', options);
      for (const device of [bob, again]) await device.waitForMessage((m) => m.ID === ID, { timeout: 30000 });
    }
    assert.deepEqual([alice, bob].flatMap((user) => user.events.filter((e) => e.event === 'KICKED_OUT')), []);
  });

  test('the disk of Postgres is lost: all that is older than archive_timeout is there', async (world) => {
    const { database } = world.server;
    const { bob, said, more, quiet } = await chat(world);
    await more(10);
    await quiet();
    const segment = await database.query('SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
    await until(async () => (await database.query(`SELECT last_archived_wal >= '${segment}' FROM pg_stat_archiver`)) === 't', { timeout: 30000, every: 100, what: 'the archive' });
    assert.equal(await database.query('SELECT failed_count FROM pg_stat_archiver'), '0');
    await database.shell(told('pg_archivecleanup', database.dir));
    const first = await database.shell("sed -n 's/^START WAL.*(file \\(.*\\))/\\1/p' backup/*/backup_label");
    assert.match(first, /^[0-9A-F]{24}$/);
    assert.equal(await database.shell('ls backup/wal | head -1'), first, 'the log from the base backup on is left');

    await database.crash();
    await database.shell('rm -r "$PGDATA"');
    for (const node of world.nodes) await node.stop();
    await restore(world, null);
    await assertReads(world, bob.userID, said, []);
  });
});
