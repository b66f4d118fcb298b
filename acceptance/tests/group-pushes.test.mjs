// Who gets which push of a group on which device (protocol 03 §15), read off the socket: nothing missing, nothing more.
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

const G = 'group_open_http_svc.';
const M = 'million_group_open_http_svc.';

/** Fails if something is missing without which the SDK throws or loses its way (protocol 03 §3.2-§3.4, §15). */
function complete(item) {
  const need = (object, fields) => { for (const f of fields) assert.ok(object[f] !== undefined && object[f] !== '', `${f} in ${JSON.stringify(item)}`); };
  for (const m of item.GroupMsgArray ?? []) {
    need(m, ['ToGroupId', 'From_Account', 'TinyId', 'MsgSeq', 'MsgRandom', 'MsgClientTime', 'MsgTimeStamp', 'MsgPriority', 'GroupInfo', 'MsgBody']);
    need(m.GroupInfo, ['GroupId', 'GroupName', 'GroupType', 'From_Account']);
    assert.equal(typeof m.TinyId, 'string');
    assert.equal(typeof m.MsgPriority, 'number');
  }
  for (const t of item.GroupTips ?? []) {
    if (item.Event === 12) { need(t.GroupAtTips, ['GroupId', 'From_Account', 'MsgSeq', 'GroupAtType']); continue; }
    need(t, ['ToGroupId', 'From_Account', 'MsgRandom', 'GroupInfo', 'MsgBody']);
    need(t.GroupInfo, ['GroupId']);
    if (item.Event === 4) need(t, ['MsgSeq', 'MsgTimeStamp', 'TinyId', 'MsgClientTime']);
    if ((t.MsgBody.OpType ?? 6) !== 6) need(t.MsgBody.MsgOperatorMemberExtraInfo, ['UserId']);
    if (t.MsgBody.MemberExtraInfo) need(t.MsgBody, ['MsgMemberInfo']); // a kick with a reason
  }
  if (item.Event === 5) assert.equal(item.GroupTips.length, 1, 'several items in an Event 5 are misread (protocol 03 §3.1)');
}

/** What an event item is, in a word: t1 a stored tip, e16 one that is not stored, n7 a notice … */
function code(item) {
  complete(item);
  if (item.GroupMsgArray) return 'msg';
  if (item.GroupMsgModNotifys) return 'modified';
  if (item.MsgExtensionNotify) return 'extension';
  if (item.MsgReactionNotifyList) return 'reaction';
  if (item.MsgReactionNotify) return 'my-reaction';
  const tips = item.GroupTips;
  if (!tips) return undefined; // not of a group
  const body = tips[0].MsgBody;
  if (item.Event === 12) return 'at';
  if (item.Event === 4) return `t${body.OpType}${tips[0].SendMsgControl?.NoUnread ? '-' : ''}`;
  if (item.Event === 6) return body.GroupCounterInfo ? 'counter' : body.MsgGroupNewInfo?.GroupAttrOption ? 'attribute' : `e${body.OpType}`;
  for (const [list, name] of [['GroupWithdrawInfoArray', 'recall'], ['GroupReadInfoArray', 'read'], ['GroupMsgReceiptList', 'receipt']]) if (body[list]) return name;
  return `n${body.ReportType}`;
}

