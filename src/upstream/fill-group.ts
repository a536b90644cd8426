/**
 * Who leads the download of a blob: one worker of this machine and, where several machines share an object store
 * (`shared-fills.ts`), one of theirs.
 */
import type { Digest } from '../oci/digest.ts';
import type { FollowEvent, Following, Group, Leading } from '../workers/group.ts';

export interface FillGroup {
  /** As `Group.join`. `size` of the blob in bytes, where known. */
  join(digest: Digest, size: number | undefined, follow: (event: FollowEvent) => void, followersChanged: (count: number) => void): Promise<FillLead | Following>;
  close(): Promise<void>;
}

/** The lead among the workers of this machine. */
export interface FillLead extends Leading {
  /**
   * Asks whether another machine leads already. What it gives then speaks instead of this lead, which is over. Never
   * rejects, and is given up after some seconds. Absent, as the rest, where there are no other machines.
   */
  contend?(signal: AbortSignal): Promise<Relay | undefined>;
  /** So many bytes have come from upstream: other machines want to know that it goes on. */
  came?(bytes: number): void;
  /** Nobody on this machine reads, or somebody does again: machines that follow are asked whether anybody does there. */
  alone?(isAlone: boolean): void;
  /** What they answered, which takes them some seconds. Never rejects. */
  isReadElsewhere?(): Promise<boolean>;
  /** Calls the task once other machines have had time to go on without this download; not if the process ends before. */
  later?(task: () => Promise<void>): void;
}

/** What another machine says of its download, passed on to the workers of this one for as long as somebody reads. */
export interface Relay {
  readonly role: 'relay';
  /** Of this process. */
  readersChanged(count: number): void;
}

/** The workers of this machine only. */
export function machineFills(group: Pick<Group, 'join'>): FillGroup {
  return {
    join: (digest, _, follow, followersChanged) => group.join(keyOf(digest), follow, followersChanged),
    close: async () => undefined,
  };
}

/** In a group. */
export function keyOf(digest: Digest): string {
  return `fill:${digest}`;
}
