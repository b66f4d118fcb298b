// Live rooms by long polling (protocol 03 §13.3), also for visitors without an account, in rooms where others get pushes.
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

const tip = (room, operation) => (m) => m.type === 'TIMGroupTipElem' && m.to === room && m.payload.operationType === operation;
const text = (room, words) => (m) => m.type === 'TIMTextElem' && m.to === room && m.payload.text === words;
const texts = (user, room, since) => user.received(since).filter((m) => m.type === 'TIMTextElem' && m.to === room).map((m) => m.payload.text);
const say = (user, groupID, words, options) => user.send('Text', groupID, { text: words }, { group: true, ...options });
const poll = 'group_open_long_polling_http_svc.get_msg';
const unnamedPoll = 'group_open_long_polling_http_noauth_svc.get_msg';

async function room(users) {
  const { data } = await users[0].sdk.createGroup({ type: 'AVChatRoom', name: 'Live' });
  const { groupID } = data.group;
  for (const user of users) await user.sdk.joinGroup({ groupID });
  return groupID;
}

const env = { IMSERVER_LIVE_ROOMS_DELIVERY: 'polling', IMSERVER_LIVE_ROOMS_ANONYMOUS_JOIN: 'true', IMSERVER_LIVE_ROOMS_BROADCAST_RATE: '0' };

