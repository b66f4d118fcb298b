// Messages in groups with real SDKs: order, history, read state, mentions, recall, edits, receipts, pins, extensions,
// reactions (protocol 03 §10, §12, §14; 02 §10–§16).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

const texts = (list) => list.map((m) => m.payload.text);
const conversation = (id) => `GROUP${id}`;

/** A group of the given users, made by the first; resolves when the others have it. */
async function team(type, [owner, ...members], extra = {}) {
  const { data } = await owner.sdk.createGroup({ type, name: 'Team', memberList: members.map((m) => ({ userID: m.userID })), ...extra });
  const id = data.group.groupID;
  for (const m of members) await m.waitForGroup(id);
  return id;
}

const say = (user, id, text, options = {}) => user.send('Text', id, { text }, { group: true, ...options });
const hears = (user, text, options) => user.waitForMessage((m) => m.payload.text === text, options);

/** The newest page of history, once it has something: right after a login v3 asks for it by itself, and a list asked for
 *  meanwhile is empty. */
async function history(user, id) {
  let list = [];
  await until(async () => {
    list = (await user.sdk.getMessageList({ conversationID: conversation(id) })).data.messageList;
    return list.length > 0;
  }, { what: 'a page of history' });
  return list;
}

/** What an app changes by message.payload.text = …: the payload is the first element's content. */
const edit = (text) => ({ payload: { text }, _elements: [{ type: 'TIMTextElem', content: { text } }] });

async function unreadOf(user, id) {
  const { data } = await user.sdk.getConversationProfile(conversation(id));
  return data.conversation.unreadCount;
}

