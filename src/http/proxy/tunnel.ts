/** One connection led through: bytes go both ways until both ends have ended, one fails, or nothing has moved for too long. */
import type { LookupAddress } from 'node:dns';
import { connect, type LookupFunction, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { Authority } from './authority.ts';

export interface Tunnel {
  /** Settles when it is over; bytes that the client sent, and got. */
  readonly ended: Promise<{ readonly bytesIn: number; readonly bytesOut: number }>;
  /** All bytes so far: whoever looks again sees whether any moved. */
  moved(): number;
  end(): void;
}

/**
 * Connects to the first of the addresses that answers.
 * @throws Error with the system's code, or ETIMEDOUT after `timeoutMs`
 */
export async function connectTo({ host, port }: Authority, addresses: readonly LookupAddress[], timeoutMs: number, signal: AbortSignal): Promise<Socket> {
  const given: LookupFunction = (_, options, callback) => {
    const [first] = addresses;
    if (options.all === true || first === undefined) callback(null, [...addresses]);
    else callback(null, first.address, first.family);
  };
  return await new Promise((resolve, reject) => {
    // The name is resolved already, and must not be again.
    const socket = connect({ host, port, lookup: given, noDelay: true, keepAlive: true, allowHalfOpen: true });
    const fail = (error: Error): void => void socket.destroy(error);
    const timer = setTimeout(() => fail(Object.assign(new Error(`no connection within ${timeoutMs} ms`), { code: 'ETIMEDOUT' })), timeoutMs);
    const left = (): void => fail(Object.assign(new Error('the client left'), { code: 'ECANCELED' }));
    signal.addEventListener('abort', left, { once: true });
    const settled = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', left);
    };
    socket.once('error', (error) => {
      settled();
      reject(error);
    });
    socket.once('connect', () => {
      settled();
      resolve(socket);
    });
  });
}

/** @param head what the client sent already */
export function joinEnds(client: Socket, remote: Socket, head: Buffer, idleMs: number): Tunnel {
  const [readBefore, writtenBefore] = [client.bytesRead - head.length, client.bytesWritten];
  const bytesIn = (): number => client.bytesRead - readBefore;
  const bytesOut = (): number => client.bytesWritten - writtenBefore;
  const end = (): void => {
    client.destroy();
    remote.destroy();
  };
  for (const socket of [client, remote]) {
    socket.on('error', end);
    socket.setTimeout(idleMs, end);
  }
  if (head.length > 0) client.unshift(head);
  const ended = Promise.allSettled([pipeline(client, remote), pipeline(remote, client)]).then(() => {
    end();
    return { bytesIn: bytesIn(), bytesOut: bytesOut() };
  });
  return { ended, moved: () => bytesIn() + bytesOut(), end };
}
