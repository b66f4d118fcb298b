// What SDKs need of messages and conversations as bytes (protocol 02 §1, §5), where an SDK cannot show it because it
// takes what it gets: who is named how in every form of a message, what an event may hold, who is told of what.
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';

const text = (s) => [{ MsgType: 'TIMTextElem', MsgContent: { Text: s } }];
const ext = (name) => `openim_msg_ext_http_svc.${name}`;

/** The request's answer, which has to be good. */
async function ok(raw, servcmd, body) {
  const answer = await raw.request(servcmd, body);
  assert.equal(answer.ErrorCode, 0, `${servcmd}: ${answer.ErrorInfo}`);
  return answer;
}

/** Ann on two devices, Ben on two: [ann, ann2, ben, ben2]. */
async function devices(world) {
  const [ann, ben] = [world.id('ann'), world.id('ben')];
  return Promise.all([world.raw({ login: ann }), world.raw({ login: ann, node: 1 }), world.raw({ login: ben, node: 1 }), world.raw({ login: ben })]);
}

const events = (raw) => raw.pushes.filter((f) => f.head.servcmd === 'im_open_push.msg_push').flatMap((f) => f.body.EventArray);

/** Sends a message and returns how it is named, with what every form of it must repeat. */
async function say(from, to, words, extra = {}) {
  const request = from.textMessage(to.userID, words, extra);
  const { MsgTime, MsgKey } = await ok(from, 'openim.sendmsg', request);
  assert.equal(MsgKey, `${request.MsgSeq}_${request.MsgRandom}_${MsgTime}`);
  const { MsgSeq, MsgRandom, MsgClientTime, From_Account, To_Account } = request;
  return { From_Account, To_Account, MsgSeq, MsgRandom, MsgClientTime, MsgTime, MsgTimeStamp: MsgTime, MsgKey };
}

/** All devices have every event that was caused before: a last message has reached them. */
async function settle(raws, from, to) {
  const { MsgRandom } = await say(from, to, 'settled');
  const settled = (e) => e.C2cMsgArray?.some((m) => m.MsgRandom === MsgRandom);
  await Promise.all(raws.filter((raw) => raw !== from).map((raw) => raw.waitForEvent(settled)));
}

