/** A socket as a test writes and reads it: text, and heads of HTTP. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';

const open = new Set<Socket>();

/** Of all that was opened here. */
export function endWires(): void {
  for (const socket of open) socket.destroy();
  open.clear();
}

/** Ends only one way: whoever goes says so. */
async function connected(origin: string): Promise<Socket> {
  const { hostname, port } = new URL(origin);
  const socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port), allowHalfOpen: true });
  open.add(socket);
  await once(socket, 'connect');
  return socket;
}

export class Wire<S extends Socket = Socket> {
  readonly socket: S;
  /** All that came, and was not read by `head` or `bytes` yet. */
  #held = '';
  #changed = Promise.withResolvers<void>();
  #over = false;

  constructor(socket: S) {
    this.socket = socket;
    const change = (): void => {
      this.#changed.resolve();
      this.#changed = Promise.withResolvers<void>();
    };
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      this.#held += text;
      change();
    });
    socket.on('error', () => undefined); // what follows is the end
    socket.once('close', () => {
      this.#over = true;
      change();
    });
    socket.once('end', () => {
      this.#over = true;
      change();
    });
  }

  /** @param origin `http://127.0.0.1:port` or `http://[::1]:port` */
  static async open(origin: string): Promise<Wire> {
    return new Wire(await connected(origin));
  }

  send(text: string | Buffer): this {
    this.socket.write(text);
    return this;
  }

  /** Status line and headers of the next answer, without its body. '' where the connection ended instead. */
  async head(): Promise<string> {
    return await this.#take(() => {
      const end = this.#held.indexOf('\r\n\r\n');
      return end === -1 ? undefined : end + 4;
    });
  }

  /** The next `count` bytes, or what came before the end. */
  async bytes(count: number): Promise<string> {
    return await this.#take(() => (this.#held.length >= count ? count : undefined));
  }

  /** Whatever comes until the end. */
  async rest(): Promise<string> {
    return await this.#take(() => undefined);
  }

  async #take(length: () => number | undefined): Promise<string> {
    for (;;) {
      const count = length() ?? (this.#over ? this.#held.length : undefined);
      if (count !== undefined) {
        const taken = this.#held.slice(0, count);
        this.#held = this.#held.slice(count);
        return taken;
      }
      await this.#changed.promise;
    }
  }
}

/** A connection through the proxy on which the client may speak to `authority`. */
export async function tunnelTo(origin: string, authority: string): Promise<Socket> {
  const socket = await connected(origin);
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  if (!answer.toString().startsWith('HTTP/1.1 200 ')) throw new Error(answer.toString());
  return socket;
}

/** Speaks TLS on a socket; the certificate must verify. */
export async function secure(socket: Socket, options: ConnectionOptions): Promise<Wire<TLSSocket>> {
  const inner = connectTls({ socket, ...options });
  await once(inner, 'secureConnect');
  return new Wire(inner);
}
