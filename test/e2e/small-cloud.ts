/** The far side of a node's sockets: a cluster service, Keystone and Swift, each as much as one node asks of it. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Credential } from '../../src/bootstrap-wire.ts';
import type { NodeModel } from '../../src/clusters/render/node-model.ts';
import { FakeSwift } from '../../src/drivers/swift/fake-swift.fixture.ts';
import { FakeService, ID, KEY, TOKEN } from '../../src/node/node.fixture.ts';

const HOUR_MS = 3_600_000;

export class SmallCloud implements AsyncDisposable {
  readonly service: FakeService;
  /** What a node is given that exchanges its token. */
  readonly credential: Credential;
  readonly #swift: FakeSwift;
  readonly #keystone: Server;

  private constructor(service: FakeService, swift: FakeSwift, keystone: Server) {
    this.service = service;
    this.#swift = swift;
    this.#keystone = keystone;
    this.credential = { url: `http://127.0.0.1:${(keystone.address() as AddressInfo /* it listens */).port}/v3`, username: 'node', password: 'password-of-the-node', project: 'demo' };
    service.next.push({ status: 200, body: { node: { id: ID, key: KEY }, renewSeconds: 60, generation: 1, credential: this.credential } });
  }

  static async start(): Promise<SmallCloud> {
    const swift = await FakeSwift.start();
    const keystone = createServer((_, res) => {
      const [issued, expires] = [0, HOUR_MS].map((ms) => new Date(Date.now() + ms).toISOString());
      res.writeHead(201, { 'x-subject-token': 'token-of-the-node', 'content-type': 'application/json' });
      res.end(JSON.stringify({ token: { issued_at: issued, expires_at: expires, catalog: [{ type: 'object-store', endpoints: [{ interface: 'public', region_id: 'one', url: swift.url }] }] } }));
    }).listen(0, '127.0.0.1');
    await once(keystone, 'listening');
    return new SmallCloud(await FakeService.start(), swift, keystone);
  }

  /** What a node of it is rendered with. The Swift has one container: what comes from upstreams is kept on the node. */
  get model(): Pick<NodeModel, 'storage' | 'login' | 'write' | 'proxies'> {
    return {
      storage: { container: 'images', account: undefined, region: undefined, interface: 'public', ca: undefined },
      login: { kind: 'bootstrap', url: this.service.url, ca: undefined, token: TOKEN },
      write: 'none',
      proxies: undefined,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#swift.close();
    this.#keystone.closeAllConnections();
    this.#keystone.close();
    await this.service[Symbol.asyncDispose]();
  }
}
