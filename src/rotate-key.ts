/** `umbra auth rotate-key`, as a process of its own does it, while servers may be running. */
import { randomBytes } from 'node:crypto';
import { rotateKey, type Rotation, type RotationOptions } from './auth/rotate-key.ts';

export async function rotateKeyFile(path: string, options: RotationOptions): Promise<Rotation> {
  return await rotateKey(path, options, { nowMs: Date.now, randomBytes });
}
