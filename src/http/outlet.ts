/**
 * The way of a body's bytes to one client: what waits to go out, when the memory of each piece may be used again, and
 * whether the client is still there. A client that takes nothing for too long is cut off.
 */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { ClientLeft } from './exchange.ts';

interface Piece {
  readonly bytes: number;
  readonly last: boolean;
  readonly release: () => void;
}

export class Outlet {
  readonly #response: ServerResponse;
  readonly #socket: Socket;
  readonly #sent: (bytes: number) => void;
  /** Given to the response and not yet taken by the system. */
  readonly #waiting = new Set<Piece>();
  readonly #onClose = (): void => this.#leave('the client closed the connection');
  readonly #onTimeout = (): void => {
    // Fires too while we have nothing to give; the next write starts the time anew.
    if (this.#waiting.size > 0) this.#leave('the client took nothing for too long');
  };
  #waitingBytes = 0;
  #left: ClientLeft | undefined;
  #wake: (() => void) | undefined;
  #abort: AbortController | undefined;

  /**
   * @param sent told of bytes that the system took, as it takes them
   * @throws ClientLeft where the client is gone already
   */
  constructor(response: ServerResponse, stallMs: number, sent: (bytes: number) => void) {
    if (response.destroyed) throw new ClientLeft('the client closed the connection');
    this.#response = response;
    this.#socket = response.req.socket; // `response.socket` comes late to a pipelined request and goes early
    this.#sent = sent;
    response.on('close', this.#onClose);
    response.on('timeout', this.#onTimeout);
    // Only the socket's own timer sees a write that drains slowly as progress.
    response.setTimeout(stallMs);
  }

  /** Pieces that wait to go out. */
  get pieces(): number {
    return this.#waiting.size;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Aborts, with ClientLeft, when the client leaves. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#left !== undefined) this.#abort.abort(this.#left);
    return this.#abort.signal;
  }

  /** @throws ClientLeft */
  check(): void {
    if (this.#left !== undefined) throw this.#left;
  }

  /**
   * Sends a piece, the last one with the end of the response.
   * @param release called once, when nothing will read the bytes any more
   */
  write(bytes: Uint8Array, last: boolean, release: () => void): void {
    if (this.#left !== undefined) return release();
    const piece: Piece = { bytes: bytes.length, last, release };
    this.#waiting.add(piece);
    this.#waitingBytes += bytes.length;
    const done = (error?: Error | null): void => this.#done(piece, error ?? undefined);
    if (last) this.#response.end(bytes, done);
    else this.#response.write(bytes, done);
  }

  /** Ends a response whose last piece was not known to be the last. */
  end(): void {
    this.write(new Uint8Array(0), true, () => undefined);
  }

  /** Resolves when something went out, so that `pieces` and `waitingBytes` are less. Rejects with ClientLeft. */
  async progress(): Promise<void> {
    if (this.#left === undefined && this.#waiting.size > 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.check();
  }

  /** Resolves when everything went out. Rejects with ClientLeft. */
  async drained(): Promise<void> {
    while (this.#left === undefined && this.#waiting.size > 0) await this.progress();
    this.check();
  }

  /** Stops watching; what still waits is released when the connection is closed. */
  close(): void {
    this.#response.off('timeout', this.#onTimeout);
    if (this.#waiting.size === 0) this.#response.off('close', this.#onClose);
  }

  #done(piece: Piece, error: Error | undefined): void {
    // Node calls back without an error for what was dropped with a destroyed socket.
    if (error !== undefined || this.#socket.destroyed) {
      this.#leave('the client closed the connection');
      return;
    }
    if (!this.#waiting.delete(piece)) return;
    this.#waitingBytes -= piece.bytes;
    this.#sent(piece.bytes);
    piece.release();
    if (piece.last) this.close(); // the response may be closed before whoever waits for `drained` hears of it
    this.#wake?.();
  }

  #leave(message: string): void {
    if (this.#left === undefined) {
      this.#left = new ClientLeft(message);
      this.#response.destroy();
      this.#abort?.abort(this.#left);
    }
    // The system reads the memory of a write until the socket is closed, not only until it is destroyed.
    if (this.#socket.closed) {
      this.#response.off('close', this.#onClose);
      for (const { release } of this.#waiting) release();
      this.#waiting.clear();
    }
    this.#wake?.();
  }
}
