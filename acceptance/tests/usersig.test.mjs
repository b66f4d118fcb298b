// Tickets in both directions: those of `imserver usersig` are read by another implementation, those of the npm library
// log in (protocol 01 §16).
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import { deflateRawSync, deflateSync, inflateSync } from 'node:zlib';
import { engines } from '../harness/engines.mjs';
import { binary } from '../harness/server.mjs';
import { expiredSig, userSig } from '../harness/sig.mjs';

const { Api } = createRequire(import.meta.url)('tls-sig-api-v2');
const run = promisify(execFile);

const unescaped = { '*': '+', '-': '/', _: '=' };
const escaped = { '+': '*', '/': '-', '=': '_' };
const open = (sig) => JSON.parse(inflateSync(Buffer.from(sig.replace(/[*\-_]/g, (c) => unescaped[c]), 'base64')));
const pack = (text, deflate = deflateSync) => deflate(Buffer.from(text)).toString('base64').replace(/[+/=]/g, (c) => escaped[c]);

/** The signature over a ticket's own values, computed here. */
const signature = (ticket, key) => {
  const names = ['identifier', 'sdkappid', 'time', 'expire', 'userbuf'].filter((name) => `TLS.${name}` in ticket);
  return createHmac('sha256', key).update(names.map((name) => `TLS.${name}:${ticket[`TLS.${name}`]}\n`).join('')).digest('base64');
};

/** What `imserver usersig` prints on a node of the server. */
async function printed(world, userID, ...args) {
  const { stdout, stderr } = await run(binary(), ['usersig', '--user', userID, ...args], { env: { ...process.env, ...world.node().env } });
  assert.equal(stderr, '');
  assert.match(stdout, /^\S+\n$/);
  return stdout.trim();
}

