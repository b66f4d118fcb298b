// What is attached to messages, merged messages, signaling, local word lists, translation (protocol 02 §15–§19, 05 E).
import assert from 'node:assert/strict';
import http from 'node:http';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { engines } from '../harness/engines.mjs';

const c2c = (user) => `C2C${user.userID}`;
const has = (id) => (list) => list.some((m) => m.ID === id);

// An engine for translation: it answers in capitals. And a configuration that names it and two words.
const translator = http.createServer((request, response) => {
  let body = '';
  request.on('data', (part) => { body += part; });
  request.on('end', () => response.end(JSON.stringify({ texts: JSON.parse(body).texts.map((t) => t.toUpperCase()) })));
});
await new Promise((resolve) => translator.listen(0, '127.0.0.1', resolve));
translator.unref();
const dir = mkdtempSync(join(tmpdir(), 'imserver-words-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
const config = join(dir, 'imserver.yaml');
writeFileSync(config, `defaults:
  words:
    - {text: darn, replace: "****"}
    - {text: scoundrel}
  translate: {url: "http://127.0.0.1:${translator.address().port}/"}
`);

engines('messages: more', { env: { IMSERVER_MAX_WEB_INSTANCES: '5', IMSERVER_CONFIG: config }, timeout: 60000 }, ({ test }) => {
  for (const [first, second] of [['v3', 'v3'], ['v3', 'v2'], ['v2', 'v3']]) {
    test(`extensions, ${first} to ${second}`, async (world) => {
      const ann = world.user('ann', { generation: first });
      const ben = world.user('ben', { generation: second });
      await Promise.all([ann.login(), ben.login()]);
      const ann2 = await world.device(ann);
      const poll = await ann.sendText(ben.userID, 'poll', { isSupportExtension: true });
      const got = await ben.waitForMessage((m) => m.ID === poll.ID);
      await ann2.waitForMessage((m) => m.ID === poll.ID);
      const set = await ben.sdk.setMessageExtensions(got, [{ key: 'a', value: '1' }, { key: 'b', value: '2' }]);
      assert.equal(JSON.stringify(set.data).includes('23001'), false);
      for (const d of [ann, ann2]) await d.waitFor('MESSAGE_EXTENSIONS_UPDATED', (data) => JSON.stringify(data).includes(poll.ID));
      const { data } = await ann.sdk.getMessageExtensions(poll);
      assert.deepEqual(data.extensions.map((e) => [e.key, e.value]).sort(), [['a', '1'], ['b', '2']]);
      await ann.sdk.deleteMessageExtensions(poll, ['a']);
      for (const d of [ben, ann2]) await d.waitFor('MESSAGE_EXTENSIONS_DELETED', (deleted) => JSON.stringify(deleted).includes(poll.ID));
      await ben.sdk.deleteMessageExtensions(got);
      assert.deepEqual((await ann.sdk.getMessageExtensions(poll)).data.extensions, []);
    });
  }

  test('reactions of both sides, on every device', async (world) => {
    const [ann, ben] = await world.users('ann', 'ben');
    const ann2 = await world.device(ann);
    const sent = await ann.sendText(ben.userID, 'news');
    const got = await ben.waitForMessage((m) => m.ID === sent.ID);
    await ann2.waitForMessage((m) => m.ID === sent.ID);
    const count = (n) => (data) => { const text = JSON.stringify(data); return text.includes(sent.ID) && text.includes(`"totalUserCount":${n}`); };
    await ann.sdk.addMessageReaction(sent, 'smile');
    for (const d of [ann, ann2, ben]) await d.waitFor('MESSAGE_REACTIONS_UPDATED', count(1));
    await ben.sdk.addMessageReaction(got, 'smile');
    for (const d of [ann, ann2, ben]) await d.waitFor('MESSAGE_REACTIONS_UPDATED', count(2));
    const { data } = await ben.sdk.getMessageReactions({ messageList: [got], maxUserCountPerReaction: 5 });
    const smile = data.resultList[0].reactionList[0];
    assert.deepEqual([smile.reactionID, smile.totalUserCount, smile.reactedByMyself], ['smile', 2, true]);
    const all = await ann.sdk.getAllUserListOfMessageReaction({ message: sent, reactionID: 'smile', nextSeq: 0, count: 10 });
    assert.deepEqual(all.data.userList.map((u) => u.userID).sort(), [ann.userID, ben.userID].sort());
    await assert.rejects(ann.sdk.addMessageReaction(sent, 'smile'));
    await ann.sdk.removeMessageReaction(sent, 'smile');
    await ben.sdk.removeMessageReaction(got, 'smile');
    for (const d of [ann, ann2, ben]) await d.waitFor('MESSAGE_REACTIONS_UPDATED', count(0));
  });

  for (const [first, second] of [['v3', 'v3'], ['v3', 'v2'], ['v2', 'v3']]) {
    test(`a large merged message, ${first} to ${second}`, async (world) => {
      const ann = world.user('ann', { generation: first });
      const ben = world.user('ben', { generation: second });
      await Promise.all([ann.login(), ben.login()]);
      const parts = [];
      for (let i = 0; i < 4; i++) parts.push(await ann.sendText(ben.userID, `${i} ${'long '.repeat(1000)}`));
      const merged = await ann.send('Merger', ben.userID, { messageList: parts, title: 'T', abstractList: ['a'], compatibleText: 'c' });
      const got = await ben.waitForMessage((m) => m.ID === merged.ID);
      assert.ok(got.payload.downloadKey, 'too large to travel inside');
      const full = await ben.sdk.downloadMergerMessage(got);
      assert.deepEqual(full.payload.messageList.map((m) => m.ID), parts.map((m) => m.ID));
    });
  }

  test('signaling: invite, accept, reject, cancel, modify', async (world) => {
    const [ann, ben] = await world.users('ann', 'ben');
    const invite = async (data) => {
      const { inviteID } = await ann.sdk.invite({ userID: ben.userID, data, timeout: 30 }).then((r) => (r.inviteID ? r : r.data));
      await ben.waitFor('NEW_INVITATION_RECEIVED', (i) => i.inviteID === inviteID && i.data === data);
      return inviteID;
    };
    const one = await invite('one');
    await ann.sdk.modifyInvitation({ inviteID: one, data: 'changed' });
    await ben.waitFor('INVITATION_MODIFIED', (i) => i.inviteID === one && i.data === 'changed');
    await ben.sdk.accept({ inviteID: one, data: 'yes' });
    await ann.waitFor('INVITEE_ACCEPTED', (i) => i.inviteID === one && i.data === 'yes');
    const two = await invite('two');
    await ben.sdk.reject({ inviteID: two, data: 'no' });
    await ann.waitFor('INVITEE_REJECTED', (i) => i.inviteID === two && i.data === 'no');
    const three = await invite('three');
    await ann.sdk.cancel({ inviteID: three, data: 'never mind' });
    await ben.waitFor('INVITATION_CANCELLED', (i) => i.inviteID === three);
  });

  test('signaling: an invitee who was away hears of a running invitation, and both of its end', async (world) => {
    const [ann, ben] = await world.users('ann', 'ben');
    await ben.leave();
    const { inviteID } = await ann.sdk.invite({ userID: ben.userID, data: 'call', timeout: 12 }).then((r) => (r.inviteID ? r : r.data));
    const again = world.user(ben.userID, { exact: true });
    await again.login();
    await again.waitFor('NEW_INVITATION_RECEIVED', (i) => i.inviteID === inviteID, { timeout: 12000 });
    await again.waitFor('INVITATION_TIMEOUT', (i) => i.inviteID === inviteID, { timeout: 25000 });
    await ann.waitFor('INVITATION_TIMEOUT', (i) => i.inviteID === inviteID, { timeout: 25000 });
  });

  test('the word list filters in the sender', async (world) => {
    const ann = world.user('ann');
    const [ben] = await world.users('ben');
    await ann.started;
    await ann.registerPlugin('tim-profanity-filter-plugin', 'tim-profanity-filter-plugin');
    await ann.login();
    await ann.waitForFrame((f) => !f.out && f.head.servcmd === 'im_msg_audit_mgr.get_local_words');
    await new Promise((resolve) => setTimeout(resolve, 300)); // the plugin decrypts
    await ann.sendText(ben.userID, 'well darn it');
    await ben.waitForMessage((m) => m.payload.text === 'well **** it');
    await assert.rejects(ann.sendText(ben.userID, 'you scoundrel'), (e) => e.code === 3123);
  });

  test('translation by the configured service, and speech without one', async (world) => {
    const [ann, ben] = await world.users('ann', 'ben');
    const { data } = await ann.sdk.translateText({ sourceTextList: ['hello', 'bye'], sourceLanguage: 'en', targetLanguage: 'de' });
    assert.deepEqual(data.translatedTextList, ['HELLO', 'BYE']);
    const raw = await world.raw({ login: ben.userID });
    const answer = await raw.request('im_open_speech.ws_sentence_recognition', { BytesUrl: 'http://127.0.0.1/a.mp3', BytesVoiceFormat: 'mp3' });
    assert.equal(answer.CmdErrorCode.ErrorCode, 60020);
    assert.ok(answer.CmdErrorCode.ErrorInfo);
  });

  test('an unknown merged message, and one of too many', async (world) => {
    const raw = await world.raw({ login: world.id('ann') });
    assert.equal((await raw.request('im_long_msg.get_relay_json_msg', { JsonMsgKey: 'guess' })).ErrorCode, 20022);
    assert.equal((await raw.request('im_long_msg.save_relay_json_msg', { MsgList: Array.from({ length: 301 }, () => ({})) })).ErrorCode, 20001);
  });
});
