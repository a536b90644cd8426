/** A cluster service on a socket, that answers as it is told, and a node that asks it. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseBootstrapRequest, parseRenewRequest, type BootstrapAnswer, type BootstrapRequest, type RenewAnswer, type RenewRequest } from '../bootstrap-wire.ts';

export const TOKEN: string = `umbra-token-${'t'.repeat(43)}`;
export const ID = '0b5e7a52-6c1f-4f0e-9a53-0f2f6a0a9d11';
export const KEY: string = `umbra-node-${'k'.repeat(43)}`;

export type Said = { readonly status: number; readonly body?: unknown; readonly retryAfter?: number };

export class FakeService implements AsyncDisposable {
  readonly exchanges: BootstrapRequest[] = [];
  readonly renewals: RenewRequest[] = [];
  /** Answers before all else, in turn. */
  readonly next: Said[] = [];
  generation = 1;
  pushUser: { readonly name: string; readonly password: string } | undefined;
  readonly #server: Server = createServer((request, response) => {
    void this.#answer(request).then(({ status, body, retryAfter }) => {
      response.writeHead(status, { 'content-type': 'application/json', ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }) });
      response.end(JSON.stringify(body ?? { errors: [{ status, detail: `told to say ${status}` }] }));
    });
  });

  static async start(): Promise<FakeService> {
    const service = new FakeService();
    await new Promise<void>((resolve) => service.#server.listen(0, '127.0.0.1', resolve));
    return service;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`; // listening on TCP
  }

  async #answer(request: IncomingMessage): Promise<Said> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const next = this.next.shift();
    if (request.url === '/v1/bootstrap') {
      this.exchanges.push(parseBootstrapRequest(text));
      const body: BootstrapAnswer = { node: { id: ID, key: KEY }, renewSeconds: 60, ...this.#handout() };
      return next ?? { status: 200, body };
    }
    if (request.url !== `/v1/nodes/${ID}/renew` || request.headers.authorization !== `Bearer ${KEY}`) return { status: 401 };
    const report = parseRenewRequest(text);
    this.renewals.push(report);
    const body: RenewAnswer = { renewSeconds: 60, ...(report.generation === this.generation ? { generation: this.generation } : this.#handout()) };
    return next ?? { status: 200, body };
  }

  #handout(): Omit<BootstrapAnswer, 'node' | 'renewSeconds'> {
    return { generation: this.generation, credential: { url: 'https://keystone.example.org/v3', username: 'node', password: `password-${this.generation}` }, ...(this.pushUser && { pushUser: this.pushUser }) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
