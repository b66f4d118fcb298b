// Live rooms when it gets rough (protocol 03 §13, §12.1): storms of messages and of watchers, slow watchers, dead sockets, dead nodes, a
// Redis that loses its memory.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

const tip = (room, operation) => (m) => m.type === 'TIMGroupTipElem' && m.to === room && m.payload.operationType === operation;
const text = (room, words) => (m) => m.type === 'TIMTextElem' && m.to === room && m.payload.text === words;
const texts = (user, room, since) => user.received(since).filter((m) => m.type === 'TIMTextElem' && m.to === room).map((m) => m.payload.text);
const say = (user, groupID, words, options) => user.send('Text', groupID, { text: words }, { group: true, ...options });
const numbers = (from, to, word) => Array.from({ length: to - from }, (_, i) => `${word} ${from + i}`);

async function room(users) {
  const { data } = await users[0].sdk.createGroup({ type: 'AVChatRoom', name: 'Live' });
  const { groupID } = data.group;
  for (const user of users) await user.sdk.joinGroup({ groupID });
  return groupID;
}

let random = 1;
const message = (GroupId, Text, MsgPriority = 'Normal') => ({ GroupId, Random: random++, ClientSeq: random++, MsgClientTime: Math.floor(Date.now() / 1000), MsgPriority,
  MsgBody: [{ MsgType: 'TIMTextElem', MsgContent: { Text } }], CloudCustomData: '' });
const join = (raw, GroupId) => raw.request('group_open_http_svc.apply_join_group', { GroupId, WebPushFlag: 1 });
const send = (raw, body) => raw.request('group_open_http_svc.send_group_msg', body, { timeout: 20000 });
const items = (raw, room) => raw.pushes.flatMap((f) => f.body.EventArray ?? []).flatMap((e) => e.GroupMsgArray ?? []).filter((m) => m.ToGroupId === room);
const tips = (raw, room, op) => raw.pushes.flatMap((f) => f.body.EventArray ?? []).filter((e) => e.Event === 4).flatMap((e) => e.GroupTips)
  .filter((t) => t.ToGroupId === room && t.MsgBody.OpType === op);

