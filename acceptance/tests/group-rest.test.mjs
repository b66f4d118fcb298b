// What an app's backend does with groups (protocol 06 §5.6), and what online SDK users see of it (06 §6).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

const tip = (group, operation) => (m) => m.type === 'TIMGroupTipElem' && m.to === group && m.payload.operationType === operation;
const notice = (group, operation) => (m) => m.type === 'TIMGroupSystemNoticeElem' && m.payload.groupProfile.groupID === group && m.payload.operationType === operation;
const text = (t) => [{ MsgType: 'TIMTextElem', MsgContent: { Text: t } }];
const texts = (list) => list.map((m) => m.payload.text).filter(Boolean);

/** Calls a group command that has to succeed. */
const caller = (world, node) => async (command, body) => {
  const answer = await world.rest(node)(command.includes('/') ? command : `group_open_http_svc/${command}`, body);
  assert.equal(answer.ErrorCode, 0, `${command}: ${JSON.stringify(answer)}`);
  return answer;
};

/** The newest page of history, once it has something. */
const history = (user, id) => until(async () => {
  const { data } = await user.sdk.getMessageList({ conversationID: `GROUP${id}` });
  return data.messageList.length > 0 && data.messageList;
}, { what: 'a page of history' });

engines('groups by REST', { env: { IMSERVER_MAX_WEB_INSTANCES: '3' }, timeout: 60000 }, ({ test }) => {
  test('a group moves here with its past; counts and history are the backend\'s to change', async (world) => {
    const [ann] = await world.users('ann');
    const call = caller(world, 1);
    const ben = world.id('ben');
    await call('im_open_login_svc/account_import', { UserID: ben });
    const old = Math.floor(Date.now() / 1000) - 100000;
    const { GroupId } = await call('import_group', { Type: 'Public', Name: 'Old', Owner_Account: ann.userID, CreateTime: old });
    const MsgList = ['one', 'two', 'three'].map((t, i) => ({ From_Account: ann.userID, SendTime: old + 10 + i, Random: i + 1, MsgBody: text(t) }));
    const { ImportMsgResult } = await call('import_group_msg', { GroupId, RecentContactFlag: 1, MsgList });
    assert.deepEqual(ImportMsgResult, MsgList.map((m, i) => ({ MsgSeq: i + 1, MsgTime: m.SendTime, Result: 0 })));
    assert.deepEqual((await call('import_group_member', { GroupId, MemberList: [{ Member_Account: ben, Role: 'Admin', JoinTime: old, UnreadMsgNum: 2 }] })).MemberList, [{ Member_Account: ben, Result: 1 }]);
    await ann.expectNone('MESSAGE_RECEIVED', undefined, { within: 200 });

    const user = world.user(ben, { exact: true });
    await user.login();
    const conversation = async (u) => (await u.sdk.getConversationProfile(`GROUP${GroupId}`)).data.conversation;
    await until(async () => (await conversation(user)).unreadCount === 2, { what: '2 unread after the import' });
    assert.deepEqual((await history(user, GroupId)).map((m) => [m.payload.text, m.time, m.from]), MsgList.map((m) => [m.MsgBody[0].MsgContent.Text, m.SendTime, ann.userID]));
    const { data: { group } } = await user.sdk.getGroupProfile({ groupID: GroupId });
    assert.deepEqual([group.createTime, group.ownerID, group.selfInfo.role, group.selfInfo.joinTime, group.memberCount], [old, ann.userID, 'Admin', old, 2]);

    await call('set_unread_msg_num', { GroupId, Member_Account: ben, UnreadMsgNum: 1 });
    await call('delete_group_msg_by_sender', { GroupId, Sender_Account: ann.userID });
    const second = await world.device(user);
    assert.deepEqual((await history(second, GroupId)).map((m) => m.isRevoked), [true, true, true]);
    await user.expectNone('MESSAGE_REVOKED', undefined, { within: 100 }); // silent
    await call('send_group_msg', { GroupId, From_Account: ann.userID, Random: 7, MsgBody: text('four') });
    assert.equal((await user.waitForMessage((m) => m.payload.text === 'four')).sequence, 4);
    await call('set_unread_msg_num', { GroupId, Member_Account: ben, UnreadMsgNum: 0 });
    await call('clear_group_msg', { GroupId, MsgSeq: 3 });
    const third = await world.device(user);
    assert.deepEqual((await history(third, GroupId)).map((m) => m.sequence), [4]);
    assert.equal((await conversation(third)).unreadCount, 0);
    const simple = await call('group_msg_get_simple', { GroupId, ReqMsgNumber: 10 });
    assert.deepEqual(simple.RspMsgList.map((m) => [m.From_Account, m.MsgSeq, m.MsgBody[0].MsgContent.Text]), [[ann.userID, 4, 'four']]);
  });

  test('messages: sent, changed, annotated, receipted and recalled by the backend, seen by everybody', async (world) => {
    const [ann, ben] = await world.users('ann', 'ben');
    const call = caller(world);
    const { GroupId } = await call('create_group', { Type: 'Work', Name: 'Team', Owner_Account: ann.userID, MemberList: [{ Member_Account: ben.userID }] });
    for (const u of [ann, ben]) await u.waitForGroup(GroupId);
    const sent = await call('send_group_msg', { GroupId, From_Account: ann.userID, Random: 1234, MsgPriority: 'High', MsgBody: text('draft'), CloudCustomData: 'ccd', NeedReadReceipt: 1, SupportMessageExtension: 1 });
    const at = { GroupId, MsgSeq: sent.MsgSeq };
    const [mine, his] = await Promise.all([ann, ben].map((u) => u.waitForMessage((m) => m.payload.text === 'draft')));
    assert.deepEqual([mine.flow, mine.ID, his.from, his.time, his.sequence, his.priority, his.cloudCustomData], ['out', his.ID, ann.userID, sent.MsgTime, sent.MsgSeq, 'High', 'ccd']);
    await call('openim/modify_group_msg', { ...at, MsgBody: text('final') });
    for (const u of [ann, ben]) await u.waitFor('MESSAGE_MODIFIED', (list) => list.some((m) => m.ID === his.ID && m.payload.text === 'final'));
    await call('openim_msg_ext_http_svc/group_set_key_values', { ...at, OperateType: 1, ExtensionList: [{ Key: 'vote', Value: 'yes' }] });
    await ben.waitFor('MESSAGE_EXTENSIONS_UPDATED', (d) => d.messageID === his.ID && d.extensions[0].value === 'yes');
    assert.deepEqual((await call('openim_msg_ext_http_svc/group_get_key_values', at)).ExtensionList, [{ Key: 'vote', Value: 'yes', Seq: 1 }]);
    await call('openim_msg_ext_http_svc/group_set_key_values', { ...at, OperateType: 2, ExtensionList: [{ Key: 'vote' }] });
    await ben.waitFor('MESSAGE_EXTENSIONS_DELETED', (d) => d.messageID === his.ID);
    await call('group_msg_receipt', { GroupId, From_Account: ben.userID, MsgSeqList: [{ MsgSeq: sent.MsgSeq }] });
    await ann.waitFor('MESSAGE_READ_RECEIPT_RECEIVED', (list) => list.some((r) => r.messageID === his.ID && r.readCount === 1 && r.unreadCount === 0));
    assert.deepEqual((await call('get_group_msg_receipt', { GroupId, MsgSeqList: [{ MsgSeq: sent.MsgSeq }] })).GroupMsgReceiptList, [{ MsgSeq: sent.MsgSeq, Code: 0, ReadNum: 1, UnreadNum: 0 }]);
    const detail = await call('get_group_msg_receipt_detail', { ...at, Filter: 0, Cursor: '', Count: 10 });
    assert.deepEqual([detail.ReadList.map((r) => r.Read_Account), detail.IsFinish], [[ben.userID], 1]);
    const recalled = await call('group_msg_recall', { GroupId, MsgSeqList: [{ MsgSeq: sent.MsgSeq }, { MsgSeq: 99 }], Reason: 'spam' });
    assert.deepEqual(recalled.RecallRetList, [{ MsgSeq: sent.MsgSeq, RetCode: 0 }, { MsgSeq: 99, RetCode: 10030 }]);
    for (const u of [ann, ben]) await u.waitFor('MESSAGE_REVOKED', (list) => list.some((m) => m.ID === his.ID));
    await call('send_group_msg', { GroupId, From_Account: ann.userID, Random: 1, MsgBody: text('for ben'), To_Account: [ben.userID] });
    await call('send_group_msg', { GroupId, Random: 2, MsgBody: text('fleeting'), OnlineOnlyFlag: 1 });
    for (const t of ['for ben', 'fleeting']) await ben.waitForMessage((m) => m.payload.text === t);
  });

  test('members, profile, attributes, counters: everybody is told', async (world) => {
    const [ann, ben, cid] = await world.users('ann', 'ben', 'cid');
    const call = caller(world, 1);
    const GroupId = world.id('team');
    await call('create_group', { Type: 'Public', Name: 'Team', GroupId, Owner_Account: ann.userID, MemberList: [{ Member_Account: ben.userID, Role: 'Admin' }] });
    await ben.waitForMessage(notice(GroupId, 7));
    assert.deepEqual((await call('add_group_member', { GroupId, MemberList: [{ Member_Account: cid.userID }, { Member_Account: ben.userID }] })).MemberList.map((m) => m.Result), [1, 2]);
    await cid.waitForMessage(notice(GroupId, 7));
    assert.deepEqual((await ben.waitForMessage(tip(GroupId, 1))).payload.userIDList, [cid.userID]);
    await call('modify_group_member_info', { GroupId, Member_Account: cid.userID, Role: 'Admin', NameCard: 'Cid (QA)' });
    await cid.waitForMessage(notice(GroupId, 9));
    await ben.waitForMessage(tip(GroupId, 4));
    await call('modify_group_member_info', { GroupId, Member_Account: ben.userID, MuteTime: 60 });
    await assert.rejects(ben.sendText(GroupId, 'psst', { group: true }), { code: 10017 });
    assert.deepEqual((await call('get_group_shutted_uin', { GroupId })).ShuttedUinList.map((m) => m.Member_Account), [ben.userID]);
    assert.deepEqual((await call('get_role_in_group', { GroupId, User_Account: [ann.userID, cid.userID, 'stranger'] })).UserIdList,
      [{ Member_Account: ann.userID, Role: 'Owner' }, { Member_Account: cid.userID, Role: 'Admin' }, { Member_Account: 'stranger', Role: 'NotMember' }]);
    await call('change_group_owner', { GroupId, NewOwner_Account: ben.userID });
    assert.equal((await cid.waitForMessage((m) => tip(GroupId, 6)(m) && m.payload.newGroupProfile.ownerID)).payload.newGroupProfile.ownerID, ben.userID);
    const { MemberList, MemberNum } = await call('get_group_member_info', { GroupId, Limit: 100, Offset: 0 });
    assert.deepEqual([MemberNum, MemberList.map((m) => [m.Member_Account, m.Role, m.NameCard])], [3, [[ben.userID, 'Owner', ''], [cid.userID, 'Admin', 'Cid (QA)'], [ann.userID, 'Member', '']]]);
    await call('modify_group_base_info', { GroupId, Name: 'Renamed', MuteAllMember: 'On' });
    await ann.waitForMessage((m) => tip(GroupId, 6)(m) && m.payload.newGroupProfile.groupName === 'Renamed');
    const { GroupInfo: [info, missing] } = await call('get_group_info', { GroupIdList: [GroupId, 'no-such-group'] });
    assert.deepEqual([info.Name, info.Owner_Account, info.MuteAllMember, info.ShutUpAllMember, info.MemberNum, info.MemberList.length, missing.ErrorCode], ['Renamed', ben.userID, 'On', 'On', 3, 3, 10010]);
    const joined = await call('get_joined_group_list', { Member_Account: cid.userID, ResponseFilter: { GroupBaseInfoFilter: ['Name'], SelfInfoFilter: ['Role'] } });
    assert.deepEqual([joined.TotalCount, joined.GroupIdList[0].Name, joined.GroupIdList[0].SelfInfo.Role], [1, 'Renamed', 'Admin']);
    assert.ok((await call('get_online_member_num', { GroupId })).OnlineMemberNum >= 1);

    const attributes = (want) => (d) => d.groupID === GroupId && JSON.stringify(d.groupAttributes) === JSON.stringify(want);
    for (const [command, GroupAttr, want] of [['set_group_attr', [{ key: 'a', value: '1' }, { key: 'b', value: '2' }], { a: '1', b: '2' }], ['modify_group_attr', [{ key: 'a', value: '3' }], { a: '3', b: '2' }],
      ['delete_group_attr', [{ key: 'b' }], { a: '3' }], ['clear_group_attr', undefined, {}]]) {
      await call(command, { GroupId, GroupAttr });
      await ann.waitFor('GROUP_ATTRIBUTES_UPDATED', attributes(want));
      assert.deepEqual((await call('group_open_attr_http_svc/get_group_attr', { GroupId })).GroupAttrAry.map((a) => [a.key, a.value]), Object.entries(want));
    }
    await call('update_group_counter', { GroupId, Mode: 'Set', GroupCounter: [{ Key: 'likes', Value: 3 }] });
    await ann.waitFor('GROUP_COUNTER_UPDATED', (d) => d.groupID === GroupId && d.key === 'likes' && d.value === 3);
    assert.deepEqual((await call('get_group_counter', { GroupId })).GroupCounter, [{ Key: 'likes', Value: 3 }]);
    await call('delete_group_counter', { GroupId, GroupCounterKeys: ['likes'] });
    await until(async () => !('likes' in (await (await world.device(ann)).sdk.getGroupCounters({ groupID: GroupId })).data.counters), { what: 'the counter gone' });

    await call('delete_group_member', { GroupId, MemberToDel_Account: [cid.userID], Reason: 'bye' });
    await cid.waitForMessage(notice(GroupId, 4));
    assert.deepEqual((await ann.waitForMessage(tip(GroupId, 3))).payload.userIDList, [cid.userID]);
    await call('destroy_group', { GroupId });
    await ann.waitForMessage(notice(GroupId, 5));
    assert.equal((await world.rest()('group_open_http_svc/destroy_group', { GroupId })).ErrorCode, 10010);
  });

  test('topics: made, changed, spoken in and removed by the backend', async (world) => {
    const [ann] = await world.users('ann');
    const call = caller(world);
    const svc = 'million_group_open_http_svc/';
    const { GroupId } = await call('create_group', { Type: 'Community', Name: 'Town', SupportTopic: 1, Owner_Account: ann.userID });
    await until(async () => (await ann.sdk.getJoinedCommunityList()).data.groupList.some((g) => g.groupID === GroupId), { what: 'the community' });
    const { TopicId } = await call(`${svc}create_topic`, { GroupId, TopicName: 'News', From_Account: ann.userID });
    await ann.waitFor('TOPIC_CREATED', (d) => d.topicID === TopicId);
    await ann.sdk.getTopicList({ groupID: GroupId, topicIDList: [] }); // the SDK hears of changes to topics it knows
    await call(`${svc}modify_topic`, { GroupId, TopicId, TopicName: 'Newer', MuteAllMember: 'Off' });
    await ann.waitFor('TOPIC_UPDATED', (d) => d.topic.topicID === TopicId && d.topic.topicName === 'Newer');
    await call('send_group_msg', { GroupId, TopicId, Random: 1, MsgBody: text('extra') });
    assert.equal((await ann.waitForMessage((m) => m.payload.text === 'extra')).conversationID, `GROUP${TopicId}`);
    const past = await call('import_topic', { GroupId, TopicName: 'Past', CreateTime: 1700000000 });
    const { TopicAndSelfInfo } = await call(`${svc}get_topic`, { GroupId, TopicIdList: [] });
    assert.deepEqual(TopicAndSelfInfo.map((t) => [t.TopicInfo.TopicId, t.TopicInfo.TopicName, t.TopicInfo.NextMsgSeq]), [[TopicId, 'Newer', 2], [past.TopicId, 'Past', 1]]);
    assert.equal(TopicAndSelfInfo[1].TopicInfo.CreateTime, 1700000000);
    const { DestroyResultItem } = await call(`${svc}destroy_topic`, { GroupId, TopicIdList: [TopicId, `${GroupId}@TOPIC#_none`] });
    assert.deepEqual(DestroyResultItem.map((r) => r.ErrorCode), [0, 10010]);
    await ann.waitFor('TOPIC_DELETED', (d) => d.topicIDList.includes(TopicId));
  });
});
