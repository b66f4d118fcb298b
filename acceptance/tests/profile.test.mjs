// User profiles: get, set, pushes (protocol 04 §1, §2).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';

const mine = {
  nick: 'Alice A. 世界', avatar: 'https://example.com/a.png', gender: 'Gender_Type_Female', selfSignature: 'hello there',
  birthday: 20000101, location: 'Bremen', language: 2, level: 7, role: 3, messageSettings: 0, allowType: 'AllowType_Type_NeedConfirm',
};
const subset = (profile) => Object.fromEntries(Object.keys(mine).map((key) => [key, profile[key]]));

engines('profile', { env: { IMSERVER_MAX_WEB_INSTANCES: '3' } }, ({ test }) => {
  test('a profile is kept, shown to others, and pushed to the own devices', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const tablet = await world.device(alice);
    const since = tablet.mark();
    const { data } = await alice.sdk.updateMyProfile(mine);
    assert.deepEqual(subset(data), mine);
    await alice.waitFor('PROFILE_UPDATED', (list) => list[0].nick === mine.nick);
    const [pushed] = await tablet.waitFor('PROFILE_UPDATED', (list) => list[0].nick === mine.nick, { since });
    assert.deepEqual(subset(pushed), mine);

    const others = await bob.sdk.getUserProfile({ userIDList: [alice.userID, world.id('nobody')] });
    assert.deepEqual(others.data.map((p) => p.userID), [alice.userID], 'unknown accounts are left out');
    assert.deepEqual(subset(others.data[0]), mine);

    await alice.leave();
    const again = world.user(alice.userID, { exact: true });
    await again.login();
    assert.deepEqual(subset((await again.sdk.getMyProfile()).data), mine);
  });

  test('messages and conversations carry the stored nick and avatar', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    await alice.sdk.updateMyProfile({ nick: 'Alice', avatar: 'https://example.com/1.png' });
    const sent = await alice.sendText(bob.userID, 'hi');
    const got = await bob.waitForMessage((m) => m.ID === sent.ID);
    assert.equal(got.nick, 'Alice');
    assert.equal(got.avatar, 'https://example.com/1.png');
    await bob.leave();
    await alice.sdk.updateMyProfile({ nick: 'Alicia' });
    const again = world.user(bob.userID, { exact: true });
    await again.login();
    const list = await again.waitFor('CONVERSATION_LIST_UPDATED', (l) => l.length === 1);
    assert.equal(list[0].userProfile.nick, 'Alicia');
  });

  test('a change of one field leaves the others', async (world) => {
    const [alice] = await world.users('alice');
    await alice.sdk.updateMyProfile(mine);
    await alice.sdk.updateMyProfile({ nick: '' });
    const raw = await world.raw({ login: world.id('reader') });
    const { UserProfileItem: [item] } = await raw.request('profile.portrait_get_all', { From_Account: raw.userID, UserItem: [{ To_Account: alice.userID, StandardSequence: 0, CustomSequence: 0 }] });
    const tags = Object.fromEntries(item.ProfileItem.map(({ Tag, Value }) => [Tag, Value]));
    assert.equal(tags.Tag_Profile_IM_Nick, '');
    assert.equal(tags.Tag_Profile_IM_Location, 'Bremen');
    assert.equal(tags.Tag_Profile_IM_Level, 7);
  });

  test('bad profiles are refused as a whole', async (world) => {
    const raw = await world.raw({ login: world.id('alice') });
    const set = (...items) => raw.request('profile.portrait_set', { From_Account: raw.userID, ProfileItem: items.map(([Tag, Value]) => ({ Tag, Value })) });
    assert.equal((await set(['Tag_Profile_IM_Nick', 'Nick'])).ErrorCode, 0);
    for (const [code, ...items] of [
      [40601, ['Tag_Profile_IM_Nick', 'x'.repeat(501)]],
      [40009, ['Tag_Profile_IM_Nonsense', 'x']],
      [40605, ['Tag_Profile_IM_Gender', 'Gender_Type_Robot']],
      [40610, ['Tag_Profile_IM_Level', 'seven']],
      [40009, ['Tag_Profile_IM_Nick', 'changed'], ['Tag_Profile_IM_Nonsense', 'x']],
    ]) {
      const answer = await set(...items);
      assert.equal(answer.ErrorCode, code, JSON.stringify(items));
      assert.notEqual(answer.ErrorInfo, '');
    }
    const { UserProfileItem: [item] } = await raw.request('profile.portrait_get_all', { From_Account: raw.userID, UserItem: [{ To_Account: raw.userID }] });
    assert.equal(item.ProfileItem.find(({ Tag }) => Tag === 'Tag_Profile_IM_Nick').Value, 'Nick');
  });

  test('nobody changes the profile of somebody else', async (world) => {
    const alice = await world.raw({ login: world.id('alice') });
    const mallory = await world.raw({ login: world.id('mallory') });
    await mallory.request('profile.portrait_set', { From_Account: alice.userID, ProfileItem: [{ Tag: 'Tag_Profile_IM_Nick', Value: 'owned' }] });
    const { UserProfileItem: [item] } = await alice.request('profile.portrait_get_all', { From_Account: alice.userID, UserItem: [{ To_Account: alice.userID }] });
    assert.notEqual(item.ProfileItem.find(({ Tag }) => Tag === 'Tag_Profile_IM_Nick')?.Value, 'owned');
  });
});
