// What stands before the nodes of a cluster: hands each connection to the next node that takes it.
import { connect, createServer } from 'node:net';

export class Balancer {
  #sockets = new Set();
  #turn = 0;

  /** @param {{port: number}[]} nodes */
  static async start(nodes) {
    const balancer = new Balancer();
    balancer.nodes = nodes;
    balancer.server = createServer((socket) => balancer.#serve(socket));
    await new Promise((resolve) => balancer.server.listen(0, '127.0.0.1', resolve));
    balancer.url = `ws://127.0.0.1:${balancer.server.address().port}`;
    return balancer;
  }

  stop() {
    this.server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(socket, tries = this.nodes.length) {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    if (tries === 0) return socket.destroy();
    const node = connect(this.nodes[this.#turn++ % this.nodes.length].port, '127.0.0.1');
    this.#sockets.add(node);
    let connected = false;
    node.once('connect', () => {
      connected = true;
      socket.pipe(node).pipe(socket);
      socket.once('close', () => node.destroy());
    });
    node.on('error', () => {});
    node.once('close', () => (connected ? socket.destroy() : this.#serve(socket, tries - 1)));
  }
}
