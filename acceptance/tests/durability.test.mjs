// A restart loses nothing, nor does a crash: what was acknowledged is there, once (protocol 01 §8, 02 §1.3).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { history } from '../harness/history.mjs';
import { sleep } from '../harness/wait.mjs';

const c2c = (userID) => `C2C${userID}`;

// The limit of commands per connection is off: one connection stands for many here.
engines('durability', { timeout: 60000, env: { IMSERVER_LIMITS_COMMAND_RATE: '0' } }, ({ test }) => {
  for (const kill of [false, true]) {
    test(`sessions and messages outlive ${kill ? 'kill -9' : 'a graceful restart'}`, async (world) => {
      const [alice, bob] = await world.users('alice', 'bob');
      const before = [];
      for (let i = 0; i < 10; i++) before.push(await alice.sendText(bob.userID, `before ${i}`));
      await bob.waitForMessage((m) => m.payload.text === 'before 9');
      const login = (f) => f.out && f.head.servcmd === 'im_open_status.wslogin';
      const marks = [alice, bob].map((user) => user.frames.length);

      for (const node of world.nodes) await node.restart({ kill });
      for (const [i, user] of [alice, bob].entries()) {
        await user.sdk.getUserProfile({ userIDList: [user.userID, world.id('x')] }).catch(() => {}); // makes the SDK reconnect at once
        const { head } = await user.waitForFrame(login, { since: marks[i], timeout: 10000 });
        assert.ok(head.a2, 'the SDK came back with its session, not with a ticket');
        const answer = await user.waitForFrame((f) => !f.out && f.head.servcmd === 'im_open_status.wslogin', { since: marks[i] });
        assert.equal(answer.body.ErrorCode, 0, answer.body.ErrorInfo);
      }
      const after = await alice.sendText(bob.userID, 'after');
      await bob.waitForMessage((m) => m.ID === after.ID);
      assert.equal(bob.received().filter((m) => m.ID === after.ID).length, 1);
      assert.deepEqual([alice, bob].flatMap((u) => u.events.filter((e) => e.event === 'KICKED_OUT')), []);

      await bob.leave();
      const again = world.user(bob.userID, { exact: true });
      await again.login();
      const messages = await history(again, c2c(alice.userID));
      assert.deepEqual(messages.map((m) => m.ID), [...before, after].map((m) => m.ID));
      assert.deepEqual(messages.map((m) => m.time), [...before, after].map((m) => m.time));
    });
  }

  test('a crash in full flow keeps every acknowledged message, once and in order', async (world) => {
    const bobID = world.id('bob');
    (await world.raw({ login: bobID })).close();
    const aliceID = world.id('alice');
    const raw = await world.raw({ login: aliceID });
    const sent = [];
    const acknowledged = new Set();
    let running = true;
    const sender = (async () => {
      for (let i = 0; running && i < 20000; i++) {
        const message = raw.textMessage(bobID, `m${i}`);
        sent.push(message);
        raw.request('openim.sendmsg', message).then((a) => a.ErrorCode === 0 && acknowledged.add(message), () => {});
        if (i % 10 === 9) await sleep(2);
      }
    })();
    await sleep(500);
    for (const node of world.nodes) await node.kill();
    running = false;
    await sender;
    for (const node of world.nodes) await node.start();
    assert.ok(acknowledged.size > 20, `only ${acknowledged.size} acknowledged`);

    // A client sends again what was not answered: the same request, before anything else.
    const again = await world.raw({ node: 1, login: aliceID });
    const open = sent.filter((message) => !acknowledged.has(message));
    for (const message of open) assert.equal((await again.request('openim.sendmsg', message)).ErrorCode, 0);
    // … and, to be nasty, some that were.
    for (const message of [...acknowledged].slice(-20)) assert.equal((await again.request('openim.sendmsg', message)).ErrorCode, 0);

    const texts = [];
    let cursor = { LastMsgTime: 0, MsgKey: '' };
    for (;;) {
      const page = await again.request('openim.getroammsg', { Peer_Account: bobID, MaxCnt: 100, GetDirection: 0, WithRecalledMsg: 1, ...cursor });
      texts.unshift(...page.MsgList.map((m) => m.MsgBody[0].MsgContent.Text));
      if (page.Complete) break;
      cursor = { LastMsgTime: page.LastMsgTime, MsgKey: page.MsgKey };
    }
    assert.equal(new Set(texts).size, texts.length, 'nothing twice');
    assert.deepEqual([...texts].sort(), sent.map((m) => m.MsgBody[0].MsgContent.Text).sort(), 'nothing lost');
  });

  test('a second server does not see the data of the first', async (world) => {
    const raw = await world.raw({ login: world.id('alice') });
    const answer = await raw.request('openim.sendmsg', raw.textMessage('alice', 'hi'));
    assert.equal(answer.ErrorCode, 20003, 'no account of another server or app');
  });
});
