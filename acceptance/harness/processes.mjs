// Child processes of the suite: started with a log file, ended by their id, never left behind.
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';

const running = new Set();
process.on('exit', () => { for (const child of running) child.kill('SIGKILL'); });
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));

/** Starts a program whose output goes to the end of a log file, as another user if root says so. child.ended resolves to {code, signal}. */
export function start(program, args, { env, cwd, log, uid, gid }) {
  const out = openSync(log, 'a');
  const child = spawn(program, args, { env, cwd, uid, gid, stdio: ['ignore', out, out] });
  closeSync(out);
  running.add(child);
  child.ended = new Promise((resolve) => {
    const end = (code, signal) => { running.delete(child); resolve({ code, signal }); };
    child.once('exit', end);
    child.once('error', () => end(-1, null));
  });
  return child;
}

/** Ends a child: the signal first, SIGKILL when it has not gone after `grace` ms. */
export async function end(child, signal = 'SIGTERM', grace = 12000) {
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), grace);
  const result = await child.ended;
  clearTimeout(timer);
  return result;
}
