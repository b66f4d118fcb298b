// Rules of groups that apps rely on without naming them (protocol 03 §2, §14, §20): who sees what, what counts as
// unread, what is done once, what is heard of after being away.
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

const notice = (group, operation) => (m) => m.type === 'TIMGroupSystemNoticeElem' && m.payload.groupProfile.groupID === group && m.payload.operationType === operation;
const tip = (group, operation) => (m) => m.type === 'TIMGroupTipElem' && m.to === group && m.payload.operationType === operation;
const say = (user, id, text, options = {}) => user.send('Text', id, { text }, { group: true, ...options });
const hears = (user, text, options) => user.waitForMessage((m) => m.payload.text === text, options);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A group of the first user with the others, who have heard of it. */
async function team(type, [owner, ...members], extra = {}) {
  const { data } = await owner.sdk.createGroup({ type, name: 'Team', memberList: members.map((m) => ({ userID: m.userID })), ...extra });
  const { groupID } = data.group;
  for (const m of members) await m.waitForGroup(groupID);
  return groupID;
}

/** All texts of the history, oldest first; what else there is in braces. Right after a login v3 asks for the newest page by
 *  itself, and a list asked for meanwhile is empty. */
async function history(user, groupID) {
  const first = async () => (await user.sdk.getMessageList({ conversationID: `GROUP${groupID}` })).data.messageList;
  await until(async () => (await first()).length > 0, { what: 'a page of history' });
  const all = [];
  for (let next = '', done = false, pages = 0; !done; pages++) {
    assert.ok(pages < 10, 'paging ends');
    const { data } = await user.sdk.getMessageList({ conversationID: `GROUP${groupID}`, nextReqMessageID: next });
    all.unshift(...data.messageList);
    [next, done] = [data.nextReqMessageID, data.isCompleted];
  }
  return all.map((m) => m.payload.text ?? `{${m.type}}`);
}

const unreadOf = async (user, groupID) => (await user.sdk.getConversationProfile(`GROUP${groupID}`)).data.conversation.unreadCount;