// Concurrency at its lowest: if joins took the node's places for commands, the speaker would be refused.
engines('live rooms: storms', { nodes: 3, env: { IMSERVER_LIVE_ROOMS_MEMBER_TIMEOUT: '10s', IMSERVER_LIMITS_CONCURRENCY: '64' }, timeout: 90000 }, ({ test }) => {
  test('gifts get through in a storm of likes', async (world) => {
    const [owner] = await world.users('owner');
    const id = await room([owner]);
    const raws = await Promise.all(Array.from({ length: 6 }, (_, i) => world.raw({ login: world.id('fan'), node: i })));
    for (const raw of raws) await join(raw, id);
    const answers = [];
    const gifts = [];
    // Early in three seconds of the clock that follow each other: after one without messages a storm is a new one.
    const begin = Math.ceil(Date.now() / 1000) * 1000 + 100;
    for (let second = 0; second < 3; second++) {
      await new Promise((resolve) => setTimeout(resolve, begin + second * 1000 - Date.now()));
      for (const raw of raws.slice(1)) for (let i = 0; i < 30; i++) answers.push(send(raw, message(id, 'like', 'Lowest')));
      // In its first second the storm takes the room's forty before anybody knows that it is one.
      for (let i = 0; i < 12 && second > 0; i++) gifts.push(send(raws[0], message(id, `gift ${second}.${i}`, 'High')));
    }
    const likes = await Promise.all(answers);
    const passed = (list) => list.filter((a) => a.ErrorCode === 0 && !a.MsgDropReason).length;
    assert.ok(likes.every((a) => a.ErrorCode === 0));
    assert.ok(likes.some((a) => a.MsgDropReason === 'MsgFreqCtrl'), 'likes are dropped');
    assert.equal(passed(await Promise.all(gifts)), 24, 'no gift is dropped');
    const want = 24;
    await until(() => owner.received().filter((m) => m.payload.text?.startsWith('gift')).length === want, { timeout: 15000, what: 'all gifts' });
    assert.equal(owner.received().filter((m) => m.payload.text === 'like').length <= passed(likes), true);
  });

  test('a rush of watchers keeps no speaker waiting, is no storm of tips, and everybody is counted', async (world) => {
    const owner = await world.raw({ login: world.id('owner') });
    const { GroupId: id } = await owner.request('group_open_http_svc.create_group', { Type: 'AVChatRoom', Name: 'rush' });
    await join(owner, id);
    const early = await world.raw({ login: world.id('early'), node: 1 });
    await join(early, id);
    const rush = await Promise.all(Array.from({ length: 120 }, (_, i) => world.raw({ login: world.id('w'), node: i })));
    const joins = Promise.all(rush.map((raw) => join(raw, id)));
    const said = [];
    for (const words of numbers(0, 10, 'during')) said.push(await send(owner, message(id, words)));
    assert.ok((await joins).every((a) => a.JoinedStatus === 'JoinedSuccess'), 'all come in');
    assert.deepEqual(said.map((a) => [a.ErrorCode, a.MsgDropReason]), said.map(() => [0, undefined]), 'all is said');
    await until(() => items(early, id).length === 10, { timeout: 20000, what: 'what was said at one who was there before' });
    assert.deepEqual(items(early, id).map((m) => m.MsgBody[0].MsgContent.Text), numbers(0, 10, 'during'));
    await send(owner, message(id, 'welcome'));
    await Promise.all(rush.map((raw) => raw.waitForEvent((e) => e.GroupMsgArray?.some((m) => m.MsgBody[0].MsgContent.Text === 'welcome'), { timeout: 20000 })));
    await until(async () => (await world.rest()('group_open_http_svc/get_online_member_num', { GroupId: id })).OnlineMemberNum === 122, { timeout: 15000, what: '122 watchers' });
    const news = tips(owner, id, 1);
    assert.ok(news.length < 90, `${news.length} tips of 121 newcomers`);
    // Half of them vanish: the count shrinks, and the room hears of it.
    for (const raw of rush.slice(0, 60)) raw.socket.terminate();
    await until(async () => (await world.rest()('group_open_http_svc/get_online_member_num', { GroupId: id })).OnlineMemberNum === 62, { timeout: 40000, every: 500, what: '62 watchers' });
    await until(() => tips(owner, id, 2).length > 0, { timeout: 10000, what: 'tips of those who left' });
  });
});

engines('live rooms: slow watchers', { engines: ['embedded', 'postgres'], env: { IMSERVER_GROUP_RATE: '0', IMSERVER_LIMITS_COMMAND_RATE: '0' }, timeout: 90000 }, ({ test }) => {
  test('a slow watcher skips the oldest, is not disconnected, and holds up nobody', async (world) => {
    const owner = await world.raw({ login: world.id('owner') });
    const { GroupId: id } = await owner.request('group_open_http_svc.create_group', { Type: 'AVChatRoom', Name: 'flood' });
    // Without compression, so that the flood is one.
    const [slow, quick] = [await world.raw({ login: world.id('slow'), path: '/info' }), await world.raw({ login: world.id('quick') })];
    for (const raw of [slow, quick]) await join(raw, id);
    const before = await world.nodes[0].metric('imserver_live_events_skipped_total');
    const flood = (raw) => items(raw, id).map((m) => Number(m.MsgBody[0].MsgContent.Text.split(' ')[1]));
    const count = 1500;
    const filler = 'x'.repeat(10000);
    const took = [];
    for (let i = 0; i < count; i += 15) {
      if (i === 300) slow.socket._socket.pause(); // from now on it never reads
      const began = performance.now();
      const answers = await Promise.all(numbers(i, i + 15, 'flood').map((words) => send(owner, message(id, `${words} ${filler}`))));
      assert.ok(answers.every((a) => a.ErrorCode === 0));
      await until(() => flood(quick).length === i + 15, { timeout: 20000, every: 2, what: `${i + 15} at the quick one` });
      took.push(performance.now() - began);
    }
    const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
    const [calm, stuck] = [median(took.slice(0, 20)), median(took.slice(20))];
    assert.ok(stuck < 10 * calm + 500, `the others waited ${stuck.toFixed()} ms instead of ${calm.toFixed()} ms`);
    assert.deepEqual(flood(quick), numbers(0, count, '').map(Number));
    assert.ok(await world.nodes[0].metric('imserver_live_events_skipped_total') > before, 'events were skipped');
    assert.equal(slow.open, true);
    slow.socket._socket.resume();
    await until(() => flood(slow).at(-1) === count - 1, { timeout: 20000, what: 'the newest at the slow one' });
    const seen = flood(slow);
    assert.ok(seen.length < count, `${seen.length} of ${count}`);
    assert.deepEqual(seen, [...new Set(seen)].sort((a, b) => a - b));
    assert.equal((await send(slow, message(id, 'I am still here'))).ErrorCode, 0);
    await quick.waitForEvent((e) => e.GroupMsgArray?.some((m) => m.MsgBody[0].MsgContent.Text === 'I am still here'));
  });
});

