// The SDK's events, row by row (protocol 02 §20): what makes each of them happen, between devices of v3, and between v3
// and v2 as sender and as receiver of the other. Ann acts on one device; her other one and both of Ben's watch.
import assert from 'node:assert/strict';
import { test as plain } from 'node:test';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

/** The table of protocol 02 §20: an event, and everything that must cause it. */
const table = {
  MESSAGE_RECEIVED: ['§5', 'group push', 'recovery'],
  MESSAGE_MODIFIED: ['§10', '§10 in a group', '§4.4', 'missed', 'conflict'],
  MESSAGE_REVOKED: ['§9.1', '§9.4', 'missed'],
  MESSAGE_READ_BY_PEER: ['§8.1', 'get_peer_read_time', 'C2cPeerReadTime'],
  MESSAGE_READ_RECEIPT_RECEIVED: ['§11.1', '§11.4'],
  MESSAGE_EXTENSIONS_UPDATED: ['§15', '§15 in a group'],
  MESSAGE_EXTENSIONS_DELETED: ['§15', '§15 in a group'],
  MESSAGE_REACTIONS_UPDATED: ['§16', '§16 in a group'],
  CONVERSATION_LIST_UPDATED: ['§5', 'page_get', '§14.6'],
  TOTAL_UNREAD_MESSAGE_COUNT_UPDATED: ['§5', 'getmsg', '§8.1', '§8.3', '§12.1'],
  CONVERSATION_GROUP_LIST_UPDATED: ['get_contact_group', 'PushType 5', 'PushType 6', 'PushType 7'],
  CONVERSATION_IN_GROUP_UPDATED: ['PushType 7'],
  ALL_RECEIVE_MESSAGE_OPT_UPDATED: ['§12.3'],
};

/** What no SDK can bring about yet, and what shows it instead. */
const elsewhere = { 'MESSAGE_MODIFIED §4.4': 'internal/message TestHook: only webhooks change a message on its way' };

const c2c = (user) => `C2C${user.userID}`;
const has = (message) => (list) => list.some((m) => m.ID === message.ID);
const names = (message) => (data) => JSON.stringify(data).includes(message.ID);
const modern = (d) => d.generation !== 'v2'; // v2 knows no reactions and no do-not-disturb for everything
const edit = (text) => ({ payload: { text }, _elements: [{ type: 'TIMTextElem', content: { text } }] });

/** What a row works with: devices of two people, and a group of both. */
class Stage {
  async build(world, [first, second]) {
    this.world = world;
    this.ann = world.user('ann', { generation: first, node: 0 });
    this.ben = world.user('ben', { generation: second, node: 1 });
    await Promise.all([this.ann.login(), this.ben.login()]);
    this.ann2 = world.user(this.ann.userID, { exact: true, generation: second, node: 1 });
    this.ben2 = world.user(this.ben.userID, { exact: true, generation: first, node: 0 });
    await Promise.all([this.ann2.login(), this.ben2.login()]);
    this.watching = [this.ann2, this.ben, this.ben2];
    this.all = [this.ann, ...this.watching];
    const { data } = await this.ann.sdk.createGroup({ type: 'Public', name: 'Team', memberList: [{ userID: this.ben.userID }] });
    this.group = data.group.groupID;
    for (const d of [this.ben, this.ben2]) await d.waitForGroup(this.group);
    await this.ann2.waitFor('GROUP_LIST_UPDATED', (list) => list.some((g) => g.groupID === this.group)); // of one's own it asks for no profile
    return this;
  }

  /** A message of Ann's that everybody has; seen(device) is the device's own view of it. */
  async message(text, options = {}, to = this.ben.userID) {
    const sent = await this.ann.sendText(to, text, options);
    const views = new Map([[this.ann, sent]]);
    for (const d of this.watching) views.set(d, await d.waitForMessage((m) => m.ID === sent.ID));
    return Object.assign((device) => views.get(device), { ID: sent.ID, sent });
  }

  inGroup(text, options = {}) {
    return this.message(text, { group: true, ...options }, this.group);
  }