engines('tickets', {}, ({ test }) => {
  for (const name of ['alice', '用户']) {
    test(`imserver usersig makes a ticket for ${name} that others can verify, and an SDK logs in with it`, async (world) => {
      const userID = world.id(name);
      const sig = await printed(world, userID, '--expire', '90m');
      const ticket = open(sig);
      assert.deepEqual(Object.keys(ticket).sort(), ['TLS.expire', 'TLS.identifier', 'TLS.sdkappid', 'TLS.sig', 'TLS.time', 'TLS.ver']);
      assert.equal(ticket['TLS.ver'], '2.0');
      assert.equal(ticket['TLS.identifier'], userID);
      assert.equal(ticket['TLS.sdkappid'], world.app.appID);
      assert.equal(ticket['TLS.expire'], 5400);
      assert.ok(Math.abs(ticket['TLS.time'] - Date.now() / 1000) < 10);
      assert.equal(ticket['TLS.sig'], signature(ticket, world.app.key));
      // The vendor's library says the very same, issued at the same second.
      assert.deepEqual(ticket, open(userSig(world.app, userID, { expire: 5400, issued: ticket['TLS.time'] })));

      const user = world.user(userID, { exact: true });
      await user.login({ sig });
    });
  }

  test('imserver usersig refuses an app that is not configured, and IDs that could not log in', async (world) => {
    for (const args of [['--app', '7'], ['--user', 'x'.repeat(33)], ['--user', 'a\nb'], ['--expire', '0s']]) {
      await assert.rejects(printed(world, 'alice', ...args), ({ code, stdout }) => code === 1 && stdout === '', args.join(' '));
    }
  });

  test('tickets of the npm library log in, with and without userbuf', async (world) => {
    const api = new Api(world.app.appID, world.app.key);
    const userID = world.id('alice');
    for (const sig of [
      api.genUserSig(userID, 3600),
      api.genPrivateMapKey(userID, 3600, 12345, 255),
      api.genPrivateMapKeyWithStringRoomID(userID, 3600, 'room', 42),
      api.genSig(userID, 3600, Buffer.from([0, 1, 254, 255])),
    ]) {
      const ticket = open(sig);
      assert.equal(ticket['TLS.sig'], signature(ticket, world.app.key)); // this test reads tickets as the library writes them
      const client = await world.raw();
      assert.equal((await client.login(userID, { sig })).ErrorCode, 0, JSON.stringify(ticket));
    }
  });

  test('wrong tickets answer the code of the first check they fail, and an SDK gets it', async (world) => {
    const { app } = world;
    const userID = world.id('alice');
    const good = userSig(app, userID);
    const ticket = open(good);
    const retold = (changes) => pack(JSON.stringify({ ...ticket, ...changes }));
    const client = await world.raw();
    for (const [what, sig, code] of [
      ['cut', good.slice(0, 100), 70003],
      ['not base64*', '====', 70003],
      ['not compressed', Buffer.from(JSON.stringify(ticket)).toString('base64').replace(/[+/=]/g, (c) => escaped[c]), 70003],
      ['raw deflate', pack(JSON.stringify(ticket), deflateRawSync), 70003],
      ['not JSON', pack('hello'), 70003],
      ['a zip bomb', pack(JSON.stringify(ticket) + ' '.repeat(1 << 20)), 70003],
      ['a megabyte', 'A'.repeat(1 << 20), 70003],
      ['another version', retold({ 'TLS.ver': '1.0' }), 70003],
      ['a number as user', retold({ 'TLS.identifier': 1 }), 70003],
      ['another app, another user, another key', userSig({ appID: 7, key: 'x' }, 'bob', { issued: 1 }), 70014],
      ['another user, another key, expired', userSig({ ...app, key: 'x' }, 'bob', { issued: 1 }), 70013],
      ['another key, expired', userSig({ ...app, key: 'x' }, userID, { issued: 1 }), 70009],
      ['a longer life than was signed', retold({ 'TLS.expire': 1e9 }), 70009],
      ['no signature', retold({ 'TLS.sig': '' }), 70009],
      ['userbuf added', retold({ 'TLS.userbuf': 'AAAA' }), 70009],
      ['expired', expiredSig(app, userID), 70001],
    ]) {
      const answer = await client.login(userID, { sig });
      assert.equal(answer.ErrorCode, code, `${what}: ${JSON.stringify(answer)}`);
      assert.notEqual(answer.ErrorInfo, '', what);
      assert.equal(answer.ActionStatus, 'FAIL', what);
    }
    assert.equal((await client.login(userID, { sig: good })).ErrorCode, 0); // the socket is none the worse

    const user = world.user(userID, { exact: true });
    await user.started;
    await assert.rejects(user.sdk.login({ userID, userSig: userSig({ ...app, key: 'x' }, userID) }), { code: 70009 });
    await assert.rejects(user.sdk.login({ userID, userSig: expiredSig(app, userID) }), { code: 70001 });
  });

  test('unknown keys in a ticket are ignored', async (world) => {
    const userID = world.id('alice');
    const sig = pack(JSON.stringify({ 'TLS.future': [1, { x: null }], ...open(userSig(world.app, userID)) }));
    const client = await world.raw();
    assert.equal((await client.login(userID, { sig })).ErrorCode, 0);
  });
});

engines('tickets of an app with two keys', { engines: ['embedded'] }, ({ test }) => {
  test('both keys are good while both are configured, and the old one ends with its removal', async (world) => {
    const { app } = world;
    const node = world.node();
    const old = { ...app };
    const fresh = { ...app, key: 'the key that comes after it' };
    const login = async (as) => {
      const userID = world.id('alice');
      const client = await world.raw();
      return (await client.login(userID, { sig: userSig(as, userID) })).ErrorCode;
    };
    assert.equal(await login(fresh), 70009);
    await node.restart({ env: { IMSERVER_APPS: `${app.appID}:${old.key},${app.appID}:${fresh.key}` } });
    assert.equal(await login(old), 0);
    assert.equal(await login(fresh), 0);
    await node.restart({ env: { IMSERVER_APPS: `${app.appID}:${fresh.key}` } });
    assert.equal(await login(old), 70009);
    assert.equal(await login(fresh), 0);
  });
});
