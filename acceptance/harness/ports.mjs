// Free loopback ports below the range the kernel hands out by itself, so that a server keeps its port over a restart.
import { createServer } from 'node:net';

const free = (port) => new Promise((resolve) => {
  const probe = createServer();
  probe.once('error', () => resolve(false));
  probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
});

export async function freePort() {
  for (let i = 0; i < 200; i++) {
    const port = 10000 + Math.floor(Math.random() * 10000);
    if (await free(port)) return port;
  }
  throw new Error('no free port');
}