  /** A peer who has read a message of Ann's, in a chat that Ann's list no longer has. */
  async removedChat() {
    const cat = await this.world.raw({ login: this.world.id('cat') });
    const sent = await this.ann.sendText(cat.userID, 'read by Cat');
    await cat.request('openim.msgreaded', { C2CMsgReaded: { C2CMsgReadedItem: [{ To_Account: this.ann.userID, LastedMsgTime: sent.time }] } });
    await this.ann.waitFor('MESSAGE_READ_BY_PEER', has(sent));
    const ann = await this.world.raw({ login: this.ann.userID, platform: 7 });
    const { ErrorCode } = await ann.request('recentcontact.batch_delete', { From_Account: this.ann.userID, ContactItem: [{ Type: 1, To_Account: cat.userID }], ClearRamble: 0 });
    assert.equal(ErrorCode, 0);
    return [cat, sent];
  }

  /** Everything read, on every device of Ben's. */
  async nothingUnread() {
    await this.ben.sdk.setAllMessageRead().catch(() => new Promise((resolve) => setTimeout(resolve, 1100)).then(() => this.ben.sdk.setAllMessageRead()));
    for (const d of [this.ben, this.ben2]) await d.unread(0);
  }
}

/** Rows of the table: [what, [event, trigger]…, run]. */
const rows = [
  ['a message', ['MESSAGE_RECEIVED', '§5'], ['CONVERSATION_LIST_UPDATED', '§5'], async (s) => {
    const marks = s.all.map((d) => d.mark());
    const m = await s.message('hello');
    assert.deepEqual(s.watching.map((d) => m(d).flow), ['out', 'in', 'in']);
    for (const [i, d] of s.all.entries()) {
      const peer = i < 2 ? s.ben : s.ann;
      await d.waitFor('CONVERSATION_LIST_UPDATED', (list) => list.some((c) => c.conversationID === c2c(peer) && c.lastMessage.messageForShow === 'hello'), { since: marks[i] });
    }
  }],
  ['a group message', ['MESSAGE_RECEIVED', 'group push'], async (s) => {
    const m = await s.inGroup('hello group');
    assert.deepEqual(s.watching.map((d) => [m(d).flow, m(d).to]), [['out', s.group], ['in', s.group], ['in', s.group]]);
  }],
  ['an edit', ['MESSAGE_MODIFIED', '§10'], async (s) => {
    const m = await s.message('draft');
    await s.ann.sdk.modifyMessage({ ...m(s.ann), $change: { payload: { text: 'final' }, cloudCustomData: 'c' } });
    for (const d of s.all) await d.waitFor('MESSAGE_MODIFIED', (list) => list.some((x) => x.ID === m.ID && x.payload.text === 'final' && x.cloudCustomData === 'c'));
  }],
  ['an edit by the other side', ['MESSAGE_MODIFIED', '§10'], async (s) => {
    const m = await s.message('draft');
    await s.ben.sdk.modifyMessage({ ...m(s.ben), $change: { payload: { text: 'corrected' } } });
    for (const d of s.all) await d.waitFor('MESSAGE_MODIFIED', (list) => list.some((x) => x.ID === m.ID && x.payload.text === 'corrected'));
  }],
  ['an edit in a group', ['MESSAGE_MODIFIED', '§10 in a group'], async (s) => {
    const m = await s.inGroup('group draft');
    await s.ann.sdk.modifyMessage({ ...m(s.ann), $change: edit('group final') });
    for (const d of s.all) await d.waitFor('MESSAGE_MODIFIED', (list) => list.some((x) => x.ID === m.ID && x.payload.text === 'group final'));
  }],
  ['an edit of a version that is gone', ['MESSAGE_MODIFIED', 'conflict'], async (s) => {
    const m = await s.message('contended');
    await s.ben.network.lose('im_open_push.msg_push', 1);
    await s.ann.sdk.modifyMessage({ ...m(s.ann), $change: { payload: { text: 'first' } } });
    await until(() => s.ben.frames.some((f) => f.lost && JSON.stringify(f.body).includes('"first"')), { what: 'the push that Ben never sees' });
    await assert.rejects(s.ben.sdk.modifyMessage({ ...m(s.ben), $change: { payload: { text: 'second' } } }), (e) => e.code === 2480);
    await s.ben.waitFor('MESSAGE_MODIFIED', (list) => list.some((x) => x.ID === m.ID && x.payload.text === 'first'));
  }],
  ['a revoke', ['MESSAGE_REVOKED', '§9.1'], async (s) => {
    const m = await s.message('gone');
    await s.ann.sdk.revokeMessage(m(s.ann));
    for (const d of s.watching) {
      const list = await d.waitFor('MESSAGE_REVOKED', has(m));
      assert.equal(list.find((x) => x.ID === m.ID).isRevoked, true);
    }
  }],
  ['a revoke in a group', ['MESSAGE_REVOKED', '§9.4'], async (s) => {
    const m = await s.inGroup('group gone');
    await s.ann.sdk.revokeMessage(m(s.ann));
    for (const d of s.watching) await d.waitFor('MESSAGE_REVOKED', has(m));
  }],
  ['what happened during an outage', ['MESSAGE_RECEIVED', 'recovery'], ['MESSAGE_REVOKED', 'missed'], ['MESSAGE_MODIFIED', 'missed'],
    async (s) => {
      const [gone, changed] = [await s.message('to be revoked'), await s.message('to be changed')];
      await new Promise((resolve) => setTimeout(resolve, 1200)); // an SDK reconnects at once only after a second
      const since = s.ben.mark();
      await s.ben.network.goOffline();
      await s.ann.sdk.revokeMessage(gone(s.ann));
      await s.ann.sdk.modifyMessage({ ...changed(s.ann), $change: { payload: { text: 'changed meanwhile' } } });
      const missed = await s.ann.sendText(s.ben.userID, 'missed');
      await s.ben.network.goOnline();
      const patient = { since, timeout: 25000 };
      await s.ben.waitForMessage((m) => m.ID === missed.ID, patient);
      await s.ben.waitFor('MESSAGE_REVOKED', has(gone), patient);
      await s.ben.waitFor('MESSAGE_MODIFIED', (list) => list.some((m) => m.ID === changed.ID && m.payload.text === 'changed meanwhile'), patient);
      assert.equal(s.ben.received(since).filter((m) => m.ID === missed.ID).length, 1);
    }],
  ['reading', ['MESSAGE_READ_BY_PEER', '§8.1'], async (s) => {
    const m = await s.message('read me');
    await s.ben.sdk.setMessageRead({ conversationID: c2c(s.ann) });
    for (const d of [s.ann, s.ann2]) assert.ok((await d.waitFor('MESSAGE_READ_BY_PEER', has(m))).every((x) => x.isPeerRead));
  }],
  ['a receipt', ['MESSAGE_READ_RECEIPT_RECEIVED', '§11.1'], async (s) => {
    const m = await s.message('please confirm', { needReadReceipt: true });
    await s.ben.sdk.sendMessageReadReceipt([m(s.ben)]);
    for (const d of [s.ann, s.ann2]) {
      const list = await d.waitFor('MESSAGE_READ_RECEIPT_RECEIVED', (receipts) => receipts.some((r) => r.messageID === m.ID));
      const receipt = list.find((r) => r.messageID === m.ID);
      assert.deepEqual([receipt.userID, receipt.isPeerRead], [s.ben.userID, true]);
    }
    const { data } = await s.ann.sdk.getMessageReadReceiptList([m(s.ann)]);
    assert.equal(JSON.stringify(data).includes('"isPeerRead":true'), true, JSON.stringify(data).slice(0, 500));
  }],
  ['a receipt in a group', ['MESSAGE_READ_RECEIPT_RECEIVED', '§11.4'], async (s) => {
    const m = await s.inGroup('please confirm, all', { needReadReceipt: true });
    await s.ben.sdk.sendMessageReadReceipt([m(s.ben)]);
    for (const d of [s.ann, s.ann2]) {
      const list = await d.waitFor('MESSAGE_READ_RECEIPT_RECEIVED', (receipts) => receipts.some((r) => r.messageID === m.ID));
      assert.deepEqual(list.filter((r) => r.messageID === m.ID).map((r) => [r.groupID, r.readCount, r.unreadCount]), [[s.group, 1, 0]]);
    }
    await s.ann.sdk.getMessageReadReceiptList([m(s.ann)]);
  }],
  ['extensions', ['MESSAGE_EXTENSIONS_UPDATED', '§15'], ['MESSAGE_EXTENSIONS_DELETED', '§15'], (s) => extend(s, s.message('poll', { isSupportExtension: true }))],
  ['extensions in a group', ['MESSAGE_EXTENSIONS_UPDATED', '§15 in a group'], ['MESSAGE_EXTENSIONS_DELETED', '§15 in a group'], (s) => extend(s, s.inGroup('group poll', { isSupportExtension: true }))],
  ['reactions', ['MESSAGE_REACTIONS_UPDATED', '§16'], (s) => react(s, s.message('nice'))],
  ['reactions in a group', ['MESSAGE_REACTIONS_UPDATED', '§16 in a group'], (s) => react(s, s.inGroup('nice, all'))],
  ['unread counts', ['TOTAL_UNREAD_MESSAGE_COUNT_UPDATED', '§5'], ['TOTAL_UNREAD_MESSAGE_COUNT_UPDATED', '§8.1'], ['TOTAL_UNREAD_MESSAGE_COUNT_UPDATED', '§8.3'],
    ['TOTAL_UNREAD_MESSAGE_COUNT_UPDATED', '§12.1'], async (s) => {
      const total = (d, n, since) => d.waitFor('TOTAL_UNREAD_MESSAGE_COUNT_UPDATED', (count) => count === n, { since });
      const one = async () => {
        await s.nothingUnread();
        const marks = [s.ben, s.ben2].map((d) => d.mark());
        await s.message('counts');
        await Promise.all([total(s.ben, 1, marks[0]), total(s.ben2, 1, marks[1])]);
        return s.ben2.mark();
      };
      let since = await one();
      await s.ben.sdk.setMessageRead({ conversationID: c2c(s.ann) });
      await total(s.ben2, 0, since);
      since = await one();
      await new Promise((resolve) => setTimeout(resolve, 1100)); // SDKs refuse a second call within a second
      await s.ben.sdk.setAllMessageRead();
      await total(s.ben2, 0, since);
      since = await one();
      await s.ben.sdk.setMessageRemindType({ userIDList: [s.ann.userID], messageRemindType: 'AcceptNotNotify' });
      if (modern(s.ben2)) await total(s.ben2, 0, since);
      else await s.ben2.unread(0); // v2 counts anew, and tells nobody
      await s.ben.sdk.setMessageRemindType({ userIDList: [s.ann.userID], messageRemindType: 'AcceptAndNotify' });
      await s.ben2.unread(1);
    }],
  ['a pin', ['CONVERSATION_LIST_UPDATED', '§14.6'], async (s) => {
    const since = s.ann2.mark();
    await s.ann.sdk.pinConversation({ conversationID: c2c(s.ben), isPinned: true });
    await s.ann2.waitFor('CONVERSATION_LIST_UPDATED', (list) => list.some((c) => c.conversationID === c2c(s.ben) && c.isPinned), { since });
  }],
  ['conversation groups', ['CONVERSATION_GROUP_LIST_UPDATED', 'PushType 5'], ['CONVERSATION_GROUP_LIST_UPDATED', 'PushType 7'], ['CONVERSATION_GROUP_LIST_UPDATED', 'PushType 6'],
    ['CONVERSATION_IN_GROUP_UPDATED', 'PushType 7'], async (s) => {
      const said = (...words) => (data) => words.every((w) => JSON.stringify(data).includes(w));
      const group = `GROUP${s.group}`;
      await s.ann.sdk.createConversationGroup({ conversationIDList: [c2c(s.ben)], groupName: 'work' });
      await s.ann2.waitFor('CONVERSATION_GROUP_LIST_UPDATED', said('work'));
      let since = s.ann2.mark();
      await s.ann.sdk.addConversationsToGroup({ conversationIDList: [group], groupName: 'work' });
      await s.ann2.waitFor('CONVERSATION_IN_GROUP_UPDATED', said('work', group), { since });
      since = s.ann2.mark();
      await s.ann.sdk.deleteConversationsFromGroup({ conversationIDList: [group], groupName: 'work' });
      await s.ann2.waitFor('CONVERSATION_IN_GROUP_UPDATED', said('work', c2c(s.ben)), { since });
      await s.ann.sdk.renameConversationGroup({ oldName: 'work', newName: 'job' });
      await s.ann2.waitFor('CONVERSATION_GROUP_LIST_UPDATED', said('job'));
      await s.ann.sdk.createConversationGroup({ conversationIDList: [c2c(s.ben)], groupName: 'spare' });
      await s.ann2.waitFor('CONVERSATION_GROUP_LIST_UPDATED', said('spare'));
      since = s.ann2.mark();
      await s.ann.sdk.deleteConversationGroup('spare');
      await s.ann2.waitFor('CONVERSATION_GROUP_LIST_UPDATED', (data) => !said('spare')(data), { since });
    }],
  ['do-not-disturb', ['ALL_RECEIVE_MESSAGE_OPT_UPDATED', '§12.3'], async (s) => {
    const [actor, ...others] = (modern(s.ann) ? [s.ann, s.ann2] : [s.ann2]).filter(modern);
    await actor.sdk.setAllReceiveMessageOpt({ messageRemindType: 'AcceptNotNotify', startHour: 22, startMinute: 0, startSecond: 0, duration: 8 * 3600, isRepeated: true });
    for (const d of [actor, ...others]) await d.waitFor('ALL_RECEIVE_MESSAGE_OPT_UPDATED', (o) => o.messageRemindType === 'AcceptNotNotify');
  }],
  ['a login', ['CONVERSATION_LIST_UPDATED', 'page_get'], ['TOTAL_UNREAD_MESSAGE_COUNT_UPDATED', 'getmsg'], ['CONVERSATION_GROUP_LIST_UPDATED', 'get_contact_group'],
    ['MESSAGE_READ_BY_PEER', 'C2cPeerReadTime'], ['MESSAGE_READ_BY_PEER', 'get_peer_read_time'], async (s) => {
      await s.nothingUnread();
      const [cat, old] = await s.removedChat();
      const read = await s.message('read before the login');
      await s.ben.sdk.setMessageRead({ conversationID: c2c(s.ann) });
      await s.ann.waitFor('MESSAGE_READ_BY_PEER', has(read));
      await s.ben.sendText(s.ann.userID, 'unread at the login');
      const later = s.world.user(s.ann.userID, { exact: true, generation: s.ben.generation });
      await later.login();
      await later.waitFor('CONVERSATION_LIST_UPDATED', (list) => list.some((c) => c.conversationID === c2c(s.ben) && c.lastMessage.messageForShow === 'unread at the login' && c.isPinned));
      await later.waitFor('TOTAL_UNREAD_MESSAGE_COUNT_UPDATED', (n) => n >= 1);
      await later.waitFor('CONVERSATION_GROUP_LIST_UPDATED', names({ ID: 'job' }));
      // How far the peer has read is in the list, and asked for where there is no conversation; SDKs apply it to a page.
      for (const [peer, message] of [[s.ben, read], [cat, old]]) {
        const since = later.mark();
        await later.sdk.getMessageList({ conversationID: c2c(peer) });
        await later.waitFor('MESSAGE_READ_BY_PEER', has(message), { since });
      }
      assert.ok(later.frames.some((f) => f.out && f.head.servcmd === 'openim.get_peer_read_time' && JSON.stringify(f.body).includes(cat.userID)));
    }],
];

