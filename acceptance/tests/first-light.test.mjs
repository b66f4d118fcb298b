// Two SDK users, every kind of message that needs no file (protocol 02 §1–§5).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';

const c2c = (user) => `C2C${user.userID}`;

/** The message as the receiver must see it. */
function assertArrived(got, sent, alice, bob) {
  assert.equal(got.ID, sent.ID);
  assert.equal(got.type, sent.type);
  assert.deepEqual(got.payload, sent.payload);
  assert.equal(got.from, alice.userID);
  assert.equal(got.to, bob.userID);
  assert.equal(got.flow, 'in');
  assert.equal(got.conversationID, c2c(alice));
  assert.equal(got.time, sent.time, 'both sides show the time the server gave');
  assert.equal(got.cloudCustomData, sent.cloudCustomData);
}

engines('first light', {}, ({ test }) => {
  test('login answers what the SDK needs, and nothing it asks at start fails', async (world) => {
    const alice = world.user('alice');
    const since = alice.mark();
    const { data } = await alice.login();
    assert.equal(data.actionStatus ?? data.ActionStatus ?? 'OK', 'OK');
    assert.equal(await alice.sdk.getLoginUser(), alice.userID);
    assert.ok(Math.abs((await alice.sdk.getServerTime()) / 1000 - Date.now() / 1000) < 3, 'server time');
    await alice.waitFor('CONVERSATION_LIST_UPDATED', undefined, { since });
    await alice.waitFor('SERVER_CONFIG_UPDATED', undefined, { since });
    await alice.waitForFrame((f) => !f.out && f.head.servcmd === 'im_sdk_config_mgr.fetch_imsdk_purchase_bitsv2');
    const reports = (name) => name.startsWith('imopenstat') || name.startsWith('heartbeat');
    const asked = alice.frames.filter((f) => f.out && !reports(f.head.servcmd)).map((f) => f.head.servcmd);
    assert.deepEqual(asked, [...new Set(asked)], 'every start-up command is sent once: no paging storm');
    assert.deepEqual(alice.failures, []);
  });

  test('messages of every kind arrive as sent, and are in both histories', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const all = [];
    for (const [kind, payload] of [
      ['Text', { text: 'hello, 世界 👋 "quoted" \\ <b>\u0000' }],
      ['Custom', { data: '{"a":[1,2,{"b":null}]}', description: 'a description', extension: 'an extension' }],
      ['Face', { index: 3, data: 'smile' }],
      ['Location', { description: 'here', longitude: 113.9321, latitude: -22.5429 }],
    ]) {
      const sent = await alice.send(kind, bob.userID, payload, { cloudCustomData: `custom ✓ ${kind}`, needReadReceipt: true });
      assert.equal(sent.status, 'success');
      assert.deepEqual({ ...sent.payload, ...payload }, sent.payload, 'the SDK sent the given payload');
      const got = await bob.waitForMessage((m) => m.ID === sent.ID);
      assertArrived(got, sent, alice, bob);
      assert.equal(got.needReadReceipt, true);
      all.push(sent);
    }
    for (const [user, peer, flow] of [[alice, bob, 'out'], [bob, alice, 'in']]) {
      const again = world.user(user.userID, { exact: true });
      await user.leave();
      await again.login();
      const { data } = await again.sdk.getMessageList({ conversationID: c2c(peer) });
      const shown = (m, as) => [m.ID, as, m.time, m.type, m.payload, m.cloudCustomData];
      assert.deepEqual(data.messageList.map((m) => shown(m, m.flow)), all.map((m) => shown(m, flow)));
      assert.equal(data.isCompleted, true);
    }
  });

  test('merged and forwarded messages keep their contents and inner IDs', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const one = await alice.sendText(bob.userID, 'one');
    const two = await bob.send('Face', alice.userID, { index: 1, data: 'two' });
    const heard = await alice.waitForMessage((m) => m.ID === two.ID);
    const merged = await alice.send('Merger', bob.userID, {
      messageList: [one, heard], title: 'History', abstractList: ['alice: one', 'bob: [face]'], compatibleText: 'please upgrade',
    });
    const got = await bob.waitForMessage((m) => m.ID === merged.ID);
    assert.equal(got.type, 'TIMRelayElem');
    assert.equal(got.payload.title, 'History');
    assert.deepEqual(got.payload.abstractList, ['alice: one', 'bob: [face]']);
    assert.deepEqual(got.payload.messageList.map((m) => m.ID), [one.ID, two.ID]);

    const forwarded = await alice.sdk.createForwardMessage({ to: bob.userID, conversationType: 'C2C', payload: heard });
    await alice.sdk.sendMessage(forwarded);
    const copy = await bob.waitForMessage((m) => m.ID === forwarded.ID);
    assert.equal(copy.type, 'TIMFaceElem');
    assert.deepEqual(copy.payload, { index: 1, data: 'two' });
    assert.notEqual(copy.ID, two.ID);
  });

  test('a merged message too big to travel inline is stored and downloaded', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const long = [];
    for (let i = 0; i < 4; i++) long.push(await alice.sendText(bob.userID, `${i} ${'x'.repeat(4000)}`));
    const merged = await alice.send('Merger', bob.userID, { messageList: long, title: 'Long', abstractList: ['a'], compatibleText: 'c' });
    const got = await bob.waitForMessage((m) => m.ID === merged.ID);
    assert.notEqual(got.payload.downloadKey, '');
    const opened = await bob.sdk.downloadMergerMessage(got);
    assert.deepEqual(opened.payload.messageList.map((m) => m.ID), long.map((m) => m.ID));
  });

  test('several elements in one message', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    await alice.sdk.callExperimentalAPI('sendComboMessage', {
      To_Account: bob.userID, MsgRandom: 4711,
      MsgBody: [
        { MsgType: 'TIMTextElem', MsgContent: { Text: 'look' } },
        { MsgType: 'TIMFaceElem', MsgContent: { Index: 5, Data: 'wink' } },
        { MsgType: 'TIMCustomElem', MsgContent: { Data: 'd', Desc: '', Ext: '' } },
      ],
    });
    const got = await bob.waitForMessage((m) => m.from === alice.userID);
    assert.deepEqual(got._elements.map((e) => e.type), ['TIMTextElem', 'TIMFaceElem', 'TIMCustomElem']);
    assert.equal(got.payload.text, 'look');
  });

  test('signaling: invitations are answered, cancelled, and time out', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    await Promise.all([alice, bob].map((user) => user.waitFor('SERVER_CONFIG_UPDATED')));
    const invite = async (timeout) => {
      const { inviteID } = await alice.sdk.invite({ userID: bob.userID, data: 'call me', timeout });
      const seen = await bob.waitFor('NEW_INVITATION_RECEIVED', (d) => d.inviteID === inviteID);
      assert.deepEqual([seen.inviter, seen.data], [alice.userID, 'call me']);
      return inviteID;
    };
    const accepted = await invite(30);
    await bob.sdk.accept({ inviteID: accepted, data: 'yes' });
    assert.equal((await alice.waitFor('INVITEE_ACCEPTED', (d) => d.inviteID === accepted)).invitee, bob.userID);
    const rejected = await invite(30);
    await bob.sdk.reject({ inviteID: rejected, data: 'no' });
    assert.equal((await alice.waitFor('INVITEE_REJECTED', (d) => d.inviteID === rejected)).invitee, bob.userID);
    const cancelled = await invite(30);
    await alice.sdk.cancel({ inviteID: cancelled, data: 'never mind' });
    await bob.waitFor('INVITATION_CANCELLED', (d) => d.inviteID === cancelled);
    const ignored = await invite(1);
    await Promise.all([alice, bob].map((user) => user.waitFor('INVITATION_TIMEOUT', (d) => d.inviteID === ignored)));
  });

  test('online-only messages reach who is there and are kept nowhere', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const kept = await alice.sendText(bob.userID, 'kept');
    const fleeting = await alice.sendText(bob.userID, 'typing…', { sendOptions: { onlineUserOnly: true } });
    await bob.waitForMessage((m) => m.ID === fleeting.ID);
    await bob.unread(1);
    await bob.leave();
    await alice.sendText(bob.userID, 'nobody hears', { sendOptions: { onlineUserOnly: true } });
    const again = world.user(bob.userID, { exact: true });
    await again.login();
    await again.waitFor('CONVERSATION_LIST_UPDATED', (list) => list.some((c) => c.unreadCount === 1));
    const { data } = await again.sdk.getMessageList({ conversationID: c2c(alice) });
    assert.deepEqual(data.messageList.map((m) => m.ID), [kept.ID]);
    assert.equal(again.received().length, 0);
  });

  test('messages that do not count as unread, or not as last message', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const plain = await alice.sendText(bob.userID, 'plain');
    const quiet = await alice.sendText(bob.userID, 'quiet', { sendOptions: { messageControlInfo: { excludedFromUnreadCount: true } } });
    const hidden = await alice.sendText(bob.userID, 'hidden', { sendOptions: { messageControlInfo: { excludedFromUnreadCount: true, excludedFromLastMessage: true } } });
    await bob.waitForMessage((m) => m.ID === hidden.ID);
    const check = async (user) => {
      const { data: { conversation } } = await user.sdk.getConversationProfile(c2c(alice));
      assert.equal(conversation.unreadCount, 1);
      assert.equal(conversation.lastMessage.payload.text, 'quiet');
    };
    await check(bob);
    await bob.leave();
    const again = world.user(bob.userID, { exact: true });
    await again.login();
    await again.waitFor('CONVERSATION_LIST_UPDATED', (list) => list.some((c) => c.conversationID === c2c(alice) && c.unreadCount > 0));
    await check(again);
    const { data } = await again.sdk.getMessageList({ conversationID: c2c(alice) });
    assert.deepEqual(data.messageList.map((m) => m.ID), [plain.ID, quiet.ID, hidden.ID]);
  });

  test('what cannot be sent is refused with its code', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    await assert.rejects(alice.sendText(world.id('nobody'), 'hi'), { code: 20003 });
    await assert.rejects(alice.send('Custom', bob.userID, { data: 'x'.repeat(12 * 1024 + 1), description: '', extension: '' }), (error) => {
      assert.equal(error.code, 80002);
      assert.ok(error.info, 'the app gets a text');
      return true;
    });
    const sent = await alice.sendText(bob.userID, 'still works');
    await bob.waitForMessage((m) => m.ID === sent.ID);
    assert.equal(bob.received().length, 1);
  });

  test('a burst keeps its order, without gaps or doubles', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const texts = Array.from({ length: 100 }, (_, i) => `burst ${i}`);
    await Promise.all(texts.map((text) => alice.sendText(bob.userID, text)));
    await bob.waitForMessage((m) => m.payload.text === 'burst 99');
    const got = bob.received().map((m) => m.payload.text);
    assert.equal(new Set(got).size, 100);
    const times = bob.received().map((m) => m.time);
    assert.deepEqual(times, [...times].sort((a, b) => a - b), 'times never go back');
  });
});