engines('live rooms: polling', { nodes: 3, env, timeout: 90000 }, ({ test }) => {
  test('both SDK generations poll, see everything once, and go on after a reconnect', async (world) => {
    const [owner, ann] = await world.users('owner', 'ann');
    const old = world.user('old', { node: 2, generation: 'v2' });
    await old.login();
    const id = await room([owner, ann, old]);
    await say(owner, id, 'hello');
    for (const user of [ann, old]) {
      const got = await user.waitForMessage(text(id, 'hello'));
      assert.equal(got.nick, '');
      assert.ok(user.frames.some((f) => f.out && f.head.servcmd === poll));
      assert.equal(user.frames.some((f) => !f.out && f.head?.servcmd === 'im_open_push.msg_push' && JSON.stringify(f.body).includes('"GroupMsgArray"')), false, 'no push besides');
    }
    await owner.waitForMessage((m) => tip(id, 1)(m) && m.payload.userIDList.includes(old.userID));
    await ann.sdk.initGroupAttributes({ groupID: id, groupAttributes: { a: '1' } });
    await old.waitFor('GROUP_ATTRIBUTES_UPDATED', (d) => d.groupAttributes.a === '1');
    await owner.sdk.setGroupCounters({ groupID: id, counters: { likes: 2 } });
    await ann.waitFor('GROUP_COUNTER_UPDATED', (d) => d.key === 'likes' && d.value === 2);
    const mistake = await say(ann, id, 'oops');
    await owner.waitForMessage(text(id, 'oops'));
    await ann.sdk.revokeMessage(mistake);
    await owner.waitFor('MESSAGE_REVOKED', (list) => list.some((m) => m.ID === mistake.ID));
    // v2 reads recalls neither from pushes nor from answers.

    await ann.network.goOffline();
    for (let i = 0; i < 10; i++) await say(owner, id, `missed ${i}`);
    await ann.network.goOnline();
    await ann.waitForMessage(text(id, 'missed 9'), { timeout: 25000 });
    await say(owner, id, 'after');
    await ann.waitForMessage(text(id, 'after'));
    assert.deepEqual(texts(ann, id), ['hello', ...Array.from({ length: 10 }, (_, i) => `missed ${i}`), 'after']);

    await old.sdk.quitGroup(id);
    await owner.waitForMessage((m) => tip(id, 2)(m) && m.payload.userIDList.includes(old.userID));
    await owner.sdk.dismissGroup(id);
    await ann.waitForMessage((m) => m.type === 'TIMGroupSystemNoticeElem' && m.payload.operationType === 5);
  });

  test('a poll is held for ten seconds at most, and answered at once when there is news', async (world) => {
    const [owner] = await world.users('owner');
    const id = await room([owner]);
    const ann = await world.raw({ login: world.id('ann'), node: 1 });
    const joined = await ann.request('group_open_http_svc.apply_join_group', { GroupId: id });
    assert.equal(joined.HugeGroupFlag, 1);
    const first = await ann.request(poll, { Key: joined.LongPollingKey, StartSeq: joined.StartSeq, HoldTime: 90 });
    assert.ok(first.NextSeq > joined.StartSeq, 'the tip of its own coming');
    const began = Date.now();
    const nothing = await ann.request(poll, { Key: first.Key, StartSeq: first.NextSeq, HoldTime: 90 }, { timeout: 14000 });
    assert.deepEqual([nothing.ErrorCode, nothing.NextSeq, nothing.RspMsgList], [0, first.NextSeq, []]);
    assert.ok(Date.now() - began >= 9000);
    const waiting = ann.request(poll, { Key: first.Key, StartSeq: first.NextSeq, HoldTime: 90 });
    const sent = await say(owner, id, 'news');
    const news = await waiting;
    assert.deepEqual(news.RspMsgList.map((m) => [m.Event, m.MsgSeq, m.ToGroupId]), [[3, sent.sequence, id]]);
    assert.equal(news.NextSeq, sent.sequence + 1);
    // The same again: nothing is used up by being read.
    const again = await ann.request(poll, { Key: first.Key, StartSeq: first.NextSeq });
    assert.deepEqual(again.RspMsgList, news.RspMsgList);
    for (const [bad, request] of Object.entries({ key: { Key: 'x', StartSeq: 1 }, foreign: { Key: joined.LongPollingKey.replace(/^./, 'X'), StartSeq: 1 }, seq: { Key: first.Key, StartSeq: -1 } })) {
      assert.equal((await ann.request(poll, request)).ErrorCode, 10004, bad);
    }
    const ben = await world.raw({ login: world.id('ben') });
    assert.equal((await ben.request(poll, { Key: first.Key, StartSeq: 1 })).ErrorCode, 10004, "somebody else's key");
  });

  test('who polls again with its key gets what was said before', async (world) => {
    const [owner] = await world.users('owner');
    const id = await room([owner]);
    for (let i = 0; i < 3; i++) await say(owner, id, `early ${i}`);
    const ann = await world.raw({ login: world.id('ann'), node: 1 });
    const joined = await ann.request('group_open_http_svc.apply_join_group', { GroupId: id });
    const earlier = (body) => ann.request('group_open_http_svc.get_huge_group_msg', { GroupId: id, LongPollingKey: joined.LongPollingKey, ...body });
    const words = (answer) => answer.RspMsgList.map((m) => m.MsgBody[0].MsgContent.Text);
    const all = await earlier({ PullPreSeq: joined.StartSeq });
    assert.deepEqual(words(all), ['early 0', 'early 1', 'early 2']);
    assert.deepEqual(words(await earlier({ PullPreSeq: all.RspMsgList[1].MsgSeq })), ['early 0']);
    assert.deepEqual(words(await earlier({ PullPreSeq: 1 })), words(all), 'from an SDK that knows no sequence');
    assert.equal((await earlier({ LongPollingKey: 'x', PullPreSeq: 1 })).ErrorCode, 10004);
    const ben = await world.raw({ login: world.id('ben') });
    assert.equal((await ben.request('group_open_http_svc.get_huge_group_msg', { GroupId: id, LongPollingKey: joined.LongPollingKey, PullPreSeq: 1 })).ErrorCode, 10004);

    // The SDK's own way: an app hands it a key.
    const cid = world.user('cid', { node: 2 });
    await cid.login();
    const key = (await cid.sdk.joinGroup({ groupID: id }), cid.frames.find((f) => !f.out && f.head.servcmd === 'group_open_http_svc.apply_join_group').body.LongPollingKey);
    const again = world.user(cid.userID, { node: 0, exact: true });
    await again.login();
    await again.sdk.callExperimentalAPI('startMessageLongPolling', { groupID: id, longPollingKey: key });
    await again.waitForMessage(text(id, 'early 2'));
    await say(owner, id, 'late');
    await again.waitForMessage(text(id, 'late'));
    assert.deepEqual(texts(again, id), ['early 0', 'early 1', 'early 2', 'late'], 'each once, in order');
  });

  test('reactions do not disturb who polls', async (world) => {
    const [owner, ann] = await world.users('owner', 'ann');
    const id = await room([owner, ann]);
    const sent = await say(owner, id, 'like this');
    const got = await ann.waitForMessage(text(id, 'like this'));
    await ann.sdk.addMessageReaction(got, 'smile');
    await say(owner, id, 'after');
    await ann.waitForMessage(text(id, 'after'));
    const { data } = await owner.sdk.getMessageReactions({ messageList: [sent], maxUserCountPerReaction: 10 });
    assert.deepEqual(data.resultList[0].reactionList.map((r) => [r.reactionID, r.totalUserCount]), [['smile', 1]]);
  });

  test('visitors without an account watch, and can do nothing else', async (world) => {
    const [owner] = await world.users('owner');
    const id = await room([owner]);
    const visitor = world.user('visitor', { node: 1 });
    await visitor.started;
    assert.equal((await visitor.sdk.joinGroup({ groupID: id })).data.status, 'JoinedSuccess');
    await visitor.waitForFrame((f) => f.out && f.head.servcmd === unnamedPoll);
    await say(owner, id, 'for all');
    await visitor.waitForMessage(text(id, 'for all'));
    await until(async () => (await world.rest()('group_open_http_svc/get_online_member_num', { GroupId: id })).OnlineMemberNum === 2, { what: 'the visitor counts' });
    const list = await world.rest()('group_open_avchatroom_http_svc/get_members', { GroupId: id, Timestamp: 0 });
    assert.deepEqual(list.MemberList.map((m) => m.Member_Account), [owner.userID]);
    const { data } = await owner.sdk.createGroup({ type: 'Public', name: 'closed' });
    const raw = await world.raw();
    const refused = await raw.request('group_open_http_noauth_svc.apply_join_group', { GroupId: data.group.groupID });
    assert.equal(refused.ErrorCode, 10007);
    assert.notEqual((await raw.request('group_open_http_svc.send_group_msg', { GroupId: id, Random: 1, MsgBody: [] })).ErrorCode, 0);
  });

  test('a broadcast reaches everybody who watches any room of the app', async (world) => {
    const [owner, ann] = await world.users('owner', 'ann');
    const [first, second] = [await room([owner]), await room([ann])];
    for (const [user, id] of [[owner, first], [ann, second]]) {
      await say(user, id, 'here');
      await user.waitForFrame((f) => f.out && f.head.servcmd === poll && f.body.StartBroadcastSeq > 0, { timeout: 20000 });
    }
    const body = { Random: 7, MsgBody: [{ MsgType: 'TIMTextElem', MsgContent: { Text: 'to all' } }] };
    const sent = await world.rest()('group_open_http_svc/send_broadcast_msg', body);
    assert.ok(sent.MsgSeq > 0);
    for (const [user, id] of [[owner, first], [ann, second]]) {
      await user.waitForMessage((m) => m.payload.text === 'to all' && m.conversationID === `GROUP${id}`, { timeout: 15000 });
    }
    const before = owner.received().filter((m) => m.payload.text === 'to all').length;
    assert.equal(before, 1);
  });
});

