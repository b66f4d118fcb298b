// The second SDK generation (tim-js-sdk 2.27.6) and the third talk to each other (protocol 01 §17, 02 §22).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';

const c2c = (user) => `C2C${user.userID}`;
const kinds = [
  ['Text', { text: 'hello ✓' }],
  ['Custom', { data: 'd', description: 'desc', extension: 'ext' }],
  ['Face', { index: 3, data: 'smile' }],
  ['Location', { description: 'here', longitude: 1.5, latitude: 2.5 }],
];

/** A v2 user and a v3 user, logged in. */
async function pair(world) {
  const old = world.user('old', { generation: 'v2' });
  const young = world.user('young');
  await Promise.all([old.login(), young.login()]);
  return [old, young];
}

engines('v2', {}, ({ test }) => {
  test('v2 and v3 exchange every kind of message', async (world) => {
    const [old, young] = await pair(world);
    for (const [sender, receiver] of [[old, young], [young, old]]) {
      for (const [kind, payload] of kinds) {
        const sent = await sender.send(kind, receiver.userID, payload, { cloudCustomData: 'c' });
        const got = await receiver.waitForMessage((m) => m.ID === sent.ID);
        assert.deepEqual(got.payload, sent.payload);
        assert.deepEqual([got.from, got.flow, got.time, got.cloudCustomData], [sender.userID, 'in', sent.time, 'c']);
      }
    }
    const { data } = await old.sdk.getMessageList({ conversationID: c2c(young) });
    assert.equal(data.messageList.length, 2 * kinds.length);
    assert.deepEqual(data.messageList.map((m) => m.flow), [...kinds.map(() => 'out'), ...kinds.map(() => 'in')]);
  });

  test('a v2 user finds what it missed, and its reading is seen by v3', async (world) => {
    const [old, young] = await pair(world);
    await old.leave();
    const sent = await young.sendText(old.userID, 'missed');
    const again = world.user(old.userID, { exact: true, generation: 'v2' });
    await again.login();
    await again.waitFor('CONVERSATION_LIST_UPDATED', (list) => list.some((c) => c.conversationID === c2c(young) && c.unreadCount === 1));
    const { data } = await again.sdk.getMessageList({ conversationID: c2c(young) });
    assert.deepEqual(data.messageList.map((m) => m.ID), [sent.ID]);
    await again.sdk.setMessageRead({ conversationID: c2c(young) });
    await young.waitFor('MESSAGE_READ_BY_PEER', (list) => list.some((m) => m.ID === sent.ID));
    const answer = await again.sendText(young.userID, 'read it');
    await young.waitForMessage((m) => m.ID === answer.ID);
    await young.sdk.setMessageRead({ conversationID: c2c(again) });
    await again.waitFor('MESSAGE_READ_BY_PEER', (list) => list.some((m) => m.ID === answer.ID));
  });

  test('v2: merged messages, profile, kick, reconnect', async (world) => {
    const [old, young] = await pair(world);
    const one = await old.sendText(young.userID, 'one');
    const merged = await old.send('Merger', young.userID, { messageList: [one], title: 'T', abstractList: ['a'], compatibleText: 'c' });
    const got = await young.waitForMessage((m) => m.ID === merged.ID);
    assert.deepEqual(got.payload.messageList.map((m) => m.ID), [one.ID]);

    await old.sdk.updateMyProfile({ nick: 'Old hand' });
    const [third] = await world.users('third'); // others may have the old profile in their cache
    assert.equal((await third.sdk.getUserProfile({ userIDList: [old.userID] })).data[0].nick, 'Old hand');

    await new Promise((resolve) => setTimeout(resolve, 1200));
    const since = old.mark();
    await old.network.cut();
    const missed = await young.sendText(old.userID, 'while away');
    await old.waitForMessage((m) => m.ID === missed.ID, { since, timeout: 8000 });
    assert.equal(old.received(since).length, 1);

    const other = world.user(old.userID, { exact: true });
    await other.login();
    assert.equal((await old.waitFor('KICKED_OUT')).type, 'multipleAccount');
  });

  test('v2: nothing it asks at start fails', async (world) => {
    const old = world.user('old', { generation: 'v2' });
    await old.login();
    await old.waitForFrame((f) => !f.out && f.head.servcmd === 'im_sdk_config_mgr.fetch_imsdk_purchase_bitsv2');
    assert.deepEqual(old.failures, []);
    const asked = old.frames.filter((f) => f.out && !/^(heartbeat|imopenstat)/.test(f.head.servcmd)).map((f) => f.head.servcmd);
    assert.deepEqual(asked, [...new Set(asked)]);
  });
});