engines('live rooms: broadcasts by push', { nodes: 3, timeout: 60000 }, ({ test }) => {
  test('a broadcast reaches every room on every node, once a second', async (world) => {
    const [owner, ann, ben] = await world.users('owner', 'ann', 'ben');
    const [first, second] = [await room([owner, ann]), await room([ben])];
    const rest = world.rest();
    const body = (words) => ({ From_Account: owner.userID, Random: 9, MsgBody: [{ MsgType: 'TIMTextElem', MsgContent: { Text: words } }] });
    await rest('group_open_http_svc/send_broadcast_msg', body('to all'));
    for (const [user, id] of [[owner, first], [ann, first], [ben, second]]) await user.waitForMessage(text(id, 'to all'));
    const many = await Promise.all([1, 2, 3].map((n) => rest('group_open_http_svc/send_broadcast_msg', body(`n${n}`)).catch((error) => error)));
    assert.ok(many.some((a) => (a.ErrorCode ?? a.code) === 60007), 'one a second');
  });
});

engines('live rooms: restarts', { engines: ['embedded'], timeout: 90000 }, ({ test }) => {
  for (const kill of [false, true]) {
    test(`watchers stay in the room over ${kill ? 'kill -9' : 'a graceful restart'}`, async (world) => {
      const [owner, ann] = await world.users('owner', 'ann');
      const id = await room([owner, ann]);
      const before = await say(owner, id, 'before');
      await ann.waitForMessage(text(id, 'before'));
      const file = `${world.server.dir}/data/live-rooms.json`;
      const joined = Date.now() / 1000;
      if (kill) await until(() => existsSync(file) && JSON.parse(readFileSync(file)).At > joined, { timeout: 20000, every: 200, what: 'the file' });
      await world.nodes[0].restart({ kill });
      await until(async () => {
        await say(owner, id, 'after');
        await ann.waitForMessage(text(id, 'after'), { timeout: 500 });
        return true;
      }, { timeout: 30000, every: 500, what: 'the room after the restart' });
      assert.ok(ann.received().find(text(id, 'after')).sequence > before.sequence);
    });
  }
});

