// Logging in and out, tickets, kicks under the default policy (protocol 01 §6, §8, §12).
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { engines } from '../harness/engines.mjs';
import { expiredSig, userSig } from '../harness/sig.mjs';
import { sleep } from '../harness/wait.mjs';

/** The one thing an SDK throws outside of a call: the refusal of its own relogin, which it leaves unhandled (protocol 01 §8). */
const refused = (code) => ({ event, data }) => event === '$unhandledRejection' && data.code === code;

engines('session', {}, ({ test }) => {
  test('a bad ticket is refused with its code, and a good one then works', async (world) => {
    const alice = world.user('alice');
    await alice.started;
    const other = { ...world.app, key: 'f'.repeat(64) };
    for (const [code, sig] of [
      [70009, userSig(other, alice.userID)],
      [70001, expiredSig(world.app, alice.userID)],
      [70013, userSig(world.app, 'mallory')],
      [70014, userSig({ ...world.app, appID: world.app.appID + 1 }, alice.userID)],
      [70003, userSig(world.app, alice.userID).slice(0, 100)],
    ]) {
      await assert.rejects(alice.sdk.login({ userID: alice.userID, userSig: sig }), (error) => {
        assert.equal(error.code, code);
        assert.ok(error.info, 'the app gets a text');
        return true;
      });
    }
    await alice.login();
  });

  test('tickets with userbuf, of other libraries, and non-ASCII users are accepted', async (world) => {
    const user = world.user('用户');
    await user.login();
    assert.equal(await user.sdk.getLoginUser(), user.userID);
    const raw = await world.raw();
    const api = new (await import('tls-sig-api-v2')).default.Api(world.app.appID, world.app.key);
    const id = world.id('buf');
    assert.equal((await raw.login(id, { sig: api.genPrivateMapKey(id, 86400, 10000, 255) })).ErrorCode, 0);
  });

  test('a second page takes over: the first is kicked, and may come back', async (world) => {
    const [first, bob] = await world.users('alice', 'bob');
    const second = await world.device(first);
    const kicked = await first.waitFor('KICKED_OUT');
    assert.equal(kicked.type, 'multipleAccount');
    await first.waitFor('SDK_NOT_READY');
    assert.equal(first.events.filter((e) => e.event === 'KICKED_OUT').length, 1);
    await assert.rejects(first.sendText(bob.userID, 'no more'), { code: 3003 });
    const sent = await bob.sendText(first.userID, 'who hears?');
    await second.waitForMessage((m) => m.ID === sent.ID);
    assert.equal(first.received().length, 0);

    const since = second.mark();
    await first.login();
    assert.equal((await second.waitFor('KICKED_OUT', undefined, { since })).type, 'multipleAccount');
    await first.expectNone('KICKED_OUT', (d) => d.type !== 'multipleAccount', { within: 200 });
    const again = await bob.sendText(first.userID, 'and now?');
    await first.waitForMessage((m) => m.ID === again.ID);
  });

  test('who was kicked while away learns it on return', async (world) => {
    const [first] = await world.users('alice');
    first.crashesExpected = refused(1002);
    await sleep(1200);
    await first.network.goOffline();
    await first.waitFor('NET_STATE_CHANGE', (d) => d.state === 'disconnected');
    const second = await world.device(first);
    await first.network.goOnline();
    await first.sdk.getUserProfile({ userIDList: [world.id('x')] }).catch(() => {}); // makes the SDK reconnect
    assert.equal((await first.waitFor('KICKED_OUT', undefined, { timeout: 8000 })).type, 'multipleAccount');
    assert.equal(second.events.some((e) => e.event === 'KICKED_OUT'), false);
  });

  test('logout, and another user on the same socket', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const sockets = alice.frames.filter((f) => f.out && f.head.servcmd === 'im_open_status.wslogin').length;
    await alice.sdk.logout();
    await alice.waitFor('SDK_NOT_READY');
    const formerID = alice.userID;
    await alice.login({ userID: world.id('carol') });
    assert.equal(sockets, 1);
    await bob.sendText(formerID, 'for alice');
    const sent = await bob.sendText(alice.userID, 'for carol');
    const got = await alice.waitForMessage((m) => m.ID === sent.ID);
    assert.equal(got.to, alice.userID);
    assert.deepEqual(alice.received().map((m) => m.payload.text), ['for carol']);
    const back = await alice.sendText(bob.userID, 'from carol');
    assert.equal((await bob.waitForMessage((m) => m.ID === back.ID)).from, alice.userID);
  });

  test('a ticket that ends during the session', async (world) => {
    const alice = world.user('alice');
    await alice.started;
    alice.crashesExpected = refused(70001); // it is made to log in again
    await alice.login({ sig: userSig(world.app, alice.userID, { expire: 4 }) });
    await sleep(5000);
    // 70001 if the SDK learns it by this request, 3004 if the server's announcement came first.
    await assert.rejects(alice.sdk.getUserProfile({ userIDList: [world.id('x')] }), (error) => [70001, 3004].includes(error.code));
    assert.equal((await alice.waitFor('KICKED_OUT')).type, 'userSigExpired');
    await alice.login();
    assert.equal(alice.events.filter((e) => e.event === 'KICKED_OUT').length, 1);
    await alice.sdk.getUserProfile({ userIDList: [alice.userID] });
  });

  test('listeners come and go; a destroyed instance is gone', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    assert.equal(await alice.sdk.isReady(), true);
    await alice.sdk.on('MESSAGE_RECEIVED', { $event: 'heard' });
    await bob.sendText(alice.userID, 'one');
    await alice.waitFor('heard');
    await alice.sdk.off('MESSAGE_RECEIVED', { $event: 'heard' });
    const two = await bob.sendText(alice.userID, 'two');
    await alice.waitForMessage((m) => m.ID === two.ID);
    assert.equal(alice.events.filter((e) => e.event === 'heard').length, 1);
    await alice.sdk.destroy();
    await bob.sendText(alice.userID, 'three');
    await alice.expectNone('MESSAGE_RECEIVED', (list) => list.some((m) => m.payload.text === 'three'), { within: 300 });
  });

  test('an instance keeps its account number for ever', async (world) => {
    const tinyID = async (id) => (await (await world.raw({ node: 1 })).login(id)).TinyId;
    const [a, b] = [world.id('a'), world.id('b')];
    const first = await tinyID(a);
    assert.match(first, /^\d+$/);
    assert.notEqual(await tinyID(b), first);
    for (const node of world.nodes) await node.restart();
    assert.equal(await tinyID(a), first);
  });

  test('the login answer has every field, in the spelling the SDKs read', async (world) => {
    const raw = await world.raw();
    const answer = await raw.login(world.id('alice'));
    assert.equal(typeof answer.TinyId, 'string');
    assert.equal(typeof answer.A2Key, 'string');
    assert.ok(Number.isInteger(answer.InstId) && answer.InstId !== 0);
    assert.equal(answer.HelloInterval, 120);
    assert.ok(Math.abs(answer.TimeStamp - Date.now() / 1000) <= 1.5);
    assert.equal(answer.PurchaseBits, '1'.repeat(64));
    assert.equal(answer.CustomStatus, '');
    assert.equal((await raw.request('im_open_status.wshello', { is_web_uniapp: 0 })).ErrorCode, 0);
    // Relogin: same keys, same instance.
    const again = await world.raw({ node: 1 });
    again.session = raw.session;
    const relogin = await again.request('im_open_status.wslogin', { State: 'Online', is_web_uniapp: 0, InstType: 0, CustomInfo: '' });
    assert.deepEqual([relogin.ErrorCode, relogin.A2Key, relogin.TinyId, relogin.InstId], [0, answer.A2Key, answer.TinyId, answer.InstId]);
  });

  test('a key that says all the right things, and is not signed by the server, opens nothing', async (world) => {
    const alice = await world.raw({ login: world.id('alice') });
    const [head, claims] = alice.session.a2.split('.');
    const sign = (start) => `${start}.${createHmac('sha256', 'a guess').update(start).digest('base64url')}`;
    const unsigned = Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url');
    for (const a2 of [sign(`${head}.${claims}`), `${unsigned}.${claims}.`, `${head}.${claims}.`]) {
      const mallory = await world.raw({ node: 1 });
      mallory.session = { ...alice.session, a2 };
      for (const [command, code] of [['im_open_status.wslogin', 70001], ['im_open_status.wshello', 70001], ['profile.portrait_set', 6014], ['openim.getmsg', 6014]]) {
        assert.equal((await mallory.request(command, { State: 'Online' })).ErrorCode, code, command);
      }
      assert.equal((await mallory.request('im_open_status.wslogout', {})).ErrorCode, 0, 'it always succeeds');
      assert.equal((await mallory.request('openim.getmsg', {})).ErrorCode, 6014);
    }
    assert.equal((await alice.request('im_open_status.wshello')).ErrorCode, 0, 'and the login goes on');
  });

  test('what was asked before a logout is answered as before it', async (world) => {
    for (let i = 0; i < 20; i++) {
      const client = await world.raw({ node: i, login: world.id('alice') });
      const asked = Array.from({ length: 5 }, () => client.request('recentcontact.page_get', { TimeStamp: 0, StartIndex: 0, OrderType: 1 }));
      const out = client.request('im_open_status.wslogout');
      assert.deepEqual((await Promise.all([...asked, out])).map((answer) => answer.ErrorCode), [0, 0, 0, 0, 0, 0]);
    }
  });

  test('a session ends with its logout; the logout itself never fails', async (world) => {
    const raw = await world.raw({ login: world.id('alice') });
    const logout = () => raw.request('im_open_status.wslogout', { wslogout_type: 0, is_web_uniapp: 0 });
    assert.equal((await logout()).ErrorCode, 0);
    assert.equal((await logout()).ErrorCode, 0, 'twice is fine');
    const { ErrorCode } = await raw.request('profile.portrait_get_all', { From_Account: raw.userID, UserItem: [{ To_Account: raw.userID }] });
    assert.notEqual(ErrorCode, 0);
    assert.notEqual(ErrorCode, 70001, 'a logged-out page is not told that its ticket expired');
    assert.equal((await raw.request('heartbeat.alive')).ErrorCode, 0, 'heartbeats go on with the old a2');
  });
});
