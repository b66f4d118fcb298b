import fs from 'node:fs'; const LOG = (...a) => fs.appendFileSync('/tmp/gl-dbg.txt', a.join(' ') + '\n');
import { engines } from '../harness/engines.mjs';
const conversation = (id) => `GROUP${id}`;
const say = (user, id, text, options = {}) => user.send('Text', id, { text }, { group: true, ...options });
engines('debug', { env: { IMSERVER_MAX_WEB_INSTANCES: '3' } }, ({ test }) => {
  test('x', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const { data } = await alice.sdk.createGroup({ type: 'Public', name: 'Team', memberList: [{ userID: bob.userID }] });
    const id = data.group.groupID;
    await bob.waitFor('GROUP_LIST_UPDATED', (list) => list.some((g) => g.groupID === id));
    for (const t of ['keep', 'drop']) await say(alice, id, t);
    const got = await bob.waitForMessage((m) => m.payload.text === 'drop');
    const at = await alice.sdk.createTextAtMessage({ to: id, conversationType: 'GROUP', payload: { text: '@ hello', atUserList: [bob.userID] } });
    await alice.sdk.sendMessage(at);
    await new Promise((r) => setTimeout(r, 1500));
    for (const f of bob.frames.filter((f) => !f.out && /GroupAtTips/.test(JSON.stringify(f.body)))) LOG('PUSH', JSON.stringify(f.body.EventArray.filter((e)=>e.Event==12)));
    for (const e of bob.events.filter((e) => /CONVERSATION_LIST/.test(e.event))) LOG('CONV', JSON.stringify(e.data.map((c) => [c.conversationID, c.groupAtInfoList])));
  });
});
