// A client that asks too much is refused, told to wait, and served again (protocol 01 §6, §13).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { sleep, until } from '../harness/wait.mjs';

const tooFast = 60007;
const blockedLocally = 60022; // by the SDK itself, because the server told it to (protocol 01 §13)

const code = (promise) => promise.then(() => 0, (error) => error.code);

engines('overload', { env: { IMSERVER_LIMITS_COMMAND_RATE: '5', IMSERVER_LIMITS_COMMAND_BURST: '60' } }, ({ test }) => {
  test('an SDK that sends too fast is told, and sends again later', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    await alice.sendText(bob.userID, 'first');
    await bob.waitFor('MESSAGE_RECEIVED');
    await sleep(2000); // what the SDK asks by itself for a new conversation must not be refused: it throws then
    const codes = await Promise.all(Array.from({ length: 120 }, (_, i) => code(alice.sendText(bob.userID, `m${i}`))));
    const sent = codes.filter((c) => c === 0).length;
    assert.ok(sent > 0, 'nothing was sent at all');
    assert.ok(codes.includes(tooFast), `nothing was refused: ${codes}`);
    assert.deepEqual(codes.filter((c) => ![0, tooFast, blockedLocally].includes(c)), []);
    assert.equal(await code(alice.sendText(bob.userID, 'at once')), blockedLocally, 'the SDK was not told to wait');
    await until(async () => (await code(alice.sendText(bob.userID, 'later'))) === 0, { timeout: 30000, every: 500, what: 'a message that is sent again' });
    await until(() => bob.received().length === sent + 2, { what: 'what was acknowledged, and nothing else' });
  });
});

engines('overload of a node', { engines: ['postgres'], env: { IMSERVER_LIMITS_CONCURRENCY: '64' } }, ({ test }) => {
  test('a node with all places taken refuses more, lets heartbeats and hellos pass, and serves again when it has caught up', async (world) => {
    const floods = await Promise.all(Array.from({ length: 8 }, () => world.raw({ login: world.id('flood') })));
    const calm = await world.raw({ login: world.id('calm') });
    const [alice, bob] = await world.users('alice', 'bob');
    const shed = () => world.nodes[0].metric('imserver_commands_shed_total', 'of="node"');
    assert.equal(await shed(), 0);

    // The database takes its time with what the flood asks for.
    const slow = world.server.database.query('BEGIN; LOCK TABLE accounts IN SHARE MODE; SELECT pg_sleep(7); COMMIT');
    await until(async () => (await world.server.database.query("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")) === '1', { what: 'the database to be slow' });
    const asked = floods.flatMap((raw, i) => Array.from({ length: 16 }, (_, n) =>
      raw.request('im_open_status.ws_set_custom_status', { CustomStatus: `${i} ${n}` }, { timeout: 30000 })));
    await until(async () => (await shed()) > 0, { timeout: 6000, what: 'a refusal' });
    const began = Date.now();
    assert.equal((await calm.request('heartbeat.alive')).ErrorCode, 0);
    assert.equal((await calm.request('im_open_status.wshello')).ErrorCode, 0);
    const told = Date.now() - began;
    const refused = await calm.request('im_open_status.ws_set_custom_status', { CustomStatus: 'me too' });
    assert.equal(refused.ErrorCode, tooFast);
    await calm.waitForPush((f) => f.head.servcmd === 'OverLoadPush.notify2' && f.body.OverLoadServCmd === 'im_open_status.ws_set_custom_status');
    assert.equal(await world.server.database.query("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), '1', `that was while the database was slow (${told} ms)`);

    await slow;
    const codes = (await Promise.all(asked)).map((a) => a.ErrorCode);
    assert.deepEqual(codes.filter((c) => ![0, tooFast].includes(c)), []);
    assert.ok(codes.includes(0) && codes.includes(tooFast), `${codes}`);
    assert.equal((await calm.request('im_open_status.ws_set_custom_status', { CustomStatus: 'now' })).ErrorCode, 0);
    const after = await shed();
    const sent = await alice.sendText(bob.userID, 'as before');
    await bob.waitForMessage((m) => m.ID === sent.ID);
    assert.equal(await shed(), after, 'nothing is refused any more');
  });
});
