// The conversation list of a user on several devices (protocol 02 §14): what a v3 or v2 device does, the others see,
// and so does one that logs in later.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { engines } from '../harness/engines.mjs';

const c2c = (user) => `C2C${user.userID}`;
const star = 1;

const dir = mkdtempSync(join(tmpdir(), 'imserver-conversations-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
const config = join(dir, 'imserver.yaml');
writeFileSync(config, 'defaults: {sync_conversation_delete: true}\n');

/** A user with two devices of the given generations, and two peers who have written. */
async function desk(world, [acting, watching]) {
  const me = world.user('me', { generation: acting, node: 0 });
  const ben = await world.raw({ node: 1, login: world.id('ben') });
  const cat = await world.raw({ login: world.id('cat') });
  await me.login();
  for (const peer of [ben, cat]) {
    const { ErrorCode } = await peer.request('openim.sendmsg', peer.textMessage(me.userID, `hi from ${peer.userID}`));
    assert.equal(ErrorCode, 0);
  }
  const other = await world.device(me, { generation: watching, node: 1 });
  for (const d of [me, other]) {
    await d.waitFor('CONVERSATION_LIST_UPDATED', (list) => [ben, cat].every((p) => list.some((c) => c.conversationID === c2c(p))));
    await d.unread(2);
  }
  return { me, other, ben, cat };
}

const find = (list, peer) => list.find((c) => c.conversationID === c2c(peer));

/** The list as a device that has just logged in shows it. */
async function fresh(world, me, check) {
  const device = await world.device(me);
  await device.waitFor('CONVERSATION_LIST_UPDATED', check);
  return device;
}

engines('conversations', { env: { IMSERVER_MAX_WEB_INSTANCES: '6', IMSERVER_CONFIG: config }, timeout: 60000 }, ({ test }) => {
  for (const pair of [['v3', 'v3'], ['v3', 'v2'], ['v2', 'v3']]) {
    const who = pair.join(', seen by ');

    test(`${who}: pins, marks and custom data`, async (world) => {
      const { me, other, ben, cat } = await desk(world, pair);
      await me.sdk.pinConversation({ conversationID: c2c(ben), isPinned: true });
      await other.waitFor('CONVERSATION_LIST_UPDATED', (list) => find(list, ben)?.isPinned === true);
      await me.sdk.markConversation({ conversationIDList: [c2c(ben), c2c(cat)], markType: star, enableMark: true });
      await other.waitFor('CONVERSATION_LIST_UPDATED', (list) => find(list, ben)?.markList.includes(star) && find(list, cat)?.markList.includes(star));
      await me.sdk.markConversation({ conversationIDList: [c2c(cat)], markType: star, enableMark: false });
      await me.sdk.setConversationCustomData({ conversationIDList: [c2c(cat)], customData: 'note' });
      await other.waitFor('CONVERSATION_LIST_UPDATED', (list) => find(list, cat)?.customData === 'note' && !find(list, cat).markList.includes(star));
      await fresh(world, me, (list) => find(list, ben)?.isPinned && find(list, ben).markList.includes(star) && find(list, cat)?.customData === 'note' && !find(list, cat).isPinned);
      const since = other.mark();
      await me.sdk.pinConversation({ conversationID: c2c(ben), isPinned: false });
      await other.waitFor('CONVERSATION_LIST_UPDATED', (list) => find(list, ben)?.isPinned === false, { since });
    });

    test(`${who}: deleting, with and without the history`, async (world) => {
      const { me, other, ben, cat } = await desk(world, pair);
      await me.sdk.deleteConversation(pair[0] === 'v2' ? c2c(ben) : { conversationIDList: [c2c(ben)], clearHistoryMessage: false });
      await me.sdk.deleteConversation(c2c(cat));
      await other.waitFor('CONVERSATION_LIST_UPDATED', (list) => !find(list, ben) && !find(list, cat));
      await other.unread(0);
      const later = await world.device(me);
      await later.waitFor('CONVERSATION_LIST_UPDATED');
      assert.deepEqual((await later.sdk.getConversationList()).data.conversationList.map((c) => c.conversationID), []);
      await later.unread(0);
      await cat.request('openim.sendmsg', cat.textMessage(me.userID, 'again'));
      for (const d of [me, other, later]) {
        await d.waitFor('CONVERSATION_LIST_UPDATED', (list) => find(list, cat)?.unreadCount === 1);
      }
      const texts = async (peer) => (await later.sdk.getMessageList({ conversationID: c2c(peer) })).data.messageList.map((m) => m.payload.text);
      assert.deepEqual(await texts(cat), ['again']);
      if (pair[0] === 'v3') assert.deepEqual(await texts(ben), [`hi from ${ben.userID}`]);
    });

    test(`${who}: conversation groups`, async (world) => {
      const { me, other, ben, cat } = await desk(world, pair);
      const groups = async (device) => (await device.sdk.getConversationGroupList()).data.groupNameList ?? (await device.sdk.getConversationGroupList()).data;
      await me.sdk.createConversationGroup({ conversationIDList: [c2c(ben)], groupName: 'work' });
      await other.waitFor('CONVERSATION_GROUP_LIST_UPDATED', (list) => JSON.stringify(list).includes('work'));
      await me.sdk.addConversationsToGroup({ conversationIDList: [c2c(cat)], groupName: 'work' });
      await other.waitFor('CONVERSATION_LIST_UPDATED', (list) => find(list, cat)?.conversationGroupList.includes('work'));
      await me.sdk.renameConversationGroup({ oldName: 'work', newName: 'job' });
      await other.waitFor('CONVERSATION_GROUP_LIST_UPDATED', (list) => JSON.stringify(list).includes('job'));
      await me.sdk.deleteConversationsFromGroup({ conversationIDList: [c2c(ben)], groupName: 'job' });
      await other.waitFor('CONVERSATION_LIST_UPDATED', (list) => find(list, ben)?.conversationGroupList.length === 0 && find(list, cat)?.conversationGroupList.includes('job'));
      const later = await fresh(world, me, (list) => find(list, cat)?.conversationGroupList.includes('job'));
      assert.deepEqual(await groups(later), ['job']);
      await me.sdk.deleteConversationGroup('job');
      await other.waitFor('CONVERSATION_GROUP_LIST_UPDATED', (list) => !JSON.stringify(list).includes('job') && !JSON.stringify(list).includes('work'));
      assert.deepEqual(await groups(await world.device(me)), []);
    });
  }

  test('limits and other people\'s lists', async (world) => {
    const raw = await world.raw({ login: world.id('me') });
    const group = (id) => ({ Type: 2, ToGroupId: id });
    for (let i = 0; i < 50; i++) {
      assert.equal((await raw.request('recentcontact.top', { From_Account: raw.userID, OperationType: 1, RecentContactItem: [{ Type: 2, GroupId: `g${i}` }] })).ErrorCode, 0);
    }
    const answers = await Promise.all([
      raw.request('recentcontact.top', { From_Account: raw.userID, OperationType: 1, RecentContactItem: [{ Type: 2, GroupId: 'one more' }] }),
      raw.request('recentcontact.mark_contact', { From_Account: raw.userID, MarkItem: Array.from({ length: 101 }, () => ({ OptType: 1, ContactItem: group('g'), SetMark: [0] })) }),
      raw.request('recentcontact.create_contact_group', { From_Account: raw.userID, GroupContactItem: [{ GroupName: 'n'.repeat(33), ContactItem: [] }] }),
      raw.request('recentcontact.del_contact_group', { From_Account: raw.userID, GroupName: ['none'] }),
      raw.request('recentcontact.page_get', { From_Account: 'somebody else' }),
      raw.request('recentcontact.batch_delete', { From_Account: raw.userID, ContactItem: Array.from({ length: 10000 }, () => group('g')) }),
    ]);
    assert.deepEqual(answers.map((a) => a.ErrorCode), [51012, 51006, 51011, 51009, 50002, 50002]);
    assert.ok(answers.every((a) => a.ErrorInfo));
  });
});
