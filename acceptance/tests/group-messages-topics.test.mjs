// Messages in the topics of a community, online-only messages and the rate limit (protocol 03 §11, §12.1).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

const say = (user, id, text, options = {}) => user.send('Text', id, { text }, { group: true, ...options });
const hears = (user, text, options) => user.waitForMessage((m) => m.payload.text === text, options);

/** A community with topics, and one topic, that the others have heard of. */
async function community([owner, ...members]) {
  const { data } = await owner.sdk.createGroup({ type: 'Community', name: 'Town', isSupportTopic: true, memberList: members.map((m) => ({ userID: m.userID })) });
  const id = data.group.groupID;
  for (const m of members) await m.waitForFrame((f) => !f.out && JSON.stringify(f.body).includes('"ReportType":7'));
  const since = members.map((m) => m.mark());
  const topic = (await owner.sdk.createTopicInCommunity({ groupID: id, topicName: 'Square' })).data.topicID;
  for (const [i, m] of members.entries()) await m.waitFor('TOPIC_CREATED', (d) => d.topicID === topic, { since: since[i] });
  return { id, topic };
}

const topicOf = async (user, id, topic) => (await user.sdk.getTopicList({ groupID: id, topicIDList: [topic] })).data.successTopicList[0];

engines('messages of topics', { env: { IMSERVER_MAX_WEB_INSTANCES: '3' } }, ({ test }) => {
  test('a topic has a sequence, history and unread count of its own', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const { id, topic } = await community([alice, bob]);
    const other = (await alice.sdk.createTopicInCommunity({ groupID: id, topicName: 'Park' })).data.topicID;
    for (let i = 1; i <= 3; i++) await say(alice, topic, `square ${i}`);
    await say(alice, other, 'park 1');
    await hears(bob, 'park 1');
    await hears(bob, 'square 3');
    const got = bob.received().filter((m) => m.payload.text?.startsWith('square'));
    assert.deepEqual(got.map((m) => [m.payload.text, m.sequence, m.conversationID]), [1, 2, 3].map((n) => [`square ${n}`, n, `GROUP${topic}`]));
    const fresh = await world.device(bob);
    await until(async () => (await topicOf(fresh, id, topic)).unreadCount === 3, { what: '3 unread in the topic' });
    assert.equal((await topicOf(fresh, id, other)).unreadCount, 1);
    let list = [];
    await until(async () => (list = (await fresh.sdk.getMessageList({ conversationID: `GROUP${topic}` })).data.messageList).length > 0, { what: 'history' });
    assert.deepEqual(list.map((m) => m.payload.text), ['square 1', 'square 2', 'square 3']);
    await fresh.sdk.setMessageRead({ conversationID: `GROUP${topic}` });
    const third = await world.device(bob);
    await until(async () => (await topicOf(third, id, topic)).unreadCount === 0, { what: 'the topic read' });
  });

  test('what is said right after somebody was added is heard, in order', async (world) => {
    const owner = await world.raw({ login: world.id('owner') });
    const guest = await world.raw({ node: 1, login: world.id('guest') });
    let random = 1000;
    const seqs = (where) => guest.pushes.flatMap((f) => f.body.EventArray ?? []).filter((e) => e.GroupMsgArray?.[0] && (e.GroupMsgArray[0].GroupInfo.TopicId ?? e.GroupMsgArray[0].ToGroupId) === where).map((e) => e.GroupMsgArray[0].MsgSeq);
    const speak = async (service, where, times) => {
      for (let i = 0; i < times; i++) {
        random++;
        const answer = await owner.request(`${service}.send_group_msg`, { ...where, Random: random, ClientSeq: random, MsgClientTime: 1, MsgBody: [{ MsgType: 'TIMTextElem', MsgContent: { Text: `${i}` } }] });
        assert.equal(answer.ErrorCode, 0, JSON.stringify(answer));
      }
    };
    const guestList = { MemberList: [{ Member_Account: guest.userID }] };
    const heard = [];
    for (let round = 0; round < 6; round++) {
      const { GroupId } = await owner.request('group_open_http_svc.create_group', { Type: 'ChatRoom', Name: 'x', ...guestList });
      await speak('group_open_http_svc', { GroupId }, 3);
      const later = (await owner.request('group_open_http_svc.create_group', { Type: 'ChatRoom', Name: 'x' })).GroupId;
      await speak('group_open_http_svc', { GroupId: later }, 2);
      await owner.request('group_open_http_svc.add_group_member', { GroupId: later, ...guestList });
      await speak('group_open_http_svc', { GroupId: later }, 2);
      const million = 'million_group_open_http_svc';
      const community = (await owner.request(`${million}.create_group`, { Type: 'Community', Name: 'x', SupportTopic: 1 })).GroupId;
      const { TopicId } = await owner.request(`${million}.create_topic`, { GroupId: community, TopicName: 't' });
      await speak(million, { GroupId: community, TopicId }, 1);
      await owner.request(`${million}.add_group_member`, { GroupId: community, ...guestList });
      await speak(million, { GroupId: community, TopicId }, 2);
      heard.push([GroupId, [1, 2, 3]], [later, [3, 4]], [TopicId, [2, 3]]);
    }
    for (const [where, want] of heard) {
      await until(() => seqs(where).length >= want.length, { what: `${want} of ${where}` });
      assert.deepEqual(seqs(where), want, where);
    }
  });

  test('a recall in a topic reaches its members', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const { topic } = await community([alice, bob]);
    const sent = await say(alice, topic, 'oops');
    await hears(bob, 'oops');
    await alice.sdk.revokeMessage(sent);
    await bob.waitFor('MESSAGE_REVOKED', (list) => list.some((m) => m.ID === sent.ID));
  });

  test('an online-only message is heard and not kept', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const { data } = await alice.sdk.createGroup({ type: 'Public', name: 'Team', memberList: [{ userID: bob.userID }] });
    const id = data.group.groupID;
    await bob.waitForGroup(id);
    await say(alice, id, 'typing', { sendOptions: { onlineUserOnly: true } });
    await hears(bob, 'typing');
    await say(alice, id, 'typed');
    await hears(bob, 'typed');
    const fresh = await world.device(bob);
    let list = [];
    await until(async () => (list = (await fresh.sdk.getMessageList({ conversationID: `GROUP${id}` })).data.messageList).length > 0, { what: 'history' });
    assert.deepEqual(list.map((m) => m.payload.text).filter(Boolean), ['typed']);
  });
});

