/** What the workers of a group and the broker say to each other. JSON-able: between processes it travels over IPC. */
import type { FollowEvent, Message } from './group.ts';

/** From a worker. `join` and `call` are numbers of the worker's choice, `relay` one of the broker's. */
export type Upward =
  /** The first word: from here on this worker is told broadcasts. */
  | { readonly op: 'hello' }
  | { readonly op: 'join'; readonly join: number; readonly key: string }
  | { readonly op: 'announce'; readonly join: number; readonly message: Message }
  | { readonly op: 'end'; readonly join: number; readonly message: Message }
  | { readonly op: 'leave'; readonly join: number }
  | { readonly op: 'broadcast'; readonly call: number; readonly topic: string; readonly message: Message }
  /** Nobody waits for this broadcast any more. */
  | { readonly op: 'forget'; readonly call: number }
  | { readonly op: 'handled'; readonly relay: number };

/** To a worker. */
export type Downward =
  | { readonly op: 'joined'; readonly join: number; readonly role: 'leader' | 'follower' }
  | { readonly op: 'event'; readonly join: number; readonly event: FollowEvent }
  | { readonly op: 'followers'; readonly join: number; readonly count: number }
  | { readonly op: 'deliver'; readonly relay: number; readonly topic: string; readonly message: Message }
  | { readonly op: 'done'; readonly call: number };

/** One direction of a connection. `sent` is called once when the message has left, or never will. */
export type Send<M> = (message: M, sent: () => void) => void;
