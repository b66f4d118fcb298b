// A client that asks too much is refused, told to wait, and served again (protocol 01 §6, §13).
import assert from 'node:assert/strict';
import { engines } from '../harness/engines.mjs';
import { until } from '../harness/wait.mjs';

const tooFast = 60007;
const blockedLocally = 60022; // by the SDK itself, because the server told it to (protocol 01 §13)

const code = (promise) => promise.then(() => 0, (error) => error.code);

engines('overload', { env: { IMSERVER_LIMITS_COMMAND_RATE: '2', IMSERVER_LIMITS_COMMAND_BURST: '40' } }, ({ test }) => {
  test('an SDK that sends too fast is told, and sends again later', async (world) => {
    const [alice, bob] = await world.users('alice', 'bob');
    const codes = await Promise.all(Array.from({ length: 60 }, (_, i) => code(alice.sendText(bob.userID, `m${i}`))));
    const sent = codes.filter((c) => c === 0).length;
    assert.ok(sent > 0, 'nothing was sent at all');
    assert.ok(codes.includes(tooFast), `nothing was refused: ${codes}`);
    assert.deepEqual(codes.filter((c) => ![0, tooFast, blockedLocally].includes(c)), []);
    assert.equal(await code(alice.sendText(bob.userID, 'at once')), blockedLocally, 'the SDK was not told to wait');
    await until(async () => (await code(alice.sendText(bob.userID, 'later'))) === 0, { timeout: 30000, every: 500, what: 'a message that is sent again' });
    await until(() => bob.received().length === sent + 1, { what: 'what was acknowledged, and nothing else' });
  });
});