engines('group rate limit', { env: { IMSERVER_GROUP_RATE: '5' } }, ({ test }) => {
  test('over the limit the sender is told success, and nothing is delivered, stored or numbered', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const { data } = await alice.sdk.createGroup({ type: 'Public', name: 'Team', memberList: [{ userID: bob.userID }] });
    const id = data.group.groupID;
    await bob.waitForGroup(id);
    const began = Date.now();
    const results = await Promise.allSettled(Array.from({ length: 40 }, (_, i) => say(alice, id, `flood ${i}`)));
    assert.deepEqual(results.filter((r) => r.status !== 'fulfilled'), []);
    const seconds = Math.ceil((Date.now() - began) / 1000) + 1; // that were touched
    await new Promise((resolve) => setTimeout(resolve, 2100)); // a quiet second or two
    await say(alice, id, 'after');
    const last = await hears(bob, 'after');
    const passed = bob.received().filter((m) => m.payload.text?.startsWith('flood '));
    // The SDK writes of the creation itself (protocol 03 §20), and that message takes its place in the limit: when it
    // fell into the flood's second, one less of the flood passed.
    const creations = alice.frames.filter((f) => f.out && f.head.servcmd === 'group_open_http_svc.send_group_msg' && JSON.stringify(f.body).includes('group_create'));
    assert.equal(creations.length, 1);
    assert.ok(passed.length + creations.length >= 5 && passed.length <= 5 * seconds && passed.length < 40,
      `${passed.length} of 40 passed a limit of 5 a second in ${seconds} s`);
    const seqs = [...passed, last].map((m) => m.sequence);
    assert.deepEqual(seqs, seqs.map((_, i) => seqs[0] + i), 'dropped messages take no sequence');
  });
});