engines('messages: wire', { env: { IMSERVER_MAX_WEB_INSTANCES: '4' } }, ({ test }) => {
  // §23.1, 4; traps 4, 7, 8, 9, 21.
  test('a message has one name, in whatever form it comes', async (world) => {
    const [ann, ann2, ben, ben2] = await devices(world);
    const TinyId = ann.session.tinyID;
    assert.match(TinyId, /^\d+$/);
    await ok(ann, 'profile.portrait_set', { From_Account: ann.userID, ProfileItem: [{ Tag: 'Tag_Profile_IM_Nick', Value: 'Ann' }] });
    const m = await say(ann, ben, 'named', { MsgSeq: 2 ** 31 + 7, From_AccountNick: 'somebody else', SendMsgControl: ['NoUnread', 'NoLastMsg'], IsNeedReadReceipt: 1, SupportMessageExtension: 1 });
    const named = (o, what, ...fields) => {
      assert.deepEqual(Object.fromEntries(fields.map((f) => [f, o[f]])), Object.fromEntries(fields.map((f) => [f, f === 'TinyId' ? TinyId : m[f]])), what);
    };
    const whole = ['TinyId', 'MsgSeq', 'MsgRandom', 'MsgClientTime', 'MsgTimeStamp'];
    const content = (o, what) => {
      named(o, what, ...whole);
      assert.deepEqual([o.MsgBody, o.SendMsgControl, o.From_AccountNick], [text('named'), { NoUnread: 1, NoLastMsg: 1 }, 'Ann'], what);
      assert.equal(o.MsgVersion ?? 0, 0, `${what}: a new message has no version`);
    };
    const pushed = (await ben.waitForEvent((e) => e.C2cMsgArray)).C2cMsgArray[0];
    content(pushed, 'the push');
    assert.deepEqual([pushed.From_Account, pushed.To_Account, pushed.IsSyncMsg ?? 0], [ann.userID, ben.userID, 0]);
    const copy = (await ann2.waitForEvent((e) => e.C2cMsgArray)).C2cMsgArray[0];
    content(copy, 'the copy for own devices');
    assert.deepEqual([copy.From_Account, copy.To_Account, copy.IsSyncMsg], [ben.userID, ann.userID, 1], 'swapped and marked, both');
    for (const [raw, peer] of [[ann, ben], [ben, ann]]) {
      content((await ok(raw, 'openim.getroammsg', { Peer_Account: peer.userID, MaxCnt: 15, LastMsgTime: 0, MsgKey: '', GetDirection: 0 })).MsgList[0], 'history');
    }
    content((await ok(ben, 'openim.getmsg', { Cookie: '', SyncFlag: 0 })).MsgList[0], 'sync');

    await ok(ben, 'openim.c2c_msg_read_receipt', { Peer_Account: ann.userID, C2CMsgInfo: [m] });
    const receipt = await ann.waitForEvent((e) => e.Event === 16);
    named(receipt.C2cMsgInfo[0], 'the receipt', 'TinyId', 'MsgSeq', 'MsgRandom', 'MsgClientTime', 'MsgTime');
    await ok(ann, ext('set_key_values'), { ...m, OperateType: 1, ExtensionList: [{ Key: 'k', Value: 'v', Seq: 0 }] });
    const { MsgExtensionNotify } = await ben.waitForEvent((e) => e.MsgExtensionNotify);
    assert.equal(MsgExtensionNotify.TinyId, TinyId);
    named(MsgExtensionNotify.ExtensionC2cMsgInfo, 'extensions', 'From_Account', 'To_Account', 'MsgKey', 'MsgRandom', 'MsgClientTime');
    await ok(ben, ext('reaction_add'), { ...m, Reaction: 'smile', Add_Account: [ben.userID] });
    named((await ann.waitForEvent((e) => e.MsgReactionNotifyList)).MsgReactionNotifyList[0].C2CMsgInfo, 'reactions', 'From_Account', 'To_Account', 'TinyId', 'MsgClientTime', 'MsgRandom');
    await ok(ben, 'openim.modify_c2c_msg', { ...m, MsgVersion: 0, MsgBody: text('edited') });
    const [edit] = (await ann.waitForEvent((e) => e.C2cMsgModNotifys)).C2cMsgModNotifys;
    named(edit, 'the edit', 'From_Account', 'To_Account', 'MsgSeq', 'MsgRandom', 'MsgClientTime', 'MsgTime', 'MsgTimeStamp');
    assert.equal(edit.MsgVersion, 1);
    await ok(ann, 'openim.msgwithdraw', { MsgInfo: m });
    const notice = (await ben.waitForEvent((e) => e.C2cNotifyMsgArray?.[0].WithdrawC2cMsgNotify)).C2cNotifyMsgArray[0].WithdrawC2cMsgNotify.C2cWithdrawInfoArray[0];
    named(notice, 'the revoke', 'From_Account', 'To_Account', ...whole);
    await settle([ann2, ben, ben2], ann, ben);
    assert.deepEqual([ann, ann2, ben, ben2].map((raw) => events(raw).filter((e) => e.Event === 16).length), [1, 1, 0, 0], 'a receipt is for the sender of the message');
    assert.deepEqual([notice.MsgRand, notice.RevokerInfo], [m.MsgRandom, { Revoker_Account: ann.userID, Reason: '' }]);
  });

  // §23.11; traps 5, 6, 14, 16: an SDK handles a whole list once for each of its items, and of an item the first key.
  test('an event has one key and a notice stands alone; deleting and clearing push nothing', async (world) => {
    const all = await devices(world);
    const [ann, ann2, ben, ben2] = all;
    const cat = await world.raw({ login: world.id('cat') });
    const messages = [await say(ann, ben, 'one'), await say(ann, ben, 'two'), await say(ann, ben, 'three')];
    await say(cat, ben, 'from cat');
    await Promise.all(messages.slice(0, 2).map((m) => ok(ann, 'openim.msgwithdraw', { MsgInfo: m })));
    await ok(ann, 'openim.modify_c2c_msg', { ...messages[2], MsgVersion: 0, MsgBody: text('three!') });
    await ok(ben, 'openim.set_c2c_peer_mute_notifications', { Peer_Account: [ann.userID, cat.userID], Mute_Notifications: 2 });
    await ok(ben, 'recentcontact.top', { From_Account: ben.userID, OperationType: 1, RecentContactItem: [{ Type: 1, To_Account: ann.userID }, { Type: 1, To_Account: cat.userID }] });
    await ok(ben, 'openim.read_all_unread_msg', { C2CReadAllMsg: 1, GroupReadInfo: [] });
    await settle([ben, ben2, ann2], ann, ben);

    const payloads = ['C2cMsgArray', 'C2cNotifyMsgArray', 'C2cMsgModNotifys', 'C2cMsgInfo', 'RecentContactMod', 'C2CReadAllMsg', 'GroupTips', 'GroupMsgArray', 'ProfileDataMod',
      'FriendListMod', 'MsgExtensionNotify', 'MsgReactionNotifyList', 'MsgReactionNotify', 'GroupMsgModNotifys', 'UserStatusList'];
    const notices = [];
    for (const e of all.flatMap(events)) {
      assert.equal(payloads.filter((key) => key in e).length, 1, `one key: ${JSON.stringify(e)}`);
      if (e.C2cNotifyMsgArray) {
        assert.equal(e.C2cNotifyMsgArray.length, 1, 'one notice');
        assert.equal(Object.keys(e.C2cNotifyMsgArray[0]).length, 1);
        notices.push(Object.keys(e.C2cNotifyMsgArray[0])[0]);
        assert.equal(e.C2cNotifyMsgArray[0].MuteNotificationsSync?.To_Account.length ?? 1, 1, 'one muted account');
        assert.equal(e.C2cNotifyMsgArray[0].WithdrawC2cMsgNotify?.C2cWithdrawInfoArray.length ?? 1, 1, 'one revoked message');
      }
    }
    const count = (kind) => notices.filter((n) => n === kind).length;
    assert.deepEqual([count('WithdrawC2cMsgNotify'), count('MuteNotificationsSync'), count('C2cReadedReceipt')], [6, 2, 2]);
    for (const e of events(ben2).filter((e) => e.RecentContactMod)) {
      for (const c of e.RecentContactMod[0].RecentContactTopItem.RecentContactList) assert.equal(c.To_Account, c.Peer_Account, 'both names of the account');
    }

    const before = all.map((raw) => events(raw).length);
    await ok(ben, 'openim.delete_c2c_msg_ramble', { From_Account: ben.userID, To_Account: ann.userID, MsgKeyList: [messages[2].MsgKey] });
    await ok(ben, 'recentcontact.clear_msg', { From_Account: ben.userID, Type: 1, To_Account: cat.userID });
    await settle([ben, ben2, ann2], ann, ben);
    assert.deepEqual(all.map((raw, i) => events(raw).length - before[i]), [0, 1, 1, 1], 'only the message that settles');
  });

  // §23.7, 9; traps 1, 2, 3.
  test('lists are whole, also when there is nothing to say', async (world) => {
    const [ann, , ben] = await devices(world);
    const empty = await ok(ann, 'openim.getmsg', { Cookie: '', SyncFlag: 0 });
    assert.deepEqual([empty.SyncFlag, empty.MsgList, empty.C2CPairUnreadCount, empty.C2CRemainingUnreadCount, empty.EventArray], [2, [], [], [], []]);
    assert.ok(empty.Cookie);
    const list = (raw) => ok(raw, 'recentcontact.page_get', { From_Account: raw.userID, TimeStamp: 0, StartIndex: 0, TopTimeStamp: 0, TopStartIndex: 0 });
    assert.deepEqual([(await list(ann)).CompleteFlag, (await list(ann)).SessionItem], [1, []]);
    const first = { SendMsgControl: ['NoLastMsg'] };
    await say(ann, ben, 'not shown', first);
    for (const [raw, peer] of [[ann, ben], [ben, ann]]) {
      const { SessionItem } = await list(raw);
      assert.deepEqual(SessionItem.map((i) => [i.Type, i.To_Account, 'LastMsg' in i]), [[1, peer.userID, false]]);
    }
    await say(ann, ben, 'shown');
    const [item] = (await list(ben)).SessionItem;
    assert.deepEqual([item.LastMsg.MsgBody, item.LastC2cMsgFrom_Account], [text('shown'), ann.userID]);
    assert.deepEqual((await ok(ben, 'openim.getmsg', { Cookie: '', SyncFlag: 0 })).C2CPairUnreadCount, [{ From_Account: ann.userID, UnreadCount: 2 }]);
    await ok(ben, 'recentcontact.clear_msg', { From_Account: ben.userID, Type: 1, To_Account: ann.userID });
    assert.deepEqual((await list(ben)).SessionItem.map((i) => [i.To_Account, 'LastMsg' in i]), [[ann.userID, false]]);
    const synced = await ok(ben, 'openim.getmsg', { Cookie: '', SyncFlag: 0 });
    assert.deepEqual([synced.C2CPairUnreadCount, synced.MsgList], [[], []]);
  });

  // Traps 11, 12.
  test('reactions tell everybody, extensions all but who acts', async (world) => {
    const all = await devices(world);
    const [ann, ann2, ben, ben2] = all;
    const m = await say(ann, ben, 'react', { SupportMessageExtension: 1 });
    const reaction = (raw, n) => events(raw).filter((e) => e.MsgReactionNotifyList).map((e) => e.MsgReactionNotifyList[0].MsgReactionSummary[0])[n];
    await ok(ben, ext('reaction_add'), { ...m, Reaction: 'smile', Add_Account: [ben.userID] });
    await ok(ben, ext('reaction_del'), { ...m, Reaction: 'smile', Del_Account: [ben.userID] });
    await ok(ben, ext('set_key_values'), { ...m, OperateType: 1, ExtensionList: [{ Key: 'k', Value: 'v', Seq: 0 }] });
    await settle([ann, ann2, ben2], ben, ann);
    await ben.waitForEvent((e) => e.MsgReactionNotifyList?.[0].MsgReactionSummary[0].Count === 0);
    for (const raw of all) {
      const mine = raw.userID === ben.userID ? 1 : 0;
      assert.deepEqual(reaction(raw, 0), { Reaction: 'smile', Count: 1, Reaction_Account: [ben.userID], ReactedByMe: mine });
      assert.deepEqual(reaction(raw, 1), { Reaction: 'smile', Count: 0, ReactedByMe: 0 }, 'without anybody');
    }
    const kinds = (raw) => events(raw).map((e) => e.Event).filter((n) => [20, 22, 23].includes(n));
    assert.deepEqual([ann, ann2, ben, ben2].map(kinds), [[22, 22, 20], [22, 22, 20], [22, 22], [23, 22, 23, 22, 20]]);
  });

  // §23.12, 15; trap 18.
  test('a group may be named by each of its three keys', async (world) => {
    const [ann, ann2] = await devices(world);
    const { GroupId } = await ok(ann, 'group_open_http_svc.create_group', { Type: 'Public', Name: 'team', Owner_Account: ann.userID });
    const send = () => ok(ann, 'group_open_http_svc.send_group_msg', { GroupId, Random: Math.floor(Math.random() * 1e8), MsgBody: text('hello') });
    await send();
    const item = async () => (await ok(ann, 'recentcontact.page_get', { From_Account: ann.userID, TimeStamp: 0, StartIndex: 0, TopTimeStamp: 0, TopStartIndex: 0 })).SessionItem.find((i) => i.ToAccount === GroupId);
    for (const key of ['ToGroupid', 'ToGroupId', 'GroupId']) {
      const contact = { Type: 2, [key]: GroupId };
      const From_Account = ann.userID;
      await ok(ann, 'recentcontact.top', { From_Account, OperationType: 1, RecentContactItem: [contact] });
      const { ResultItem: [marked] } = await ok(ann, 'recentcontact.mark_contact', { From_Account, MarkItem: [{ OptType: 1, ContactItem: contact, SetMark: [0] }] });
      assert.equal(marked.ResultCode, 0);
      const created = await ok(ann, 'recentcontact.create_contact_group', { From_Account, GroupContactItem: [{ GroupName: key, ContactItem: [contact] }] });
      assert.equal(created.GroupResultItem[0].ResultItem[0].ResultCode, 0);
      const { ContactResultItem: [found] } = await ok(ann, 'recentcontact.search_contact_group', { From_Account, ContactItem: [contact] });
      assert.deepEqual([found.ToGroupId, found.StandardMark.endsWith('1'), found.ContactGroupId.length > 0], [GroupId, true, true]);
      const listed = await item();
      assert.deepEqual([listed.TopFlags, listed.StandardMark.endsWith('1'), listed.ContactGroupId.includes(created.GroupResultItem[0].GroupItem.GroupId)], [1, true, true]);
      await ok(ann, 'recentcontact.clear_msg', { From_Account, ...contact });
      assert.equal('LastMsg' in (await item()), false, 'cleared');
      const { ResultItem: [removed] } = await ok(ann, 'recentcontact.batch_delete', { From_Account, ContactItem: [contact], ClearRamble: 0 });
      assert.equal(removed.ResultCode, 0);
      assert.equal(await item(), undefined, 'removed');
      await send();
    }
    const told = await ann2.waitForEvent((e) => e.RecentContactMod?.[0].PushType === 2);
    assert.deepEqual(told.RecentContactMod[0].RecentContactTopItem.RecentContactList, [{ Type: 2, GroupId }], 'the key of pushes');
  });
});
