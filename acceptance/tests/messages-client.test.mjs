// What the SDK does with messages by itself, or nearly so, and what a server must not break of it: sending a failed
// message again, finding one, drafts, signaling in its other forms, speech that is not configured.
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';

const c2c = (user) => `C2C${user.userID}`;

engines('messages: client', { env: { IMSERVER_MAX_WEB_INSTANCES: '3' } }, ({ test }) => {
  test('a message that failed is sent again as itself', async (world) => {
    const [alice] = await world.users('alice');
    const late = world.id('late');
    const message = await alice.sdk.createTextMessage({ to: late, conversationType: 'C2C', payload: { text: 'second try' } });
    await assert.rejects(alice.sdk.sendMessage(message), { code: 20003 });
    const bob = world.user(late, { exact: true });
    await bob.login(); // now there is such an account
    const { data } = await alice.sdk.resendMessage(message);
    assert.deepEqual([data.message.ID, data.message.status], [message.ID, 'success']);
    const got = await bob.waitForMessage((m) => m.ID === message.ID);
    assert.equal(got.payload.text, 'second try');
    const history = await bob.sdk.getMessageList({ conversationID: c2c(alice) });
    assert.deepEqual(history.data.messageList.map((m) => m.ID), [message.ID]);
    await bob.unread(1);
    const [, ...copies] = alice.frames.filter((f) => f.out && f.head.servcmd === 'openim.sendmsg').map((f) => [f.body.MsgSeq, f.body.MsgRandom]);
    assert.equal(copies.length, 1);
  });

  for (const generation of ['v3', 'v2']) {
    test(`${generation}: a message is found by its ID`, async (world) => {
      const [alice] = await world.users('alice');
      const bob = world.user('bob', { generation });
      await bob.login();
      const sent = await alice.sendText(bob.userID, 'find me');
      await bob.waitForMessage((m) => m.ID === sent.ID);
      assert.equal((await bob.sdk.findMessage(sent.ID)).payload.text, 'find me');
      await alice.sdk.revokeMessage(sent);
      await bob.waitFor('MESSAGE_REVOKED', (list) => list.some((m) => m.ID === sent.ID));
      assert.equal((await bob.sdk.findMessage(sent.ID)).isRevoked, true);
      assert.equal(await bob.sdk.findMessage('1-2-3'), null);
    });
  }

  test('a draft stays in its device and survives new messages', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const phone = await world.device(alice);
    await bob.sendText(alice.userID, 'hi');
    for (const d of [alice, phone]) await d.waitFor('CONVERSATION_LIST_UPDATED', (list) => list.some((c) => c.conversationID === c2c(bob)));
    await alice.sdk.setConversationDraft({ conversationID: c2c(bob), draftText: 'not yet said' });
    const draft = (list) => list.find((c) => c.conversationID === c2c(bob))?.draftText;
    await alice.waitFor('CONVERSATION_LIST_UPDATED', (list) => draft(list) === 'not yet said');
    const sent = await bob.sendText(alice.userID, 'are you there?');
    for (const d of [alice, phone]) await d.waitForMessage((m) => m.ID === sent.ID);
    const shown = async (d) => (await d.sdk.getConversationProfile(c2c(bob))).data.conversation;
    assert.deepEqual([(await shown(alice)).draftText, (await shown(alice)).lastMessage.payload.text], ['not yet said', 'are you there?']);
    assert.equal((await shown(phone)).draftText, '');
  });

  test('signaling with callbacks, and what a message says about it', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    await Promise.all([alice, bob].map((user) => user.waitFor('SERVER_CONFIG_UPDATED')));
    await alice.sdk.inviteSync({ userID: bob.userID, data: 'sync', timeout: 30 }, { $event: 'onInvited' }, { $event: 'onRefused' });
    await alice.waitFor('onInvited');
    const seen = await bob.waitFor('NEW_INVITATION_RECEIVED', (i) => i.data === 'sync');
    const carrier = await bob.waitForMessage((m) => m.type === 'TIMCustomElem' && m.payload.data.includes(seen.inviteID));
    const info = await bob.sdk.getSignalingInfo(carrier);
    assert.deepEqual([info.inviteID, info.inviter, info.data, info.actionType], [seen.inviteID, alice.userID, 'sync', 1]);
    await bob.sdk.accept({ inviteID: seen.inviteID, data: 'yes' });
    await alice.waitFor('INVITEE_ACCEPTED', (i) => i.inviteID === seen.inviteID);
  });

  test('signaling in a group reaches those who are named', async (world) => {
    const [alice, bob, carol] = await world.users('alice', 'bob', 'carol');
    await Promise.all([alice, bob, carol].map((user) => user.waitFor('SERVER_CONFIG_UPDATED')));
    const { data } = await alice.sdk.createGroup({ type: 'Public', name: 'Team', memberList: [bob, carol].map((u) => ({ userID: u.userID })) });
    const { groupID } = data.group;
    for (const u of [bob, carol]) await u.waitForGroup(groupID);
    const invited = await alice.sdk.inviteInGroup({ groupID, inviteeList: [bob.userID], data: 'stand-up', timeout: 30 });
    const { inviteID } = invited.inviteID ? invited : invited.data;
    await bob.waitFor('NEW_INVITATION_RECEIVED', (i) => i.inviteID === inviteID && i.groupID === groupID);
    await bob.sdk.reject({ inviteID, data: 'busy' });
    await alice.waitFor('INVITEE_REJECTED', (i) => i.inviteID === inviteID && i.invitee === bob.userID);
    assert.equal(carol.events.some((e) => e.event === 'NEW_INVITATION_RECEIVED'), false);
    await alice.sdk.inviteInGroupSync({ groupID, inviteeList: [bob.userID, carol.userID], data: 'again', timeout: 30 }, { $event: 'onInvited' }, { $event: 'onRefused' });
    for (const u of [bob, carol]) await u.waitFor('NEW_INVITATION_RECEIVED', (i) => i.data === 'again');
  });

  test('speech that is not configured is refused with a text', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const raw = await world.raw({ login: world.id('raw') });
    const UUID = 'voice';
    await raw.request('openim.sendmsg', raw.textMessage(bob.userID, '', { MsgBody: [{ MsgType: 'TIMSoundElem', MsgContent: { Url: 'http://127.0.0.1:9/a.mp3', UUID, Size: 100, Second: 2, Download_Flag: 2 } }] }));
    const voice = await bob.waitForMessage((m) => m.type === 'TIMSoundElem');
    await assert.rejects(bob.sdk.convertVoiceToText({ message: voice, language: 'en (US)' }), (error) => error.code === 2118);
    world.refused('convertVoiceToText');
    const asked = bob.frames.filter((f) => f.head.servcmd === 'im_open_speech.ws_sentence_recognition');
    assert.deepEqual(asked.map((f) => (f.out ? 'asked' : f.body.CmdErrorCode.ErrorCode)), ['asked', 60020]);
    assert.ok(asked[1].body.CmdErrorCode.ErrorInfo);
    assert.deepEqual(alice.crashes, []);
  });

  test('an acknowledgement of a push costs nothing and is answered by nothing bad', async (world) => {
    const raw = await world.raw({ login: world.id('raw') });
    raw.sendRaw(JSON.stringify({ head: raw.head('openim.ws_msg_push_ack'), body: { SessionData: 'whatever' } }));
    assert.equal((await raw.request('heartbeat.alive')).ErrorCode, 0);
    assert.ok(raw.open);
    assert.equal(raw.frames.some((f) => f.head.servcmd === 'openim.ws_msg_push_ack' && f.body?.ErrorCode), false);
  });
});