engines('group rules', { env: { IMSERVER_MAX_WEB_INSTANCES: '3' }, timeout: 90000 }, ({ test }) => {
  test('newcomers see what was said before where the kind lets them, and have nothing unread', async (world) => {
    const [alice] = await world.users('alice');
    for (const [type, sees] of [['Private', false], ['Public', false], ['ChatRoom', true], ['Community', true]]) {
      const groupID = await team(type, [alice], type === 'Public' ? { joinOption: 'FreeAccess' } : {});
      for (const text of ['one', 'two']) await say(alice, groupID, text);
      const bob = await world.user('bob', { node: 1 });
      await bob.login();
      if (type === 'Private') {
        await alice.sdk.addGroupMember({ groupID, userIDList: [bob.userID] });
        await bob.waitForGroup(groupID);
      } else {
        assert.equal((await bob.sdk.joinGroup({ groupID, type })).data.status, 'JoinedSuccess');
      }
      const fresh = await world.device(bob);
      await until(async () => (await fresh.sdk.getGroupList()).data.groupList.some((g) => g.groupID === groupID), { what: `${type} in the list` });
      await say(alice, groupID, 'three');
      await hears(fresh, 'three');
      const texts = (await history(await world.device(bob), groupID)).filter((t) => !t.startsWith('{'));
      assert.deepEqual(texts, sees ? ['one', 'two', 'three'] : ['three'], type);
      // The tip of the own coming counts where somebody else brought it about.
      await until(async () => (await unreadOf(fresh, groupID)) === ({ ChatRoom: 0, Private: 2, Public: 1, Community: 1 })[type], { what: `unread in ${type}` });
    }
  });

  test('a meeting counts nothing as unread, now and after a login', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const groupID = await team('ChatRoom', [alice, bob]);
    for (const text of ['one', 'two']) await say(alice, groupID, text);
    await hears(bob, 'two');
    assert.equal(await unreadOf(bob, groupID), 0);
    const fresh = await world.device(bob);
    await until(async () => (await fresh.sdk.getConversationList()).data.conversationList.some((c) => c.conversationID === `GROUP${groupID}`), { what: 'the conversation' });
    assert.equal(await unreadOf(fresh, groupID), 0);
  });

  test('a tip is unread for the others and not for who caused it, now and after a login', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const groupID = await team('Public', [alice, bob]);
    await say(alice, groupID, 'hello');
    await hears(bob, 'hello');
    for (const u of [alice, bob]) await u.sdk.setMessageRead({ conversationID: `GROUP${groupID}` });
    await until(async () => (await unreadOf(bob, groupID)) === 0, { what: 'all read' });
    await alice.sdk.updateGroupProfile({ groupID, notification: 'news' });
    for (const u of [alice, bob]) await u.waitForMessage(tip(groupID, 6));
    const counts = async (devices) => Promise.all(devices.map((u) => unreadOf(u, groupID)));
    await until(async () => `${await counts([alice, bob])}` === '0,1', { what: '0 unread at alice, 1 at bob' });
    const later = [await world.device(alice), await world.device(bob)];
    await until(async () => `${await counts(later)}` === '0,1', { what: '0 unread at alice, 1 at bob, after a login' });
  });

  test('the creation\'s message is the client\'s, comes first and once; forward hopping ends', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const groupID = await team('Public', [alice, bob]);
    const created = await bob.waitForMessage((m) => m.to === groupID && m.type === 'TIMCustomElem');
    assert.equal(created.sequence, 1);
    for (let i = 0; i < 7; i++) await say(alice, groupID, `${i}`);
    await hears(bob, '6');
    const fresh = await world.device(bob);
    assert.deepEqual(await history(fresh, groupID), ['{TIMCustomElem}', '0', '1', '2', '3', '4', '5', '6']);
    const seen = [];
    let sequence = 3;
    for (let done = false, pages = 0; !done; pages++) {
      assert.ok(pages < 6, 'it ends');
      const { data } = await fresh.sdk.getMessageListHopping({ conversationID: `GROUP${groupID}`, sequence, count: 3, direction: 1 });
      seen.push(...data.messageList.map((m) => m.payload.text));
      [sequence, done] = [data.nextMessageSeq ?? data.messageList.at(-1)?.sequence + 1, data.isCompleted];
    }
    assert.deepEqual([...new Set(seen)], ['1', '2', '3', '4', '5', '6']);
  });

  test('attributes: members hear the values and do not read again; who knows an old state only is refused until it reads', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const groupID = await team('Public', [alice, bob]);
    await bob.sdk.getGroupAttributes({ groupID, keyList: [] });
    const from = bob.frames.length;
    await alice.sdk.initGroupAttributes({ groupID, groupAttributes: { a: '1', b: '1' } });
    for (const value of ['2', '3']) await alice.sdk.setGroupAttributes({ groupID, groupAttributes: { a: value } });
    await alice.sdk.deleteGroupAttributes({ groupID, keyList: ['b'] });
    await bob.waitFor('GROUP_ATTRIBUTES_UPDATED', (d) => JSON.stringify(d.groupAttributes) === '{"a":"3"}');
    assert.deepEqual(bob.frames.slice(from).filter((f) => f.out && f.head.servcmd.endsWith('.get_group_attr')), [], 'one step a write: nobody reads again');
    const fresh = await world.device(bob); // knows of nothing
    await assert.rejects(fresh.sdk.initGroupAttributes({ groupID, groupAttributes: { c: '1' } }), { code: 10056 });
    assert.deepEqual((await fresh.sdk.getGroupAttributes({ groupID, keyList: [] })).data.groupAttributes, { a: '3' });
    await sleep(1000); // another second: five writes are the limit of one
    await fresh.sdk.initGroupAttributes({ groupID, groupAttributes: { c: '1' } });
    await bob.waitFor('GROUP_ATTRIBUTES_UPDATED', (d) => JSON.stringify(d.groupAttributes) === '{"c":"1"}');
  });

  test('who was away finds every notice that concerned them', async (world) => {
    const [alice, bob, carol] = await world.users('alice', 'bob', 'carol');
    const asking = await team('Public', [bob, alice]);
    const ours = await team('Public', [alice, bob]);
    const gone = await team('Public', [alice, bob]);
    const mine = await team('Public', [alice]);
    const hers = await team('Public', [alice]);
    for (const groupID of [mine, hers]) await bob.sdk.joinGroup({ groupID, type: 'Public', applyMessage: 'please' });
    const [yes, no] = await Promise.all([mine, hers].map((groupID) => alice.waitForMessage(notice(groupID, 1))));
    await bob.leave();
    await carol.sdk.joinGroup({ groupID: asking, type: 'Public', applyMessage: 'let me in' }); // 1
    await alice.sdk.handleGroupApplication({ handleAction: 'Agree', handleMessage: 'yes', message: yes }); // 2
    await alice.sdk.handleGroupApplication({ handleAction: 'Reject', handleMessage: 'no', message: no }); // 3
    await alice.sdk.dismissGroup(gone); // 5
    await alice.sdk.setGroupMemberRole({ groupID: ours, userID: bob.userID, role: 'Admin' }); // 9
    await alice.sdk.setGroupMemberRole({ groupID: ours, userID: bob.userID, role: 'Member' }); // 10
    await world.rest()('group_open_http_svc/send_group_system_notification', { GroupId: ours, Content: 'maintenance', ToMembers_Account: [bob.userID] }); // 255
    await alice.sdk.deleteGroupMember({ groupID: ours, userIDList: [bob.userID] }); // 4
    const back = world.user(bob.userID, { exact: true });
    await back.login();
    const want = [[asking, 1], [mine, 2], [hers, 3], [gone, 5], [ours, 9], [ours, 10], [ours, 4]];
    const found = await until(async () => {
      const { data } = await back.sdk.getMessageList({ conversationID: '@TIM#SYSTEM' });
      return want.every(([groupID, type]) => data.messageList.some(notice(groupID, type))) && data.messageList;
    }, { what: 'the notices' });
    assert.equal(found.find(notice(mine, 2)).payload.handleMessage, 'yes');
    const asked = found.find(notice(asking, 1));
    await back.sdk.handleGroupApplication({ handleAction: 'Agree', handleMessage: 'come in', message: asked });
    await carol.waitForMessage(notice(asking, 2));
  });

  test('a mute in a topic holds in this topic alone, and its member is told', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const groupID = (await alice.sdk.createGroup({ type: 'Community', name: 'Town', isSupportTopic: true, memberList: [{ userID: bob.userID }] })).data.group.groupID;
    await until(async () => (await bob.sdk.getJoinedCommunityList()).data.groupList.some((g) => g.groupID === groupID), { what: 'the community at bob' });
    const topics = [];
    for (const topicName of ['one', 'two']) topics.push((await alice.sdk.createTopicInCommunity({ groupID, topicName })).data.topicID);
    await bob.waitFor('TOPIC_CREATED', (d) => d.topicID === topics[1]);
    const mutedUntil = async () => (await bob.sdk.getTopicList({ groupID, topicIDList: [topics[0]] })).data.successTopicList[0].selfInfo.muteTime;
    await mutedUntil();
    await world.rest()('group_open_http_svc/forbid_send_msg', { GroupId: groupID, TopicId: topics[0], Members_Account: [bob.userID], MuteTime: 600 });
    await until(async () => (await mutedUntil()) > 0, { what: 'the mute in the topic that bob knows' });
    await assert.rejects(say(bob, topics[0], 'psst'), { code: 10017 });
    await say(bob, topics[1], 'elsewhere');
    await hears(alice, 'elsewhere');
  });

  test('what is sent again because its answer was lost is done once', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    /** Does it with the first answer lost and the socket cut. */
    const twice = async (user, command, fn) => {
      await sleep(1200); // the SDK reconnects at once only if its socket was open for a second
      const from = user.frames.length;
      await user.network.lose(`group_open_http_svc.${command}`, 1, true);
      const result = await fn();
      assert.equal(user.frames.slice(from).filter((f) => f.out && f.head.servcmd.endsWith(`.${command}`)).length, 2, `${command} was sent again`);
      return result;
    };
    const groupID = world.id('team');
    await twice(alice, 'create_group', () => alice.sdk.createGroup({ type: 'Public', groupID, name: 'Team', joinOption: 'FreeAccess' }));
    assert.equal((await twice(bob, 'apply_join_group', () => bob.sdk.joinGroup({ groupID, type: 'Public' }))).data.status, 'JoinedSuccess');
    await alice.waitForMessage(tip(groupID, 1));
    const counted = await twice(alice, 'update_group_counter', () => alice.sdk.increaseGroupCounter({ groupID, key: 'n', value: 1 }));
    assert.equal(counted.data.counters.n, 1);
    const sent = await twice(alice, 'send_group_msg', () => say(alice, groupID, 'once'));
    await bob.waitForMessage((m) => m.ID === sent.ID);
    await twice(bob, 'quit_group', () => bob.sdk.quitGroup(groupID));
    await alice.waitForMessage(tip(groupID, 2));
    await alice.sdk.updateGroupProfile({ groupID, joinOption: 'NeedPermission' });
    await bob.sdk.joinGroup({ groupID, type: 'Public', applyMessage: 'again' });
    const asked = await alice.waitForMessage(notice(groupID, 1));
    await twice(alice, 'handle_apply_join_group', () => alice.sdk.handleGroupApplication({ handleAction: 'Agree', message: asked }));
    await bob.waitForMessage(notice(groupID, 2));
    await twice(alice, 'delete_group_member', () => alice.sdk.deleteGroupMember({ groupID, userIDList: [bob.userID] }));
    await bob.waitForMessage(notice(groupID, 4));
    await twice(alice, 'destroy_group', () => alice.sdk.dismissGroup(groupID));
    const done = alice.received().filter((m) => m.to === groupID && m.type === 'TIMGroupTipElem').map((m) => m.payload.operationType);
    assert.deepEqual(done, [1, 2, 6, 1, 3]);
    assert.equal(bob.received().filter((m) => m.payload.text === 'once').length, 1);
  });

  test('who may invite is told to everybody when it changes', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const groupID = await team('Public', [alice, bob]);
    await alice.sdk.updateGroupProfile({ groupID, inviteOption: 'FreeAccess' });
    assert.equal((await bob.waitForMessage(tip(groupID, 6))).payload.newGroupProfile.inviteOption, 'FreeAccess');
    await until(async () => (await bob.sdk.getGroupList()).data.groupList.find((g) => g.groupID === groupID).inviteOption === 'FreeAccess', { what: 'the option in the list' });
    const carol = world.user('carol');
    await carol.login();
    assert.deepEqual((await bob.sdk.addGroupMember({ groupID, userIDList: [carol.userID] })).data.successUserIDList, [carol.userID]);
    await carol.waitForGroup(groupID);
  });
});
