// Who may what in a live room (protocol 03 §2.1, 06 §5.6): the owner, the administrators that the app's backend names, and watchers, on three
// nodes.
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

const tip = (room, operation, about) => (m) => m.type === 'TIMGroupTipElem' && m.to === room && m.payload.operationType === operation
  && (!about || m.payload.userIDList.includes(about.userID));
const notice = (room, operation) => (m) => m.type === 'TIMGroupSystemNoticeElem' && m.payload.groupProfile.groupID === room && m.payload.operationType === operation;
const text = (room, words) => (m) => m.type === 'TIMTextElem' && m.to === room && m.payload.text === words;
const say = (user, groupID, words) => user.send('Text', groupID, { text: words }, { group: true });
const service = 'group_open_avchatroom_http_svc';

async function room(users) {
  const { data } = await users[0].sdk.createGroup({ type: 'AVChatRoom', name: 'Live' });
  const { groupID } = data.group;
  for (const user of users) await user.sdk.joinGroup({ groupID });
  return groupID;
}

/** Refused with 10007, by whatever the SDK lets through. */
const forbidden = (promise, what) => assert.rejects(promise, (error) => error.code === 10007, what);

engines('live rooms: roles', { nodes: 3, timeout: 90000 }, ({ test }) => {
  test('administrators are named by the backend, and mute, ban, recall and change the profile', async (world) => {
    const [owner, ann, ben] = await world.users('owner', 'ann', 'ben');
    const old = world.user('old', { node: 1, generation: 'v2' });
    await old.login();
    const id = await room([owner, ann, ben, old]);
    const rest = world.rest();
    await forbidden(ann.sdk.setGroupMemberMuteTime({ groupID: id, userID: ben.userID, muteTime: 60 }), 'a watcher mutes');
    await rest(`${service}/modify_admin`, { GroupId: id, CommandType: 1, Admin_Account: [ann.userID, old.userID] });
    for (const user of [ann, old]) {
      await user.waitForMessage(notice(id, 9));
      await ben.waitForMessage(tip(id, 4, user));
    }
    const list = await rest(`${service}/get_admin_list`, { GroupId: id });
    assert.deepEqual(list.Admin_List.map((a) => a.Admin_Account).sort(), [ann.userID, old.userID].sort());

    for (const admin of [ann, old]) {
      await admin.sdk.setGroupMemberMuteTime({ groupID: id, userID: ben.userID, muteTime: 600 });
      await assert.rejects(say(ben, id, 'muted'), (error) => error.code === 10017);
      await admin.sdk.setGroupMemberMuteTime({ groupID: id, userID: ben.userID, muteTime: 0 });
      const words = `free again, ${admin.userID}`;
      await say(ben, id, words);
      await owner.waitForMessage(text(id, words));
    }
    for (const above of [owner, old]) {
      await forbidden(ann.sdk.setGroupMemberMuteTime({ groupID: id, userID: above.userID, muteTime: 60 }), 'on the owner or another administrator');
    }
    const rude = await say(ben, id, 'rude');
    await ann.sdk.revokeMessage(await ann.waitForMessage(text(id, 'rude')));
    await owner.waitFor('MESSAGE_REVOKED', (revoked) => revoked.some((m) => m.ID === rude.ID));
    const proper = await say(owner, id, 'proper');
    await forbidden(ann.sdk.revokeMessage(await ann.waitForMessage(text(id, 'proper'))), "the owner's message");
    assert.ok(proper.sequence > rude.sequence);

    await ann.sdk.updateGroupProfile({ groupID: id, notification: 'by ann', muteAllMembers: true });
    await ben.waitForMessage((m) => tip(id, 6)(m) && m.payload.newGroupProfile?.notification === 'by ann');
    await assert.rejects(say(ben, id, 'all are muted'), (error) => error.code === 10017);
    await say(ann, id, 'administrators speak');
    await ben.waitForMessage(text(id, 'administrators speak'));
    await ann.sdk.updateGroupProfile({ groupID: id, muteAllMembers: false });

    await ann.sdk.deleteGroupMember({ groupID: id, userIDList: [ben.userID], reason: 'rude', duration: 600 });
    await ben.waitForMessage(notice(id, 21));
    await owner.waitForMessage(tip(id, 10, ben));
    await forbidden(ben.sdk.joinGroup({ groupID: id }), 'banned');
    await forbidden(ann.sdk.deleteGroupMember({ groupID: id, userIDList: [old.userID], reason: '', duration: 60 }), 'another administrator');
    await forbidden(ann.sdk.dismissGroup(id), 'only the owner ends a room');

    await rest(`${service}/modify_admin`, { GroupId: id, CommandType: 2, Admin_Account: [ann.userID] });
    await ann.waitForMessage(notice(id, 10));
    await owner.waitForMessage(tip(id, 5, ann));
    await forbidden(ann.sdk.updateGroupProfile({ groupID: id, notification: 'mine' }), 'no administrator any more');
    await assert.rejects(say(ben, id, 'from outside'), (error) => [2101, 10007].includes(error.code));
  });

  test('five accounts, watching or not, and nothing else, are made administrators', async (world) => {
    const [owner] = await world.users('owner');
    const id = await room([owner]);
    const rest = world.rest();
    const names = Array.from({ length: 6 }, () => world.id('admin'));
    await rest('im_open_login_svc/multiaccount_import', { AccountList: names.map((UserID) => ({ UserID })) });
    const admins = (CommandType, Admin_Account, GroupId = id) => rest(`${service}/modify_admin`, { GroupId, CommandType, Admin_Account });
    await admins(1, names.slice(0, 3));
    await admins(1, names.slice(2, 5));
    const listed = async () => (await rest(`${service}/get_admin_list`, { GroupId: id })).Admin_List.map((a) => a.Admin_Account).sort();
    assert.deepEqual(await listed(), names.slice(0, 5).sort());
    const refused = async (code, promise) => assert.equal((await promise).ErrorCode, code);
    await refused(10005, admins(1, [names[5]]));
    assert.deepEqual(await listed(), names.slice(0, 5).sort(), 'nothing is done by halves');
    await admins(2, names.slice(1));
    await admins(2, names.slice(0, 5));
    assert.deepEqual(await listed(), []);
    await refused(10004, admins(3, names.slice(0, 1)));
    await refused(10004, admins(1, []));
    await refused(10004, admins(1, [owner.userID]));
    await refused(10019, admins(1, [world.id('nobody')]));
    await refused(10010, admins(1, names.slice(0, 1), 'nowhere'));
    const { data } = await owner.sdk.createGroup({ type: 'Public', name: 'Team' });
    await refused(10007, admins(1, names.slice(0, 1), data.group.groupID));
    await refused(10007, rest(`${service}/get_admin_list`, { GroupId: data.group.groupID }));
  });

  test('roles of who is in the room are told to the backend and to SDKs', async (world) => {
    const [owner, ann, ben] = await world.users('owner', 'ann', 'ben');
    const id = await room([owner, ann, ben]);
    const away = world.id('away');
    const rest = world.rest();
    await rest('im_open_login_svc/account_import', { UserID: away });
    await rest(`${service}/modify_admin`, { GroupId: id, CommandType: 1, Admin_Account: [ben.userID, away] });
    const asked = [owner.userID, ann.userID, ben.userID, away, world.id('stranger')];
    for (const node of world.nodes.keys()) {
      const { UserIdList } = await world.rest(node)('group_open_http_svc/get_role_in_group', { GroupId: id, User_Account: asked });
      assert.deepEqual(UserIdList.map((u) => u.Role), ['Owner', 'Member', 'Admin', 'Admin', 'NotMember'], `node ${node}`);
    }
    for (const [user, role] of [[owner, 'Owner'], [ann, 'Member'], [ben, 'Admin']]) {
      const { data } = await user.sdk.getGroupProfile({ groupID: id });
      assert.deepEqual([data.group.selfInfo.role, data.group.selfInfo.messageRemindType], [role, 'AcceptNotNotify']);
      assert.ok(Math.abs(data.group.selfInfo.joinTime - Date.now() / 1000) < 120, 'the time of coming');
    }
    const { MemberList } = await rest('group_open_http_svc/get_specified_group_member_info', { GroupId: id, Member_List_Account: asked });
    assert.deepEqual(MemberList.map((m) => [m.Member_Account, m.Role]).sort(), [[owner.userID, 'Owner'], [ann.userID, 'Member'], [ben.userID, 'Admin'], [away, 'Admin']].sort());
    await ann.sdk.quitGroup(id);
    await until(async () => {
      const { UserIdList } = await rest('group_open_http_svc/get_role_in_group', { GroupId: id, User_Account: [ann.userID] });
      return UserIdList[0].Role === 'NotMember';
    }, { what: 'ann is none any more' });
  });
});
