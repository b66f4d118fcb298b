// One user on several devices (protocol 02 §5.2, §8.1).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';

const c2c = (user) => `C2C${user.userID}`;

engines('devices', { env: { IMSERVER_MAX_WEB_INSTANCES: '3' } }, ({ test }) => {
  test('every device of both sides gets the message; own copies are outgoing', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const [alice2, bob2] = [await world.device(alice, { node: 1 }), await world.device(bob, { node: 0 })];
    const sent = await alice.sendText(bob.userID, 'to all');
    for (const device of [bob, bob2]) {
      const got = await device.waitForMessage((m) => m.ID === sent.ID);
      assert.equal(got.flow, 'in');
      await device.unread(1);
    }
    const copy = await alice2.waitForMessage((m) => m.ID === sent.ID);
    assert.deepEqual([copy.flow, copy.from, copy.to, copy.conversationID], ['out', alice.userID, bob.userID, c2c(bob)]);
    await alice2.unread(0);
    assert.equal(alice.received().length, 0, 'the sending device gets no copy');
  });

  test('reading on one device clears the others and tells all devices of the sender', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const [alice2, bob2] = [await world.device(alice, { node: 1 }), await world.device(bob, { node: 0 })];
    const sent = await alice.sendText(bob.userID, 'read me');
    await Promise.all([bob, bob2, alice2].map((d) => d.waitForMessage((m) => m.ID === sent.ID)));
    await bob.sdk.setMessageRead({ conversationID: c2c(alice) });
    await bob2.waitFor('CONVERSATION_LIST_UPDATED', (list) => list.some((c) => c.conversationID === c2c(alice) && c.unreadCount === 0 && c.lastMessage.payload?.text === 'read me'));
    await bob2.unread(0);
    for (const device of [alice, alice2]) await device.waitFor('MESSAGE_READ_BY_PEER', (list) => list.some((m) => m.ID === sent.ID));
  });

  test('logging out on one device leaves the others', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const bob2 = await world.device(bob);
    await bob2.sdk.logout();
    const sent = await alice.sendText(bob.userID, 'still there?');
    await bob.waitForMessage((m) => m.ID === sent.ID);
    assert.equal(bob2.received().length, 0, 'nothing for who has logged out');
    assert.equal(bob.events.some((e) => e.event === 'KICKED_OUT'), false);
  });

  test('the instance over the limit takes the place of the oldest', async (world) => {
    const [bob] = await world.users('bob');
    const others = [];
    for (let i = 0; i < 3; i++) others.push(await world.device(bob));
    const kicked = await bob.waitFor('KICKED_OUT');
    assert.equal(kicked.type, 'multipleAccount');
    for (const device of others) assert.equal(device.events.some((e) => e.event === 'KICKED_OUT'), false);
  });

  test('a message to oneself reaches the other devices once', async (world) => {
    const [alice] = await world.users('alice');
    const alice2 = await world.device(alice);
    const sent = await alice.sendText(alice.userID, 'note to self');
    await alice2.waitForMessage((m) => m.ID === sent.ID);
    const { data } = await alice2.sdk.getMessageList({ conversationID: c2c(alice) });
    assert.deepEqual(data.messageList.map((m) => m.ID), [sent.ID]);
    assert.equal(alice2.received().filter((m) => m.payload.text === 'note to self').length, 1);
  });
});