engines('live rooms: faults', { engines: ['cluster'], nodes: 3, timeout: 120000 }, ({ test }) => {
  test('a node with half the watchers dies: they resume elsewhere and where they were, in order', async (world) => {
    const [owner, ann] = await world.users('owner', 'ann'); // ann is on the second node
    const id = await room([owner, ann]);
    const half = await Promise.all(Array.from({ length: 6 }, () => world.raw({ login: world.id('w'), node: 1 })));
    for (const raw of half) await join(raw, id);
    for (const words of numbers(0, 20, 'm')) await say(owner, id, words);
    await ann.waitForMessage(text(id, 'm 19'));
    await Promise.all(half.map((raw) => until(() => items(raw, id).length === 20, { what: 'twenty' })));
    await world.nodes[1].kill();
    const began = Date.now();
    for (const words of numbers(20, 30, 'm')) await say(owner, id, words);
    assert.ok(Date.now() - began < 15000, 'the speaker does not wait');
    // The sockets come back on another node, with the keys they had.
    const moved = await Promise.all(half.map(async (old) => {
      const raw = await world.raw({ node: 2 });
      raw.session = old.session;
      assert.equal((await raw.request('im_open_status.wslogin', { State: 'Online' })).ErrorCode, 0);
      return raw;
    }));
    const words = (raw) => items(raw, id).map((m) => m.MsgBody[0].MsgContent.Text);
    for (const raw of moved) await until(() => words(raw).at(-1) === 'm 29', { timeout: 15000, what: 'what was missed' });
    for (const raw of moved) {
      const all = words(raw);
      assert.deepEqual(all, numbers(30 - all.length, 30, 'm'), 'a run without holes, in order');
      assert.ok(all.length >= 10);
    }
    await say(owner, id, 'm 30');
    for (const raw of moved) await until(() => words(raw).at(-1) === 'm 30', { what: 'the next one' });
    await world.nodes[1].start();
    await ann.waitForMessage(text(id, 'm 30'), { timeout: 30000 });
    assert.deepEqual(texts(ann, id), numbers(0, 31, 'm'), 'the SDK shows each once');
    await until(async () => (await world.rest()('group_open_http_svc/get_online_member_num', { GroupId: id })).OnlineMemberNum === 8, { timeout: 10000, what: 'all are counted' });
  });

  test('a message through a node without watchers has one sequence, repeated or not, or is refused', async (world) => {
    const [owner] = await world.users('owner');
    const id = await room([owner]);
    const rest = (words, Random, node = 2) => world.rest(node)('group_open_http_svc/send_group_msg', { GroupId: id, Random, MsgBody: [{ MsgType: 'TIMTextElem', MsgContent: { Text: words } }] });
    const first = await rest('through another node', 1001);
    assert.ok(first.MsgSeq > 0);
    assert.equal((await owner.waitForMessage(text(id, 'through another node'))).sequence, first.MsgSeq);
    const again = await rest('through another node', 1001, 1); // the answer was lost, say
    assert.deepEqual([again.MsgSeq, again.MsgTime], [first.MsgSeq, first.MsgTime]);

    await world.server.redis.stop();
    const began = Date.now();
    const refused = await rest('without Redis', 1002);
    assert.ok(refused.ErrorCode !== 0 && !refused.MsgSeq, JSON.stringify(refused));
    assert.ok(Date.now() - began < 5000, 'nobody waits');
    const here = await rest('where the watchers are', 1003, 0);
    assert.ok(here.MsgSeq > first.MsgSeq);
    await owner.waitForMessage(text(id, 'where the watchers are'));
    await world.server.redis.start();
    const answer = await until(async () => {
      const tried = await rest('without Redis', 1002);
      return tried.ErrorCode === 0 && tried;
    }, { timeout: 20000, every: 300, what: 'the room takes messages again' });
    assert.equal((await owner.waitForMessage(text(id, 'without Redis'), { timeout: 20000 })).sequence, answer.MsgSeq);
    await say(owner, id, 'the last');
    assert.deepEqual(texts(owner, id), ['through another node', 'where the watchers are', 'without Redis'], 'each once');
  });

  test('Redis loses its memory: the speaker goes on, sequences rise, and everybody gets everything', async (world) => {
    const [owner, ann, ben] = await world.users('owner', 'ann', 'ben');
    const id = await room([owner, ann, ben]);
    const sequences = [(await say(owner, id, 'r 0')).sequence];
    await ben.waitForMessage(text(id, 'r 0'));
    await world.server.redis.stop();
    for (const words of numbers(1, 6, 'r')) {
      const began = Date.now();
      sequences.push((await say(owner, id, words)).sequence);
      assert.ok(Date.now() - began < 5000, 'the speaker waits for a bounded time');
    }
    await world.server.redis.start();
    for (const user of [ann, ben]) await user.waitForMessage(text(id, 'r 5'), { timeout: 30000 });
    await until(async () => {
      sequences.push((await say(owner, id, 'again')).sequence);
      await ben.waitForMessage(text(id, 'again'), { timeout: 500 });
      return true;
    }, { timeout: 20000, every: 500, what: 'the room after the restart' });
    assert.deepEqual(sequences, [...new Set(sequences)].sort((a, b) => a - b), 'sequences never fall');
    for (const user of [ann, ben]) {
      assert.deepEqual(texts(user, id).filter((w) => w.startsWith('r ')), numbers(0, 6, 'r'));
    }
    await until(async () => (await world.rest()('group_open_http_svc/get_online_member_num', { GroupId: id })).OnlineMemberNum === 3, { timeout: 15000, what: 'all are counted again' });
  });
});
