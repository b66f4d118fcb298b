// An open page comes back after an outage while its chat goes on: its own unread count and the order of its messages
// are those of the server, whatever arrives between the answers by which it catches up (protocol 01 §11, 02 §6, §7).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { sleep, until } from '../harness/wait.mjs';

const c2c = (user) => `C2C${user.userID}`;
const generations = ['v3', 'v2'];

/** A page of ben with ann's chat open, which has one unread message. */
async function openPage(world, generation) {
  const ann = world.user('ann', { node: 0 });
  const ben = world.user('ben', { node: 1, generation });
  await Promise.all([ann.login(), ben.login()]);
  const first = await ann.sendText(ben.userID, 'first');
  await ben.waitForMessage((m) => m.ID === first.ID);
  await ben.sdk.getMessageList({ conversationID: c2c(ann) });
  await ben.unread(1);
  return { ann, ben, first };
}

/** ben goes offline, and ann sends the texts, each in a second of its own. */
async function away(ann, ben, texts) {
  await ben.network.goOffline();
  const missed = [];
  for (const text of texts) {
    await sleep(1100);
    missed.push(await ann.sendText(ben.userID, text));
  }
  return missed;
}

async function back(world, ben) {
  await ben.network.goOnline();
  await ben.sdk.getUserProfile({ userIDList: [world.id('anybody')] }).catch(() => {}); // any request makes the SDK reconnect
}

/** What the page shows of the chat: [ID, text, whether it is revoked]. */
async function shown(user, peer) {
  const { data } = await user.sdk.getMessageList({ conversationID: c2c(peer) });
  return data.messageList.map((m) => [m.ID, m.isRevoked ? '' : m.payload.text]);
}

/** The page's unread count comes to n and stays, and a device that logs in counts the same. */
async function assertUnread(world, user, n) {
  await user.unread(n);
  await sleep(1500); // nothing that comes later changes it
  await user.unread(n);
  await (await world.device(user)).unread(n);
}

engines('coming back', { env: { IMSERVER_MAX_WEB_INSTANCES: '6' } }, ({ test }) => {
  for (const generation of generations) {
    test(`${generation}: what was missed is shown in order and counted`, async (world) => {
      const { ann, ben, first } = await openPage(world, generation);
      const missed = await away(ann, ben, ['one', 'two', 'three']);
      const since = ben.mark();
      await back(world, ben);
      await ben.waitForMessage((m) => m.ID === missed.at(-1).ID, { since });
      assert.deepEqual(ben.received(since).map((m) => m.ID), missed.map((m) => m.ID));
      assert.deepEqual(await shown(ben, ann), [first, ...missed].map((m) => [m.ID, m.payload.text]));
      await assertUnread(world, ben, 4);
      const last = await ann.sendText(ben.userID, 'last');
      await ben.waitForMessage((m) => m.ID === last.ID);
      await assertUnread(world, ben, 5);
    });

    test(`${generation}: what was read or revoked elsewhere while the page was away is no longer unread`, async (world) => {
      const { ann, ben } = await openPage(world, generation);
      const cat = world.user('cat');
      await cat.login();
      const unread = await cat.sendText(ben.userID, 'to be revoked');
      await ben.waitForMessage((m) => m.ID === unread.ID);
      await ben.unread(2);
      const phone = await world.device(ben);
      await phone.unread(2);
      await ben.network.goOffline();
      await phone.sdk.setMessageRead({ conversationID: c2c(ann) });
      await cat.sdk.revokeMessage(unread);
      await phone.unread(0);
      await back(world, ben);
      await assertUnread(world, ben, 0);
      // And while it catches up: read, and written to again.
      const [since, from] = [ben.mark(), ben.frames.length];
      const [one] = await away(ann, ben, ['one']);
      await ben.network.stall('openim.getmsg');
      await back(world, ben);
      await ben.waitForFrame((f) => f.stalled, { since: from });
      await phone.waitForMessage((m) => m.ID === one.ID);
      await phone.sdk.setAllMessageRead();
      await sleep(1100); // read positions are whole seconds
      const two = await ann.sendText(ben.userID, 'two');
      await ben.network.flow('openim.getmsg');
      await ben.waitForMessage((m) => m.ID === two.ID, { since });
      assert.deepEqual(ben.received(since).map((m) => m.ID), [one.ID, two.ID]);
      await assertUnread(world, ben, 1);
    });

    for (const servcmd of ['recentcontact.page_get', 'openim.getroammsg', 'openim.getmsg']) {
      test(`${generation}: the chat goes on while the page waits for ${servcmd}`, async (world) => {
        const { ann, ben, first } = await openPage(world, generation);
        const [one, two] = await away(ann, ben, ['one', 'two']);
        const [since, from] = [ben.mark(), ben.frames.length];
        await ben.network.stall(servcmd);
        await back(world, ben);
        await ben.waitForFrame((f) => f.stalled, { since: from });
        const three = await ann.sendText(ben.userID, 'three');
        await ann.sdk.revokeMessage(first);
        await ann.sdk.revokeMessage(three);
        await ann.sdk.modifyMessage({ ...two, $change: { payload: { text: 'two, edited' } } });
        const four = await ann.sendText(ben.userID, 'four');
        await ben.network.flow(servcmd);
        const five = await ann.sendText(ben.userID, 'five');
        const wanted = [[first.ID, ''], [one.ID, 'one'], [two.ID, 'two, edited'], [three.ID, ''], [four.ID, 'four'], [five.ID, 'five']];
        let seen;
        await until(async () => {
          seen = await shown(ben, ann);
          return JSON.stringify(seen) === JSON.stringify(wanted);
        }, { every: 200, what: 'the chat as it is' }).catch(() => assert.deepEqual(seen, wanted));
        // What v3 first sees in a later version is no news to it (protocol 02 trap 4).
        const unedited = (m) => m.ID !== two.ID;
        assert.deepEqual(ben.received(since).filter(unedited).map((m) => m.ID), [one, three, four, five].map((m) => m.ID), 'announced once, in order');
        await assertUnread(world, ben, 4);
      });
    }
  }
});
