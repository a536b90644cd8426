/** Why a node gets no answer that it wants; what the HTTP side makes an error body of. */
export type RefusalStatus = 400 | 401 | 410 | 413 | 429 | 503;

export class BootstrapRefusal extends Error {
  override readonly name = 'BootstrapRefusal';
  readonly status: RefusalStatus;
  /** For `Retry-After`; undefined: asking again is no use. */
  readonly retryAfterSeconds: number | undefined;

  /** @param detail for whoever reads the node's log: what is wrong and what to do; never a secret */
  constructor(status: RefusalStatus, detail: string, retryAfterSeconds?: number) {
    super(detail);
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}