engines('group messages', { env: { IMSERVER_MAX_WEB_INSTANCES: '3' } }, ({ test }) => {
  test('members see each message once, in order, with the sender\'s ID', async (world) => {
    const [alice, bob, carol] = await world.users('alice', 'bob', 'carol');
    const id = await team('Public', [alice, bob, carol]);
    const phone = await world.device(alice);
    const sent = [];
    for (let i = 0; i < 10; i++) sent.push(await say(i % 2 ? bob : alice, id, `message ${i}`));
    for (const u of [carol, phone]) {
      await hears(u, 'message 9');
      const got = u.received().filter((m) => m.payload.text?.startsWith('message '));
      assert.deepEqual(got.map((m) => m.ID), sent.map((m) => m.ID));
      assert.deepEqual(got.map((m) => m.sequence), [...got.map((m) => m.sequence)].sort((a, b) => a - b));
    }
    assert.equal(phone.received().find((m) => m.payload.text === 'message 0').flow, 'out');
    const list = (await history(carol, id)).filter((m) => m.payload.text?.startsWith('message '));
    assert.deepEqual(list.map((m) => m.ID), sent.map((m) => m.ID));
  });

  test('history pages back to the first message and completes', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const id = await team('ChatRoom', [alice, bob]);
    for (let i = 0; i < 33; i++) await say(alice, id, `${i}`);
    await hears(bob, '32');
    const again = await world.device(bob);
    const all = [];
    let next = '', pages = 0, done = false;
    while (!done) {
      assert.ok(pages++ < 10, 'paging ends');
      const { data } = await again.sdk.getMessageList({ conversationID: conversation(id), nextReqMessageID: next });
      all.unshift(...data.messageList);
      [next, done] = [data.nextReqMessageID, data.isCompleted];
    }
    const numbers = all.filter((m) => m.type === 'TIMTextElem').map((m) => Number(m.payload.text));
    assert.deepEqual(numbers, Array.from({ length: 33 }, (_, i) => i));
    assert.equal(new Set(all.map((m) => m.ID)).size, all.length);
  });

  test('unread counts, reading on one device clears the other, a relogin agrees', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const id = await team('Public', [alice, bob]);
    await say(alice, id, 'first');
    await hears(bob, 'first');
    await bob.sdk.setMessageRead({ conversationID: conversation(id) });
    const phone = await world.device(bob);
    for (const t of ['one', 'two', 'three']) await say(alice, id, t);
    await say(alice, id, 'quiet', { sendOptions: { messageControlInfo: { excludedFromUnreadCount: true } } });
    await hears(phone, 'quiet');
    await until(async () => (await unreadOf(bob, id)) === 3 && (await unreadOf(phone, id)) === 3, { what: '3 unread on both devices' });
    const third = await world.device(bob);
    await until(async () => (await unreadOf(third, id)) === 3, { what: '3 unread after a login' });
    await phone.sdk.setMessageRead({ conversationID: conversation(id) });
    for (const d of [bob, third, phone]) await until(async () => (await unreadOf(d, id)) === 0, { what: 'read everywhere' });
    assert.equal(await unreadOf(alice, id), 0);
  });

  test('a recall shows everywhere and is found after being away', async (world) => {
    const [alice, bob, carol] = await world.users('alice', 'bob', 'carol');
    const dan = world.user('dan', { generation: 'v2' }); // which asks group by group what it missed
    await dan.login();
    const id = await team('Public', [alice, bob, carol, dan]);
    const first = await say(bob, id, 'oops');
    await hears(carol, 'oops');
    await bob.sdk.revokeMessage(first);
    const [revoked] = await carol.waitFor('MESSAGE_REVOKED', (list) => list.some((m) => m.ID === first.ID));
    assert.equal(revoked.revoker ?? revoked.revokerInfo?.userID, bob.userID);
    const other = await say(bob, id, 'not yours');
    await hears(carol, 'not yours');
    await hears(alice, 'not yours');
    await assert.rejects(carol.sdk.revokeMessage(carol.received().find((m) => m.ID === other.ID)), { code: 10007 });
    await hears(dan, 'not yours');
    for (const u of [carol, dan]) await u.network.goOffline();
    await alice.sdk.revokeMessage(alice.received().find((m) => m.ID === other.ID));
    for (const u of [carol, dan]) await u.network.goOnline();
    for (const u of [carol, dan]) await u.waitFor('MESSAGE_REVOKED', (list) => list.some((m) => m.ID === other.ID), { timeout: 20000 });
    const phone = await world.device(carol);
    const list = (await history(phone, id)).filter((m) => [first.ID, other.ID].includes(m.ID));
    assert.deepEqual(list.map((m) => m.isRevoked), [true, true]);
  });

  test('a message edited by two at once ends the same for all', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const id = await team('Public', [alice, bob]);
    const sent = await say(alice, id, 'draft');
    const got = await hears(bob, 'draft');
    const results = await Promise.allSettled([[alice, sent], [bob, got]].map(([u, m]) => u.sdk.modifyMessage({ ...m, $change: edit(`edited by ${u.userID}`) })));
    assert.deepEqual(results.map((r) => r.status).sort(), ['fulfilled', 'rejected']);
    assert.equal(results.find((r) => r.status === 'rejected').reason.code, 2480);
    const winner = results[0].status === 'fulfilled' ? alice : bob;
    const text = `edited by ${winner.userID}`;
    for (const u of [alice, bob]) {
      if (u !== winner) await u.waitFor('MESSAGE_MODIFIED', (list) => list.some((m) => m.payload.text === text));
    }
    const phone = await world.device(bob);
    assert.ok(texts(await history(phone, id)).includes(text));
  });

  test('mentions reach the mentioned, also those who were away', async (world) => {
    const [alice, bob, carol] = await world.users('alice', 'bob', 'carol');
    const id = await team('Public', [alice, bob, carol]);
    const at = (list) => ({ to: id, conversationType: 'GROUP', payload: { text: '@ hello', atUserList: list } });
    const one = await alice.sdk.createTextAtMessage(at([bob.userID]));
    await alice.sdk.sendMessage(one);
    const info = (user) => async () => (await user.sdk.getConversationProfile(conversation(id))).data.conversation.groupAtInfoList?.length ?? 0;
    await until(async () => (await info(bob)()) === 1, { what: 'a mention at bob' });
    assert.equal(await info(carol)(), 0);
    await carol.leave();
    const all = await alice.sdk.createTextAtMessage(at(['__kImSDK_MesssageAtALL__']));
    await alice.sdk.sendMessage(all);
    const back = world.user(carol.userID, { exact: true });
    await back.login();
    await until(async () => (await info(back)()) === 1, { what: 'the missed mention at carol' });
  });

  test('receipts count who has read', async (world) => {
    const [alice, bob, carol] = await world.users('alice', 'bob', 'carol');
    const id = await team('Private', [alice, bob, carol]);
    const sent = await say(alice, id, 'read me', { needReadReceipt: true });
    const got = await hears(bob, 'read me');
    await bob.sdk.sendMessageReadReceipt([got]);
    await alice.waitFor('MESSAGE_READ_RECEIPT_RECEIVED', (list) => list.some((r) => r.messageID === sent.ID && r.readCount === 1 && r.unreadCount === 1));
    const { data } = await alice.sdk.getGroupMessageReadMemberList({ message: sent, filter: 0, cursor: '', count: 10 });
    assert.deepEqual(data.readUserIDList, [bob.userID]);
    const { data: rest } = await alice.sdk.getGroupMessageReadMemberList({ message: sent, filter: 1, cursor: '', count: 10 });
    assert.deepEqual(rest.unreadUserIDList, [carol.userID]);
  });

  test('deleting and clearing are for oneself alone', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const id = await team('Public', [alice, bob]);
    for (const t of ['keep', 'drop']) await say(alice, id, t);
    await bob.sdk.deleteMessage([await hears(bob, 'drop')]);
    const phone = await world.device(bob);
    assert.deepEqual(texts(await history(phone, id)).filter(Boolean), ['keep']);
    await bob.sdk.clearHistoryMessage(conversation(id));
    await say(alice, id, 'after');
    await hears(bob, 'after');
    const third = await world.device(bob);
    assert.deepEqual(texts(await history(third, id)).filter(Boolean), ['after']);
    assert.deepEqual(texts(await history(await world.device(alice), id)).filter(Boolean), ['keep', 'drop', 'after']);
  });

  test('pins, extensions and reactions reach the members', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const id = await team('Public', [alice, bob]);
    const sent = await say(alice, id, 'look', { isSupportExtension: true });
    const got = await hears(bob, 'look');
    await bob.sdk.pinGroupMessage({ groupID: id, message: got, isPinned: true });
    await alice.waitFor('PINNED_GROUP_MESSAGE_UPDATED', (d) => d.groupID === id && d.isPinned && d.message.ID === sent.ID);
    const { data } = await (await world.device(alice)).sdk.getPinnedGroupMessageList(id);
    assert.deepEqual(data.messageList.map((m) => m.ID), [sent.ID]);
    await bob.sdk.setMessageExtensions(got, [{ key: 'vote', value: 'yes' }]);
    await alice.waitFor('MESSAGE_EXTENSIONS_UPDATED', (d) => d.messageID === sent.ID && d.extensions.some((e) => e.key === 'vote' && e.value === 'yes'));
    await bob.sdk.addMessageReaction(got, 'smile');
    const reaction = (mine) => (data) => {
      const text = JSON.stringify(data);
      return text.includes(sent.ID) && text.includes('"totalUserCount":1') && text.includes(`"reactedByMyself":${mine}`);
    };
    await alice.waitFor('MESSAGE_REACTIONS_UPDATED', reaction(false));
    await bob.waitFor('MESSAGE_REACTIONS_UPDATED', reaction(true));
  });

  test('a directed message exists for its receivers only', async (world) => {
    const [alice, bob, carol] = await world.users('alice', 'bob', 'carol');
    const id = await team('Public', [alice, bob, carol]);
    await say(alice, id, 'for all');
    await hears(carol, 'for all');
    const since = carol.mark();
    await say(alice, id, 'for bob', { receiverList: [bob.userID] });
    await hears(bob, 'for bob');
    await say(alice, id, 'for all again');
    await hears(carol, 'for all again', { since });
    assert.ok(!texts(carol.received()).includes('for bob'));
    const page = await history(await world.device(carol), id);
    assert.deepEqual(texts(page).filter(Boolean), ['for all', 'for all again']);
  });

  test('messages sent while a member was away are recovered in order', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const id = await team('Public', [alice, bob]);
    await say(alice, id, 'before');
    await hears(bob, 'before');
    const since = bob.mark();
    await bob.network.goOffline();
    for (let i = 0; i < 35; i++) await say(alice, id, `missed ${i}`);
    await bob.network.goOnline();
    await hears(bob, 'missed 34', { timeout: 25000 });
    await until(() => new Set(bob.received(since).map((m) => m.ID)).size >= 35, { what: 'all recovered' });
    const page = [];
    let next = '', done = false;
    for (let i = 0; !done && i < 9; i++) {
      const { data } = await bob.sdk.getMessageList({ conversationID: conversation(id), nextReqMessageID: next });
      page.unshift(...data.messageList);
      [next, done] = [data.nextReqMessageID, data.isCompleted];
    }
    assert.deepEqual(texts(page).filter((t) => t?.startsWith('missed ')), Array.from({ length: 35 }, (_, i) => `missed ${i}`));
  });

  test('v2 and v3 talk in one group', async (world) => {
    const [alice] = await world.users('alice');
    const bob = world.user('bob', { generation: 'v2' });
    await bob.login();
    const id = await team('Public', [alice, bob]);
    const sent = await say(alice, id, 'from v3');
    assert.equal((await hears(bob, 'from v3')).ID, sent.ID);
    const answer = await say(bob, id, 'from v2');
    assert.equal((await hears(alice, 'from v2')).ID, answer.ID);
    const { data } = await bob.sdk.getMessageList({ conversationID: conversation(id) });
    assert.deepEqual(texts(data.messageList).filter(Boolean), ['from v3', 'from v2']);
    await bob.sdk.revokeMessage(answer);
    await alice.waitFor('MESSAGE_REVOKED', (list) => list.some((m) => m.ID === answer.ID));
  });
});
