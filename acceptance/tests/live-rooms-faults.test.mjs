// Live rooms while nodes, sockets and Redis fail, as SDKs of both generations see it on three nodes (protocol 03 §13.2): speakers go on
// meanwhile, and every watcher is shown everything once, each speaker's words in their order.
import assert from 'node:assert/strict';
import { Balancer } from '../harness/balancer.mjs';
import { engines } from '../harness/engines.mjs';
import { sleep, until } from '../harness/wait.mjs';

const say = (user, groupID, words) => user.send('Text', groupID, { text: words }, { group: true });
const lines = (user, room) => user.received().filter((m) => m.type === 'TIMTextElem' && m.to === room);

/** What the speaker waits for an answer at most: no fault holds it up for longer than the server waits for Redis, on a busy machine. */
const bound = 5000;

/** Has a user speak in a room until stop(), which returns the messages as they were sent. */
function speech(user, groupID, word) {
  let going = true;
  const sent = [];
  const slow = [];
  const done = (async () => {
    for (let i = 0; going; i++) {
      const began = Date.now();
      sent.push(await say(user, groupID, `${word} ${i}`));
      if (Date.now() - began > bound) slow.push(`${word} ${i}: ${Date.now() - began} ms`);
      await sleep(120);
    }
  })();
  done.catch(() => {});
  return {
    sent,
    async stop() {
      going = false;
      await done;
      assert.deepEqual(slow, [], 'the speaker waits for a bounded time');
      const sequences = sent.map((m) => m.sequence);
      assert.deepEqual(sequences, [...new Set(sequences)].sort((a, b) => a - b), 'its sequences rise');
      return sent;
    },
  };
}

/** A watcher shows all that a speaker said: each once, in order. */
async function shows(watcher, room, sent) {
  const last = sent.at(-1);
  await until(() => lines(watcher, room).some((m) => m.ID === last.ID), { timeout: 60000, every: 100, what: `${last.payload.text} at ${watcher.userID}` });
  const seen = () => lines(watcher, room).filter((m) => m.from === last.from).map((m) => m.payload.text);
  const all = sent.map((m) => m.payload.text);
  await until(() => seen().length >= all.length, { timeout: 20000, what: `all of ${last.from} at ${watcher.userID}` }).catch(() => {});
  assert.deepEqual(seen(), all, `${watcher.userID} is shown each once, in order`);
}

/** Users behind balancers: the n-th is on the n-th of the given nodes, and goes to the others when that one is gone. */
async function movable(world, nodes, generations) {
  const balancers = [];
  const users = [];
  for (const [i, generation] of generations.entries()) {
    const first = nodes[i % nodes.length];
    const balancer = await Balancer.start([0, 1, 2].map((k) => world.nodes[(first + k) % 3]));
    balancers.push(balancer);
    users.push(world.user('w', { url: balancer.url, generation }));
  }
  await Promise.all(users.map((user) => user.login()));
  return { users, stop: () => balancers.forEach((b) => b.stop()) };
}

async function room(owner, watchers) {
  const { data } = await owner.sdk.createGroup({ type: 'AVChatRoom', name: 'Live' });
  const { groupID } = data.group;
  for (const user of [owner, ...watchers]) await user.sdk.joinGroup({ groupID });
  return groupID;
}

const counted = (world, id, count) => until(async () => (await world.rest()('group_open_http_svc/get_online_member_num', { GroupId: id })).OnlineMemberNum === count,
  { timeout: 30000, every: 300, what: `${count} are counted` });

for (const delivery of ['websocket', 'polling']) {
  engines(`live rooms: faults, ${delivery}`, { engines: ['cluster'], nodes: 3, timeout: 180000, env: { IMSERVER_LIVE_ROOMS_DELIVERY: delivery } }, ({ test }) => {
    test('a node with half the watchers is killed', async (world) => {
      const [owner] = await world.users('owner');
      const moved = await movable(world, [1], ['v3', 'v3', 'v2']);
      const stay = await movable(world, [0, 2], ['v3', 'v2', 'v3']);
      const watchers = [...moved.users, ...stay.users];
      const id = await room(owner, watchers);
      const said = speech(owner, id, 'k');
      await until(() => said.sent.length > 8, { timeout: 20000, what: 'some words' });
      await world.nodes[1].kill();
      const after = said.sent.length + 3;
      await until(() => moved.users.every((user) => lines(user, id).some((m) => Number(m.payload.text.split(' ')[1]) > after)),
        { timeout: 50000, every: 200, what: 'those of the dead node hear again' });
      const sent = await said.stop();
      for (const user of watchers) await shows(user, id, sent);
      await counted(world, id, 7);
      for (const b of [moved, stay]) b.stop();
      await world.nodes[1].start();
    });

    test('Redis forgets everything, and restarts, while two speak on different nodes', async (world) => {
      const [owner, ann, ben] = await world.users('owner', 'ann', 'ben');
      const old = world.user('old', { node: 2, generation: 'v2' });
      await old.login();
      const id = await room(owner, [ann, ben, old]);
      const speeches = [speech(owner, id, 'o'), speech(ann, id, 'a')];
      const more = async (n) => {
        const from = speeches.map((s) => s.sent.length);
        await until(() => speeches.every((s, i) => s.sent.length >= from[i] + n), { timeout: 40000, what: `${n} more` });
      };
      await more(6);
      await world.server.redis.flush();
      await more(8);
      await world.server.redis.stop();
      await more(8);
      await world.server.redis.start();
      await more(12);
      const [byOwner, byAnn] = [await speeches[0].stop(), await speeches[1].stop()];
      for (const [watcher, sent] of [[ben, byOwner], [ben, byAnn], [old, byOwner], [old, byAnn], [ann, byOwner], [owner, byAnn]]) await shows(watcher, id, sent);
      await counted(world, id, 4);
      // Those who watch are known again, wherever they ask.
      const { UserIdList } = await world.rest(2)('group_open_http_svc/get_role_in_group', { GroupId: id, User_Account: [owner.userID, ann.userID] });
      assert.deepEqual(UserIdList.map((u) => u.Role), ['Owner', 'Member']);
    });

    test('sockets of watchers die again and again', async (world) => {
      const [owner, ann, ben] = await world.users('owner', 'ann', 'ben');
      const id = await room(owner, [ann, ben]);
      const said = speech(owner, id, 's');
      for (let i = 0; i < 3; i++) {
        const from = said.sent.length;
        ann.network.cut();
        await until(() => said.sent.length > from + 4, { timeout: 20000, what: 'words meanwhile' });
        ben.network.cut();
        await until(() => [ann, ben].every((user) => lines(user, id).length > from + 4), { timeout: 40000, what: 'both are back' });
      }
      const sent = await said.stop();
      for (const user of [ann, ben]) await shows(user, id, sent);
    });
  });
}
