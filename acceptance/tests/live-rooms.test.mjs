// Live rooms by push (protocol 03 §13): watchers on three nodes, and everything they do there.
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

const tip = (room, operation) => (m) => m.type === 'TIMGroupTipElem' && m.to === room && m.payload.operationType === operation;
const text = (room, words) => (m) => m.type === 'TIMTextElem' && m.to === room && m.payload.text === words;
const texts = (user, room, since) => user.received(since).filter((m) => m.type === 'TIMTextElem' && m.to === room).map((m) => m.payload.text);

/** Sequences of the room's events in the order they were pushed to the user. */
function pushed(user, room) {
  const items = user.frames.filter((f) => !f.out && f.head?.servcmd === 'im_open_push.msg_push').flatMap((f) => f.body.EventArray)
    .flatMap((e) => [...(e.GroupMsgArray ?? []), ...(e.Event === 5 ? [] : e.GroupTips ?? [])]);
  return items.filter((item) => item.ToGroupId === room).map((item) => item.MsgSeq);
}

/** Makes a room owned by the first user, and lets everybody in. */
async function room(world, users, options) {
  const { data } = await users[0].sdk.createGroup({ type: 'AVChatRoom', name: 'Live', ...options });
  const { groupID } = data.group;
  for (const user of users) assert.equal((await user.sdk.joinGroup({ groupID })).data.status, 'JoinedSuccess');
  return groupID;
}

const say = (user, groupID, words, options) => user.send('Text', groupID, { text: words }, { group: true, ...options });

