/**
 * Who leads and who follows which key, and who still has to handle which broadcast: the group's one point of order. It
 * lives in the primary (`cluster.ts`) or in the only process (`solo.ts`) and knows nothing of how messages travel.
 */
import type { Message } from './group.ts';
import { LatestOnly } from './latest.ts';
import type { Downward, Send, Upward } from './wire.ts';

/** One worker, as the broker is told of it. */
export interface Connection {
  receive(message: Upward): void;
  /** The worker is gone: what it led ends without a last word, what it followed it leaves. */
  closed(): void;
}

interface Peer {
  readonly send: Send<Downward>;
  /** By the peer's number of the join. */
  readonly leads: Map<number, Lead>;
  readonly follows: Map<number, Follower>;
  readonly relays: Set<Relay>;
  ready: boolean;
}

interface Lead {
  readonly key: string;
  readonly leader: Peer;
  readonly join: number;
  readonly followers: Set<Follower>;
  latest: { readonly message: Message } | undefined;
}

interface Follower {
  readonly peer: Peer;
  readonly join: number;
  readonly lead: Lead;
  /** Announcements on their way. */
  readonly lane: LatestOnly<Downward>;
}

/** A broadcast that not every worker has handled yet. */
interface Relay {
  readonly number: number;
  readonly sender: Peer;
  readonly call: number;
  readonly missing: Set<Peer>;
}

export class Broker {
  readonly #peers = new Set<Peer>();
  readonly #leads = new Map<string, Lead>();
  readonly #relays = new Map<number, Relay>();
  #relayed = 0;

  connect(send: Send<Downward>): Connection {
    const peer: Peer = { send, leads: new Map(), follows: new Map(), relays: new Set(), ready: false };
    this.#peers.add(peer);
    return {
      receive: (message) => {
        if (this.#peers.has(peer)) this.#receive(peer, message);
      },
      closed: () => this.#disconnect(peer),
    };
  }

  #receive(peer: Peer, message: Upward): void {
    switch (message.op) {
      case 'hello':
        peer.ready = true;
        return;
      case 'join':
        return this.#join(peer, message.join, message.key);
      case 'announce': {
        const lead = peer.leads.get(message.join);
        if (lead === undefined) return;
        lead.latest = { message: message.message };
        for (const follower of lead.followers) this.#tell(follower, lead.latest);
        return;
      }
      case 'end': {
        const lead = peer.leads.get(message.join);
        if (lead !== undefined) this.#end(lead, message.message);
        return;
      }
      case 'leave':
        return this.#leave(peer.follows.get(message.join));
      case 'broadcast':
        return this.#broadcast(peer, message.call, message.topic, message.message);
      case 'forget':
        for (const relay of peer.relays) if (relay.call === message.call) this.#settle(relay);
        return;
      case 'handled': {
        const relay = this.#relays.get(message.relay);
        if (relay !== undefined) this.#handled(relay, peer);
        return;
      }
    }
  }

  #join(peer: Peer, join: number, key: string): void {
    const running = this.#leads.get(key);
    if (running === undefined) {
      const lead: Lead = { key, leader: peer, join, followers: new Set(), latest: undefined };
      this.#leads.set(key, lead);
      peer.leads.set(join, lead);
      return post(peer, { op: 'joined', join, role: 'leader' });
    }
    const follower: Follower = { peer, join, lead: running, lane: new LatestOnly(peer.send) };
    peer.follows.set(join, follower);
    running.followers.add(follower);
    post(peer, { op: 'joined', join, role: 'follower' });
    if (running.latest !== undefined) this.#tell(follower, running.latest);
    this.#count(running);
  }

  #tell({ join, lane }: Follower, { message }: { readonly message: Message }): void {
    lane.offer({ op: 'event', join, event: { kind: 'announcement', message } });
  }

  #count({ leader, join, followers }: Lead): void {
    post(leader, { op: 'followers', join, count: followers.size });
  }

  #end(lead: Lead, lastWord: Message): void {
    this.#leads.delete(lead.key);
    lead.leader.leads.delete(lead.join);
    for (const { peer, join, lane } of lead.followers) {
      peer.follows.delete(join);
      lane.clear();
      post(peer, { op: 'event', join, event: { kind: 'ended', message: lastWord } });
    }
  }

  #leave(follower: Follower | undefined): void {
    if (follower === undefined) return;
    follower.lane.clear();
    follower.peer.follows.delete(follower.join);
    follower.lead.followers.delete(follower);
    this.#count(follower.lead);
  }

  #broadcast(sender: Peer, call: number, topic: string, message: Message): void {
    const missing = new Set([...this.#peers].filter((peer) => peer !== sender && peer.ready));
    const relay: Relay = { number: ++this.#relayed, sender, call, missing };
    this.#relays.set(relay.number, relay);
    sender.relays.add(relay);
    for (const peer of missing) post(peer, { op: 'deliver', relay: relay.number, topic, message });
    if (missing.size === 0) this.#settle(relay);
  }

  #handled(relay: Relay, peer: Peer): void {
    if (relay.missing.delete(peer) && relay.missing.size === 0) this.#settle(relay);
  }

  #settle(relay: Relay): void {
    this.#relays.delete(relay.number);
    relay.sender.relays.delete(relay);
    post(relay.sender, { op: 'done', call: relay.call });
  }

  #disconnect(peer: Peer): void {
    if (!this.#peers.delete(peer)) return;
    for (const relay of peer.relays) this.#relays.delete(relay.number);
    for (const relay of this.#relays.values()) this.#handled(relay, peer);
    for (const follower of peer.follows.values()) this.#leave(follower);
    for (const lead of peer.leads.values()) this.#end(lead, undefined);
  }
}

function post(peer: Peer, message: Downward): void {
  peer.send(message, () => undefined);
}