engines('live rooms: both ways', { nodes: 3, env: { ...env, IMSERVER_LIVE_ROOMS_DELIVERY: 'websocket' }, timeout: 60000 }, ({ test }) => {
  test('watchers by push, of both SDK generations, and visitors who poll have the same events, sequences and IDs', async (world) => {
    const [owner, ann] = await world.users('owner', 'ann');
    const old = world.user('old', { node: 2, generation: 'v2' });
    await old.login();
    const id = await room([owner, ann, old]);
    const visitor = world.user('visitor', { node: 2 });
    await visitor.started;
    await visitor.sdk.joinGroup({ groupID: id });
    await visitor.waitForFrame((f) => f.out && f.head.servcmd === unnamedPoll);
    const sent = [];
    for (let i = 0; i < 5; i++) sent.push(await say([owner, ann, old][i % 3], id, `line ${i}`));
    const facts = (m) => [m.ID, m.sequence, m.time, m.from, m.payload.text];
    const lines = (user) => user.received().filter((m) => m.type === 'TIMTextElem' && m.to === id).map(facts);
    for (const user of [owner, ann, old, visitor]) {
      const others = sent.filter((m) => m.from !== user.userID).map(facts);
      await until(() => lines(user).length >= others.length, { what: `the lines at ${user.userID}` });
      assert.deepEqual(lines(user), others, user.userID);
    }
    assert.equal([owner, ann, old].some((user) => user.frames.some((f) => f.out && f.head.servcmd === poll)), false, 'who is pushed does not poll');
  });
});

