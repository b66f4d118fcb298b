// What live rooms do not have, and how many an SDK is in at once (protocol 03 §2.1, §13.1, §13.10, 06 §5.6).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

const text = (room, words) => (m) => m.type === 'TIMTextElem' && m.to === room && m.payload.text === words;
const tip = (room, operation, about) => (m) => m.type === 'TIMGroupTipElem' && m.to === room && m.payload.operationType === operation && m.payload.userIDList.includes(about.userID);
const say = (user, groupID, words, options) => user.send('Text', groupID, { text: words }, { group: true, ...options });
const create = async (user) => (await user.sdk.createGroup({ type: 'AVChatRoom', name: 'Live' })).data.group.groupID;

for (const delivery of ['websocket', 'polling']) {
  engines(`live rooms: one or many, ${delivery}`, { nodes: 3, timeout: 60000, env: { IMSERVER_LIVE_ROOMS_DELIVERY: delivery } }, ({ test }) => {
    test('an SDK leaves one room for the next, unless it is its own or the app wants many', async (world) => {
      const [one, two] = await world.users('one', 'two');
      const old = world.user('old', { node: 2, generation: 'v2' });
      const many = world.user('many', { node: 1, options: { unlimitedAVChatRoom: true } });
      await Promise.all([old.login(), many.login()]);
      const [first, second] = [await create(one), await create(two)];
      const count = async (id) => (await world.rest()('group_open_http_svc/get_online_member_num', { GroupId: id })).OnlineMemberNum;
      assert.equal(await count(first), 0, 'who made a room is not in it yet');
      await one.sdk.joinGroup({ groupID: first });
      await two.sdk.joinGroup({ groupID: second });
      for (const user of [old, many]) {
        await user.sdk.joinGroup({ groupID: first });
        await one.waitForMessage(tip(first, 1, user));
        await user.sdk.joinGroup({ groupID: second });
        await two.waitForMessage(tip(second, 1, user));
      }
      await one.waitForMessage(tip(first, 2, old));
      assert.equal(one.received().some(tip(first, 2, many)), false, 'who wants many stays');
      await say(one, first, 'in the first');
      await say(two, second, 'in the second');
      await many.waitForMessage(text(first, 'in the first'));
      for (const user of [old, many]) await user.waitForMessage(text(second, 'in the second'));
      assert.equal(old.received().some(text(first, 'in the first')), false);
      await two.sdk.joinGroup({ groupID: first }); // its own room it does not leave
      await until(async () => (await count(second)) === 3, { what: 'the owner is still in the second' });
    });
  });
}

engines('live rooms: what they do not have', { nodes: 3, timeout: 60000 }, ({ test }) => {
  test('no history, unread, list, members by hand, pins, receipts, cards, or another owner', async (world) => {
    const [owner, ann] = await world.users('owner', 'ann');
    const id = await create(owner);
    for (const user of [owner, ann]) await user.sdk.joinGroup({ groupID: id });
    const sent = await say(owner, id, 'online only is like any other', { sendOptions: { onlineUserOnly: true } });
    assert.ok(sent.sequence > 0);
    await ann.waitForMessage(text(id, 'online only is like any other'));
    await until(async () => (await ann.sdk.getTotalUnreadMessageCount()) === 0, { what: 'nothing counts as unread' });
    const again = world.user(ann.userID, { exact: true, node: 2 });
    await again.login();
    const list = await again.sdk.getConversationList();
    assert.equal(list.data.conversationList.some((c) => c.conversationID === `GROUP${id}`), false, 'in no list');
    assert.equal((await again.sdk.getGroupList()).data.groupList.some((g) => g.groupID === id), false);
    // Who does not watch finds it and reads its profile.
    const found = await again.sdk.searchGroupByID(id);
    assert.equal(found.data.group.type, 'AVChatRoom');

    const user = await world.raw({ login: world.id('user') });
    await user.request('group_open_http_svc.apply_join_group', { GroupId: id });
    const { GroupInfo } = await user.request('group_open_http_svc.get_group_self_member_info', { GroupIdList: [id], ResponseFilter: { GroupBaseInfoFilter: ['Type', 'Name'] } });
    assert.deepEqual([GroupInfo[0].ErrorCode, GroupInfo[0].Type, GroupInfo[0].ShutUpAllMember], [0, 'AVChatRoom', undefined]);
    const group = (name, body) => user.request(`group_open_http_svc.${name}`, { GroupId: id, ...body });
    for (const [name, body, code] of [
      ['group_msg_get', { ReqMsgNumber: 21 }, 10044],
      ['pin_message', { MsgSeq: sent.sequence, Pinner_Account: '' }, 10007],
      ['add_group_member', { MemberList: [{ Member_Account: ann.userID }] }, 10007],
      ['modify_group_member_info', { Member_Account: ann.userID, Role: 'Admin' }, 10007],
      ['modify_group_member_info', { NameCard: 'Me' }, 10007],
      ['modify_group_member_info', { MsgFlag: 'Discard' }, 10007],
      ['change_group_owner', { NewOwner_Account: ann.userID }, 10007],
      ['modify_group_base_info', { Name: 'mine' }, 10007],
      ['ban_group_member', { Members_Account: [ann.userID], Duration: 60 }, 10007],
    ]) assert.equal((await group(name, body)).ErrorCode, code, `${name} ${JSON.stringify(body)}`);
    assert.equal((await user.request('group_open_avchatroom_http_svc.modify_user_info', { GroupId: id, CommandType: 1, MemberList: [{ Member_Account: ann.userID, Marks: [1000] }] })).ErrorCode, 10007);

    const rest = (name, body) => world.rest()(`group_open_http_svc/${name}`, { GroupId: id, ...body });
    for (const [name, body, code] of [
      ['create_group', { GroupId: undefined, Type: 'AVChatRoom', Name: 'full', MemberList: [{ Member_Account: ann.userID }] }, 10007],
      ['import_group', { GroupId: undefined, Type: 'AVChatRoom', Name: 'old' }, 10007],
      ['add_group_member', { MemberList: [{ Member_Account: ann.userID }] }, 10007],
      ['delete_group_member', { MemberToDel_Account: [ann.userID] }, 10004],
      ['modify_group_member_info', { Member_Account: ann.userID, Role: 'Admin' }, 10007],
      ['change_group_owner', { NewOwner_Account: ann.userID }, 10007],
      ['group_msg_get_simple', { ReqMsgNumber: 10 }, 10044],
      ['delete_group_msg_by_sender', { Sender_Account: owner.userID }, 0],
      ['set_unread_msg_num', { Member_Account: ann.userID, UnreadMsgNum: 1 }, 10007],
    ]) assert.equal((await rest(name, body)).ErrorCode, code, `REST ${name} ${JSON.stringify(body)}`);
  });
});
