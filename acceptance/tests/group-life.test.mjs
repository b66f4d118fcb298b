// How groups come, change and go (protocol 03 §3-§7): kinds, joining, applications, invitations, leaving, notices.
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

const tip = (group, operation) => (m) => m.type === 'TIMGroupTipElem' && m.to === group && m.payload.operationType === operation;
const notice = (group, operation) => (m) => m.type === 'TIMGroupSystemNoticeElem' && m.payload.groupProfile.groupID === group && m.payload.operationType === operation;

/** Creates a group and returns it as the creator's SDK has it. */
async function create(owner, options) {
  const { data } = await owner.sdk.createGroup({ name: 'Team', ...options });
  return data.group;
}

/** The group as the user's list has it, or undefined. */
async function listed(user, groupID) {
  const { data } = await user.sdk.getGroupList();
  return data.groupList.find((g) => g.groupID === groupID);
}

engines('groups: life', { env: { IMSERVER_MAX_WEB_INSTANCES: '3' }, timeout: 60000 }, ({ test }) => {
  test('every kind is created, listed, looked at and dismissed', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const kinds = { Private: ['DisableApply', 'FreeAccess'], Public: ['NeedPermission', 'DisableInvite'], ChatRoom: ['FreeAccess', 'DisableInvite'], Community: ['FreeAccess', 'FreeAccess'] };
    for (const [type, [joinOption, inviteOption]] of Object.entries(kinds)) {
      const group = await create(alice, { type, name: `a ${type}`, introduction: 'intro', notification: 'note', avatar: 'http://a/b.png',
        memberList: [{ userID: bob.userID }], groupCustomField: [{ key: 'k', value: 'v' }] });
      assert.equal(group.type, type);
      await bob.waitForMessage(notice(group.groupID, 7));
      await bob.waitForGroup(group.groupID);
      const { data } = await bob.sdk.getGroupProfile({ groupID: group.groupID, groupCustomFieldFilter: ['k'] });
      const g = data.group;
      assert.deepEqual([g.name, g.introduction, g.notification, g.avatar, g.ownerID, g.memberCount, g.joinOption, g.inviteOption, g.muteAllMembers],
        [`a ${type}`, 'intro', 'note', 'http://a/b.png', alice.userID, 2, joinOption, inviteOption, false]);
      assert.equal(g.selfInfo.role, 'Member');
      assert.deepEqual(g.groupCustomField, [{ key: 'k', value: 'v' }]);
      for (const user of [alice, bob]) {
        const seen = await listed(user, group.groupID);
        assert.equal(seen.selfInfo.role, user === alice ? 'Owner' : 'Member');
        assert.equal(seen.muteAllMembers, false);
      }
      if (type === 'Private') {
        await assert.rejects(alice.sdk.dismissGroup(group.groupID), { code: 10007 });
        continue;
      }
      await assert.rejects(bob.sdk.dismissGroup(group.groupID), { code: 10007 });
      await alice.sdk.dismissGroup(group.groupID);
      await bob.waitForMessage(notice(group.groupID, 5));
      assert.equal(await listed(bob, group.groupID), undefined);
      await assert.rejects(bob.sdk.joinGroup({ groupID: group.groupID, type }), { code: 10010 });
    }
  });

  test('a relogin finds the groups again, more than a page of them', async (world) => {
    const [alice] = await world.users('alice');
    await alice.leave(); // the SDK asks for the profile of every group it is added to, and would refuse itself 205 at once
    const raw = await world.raw({ login: world.id('bob') });
    for (let i = 0; i < 205; i++) {
      await raw.request('group_open_http_svc.create_group', { Type: i % 2 ? 'Public' : 'Private', Name: `g${i}`, Owner_Account: raw.userID, MemberList: [{ Member_Account: alice.userID }] });
    }
    const again = world.user(alice.userID, { exact: true });
    await again.login();
    const { data } = await again.sdk.getGroupList();
    assert.equal(data.groupList.length, 205);
    assert.ok(data.groupList.every((g) => g.selfInfo.role === 'Member' && g.memberCount === 2));
  });

  test('joining, applying, answering: the right people learn of it', async (world) => {
    const [alice, bob, carol] = await world.users('alice', 'bob', 'carol');
    const { groupID } = await create(alice, { type: 'Public' });
    assert.equal((await bob.sdk.joinGroup({ groupID, type: 'Public', applyMessage: 'let me in' })).data.status, 'WaitAdminApproval');
    const asked = await alice.waitForMessage(notice(groupID, 1));
    assert.deepEqual([asked.payload.operatorID, asked.payload.handleMessage], [bob.userID, 'let me in']);
    await alice.sdk.handleGroupApplication({ handleAction: 'Agree', handleMessage: 'welcome', message: asked });
    assert.equal((await bob.waitForMessage(notice(groupID, 2))).payload.handleMessage, 'welcome');
    await bob.waitForGroup(groupID);
    const joined = await alice.waitForMessage(tip(groupID, 1));
    assert.deepEqual([joined.payload.operatorID, joined.payload.userIDList, joined.payload.memberCount], [alice.userID, [bob.userID], 2]);

    // Carol's wish waits while nobody is there, is in the list, and is refused.
    await carol.sdk.joinGroup({ groupID, type: 'Public', applyMessage: 'me too' });
    await until(async () => (await alice.sdk.getGroupApplicationList()).data.applicationList.length === 1, { what: 'one application' });
    const [application] = (await alice.sdk.getGroupApplicationList()).data.applicationList;
    assert.deepEqual([application.applicant, application.groupID, application.note, application.applicationType], [carol.userID, groupID, 'me too', 0]);
    await alice.sdk.handleGroupApplication({ handleAction: 'Reject', handleMessage: 'no', application });
    await carol.waitForMessage(notice(groupID, 3));
    await assert.rejects(alice.sdk.handleGroupApplication({ handleAction: 'Agree', application }), { code: 10024 });
    assert.deepEqual((await alice.sdk.getGroupApplicationList()).data.applicationList, []);

    // Free access: in at once, on all devices of the joiner.
    await alice.sdk.updateGroupProfile({ groupID, joinOption: 'FreeAccess' });
    const phone = await world.device(carol);
    assert.equal((await carol.sdk.joinGroup({ groupID, type: 'Public' })).data.status, 'JoinedSuccess');
    await phone.waitForMessage(notice(groupID, 2));
    await bob.waitForMessage((m) => tip(groupID, 1)(m) && m.payload.userIDList.includes(carol.userID));
    const { data } = await alice.sdk.searchGroupByID(groupID);
    assert.deepEqual([data.group.groupID, data.group.name, data.group.type], [groupID, 'Team', 'Public']);
    await assert.rejects(alice.sdk.searchGroupByID('@TGS#2NOSUCHGROUP'), { code: 10010 });

    // The owner has to give the group away before leaving.
    await assert.rejects(alice.sdk.quitGroup(groupID), { code: 10009 });
    await alice.sdk.changeGroupOwner({ groupID, newOwnerID: bob.userID });
    const changed = await carol.waitForMessage((m) => tip(groupID, 6)(m) && m.payload.newGroupProfile.ownerID !== undefined);
    assert.equal(changed.payload.newGroupProfile.ownerID, bob.userID);
    await until(async () => (await bob.sdk.getGroupProfile({ groupID })).data.group.selfInfo.role === 'Owner', { what: 'bob owns the group' });
    await carol.sdk.quitGroup(groupID);
    await phone.waitForMessage(notice(groupID, 8));
    assert.deepEqual((await bob.waitForMessage(tip(groupID, 2))).payload.userIDList, [carol.userID]);
    assert.equal(await listed(phone, groupID), undefined);

    await bob.sdk.deleteGroupMember({ groupID, userIDList: [alice.userID], reason: 'thanks' });
    await alice.waitForMessage(notice(groupID, 4));
    assert.equal(await listed(alice, groupID), undefined);
    assert.equal(alice.received().some(tip(groupID, 3)), false, 'the kicked does not see the tip of it');
    await assert.rejects(alice.sendText(groupID, 'still here?', { group: true }), (error) => [10007, 2603].includes(error.code));
  });

  test('invitations: as the group allows', async (world) => {
    const [alice, bob, carol] = await world.users('alice', 'bob', 'carol');
    const { groupID } = await create(alice, { type: 'Public', memberList: [{ userID: bob.userID }] });
    await bob.waitForGroup(groupID);
    await bob.sdk.getGroupProfile({ groupID }); // the SDK decides by the profile, which it may still be fetching
    await assert.rejects(bob.sdk.addGroupMember({ groupID, userIDList: [carol.userID] }), { code: 10007 });
    await alice.sdk.updateGroupProfile({ groupID, inviteOption: 'NeedPermission' });
    const asked = await bob.sdk.addGroupMember({ groupID, userIDList: [carol.userID] });
    assert.deepEqual(asked.data.successUserIDList, []);
    await until(async () => (await alice.sdk.getGroupApplicationList()).data.applicationList.length === 1, { what: 'one application' });
    const [application] = (await alice.sdk.getGroupApplicationList()).data.applicationList;
    assert.deepEqual([application.applicationType, application.applicant, application.userID], [2, bob.userID, carol.userID]);
    await alice.sdk.handleGroupApplication({ handleAction: 'Agree', application });
    await carol.waitForMessage(notice(groupID, 7));
    await carol.waitForGroup(groupID);
    const again = await alice.sdk.addGroupMember({ groupID, userIDList: [carol.userID] });
    assert.deepEqual(again.data.existedUserIDList, [carol.userID]);
    await assert.rejects(alice.sdk.addGroupMember({ groupID, userIDList: [world.id('nobody')] }), { code: 10019 });
  });

  test('who was away learns of it at the next login', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    await bob.leave();
    const { groupID } = await create(alice, { type: 'Private', memberList: [{ userID: bob.userID }] });
    const other = await create(alice, { type: 'Public', memberList: [{ userID: bob.userID }] });
    await alice.sdk.deleteGroupMember({ groupID: other.groupID, userIDList: [bob.userID] });
    const back = world.user(bob.userID, { exact: true });
    await back.login();
    await until(async () => (await listed(back, groupID)) !== undefined, { what: 'the group in the list' });
    assert.equal(await listed(back, other.groupID), undefined);
    const page = await until(async () => {
      const { data } = await back.sdk.getMessageList({ conversationID: '@TIM#SYSTEM' });
      return data.messageList.some(notice(other.groupID, 4)) && data.messageList;
    }, { what: 'the kick among the notices' });
    assert.ok(page.some(notice(groupID, 7)));
  });

  test('profile changes reach everybody, each field', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const { groupID } = await create(alice, { type: 'Public', memberList: [{ userID: bob.userID }] });
    await bob.waitForGroup(groupID);
    await assert.rejects(bob.sdk.updateGroupProfile({ groupID, name: 'mine' }), { code: 10007 });
    for (const [field, value] of Object.entries({ name: 'New name', introduction: 'New intro', notification: 'New note', avatar: 'http://x/new.png', joinOption: 'DisableApply',
      muteAllMembers: true, groupCustomField: [{ key: 'k', value: 'v' }] })) {
      const since = bob.mark();
      await alice.sdk.updateGroupProfile({ groupID, [field]: value });
      const got = await bob.waitForMessage(tip(groupID, 6), { since });
      assert.deepEqual(got.payload.newGroupProfile[field === 'name' ? 'groupName' : field], value);
      await until(async () => {
        const seen = await listed(bob, groupID);
        return JSON.stringify(seen[field]) === JSON.stringify(value);
      }, { what: `${field} in the group list` });
    }
    await assert.rejects(bob.sendText(groupID, 'psst', { group: true }), { code: 10017 });
    await alice.sendText(groupID, 'the owner may', { group: true });
    await assert.rejects(alice.sdk.updateGroupProfile({ groupID, name: 'x'.repeat(101) }), { code: 10004 });
  });

  test('bad input: foreign groups, forged IDs, too many', async (world) => {
    const [owner, stranger] = [await world.raw({ login: world.id('owner') }), await world.raw({ node: 1, login: world.id('stranger') })];
    const svc = 'group_open_http_svc.';
    const { GroupId } = await owner.request(`${svc}create_group`, { Type: 'Public', Name: 'x', Owner_Account: stranger.userID });
    const info = await owner.request(`${svc}get_group_self_member_info`, { GroupIdList: [GroupId], ResponseFilter: { GroupBaseInfoFilter: ['Owner_Account'] } });
    assert.equal(info.GroupInfo[0].Owner_Account, owner.userID, 'the caller owns it, whatever the body says');
    for (const [command, body, code] of [
      ['modify_group_base_info', { GroupId, Name: 'y' }, 10007],
      ['destroy_group', { GroupId }, 10007],
      ['quit_group', { GroupId }, 10007],
      ['add_group_member', { GroupId, MemberList: [{ Member_Account: stranger.userID }] }, 10007],
      ['delete_group_member', { GroupId, MemberToDel_Account: [owner.userID] }, 10007],
      ['get_group_member_info', { GroupId, Limit: 100 }, 10007],
      ['modify_group_member_info', { GroupId, Member_Account: owner.userID, Role: 'Member' }, 10007],
      ['change_group_owner', { GroupId, NewOwner_Account: stranger.userID }, 10007],
      ['set_group_attr', { GroupId, GroupAttr: [{ key: 'a', value: 'b' }] }, 10007],
      ['update_group_counter', { GroupId, Mode: 'Set', GroupCounter: [{ Key: 'a', Value: 1 }] }, 10007],
      ['handle_apply_join_group', { GroupId, Applicant_Account: owner.userID, HandleMsg: 'Agree', Authentication: 'x' }, 10007],
      ['destroy_group', { GroupId: '@TGS#_' }, 10010],
      ['destroy_group', { GroupId: 'x'.repeat(200) }, 10015],
      ['destroy_group', { GroupId: 7 }, 60003],
      ['create_group', { Type: 'Community', Name: 'x', GroupId: 'noprefix' }, 10015],
      ['create_group', { Type: 'Public', Name: 'x', GroupId: '@TGS#_prefix' }, 10015],
      ['send_group_system_notification', { GroupId, Content: 'x' }, 60009],
    ]) {
      const answer = await stranger.request(svc + command, body);
      assert.equal(answer.ErrorCode, code, `${command} ${JSON.stringify(body)}: ${JSON.stringify(answer)}`);
      assert.ok(answer.ErrorInfo);
    }
    const ask = async (who, command, body, code = 0) => {
      const answer = await who.request(command.includes('.') ? command : svc + command, body);
      assert.equal(answer.ErrorCode ?? 0, code, `${command} ${JSON.stringify(body)}: ${JSON.stringify(answer)}`);
      return answer;
    };
    // Forged roles; IDs with the prefixes of other kinds.
    const team = await ask(owner, 'create_group', { Type: 'Public', Name: 'x', MemberList: [{ Member_Account: stranger.userID, Role: 'Owner' }] });
    assert.equal((await ask(stranger, 'get_group_self_member_info', { GroupIdList: [team.GroupId], ResponseFilter: { MemberInfoFilter: ['Role'] } })).GroupInfo[0].SelfInfo.Role, 'Member');
    await ask(owner, 'modify_group_member_info', { GroupId: team.GroupId, Member_Account: stranger.userID, Role: 'Owner' }, 10004);
    await ask(stranger, 'modify_group_member_info', { GroupId: team.GroupId, Member_Account: stranger.userID, Role: 'Admin' }, 10007);
    for (const [Type, id] of [['Public', '@TGS#2MINE'], ['Private', '@TGS#_c'], ['Community', '@TGS#_c@TOPIC#_t'], ['ChatRoom', `x@TOPIC#_t`], ['Public', ' '], ['Public', 'ü']]) {
      await ask(owner, 'create_group', { Type, Name: 'x', GroupId: id }, 10015);
    }
    // Topics of another community.
    const million = 'million_group_open_http_svc.';
    const [one, two] = [await ask(owner, `${million}create_group`, { Type: 'Community', Name: '1', SupportTopic: 1 }), await ask(owner, `${million}create_group`, { Type: 'Community', Name: '2', SupportTopic: 1 })].map((a) => a.GroupId);
    const { TopicId } = await ask(owner, `${million}create_topic`, { GroupId: two, TopicName: 't' });
    const foreign = { GroupId: one, TopicId };
    const message = { Random: 1, ClientSeq: 1, MsgClientTime: 1, MsgBody: [{ MsgType: 'TIMTextElem', MsgContent: { Text: 'x' } }] };
    for (const [command, body] of [['send_group_msg', message], ['group_msg_get', { ReqMsgNumber: 20 }], ['msg_read_report', { MsgReadedSeq: 1 }], ['modify_topic', { TopicName: 'x' }], ['group_msg_recall', { MsgSeqList: [{ MsgSeq: 1 }] }],
      ['modify_group_member_info', { Member_Account: owner.userID, MsgFlag: 'Discard' }]]) await ask(owner, million + command, { ...foreign, ...body }, 10010);
    await ask(stranger, `${million}send_group_msg`, { GroupId: two, TopicId, ...message }, 10007);
    await ask(owner, `${million}send_group_msg`, { GroupId: two, ...message }, 10007);
    // Sequences beyond the newest, and below the first.
    const at = { GroupId: team.GroupId };
    await ask(owner, 'send_group_msg', { ...at, ...message });
    await ask(stranger, 'msg_read_report', { ...at, MsgReadedSeq: 10 ** 9 });
    assert.deepEqual((await ask(owner, 'group_msg_get', { ...at, ReqMsgNumber: 20, ReqMsgSeq: 10 ** 9 })).RspMsgList, []);
    assert.equal((await ask(owner, 'group_msg_recall', { ...at, MsgSeqList: [{ MsgSeq: 999 }] })).RecallRetList[0].RetCode, 10030);
    await ask(owner, 'delete_group_ramble_msg_by_seq', { ...at, Seqs: ['999'] });
    await ask(owner, 'pin_message', { ...at, MsgSeq: 999 }, 10030);
    await ask(owner, 'openim.modify_group_msg', { ...at, MsgSeq: 999, MsgVersion: 0, CloudCustomData: 'x' }, 20026);
    assert.equal((await ask(owner, 'get_group_msg_receipt', { ...at, MsgSeqList: [{ MsgSeq: 999 }] })).GroupMsgReceiptList[0].Code, 10030);
    for (const [command, body] of [['msg_read_report', { MsgReadedSeq: -1 }], ['group_msg_get', { ReqMsgNumber: 20, ReqMsgSeq: -1 }], ['delete_group_ramble_msg_by_seq', { Seqs: ['-1'] }]]) await ask(owner, command, { ...at, ...body }, 10004);
    await ask(owner, 'send_group_msg', { ...at, ...message, Random: 2 });
    const [session] = (await ask(stranger, 'recentcontact.page_get', { From_Account: stranger.userID, TimeStamp: 0, Count: 100 })).SessionItem.filter((i) => i.ToAccount === team.GroupId);
    assert.equal(session.UnreadMsgCount, 1, 'reading beyond the newest reads up to it');
    const many = Array.from({ length: 10000 }, (_, i) => ({ Member_Account: `u${i}` }));
    assert.ok([10005, 80002, 60003].includes((await owner.request(`${svc}add_group_member`, { GroupId, MemberList: many })).ErrorCode));
    assert.equal((await owner.request(`${svc}get_group_self_member_info`, { GroupIdList: [GroupId], ResponseFilter: { GroupBaseInfoFilter: ['MemberNum'] } })).GroupInfo[0].MemberNum, 1);
  });
});
