// What happens to one-to-one messages after they were sent (protocol 02 §8–§12): between v3 users, and between v3 and
// v2 as sender and receiver of each other.
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { sleep, until } from '../harness/wait.mjs';

const c2c = (user) => `C2C${user.userID}`;
const generations = [['v3', 'v3'], ['v3', 'v2'], ['v2', 'v3']];

/** A sender and a receiver, each with another device of v3, logged in. */
async function four(world, [first, second]) {
  const sender = world.user('ann', { generation: first, node: 0 });
  const receiver = world.user('ben', { generation: second, node: 1 });
  await Promise.all([sender.login(), receiver.login()]);
  const [sender2, receiver2] = await Promise.all([world.device(sender, { node: 1 }), world.device(receiver, { node: 0 })]);
  return { sender, receiver, sender2, receiver2 };
}

/** The chat as a device that has just logged in shows it. */
async function fresh(world, user, peer) {
  const device = await world.device(user);
  const { data } = await device.sdk.getMessageList({ conversationID: c2c(peer) });
  return { device, messages: data.messageList };
}

const has = (id) => (list) => list.some((m) => m.ID === id);

engines('messages: state', { env: { IMSERVER_MAX_WEB_INSTANCES: '6' }, timeout: 60000 }, ({ test }) => {
  for (const pair of generations) {
    const who = pair.join(' to ');

    test(`${who}: revoke reaches every device and stays`, async (world) => {
      const { sender, receiver, sender2, receiver2 } = await four(world, pair);
      const gone = await sender.sendText(receiver.userID, 'gone');
      const kept = await sender.sendText(receiver.userID, 'kept');
      await Promise.all([receiver, receiver2, sender2].map((d) => d.waitForMessage((m) => m.ID === kept.ID)));
      await assert.rejects(receiver2.sdk.revokeMessage(receiver2.received().find((m) => m.ID === gone.ID)));
      await sender.sdk.revokeMessage(gone);
      for (const d of [receiver, receiver2, sender2]) {
        const list = await d.waitFor('MESSAGE_REVOKED', has(gone.ID));
        assert.equal(list.find((m) => m.ID === gone.ID).isRevoked, true);
      }
      await receiver2.unread(1);
      await assert.rejects(sender.sdk.revokeMessage(gone));
      const { device, messages } = await fresh(world, receiver, sender);
      assert.deepEqual(messages.map((m) => [m.ID, m.isRevoked]), [[gone.ID, true], [kept.ID, false]]);
      assert.equal(messages[0].revokerInfo?.userID ?? messages[0].revoker, sender.userID);
      await device.unread(1);
    });

    test(`${who}: edits by both sides, and the conflict of two`, async (world) => {
      const { sender, receiver, sender2, receiver2 } = await four(world, pair);
      const sent = await sender.sendText(receiver.userID, 'first', { cloudCustomData: 'c0' });
      const got = await receiver.waitForMessage((m) => m.ID === sent.ID);
      await sender2.waitForMessage((m) => m.ID === sent.ID);
      const modified = (text) => (list) => list.some((m) => m.ID === sent.ID && m.payload.text === text);
      await sender.sdk.modifyMessage({ ...sent, $change: { payload: { text: 'by the sender' }, cloudCustomData: 'c1' } });
      for (const d of [receiver, receiver2, sender2]) await d.waitFor('MESSAGE_MODIFIED', modified('by the sender'));
      await receiver.sdk.modifyMessage({ ...got, $change: { payload: { text: 'by the receiver' } } });
      for (const d of [sender, sender2, receiver2]) await d.waitFor('MESSAGE_MODIFIED', modified('by the receiver'));
      // Who edits a version that is no longer the newest is refused, and told what there is now.
      await receiver.network.lose('im_open_push.msg_push', 1);
      await sender.sdk.modifyMessage({ ...sent, $change: { payload: { text: 'first come' } } });
      for (const d of [sender2, receiver2]) await d.waitFor('MESSAGE_MODIFIED', modified('first come'));
      await until(() => receiver.frames.some((f) => f.lost), { what: 'the push that the receiver never sees' });
      await assert.rejects(receiver.sdk.modifyMessage({ ...got, $change: { payload: { text: 'too late' } } }), (e) => e.code === 2480);
      await receiver.waitFor('MESSAGE_MODIFIED', modified('first come'));
      // Two edit at once: of those who named the same version, one wins. An SDK that has heard of the other's edit names the next.
      const from = [sender, receiver].map((d) => d.frames.length);
      await Promise.allSettled([[sender, sent], [receiver, got]].map(([d, m]) => d.sdk.modifyMessage({ ...m, $change: { payload: { text: `at once by ${d.userID}` } } })));
      const edits = [sender, receiver].map((d, i) => d.frames.slice(from[i]).filter((f) => f.head.servcmd === 'openim.modify_c2c_msg'));
      const named = edits.map((frames) => frames.find((f) => f.out).body.MsgVersion);
      const codes = edits.map((frames) => frames.find((f) => !f.out).body.ErrorCode);
      assert.deepEqual([...codes].sort(), named[0] === named[1] ? [0, 20027] : [0, 0], `versions ${named}`);
      const last = named[0] === named[1] ? codes.indexOf(0) : named.indexOf(Math.max(...named));
      const text = `at once by ${[sender, receiver][last].userID}`;
      for (const d of [sender, receiver, sender2, receiver2]) await d.waitFor('MESSAGE_MODIFIED', modified(text));
      const { messages } = await fresh(world, sender, receiver);
      assert.deepEqual(messages.map((m) => [m.ID, m.payload.text, m.version]), [[sent.ID, text, Math.max(...named) + 1]]);
    });

    test(`${who}: receipts and read state`, async (world) => {
      const { sender, receiver, sender2, receiver2 } = await four(world, pair);
      const asked = await sender.sendText(receiver.userID, 'please confirm', { needReadReceipt: true });
      const got = await receiver.waitForMessage((m) => m.ID === asked.ID);
      await receiver2.unread(1);
      await receiver.sdk.sendMessageReadReceipt([got]);
      for (const d of [sender, sender2]) {
        const [receipt] = await d.waitFor('MESSAGE_READ_RECEIPT_RECEIVED', (list) => list.some((r) => r.messageID === asked.ID));
        assert.deepEqual([receipt.userID, receipt.isPeerRead], [receiver.userID, true]);
      }
      await receiver.sdk.setMessageRead({ conversationID: c2c(sender) });
      for (const d of [sender, sender2]) await d.waitFor('MESSAGE_READ_BY_PEER', has(asked.ID));
      await receiver2.unread(0);
      const { messages } = await fresh(world, sender, receiver);
      assert.deepEqual([messages[0].readReceiptInfo.isPeerRead, messages[0].isPeerRead], [true, true]);
      const again = await sender.sendText(receiver.userID, 'read all');
      await receiver2.waitForMessage((m) => m.ID === again.ID);
      await receiver2.unread(1);
      await receiver.waitForMessage((m) => m.ID === again.ID);
      await receiver.sdk.setAllMessageRead();
      await receiver2.unread(0);
      await sender2.waitFor('MESSAGE_READ_BY_PEER', has(again.ID));
      await (await fresh(world, receiver, sender)).device.unread(0);
    });

    test(`${who}: delete and clear are one-sided`, async (world) => {
      const { sender, receiver, receiver2 } = await four(world, pair);
      const one = await sender.sendText(receiver.userID, 'one');
      const two = await sender.sendText(receiver.userID, 'two');
      await receiver2.waitForMessage((m) => m.ID === two.ID);
      const got = await receiver.waitForMessage((m) => m.ID === one.ID);
      await receiver.waitForMessage((m) => m.ID === two.ID);
      await receiver.sdk.deleteMessage([got]);
      const after = await fresh(world, receiver, sender);
      assert.deepEqual(after.messages.map((m) => m.ID), [two.ID]);
      await after.device.unread(1);
      await receiver.sdk.clearHistoryMessage(c2c(sender));
      const cleared = await fresh(world, receiver, sender);
      assert.deepEqual(cleared.messages, []);
      await cleared.device.unread(0);
      assert.deepEqual((await fresh(world, sender, receiver)).messages.map((m) => m.ID), [one.ID, two.ID]);
    });

    test(`${who}: mute options`, async (world) => {
      const { sender, receiver, receiver2 } = await four(world, pair);
      const first = await sender.sendText(receiver.userID, 'heard');
      for (const d of [receiver, receiver2]) await d.waitForMessage((m) => m.ID === first.ID);
      await receiver2.unread(1);
      const type = (value) => (list) => list.some((c) => c.conversationID === c2c(sender) && c.messageRemindType === value);
      await receiver.sdk.setMessageRemindType({ userIDList: [sender.userID], messageRemindType: 'AcceptNotNotify' });
      await receiver2.waitFor('CONVERSATION_LIST_UPDATED', type('AcceptNotNotify'));
      await receiver2.unread(0); // its own count stays, the total leaves it out
      await receiver.sdk.setMessageRemindType({ userIDList: [sender.userID], messageRemindType: 'Discard' });
      await receiver2.waitFor('CONVERSATION_LIST_UPDATED', type('Discard'));
      const unheard = await sender.sendText(receiver.userID, 'unheard');
      await receiver.sdk.setMessageRemindType({ userIDList: [sender.userID], messageRemindType: 'AcceptAndNotify' });
      const last = await sender.sendText(receiver.userID, 'heard again');
      await receiver2.waitForMessage((m) => m.ID === last.ID);
      assert.equal(receiver2.received().some((m) => m.ID === unheard.ID), false);
      const { device, messages } = await fresh(world, receiver, sender);
      assert.deepEqual(messages.map((m) => m.payload.text), ['heard', 'heard again']);
      await device.unread(2);
    });
  }

  test('revokes and edits during an outage are learned on the way back', async (world) => {
    const [ann, ben] = await world.users('ann', 'ben');
    const gone = await ann.sendText(ben.userID, 'gone');
    const edited = await ann.sendText(ben.userID, 'before');
    await ben.waitForMessage((m) => m.ID === edited.ID);
    await ben.sdk.getMessageList({ conversationID: c2c(ann) });
    const since = ben.mark();
    await ben.network.goOffline();
    await ann.sdk.revokeMessage(gone);
    await ann.sdk.modifyMessage({ ...edited, $change: { payload: { text: 'after' } } });
    await sleep(1100); // the SDK fetches what it missed in one way or another, depending on the second
    const missed = await ann.sendText(ben.userID, 'missed');
    await ben.network.goOnline();
    await ben.waitForMessage((m) => m.ID === missed.ID, { since, timeout: 15000 });
    await ben.waitFor('MESSAGE_REVOKED', has(gone.ID), { since, timeout: 15000 });
    await ben.waitFor('MESSAGE_MODIFIED', (list) => list.some((m) => m.ID === edited.ID && m.payload.text === 'after'), { since, timeout: 15000 });
    await ben.unread(2);
    const open = await ben.sdk.getMessageList({ conversationID: c2c(ann) });
    const { device, messages } = await fresh(world, ben, ann);
    for (const list of [open.data.messageList, messages]) {
      assert.deepEqual(list.map((m) => [m.ID, m.isRevoked]), [[gone.ID, true], [edited.ID, false], [missed.ID, false]]);
      assert.deepEqual(list.slice(1).map((m) => m.payload.text), ['after', 'missed']);
    }
    await device.unread(2);
  });

  test('do-not-disturb reaches every device of the user, the acting one too', async (world) => {
    const [ann] = await world.users('ann');
    const ann2 = await world.device(ann);
    await ann.sdk.setAllReceiveMessageOpt({ messageRemindType: 'AcceptNotNotify', startHour: 22, startMinute: 0, startSecond: 0, duration: 8 * 3600, isRepeated: true });
    for (const d of [ann, ann2]) await d.waitFor('ALL_RECEIVE_MESSAGE_OPT_UPDATED', (o) => o.messageRemindType === 'AcceptNotNotify');
    const later = await world.device(ann);
    assert.equal((await later.sdk.getAllReceiveMessageOpt()).data.messageRemindType, 'AcceptNotNotify');
  });

  test('messages left out of unread or of the list', async (world) => {
    const [ann, ben] = await world.users('ann', 'ben');
    await ann.sendText(ben.userID, 'counted');
    await ann.sendText(ben.userID, 'not counted', { sendOptions: { messageControlInfo: { excludedFromUnreadCount: true } } });
    const hidden = await ann.sendText(ben.userID, 'not shown', { sendOptions: { messageControlInfo: { excludedFromLastMessage: true } } });
    await ben.waitForMessage((m) => m.ID === hidden.ID);
    await ben.unread(2);
    const { device, messages } = await fresh(world, ben, ann);
    await device.unread(2);
    assert.equal(messages.length, 3);
    const { data } = await device.sdk.getConversationProfile(c2c(ann));
    assert.equal(data.conversation.lastMessage.messageForShow ?? data.conversation.lastMessage.payload.text, 'not counted');
  });

  test('the time for revoking is limited, and administrators know no limit', async (world) => {
    const [ann, ben] = await world.users('ann', 'ben');
    const rest = world.rest();
    const key = { From_Account: ann.userID, To_Account: ben.userID };
    const old = Math.floor(Date.now() / 1000) - 3600;
    const put = await rest('openim/importmsg', { ...key, SyncFromOldSystem: 2, MsgSeq: 1, MsgRandom: 4711, MsgTimeStamp: old, MsgBody: [{ MsgType: 'TIMTextElem', MsgContent: { Text: 'old' } }] });
    assert.equal(put.ErrorCode, 0);
    const { data } = await ann.sdk.getMessageList({ conversationID: c2c(ben) });
    await assert.rejects(ann.sdk.revokeMessage(data.messageList[0]), (e) => e.code === 20016);
    const history = await rest('openim/admin_getroammsg', { Operator_Account: ben.userID, Peer_Account: ann.userID, MaxCnt: 10, MinTime: old, MaxTime: old + 7200 });
    assert.deepEqual(history.MsgList.map((m) => [m.MsgKey, m.MsgFlagBits]), [[`1_4711_${old}`, 0]]);
    assert.equal((await rest('openim/modify_c2c_msg', { ...key, MsgKey: `1_4711_${old}`, CloudCustomData: 'changed' })).ErrorCode, 0);
    assert.equal((await rest('openim/admin_msgwithdraw', { ...key, MsgKey: `1_4711_${old}` })).ErrorCode, 0);
    assert.equal((await rest('openim/admin_msgwithdraw', { ...key, MsgKey: `1_4711_${old}` })).ErrorCode, 20023);
    await ann.sendText(ben.userID, 'unread');
    assert.equal((await rest('openim/get_c2c_unread_msg_num', { To_Account: ben.userID })).AllC2CUnreadMsgNum, 1);
    await ben.unread(1);
    assert.equal((await rest('openim/admin_set_msg_read', { Report_Account: ben.userID, Peer_Account: ann.userID })).ErrorCode, 0);
    await ben.unread(0);
  });
});
