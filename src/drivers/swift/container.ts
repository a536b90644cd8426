/** The container: made where it is missing and that is permitted, and tried before anybody relies on it. */
import { DriverError, isDriverError, type CallOptions } from '../driver.ts';
import type { SwiftClient } from './client.ts';
import { PROBES } from './names.ts';
import type { SwiftObjects } from './objects.ts';

export interface ContainerOptions extends CallOptions {
  readonly client: SwiftClient;
  readonly objects: SwiftObjects;
  readonly root: string;
  readonly newId: () => string;
}

/** @throws DriverError, naming the container, what was refused and what to do about it */
export async function ensureContainer({ client, signal }: Pick<ContainerOptions, 'client' | 'signal'>): Promise<void> {
  const { container } = client;
  const head = await client.call({ method: 'HEAD', what: `look for container ${container}`, expect: [200, 204, 404, 403], signal });
  // A user who may only read and write what is in it may not look at the container itself.
  if (head.status !== 404) return;
  await client.call({ method: 'PUT', body: new Uint8Array(0), what: `create container ${container}, which does not exist`, expect: [201, 202], signal });
}

/** Writes, reads and removes a small object. @throws DriverError, as above */
export async function tryContainer({ client, objects, root, newId, signal }: ContainerOptions): Promise<void> {
  const id = newId();
  const name = `${root}${PROBES}${id}`;
  const bytes = Buffer.from(id);
  const what = `try whether container ${client.container} can be written and read`;
  await objects.put({ name, bytes, what, signal });
  try {
    const read = await objects.get({ name, what, signal });
    if (read?.bytes.equals(bytes) !== true) throw new DriverError('permanent', `${what}: what was written does not stand there`);
  } finally {
    await objects.delete({ name, what, signal }).catch((error: unknown) => {
      if (isDriverError(error, 'permanent')) throw error;
    });
  }
}
