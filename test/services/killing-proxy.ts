/**
 * A proxy in front of Keystone and one in front of Swift, between which and a process under test the n-th request, counted over
 * both, is the last that the process makes: it is killed before the server sees the request, or after it did and before its
 * answer comes.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Kill {
  /** From 1. */
  readonly at: number;
  readonly when: 'before' | 'after';
  readonly kill: () => Promise<void>;
}

export class KillingProxies implements AsyncDisposable {
  readonly #servers: Server[] = [];
  #kill: Kill | undefined;
  #count = 0;
  #isKilled = false;
  keystone = '';
  swift = '';

  static async start(origins: { readonly keystone: string; readonly swift: string }): Promise<KillingProxies> {
    const proxies = new KillingProxies();
    proxies.swift = await proxies.#serve(origins.swift, (text) => text);
    // The catalogue leads to the other proxy.
    proxies.keystone = await proxies.#serve(origins.keystone, (text) => text.replaceAll(origins.swift, proxies.swift));
    return proxies;
  }

  /** Requests since `arm`. */
  get count(): number {
    return this.#count;
  }

  get isKilled(): boolean {
    return this.#isKilled;
  }

  arm(kill: Kill | undefined): void {
    this.#kill = kill;
    this.#count = 0;
    this.#isKilled = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    }
  }

  async #serve(origin: string, change: (text: string) => string): Promise<string> {
    const server = createServer((asked, answer) => void this.#exchange(origin, change, asked, answer).catch(() => asked.socket.destroy()));
    this.#servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async #exchange(origin: string, change: (text: string) => string, asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    this.#count += 1;
    const kill = this.#count === this.#kill?.at ? this.#kill : undefined;
    const chunks: Buffer[] = [];
    for await (const chunk of asked as AsyncIterable<Buffer>) chunks.push(chunk);
    if (kill?.when === 'before') return await this.#end(kill, asked);
    const headers = Object.fromEntries(Object.entries(asked.headers).filter(([name]) => !['host', 'connection', 'content-length', 'transfer-encoding'].includes(name)).map(([name, value]) => [name, String(value)]));
    const { method = 'GET', url = '/' } = asked;
    const got = await fetch(`${origin}${url}`, { method, headers, redirect: 'manual', ...(['GET', 'HEAD'].includes(method) ? {} : { body: Buffer.concat(chunks) }) });
    const text = change(await got.text());
    if (kill !== undefined) return await this.#end(kill, asked);
    const back = Object.fromEntries([...got.headers].filter(([name]) => !['connection', 'keep-alive', 'content-length', 'transfer-encoding', 'content-encoding'].includes(name)));
    answer.writeHead(got.status, back);
    answer.end(method === 'HEAD' ? undefined : text);
  }

  async #end(kill: Kill, asked: IncomingMessage): Promise<void> {
    await kill.kill();
    this.#isKilled = true;
    asked.socket.destroy();
  }
}
