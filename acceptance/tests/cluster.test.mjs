// What crosses nodes: Redis is not the record, a node may go (architecture: the bus).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { sleep, until } from '../harness/wait.mjs';

const c2c = (user) => `C2C${user.userID}`;

engines('cluster', { engines: ['cluster'], timeout: 60000 }, ({ test }) => {
  test('users on different nodes chat, both ways and in order', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    assert.notEqual(alice.url, bob.url);
    for (let i = 0; i < 30; i++) {
      const [from, to] = i % 2 ? [alice, bob] : [bob, alice];
      await from.sendText(to.userID, `turn ${i}`);
      await to.waitForMessage((m) => m.payload.text === `turn ${i}`);
    }
    const { data } = await alice.sdk.getMessageList({ conversationID: c2c(bob) });
    assert.deepEqual(data.messageList.map((m) => m.payload.text), Array.from({ length: 15 }, (_, i) => `turn ${15 + i}`));
  });

  test('a node that dies: its user goes to the other one and misses nothing', async (world) => {
    const [alice] = await world.users('alice');
    const raw = await world.raw({ node: 1, login: world.id('bob') });
    await world.nodes[1].kill();
    const sent = await alice.sendText(raw.userID, 'are you there?');
    const moved = await world.raw({ node: 0 });
    moved.session = raw.session;
    const login = await moved.request('im_open_status.wslogin', { State: 'Online', is_web_uniapp: 0, InstType: 0, CustomInfo: '' });
    assert.equal(login.ErrorCode, 0, login.ErrorInfo);
    const page = await moved.request('openim.getroammsg', { Peer_Account: alice.userID, MaxCnt: 15, LastMsgTime: 0, MsgKey: '', GetDirection: 0 });
    assert.deepEqual(page.MsgList.map((m) => m.MsgTimeStamp), [sent.time]);
    await world.nodes[1].start();
  });

  test('Redis loses everything: nothing acknowledged is lost, and delivery resumes', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const first = await alice.sendText(bob.userID, 'before');
    await bob.waitForMessage((m) => m.ID === first.ID);
    await world.server.redis.stop();
    const acknowledged = [first.ID];
    for (let i = 0; i < 3; i++) {
      const sent = await alice.sendText(bob.userID, `without Redis ${i}`).catch(() => undefined);
      if (sent) acknowledged.push(sent.ID);
    }
    await world.server.redis.start();
    await until(async () => {
      const sent = await alice.sendText(bob.userID, 'after');
      acknowledged.push(sent.ID);
      await bob.waitForMessage((m) => m.ID === sent.ID, { timeout: 500 });
      return true;
    }, { timeout: 20000, every: 500, what: 'delivery after the restart of Redis' });
    await bob.leave();
    const again = world.user(bob.userID, { exact: true });
    await again.login();
    const seen = [];
    let next;
    do {
      const { data } = await again.sdk.getMessageList({ conversationID: c2c(alice), nextReqMessageID: next });
      seen.unshift(...data.messageList.map((m) => m.ID));
      if (data.isCompleted) break;
      next = data.nextReqMessageID;
    } while (next);
    for (const id of acknowledged) assert.equal(seen.filter((s) => s === id).length, 1);
  });

  test('a node that starts while Redis is away serves its own users, and joins the others when Redis comes', async (world) => {
    const ready = async (node) => (await (await fetch(`${node.http}/readyz`)).text()).split(':')[0].trim();
    await world.server.redis.stop();
    await world.nodes[0].restart();
    assert.equal(await ready(world.nodes[0]), 'degraded');
    const [alice, bob, carol] = [['alice', 0], ['bob', 0], ['carol', 1]].map(([name, node]) => world.user(name, { node }));
    await Promise.all([alice, bob, carol].map((user) => user.login()));
    const { data } = await alice.sdk.createGroup({ type: 'Public', name: 'early', memberList: [{ userID: bob.userID }, { userID: carol.userID }] });
    const { groupID } = data.group;
    await bob.waitForGroup(groupID);
    const early = await alice.sendText(bob.userID, 'we two');
    await bob.waitForMessage((m) => m.ID === early.ID);
    const toAll = await bob.send('Text', groupID, { text: 'who hears this?' }, { group: true });
    await alice.waitForMessage((m) => m.ID === toAll.ID);
    const toCarol = await alice.sendText(carol.userID, 'later');

    await world.server.redis.start();
    for (const node of world.nodes) await until(async () => (await ready(node)) === 'ready', { timeout: 20000, what: `${node.name} to be ready` });
    await carol.waitForMessage((m) => m.ID === toCarol.ID, { timeout: 20000 });
    await carol.waitForGroup(groupID, { timeout: 20000 });
    const after = await carol.send('Text', groupID, { text: 'I do' }, { group: true });
    await alice.waitForMessage((m) => m.ID === after.ID);
    await until(async () => {
      const states = await world.rest(1)('openim/query_online_status', { To_Account: [alice, bob, carol].map((u) => u.userID) });
      return states.QueryResult.every((r) => r.State === 'Online');
    }, { timeout: 20000, every: 200, what: 'the other node to see all three' });
    assert.deepEqual([alice, bob, carol].flatMap((u) => u.events.filter((e) => ['KICKED_OUT', 'SDK_NOT_READY'].includes(e.event))), []);
  });

  test('a kick reaches the other node', async (world) => {
    const [first] = await world.users('alice');
    const second = await world.device(first, { node: 1 });
    assert.equal((await first.waitFor('KICKED_OUT')).type, 'multipleAccount');
    await sleep(200);
    assert.equal(second.events.some((e) => e.event === 'KICKED_OUT'), false);
  });
});
