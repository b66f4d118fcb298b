// Which devices of a user may be logged in together (protocol 06 §9, 01 §12), and how logins end.
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { userSig } from '../harness/sig.mjs';

// Platform numbers of the devices (protocol 01 §1), and which group of the policy they are in.
const platforms = { Web: 7, 'Mini program': 8, Android: 2, iPhone: 3, iPad: 13, Windows: 1, Mac: 4, Linux: 5 };
const names = Object.keys(platforms);
const classOf = (name) => (name === 'Mini program' ? 'Web' : name);
const groups = {
  single: () => 'all',
  dual: (name) => (name === 'Web' ? 'web' : 'native'),
  triple: (name) => ({ Web: 'web', Windows: 'desktop', Mac: 'desktop', Linux: 'desktop' })[name] ?? 'mobile',
  multi: (name) => name,
};

/** The kick type an older device gets when a newer one logs in; 0: they stay together. */
function kickType(policy, older, newer) {
  const [a, b] = [classOf(older), classOf(newer)];
  if (a === b) return 1;
  return groups[policy](a) === groups[policy](b) ? 2 : 0;
}

const kickOf = (frame) => frame.head.servcmd === 'im_open_status.stat_forceoffline'
  && frame.body.EventArray[0].C2cNotifyMsgArray[0].KickoutMsgNotify;
const kicks = (client) => client.pushes.map(kickOf).filter(Boolean).map((k) => k.KickType);
const hello = (client) => client.request('im_open_status.wshello', { is_web_uniapp: 0 });
const relogin = async (world, client, options) => {
  const fresh = await world.raw({ platform: client.platform, ...options });
  fresh.session = client.session;
  return [await fresh.request('im_open_status.wslogin', { State: 'Online' }), fresh];
};

/** Waits for the kick, and does what an SDK does. Returns the type. */
async function kicked(client) {
  const { KickType } = kickOf(await client.waitForPush(kickOf));
  assert.equal((await client.request('im_open_status.wslogout', { wslogout_type: 1, is_web_uniapp: 0 })).ErrorCode, 0);
  return KickType;
}

for (const policy of Object.keys(groups)) {
  engines(`login policy ${policy}`, { env: { IMSERVER_LOGIN_POLICY: policy } }, ({ test }) => {
    test('every pair of devices', async (world) => {
      const pair = async (older, newer) => {
        const id = world.id('u');
        const first = await world.raw({ node: 0, platform: platforms[older], login: id });
        const second = await world.raw({ node: 1, platform: platforms[newer], login: id });
        const want = kickType(policy, older, newer);
        const what = `${policy}: ${older}, then ${newer}`;
        if (want === 0) {
          assert.equal((await hello(first)).ErrorCode, 0, what);
          assert.deepEqual(kicks(first), [], what);
        } else {
          const notice = kickOf(await first.waitForPush(kickOf));
          assert.deepEqual([notice.KickType, notice.NewInstInfo], [want, { InstId: second.session.instID, Platform: classOf(newer) }], what);
          // It cannot come back with its key, on whichever node, not even after the logout that SDKs send.
          for (const node of [0, 1]) {
            const [answer] = await relogin(world, first, { node });
            assert.deepEqual([answer.ErrorCode, answer.KickType], [1002, want], what);
          }
          assert.equal(await kicked(first), want, what);
          const [after] = await relogin(world, first, { node: 1 });
          assert.deepEqual([after.ErrorCode, after.KickType], [1002, want], what);
          assert.deepEqual(kicks(first), [want], what);
        }
        assert.equal((await hello(second)).ErrorCode, 0, what);
        assert.deepEqual(kicks(second), [], what);
        for (const client of [first, second]) client.socket.terminate();
      };
      for (const older of names) await Promise.all(names.map((newer) => pair(older, newer)));
    });

    test('a dropped device comes back with its key, on another node, and kicks nobody', async (world) => {
      const id = world.id('u');
      const phone = await world.raw({ node: 0, platform: 2, login: id });
      phone.socket.terminate();
      const [answer, back] = await relogin(world, phone, { node: 1 });
      assert.deepEqual([answer.ErrorCode, answer.InstId, answer.A2Key], [0, phone.session.instID, phone.session.a2]);
      const [again, third] = await relogin(world, back, { node: 0 });
      assert.equal(again.ErrorCode, 0);
      assert.deepEqual([...kicks(back), ...kicks(third)], []);
    });

    test('a page with the SDK and a phone', async (world) => {
      const [page] = await world.users('alice');
      page.crashesExpected = true; // a refused relogin of the SDK's own (protocol 01 §8)
      const phone = await world.raw({ node: 1, platform: 2, login: page.userID });
      if (policy !== 'single') {
        assert.equal((await hello(phone)).ErrorCode, 0);
        await page.expectNone('KICKED_OUT');
        return;
      }
      assert.equal((await page.waitFor('KICKED_OUT')).type, 'multipleDevice');
      await page.network.cut(); // it must not resume by reconnecting
      await page.expectNone('SDK_READY', undefined, { within: 1500, since: page.mark() });
      assert.equal((await hello(phone)).ErrorCode, 0);
      await page.login();
      assert.equal(await kicked(phone), 2);
      assert.equal(page.events.filter((e) => e.event === 'KICKED_OUT').length, 1);
    });
  });
}

