// Nodes on a Redis Cluster, and on a Redis that Sentinels watch: everything that crosses nodes works there, and goes on
// by itself when a master dies and its replica takes over.
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { history } from '../harness/history.mjs';
import { redisCluster, redisSentinel } from '../harness/redises.mjs';
import { sleep, until } from '../harness/wait.mjs';

const say = (user, groupID, text) => user.send('Text', groupID, { text }, { group: true });

/** Makes a group, or a live room, with everybody in it. */
async function team(users, type) {
  const { data } = await users[0].sdk.createGroup({ type, name: 'Team', ...(type === 'Public' && { joinOption: 'FreeAccess' }) });
  const { groupID } = data.group;
  for (const user of type === 'AVChatRoom' ? users : users.slice(1)) await user.sdk.joinGroup({ groupID });
  return groupID;
}

/** Waits until what one says reaches all others, told by the messages' IDs. */
async function reaches(send, others, options) {
  const { ID } = await send;
  await Promise.all(others.map((user) => user.waitForMessage((m) => m.ID === ID, options)));
}

let random = 1;
const message = (GroupId, Text) => ({ GroupId, Random: random++, ClientSeq: random++, MsgClientTime: Math.floor(Date.now() / 1000), MsgPriority: 'Normal',
  MsgBody: [{ MsgType: 'TIMTextElem', MsgContent: { Text } }], CloudCustomData: '' });

/** Two clients on different nodes send 80 messages each at once; how many passed, and in how many seconds. */
async function flood(world, group) {
  const clients = await Promise.all([0, 1].map((node) => world.raw({ node, login: world.id('flood') })));
  for (const raw of clients) await raw.request('group_open_http_svc.apply_join_group', { GroupId: group });
  const began = Date.now();
  const answers = await Promise.all(clients.flatMap((raw) => Array.from({ length: 80 }, (_, i) =>
    raw.request('group_open_http_svc.send_group_msg', message(group, `flood ${i}`), { timeout: 20000 }))));
  assert.deepEqual(answers.filter((a) => a.ErrorCode !== 0), []);
  return { passed: answers.filter((a) => !a.MsgDropReason).length, seconds: Math.ceil((Date.now() - began) / 1000) + 1 };
}

/** How often a node has decided about a group's limit without Redis. */
const alone = async (world) => (await Promise.all(world.nodes.map((node) => node.metric('imserver_ratelimit_local_decisions_total')))).reduce((a, b) => a + b);

async function assertShared(world, group) {
  const before = await alone(world);
  const { passed, seconds } = await flood(world, group);
  // What was said in the group a moment ago has its place in the limit, too.
  assert.ok(passed >= 30 && passed <= 40 * seconds, `${passed} of 160 passed a limit of 40 a second in ${seconds} s`);
  assert.equal(await alone(world), before, 'the nodes share the limit');
}

const statusOf = async (world, node, users) => (await world.rest(node)('openim/query_online_status', { To_Account: users.map((u) => u.userID) })).QueryResult.map((r) => r.State);

for (const [name, redis] of [['a Redis Cluster', redisCluster], ['Redis with Sentinels', redisSentinel]]) {
  engines(`on ${name}`, { engines: ['cluster'], redis, env: { IMSERVER_PRESENCE_GRACE: '2s' }, timeout: 90000 }, ({ test }) => {
    test('users of two nodes chat, in a group with its limit and in a live room, and see who is online', async (world) => {
      const [alice, bob] = await world.users('alice', 'bob');
      assert.notEqual(alice.url, bob.url);
      for (let i = 0; i < 6; i++) {
        const [from, to] = i % 2 ? [alice, bob] : [bob, alice];
        await reaches(from.sendText(to.userID, `turn ${i}`), [to]);
      }
      const group = await team([alice, bob], 'Public');
      await reaches(say(alice, group, 'hello'), [bob]);
      await reaches(say(bob, group, 'hello'), [alice]);
      await assertShared(world, group);
      const room = await team([alice, bob], 'AVChatRoom');
      await reaches(say(bob, room, 'live'), [alice]);
      assert.equal((await world.rest()('group_open_http_svc/get_online_member_num', { GroupId: room })).OnlineMemberNum, 2);

      await alice.sdk.subscribeUserStatus({ userIDList: [bob.userID] });
      const told = (type, since) => alice.waitFor('USER_STATUS_UPDATED', (list) => list.some((s) => s.userID === bob.userID && s.statusType === type), { since });
      await bob.sdk.logout();
      await told(3);
      await bob.login();
      await told(1);
    });

    test('a master dies: nothing is lost, nobody logs in again, and everything works as before', async (world) => {
      const [alice, bob] = await world.users('alice', 'bob');
      const [group, room] = [await team([alice, bob], 'Public'), await team([alice, bob], 'AVChatRoom')];
      const [toBob, toGroup, failed] = [[], [], []];
      let running = true;
      const talk = async (send, sent) => {
        for (let i = 0; running; i++) {
          await send(`${i}`).then(({ ID }) => sent.push(ID), (error) => failed.push(error.message));
          await sleep(100);
        }
      };
      const talking = [talk((text) => alice.sendText(bob.userID, text), toBob), talk((text) => say(bob, group, text), toGroup)];
      await sleep(1000);
      await world.server.redis.loseMaster();
      await until(async () => (await Promise.all(world.nodes.map(async (node) => (await fetch(`${node.http}/readyz`)).text()))).every((text) => text.startsWith('ready')),
        { timeout: 30000, every: 100, what: 'both nodes to be ready' });
      running = false;
      await Promise.all(talking);
      assert.deepEqual(failed, [], 'every message was acknowledged');
      assert.ok(toBob.length > 20 && toGroup.length > 20, `${toBob.length} and ${toGroup.length} messages`);

      // What was pushed into the void is fetched, and what comes now is pushed again.
      for (const [reader, conversation, sent] of [[bob, `C2C${alice.userID}`, toBob], [alice, `GROUP${group}`, toGroup]]) {
        await until(async () => {
          const seen = (await history(reader, conversation)).map((m) => m.ID);
          assert.equal(new Set(seen).size, seen.length, 'nothing twice');
          return sent.every((id) => seen.includes(id));
        }, { timeout: 20000, every: 300, what: `${conversation} to be whole` });
      }
      await reaches(alice.sendText(bob.userID, 'after'), [bob]);
      await reaches(say(alice, group, 'after'), [bob]);
      await reaches(say(bob, room, 'after'), [alice]);
      for (const node of [0, 1]) {
        await until(async () => (await statusOf(world, node, [alice, bob])).join() === 'Online,Online', { timeout: 20000, every: 200, what: `node ${node} to see both` });
      }
      await assertShared(world, group);
      for (const user of [alice, bob]) {
        assert.deepEqual(user.events.filter((e) => ['KICKED_OUT', 'SDK_NOT_READY'].includes(e.event)), []);
      }
    });
  });
}
