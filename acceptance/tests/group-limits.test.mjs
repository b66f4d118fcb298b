// What groups refuse because it is too much, as the SDK tells it to the app (protocol 03 §16, §17).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';


engines('group limits', { timeout: 60000 }, ({ test }) => {
  test('attributes are written five times a second, by all together', async (world) => {
    const users = await world.users('alice', 'bob');
    const [alice, bob] = users;
    const { data: { group: { groupID } } } = await alice.sdk.createGroup({ type: 'Public', name: 'Team', memberList: [{ userID: bob.userID }] });
    await bob.waitForGroup(groupID);
    const keys = Array.from({ length: 16 }, (_, i) => `k${i}`); // each SDK lets 10 through in 5 s
    const results = await Promise.allSettled(keys.map((key, i) => users[i % 2].sdk.setGroupAttributes({ groupID, groupAttributes: { [key]: 'v' } })));
    const refused = results.filter((r) => r.status === 'rejected').map((r) => r.reason.code);
    assert.deepEqual([...new Set(refused)], [10049], `${refused.length} refused`);
    const stored = keys.filter((_, i) => results[i].status === 'fulfilled');
    const { data: { groupAttributes } } = await bob.sdk.getGroupAttributes({ groupID, keyList: [] });
    assert.deepEqual(Object.keys(groupAttributes).sort(), stored.sort(), 'what was answered with success is there, and nothing else');
  });

  test('a message mentions thirty members and everybody', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const { data: { group: { groupID } } } = await alice.sdk.createGroup({ type: 'Public', name: 'Team', memberList: [{ userID: bob.userID }] });
    await bob.waitForGroup(groupID);
    const at = async (text, count, everybody) => {
      const atUserList = [bob.userID, ...Array.from({ length: count - 1 }, (_, i) => `m${i}`), ...(everybody ? ['__kImSDK_MesssageAtALL__'] : [])];
      return alice.sdk.sendMessage(await alice.sdk.createTextAtMessage({ to: groupID, conversationType: 'GROUP', payload: { text, atUserList } }));
    };
    await at('thirty and everybody', 30, true);
    const { atUserList } = await bob.waitForMessage((m) => m.payload.text === 'thirty and everybody');
    assert.equal(atUserList.length, 31);
    await assert.rejects(at('thirty-one', 31, false), { code: 10053 });
    await at('and on', 1, false);
    await bob.waitForMessage((m) => m.payload.text === 'and on');
    assert.deepEqual(bob.received().map((m) => m.payload.text).filter((t) => t === 'thirty-one'), []);
  });
});
