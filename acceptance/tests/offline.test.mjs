// What a user finds that was away: unread counts, conversations, history in pages (protocol 02 §6, §7, §14.1).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { sleep, until } from '../harness/wait.mjs';

const c2c = (userID) => `C2C${userID}`;

/** An account that exists and is offline. */
async function absent(world, name) {
  const user = world.user(name);
  await user.login();
  await user.leave();
  return user.userID;
}

async function back(world, userID) {
  const user = world.user(userID, { exact: true });
  await user.login();
  return user;
}

/** Sends texts fast over a raw socket, all at the same time, and returns the answers. */
async function flood(raw, to, texts) {
  const answers = await Promise.all(texts.map((text) => raw.request('openim.sendmsg', raw.textMessage(to, text))));
  for (const answer of answers) assert.equal(answer.ErrorCode, 0, answer.ErrorInfo);
  return answers;
}

const numbered = (n, prefix = 'm') => Array.from({ length: n }, (_, i) => `${prefix}${i}`);

// The limit of commands per connection is off: one test asks as fast as it is answered.
engines('offline', { env: { IMSERVER_LIMITS_COMMAND_RATE: '0' } }, ({ test }) => {
  test('who was away finds unread counts, last messages and history', async (world) => {
    const bobID = await absent(world, 'bob');
    const [alice, carol] = await world.users('alice', 'carol');
    for (const text of ['one', 'two', 'three']) await alice.sendText(bobID, text);
    await sleep(1100); // a later second, so that the order of the conversations is defined
    await carol.sendText(bobID, 'hello from carol');

    const bob = await back(world, bobID);
    await bob.waitFor('TOTAL_UNREAD_MESSAGE_COUNT_UPDATED', (n) => n === 4);
    const { data: { conversationList } } = await bob.sdk.getConversationList();
    assert.deepEqual(conversationList.map((c) => [c.conversationID, c.unreadCount, c.lastMessage.payload.text, c.lastMessage.fromAccount]), [
      [c2c(carol.userID), 1, 'hello from carol', carol.userID],
      [c2c(alice.userID), 3, 'three', alice.userID],
    ]);
    const { data } = await bob.sdk.getMessageList({ conversationID: c2c(alice.userID) });
    assert.deepEqual(data.messageList.map((m) => m.payload.text), ['one', 'two', 'three']);
    assert.equal(data.isCompleted, true);
    assert.equal(bob.received().length, 0, 'missed messages are no news after a first login');
  });

  test('unread survives a relogin, and reading ends it', async (world) => {
    const bobID = await absent(world, 'bob');
    const [alice] = await world.users('alice');
    await alice.sendText(bobID, 'one');
    await alice.sendText(bobID, 'two');
    for (let i = 0; i < 2; i++) {
      const bob = await back(world, bobID);
      await bob.unread(2);
      await bob.leave();
    }
    const bob = await back(world, bobID);
    await bob.unread(2);
    await bob.sdk.setMessageRead({ conversationID: c2c(alice.userID) });
    await bob.leave();
    const reader = await back(world, bobID);
    await reader.waitFor('CONVERSATION_LIST_UPDATED', (list) => list.length === 1);
    await reader.expectNone('TOTAL_UNREAD_MESSAGE_COUNT_UPDATED', (n) => n > 0, { within: 1200 });
    await reader.unread(0);
    await alice.sendText(bobID, 'three');
    await reader.waitFor('TOTAL_UNREAD_MESSAGE_COUNT_UPDATED', (n) => n === 1);
  });

  test('history in pages towards older, complete and in order', async (world) => {
    const bobID = await absent(world, 'bob');
    const raw = await world.raw({ login: world.id('alice') });
    for (let i = 0; i < 40; i += 10) await flood(raw, bobID, numbered(40).slice(i, i + 10));
    const bob = await back(world, bobID);
    const conversationID = c2c(raw.userID);
    const pages = [];
    let next;
    do {
      const { data } = await bob.sdk.getMessageList({ conversationID, nextReqMessageID: next });
      assert.ok(data.messageList.length <= 15);
      pages.unshift(...data.messageList);
      next = data.nextReqMessageID;
      if (data.isCompleted) break;
    } while (next);
    const texts = pages.map((m) => m.payload.text);
    assert.deepEqual([...texts].sort(), numbered(40).sort(), 'nothing missing, nothing twice');
    const times = pages.map((m) => m.time);
    assert.deepEqual(times, [...times].sort((a, b) => a - b));
    assert.deepEqual(texts.map((t) => Math.floor(Number(t.slice(1)) / 10)), numbered(40).map((t) => Math.floor(Number(t.slice(1)) / 10)), 'in the order of sending');
  });

  test('hopping: history around a time, in both directions', async (world) => {
    const bobID = await absent(world, 'bob');
    const raw = await world.raw({ login: world.id('alice') });
    await flood(raw, bobID, numbered(5, 'old'));
    await sleep(2100);
    const [{ MsgTime }] = await flood(raw, bobID, ['middle']);
    await sleep(2100);
    await flood(raw, bobID, numbered(5, 'new'));
    const bob = await back(world, bobID);
    const conversationID = c2c(raw.userID);
    const older = await bob.sdk.getMessageListHopping({ conversationID, time: MsgTime, direction: 0 });
    assert.deepEqual(older.data.messageList.map((m) => m.payload.text).sort(), ['middle', ...numbered(5, 'old')].sort());
    const newer = await bob.sdk.getMessageListHopping({ conversationID, time: MsgTime, direction: 1 });
    assert.deepEqual(newer.data.messageList.map((m) => m.payload.text).sort(), ['middle', ...numbered(5, 'new')].sort());
  });

  test('pages by key and by time, as the protocol has them', async (world) => {
    const bobID = await absent(world, 'bob');
    const raw = await world.raw({ login: world.id('alice') });
    const sent = [];
    for (const text of numbered(30)) sent.push(...(await flood(raw, bobID, [text])));
    const page = (fields) => raw.request('openim.getroammsg', { Peer_Account: bobID, MaxCnt: 8, LastMsgTime: 0, MsgKey: '', GetDirection: 0, WithRecalledMsg: 1, ...fields });
    const texts = (answer) => answer.MsgList.map((m) => m.MsgBody[0].MsgContent.Text);

    // Towards older by key, from the newest.
    const back8 = [];
    let cursor = {};
    for (let i = 0; ; i++) {
      const answer = await page(cursor);
      assert.equal(answer.ErrorCode, 0);
      assert.equal(answer.MsgCnt, answer.MsgList.length);
      back8.unshift(...texts(answer));
      if (answer.MsgList.length) {
        assert.equal(answer.LastMsgTime, answer.MsgList[0].MsgTimeStamp, 'the cursor is the oldest item');
        assert.equal(answer.MsgKey, `${answer.MsgList[0].MsgSeq}_${answer.MsgList[0].MsgRandom}_${answer.MsgList[0].MsgTimeStamp}`);
      }
      if (answer.Complete) break;
      assert.ok(i < 10, 'paging ends');
      cursor = { LastMsgTime: answer.LastMsgTime, MsgKey: answer.MsgKey };
    }
    assert.deepEqual(back8, numbered(30));

    // Towards newer by key, from the first message.
    const forth = [];
    cursor = { LastMsgTime: sent[0].MsgTime, MsgKey: sent[0].MsgKey };
    for (let i = 0; ; i++) {
      const answer = await page({ ...cursor, GetDirection: 1 });
      forth.push(...texts(answer));
      if (answer.Complete) break;
      assert.ok(i < 10, 'paging ends');
      assert.equal(answer.MsgKey, sent[forth.length].MsgKey, 'the cursor is the newest item');
      cursor = { LastMsgTime: answer.LastMsgTime, MsgKey: answer.MsgKey };
    }
    assert.deepEqual(forth, numbered(30).slice(1), 'the item of the key itself is excluded');
  });

  test('a page by time alone never ends inside a second', async (world) => {
    const bobID = await absent(world, 'bob');
    const raw = await world.raw({ login: world.id('alice') });
    const times = new Map();
    for (let i = 0; i < 60; i += 20) {
      for (const { MsgTime } of await flood(raw, bobID, numbered(20, `s${i}`))) times.set(MsgTime, (times.get(MsgTime) ?? 0) + 1);
    }
    const [first] = [...times.keys()].sort();
    const answer = await raw.request('openim.getroammsg', { Peer_Account: bobID, MaxCnt: 16, LastMsgTime: first, MsgKey: '', GetDirection: 1, WithRecalledMsg: 1 });
    const last = answer.MsgList.at(-1).MsgTimeStamp;
    const upTo = [...times].filter(([time]) => time <= last).reduce((sum, [, n]) => sum + n, 0);
    assert.equal(answer.MsgList.length, upTo);
    assert.ok(upTo >= 16);
  });

  test('recovery after an outage brings more than 16 messages of one second, each once', async (world) => {
    const [bob] = await world.users('bob');
    const raw = await world.raw({ node: 1, login: world.id('alice') });
    await flood(raw, bob.userID, ['before']);
    await bob.waitForMessage((m) => m.payload.text === 'before');
    await bob.network.goOffline();
    await bob.waitFor('NET_STATE_CHANGE', (d) => d.state === 'disconnected');
    await sleep(1100);
    await flood(raw, bob.userID, numbered(40));
    const since = bob.mark();
    await bob.network.goOnline();
    await bob.sdk.getUserProfile({ userIDList: [world.id('x')] }).catch(() => {}); // any request makes the SDK reconnect
    await until(() => bob.received(since).length >= 40, { timeout: 10000, what: '40 messages' })
      .catch(() => {});
    const got = bob.received(since).map((m) => m.payload.text);
    assert.deepEqual([...got].sort(), numbered(40).sort());
    const { MsgList } = await raw.request('openim.getroammsg', { Peer_Account: bob.userID, MaxCnt: 41, LastMsgTime: 0, MsgKey: '', GetDirection: 0, WithRecalledMsg: 1 });
    assert.deepEqual(['before', ...got], MsgList.map((m) => m.MsgBody[0].MsgContent.Text), 'in the order of the log');
    await bob.unread(41);
  });

  test('conversations stay after a relogin for both sides, newest first', async (world) => {
    const [alice, bob, carol] = await world.users('alice', 'bob', 'carol');
    await alice.sendText(bob.userID, 'to bob');
    await sleep(1100);
    await alice.send('Custom', carol.userID, { data: 'x', description: 'd', extension: 'e' });
    await alice.leave();
    const again = await back(world, alice.userID);
    const list = await again.waitFor('CONVERSATION_LIST_UPDATED', (l) => l.length === 2);
    assert.deepEqual(list.map((c) => [c.conversationID, c.type, c.lastMessage.type]), [
      [c2c(carol.userID), 'C2C', 'TIMCustomElem'], [c2c(bob.userID), 'C2C', 'TIMTextElem'],
    ]);
    assert.deepEqual(list.map((c) => c.unreadCount), [0, 0]);
  });

  test('lists read while messages arrive never fall behind the pushes', async (world) => {
    // An SDK puts these answers in the place of what it has: what was pushed before must be in them.
    const me = await world.raw({ login: world.id('me') });
    const peers = await Promise.all(Array.from({ length: 8 }, (_, i) => world.raw({ node: i, login: world.id(`p${i}`) })));
    let running = true;
    const reading = (async () => {
      while (running) {
        await Promise.all([
          me.request('recentcontact.page_get', { From_Account: me.userID, TimeStamp: 0, StartIndex: 0, TopTimeStamp: 0, TopStartIndex: 0 }),
          me.request('openim.getmsg', { Cookie: '', SyncFlag: 0 }),
        ]);
      }
    })();
    for (const [i, peer] of peers.entries()) {
      for (let n = 0; n < 3; n++) {
        const { ErrorCode } = await peer.request('openim.sendmsg', peer.textMessage(me.userID, `${i} ${n}`));
        assert.equal(ErrorCode, 0);
        await sleep(30);
      }
    }
    running = false;
    await reading;
    const pushed = new Map();
    for (const { head, body } of me.frames) {
      if (head.servcmd === 'im_open_push.msg_push') {
        for (const m of body.EventArray.flatMap((e) => e.C2cMsgArray ?? [])) pushed.set(m.From_Account, (pushed.get(m.From_Account) ?? 0) + 1);
      } else if (head.servcmd === 'recentcontact.page_get') {
        const listed = (body.SessionItem ?? []).map((item) => item.To_Account);
        for (const peer of pushed.keys()) assert.ok(listed.includes(peer), 'a pushed conversation is in a later list');
      } else if (head.servcmd === 'openim.getmsg') {
        assert.equal(body.ErrorCode, 0, body.ErrorInfo);
        const counts = new Map(body.C2CPairUnreadCount.map((c) => [c.From_Account, c.UnreadCount]));
        for (const [peer, n] of pushed) assert.ok((counts.get(peer) ?? 0) >= n, 'a pushed message counts in a later answer');
      }
    }
    assert.equal(pushed.size, 8);
  });

  test('page_get pages: a client with many conversations gets each once', async (world) => {
    const me = await world.raw({ login: world.id('me') });
    const peers = [];
    for (let i = 0; i < 6; i++) {
      const peer = await world.raw({ node: i, login: world.id(`p${i}`) });
      const { ErrorCode } = await peer.request('openim.sendmsg', peer.textMessage(me.userID, `from ${i}`));
      assert.equal(ErrorCode, 0);
      peers.push(peer.userID);
    }
    const seen = [];
    let cursor = { TimeStamp: 0, StartIndex: 0, TopTimeStamp: 0, TopStartIndex: 0 };
    for (let i = 0; ; i++) {
      const answer = await me.request('recentcontact.page_get', { From_Account: me.userID, ...cursor, OrderType: 1, MsgAssistFlags: 15, AssistFlags: 31 });
      assert.equal(answer.ErrorCode, 0);
      for (const item of answer.SessionItem ?? []) {
        assert.equal(item.Type, 1);
        assert.ok(item.LastMsg.MsgBody.length > 0);
        assert.equal(item.LastC2cMsgFrom_Account, item.To_Account);
        seen.push(item.To_Account);
      }
      if (answer.CompleteFlag) break;
      assert.ok(i < 10, 'paging ends');
      cursor = { TimeStamp: answer.TimeStamp, StartIndex: answer.StartIndex, TopTimeStamp: answer.TopTimeStamp, TopStartIndex: answer.TopStartIndex };
    }
    assert.deepEqual(seen.sort(), peers.sort());
    const sync = await me.request('openim.getmsg', { Cookie: '', SyncFlag: 0, NeedAbstract: 1, IsOnlineSync: 0, NeedSignaling: 1, NeedCachedMsg: 1 });
    assert.notEqual(sync.Cookie, '');
    assert.deepEqual(sync.C2CPairUnreadCount.map((c) => [c.From_Account, c.UnreadCount]).sort(), peers.map((p) => [p, 1]).sort());
  });
});
