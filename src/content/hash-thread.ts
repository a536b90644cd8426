/**
 * The thread that hashes large bodies, so that the event loop can receive meanwhile; started by `hashing.ts`.
 * It answers every update and every digest, in order.
 */
import { createHash, type Hash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import type { Algorithm } from '../oci/digest.ts';

export type HashRequest =
  | { readonly kind: 'begin'; readonly id: number; readonly algorithm: Algorithm }
  /** The buffer is moved here and back. */
  | { readonly kind: 'update'; readonly id: number; readonly buffer: ArrayBuffer; readonly length: number }
  | { readonly kind: 'digest'; readonly id: number }
  | { readonly kind: 'end'; readonly id: number };

export type HashReply = ArrayBuffer | string;

const port = parentPort;
if (port === null) throw new Error('hash-thread.ts runs as a worker thread only');
const hashes = new Map<number, Hash>();

port.on('message', (request: HashRequest) => {
  switch (request.kind) {
    case 'begin':
      hashes.set(request.id, createHash(request.algorithm));
      break;
    case 'update':
      running(request.id).update(new Uint8Array(request.buffer, 0, request.length));
      port.postMessage(request.buffer, [request.buffer]);
      break;
    case 'digest':
      port.postMessage(running(request.id).copy().digest('hex'));
      break;
    case 'end':
      hashes.delete(request.id);
      break;
  }
});

function running(id: number): Hash {
  const hash = hashes.get(id);
  if (hash === undefined) throw new Error(`hash ${id} was never begun`);
  return hash;
}
