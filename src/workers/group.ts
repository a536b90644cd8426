/**
 * The workers of one server on one machine, as one of them sees the others. Implementations: `solo.ts` (a single
 * process) and `cluster.ts` (node:cluster, the primary relays).
 */

/** Anything JSON can carry. */
export type Message = unknown;

export type FollowEvent =
  | { readonly kind: 'announcement'; readonly message: Message }
  /** The leader left; `message` is its last word, undefined where it died without one. */
  | { readonly kind: 'ended'; readonly message: Message };

export interface Leading {
  readonly role: 'leader';
  /** Tells every follower; one that joins later is told the latest first. Supersedes what was announced before: a slow follower misses some. */
  announce(message: Message): void;
  /** Gives the lead up; whoever joins next leads. */
  end(lastWord: Message): void;
}

export interface Following {
  readonly role: 'follower';
  leave(): void;
}

export interface Group {
  /** This worker's number, unique in the group. */
  readonly id: number;
  readonly size: number;
  /**
   * The first to join a key leads it until it ends it or dies; all others follow. `followersChanged` tells a leader how
   * many follow now.
   */
  join(key: string, follow: (event: FollowEvent) => void, followersChanged: (count: number) => void): Promise<Leading | Following>;
  /** Tells all other workers; resolves once each has handled it, or after a second. */
  broadcast(topic: string, message: Message): Promise<void>;
  /** Handles broadcasts of others. A handler may return a promise; the sender waits for it. */
  subscribe(topic: string, handler: (message: Message) => void | Promise<void>): void;
  close(): Promise<void>;
}
