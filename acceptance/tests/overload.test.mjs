// A client that asks too much is refused, told to wait, and served again (protocol 01 §6, §13).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { sleep, until } from '../harness/wait.mjs';

const tooFast = 60007;
const blockedLocally = 60022; // by the SDK itself, because the server told it to (protocol 01 §13)

const code = (promise) => promise.then(() => 0, (error) => error.code);

engines('overload', { env: { IMSERVER_LIMITS_COMMAND_RATE: '5', IMSERVER_LIMITS_COMMAND_BURST: '60' } }, ({ test }) => {
  test('an SDK that sends too fast is told, and sends again later', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    await alice.sendText(bob.userID, 'first');
    await bob.waitFor('MESSAGE_RECEIVED');
    await sleep(2000); // what the SDK asks by itself for a new conversation must not be refused: it throws then
    const codes = await Promise.all(Array.from({ length: 120 }, (_, i) => code(alice.sendText(bob.userID, `m${i}`))));
    const sent = codes.filter((c) => c === 0).length;
    assert.ok(sent > 0, 'nothing was sent at all');
    assert.ok(codes.includes(tooFast), `nothing was refused: ${codes}`);
    assert.deepEqual(codes.filter((c) => ![0, tooFast, blockedLocally].includes(c)), []);
    assert.equal(await code(alice.sendText(bob.userID, 'at once')), blockedLocally, 'the SDK was not told to wait');
    await until(async () => (await code(alice.sendText(bob.userID, 'later'))) === 0, { timeout: 30000, every: 500, what: 'a message that is sent again' });
    await until(() => bob.received().length === sent + 2, { what: 'what was acknowledged, and nothing else' });
  });
});
