// Members, attributes, counters and topics as the SDK sees them (protocol 03 §7-§11).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

const tip = (group, operation) => (m) => m.type === 'TIMGroupTipElem' && m.to === group && m.payload.operationType === operation;
const notice = (group, operation) => (m) => m.type === 'TIMGroupSystemNoticeElem' && m.payload.groupProfile.groupID === group && m.payload.operationType === operation;

engines('groups: members', { env: { IMSERVER_MAX_WEB_INSTANCES: '3' }, timeout: 60000 }, ({ test }) => {
  test('lists by page and role, profiles, roles, cards, mutes, receive options', async (world) => {
    const [alice, bob, carol] = await world.users('alice', 'bob', 'carol');
    const { data: { group: { groupID } } } = await alice.sdk.createGroup({ type: 'Public', name: 'Team', memberList: [{ userID: bob.userID }, { userID: carol.userID }] });
    await Promise.all([bob, carol].map((u) => u.waitForGroup(groupID)));
    const page = await bob.sdk.getGroupMemberList({ groupID, count: 2, offset: 0 });
    assert.deepEqual(page.data.memberList.map((m) => m.userID)[0], alice.userID, 'the owner comes first');
    assert.equal(page.data.offset, 2);
    const rest = await bob.sdk.getGroupMemberList({ groupID, count: 2, offset: 2 });
    assert.equal(rest.data.memberList.length, 1);
    assert.deepEqual([...page.data.memberList, ...rest.data.memberList].map((m) => m.userID).sort(), [alice, bob, carol].map((u) => u.userID).sort());

    await alice.sdk.setGroupMemberRole({ groupID, userID: bob.userID, role: 'Admin' });
    await bob.waitForMessage(notice(groupID, 9));
    assert.deepEqual((await carol.waitForMessage(tip(groupID, 4))).payload.userIDList, [bob.userID]);
    const admins = await carol.sdk.getGroupMemberList({ groupID, count: 15, offset: 0, role: 'Admin' });
    assert.deepEqual(admins.data.memberList.map((m) => [m.userID, m.role]), [[bob.userID, 'Admin']]);

    await bob.sdk.setGroupMemberMuteTime({ groupID, userID: carol.userID, muteTime: 600 });
    const muted = await carol.waitForMessage(tip(groupID, 7));
    assert.equal(muted.payload.memberList[0].userID, carol.userID);
    await assert.rejects(carol.sendText(groupID, 'psst', { group: true }), { code: 10017 });
    const { data: { memberList: [profile] } } = await alice.sdk.getGroupMemberProfile({ groupID, userIDList: [carol.userID] });
    assert.ok(Math.abs(profile.muteUntil - Date.now() / 1000 - 600) < 10, `muted until ${profile.muteUntil}`);
    await bob.sdk.setGroupMemberMuteTime({ groupID, userID: carol.userID, muteTime: 0 });
    await carol.sendText(groupID, 'thanks', { group: true });

    await bob.sdk.setGroupMemberNameCard({ groupID, userID: bob.userID, nameCard: 'Bob (QA)' });
    await bob.sdk.setGroupMemberCustomField({ groupID, userID: bob.userID, memberCustomField: [{ key: 'k', value: 'v' }] });
    const { data: { memberList: [card] } } = await alice.sdk.getGroupMemberProfile({ groupID, userIDList: [bob.userID], memberCustomFieldFilter: ['k'] });
    assert.deepEqual([card.nameCard, card.memberCustomField, card.role], ['Bob (QA)', [{ key: 'k', value: 'v' }], 'Admin']);
    await assert.rejects(carol.sdk.setGroupMemberNameCard({ groupID, userID: bob.userID, nameCard: 'x' }), { code: 10007 });

    const phone = await world.device(carol);
    await phone.waitForGroup(groupID); // it has read the list of its login
    await carol.sdk.setMessageRemindType({ groupID, messageRemindType: 'AcceptNotNotify' });
    await until(async () => (await phone.sdk.getGroupList()).data.groupList.find((g) => g.groupID === groupID).selfInfo.messageRemindType === 'AcceptNotNotify', { what: 'the receive option on the other device' });

    await alice.sdk.setGroupMemberRole({ groupID, userID: bob.userID, role: 'Member' });
    await bob.waitForMessage(notice(groupID, 10));
    await carol.waitForMessage(tip(groupID, 5));
    assert.ok((await alice.sdk.getGroupOnlineMemberCount(groupID)).data.memberCount >= 1);
  });

  test('communities page their members by a cursor', async (world) => {
    const [alice] = await world.users('alice');
    const others = [];
    for (let i = 0; i < 12; i++) others.push((await world.raw({ node: i % 2, login: world.id('u') })).userID);
    const { data: { group: { groupID } } } = await alice.sdk.createGroup({ type: 'Community', name: 'Big', memberList: others.map((userID) => ({ userID })) });
    const seen = [];
    let offset = 0;
    for (let i = 0; i < 4; i++) {
      const { data } = await alice.sdk.getGroupMemberList({ groupID, count: 5, offset });
      seen.push(...data.memberList.map((m) => m.userID));
      offset = data.offset;
      if (!offset) break;
    }
    assert.deepEqual(seen.sort(), [alice.userID, ...others].sort());
  });

  test('attributes and counters: everybody sees every change, conflicts are told', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const { data: { group: { groupID } } } = await alice.sdk.createGroup({ type: 'Public', name: 'Team', memberList: [{ userID: bob.userID }] });
    await bob.waitForGroup(groupID);
    const updated = (attributes) => (d) => d.groupID === groupID && JSON.stringify(d.groupAttributes) === JSON.stringify(attributes);
    await alice.sdk.initGroupAttributes({ groupID, groupAttributes: { topic: 'alpha', mood: 'good' } });
    await bob.waitFor('GROUP_ATTRIBUTES_UPDATED', updated({ topic: 'alpha', mood: 'good' }));
    await bob.sdk.setGroupAttributes({ groupID, groupAttributes: { topic: 'beta' } });
    await alice.waitFor('GROUP_ATTRIBUTES_UPDATED', (d) => d.groupID === groupID && d.groupAttributes.topic === 'beta');
    await alice.sdk.deleteGroupAttributes({ groupID, keyList: ['mood'] });
    await bob.waitFor('GROUP_ATTRIBUTES_UPDATED', (d) => d.groupID === groupID && d.groupAttributes.mood === undefined && d.groupAttributes.topic === 'beta');
    assert.deepEqual((await bob.sdk.getGroupAttributes({ groupID, keyList: [] })).data.groupAttributes, { topic: 'beta' });
    // A client that knows an old state only: raw, because the SDK's own state is up to date.
    const old = await world.raw({ login: world.id('old') });
    await alice.sdk.addGroupMember({ groupID, userIDList: [old.userID] });
    const stale = await old.request('group_open_http_svc.set_group_attr', { GroupId: groupID, GroupAttr: [{ key: 'x', value: 'y' }], AttrMainSeq: 0, AttrControl: ['RaceConflict'] });
    assert.equal(stale.ErrorCode, 10056);
    await alice.sdk.deleteGroupAttributes({ groupID, keyList: [] });
    await bob.waitFor('GROUP_ATTRIBUTES_UPDATED', updated({}));

    await alice.sdk.setGroupCounters({ groupID, counters: { likes: 5, views: 1 } });
    await bob.waitFor('GROUP_COUNTER_UPDATED', (d) => d.groupID === groupID && d.key === 'likes' && d.value === 5);
    const raised = await bob.sdk.increaseGroupCounter({ groupID, key: 'likes', value: 2 });
    assert.equal(raised.data.counters.likes, 7);
    await alice.waitFor('GROUP_COUNTER_UPDATED', (d) => d.key === 'likes' && d.value === 7);
    await bob.sdk.decreaseGroupCounter({ groupID, key: 'views', value: 3 });
    await alice.waitFor('GROUP_COUNTER_UPDATED', (d) => d.key === 'views' && d.value === -2);
    assert.deepEqual((await old.request('group_open_http_svc.get_group_counter', { GroupId: groupID })).GroupCounter, [{ Key: 'likes', Value: 7 }, { Key: 'views', Value: -2 }]);
    // Two nodes at once: nothing is lost.
    await Promise.all(Array.from({ length: 10 }, (_, i) => (i % 2 ? alice : bob).sdk.increaseGroupCounter({ groupID, key: 'likes', value: 1 })));
    assert.equal((await old.request('group_open_http_svc.get_group_counter', { GroupId: groupID, GroupCounterKeys: ['likes'] })).GroupCounter[0].Value, 17);
  });

  test('topics: created, changed, muted, deleted; everybody is told', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const { data: { group: { groupID } } } = await alice.sdk.createGroup({ type: 'Community', name: 'Big', isSupportTopic: true, memberList: [{ userID: bob.userID }] });
    await until(async () => (await bob.sdk.getJoinedCommunityList()).data.groupList.some((g) => g.groupID === groupID), { what: 'the community at bob' });
    await assert.rejects(bob.sdk.createTopicInCommunity({ groupID, topicName: 'mine' }), { code: 10007 });
    const { data: { topicID } } = await alice.sdk.createTopicInCommunity({ groupID, topicName: 'News', introduction: 'intro', customData: 'cd', avatar: 'http://x/y.png' });
    for (const user of [alice, bob]) await user.waitFor('TOPIC_CREATED', (d) => d.groupID === groupID && d.topicID === topicID);
    const topics = (user, ids = []) => user.sdk.getTopicList({ groupID, topicIDList: ids }).then(({ data }) => data.successTopicList);
    const [topic] = await topics(bob);
    assert.deepEqual([topic.topicID, topic.topicName, topic.introduction, topic.customData, topic.avatar, topic.unreadCount], [topicID, 'News', 'intro', 'cd', 'http://x/y.png', 0]);
    await alice.sdk.updateTopicProfile({ groupID, topicID, topicName: 'Newer', muteAllMembers: true });
    await bob.waitFor('TOPIC_UPDATED', (d) => d.groupID === groupID && d.topic.topicID === topicID && d.topic.topicName === 'Newer' && d.topic.muteAllMembers === true);
    await assert.rejects(bob.sendText(topicID, 'psst', { group: true }), { code: 10017 });
    await alice.sdk.updateTopicProfile({ groupID, topicID, muteAllMembers: false });
    const said = await bob.sendText(topicID, 'hello topic', { group: true });
    await alice.waitForMessage((m) => m.ID === said.ID && m.conversationID === `GROUP${topicID}`);
    const again = world.user(alice.userID, { exact: true });
    await alice.leave();
    await again.login();
    assert.equal((await again.sdk.getGroupList()).data.groupList.some((g) => g.groupID === groupID), false, 'not among the ordinary groups');
    const [unread] = await topics(again);
    assert.equal(unread.unreadCount, 1);
    assert.equal(unread.lastMessage.messageForShow ?? unread.lastMessage.payload?.text, 'hello topic');
    const other = await again.sdk.createTopicInCommunity({ groupID, topicName: 'Other' });
    const removed = await again.sdk.deleteTopicFromCommunity({ groupID, topicIDList: [topicID] });
    assert.deepEqual(removed.data.successTopicList.map((t) => t.topicID ?? t), [topicID]);
    await bob.waitFor('TOPIC_DELETED', (d) => d.groupID === groupID && d.topicIDList.includes(topicID));
    assert.deepEqual((await topics(bob)).map((t) => t.topicID), [other.data.topicID]);
  });

  test('an administrator does the same through REST, and online users see it', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const rest = world.rest();
    const { GroupId: groupID, ErrorCode } = await rest('group_open_http_svc/create_group', { Type: 'Public', Name: 'Made by REST', Owner_Account: alice.userID, MemberList: [{ Member_Account: bob.userID }] });
    assert.equal(ErrorCode, 0);
    for (const user of [alice, bob]) await user.waitForGroup(groupID);
    await rest('group_open_http_svc/send_group_system_notification', { GroupId: groupID, Content: 'maintenance' });
    for (const user of [alice, bob]) assert.equal((await user.waitForMessage(notice(groupID, 255))).payload.userDefinedField, 'maintenance');
    await rest('group_open_http_svc/forbid_send_msg', { GroupId: groupID, Members_Account: [bob.userID], MuteTime: 4294967295 });
    await assert.rejects(bob.sendText(groupID, 'psst', { group: true }), { code: 10017 });
    const muted = await rest('group_open_http_svc/get_group_muted_account', { GroupId: groupID });
    assert.deepEqual(muted.MutedAccountList.map((m) => m.Member_Account), [bob.userID]);
    await rest('group_open_http_svc/modify_group_base_info', { GroupId: groupID, Name: 'Renamed' });
    await bob.waitForMessage(tip(groupID, 6));
    await rest('group_open_http_svc/delete_group_member', { GroupId: groupID, MemberToDel_Account: [bob.userID] });
    await bob.waitForMessage(notice(groupID, 4));
    await rest('group_open_http_svc/destroy_group', { GroupId: groupID });
    await alice.waitForMessage(notice(groupID, 5));
    assert.equal((await rest('group_open_http_svc/get_role_in_group', { GroupId: groupID, User_Account: [bob.userID] })).ErrorCode, 10010);
  });
});
