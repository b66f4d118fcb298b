// Losing and regaining the connection (protocol 01 §11, 02 §1.3).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { sleep, until } from '../harness/wait.mjs';

const c2c = (user) => `C2C${user.userID}`;
const isLogin = (f) => f.out && f.head.servcmd === 'im_open_status.wslogin';

engines('reconnect', {}, ({ test }) => {
  test('a request whose answer was lost is sent again and done once', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    await alice.sendText(bob.userID, 'warm');
    await sleep(1200); // the SDK reconnects at once only if its socket was open for a second
    const from = alice.frames.length;
    await alice.network.lose('openim.sendmsg', 1, true);
    const sent = await alice.sendText(bob.userID, 'exactly once');
    const frames = alice.frames.slice(from);
    const requests = frames.filter((f) => f.out && f.head.servcmd === 'openim.sendmsg');
    assert.equal(requests.length, 2, 'the SDK sent it again');
    assert.deepEqual(requests[1].body, requests[0].body);
    assert.ok(frames.indexOf(requests[1]) < frames.findIndex(isLogin), 'and did so before wslogin');
    const answers = frames.filter((f) => !f.out && f.head.servcmd === 'openim.sendmsg');
    assert.equal(answers[1].body.MsgTime, answers[0].body.MsgTime);
    assert.equal(answers[1].body.MsgKey, answers[0].body.MsgKey);
    await bob.waitForMessage((m) => m.ID === sent.ID);
    await bob.expectNone('MESSAGE_MODIFIED');
    assert.equal(bob.received().filter((m) => m.payload.text === 'exactly once').length, 1);
    const { data } = await bob.sdk.getMessageList({ conversationID: c2c(alice) });
    assert.deepEqual(data.messageList.map((m) => m.payload.text), ['warm', 'exactly once']);
    await bob.unread(2);
  });

  test('a short outage: same session, missed messages arrive once', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const first = await alice.sendText(bob.userID, 'first');
    await bob.waitForMessage((m) => m.ID === first.ID);
    const { body: { InstId, A2Key } } = bob.frames.find((f) => !f.out && f.head.servcmd === 'im_open_status.wslogin');
    await sleep(1200);
    const [since, from] = [bob.mark(), bob.frames.length];
    await bob.network.cut();
    const missed = [];
    for (let i = 0; i < 5; i++) missed.push(await alice.sendText(bob.userID, `missed ${i}`));
    await bob.waitFor('NET_STATE_CHANGE', (d) => d.state === 'connected', { since });
    const { head } = await bob.waitForFrame(isLogin, { since: from });
    assert.equal(head.a2, A2Key);
    assert.equal(head.status_instid, InstId);
    const { body } = await bob.waitForFrame((f) => !f.out && f.head.servcmd === 'im_open_status.wslogin', { since: from });
    assert.deepEqual([body.ErrorCode, body.InstId, body.A2Key], [0, InstId, A2Key]);
    await until(() => bob.received(since).length >= 5, { what: 'the missed messages' }).catch(() => {});
    assert.deepEqual(bob.received(since).map((m) => m.ID), missed.map((m) => m.ID), 'once each, in order');
    assert.equal(bob.events.some((e) => e.event === 'KICKED_OUT'), false, 'it is not kicked by itself');
    const last = await alice.sendText(bob.userID, 'last');
    await bob.waitForMessage((m) => m.ID === last.ID);
    await bob.unread(7);
    const shown = await bob.sdk.getMessageList({ conversationID: c2c(alice) });
    assert.deepEqual(shown.data.messageList.map((m) => m.ID), [first, ...missed, last].map((m) => m.ID), 'the open page');
    await bob.leave();
    const again = world.user(bob.userID, { exact: true });
    await again.login();
    await again.unread(7);
    const { data } = await again.sdk.getMessageList({ conversationID: c2c(alice) });
    assert.deepEqual(data.messageList.map((m) => m.ID), [first, ...missed, last].map((m) => m.ID));
  });

  test('push and recovery together deliver each message once while the network flaps', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    await alice.sendText(bob.userID, 'start');
    await bob.waitForMessage((m) => m.payload.text === 'start');
    const sent = [];
    for (let round = 0; round < 2; round++) {
      await sleep(1200);
      for (let i = 0; i < 10; i++) {
        sent.push((await alice.sendText(bob.userID, `r${round} ${i}`)).ID);
        if (i === 4) await bob.network.cut();
      }
    }
    await until(() => new Set(bob.received().map((m) => m.ID)).size === 21, { timeout: 8000, what: 'all messages' }).catch(() => {});
    const got = bob.received().map((m) => m.ID).slice(1);
    assert.deepEqual(got, sent);
    await bob.unread(21);
    await bob.leave();
    const again = world.user(bob.userID, { exact: true });
    await again.login();
    await again.unread(21);
  });

  test('requests authenticate by their own head, on any socket', async (world) => {
    const bob = await world.raw({ login: world.id('bob') });
    const alice = await world.raw({ login: world.id('alice') });
    const fresh = await world.raw({ node: 1 }); // never logged in
    fresh.session = alice.session;
    fresh.userID = alice.userID;
    const answer = await fresh.request('openim.sendmsg', fresh.textMessage(bob.userID, 'by head'));
    assert.equal(answer.ErrorCode, 0, answer.ErrorInfo);
    const event = await bob.waitForEvent((e) => e.C2cMsgArray);
    assert.equal(event.C2cMsgArray[0].From_Account, alice.userID);
    fresh.session = { ...alice.session, a2: 'forged' };
    const refused = await fresh.request('openim.sendmsg', fresh.textMessage(bob.userID, 'forged'));
    assert.notEqual(refused.ErrorCode, 0);
    assert.notEqual(refused.ErrorCode, 70001, 'no session is not an ended session');
    assert.ok(fresh.open);
  });

  // A push that came before the list of conversations would hide from the SDK that something is missing before it.
  test('a page in a busy group loses its connection again and again, and hears every message once', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const { data } = await alice.sdk.createGroup({ type: 'Public', name: 'busy', groupID: world.id('busy'), memberList: [{ userID: bob.userID }] });
    const { groupID } = data.group;
    await bob.waitForGroup(groupID);
    const sent = [await alice.sendText(groupID, 'first', { group: true })];
    await bob.waitForMessage((m) => m.ID === sent[0].ID);
    let talking = true;
    const talk = (async () => {
      for (let i = 0; talking; i++) {
        sent.push(await alice.sendText(groupID, `message ${i}`, { group: true }));
        await sleep(30); // below the group's limit
      }
    })();
    talk.catch(() => {}); // what ends the test ends it, too
    const missing = (messages) => {
      const ids = new Set(bob.received().map((m) => m.ID));
      return messages.filter((m) => !ids.has(m.ID));
    };
    const heard = (messages) => until(() => missing(messages).length === 0, { timeout: 15000 }).catch(() => {
      assert.fail(`of ${sent.length} messages these were not heard: ${missing(messages).map((m) => m.sequence)}`);
    });
    for (let i = 0; i < 5; i++) {
      await bob.network.goOffline();
      await sleep(150);
      await bob.network.goOnline(); // while messages go on
      const missed = [...sent];
      await bob.waitForMessage((m) => m.ID === sent.at(-1).ID, { timeout: 15000 });
      await heard(missed);
    }
    talking = false;
    await talk;
    await heard(sent);
    const seen = bob.received().map((m) => m.ID);
    assert.equal(new Set(seen).size, seen.length, 'nothing twice');
  });
});