engines('live rooms', { nodes: 3, env: { IMSERVER_MAX_WEB_INSTANCES: '3' }, timeout: 90000 }, ({ test }) => {
  test('watchers on every node see each other, speak in one order, and leave', async (world) => {
    const [owner, ann, ben] = await world.users('owner', 'ann', 'ben');
    const id = await room(world, [owner, ann, ben]);
    await owner.waitForMessage(tip(id, 1));
    await ann.waitForMessage((m) => tip(id, 1)(m) && m.payload.userIDList.includes(ben.userID));
    const expected = [];
    for (let i = 0; i < 6; i++) {
      const speaker = [owner, ann, ben][i % 3];
      const sent = await say(speaker, id, `line ${i}`);
      assert.ok(sent.sequence > 0);
      expected.push(`line ${i}`);
    }
    for (const user of [owner, ann, ben]) {
      const others = expected.filter((_, i) => [owner, ann, ben][i % 3] !== user);
      await until(() => texts(user, id).length >= others.length, { timeout: 10000, what: `all lines at ${user.userID}` });
      assert.deepEqual(texts(user, id), others);
      // As they were pushed: the SDK shows the tip of its own coming late.
      const seqs = pushed(user, id);
      assert.ok(seqs.length >= 6);
      assert.deepEqual(seqs, [...new Set(seqs)].sort((a, b) => a - b), 'sequences are unique and rise');
    }
    // Joining again is a success and no news; the room is in no list.
    const mark = owner.mark();
    await ben.sdk.joinGroup({ groupID: id });
    const { data } = await ben.sdk.getGroupOnlineMemberCount(id).then((r) => ({ data: r.data }));
    assert.equal(data.memberCount, 3);
    await ben.sdk.quitGroup(id);
    await owner.waitForMessage((m) => tip(id, 2)(m) && m.payload.userIDList.includes(ben.userID), { since: mark });
    assert.equal(owner.received().filter((m) => tip(id, 1)(m) && m.payload.userIDList.includes(ben.userID)).length, 1, 'coming again is no news');
    await assert.rejects(say(ben, id, 'from outside'), (error) => [2101, 10007].includes(error.code));
    await assert.rejects(owner.sdk.quitGroup(id), (error) => error.code === 10009);
    const count = await world.rest()('group_open_http_svc/get_online_member_num', { GroupId: id });
    assert.equal(count.OnlineMemberNum, 2);
    const list = await ann.sdk.getGroupList();
    const listed = await world.rest()('group_open_http_svc/get_joined_group_list', { Member_Account: ann.userID });
    assert.equal(listed.GroupIdList.some((g) => g.GroupId === id), false);
    assert.ok(list.data.groupList);
  });

  test('the owner mutes one, mutes all, changes the profile, and ends the room', async (world) => {
    const [owner, ann, ben] = await world.users('owner', 'ann', 'ben');
    const id = await room(world, [owner, ann, ben]);
    await owner.sdk.setGroupMemberMuteTime({ groupID: id, userID: ann.userID, muteTime: 600 });
    await ann.waitForMessage(tip(id, 7));
    await assert.rejects(say(ann, id, 'muted'), (error) => error.code === 10017);
    const muted = await world.rest()('group_open_http_svc/get_group_muted_account', { GroupId: id });
    assert.deepEqual(muted.MutedAccountList.map((m) => m.Member_Account), [ann.userID]);
    await owner.sdk.setGroupMemberMuteTime({ groupID: id, userID: ann.userID, muteTime: 0 });
    await say(ann, id, 'free again');
    await ben.waitForMessage(text(id, 'free again'));

    await owner.sdk.updateGroupProfile({ groupID: id, muteAllMembers: true });
    await ben.waitForMessage(tip(id, 6));
    await assert.rejects(say(ben, id, 'all muted'), (error) => error.code === 10017);
    await say(owner, id, 'only I speak');
    await ben.waitForMessage(text(id, 'only I speak'));
    await owner.sdk.updateGroupProfile({ groupID: id, muteAllMembers: false, name: 'Live 2', notification: 'now' });
    await ben.waitForMessage((m) => tip(id, 6)(m) && m.payload.newGroupProfile?.groupName === 'Live 2');
    await say(ben, id, 'thanks');

    await assert.rejects(ann.sdk.updateGroupProfile({ groupID: id, name: 'mine' }), (error) => error.code === 10007);
    await assert.rejects(ann.sdk.dismissGroup(id), (error) => error.code === 10007);
    await owner.sdk.dismissGroup(id);
    for (const user of [ann, ben]) {
      await user.waitForMessage((m) => m.type === 'TIMGroupSystemNoticeElem' && m.payload.groupProfile.groupID === id && m.payload.operationType === 5);
    }
    await assert.rejects(ben.sdk.joinGroup({ groupID: id }), (error) => error.code === 10010);
  });

  test('attributes and counters reach everybody', async (world) => {
    const [owner, ann] = await world.users('owner', 'ann');
    const id = await room(world, [owner, ann]);
    await owner.sdk.initGroupAttributes({ groupID: id, groupAttributes: { topic: 'alpha', seat: '1' } });
    await ann.waitFor('GROUP_ATTRIBUTES_UPDATED', (d) => d.groupID === id && d.groupAttributes.topic === 'alpha');
    await ann.sdk.setGroupAttributes({ groupID: id, groupAttributes: { topic: 'beta' } });
    await owner.waitFor('GROUP_ATTRIBUTES_UPDATED', (d) => d.groupID === id && d.groupAttributes.topic === 'beta');
    assert.deepEqual((await ann.sdk.getGroupAttributes({ groupID: id, keyList: [] })).data.groupAttributes, { topic: 'beta', seat: '1' });
    await owner.sdk.deleteGroupAttributes({ groupID: id, keyList: ['seat'] });
    await ann.waitFor('GROUP_ATTRIBUTES_UPDATED', (d) => d.groupID === id && !('seat' in d.groupAttributes));
    await owner.sdk.setGroupCounters({ groupID: id, counters: { likes: 5 } });
    await ann.sdk.increaseGroupCounter({ groupID: id, key: 'likes', value: 4 });
    await owner.waitFor('GROUP_COUNTER_UPDATED', (d) => d.groupID === id && d.key === 'likes' && d.value === 9);
    assert.deepEqual((await owner.sdk.getGroupCounters({ groupID: id })).data.counters, { likes: 9 });

    const eve = await world.raw({ node: 1, login: world.id('eve') });
    const write = async (command) => (await eve.request(`group_open_http_svc.${command}`, { GroupId: id, AttrMainSeq: 0, Mode: 'Increase',
      GroupAttr: [{ key: 'topic', value: 'spoilt' }], GroupCounter: [{ Key: 'likes', Value: 1 }] })).ErrorCode;
    const unheard = async (who) => {
      for (const command of ['set_group_attr', 'modify_group_attr', 'delete_group_attr', 'clear_group_attr', 'update_group_counter']) {
        assert.equal(await write(command), 10007, `${command} of ${who}`);
      }
    };
    await unheard('somebody who never came in');
    assert.equal((await eve.request('group_open_http_svc.apply_join_group', { GroupId: id })).ErrorCode, 0);
    assert.equal(await write('update_group_counter'), 0);
    await owner.waitFor('GROUP_COUNTER_UPDATED', (d) => d.groupID === id && d.key === 'likes' && d.value === 10);
    await owner.sdk.deleteGroupMember({ groupID: id, userIDList: [eve.userID], reason: 'spoils', duration: 60 });
    await unheard('somebody who is banned');
    assert.deepEqual((await owner.sdk.getGroupCounters({ groupID: id })).data.counters, { likes: 10 });
    assert.deepEqual((await ann.sdk.getGroupAttributes({ groupID: id, keyList: [] })).data.groupAttributes, { topic: 'beta' });
  });

  test('a message is recalled by its sender and by the owner', async (world) => {
    const [owner, ann, ben] = await world.users('owner', 'ann', 'ben');
    const id = await room(world, [owner, ann, ben]);
    const mine = await say(ann, id, 'oops');
    const rude = await say(ben, id, 'rude');
    const got = await ben.waitForMessage(text(id, 'oops'));
    const seen = await owner.waitForMessage(text(id, 'rude'));
    await ann.sdk.revokeMessage(mine);
    await ben.waitFor('MESSAGE_REVOKED', (list) => list.some((m) => m.ID === got.ID));
    await owner.sdk.revokeMessage(seen);
    await ann.waitFor('MESSAGE_REVOKED', (list) => list.some((m) => m.ID === rude.ID));
    const late = world.user('late');
    await late.login();
    await late.sdk.joinGroup({ groupID: id });
    await late.expectNone('MESSAGE_RECEIVED', (list) => list.some((m) => m.to === id && m.type === 'TIMTextElem'), { within: 800 });
  });

  test('what cannot be recalled is answered by its reason', async (world) => {
    const [owner, ann] = await world.users('owner', 'ann');
    const id = await room(world, [owner, ann]);
    const mine = await say(ann, id, 'kept');
    const foreign = await say(owner, id, 'foreign');
    const raw = await world.raw({ login: world.id('raw') });
    await raw.request('group_open_http_svc.apply_join_group', { GroupId: id });
    const recall = async (MsgSeq) => (await raw.request('group_open_http_svc.group_msg_recall', { GroupId: id, MsgSeqList: [{ MsgSeq }], TopicId: '' })).RecallRetList[0].RetCode;
    assert.equal(await recall(foreign.sequence), 10007, "somebody else's");
    assert.equal(await recall(foreign.sequence + 1), 10030, 'never was one');
    assert.equal(await recall(7), 10030, 'from before the room');
    const code = (MsgSeq) => world.rest()('group_open_http_svc/group_msg_recall', { GroupId: id, MsgSeqList: [{ MsgSeq }] }).then((a) => a.RecallRetList[0].RetCode);
    assert.equal(await code(mine.sequence), 0, 'the backend recalls all that is remembered');
    await owner.waitFor('MESSAGE_REVOKED', (list) => list.some((m) => m.sequence === mine.sequence));
  });

  test('reactions reach everybody, with what each did itself, and v2 is not disturbed', async (world) => {
    const [owner, ann] = await world.users('owner', 'ann');
    const old = world.user('old', { node: 2, generation: 'v2' });
    await old.login();
    const id = await room(world, [owner, ann, old]);
    const phone = await world.device(ann);
    await phone.sdk.joinGroup({ groupID: id });
    const sent = await say(owner, id, 'like this');
    const got = await ann.waitForMessage(text(id, 'like this'));
    await phone.waitForMessage(text(id, 'like this'));
    await ann.sdk.addMessageReaction(got, 'smile');
    const shows = (count, mine) => (d) => d.messageID === sent.ID && d.reactionList.some((r) => r.reactionID === 'smile' && r.totalUserCount === count && r.reactedByMyself === mine);
    await owner.waitFor('MESSAGE_REACTIONS_UPDATED', shows(1, false));
    await ann.waitFor('MESSAGE_REACTIONS_UPDATED', shows(1, true));
    await phone.waitFor('MESSAGE_REACTIONS_UPDATED', shows(1, true));
    await owner.sdk.addMessageReaction(sent, 'smile');
    await ann.waitFor('MESSAGE_REACTIONS_UPDATED', shows(2, true));
    const { data } = await owner.sdk.getMessageReactions({ messageList: [sent], maxUserCountPerReaction: 10 });
    assert.deepEqual(data.resultList[0].reactionList.map((r) => [r.reactionID, r.totalUserCount, r.reactedByMyself]), [['smile', 2, true]]);
    const users = await ann.sdk.getAllUserListOfMessageReaction({ message: got, reactionID: 'smile', nextSeq: 0, count: 10 });
    assert.deepEqual(users.data.userList.map((u) => u.userID), [ann.userID, owner.userID]);
    await ann.sdk.removeMessageReaction(got, 'smile');
    await owner.waitFor('MESSAGE_REACTIONS_UPDATED', shows(1, true));
    await phone.waitFor('MESSAGE_REACTIONS_UPDATED', shows(1, false));
    await say(owner, id, 'after');
    await old.waitForMessage(text(id, 'after'));
    // Only who watches reacts, and only to what is remembered.
    const stranger = await world.raw({ login: world.id('stranger') });
    const react = (raw, MsgSeq) => raw.request('openim_msg_ext_http_svc.group_reaction_add', { GroupId: id, MsgSeq, Reaction: 'x', Add_Account: [] });
    assert.equal((await react(stranger, sent.sequence)).ErrorCode, 10007);
    await stranger.request('group_open_http_svc.apply_join_group', { GroupId: id });
    assert.equal((await react(stranger, sent.sequence + 1)).ErrorCode, 23004);
    const extended = await stranger.request('openim_msg_ext_http_svc.group_set_key_values', { GroupId: id, MsgSeq: sent.sequence, OperateType: 1, ExtensionList: [{ Key: 'k', Value: 'v', Seq: 0 }] });
    assert.notEqual(extended.ErrorCode, 0, 'live rooms have no extensions');
  });

  test('the banned are out and cannot come back until they may', async (world) => {
    const [owner, ann, ben] = await world.users('owner', 'ann', 'ben');
    const id = await room(world, [owner, ann, ben]);
    await assert.rejects(ann.sdk.deleteGroupMember({ groupID: id, userIDList: [ben.userID], reason: 'r', duration: 60 }), (error) => error.code === 10007);
    await owner.sdk.deleteGroupMember({ groupID: id, userIDList: [ben.userID], reason: 'rude', duration: 600 });
    await ben.waitForMessage((m) => m.type === 'TIMGroupSystemNoticeElem' && m.payload.operationType === 21);
    await ann.waitForMessage(tip(id, 10));
    await assert.rejects(ben.sdk.joinGroup({ groupID: id }), (error) => error.code === 10007);
    const mark = ben.mark();
    await say(owner, id, 'without ben');
    await ann.waitForMessage(text(id, 'without ben'));
    assert.deepEqual(texts(ben, id, mark), []);
    const rest = world.rest();
    const banned = await rest('group_open_http_svc/get_group_ban_member', { GroupId: id, Limit: 10, Offset: 0 });
    assert.deepEqual(banned.BannedAccountList.map((b) => b.Member_Account), [ben.userID]);
    await rest('group_open_http_svc/unban_group_member', { GroupId: id, Members_Account: [ben.userID] });
    await until(() => ben.sdk.joinGroup({ groupID: id }), { timeout: 12000, every: 300, what: 'ben may come again' });
    await rest('group_open_http_svc/ban_group_member', { GroupId: id, Members_Account: [ben.userID], Duration: 60, Description: 'again' });
    await until(async () => (await rest('group_open_http_svc/get_online_member_num', { GroupId: id })).OnlineMemberNum === 2, { what: 'two are left' });
  });

  test('watchers are listed and marked', async (world) => {
    const [owner, ann, ben] = await world.users('owner', 'ann', 'ben');
    const id = await room(world, [owner, ann, ben]);
    const { data } = await ann.sdk.getGroupMemberList({ groupID: id, offset: 0 });
    assert.deepEqual(data.memberList.map((m) => m.userID).sort(), [owner, ann, ben].map((u) => u.userID).sort());
    await owner.sdk.markGroupMemberList({ groupID: id, userIDList: [ben.userID], markType: 1000, enableMark: true });
    const marked = await owner.sdk.getGroupMemberList({ groupID: id, offset: 0, filter: 1000 });
    assert.deepEqual(marked.data.memberList.map((m) => m.userID), [ben.userID]);
    const rest = world.rest();
    const all = await rest('group_open_avchatroom_http_svc/get_members', { GroupId: id, Timestamp: 0 });
    assert.deepEqual(all.MemberList.find((m) => m.Member_Account === ben.userID).Marks, [1000]);
    await rest('group_open_avchatroom_http_svc/modify_user_info', { GroupId: id, CommandType: 2, MemberList: [{ Member_Account: ben.userID, Marks: [1000] }] });
    const inside = await rest('group_open_avchatroom_http_svc/check_members', { GroupId: id, Member_Account: [ann.userID, 'nobody'] });
    assert.deepEqual(inside.Member_Account, [ann.userID]);
    await until(async () => (await ann.sdk.getGroupProfile({ groupID: id })).data.group.memberCount === 3, { every: 500, what: 'three in the profile' });
  });

  test('newcomers see the newest messages', async (world) => {
    const [owner] = await world.users('owner');
    const id = await room(world, [owner]);
    for (let i = 0; i < 25; i++) await say(owner, id, `old ${i}`);
    const late = world.user('late');
    await late.login();
    await late.sdk.joinGroup({ groupID: id });
    await late.waitForMessage(text(id, 'old 24'));
    assert.deepEqual(texts(late, id), Array.from({ length: 20 }, (_, i) => `old ${i + 5}`));
  });

  test('a watcher whose socket comes back gets what it missed, in order and once', async (world) => {
    const [owner, ann] = await world.users('owner', 'ann');
    const id = await room(world, [owner, ann]);
    await say(owner, id, 'before');
    await ann.waitForMessage(text(id, 'before'));
    await ann.network.goOffline();
    for (let i = 0; i < 30; i++) await say(owner, id, `missed ${i}`);
    await ann.network.goOnline();
    await ann.waitForMessage(text(id, 'missed 29'), { timeout: 20000 });
    await say(owner, id, 'after');
    await ann.waitForMessage(text(id, 'after'));
    assert.deepEqual(texts(ann, id), ['before', ...Array.from({ length: 30 }, (_, i) => `missed ${i}`), 'after']);
    await say(ann, id, 'still in');
    await owner.waitForMessage(text(id, 'still in'));
  });
});
