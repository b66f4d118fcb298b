// Nodes are restarted one after the other while SDK users chat (protocol 01 §11): nobody has to do anything.
import assert from 'node:assert/strict';
import { Balancer } from '../harness/balancer.mjs';
import { engines } from '../harness/engines.mjs';
import { history } from '../harness/history.mjs';
import { sleep, until } from '../harness/wait.mjs';

engines('rolling restart', { engines: ['cluster'], timeout: 180000 }, ({ test }) => {
  test('under load nothing is lost or doubled, and every SDK user is back by itself', async (world) => {
    const balancer = await Balancer.start(world.nodes);
    try {
      const users = ['alice', 'bob', 'carol'].map((name) => world.user(name, { url: balancer.url }));
      await Promise.all(users.map((user) => user.login()));
      const [alice, bob, carol] = users;
      await carol.sdk.subscribeUserStatus({ userIDList: [alice.userID, bob.userID] });
      const { data } = await alice.sdk.createGroup({ type: 'Public', name: 'crew', groupID: world.id('crew'), joinOption: 'FreeAccess', memberList: [{ userID: bob.userID }, { userID: carol.userID }] });
      const { groupID } = data.group;
      await bob.waitForGroup(groupID);
      const quiet = carol.mark();

      const toBob = [];
      const toGroup = [];
      const failed = [];
      let running = true;
      const talk = async (user, send, sent) => {
        for (let i = 0; running; i++) {
          await send(`${user.userID} ${i}`).then((message) => sent.push(message.ID), (error) => failed.push(error.message));
          await sleep(60);
        }
      };
      const talking = [talk(alice, (text) => alice.sendText(bob.userID, text), toBob), talk(bob, (text) => bob.sendText(groupID, text, { group: true }), toGroup)];
      await sleep(2000);
      for (let round = 0; round < 2; round++) {
        for (const node of world.nodes) {
          await node.restart();
          await sleep(2000);
        }
      }
      running = false;
      await Promise.all(talking);
      const restarted = carol.mark();

      assert.deepEqual(failed, [], 'every message was sent, some after a reconnect');
      assert.ok(toBob.length > 30 && toGroup.length > 30, `${toBob.length} and ${toGroup.length} messages`);
      // Everybody is there, without having been asked to do anything.
      for (const [from, to] of [[alice, carol], [carol, bob], [bob, alice]]) {
        const sent = await from.sendText(to.userID, 'still there?');
        await to.waitForMessage((m) => m.ID === sent.ID);
      }
      assert.deepEqual(users.flatMap((u) => u.events.filter((e) => ['KICKED_OUT', 'SDK_NOT_READY'].includes(e.event))), []);
      const heard = bob.received().map((m) => m.ID);
      assert.equal(new Set(heard).size, heard.length, 'no message is announced twice');
      // What the open page has after catching up is whole and in order, and it counts what a new page counts.
      let shown;
      await until(async () => {
        shown = (await history(bob, `C2C${alice.userID}`)).map((m) => m.ID).filter((id) => toBob.includes(id));
        return shown.length >= toBob.length;
      }, { every: 500, what: 'the page of bob to have everything' }).catch(() => {});
      assert.deepEqual(shown, toBob, 'the open page of bob');
      const counted = async (user) => (await user.sdk.getConversationProfile(`C2C${alice.userID}`)).data.conversation.unreadCount;
      await until(async () => (await counted(bob)) === toBob.length, { what: 'the unread messages of bob' })
        .catch(async () => assert.equal(await counted(bob), toBob.length, 'the unread messages of bob'));
      for (const user of [bob, carol]) {
        await user.leave();
        const again = world.user(user.userID, { exact: true, url: balancer.url });
        await again.login();
        for (const [conversation, sent] of user === bob ? [[`C2C${alice.userID}`, toBob], [`GROUP${groupID}`, toGroup]] : [[`GROUP${groupID}`, toGroup]]) {
          // The SDK pulls the newest page by itself when it hears of an invitation; a call that asks for it at the same
          // moment gets it without what that pull has put into the list already.
          let seen;
          await until(async () => {
            seen = (await history(again, conversation)).map((m) => m.ID).filter((id) => sent.includes(id));
            return seen.length >= sent.length;
          }, { every: 300, what: conversation }).catch(() => {});
          assert.deepEqual(seen, sent, `${conversation}: whole, once, in order`);
        }
      }
      assert.deepEqual(carol.events.slice(quiet, restarted).filter((e) => e.event === 'USER_STATUS_UPDATED').flatMap((e) => e.data), [], 'nobody looked offline');
    } finally {
      balancer.stop();
    }
  });
});
