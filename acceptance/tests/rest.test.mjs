// The REST door (protocol 06 §1, §5.1, §5.2): what an app's backend does, and what SDK users see of it.
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { expiredSig, userSig } from '../harness/sig.mjs';
import { sleep, until } from '../harness/wait.mjs';

const c2c = (userID) => `C2C${userID}`;
const text = (t) => [{ MsgType: 'TIMTextElem', MsgContent: { Text: t } }];
const random = () => Math.floor(Math.random() * 2 ** 32);

engines('rest', { env: { IMSERVER_MAX_WEB_INSTANCES: '3' } }, ({ test }) => {
  test('imported accounts exist, with their profile', async (world) => {
    const rest = world.rest();
    const id = world.id('imported');
    const check = async () => (await rest('im_open_login_svc/account_check', { CheckItem: [{ UserID: id }] })).ResultItem;
    assert.deepEqual(await check(), [{ UserID: id, ResultCode: 0, ResultInfo: '', AccountStatus: 'NotImported' }]);
    const answer = await rest('im_open_login_svc/account_import', { UserID: id, Nick: 'Imp', FaceUrl: 'https://example.com/f.png' });
    assert.deepEqual([answer.ActionStatus, answer.ErrorCode, answer.ErrorInfo], ['OK', 0, '']);
    assert.equal((await rest('im_open_login_svc/account_import', { UserID: id })).ErrorCode, 0, 'importing again is fine');
    assert.equal((await check())[0].AccountStatus, 'Imported');
    const [alice] = await world.users('alice');
    const { data: [profile] } = await alice.sdk.getUserProfile({ userIDList: [id] });
    assert.deepEqual([profile.userID, profile.nick, profile.avatar], [id, 'Imp', 'https://example.com/f.png']);
    const sent = await alice.sendText(id, 'welcome');
    const user = world.user(id, { exact: true });
    await user.login();
    const { data } = await user.sdk.getMessageList({ conversationID: c2c(alice.userID) });
    assert.deepEqual(data.messageList.map((m) => m.ID), [sent.ID]);
  });

  test('accounts: what is refused', async (world) => {
    const rest = world.rest();
    assert.notEqual((await rest('im_open_login_svc/account_import', {})).ErrorCode, 0);
    assert.equal((await rest('im_open_login_svc/account_import', { UserID: 'x'.repeat(10000) })).ErrorCode, 70402);
    assert.equal((await rest('im_open_login_svc/kick', { UserID: world.id('nobody') })).ErrorCode, 70107);
  });

  test('sendmsg reaches the receiver; the sender has it in the history', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const answer = await world.rest(1)('openim/sendmsg', {
      From_Account: alice.userID, To_Account: bob.userID, MsgSeq: 93847636, MsgRandom: 4000000000, MsgBody: text('from the backend'), CloudCustomData: 'ccd',
    });
    assert.equal(answer.ErrorCode, 0, answer.ErrorInfo);
    assert.equal(answer.MsgKey, `93847636_4000000000_${answer.MsgTime}`);
    const got = await bob.waitForMessage((m) => m.payload.text === 'from the backend');
    assert.deepEqual([got.from, got.time, got.cloudCustomData], [alice.userID, answer.MsgTime, 'ccd']);
    await bob.unread(1);
    await alice.expectNone('MESSAGE_RECEIVED', undefined, { within: 200 }); // SyncOtherMachine is absent
    const { data } = await alice.sdk.getMessageList({ conversationID: c2c(bob.userID) });
    assert.deepEqual(data.messageList.map((m) => [m.payload.text, m.flow]), [['from the backend', 'out']]);
  });

  test('sendmsg: SyncOtherMachine 1 tells the sender\'s devices, 2 leaves the sender out', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const send = (SyncOtherMachine, t) => world.rest()('openim/sendmsg', { SyncOtherMachine, From_Account: alice.userID, To_Account: bob.userID, MsgRandom: random(), MsgBody: text(t) });
    assert.equal((await send(1, 'synced')).ErrorCode, 0);
    const copy = await alice.waitForMessage((m) => m.payload.text === 'synced');
    assert.equal(copy.flow, 'out');
    assert.equal((await send(2, 'not mine')).ErrorCode, 0);
    await bob.waitForMessage((m) => m.payload.text === 'not mine');
    const { data } = await alice.sdk.getMessageList({ conversationID: c2c(bob.userID) });
    assert.deepEqual(data.messageList.map((m) => m.payload.text), ['synced']);
    const { data: his } = await bob.sdk.getMessageList({ conversationID: c2c(alice.userID) });
    assert.deepEqual(his.messageList.map((m) => m.payload.text), ['synced', 'not mine']);
  });

  test('sendmsg without a sender comes from the administrator; lifetime 0 is kept nowhere', async (world) => {
    const [bob] = await world.users('bob');
    const send = (body) => world.rest()('openim/sendmsg', { To_Account: bob.userID, MsgRandom: random(), ...body });
    assert.equal((await send({ MsgBody: text('notice') })).ErrorCode, 0);
    assert.equal((await bob.waitForMessage((m) => m.payload.text === 'notice')).from, 'administrator');
    assert.equal((await send({ MsgBody: text('fleeting'), MsgLifeTime: 0 })).ErrorCode, 0);
    await bob.waitForMessage((m) => m.payload.text === 'fleeting');
    const { data } = await bob.sdk.getMessageList({ conversationID: c2c('administrator') });
    assert.deepEqual(data.messageList.map((m) => m.payload.text), ['notice']);
  });

  test('sendmsg twice with the same seq and random is one message', async (world) => {
    const [bob] = await world.users('bob');
    const message = { To_Account: bob.userID, MsgSeq: 1, MsgRandom: random(), MsgBody: text('once') };
    const one = await world.rest()('openim/sendmsg', message);
    const two = await world.rest(1)('openim/sendmsg', message);
    assert.deepEqual([two.ErrorCode, two.MsgKey, two.MsgTime], [0, one.MsgKey, one.MsgTime]);
    await bob.expectNone('MESSAGE_RECEIVED', (list) => list.length > 1, { within: 300 });
    assert.equal(bob.received().length, 1);
  });

  test('sendmsg: what is refused', async (world) => {
    const [bob] = await world.users('bob');
    const send = (body) => world.rest()('openim/sendmsg', { To_Account: bob.userID, MsgRandom: random(), MsgBody: text('x'), ...body });
    for (const [code, body] of [
      [90012, { To_Account: world.id('nobody') }],
      [90005, { MsgRandom: undefined }],
      [80002, { MsgBody: text('x'.repeat(13000)) }],
    ]) {
      const answer = await send(body);
      assert.deepEqual([answer.ActionStatus, answer.ErrorCode], ['FAIL', code], JSON.stringify(body).slice(0, 100));
      assert.notEqual(answer.ErrorInfo, '');
    }
    for (const body of [{ MsgBody: undefined }, { MsgBody: [] }, { MsgBody: 'text' }, { MsgBody: [{ MsgType: 5 }] }, { MsgRandom: 'x' }]) {
      assert.notEqual((await send(body)).ErrorCode, 0, JSON.stringify(body));
    }
    assert.equal(bob.received().length, 0);
  });

  test('batchsendmsg reaches all who exist, and names the others', async (world) => {
    const [bob, carol] = await world.users('bob', 'carol');
    const nobody = world.id('nobody');
    const answer = await world.rest()('openim/batchsendmsg', { To_Account: [bob.userID, nobody, carol.userID], MsgRandom: random(), MsgBody: text('to many') });
    assert.deepEqual([answer.ErrorCode, answer.ActionStatus], [0, 'OK']);
    assert.deepEqual(answer.ErrorList.map((e) => e.To_Account), [nobody]);
    assert.ok([70107, 90012].includes(answer.ErrorList[0].ErrorCode));
    for (const user of [bob, carol]) await user.waitForMessage((m) => m.payload.text === 'to many' && m.from === 'administrator');
    const tooMany = await world.rest()('openim/batchsendmsg', { To_Account: Array.from({ length: 501 }, (_, i) => `u${i}`), MsgRandom: random(), MsgBody: text('x') });
    assert.equal(tooMany.ErrorCode, 90011);
  });

  test('kick ends every session of the user; old tickets no longer work, new ones do', async (world) => {
    const alice = world.user('alice');
    const old = userSig(world.app, alice.userID);
    await alice.login({ sig: old });
    const phone = await world.device(alice, { node: 1 });
    const [bob] = await world.users('bob');
    assert.equal((await world.rest(1)('im_open_login_svc/kick', { UserID: alice.userID })).ErrorCode, 0);
    for (const device of [alice, phone]) {
      assert.equal((await device.waitFor('KICKED_OUT')).type, 'REST_API_Kick');
      await device.waitFor('SDK_NOT_READY');
    }
    await assert.rejects(alice.sendText(bob.userID, 'no'), (error) => [3006, 2024].includes(error.code));
    await assert.rejects(alice.sdk.login({ userID: alice.userID, userSig: old }), { code: 70001 });
    await sleep(1100); // tickets count in whole seconds
    await alice.login();
    const sent = await alice.sendText(bob.userID, 'back');
    await bob.waitForMessage((m) => m.ID === sent.ID);
  });

  test('the envelope: who may call, and which check gives which code', async (world) => {
    const rest = world.rest();
    const { app } = world;
    const user = world.id('plain');
    const cases = [
      [60012, { sdkappid: undefined }],
      [60006, { sdkappid: 'abc' }],
      [60006, { sdkappid: app.appID + 1 }],
      [70002, { usersig: '' }],
      [70003, { usersig: 'rubbish' }],
      [70014, { usersig: userSig({ ...app, appID: app.appID + 1 }, 'administrator') }],
      [70013, { usersig: userSig(app, 'somebody') }],
      [70009, { usersig: userSig({ ...app, key: 'wrong' }, 'administrator') }],
      [70001, { usersig: expiredSig(app, 'administrator') }],
      [60010, { identifier: user, usersig: userSig(app, user) }],
    ];
    for (const [code, query] of cases) {
      const answer = await rest('im_open_login_svc/account_check', { CheckItem: [] }, query);
      assert.deepEqual([answer.ActionStatus, answer.ErrorCode], ['FAIL', code], JSON.stringify(query));
      assert.notEqual(answer.ErrorInfo, '');
    }
    assert.equal((await rest('im_open_login_svc/account_check', '{"CheckItem":')).ErrorCode, 60003);
    for (const name of ['nonsense/command', 'openim/nonsense', 'openim']) assert.equal((await rest(name, {})).ErrorCode, 60009, name);
    const ok = await rest('im_open_login_svc/account_check', { CheckItem: [{ UserID: user }], Unknown: [1] }, { random: undefined, contenttype: undefined, extra: 'x' });
    assert.equal(ok.ErrorCode, 0, 'random, contenttype and unknown fields do not matter');
    const get = await fetch(`${world.node().http}/v4/im_open_login_svc/account_check?sdkappid=${app.appID}`);
    assert.deepEqual([get.status, (await get.json()).ErrorCode], [200, 60002]);
  });

  test('commands of SDK users are not for backends, nor the other way round', async (world) => {
    const raw = await world.raw({ login: world.id('alice') });
    for (const name of ['im_open_login_svc.account_import', 'im_open_login_svc.kick', 'openim.batchsendmsg']) {
      const answer = await raw.request(name, { UserID: raw.userID });
      assert.notEqual(answer.ErrorCode, 0, name);
    }
    assert.notEqual((await world.rest()('im_open_status/wslogin', {})).ErrorCode, 0);
    await until(async () => (await raw.request('heartbeat.alive')).ErrorCode === 0);
  });
});
