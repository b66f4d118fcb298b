// The WebSocket door itself: paths, frames, heartbeats, bad input (protocol 01 §1–§6, traps).
import assert from 'node:assert/strict';
import { request } from 'node:http';
import WebSocket from 'ws';
import { engines } from '../harness/engines.mjs';
import { expiredSig, userSig } from '../harness/sig.mjs';

const anything = (raw) => raw.request('recentcontact.page_get', { From_Account: raw.userID, TimeStamp: 0, StartIndex: 0, TopTimeStamp: 0, TopStartIndex: 0 });

engines('transport', {}, ({ test }) => {
  for (const path of ['/binfo', '//binfo', '/im/gw/binfo', '/']) {
    test(`${path} speaks binary frames`, async (world) => {
      const raw = await world.raw({ path, login: world.id('alice') });
      assert.equal((await anything(raw)).ErrorCode, 0);
      assert.ok(raw.frames.every((f) => f.binary));
      assert.equal(raw.socket.protocol, '');
    });
  }

  for (const path of ['/info', '//info']) {
    test(`${path} speaks text frames, never compressed`, async (world) => {
      const raw = await world.raw({ path, login: world.id('alice') });
      const bob = await world.raw({ node: 1, login: world.id('bob') });
      await bob.request('openim.sendmsg', bob.textMessage(raw.userID, 'x'.repeat(10000)));
      await raw.waitForEvent((e) => e.C2cMsgArray);
      assert.equal((await raw.request('openim.getroammsg', { Peer_Account: bob.userID, MaxCnt: 15, LastMsgTime: 0, MsgKey: '', GetDirection: 0 })).MsgList.length, 1);
      assert.ok(raw.frames.every((f) => !f.binary && !f.compressed));
    });
  }

  test('the SDK works in text mode', async (world) => {
    const alice = world.user('alice', { options: { devMode: true } });
    const bob = world.user('bob');
    await Promise.all([alice.login(), bob.login()]);
    await bob.sendText(alice.userID, 'x'.repeat(5000));
    await alice.waitForMessage((m) => m.payload.text.length === 5000);
    const sent = await alice.sendText(bob.userID, 'text mode');
    await bob.waitForMessage((m) => m.ID === sent.ID);
    assert.ok(alice.frames.filter((f) => !f.out).every((f) => !f.binary));
  });

  test('the SDK works behind a proxyServer with a trailing slash', async (world) => {
    const alice = world.user('alice', { path: '/' });
    await alice.login();
    assert.equal((await alice.sdk.getMyProfile()).data.userID, alice.userID);
  });

  test('large frames are compressed where the client can inflate, and only there', async (world) => {
    const bob = await world.raw({ login: world.id('bob') });
    const big = 'compress me '.repeat(800);
    for (const [query, compressed] of [[{ compress: 'gzip' }, true], [{ compress: '' }, false]]) {
      const alice = await world.raw({ login: world.id('alice'), query });
      await bob.request('openim.sendmsg', bob.textMessage(alice.userID, big));
      await alice.waitForEvent((e) => e.C2cMsgArray?.[0].MsgBody[0].MsgContent.Text === big);
      assert.equal(alice.frames.some((f) => f.compressed), compressed);
      assert.equal(alice.frames.find((f) => f.head.servcmd === 'im_open_status.wslogin').compressed, false, 'small frames are not');
    }
  });

  test('any origin may connect; no sub-protocol is chosen', async (world) => {
    const raw = await world.raw({ headers: { Origin: 'https://app.example.com' } });
    assert.equal((await raw.request('heartbeat.alive')).ErrorCode, 0);
    const other = new WebSocket(`${world.node().url}/binfo?sdkappid=${world.app.appID}`, ['chat'], { followRedirects: false });
    await new Promise((resolve) => { other.once('open', resolve); other.once('error', resolve); });
    other.terminate();
  });

  test('//binfo is answered, not redirected', async (world) => {
    const { port } = new URL(world.node().http);
    const status = await new Promise((resolve, reject) => {
      const req = request({ host: '127.0.0.1', port, path: '//binfo?sdkappid=1', headers: {
        Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': Buffer.from('0123456789abcdef').toString('base64'),
      } });
      req.on('upgrade', (response, socket) => { socket.destroy(); resolve(response.statusCode); });
      req.on('response', (response) => { response.resume(); resolve(response.statusCode); });
      req.on('error', reject);
      req.end();
    });
    assert.equal(status, 101);
  });

  test('heartbeats always succeed: anonymous, with a stale key, after logout', async (world) => {
    const raw = await world.raw();
    for (const head of [{}, { a2: 'stale', tinyid: '1', identifier: undefined, usersig: undefined }, { identifier: 'x', usersig: 'rubbish' }]) {
      assert.equal((await raw.request('heartbeat.alive', {}, { head, timeout: 2000 })).ErrorCode, 0);
    }
  });

  test('what needs no login works without one, the rest does not', async (world) => {
    const raw = await world.raw();
    const report = { Header: { sdk_type: 10 }, Event: [], Quality: [] };
    assert.equal((await raw.request('imopenstat.tim_web_report_v2', report, { head: { identifier: undefined, usersig: undefined, contenttype: '' } })).ErrorCode, 0);
    assert.equal((await raw.request('im_open_status.wslogout', { wslogout_type: 1 })).ErrorCode, 0);
    for (const name of ['openim.getmsg', 'profile.portrait_get_all', 'openim.sendmsg', 'recentcontact.page_get']) {
      const { ErrorCode, ErrorInfo } = await raw.request(name);
      assert.ok(![0, 70001, 20002].includes(ErrorCode), `${name}: ${ErrorCode}`);
      assert.notEqual(ErrorInfo, '');
    }
  });

  test('unknown commands answer 60009, with any name', async (world) => {
    const raw = await world.raw({ login: world.id('alice') });
    for (const name of ['nonsense.command', 'openim', 'openim.', '.', 'openim.sendmsg2', 'x'.repeat(10000), '__proto__.constructor', 'ÜÖ.世界']) {
      const answer = await raw.request(name).catch(() => ({ ErrorCode: 'no answer' }));
      assert.deepEqual([answer.ActionStatus, answer.ErrorCode], ['FAIL', 60009], name.slice(0, 40));
      assert.notEqual(answer.ErrorInfo, '');
    }
  });

  test('answers echo servcmd and seq, come in any order, and all come', async (world) => {
    const raw = await world.raw({ login: world.id('alice') });
    const names = ['profile.portrait_get_all', 'openim.getmsg', 'recentcontact.page_get', 'heartbeat.alive', 'nonsense.command'];
    const all = await Promise.all(Array.from({ length: 200 }, (_, i) => raw.request(names[i % names.length], { From_Account: raw.userID, UserItem: [], Cookie: '', SyncFlag: 0, TimeStamp: 0, StartIndex: 0, TopTimeStamp: 0, TopStartIndex: 0 })));
    assert.equal(all.length, 200);
    assert.deepEqual(raw.pushes.filter((p) => p.head.servcmd !== 'im_open_push.msg_push'), [], 'no answer is left without its request');
  });

  test('bad frames are ignored or answered, and cost nobody anything', async (world) => {
    const neighbour = await world.raw({ login: world.id('neighbour') });
    const raw = await world.raw({ login: world.id('alice') });
    const nested = (n) => '['.repeat(n) + ']'.repeat(n);
    const head = (extra) => JSON.stringify(raw.head('openim.sendmsg', extra));
    const rubbish = [
      '', 'not json', '{', '[]', 'null', '42', '"text"', '{}', '{"head":null}', '{"head":{}}', '{"head":[],"body":{}}', '{"body":{}}',
      '{"head":{"servcmd":5,"seq":1},"body":{}}', '{"head":{"servcmd":"openim.sendmsg","seq":"x"},"body":{}}',
      '{"head":{"servcmd":"openim.sendmsg","seq":{}},"body":{}}', '{"head":{"servcmd":"openim.sendmsg","seq":99999999999999999999999999},"body":{}}',
      `{"head":${head()},"body":null}`, `{"head":${head()},"body":[]}`, `{"head":${head()},"body":"text"}`, `{"head":${head()}}`,
      `{"head":${head()},"body":${nested(100000)}}`, nested(500000), `{"head":${nested(100000)},"body":{}}`,
      Buffer.from([0xff, 0xfe, 0x00, 0x80]), Buffer.from('{"head":{"servcmd":"\xff\xfe","seq":1},"body":{}}', 'latin1'),
      Buffer.from('COMPxxxx'), Buffer.alloc(1024 * 1024, 'a'),
    ];
    for (const data of rubbish) {
      raw.sendRaw(data);
      assert.equal((await raw.request('heartbeat.alive', {}, { timeout: 3000 })).ErrorCode, 0, `after ${String(data).slice(0, 60)}`);
    }
    assert.ok(raw.open);
    assert.equal((await anything(raw)).ErrorCode, 0);
    assert.equal((await anything(neighbour)).ErrorCode, 0);
    for (const { head: answered, body } of raw.pushes.filter((p) => p.head.servcmd !== 'im_open_push.msg_push')) {
      assert.equal(typeof body, 'object', 'even then every frame has a body');
      assert.ok(answered.servcmd !== undefined);
      assert.notEqual(body.ErrorCode, 0);
      assert.notEqual(body.ErrorInfo, '');
    }
  });

  test('bad bodies answer an error code at once', async (world) => {
    const bob = await world.raw({ node: 1, login: world.id('bob') });
    const raw = await world.raw({ login: world.id('alice') });
    const good = raw.textMessage(bob.userID, 'x');
    const long = 'u'.repeat(10000);
    const bad = [
      { ...good, To_Account: 5 }, { ...good, To_Account: ['a'] }, { ...good, To_Account: '' }, { ...good, To_Account: undefined },
      { ...good, MsgSeq: 'x' }, { ...good, MsgSeq: 1.5 }, { ...good, MsgRandom: -1 }, { ...good, MsgRandom: null, MsgSeq: {} },
      { ...good, MsgBody: {} }, { ...good, MsgBody: 'text' }, { ...good, MsgBody: [] }, { ...good, MsgBody: undefined }, { ...good, MsgBody: [1] },
      { ...good, MsgBody: [{ MsgType: 'TIMTextElem' }] }, { ...good, MsgBody: [{ MsgType: 7, MsgContent: {} }] }, { ...good, MsgBody: [{ MsgType: 'TIMTextElem', MsgContent: 'x' }] },
      { ...good, CloudCustomData: 5 }, { ...good, SendMsgControl: 'NoUnread' }, {}, 
    ];
    for (const body of bad) {
      const answer = await raw.request('openim.sendmsg', body);
      assert.notEqual(answer.ErrorCode, 0, JSON.stringify(body).slice(0, 200));
      assert.notEqual(answer.ErrorInfo, '');
      assert.ok(![70001, 20002].includes(answer.ErrorCode));
    }
    assert.equal((await raw.request('openim.sendmsg', { ...good, To_Account: long })).ErrorCode, 20003);
    assert.equal((await raw.request('openim.sendmsg', { ...good, To_Account: world.id('nobody') })).ErrorCode, 20003);
    assert.equal((await raw.request('openim.sendmsg', raw.textMessage(bob.userID, 'x'.repeat(12 * 1024)))).ErrorCode, 80002);
    for (const number of ['99999999999999999999', '-99999999999999999999', '1e400', '9223372036854775808']) {
      const full = raw.head('openim.sendmsg');
      const body = JSON.stringify(good).replace(`"MsgSeq":${good.MsgSeq}`, `"MsgSeq":${number}`);
      const answer = await raw.requestRaw(`{"head":${JSON.stringify(full)},"body":${body}}`, full);
      assert.notEqual(answer.ErrorCode, 0, number);
    }
    assert.equal((await raw.request('profile.portrait_get_all', { From_Account: raw.userID, UserItem: [{ To_Account: long }] })).UserProfileItem[0].To_Account, '@TLS#NOT_FOUND');
    assert.ok(!JSON.stringify(bob.pushes).includes('C2cMsgArray'), 'none of it was delivered');
    assert.equal((await raw.request('openim.sendmsg', good)).ErrorCode, 0);
    await bob.waitForEvent((e) => e.C2cMsgArray);
  });

  test('nobody sends in the name of somebody else', async (world) => {
    const [alice, mallory, bob] = [await world.raw({ login: world.id('alice') }), await world.raw({ login: world.id('mallory') }), await world.raw({ login: world.id('bob') })];
    await mallory.request('openim.sendmsg', mallory.textMessage(bob.userID, 'trust me', { From_Account: alice.userID }));
    await mallory.request('openim.sendmsg', mallory.textMessage(bob.userID, 'end'));
    await bob.waitForEvent((e) => e.C2cMsgArray?.some((m) => m.MsgBody[0].MsgContent.Text === 'end'));
    const senders = bob.pushes.flatMap((p) => p.body.EventArray).flatMap((e) => e.C2cMsgArray ?? []).map((m) => m.From_Account);
    assert.equal(senders.includes(alice.userID), false);
  });

  test('bad tickets: each has its code, and no socket is closed', async (world) => {
    const raw = await world.raw();
    const { app } = world;
    const id = world.id('alice');
    for (const [code, user, sig] of [
      [70001, id, expiredSig(app, id)],
      [70009, id, userSig({ ...app, key: 'another' }, id)],
      [70013, id, userSig(app, 'bob')],
      [70014, id, userSig({ ...app, appID: 1400000009 }, id)],
      [70003, id, userSig(app, id).slice(0, 100)],
      [70003, id, 'x'.repeat(100000)],
      [70003, id, '*'.repeat(500)],
    ]) {
      const answer = await raw.login(user, { sig });
      assert.equal(answer.ErrorCode, code, sig.slice(0, 40));
      assert.notEqual(answer.ErrorInfo, '');
    }
    assert.notEqual((await raw.login('u'.repeat(10000))).ErrorCode, 0);
    assert.notEqual((await raw.login('')).ErrorCode, 0);
    assert.equal((await raw.login(id)).ErrorCode, 0);
  });

  test('an unknown app is refused', async (world) => {
    const raw = await world.raw();
    raw.app = { ...world.app, appID: 5 };
    const answer = await raw.login(world.id('alice'));
    assert.equal(answer.ErrorCode, 70020);
  });

  test('health and metrics answer, and tell nothing secret', async (world) => {
    const raw = await world.raw({ login: world.id('alice') });
    for (const path of ['/healthz', '/readyz']) assert.equal((await fetch(world.node().http + path)).status, 200);
    const metrics = await (await fetch(`${world.node().http}/metrics`)).text();
    assert.match(metrics, /^go_goroutines /m);
    assert.equal(metrics.includes(raw.userID), false);
    const log = world.nodes.map((node) => node.logTail(100000)).join('\n');
    assert.equal(log.includes(raw.session.a2), false, 'no session key in the log');
    assert.equal(log.includes(userSig(world.app, raw.userID).slice(0, 60)), false);
  });
});