engines('live rooms: short polls', { nodes: 3, env: { ...env, IMSERVER_CLOUD_CONFIG: 'polling_simplified_msg=1' }, timeout: 60000 }, ({ test }) => {
  test('SDKs of both generations understand answers with short names', async (world) => {
    const [owner, ann] = await world.users('owner', 'ann');
    await owner.sdk.updateMyProfile({ nick: 'Owner' });
    const old = world.user('old', { node: 2, generation: 'v2' });
    await old.login();
    const id = await room([owner, ann, old]);
    const sent = await say(owner, id, 'hello');
    const rich = await owner.send('Custom', id, { data: 'd', description: '', extension: '' }, { group: true, cloudCustomData: 'cloud' });
    for (const user of [ann, old]) {
      const got = await user.waitForMessage(text(id, 'hello'));
      assert.deepEqual([got.ID, got.sequence, got.time, got.from, got.nick], [sent.ID, sent.sequence, sent.time, owner.userID, 'Owner']);
      const custom = await user.waitForMessage((m) => m.ID === rich.ID);
      assert.deepEqual([custom.payload, custom.cloudCustomData], [{ data: 'd', description: '', extension: '' }, 'cloud']);
      const answers = user.frames.filter((f) => !f.out && f.head.servcmd === poll).flatMap((f) => f.body.RspMsgList ?? []);
      assert.ok(answers.length > 0 && answers.every((item) => item.E && item.MS && !item.Event && !item.GroupInfo), 'short names only');
    }
    await owner.waitForMessage((m) => tip(id, 1)(m) && m.payload.userIDList.includes(old.userID) && m.payload.memberList[0].userID === old.userID);
    await owner.sdk.updateGroupProfile({ groupID: id, name: 'Live 2' });
    for (const user of [ann, old]) await user.waitForMessage((m) => tip(id, 6)(m) && m.payload.newGroupProfile?.groupName === 'Live 2' && m.payload.operatorID === owner.userID);
    await ann.sdk.initGroupAttributes({ groupID: id, groupAttributes: { a: '1' } });
    for (const user of [owner, old]) await user.waitFor('GROUP_ATTRIBUTES_UPDATED', (d) => d.groupAttributes.a === '1');
    await owner.sdk.revokeMessage(sent);
    await ann.waitFor('MESSAGE_REVOKED', (list) => list.some((m) => m.ID === sent.ID));
    assert.equal((await ann.sdk.getGroupOnlineMemberCount(id)).data.memberCount, 3);
    await world.rest()('group_open_http_svc/send_group_system_notification', { GroupId: id, Content: 'attention' });
    await world.rest()('group_open_http_svc/send_broadcast_msg', { Random: 7, MsgBody: [{ MsgType: 'TIMTextElem', MsgContent: { Text: 'to all' } }] });
    for (const user of [ann, old]) {
      await user.waitForMessage((m) => m.type === 'TIMGroupSystemNoticeElem' && m.payload.operationType === 255 && m.payload.userDefinedField === 'attention');
      await user.waitForMessage((m) => m.payload.text === 'to all' && m.conversationID === `GROUP${id}`, { timeout: 20000 });
    }
    await owner.sdk.dismissGroup(id);
    for (const user of [ann, old]) await user.waitForMessage((m) => m.type === 'TIMGroupSystemNoticeElem' && m.payload.operationType === 5 && m.payload.groupProfile.groupID === id);
  });
});