const many = { IMSERVER_LOGIN_POLICY: 'multi', IMSERVER_MAX_WEB_INSTANCES: '10', IMSERVER_MAX_INSTANCES_ANDROID: '3', IMSERVER_MAX_INSTANCES_MAC: '2' };
engines('login policy: several of a kind', { env: many }, ({ test }) => {
  test('beyond the limit of a platform its oldest goes', async (world) => {
    for (const [name, limit] of [['Web', 10], ['Android', 3], ['Mac', 2], ['Linux', 1]]) {
      const id = world.id('u');
      const others = await world.raw({ platform: platforms[name === 'Linux' ? 'Windows' : 'Linux'], login: id });
      const devices = [];
      for (let i = 0; i < limit + 2; i++) devices.push(await world.raw({ node: i, platform: platforms[name], login: id }));
      for (const oldest of devices.slice(0, 2)) assert.equal(await kicked(oldest), 1, name);
      for (const device of [...devices.slice(2), others]) {
        assert.equal((await hello(device)).ErrorCode, 0, name);
        assert.deepEqual(kicks(device), [], name);
      }
    }
  });

  test('who logs out makes room', async (world) => {
    const id = world.id('u');
    const devices = [];
    for (let i = 0; i < 2; i++) devices.push(await world.raw({ node: i, platform: platforms.Mac, login: id }));
    await devices[0].request('im_open_status.wslogout', { wslogout_type: 0 });
    devices.push(await world.raw({ platform: platforms.Mac, login: id }));
    assert.equal((await hello(devices[1])).ErrorCode, 0);
    assert.deepEqual(devices.flatMap(kicks), []);
  });
});

engines('the end of a login', {}, ({ test }) => {
  test('a ticket ends while nobody asks for anything: the app is told, and a fresh ticket works', async (world) => {
    const alice = world.user('alice');
    await alice.started;
    alice.crashesExpected = true; // the SDK leaves the refusal of its own relogin unhandled (protocol 01 §8)
    await alice.login({ sig: userSig(world.app, alice.userID, { expire: 3 }) });
    assert.equal((await alice.waitFor('KICKED_OUT', undefined, { timeout: 20000 })).type, 'userSigExpired');
    await alice.login();
    await alice.sdk.getUserProfile({ userIDList: [alice.userID] });
    assert.equal(alice.events.filter((e) => e.event === 'KICKED_OUT').length, 1);
  });

  test('on the same socket: 70001 after the end, and a fresh ticket', async (world) => {
    const raw = await world.raw();
    const id = world.id('bob');
    assert.equal((await raw.login(id, { sig: userSig(world.app, id, { expire: 2 }) })).ErrorCode, 0);
    await raw.waitForPush((frame) => frame.head.servcmd === 'StatSvc.KickOther', { timeout: 20000 });
    assert.equal((await hello(raw)).ErrorCode, 70001);
    assert.equal((await raw.request('im_open_status.wslogin', { State: 'Online' })).ErrorCode, 70001);
    assert.equal((await raw.request('openim.getmsg', { Cookie: '', SyncFlag: 0 })).ErrorCode, 70001);
    assert.equal((await raw.login(id)).ErrorCode, 0);
    assert.equal((await hello(raw)).ErrorCode, 0);
  });

  test('a deleted account: its devices go, its tickets are void, its name is free', async (world) => {
    const [alice] = await world.users('alice');
    const phone = await world.raw({ node: 1, platform: 2, login: alice.userID });
    const earlier = userSig(world.app, alice.userID);
    assert.equal((await world.rest(1)('im_open_login_svc/account_delete', { DeleteItem: [{ UserID: alice.userID }] })).ResultItem[0].ResultCode, 0);
    assert.equal((await alice.waitFor('KICKED_OUT')).type, 'REST_API_Kick');
    assert.equal(kickOf(await phone.waitForPush(kickOf)).KickType, 3);
    const raw = await world.raw();
    assert.equal((await raw.login(alice.userID, { sig: earlier })).ErrorCode, 70001);
    const [answer] = await relogin(world, phone, { node: 0 });
    assert.ok([70001, 1002].includes(answer.ErrorCode), JSON.stringify(answer));
    const fresh = await raw.login(alice.userID, { sig: userSig(world.app, alice.userID, { issued: Math.floor(Date.now() / 1000) + 2 }) });
    assert.equal(fresh.ErrorCode, 0, fresh.ErrorInfo);
    assert.notEqual(fresh.TinyId, phone.session.tinyID);
  });
});
