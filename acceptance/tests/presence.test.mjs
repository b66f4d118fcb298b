// Who is online, and who is told (protocol 04 §4, 06 §5.1).
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

const grace = 3;
const spacing = 2000; // ms, the least between two pushes about one account
const env = { IMSERVER_PRESENCE_GRACE: `${grace}s`, IMSERVER_MAX_WEB_INSTANCES: '3' };

/** Waits until `watcher` is told that `userID` has this status. */
const waitForStatus = (watcher, userID, type, { custom, ...options } = {}) => watcher.waitFor('USER_STATUS_UPDATED',
  (list) => list.some((s) => s.userID === userID && s.statusType === type && (custom === undefined || s.customStatus === custom)), options);

/** All that `watcher` was told of `userID` since a mark. */
const told = (watcher, userID, since = 0) => watcher.events.slice(since).filter((e) => e.event === 'USER_STATUS_UPDATED')
  .flatMap((e) => e.data).filter((s) => s.userID === userID).map((s) => s.statusType);

const statusOf = async (user, userID) => {
  const { data } = await user.sdk.getUserStatus({ userIDList: [userID] });
  return [data.successUserList[0]?.statusType, data.successUserList[0]?.customStatus];
};

engines('presence', { env }, ({ test }) => {
  for (const generation of ['v3', 'v2']) {
    test(`${generation}: subscribe, custom status, logout and login`, async (world) => {
      const [alice, bob] = [world.user('alice', { node: 0, generation }), world.user('bob', { node: 1, generation })];
      await alice.login();
      const missing = world.id('nobody');
      const { data } = await alice.sdk.subscribeUserStatus({ userIDList: [missing] });
      assert.deepEqual(data.failureUserList.map((f) => [f.userID, f.code]), [[missing, 70107]]);
      await world.rest()('im_open_login_svc/account_import', { UserID: bob.userID });
      await alice.sdk.subscribeUserStatus({ userIDList: [bob.userID] });
      assert.deepEqual(await statusOf(alice, bob.userID), [3, '']);

      await bob.login();
      await waitForStatus(alice, bob.userID, 1);
      let since = alice.mark();
      await bob.sdk.setSelfStatus({ customStatus: '在家 at home' });
      await waitForStatus(bob, bob.userID, 1, { custom: '在家 at home' });
      await waitForStatus(alice, bob.userID, 1, { custom: '在家 at home', since });
      assert.deepEqual(await statusOf(alice, bob.userID), [1, '在家 at home']);
      const second = world.user(bob.userID, { exact: true, node: 0, generation });
      await second.login();
      assert.deepEqual(await statusOf(second, bob.userID), [1, '在家 at home'], 'the login brings the own status');

      since = alice.mark();
      await second.sdk.logout();
      await bob.sdk.logout();
      await waitForStatus(alice, bob.userID, 3, { custom: '', since });
      assert.deepEqual(told(alice, bob.userID, since), [3]);

      await alice.sdk.unsubscribeUserStatus({ userIDList: [bob.userID] });
      since = alice.mark();
      await bob.login();
      await alice.expectNone('USER_STATUS_UPDATED', (list) => list.some((s) => s.userID === bob.userID), { within: 1500, since });
    });
  }

  test('a lost connection counts for the grace; then a page is gone and a phone can be pushed to', async (world) => {
    const [alice] = await world.users('alice');
    const [page, phone] = [await world.raw({ node: 1, login: world.id('page') }), await world.raw({ platform: 2, login: world.id('phone') })];
    await alice.sdk.subscribeUserStatus({ userIDList: [page.userID, phone.userID] });
    const query = () => world.rest()('openim/query_online_status', { To_Account: [page.userID, phone.userID], IsNeedDetail: 1 });
    const online = await query();
    assert.deepEqual(online.QueryResult.map((r) => [r.State, r.Status, r.Detail]), [
      ['Online', 'Online', [{ Platform: 'Web', Status: 'Online' }]], ['Online', 'Online', [{ Platform: 'Android', Status: 'Online' }]]]);
    const began = Date.now();
    page.socket.terminate();
    phone.socket.terminate();
    await waitForStatus(alice, page.userID, 3);
    assert.ok(Date.now() - began > (grace - 1) * 1000, 'not before the grace is over');
    await waitForStatus(alice, phone.userID, 2);
    assert.deepEqual((await query()).QueryResult.map((r) => r.State), ['Offline', 'PushOnline']);
    const before = await world.rest()('openim/querystate', { To_Account: [world.id('nobody'), phone.userID] });
    assert.deepEqual([before.ErrorList[0].ErrorCode, before.QueryResult[0].State], [70107, 'PushOnline']);
  });

  test('who reconnects within the grace, on any node, was never away', async (world) => {
    const [alice] = await world.users('alice');
    const first = await world.raw({ node: 0, login: world.id('bob') });
    await alice.sdk.subscribeUserStatus({ userIDList: [first.userID] });
    await first.request('im_open_status.ws_set_custom_status', { CustomStatus: 'here' });
    await waitForStatus(alice, first.userID, 1, { custom: 'here' });
    await sleep(spacing + 500); // the login or the custom status, whichever was not told of yet, is told with it or next
    const since = alice.mark();
    first.socket.terminate();
    const back = await world.raw({ node: 1 });
    back.session = first.session;
    assert.equal((await back.request('im_open_status.wslogin', { State: 'Online' })).ErrorCode, 0);
    await alice.expectNone('USER_STATUS_UPDATED', undefined, { within: (grace + 3) * 1000, since });
    assert.deepEqual(await statusOf(alice, first.userID), [1, 'here']);
  });

  test('watches and the custom status outlive a reconnect', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    await alice.sdk.subscribeUserStatus({ userIDList: [bob.userID] });
    await alice.sdk.setSelfStatus({ customStatus: 'busy' });
    await alice.network.cut();
    await bob.sdk.setSelfStatus({ customStatus: 'hello' });
    await waitForStatus(alice, bob.userID, 1, { custom: 'hello', timeout: 15000 });
    assert.deepEqual(await statusOf(bob, alice.userID), [1, 'busy']);
  });

  test('who watches an account that is deleted is told that it is offline', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    await alice.sdk.subscribeUserStatus({ userIDList: [bob.userID] });
    const since = alice.mark();
    await world.rest()('im_open_login_svc/account_delete', { DeleteItem: [{ UserID: bob.userID }] });
    await bob.waitFor('KICKED_OUT');
    await waitForStatus(alice, bob.userID, 3, { since });
  });

  test('five hundred a call; what is refused', async (world) => {
    const raw = await world.raw({ login: world.id('alice') });
    const others = Array.from({ length: 500 }, (_, i) => `x${i}`);
    const all = await raw.request('im_open_status.ws_get_user_status', { To_Account: [...others.slice(1), raw.userID] });
    assert.deepEqual([all.ErrorCode, all.ErrorList.length, all.UserStatusList], [0, 499, [{ To_Account: raw.userID, Status: 1, CustomStatus: '' }]]);
    assert.equal((await raw.request('im_open_status.ws_get_user_status', { To_Account: [...others, raw.userID] })).ErrorCode, 90011);
    assert.equal((await raw.request('im_open_status.ws_status_subscribe', { To_Account: others.slice(0, 101) })).ErrorCode, 90011);
    assert.equal((await raw.request('im_open_status.ws_status_unsubscribe', { UnsubscribeAll: 1 })).ErrorCode, 0);
    assert.equal((await raw.request('im_open_status.ws_set_custom_status', { CustomStatus: 'x'.repeat(513) })).ErrorCode, 70402);
    assert.equal((await raw.request('im_open_status.ws_stat_settoken', { TokenID: 'token', VarToken: '', PushMsg: 1 })).ErrorCode, 0);
  });
});

