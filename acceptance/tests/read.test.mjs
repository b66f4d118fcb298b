// Read state of one-to-one chats (protocol 02 §8).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';

const c2c = (user) => `C2C${user.userID}`;

engines('read state', {}, ({ test }) => {
  test('the sender learns that the peer has read, now and after a relogin', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const one = await alice.sendText(bob.userID, 'one');
    const two = await alice.sendText(bob.userID, 'two');
    await bob.waitForMessage((m) => m.ID === two.ID);
    assert.equal((await alice.sdk.getMessageList({ conversationID: c2c(bob) })).data.messageList.some((m) => m.isPeerRead), false);
    const since = alice.mark();
    await bob.sdk.setMessageRead({ conversationID: c2c(alice) });
    await bob.unread(0);
    const read = await alice.waitFor('MESSAGE_READ_BY_PEER', (list) => list.some((m) => m.ID === two.ID), { since });
    assert.deepEqual(read.map((m) => m.ID).sort(), [one.ID, two.ID].sort());
    assert.ok(read.every((m) => m.isPeerRead));

    await alice.leave();
    const again = world.user(alice.userID, { exact: true });
    await again.login();
    await again.waitFor('CONVERSATION_LIST_UPDATED', (list) => list.some((c) => c.conversationID === c2c(bob) && c.lastMessage.isPeerRead));
    const { data } = await again.sdk.getMessageList({ conversationID: c2c(bob) });
    assert.deepEqual(data.messageList.map((m) => m.isPeerRead), [true, true]);
  });

  test('a message after the read one is unread for both', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const one = await alice.sendText(bob.userID, 'one');
    await bob.waitForMessage((m) => m.ID === one.ID);
    await bob.sdk.setMessageRead({ conversationID: c2c(alice) });
    await alice.waitFor('MESSAGE_READ_BY_PEER', (list) => list.some((m) => m.ID === one.ID));
    await new Promise((resolve) => setTimeout(resolve, 1100)); // read positions are whole seconds
    const two = await alice.sendText(bob.userID, 'two');
    await bob.waitForMessage((m) => m.ID === two.ID);
    await bob.unread(1);
    await bob.leave();
    await alice.leave();
    const [bob2, alice2] = [bob, alice].map((u) => world.user(u.userID, { exact: true }));
    await Promise.all([bob2.login(), alice2.login()]);
    await bob2.waitFor('TOTAL_UNREAD_MESSAGE_COUNT_UPDATED', (n) => n === 1);
    const { data } = await alice2.sdk.getMessageList({ conversationID: c2c(bob) });
    assert.deepEqual(data.messageList.map((m) => [m.ID, m.isPeerRead]), [[one.ID, true], [two.ID, false]]);
  });

  test('get_peer_read_time answers every asked account, in order, 0 for never', async (world) => {
    const [alice, bob, carol] = [await world.raw({ login: world.id('alice') }), await world.raw({ node: 1, login: world.id('bob') }), await world.raw({ login: world.id('carol') })];
    const { MsgTime } = await alice.request('openim.sendmsg', alice.textMessage(bob.userID, 'hi'));
    await alice.request('openim.sendmsg', alice.textMessage(carol.userID, 'hi'));
    const { ErrorCode } = await bob.request('openim.msgreaded', { C2CMsgReaded: { Cookie: '', C2CMsgReadedItem: [{ To_Account: alice.userID, LastedMsgTime: MsgTime, Receipt: 1 }] } });
    assert.equal(ErrorCode, 0);
    const answer = await alice.request('openim.get_peer_read_time', { To_Account: [carol.userID, bob.userID, world.id('unknown')] });
    assert.deepEqual(answer.ReadTime, [0, MsgTime, 0]);
    const receipt = await alice.waitForEvent((e) => e.C2cNotifyMsgArray?.[0].C2cReadedReceipt);
    assert.equal(receipt.C2cNotifyMsgArray[0].C2cReadedReceipt.To_Account, bob.userID);
    // An older time never takes a read position back.
    await bob.request('openim.msgreaded', { C2CMsgReaded: { Cookie: '', C2CMsgReadedItem: [{ To_Account: alice.userID, LastedMsgTime: MsgTime - 100, Receipt: 1 }] } });
    assert.deepEqual((await alice.request('openim.get_peer_read_time', { To_Account: [bob.userID] })).ReadTime, [MsgTime]);
  });
});