async function extend(s, sending) {
  const m = await sending;
  await s.ben.sdk.setMessageExtensions(m(s.ben), [{ key: 'a', value: '1' }, { key: 'b', value: '2' }]);
  for (const d of [s.ann, s.ann2, s.ben2]) await d.waitFor('MESSAGE_EXTENSIONS_UPDATED', names(m));
  const { data } = await s.ann.sdk.getMessageExtensions(m(s.ann));
  assert.deepEqual(data.extensions.map((e) => [e.key, e.value]).sort(), [['a', '1'], ['b', '2']]);
  await s.ann.sdk.deleteMessageExtensions(m(s.ann), ['a']);
  for (const d of s.watching) await d.waitFor('MESSAGE_EXTENSIONS_DELETED', names(m));
}

async function react(s, sending) {
  const m = await sending;
  const count = (n) => (data) => names(m)(data) && JSON.stringify(data).includes(`"totalUserCount":${n}`);
  const modernOnes = s.all.filter(modern);
  for (const [n, actor] of [s.ann, s.ben].filter(modern).entries()) {
    await actor.sdk.addMessageReaction(m(actor), 'smile');
    for (const d of modernOnes) await d.waitFor('MESSAGE_REACTIONS_UPDATED', count(n + 1));
  }
}

plain('the rows cover the whole table', () => {
  const covered = new Set([...rows.flatMap((row) => row.slice(1, -1).map((pair) => pair.join(' '))), ...Object.keys(elsewhere)]);
  const wanted = Object.entries(table).flatMap(([event, triggers]) => triggers.map((trigger) => `${event} ${trigger}`));
  assert.deepEqual([...covered].sort(), [...wanted].sort());
});

engines('events of the SDK', { env: { IMSERVER_MAX_WEB_INSTANCES: '6' }, timeout: 180000 }, ({ test }) => {
  for (const pair of [['v3', 'v3'], ['v3', 'v2'], ['v2', 'v3']]) {
    test(`${pair.join(' to ')}: every row of the table`, async (world) => {
      const stage = await new Stage().build(world, pair);
      for (const [what, ...rest] of rows) {
        await rest.pop()(stage).catch((error) => {
          error.message = `${what} (${rest.join('; ')}): ${error.message}`;
          throw error;
        });
      }
    });
  }
});
