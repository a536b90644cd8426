/** Clients, view, registry, upstreams → files. Pure: what they become on a machine is `machine/`. */
import type { Change, ClientPlan } from './change.ts';
import { buildkit } from './clients/buildkit.ts';
import { containerd } from './clients/containerd.ts';
import { containers } from './clients/containers.ts';
import { crio } from './clients/cri-o.ts';
import { docker } from './clients/docker.ts';
import { kubernetes } from './clients/kubernetes.ts';
import { Refused } from './request.ts';
import type { ClientName, Request } from './request.ts';

const BY_NAME: Readonly<Record<ClientName, (request: Request) => ClientPlan>> = { docker, buildkit, containers, containerd, 'cri-o': crio, kubernetes };

export interface Plan {
  readonly changes: readonly PlannedChange[];
  readonly notes: readonly string[];
}

/** A change, and for which clients it is. */
export type PlannedChange = Change & { readonly clients: readonly ClientName[] };

/** @throws Refused where a client cannot be told so */
export function plan(clients: readonly ClientName[], request: Request): Plan {
  const changes = new Map<string, PlannedChange>();
  const notes = new Set<string>();
  for (const client of clients) {
    // podman takes no such reference; containerd 1.6 finds no "]" in a table's name, ignores the file, and goes to upstream.
    if (client !== 'docker' && request.registry.host.startsWith('[')) throw new Refused(`${client} does not understand an IPv6 address as a registry: give Umbra a name in DNS or /etc/hosts, and say it with --registry`);
    const made = BY_NAME[client](request);
    for (const note of made.notes) notes.add(note);
    for (const change of made.changes) {
      const before = changes.get(change.path);
      // Clients that share a file say the same there; the one that must be told goes first.
      if (before === undefined) changes.set(change.path, { ...change, clients: [client] });
      else changes.set(change.path, { ...(before.needs === undefined ? change : before), clients: [...before.clients, client] });
    }
  }
  return { changes: [...changes.values()], notes: [...notes] };
}
