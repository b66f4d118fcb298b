// What a backend does to accounts, profiles, messages and conversation lists (protocol 06 §5.1–§5.3, §5.5), and what the
// SDKs of the people concerned see of it.
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';

const c2c = (user) => `C2C${user.userID}`;
const star = 1;

/** Calls a command that must succeed. */
const must = (world) => {
  const rest = world.rest();
  return async (name, body) => {
    const answer = await rest(name, body);
    assert.deepEqual([answer.ErrorCode, answer.ActionStatus], [0, 'OK'], `${name}: ${answer.ErrorInfo}`);
    return answer;
  };
};

engines('rest: messages', { env: { IMSERVER_MAX_WEB_INSTANCES: '4' } }, ({ test }) => {
  test('accounts in bulk, and the end of one', async (world) => {
    const rest = must(world);
    const [one, two, plain] = [world.id('one'), world.id('two'), world.id('plain')];
    const many = await rest('im_open_login_svc/multiaccount_import', { AccountList: [{ UserID: one, Nick: 'One', FaceUrl: 'https://example.com/1.png' }, { UserID: two }, { UserID: 'x'.repeat(500) }] });
    assert.deepEqual(many.FailAccounts, ['x'.repeat(500)]);
    assert.deepEqual((await rest('im_open_login_svc/multiaccount_import', { Accounts: [plain] })).FailAccounts ?? [], []);
    const state = async () => (await rest('im_open_login_svc/account_check', { CheckItem: [one, two, plain].map((UserID) => ({ UserID })) })).ResultItem.map((r) => r.AccountStatus);
    assert.deepEqual(await state(), ['Imported', 'Imported', 'Imported']);

    const [alice, gone] = [(await world.users('alice'))[0], world.user(one, { exact: true })];
    await gone.login();
    const sent = await gone.sendText(alice.userID, 'still here');
    await alice.waitForMessage((m) => m.ID === sent.ID);
    const deleted = await rest('im_open_login_svc/account_delete', { DeleteItem: [{ UserID: one }, { UserID: world.id('nobody') }] });
    assert.deepEqual(deleted.ResultItem.map((r) => r.ResultCode), [0, 70107]);
    await gone.waitFor('KICKED_OUT');
    assert.deepEqual(await state(), ['NotImported', 'Imported', 'Imported']);
    await assert.rejects(alice.sendText(one, 'anybody there?'), { code: 20003 });
    const later = await world.device(alice); // what was written stays in the list and the history of others, under its writer's name
    await later.waitFor('CONVERSATION_LIST_UPDATED', (list) => list.some((c) => c.conversationID === `C2C${one}` && c.lastMessage.fromAccount === one));
    await later.unread(1);
    const { data } = await later.sdk.getMessageList({ conversationID: `C2C${one}` });
    assert.deepEqual(data.messageList.map((m) => [m.ID, m.from]), [[sent.ID, one]]);
    await later.sdk.setMessageRead({ conversationID: `C2C${one}` });
    await later.sdk.deleteConversation(`C2C${one}`);
    assert.deepEqual((await world.rest()('recentcontact/get_list', { From_Account: alice.userID, TimeStamp: 0, StartIndex: 0, TopTimeStamp: 0, TopStartIndex: 0, AssistFlags: 7 })).SessionItem, []);
    const tooMany = await world.rest()('im_open_login_svc/account_delete', { DeleteItem: Array.from({ length: 101 }, (_, i) => ({ UserID: `u${i}` })) });
    assert.equal(tooMany.ErrorCode, 70206);
  });

  test('profiles are set and read', async (world) => {
    const rest = must(world);
    const [alice] = await world.users('alice');
    const nobody = world.id('nobody');
    const tag = (Tag, Value) => ({ Tag, Value });
    await rest('profile/portrait_set', { From_Account: alice.userID, ProfileItem: [tag('Tag_Profile_IM_Nick', 'Alice L.'), tag('Tag_Profile_IM_Gender', 'Gender_Type_Female'), tag('Tag_Profile_IM_Level', 5)] });
    await alice.waitFor('PROFILE_UPDATED', (list) => list.some((p) => p.userID === alice.userID && p.nick === 'Alice L.'));
    const { UserProfileItem, Fail_Account } = await rest('profile/portrait_get', { To_Account: [alice.userID, nobody], TagList: ['Tag_Profile_IM_Nick', 'Tag_Profile_IM_Gender', 'Tag_Profile_IM_Level'] });
    const [profile] = UserProfileItem.filter((p) => p.To_Account === alice.userID);
    assert.deepEqual(Object.fromEntries(profile.ProfileItem.map((p) => [p.Tag, p.Value])), { Tag_Profile_IM_Nick: 'Alice L.', Tag_Profile_IM_Gender: 'Gender_Type_Female', Tag_Profile_IM_Level: 5 });
    assert.deepEqual(Fail_Account, [nobody]);
    const refused = await world.rest()('profile/portrait_set', { From_Account: alice.userID, ProfileItem: [tag('Tag_Profile_IM_Nick', 'X'), tag('Tag_Profile_IM_Unheard', 1)] });
    assert.equal(refused.ErrorCode, 40009);
    assert.equal((await alice.sdk.getMyProfile()).data.nick, 'Alice L.', 'all or nothing');
  });

  test('deleting for one side, receipts, and extensions', async (world) => {
    const rest = must(world);
    const [ann, ben] = await world.users('ann', 'ben');
    const deleted = await ann.sendText(ben.userID, 'to be deleted for ben');
    const asked = await ann.sendText(ben.userID, 'please confirm', { needReadReceipt: true, isSupportExtension: true });
    const got = await ben.waitForMessage((m) => m.ID === asked.ID);
    const key = (m) => `${m.sequence}_${m.random}_${m.time}`;
    const chat = { Operator_Account: ben.userID, Peer_Account: ann.userID };
    assert.deepEqual((await rest('openim/delete_c2c_msg_ramble', { ...chat, MsgKeyList: [key(deleted), '1_2_3'] })).InvalidMsgKeyList, ['1_2_3']);
    await rest('openim/c2c_msg_read_receipt', { ...chat, C2CMsgInfo: [{ From_Account: ann.userID, To_Account: ben.userID, MsgKey: key(asked) }] });
    await ann.waitFor('MESSAGE_READ_RECEIPT_RECEIVED', (list) => list.some((r) => r.messageID === asked.ID && r.isPeerRead));

    const on = { From_Account: ann.userID, To_Account: ben.userID, MsgKey: key(asked) };
    const set = await rest('openim_msg_ext_http_svc/set_key_values', { ...on, OperateType: 1, ExtensionList: [{ Key: 'k', Value: 'by the backend' }] });
    assert.deepEqual(set.ExtensionList, [{ ErrorCode: 0, Extension: { Key: 'k', Value: 'by the backend', Seq: 1 } }]);
    for (const d of [ann, ben]) await d.waitFor('MESSAGE_EXTENSIONS_UPDATED', (data) => JSON.stringify(data).includes('by the backend'));
    await ben.sdk.setMessageExtensions(got, [{ key: 'k', value: 'by ben' }]);
    const list = await rest('openim_msg_ext_http_svc/get_key_values', { ...on, StartSeq: 0 });
    assert.deepEqual([list.CompleteFlag, list.ExtensionList], [1, [{ Key: 'k', Value: 'by ben', Seq: 2 }]]);
    assert.equal((await world.rest()('openim_msg_ext_http_svc/set_key_values', { ...on, MsgKey: '1_2_3', OperateType: 3 })).ErrorCode, 23004);

    const again = await world.device(ben);
    const { data } = await again.sdk.getMessageList({ conversationID: c2c(ann) });
    assert.deepEqual(data.messageList.map((m) => m.ID), [asked.ID]);
    assert.equal((await ann.sdk.getMessageList({ conversationID: c2c(ben) })).data.messageList.length, 2);
  });

  test('conversation lists: read, marked, grouped, removed', async (world) => {
    const rest = must(world);
    const [me, ben] = await world.users('me', 'ben');
    const cat = await world.raw({ login: world.id('cat') });
    const first = await me.sendText(ben.userID, 'hi');
    await cat.request('openim.sendmsg', cat.textMessage(me.userID, 'hello'));
    await me.waitFor('CONVERSATION_LIST_UPDATED', (list) => list.length === 2);
    const From_Account = me.userID;
    const [aboutBen, aboutCat] = [ben, cat].map((u) => ({ Type: 1, To_Account: u.userID }));
    const start = { TimeStamp: 0, StartIndex: 0, TopTimeStamp: 0, TopStartIndex: 0, AssistFlags: 7 };
    await me.sdk.pinConversation({ conversationID: c2c(ben), isPinned: true });
    const listed = async () => (await rest('recentcontact/get_list', { From_Account, ...start }));
    const all = await listed();
    assert.deepEqual(all.SessionItem.map((i) => [i.Type, i.To_Account, i.TopFlag]).sort(), [[1, ben.userID, 1], [1, cat.userID, 0]].sort());
    assert.equal(all.SessionItem.find((i) => i.To_Account === ben.userID).MsgTime, first.time);
    assert.equal(all.CompleteFlag, 1);

    const marked = await rest('recentcontact/mark_contact', { From_Account, MarkItem: [{ OptType: 3, ContactItem: aboutBen, SetMark: [0], CustomMark: 'note' }] });
    assert.deepEqual(marked.ResultItem.map((r) => [r.ResultCode, r.ContactItem.To_Account]), [[0, ben.userID]]);
    await me.waitFor('CONVERSATION_LIST_UPDATED', (list) => list.some((c) => c.conversationID === c2c(ben) && c.markList.includes(star) && c.customData === 'note'));

    const made = await rest('recentcontact/create_contact_group', { From_Account, GroupContactItem: [{ GroupName: 'work', ContactItem: [aboutBen] }] });
    const { GroupId } = made.GroupResultItem[0].GroupItem;
    assert.ok(Number.isInteger(GroupId));
    await me.waitFor('CONVERSATION_GROUP_LIST_UPDATED', (data) => JSON.stringify(data).includes('work'));
    await rest('recentcontact/update_contact_group', { From_Account, UpdateType: 1, UpdateGroup: { UpdateGroupType: 1, OldGroupName: 'work', NewGroupName: 'job' } });
    const grown = await rest('recentcontact/update_contact_group', { From_Account, UpdateType: 1, UpdateGroup: { UpdateGroupType: 2, OldGroupName: 'job', ContactUpdateItem: [{ ContactOptType: 1, ContactItem: aboutCat }] } });
    assert.equal(grown.UpdateGroupResult.ContactResultItem[0].ResultCode, 0);
    await me.waitFor('CONVERSATION_LIST_UPDATED', (list) => list.filter((c) => c.conversationGroupList.includes('job')).length === 2);
    const found = await rest('recentcontact/search_contact_group', { From_Account, ContactItem: [aboutBen, aboutCat] });
    assert.deepEqual(found.GroupItem, [{ GroupId, GroupName: 'job' }]);
    assert.deepEqual(found.ContactResultItem.map((c) => [c.To_Account, c.ContactGroupId, c.StandardMark.at(-1), c.CustomMark]), [[ben.userID, [GroupId], '1', 'note'], [cat.userID, [GroupId], '0', '']]);
    const got = await rest('recentcontact/get_contact_group', { From_Account, StartIndex: 0 });
    assert.deepEqual([got.CompleteFlag, got.GroupItem, got.ContactItem.map((c) => c.To_Account).sort()], [1, [{ GroupId, GroupName: 'job' }], [ben.userID, cat.userID].sort()]);
    const since = me.mark();
    assert.deepEqual((await rest('recentcontact/del_contact_group', { From_Account, GroupName: ['job'] })).GroupItem, [{ GroupId, GroupName: 'job' }]);
    await me.waitFor('CONVERSATION_GROUP_LIST_UPDATED', (data) => !JSON.stringify(data).includes('job'), { since });

    await rest('recentcontact/delete', { From_Account, ...aboutBen, ClearRamble: 1 });
    assert.deepEqual((await listed()).SessionItem.map((i) => i.To_Account), [cat.userID]);
    const later = await world.device(me);
    await later.waitFor('CONVERSATION_LIST_UPDATED', (list) => list.length === 1);
    assert.deepEqual((await later.sdk.getMessageList({ conversationID: c2c(ben) })).data.messageList, []);
    assert.equal((await ben.sdk.getMessageList({ conversationID: c2c(me) })).data.messageList.length, 1);
    for (const [name, body] of [['get_list', start], ['delete', aboutBen], ['mark_contact', { MarkItem: [] }]]) {
      assert.notEqual((await world.rest()(`recentcontact/${name}`, { From_Account: world.id('nobody'), ...body })).ErrorCode, 0, name);
    }
  });
});
