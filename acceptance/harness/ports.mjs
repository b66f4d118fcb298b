// Free loopback ports below the range the kernel hands out by itself, so that a server keeps its port over a restart.
// A port is this process's until it ends, also while nothing listens on it: test files run side by side.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const claims = join(tmpdir(), 'imserver-acceptance-ports');
const mine = new Set();
process.on('exit', () => { for (const file of mine) rmSync(file, { force: true }); });

const free = (port) => new Promise((resolve) => {
  const probe = createServer();
  probe.once('error', () => resolve(false));
  probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
});

/** Notes that the port is this process's; false if it is that of another one that runs. */
function claim(port) {
  const file = join(claims, String(port));
  mkdirSync(claims, { recursive: true });
  for (let again = 0; again < 2; again++) {
    try {
      writeFileSync(file, String(process.pid), { flag: 'wx' });
      mine.add(file);
      return true;
    } catch {
      if (mine.has(file) || runs(file)) return false;
      rmSync(file, { force: true }); // of a process that was killed
    }
  }
  return false;
}

function runs(file) {
  try {
    process.kill(Number(readFileSync(file, 'utf8')), 0);
    return true;
  } catch {
    return false;
  }
}

/** fetch refuses to ask this one: the standard bars it, as that of another service. */
const barred = 10080;

export async function freePort() {
  for (let i = 0; i < 200; i++) {
    const port = 10000 + Math.floor(Math.random() * 10000);
    if (port !== barred && claim(port) && await free(port)) return port;
  }
  throw new Error('no free port');
}
