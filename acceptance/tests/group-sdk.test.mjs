// The group methods of both SDK generations, each as the actor and as the one who sees it (protocol 03 §4-§12).
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

const tip = (group, operation) => (m) => m.type === 'TIMGroupTipElem' && m.to === group && m.payload.operationType === operation;
const notice = (group, operation) => (m) => m.type === 'TIMGroupSystemNoticeElem' && m.payload.groupProfile.groupID === group && m.payload.operationType === operation;
const texts = (list) => list.map((m) => m.payload.text).filter(Boolean);

// Whom a member of a Work group invites is asked first; the others add at once.
const dir = mkdtempSync(join(tmpdir(), 'imserver-groups-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
const config = join(dir, 'imserver.yaml');
writeFileSync(config, 'defaults:\n  groups:\n    work:\n      invite_consent: true\n');

engines('groups in both generations', { env: { IMSERVER_MAX_WEB_INSTANCES: '3', IMSERVER_CONFIG: config }, timeout: 90000 }, ({ test }) => {
  for (const [first, second] of [['v3', 'v2'], ['v2', 'v3']]) {
    test(`${first} acts, ${second} sees: a group from its creation to its end`, async (world) => {
      const [ann, ben, cid] = [world.user('ann', { generation: first }), world.user('ben', { generation: second, node: 1 }), world.user('cid', { generation: second })];
      await Promise.all([ann.login(), ben.login(), cid.login()]);
      const groupID = world.id('team');
      const { data } = await ann.sdk.createGroup({ type: 'Public', groupID, name: 'Team', introduction: 'i', notification: 'n', avatar: 'http://a/b', maxMemberNum: 50, joinOption: 'NeedPermission',
        memberList: [{ userID: ben.userID, memberCustomField: [{ key: 'k', value: 'v' }] }], groupCustomField: [{ key: 'g', value: 'w' }] });
      assert.deepEqual([data.group.groupID, data.group.ownerID, data.group.memberCount], [groupID, ann.userID, 2]);
      await ben.waitForMessage(notice(groupID, 7));
      await ben.waitForGroup(groupID);
      const { data: { group } } = await ben.sdk.getGroupProfile({ groupID, groupCustomFieldFilter: ['g'] });
      assert.deepEqual([group.type, group.name, group.introduction, group.notification, group.avatar, group.maxMemberCount, group.joinOption, group.groupCustomField],
        ['Public', 'Team', 'i', 'n', 'http://a/b', 50, 'NeedPermission', [{ key: 'g', value: 'w' }]]);
      await assert.rejects(cid.sdk.createGroup({ type: 'Public', groupID, name: 'x' }), { code: 10021 });
      await assert.rejects(ann.sdk.createGroup({ type: 'Public', groupID, name: 'x' }), { code: 10025 });

      assert.equal((await cid.sdk.joinGroup({ groupID, type: 'Public', applyMessage: 'hello' })).data.status, 'WaitAdminApproval');
      const asked = await ann.waitForMessage(notice(groupID, 1));
      assert.deepEqual([asked.payload.operatorID, asked.payload.handleMessage], [cid.userID, 'hello']);
      await ann.sdk.handleGroupApplication({ handleAction: 'Agree', handleMessage: 'come in', message: asked });
      assert.equal((await cid.waitForMessage(notice(groupID, 2))).payload.handleMessage, 'come in');
      const came = await ben.waitForMessage(tip(groupID, 1));
      assert.deepEqual([came.payload.operatorID, came.payload.userIDList, came.payload.memberCount, came.nick], [ann.userID, [cid.userID], 3, '']);
      await cid.waitForGroup(groupID);
      assert.equal((await cid.sdk.searchGroupByID(groupID)).data.group.name, 'Team');

      await ann.sdk.setGroupMemberRole({ groupID, userID: ben.userID, role: 'Admin' });
      await ben.waitForMessage(notice(groupID, 9));
      assert.deepEqual((await cid.waitForMessage(tip(groupID, 4))).payload.userIDList, [ben.userID]);
      assert.equal((await ben.sdk.getGroupProfile({ groupID })).data.group.selfInfo.role, 'Admin');
      const page = async (options) => (await cid.sdk.getGroupMemberList({ groupID, count: 2, offset: 0, ...options })).data;
      const head = await page({});
      assert.deepEqual([head.memberList.map((m) => [m.userID, m.role]), head.offset], [[[ann.userID, 'Owner'], [ben.userID, 'Admin']], 2]);
      assert.deepEqual((await page({ offset: 2 })).memberList.map((m) => m.userID), [cid.userID]);
      await ann.sdk.setGroupMemberNameCard({ groupID, userID: cid.userID, nameCard: 'Cid (QA)' });
      await ann.sdk.setGroupMemberCustomField({ groupID, userID: cid.userID, memberCustomField: [{ key: 'k', value: '2' }] });
      const { data: { memberList } } = await ben.sdk.getGroupMemberProfile({ groupID, userIDList: [ben.userID, cid.userID, 'stranger'], memberCustomFieldFilter: ['k'] });
      assert.deepEqual(memberList.map((m) => [m.userID, m.role, m.nameCard, m.memberCustomField]).sort(),
        [[ben.userID, 'Admin', '', [{ key: 'k', value: 'v' }]], [cid.userID, 'Member', 'Cid (QA)', [{ key: 'k', value: '2' }]]].sort());
      await ann.sdk.setGroupMemberMuteTime({ groupID, userID: cid.userID, muteTime: 100 });
      assert.equal((await cid.waitForMessage(tip(groupID, 7))).payload.memberList[0].muteTime, 100);
      await assert.rejects(cid.sendText(groupID, 'psst', { group: true }), { code: 10017 });
      await ann.sdk.setGroupMemberMuteTime({ groupID, userID: cid.userID, muteTime: 0 });
      await cid.sendText(groupID, 'thanks', { group: true });
      assert.equal((await ann.waitForMessage((m) => m.payload.text === 'thanks')).nameCard, 'Cid (QA)');
      await ann.sdk.setMessageRemindType({ groupID, messageRemindType: 'AcceptNotNotify' });
      assert.ok((await [ann, ben].find((u) => u.generation !== 'v2').sdk.getGroupOnlineMemberCount(groupID)).data.memberCount >= 1); // v2 asks about live rooms only

      const attributes = (want) => (d) => d.groupID === groupID && JSON.stringify(d.groupAttributes) === JSON.stringify(want);
      await ann.sdk.initGroupAttributes({ groupID, groupAttributes: { a: '1', b: '2' } });
      await ben.waitFor('GROUP_ATTRIBUTES_UPDATED', attributes({ a: '1', b: '2' }));
      await ann.sdk.setGroupAttributes({ groupID, groupAttributes: { a: '3' } });
      await ben.waitFor('GROUP_ATTRIBUTES_UPDATED', attributes({ a: '3', b: '2' }));
      await ann.sdk.deleteGroupAttributes({ groupID, keyList: ['b'] });
      await ben.waitFor('GROUP_ATTRIBUTES_UPDATED', attributes({ a: '3' }));
      const fresh = world.user(cid.userID, { exact: true, generation: second, node: 1 }); // one that has heard of no change
      await fresh.login();
      assert.deepEqual((await fresh.sdk.getGroupAttributes({ groupID, keyList: ['a', 'b'] })).data.groupAttributes, { a: '3' });
      await ann.sdk.setGroupCounters({ groupID, counters: { likes: 5, views: 1 } });
      await ann.sdk.increaseGroupCounter({ groupID, key: 'likes', value: 2 });
      await ann.sdk.decreaseGroupCounter({ groupID, key: 'views', value: 3 });
      for (const [key, value] of [['likes', 7], ['views', -2]]) await ben.waitFor('GROUP_COUNTER_UPDATED', (d) => d.groupID === groupID && d.key === key && d.value === value);
      assert.deepEqual((await fresh.sdk.getGroupCounters({ groupID, keyList: ['likes'] })).data.counters, { likes: 7 });

      await ann.sdk.updateGroupProfile({ groupID, name: 'New', notification: 'news', muteAllMembers: true });
      const changed = await ben.waitForMessage(tip(groupID, 6));
      assert.deepEqual([changed.payload.newGroupProfile.groupName, changed.payload.newGroupProfile.notification, changed.payload.newGroupProfile.muteAllMembers], ['New', 'news', true]);
      await assert.rejects(cid.sendText(groupID, 'psst', { group: true }), { code: 10017 });
      await ben.sendText(groupID, 'an admin may', { group: true });
      await ann.sdk.deleteGroupMember({ groupID, userIDList: [cid.userID], reason: 'spam' });
      const kicked = await ben.waitForMessage(tip(groupID, 3));
      assert.deepEqual([kicked.payload.userIDList, kicked.payload.memberCount], [[cid.userID], 2]);
      for (const device of [cid, fresh]) await device.waitForMessage(notice(groupID, 4));
      await ann.sdk.changeGroupOwner({ groupID, newOwnerID: ben.userID });
      await until(async () => (await ben.sdk.getGroupProfile({ groupID })).data.group.selfInfo.role === 'Owner', { what: 'the new owner' });
      await ann.sdk.quitGroup(groupID);
      assert.deepEqual((await ben.waitForMessage(tip(groupID, 2))).payload.userIDList, [ann.userID]);
      await ben.sdk.dismissGroup(groupID);
      await assert.rejects(ben.sdk.dismissGroup(groupID), (e) => [10010, 2603].includes(e.code));
    });

    test(`${first} acts, ${second} sees: communities and topics`, async (world) => {
      const [ann, ben] = [world.user('ann', { generation: first }), world.user('ben', { generation: second, node: 1 })];
      await Promise.all([ann.login(), ben.login()]);
      const { data: { group: { groupID } } } = await ann.sdk.createGroup({ type: 'Community', name: 'Town', isSupportTopic: true });
      assert.equal((await ben.sdk.joinGroup({ groupID, type: 'Community' })).data.status, 'JoinedSuccess');
      assert.ok((await ben.sdk.getJoinedCommunityList()).data.groupList.some((g) => g.groupID === groupID));
      const { data: { topicID } } = await ann.sdk.createTopicInCommunity({ groupID, topicName: 'News', introduction: 'i', notification: 'n', customData: 'cd' });
      await ben.waitFor('TOPIC_CREATED', (d) => d.topicID === topicID);
      const topic = async (user) => (await user.sdk.getTopicList({ groupID, topicIDList: [topicID] })).data.successTopicList[0];
      const seen = await topic(ben);
      assert.deepEqual([seen.topicName, seen.introduction, seen.notification, seen.customData, seen.unreadCount], ['News', 'i', 'n', 'cd', 0]);
      await ann.sdk.updateTopicProfile({ groupID, topicID, topicName: 'Newer' });
      await ben.waitFor('TOPIC_UPDATED', (d) => d.topic.topicID === topicID && d.topic.topicName === 'Newer');
      await ann.sendText(topicID, 'hello', { group: true });
      assert.equal((await ben.waitForMessage((m) => m.payload.text === 'hello')).conversationID, `GROUP${topicID}`);
      await ann.sdk.sendMessage(await ann.sdk.createTextAtMessage({ to: topicID, conversationType: 'GROUP', payload: { text: '@ben', atUserList: [ben.userID] } }));
      await ben.waitForMessage((m) => m.payload.text === '@ben');
      const mentioned = world.user(ben.userID, { exact: true, generation: second });
      await mentioned.login();
      const { unreadCount, groupAtInfoList } = await topic(mentioned);
      assert.deepEqual([unreadCount, groupAtInfoList.map((a) => [a.from, a.topicID, a.messageSequence, a.atTypeArray])], [2, [[ann.userID, topicID, 2, [1]]]]);
      await ben.sdk.setMessageRemindType({ groupID: topicID, messageRemindType: 'AcceptNotNotify' });
      await ben.sdk.setMessageRead({ conversationID: `GROUP${topicID}` });
      const again = world.user(ben.userID, { exact: true, generation: second });
      await again.login();
      const now = await topic(again);
      assert.deepEqual([now.unreadCount, now.selfInfo.messageRemindType], [0, 'AcceptNotNotify']);
      assert.deepEqual(texts((await again.sdk.getMessageList({ conversationID: `GROUP${topicID}` })).data.messageList), ['hello', '@ben']);
      await ann.sdk.deleteTopicFromCommunity({ groupID, topicIDList: [topicID] });
      await ben.waitFor('TOPIC_DELETED', (d) => d.topicIDList.includes(topicID));
    });
  }

  test('an invitation that the invited has to accept', async (world) => {
    const [ann, ben, cid] = await world.users('ann', 'ben', 'cid');
    const { data: { group: { groupID } } } = await ann.sdk.createGroup({ type: 'Private', name: 'Team', memberList: [{ userID: ben.userID }] });
    await ben.waitForGroup(groupID);
    for (const [handleAction, report] of [['Reject', 14], ['Agree', 13]]) {
      const since = cid.mark();
      assert.deepEqual((await ben.sdk.addGroupMember({ groupID, userIDList: [cid.userID] })).data.successUserIDList, []);
      const message = await cid.waitForMessage(notice(groupID, 12), { since });
      assert.equal(message.payload.operatorID, ben.userID);
      await cid.sdk.callExperimentalAPI('handleGroupInvitation', { message, handleAction, handleMessage: 'well' });
      const answer = await ben.waitForMessage(notice(groupID, report));
      assert.deepEqual([answer.payload.operatorID, answer.payload.handleMessage], [cid.userID, 'well']);
    }
    await cid.waitForGroup(groupID);
    assert.deepEqual((await ann.waitForMessage(tip(groupID, 1))).payload.userIDList, [cid.userID]);
  });

  test('messages: pins taken off, receipts and reactions asked for, history from both ends with holes', async (world) => {
    const [ann, ben] = await world.users('ann', 'ben');
    const { data: { group: { groupID } } } = await ann.sdk.createGroup({ type: 'Public', name: 'Team', memberList: [{ userID: ben.userID }] });
    await ben.waitForGroup(groupID);
    const sent = await ann.sendText(groupID, 'look', { group: true, needReadReceipt: true });
    const got = await ben.waitForMessage((m) => m.ID === sent.ID);
    await ben.sdk.pinGroupMessage({ groupID, message: got, isPinned: true });
    await ann.waitFor('PINNED_GROUP_MESSAGE_UPDATED', (d) => d.groupID === groupID && d.isPinned);
    await ben.sdk.pinGroupMessage({ groupID, message: got, isPinned: false });
    await ann.waitFor('PINNED_GROUP_MESSAGE_UPDATED', (d) => d.groupID === groupID && !d.isPinned);
    assert.deepEqual((await (await world.device(ann)).sdk.getPinnedGroupMessageList(groupID)).data.messageList, []);
    await ben.sdk.sendMessageReadReceipt([got]);
    await ann.waitFor('MESSAGE_READ_RECEIPT_RECEIVED', (list) => list.some((r) => r.messageID === sent.ID));
    const receipts = JSON.stringify((await ann.sdk.getMessageReadReceiptList([sent])).data);
    assert.ok(receipts.includes('"readCount":1') && receipts.includes('"unreadCount":0'), receipts);
    await ben.sdk.addMessageReaction(got, 'smile');
    await ann.waitFor('MESSAGE_REACTIONS_UPDATED', (d) => JSON.stringify(d).includes('"totalUserCount":1'));
    const { data: { resultList } } = await ann.sdk.getMessageReactions({ messageList: [sent], maxUserCountPerReaction: 5 });
    assert.deepEqual(resultList[0].reactionList.map((r) => [r.reactionID, r.totalUserCount, r.reactedByMyself]), [['smile', 1, false]]);
    const users = await ann.sdk.getAllUserListOfMessageReaction({ message: sent, reactionID: 'smile', nextSeq: 0, count: 10 });
    assert.deepEqual(users.data.userList.map((u) => u.userID), [ben.userID]);
    const since = ann.mark();
    await ben.sdk.removeMessageReaction(got, 'smile');
    await ann.waitFor('MESSAGE_REACTIONS_UPDATED', (d) => JSON.stringify(d).includes(sent.ID), { since });

    const all = [];
    for (let i = 0; i < 12; i++) all.push(await ann.sendText(groupID, `m${i}`, { group: true }));
    const his = await Promise.all(all.map((m) => ben.waitForMessage((x) => x.ID === m.ID)));
    await ben.sdk.deleteMessage([his[3], his[4]]); // holes for ben alone
    const kept = all.map((_, i) => `m${i}`).filter((t) => !['m3', 'm4'].includes(t));
    const phone = await world.device(ben);
    const conversationID = `GROUP${groupID}`;
    const older = await phone.sdk.getMessageListHopping({ conversationID, sequence: his[11].sequence, count: 15, direction: 0 });
    assert.deepEqual(texts(older.data.messageList).filter((t) => t.startsWith('m')), kept.filter((t) => older.data.messageList.some((m) => m.payload.text === t)));
    const newer = [];
    let sequence = his[0].sequence;
    for (let i = 0; i < 8; i++) {
      const { data } = await phone.sdk.getMessageListHopping({ conversationID, sequence, count: 5, direction: 1 });
      newer.push(...texts(data.messageList));
      if (data.isCompleted || data.messageList.length === 0) break;
      sequence = data.messageList.at(-1).sequence + 1;
    }
    assert.deepEqual([...new Set(newer)], kept);
  });
});