engines('group pushes', { env: { IMSERVER_MAX_WEB_INSTANCES: '3' }, timeout: 120000 }, ({ test }) => {
  test('every action reaches whom it has to, on each device, and nobody else', async (world) => {
    // Devices of the owner (two), an admin (two), a member and a stranger; in a cluster on both nodes.
    const names = { owner: world.id('owner'), admin: world.id('admin'), member: world.id('member'), stranger: world.id('stranger') };
    const devices = {};
    for (const [key, user, node] of [['o1', 'owner', 0], ['o2', 'owner', 1], ['a1', 'admin', 1], ['a2', 'admin', 0], ['m', 'member', 1], ['s', 'stranger', 0]]) {
      devices[key] = await world.raw({ login: names[user], node });
    }
    const taken = Object.fromEntries(Object.keys(devices).map((k) => [k, 0]));
    const events = (key) => devices[key].pushes.flatMap((f) => f.body.EventArray ?? []);
    const news = (key) => events(key).map(code).filter(Boolean).slice(taken[key]).join(' ').replace('at msg', 'msg at'); // two topics of the bus

    /** Does a command and compares what every device gets; devices not named get nothing. */
    async function step(by, command, body, want) {
      const answer = await devices[by].request(command, body);
      assert.equal(answer.ErrorCode ?? 0, 0, `${command}: ${JSON.stringify(answer)}`);
      const expected = Object.fromEntries(Object.keys(devices).map((k) => [k, want[k] ?? '']));
      const now = () => Object.fromEntries(Object.keys(devices).map((k) => [k, news(k)]));
      await until(() => Object.keys(devices).every((k) => news(k) === expected[k]), { what: command, timeout: 5000 }).catch(() => assert.deepEqual(now(), expected, command));
      for (const key of Object.keys(devices)) taken[key] += expected[key].split(' ').filter(Boolean).length; // one more shows in the next step
      return answer;
    }
    const settled = async () => { // what came too much is seen a moment later
      await new Promise((resolve) => setTimeout(resolve, 300));
      assert.deepEqual(Object.keys(devices).map(news), Object.keys(devices).map(() => ''));
    };
    let random = 100;
    const message = (extra = {}) => {
      random++;
      return { Random: random, ClientSeq: random, MsgClientTime: 1, MsgBody: [{ MsgType: 'TIMTextElem', MsgContent: { Text: 'x' } }], ...extra };
    };
    const everybody = (what) => ({ o1: what, o2: what, a1: what, a2: what, m: what });

    const member = (name) => ({ Member_Account: names[name] });
    const { GroupId } = await step('o1', `${G}create_group`, { Type: 'Public', Name: 'Team', ApplyJoinOption: 'NeedPermission', MemberList: [member('admin')] }, { o2: 'n6', a1: 'n7', a2: 'n7' });
    const at = { GroupId };
    const modifyMember = (name, fields) => [`${G}modify_group_member_info`, { ...at, ...member(name), ...fields }];
    await step('o1', ...modifyMember('admin', { Role: 'Admin' }), { o1: 't4-', o2: 't4-', a1: 'n9 t4', a2: 'n9 t4' });
    await step('m', `${G}apply_join_group`, { ...at, ApplyMsg: 'please' }, { o1: 'n1', o2: 'n1', a1: 'n1', a2: 'n1' });
    const answer = (name, HandleMsg) => {
      const asked = events('a1').findLast((e) => e.GroupTips?.[0].MsgBody.ReportType === 1).GroupTips[0].MsgBody;
      return [`${G}handle_apply_join_group`, { ...at, Applicant_Account: names[name], HandleMsg, Authentication: asked.Authentication, MsgKey: asked.MsgKey }];
    };
    await step('a1', ...answer('member', 'Agree'), { o1: 't1', o2: 't1', a1: 't1-', a2: 't1-', m: 'n2 t1' });
    await step('s', `${G}apply_join_group`, { ...at, ApplyMsg: 'me too' }, { o1: 'n1', o2: 'n1', a1: 'n1', a2: 'n1' });
    await step('a1', ...answer('stranger', 'Reject'), { s: 'n3' });
    await step('m', `${G}quit_group`, at, { o1: 't2', o2: 't2', a1: 't2', a2: 't2', m: 'n8' });
    await step('o2', `${G}modify_group_base_info`, { ...at, ApplyJoinOption: 'FreeAccess' }, { o1: 't6-', o2: 't6-', a1: 't6', a2: 't6' });
    await step('m', `${G}apply_join_group`, at, { o1: 't1', o2: 't1', a1: 't1', a2: 't1', m: 't1-' });
    await step('a1', `${G}delete_group_member`, { ...at, MemberToDel_Account: [names.member], Reason: 'spam' }, { o1: 't3', o2: 't3', a1: 't3-', a2: 't3-', m: 'n4' });
    await step('a1', `${G}add_group_member`, { ...at, MemberList: [member('member')] }, { o1: 't1', o2: 't1', a1: 't1-', a2: 't1-', m: 'n7 t1' });
    await step('a1', ...modifyMember('member', { ShutUpTime: 60 }), { o1: 't7', o2: 't7', a1: 't7-', a2: 't7-', m: 't7' });
    await step('a1', ...modifyMember('member', { ShutUpTime: 0 }), { o1: 't7', o2: 't7', a1: 't7-', a2: 't7-', m: 't7' });
    await step('a1', ...modifyMember('admin', { MsgFlag: 'AcceptNotNotify' }), { a2: 'n20' });
    await step('a1', ...modifyMember('admin', { NameCard: 'card' }), {});
    await step('o1', `${G}modify_group_base_info`, { ...at, ShutUpAllMember: 'On' }, { o1: 't6-', o2: 't6-', a1: 't6', a2: 't6', m: 't6' });
    await step('o1', `${G}modify_group_base_info`, { ...at, ShutUpAllMember: 'Off', Name: 'New' }, { o1: 't6-', o2: 't6-', a1: 't6', a2: 't6', m: 't6' });

    await step('m', `${G}send_group_msg`, { ...at, ...message() }, { o1: 'msg', o2: 'msg', a1: 'msg', a2: 'msg' });
    const sent = await step('o1', `${G}send_group_msg`, { ...at, ...message({ GroupAtInfo: [{ GroupAtAllFlag: 0, GroupAt_Account: names.member }], SupportMessageExtension: 1 }) },
      { o2: 'msg', a1: 'msg', a2: 'msg', m: 'msg at' });
    await step('o1', `${G}send_group_msg`, { ...at, ...message({ To_Account: [names.admin] }) }, { o2: 'msg', a1: 'msg', a2: 'msg' });
    await step('o1', `${G}send_group_msg`, { ...at, ...message({ OnlineOnlyFlag: 1 }) }, { o2: 'msg', a1: 'msg', a2: 'msg', m: 'msg' });
    await step('a1', `${G}msg_read_report`, { ...at, MsgReadedSeq: sent.MsgSeq }, { a2: 'read' });
    const one = { ...at, MsgSeq: sent.MsgSeq };
    await step('m', 'openim_msg_ext_http_svc.group_set_key_values', { ...one, OperateType: 1, ExtensionList: [{ Key: 'k', Value: 'v', Seq: 0 }] }, { o1: 'extension', o2: 'extension', a1: 'extension', a2: 'extension' });
    await step('a1', 'openim_msg_ext_http_svc.group_reaction_add', { ...one, Reaction: 'ok', Add_Account: [names.admin] }, { ...everybody('reaction'), a2: 'my-reaction reaction' });
    await step('o1', 'openim.modify_group_msg', { ...one, MsgVersion: 0, CloudCustomData: 'c' }, { o2: 'modified', a1: 'modified', a2: 'modified', m: 'modified' });
    await step('m', `${G}pin_message`, { ...one, Pinner_Account: names.member }, everybody('e16'));
    await step('m', `${G}unpin_message`, { ...one, UnPinner_Account: names.member }, everybody('e17'));
    await step('o1', `${G}group_msg_recall`, { ...at, MsgSeqList: [{ MsgSeq: sent.MsgSeq }] }, { o2: 'recall', a1: 'recall', a2: 'recall', m: 'recall' });
    await step('m', `${G}delete_group_ramble_msg_by_seq`, { ...at, Deleter_Account: names.member, Seqs: [`${sent.MsgSeq}`] }, {});
    const receipted = await step('o1', `${G}send_group_msg`, { ...at, ...message({ NeedReadReceipt: 1 }) }, { o2: 'msg', a1: 'msg', a2: 'msg', m: 'msg' });
    await step('m', `${G}group_msg_receipt`, { ...at, MsgSeqList: [{ MsgSeq: receipted.MsgSeq }] }, { o1: 'receipt', o2: 'receipt' });
    await step('m', `${G}set_group_attr`, { ...at, GroupAttr: [{ key: 'a', value: 'b' }], AttrMainSeq: 0, AttrControl: ['RaceConflict'] }, everybody('attribute'));
    await step('m', `${G}update_group_counter`, { ...at, Mode: 'Set', GroupCounter: [{ Key: 'a', Value: 1 }] }, everybody('counter'));
    await step('o1', ...modifyMember('admin', { Role: 'Member' }), { o1: 't5-', o2: 't5-', a1: 'n10 t5', a2: 'n10 t5', m: 't5' });
    await step('o1', `${G}change_group_owner`, { ...at, NewOwner_Account: names.admin }, { o1: 't6-', o2: 't6-', a1: 't6', a2: 't6', m: 't6' });
    await step('a1', `${G}destroy_group`, at, everybody('n5'));
    await settled();

    // Communities: members come and go silently; topics.
    const community = { GroupId: (await step('o1', `${M}create_group`, { Type: 'Community', Name: 'Town', SupportTopic: 1, MemberList: [member('admin')] }, { o2: 'n6', a1: 'n7', a2: 'n7' })).GroupId };
    await step('m', `${M}apply_join_group`, community, {});
    const { TopicId } = await step('o1', `${M}create_topic`, { ...community, TopicName: 'T' }, everybody('n17'));
    const topic = { ...community, TopicId };
    await step('o1', `${M}modify_topic`, { ...topic, TopicName: 'U' }, everybody('e8'));
    const said = await step('a1', `${M}send_group_msg`, { ...topic, ...message() }, { o1: 'msg', o2: 'msg', a2: 'msg', m: 'msg' });
    await step('o1', `${M}msg_read_report`, { ...topic, MsgReadedSeq: said.MsgSeq }, { o2: 'read' });
    await step('o1', `${M}modify_group_member_info`, { ...topic, ...member('owner'), MsgFlag: 'Discard' }, { o2: 'n20' });
    await step('a1', `${M}group_msg_recall`, { ...topic, MsgSeqList: [{ MsgSeq: said.MsgSeq }] }, { o1: 'recall', o2: 'recall', a2: 'recall', m: 'recall' });
    await step('o1', `${M}destroy_topic`, { ...community, TopicIdList: [TopicId] }, everybody('n18'));
    await step('m', `${M}quit_group`, community, { m: 'n8' });
    await step('o1', `${M}destroy_group`, community, { o1: 'n5', o2: 'n5', a1: 'n5', a2: 'n5' });
    await settled();
  });
});