engines('presence and restarts', { env, engines: ['embedded'], timeout: 90000 }, ({ test }) => {
  test('after a restart of a single node watchers are told of those who do not come back', async (world) => {
    const [alice, stays, moves] = await world.users('alice', 'stays', 'moves');
    await alice.sdk.subscribeUserStatus({ userIDList: [stays.userID, moves.userID] });
    const since = alice.mark();
    await stays.network.goOffline();
    await world.nodes[0].restart({ kill: true });
    await waitForStatus(alice, stays.userID, 3, { timeout: 40000, since });
    assert.deepEqual(await statusOf(alice, moves.userID), [1, '']);
    assert.deepEqual(told(alice, moves.userID, since), [], 'who comes back was never away');
  });
});

engines('presence and nodes', { env, engines: ['cluster'], timeout: 120000 }, ({ test }) => {
  test('a node that dies: its users are gone when its lease ends, those who moved are not', async (world) => {
    const alice = world.user('alice', { node: 0 });
    await alice.login();
    const [stays, moves] = [await world.raw({ node: 1, login: world.id('stays') }), await world.raw({ node: 1, login: world.id('moves') })];
    await alice.sdk.subscribeUserStatus({ userIDList: [stays.userID, moves.userID] });
    // A login is told a moment later, also to those who subscribe meanwhile: what is told after it means that it has been.
    assert.equal((await moves.request('im_open_status.ws_set_custom_status', { CustomStatus: 'here' })).ErrorCode, 0);
    await waitForStatus(alice, moves.userID, 1, { custom: 'here' });
    const since = alice.mark();
    await world.nodes[1].kill();
    try {
      const moved = await world.raw({ node: 0 });
      moved.session = moves.session;
      assert.equal((await moved.request('im_open_status.wslogin', { State: 'Online' })).ErrorCode, 0);
      await waitForStatus(alice, stays.userID, 3, { timeout: 40000, since });
      assert.deepEqual(await statusOf(alice, stays.userID), [3, '']);
      assert.deepEqual(await statusOf(alice, moves.userID), [1, 'here']);
      await alice.expectNone('USER_STATUS_UPDATED', (list) => list.some((s) => s.userID === moves.userID), { within: 3000, since });
    } finally {
      await world.nodes[1].start();
    }
  });

  test('Redis loses everything: who is online is known again by itself', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    await world.server.redis.stop();
    await world.server.redis.start();
    await until(async () => (await statusOf(alice, bob.userID))[0] === 1, { timeout: 30000, every: 300, what: 'bob is online again' });
  });
});
