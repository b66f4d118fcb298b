// Every command of the protocol answers: what is not built says so (protocol 01 §9: never a bare OK).
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { engines } from '../harness/engines.mjs';
import { builtCommands } from '../harness/server.mjs';

const known = JSON.parse(readFileSync(new URL('../compat/commands.json', import.meta.url), 'utf8'));
const requests = known.socket.filter((command) => !command.push).map(({ name }) => name);
// Answered by nothing (an acknowledgement), held open (long polling), ending the session that asks, or below the table.
const special = new Set(['openim.ws_msg_push_ack', 'group_open_long_polling_http_svc.get_msg', 'group_open_long_polling_http_noauth_svc.get_msg', 'im_open_status.wslogin', 'im_open_status.wslogout', 'heartbeat.alive']);

engines('commands', {}, ({ test }) => {
  test('every command of the socket answers; those not built answer 60009', async (world) => {
    const raw = await world.raw({ login: world.id('alice') });
    const built = builtCommands().socket;
    assert.ok(built.includes('openim.sendmsg'));
    for (const name of requests.filter((n) => !special.has(n))) {
      const { ErrorCode, int32_error_code, ErrorInfo } = await raw.request(name, {});
      if (built.includes(name)) {
        assert.notEqual(ErrorCode, 60009, name);
        assert.ok(!ErrorCode || ErrorInfo, `${name}: an error without a text`);
        assert.ok(Number.isInteger(ErrorCode ?? int32_error_code), name);
      } else {
        assert.equal(ErrorCode, 60009, name);
        world.refused(name);
      }
    }
    assert.ok(raw.open);
  });

  test('every command of the REST API answers; those not built answer 60009', async (world) => {
    const rest = world.rest();
    const built = builtCommands().rest;
    assert.ok(built.includes('openim.sendmsg'));
    for (const { name } of known.rest) {
      const { ErrorCode, ErrorInfo } = await rest(name.replace('.', '/'), {});
      if (built.includes(name)) {
        assert.notEqual(ErrorCode, 60009, name);
        assert.ok(!ErrorCode || ErrorInfo, `${name}: an error without a text`);
      } else {
        assert.equal(ErrorCode, 60009, name);
        world.refusedREST(name);
      }
    }
  });
});
