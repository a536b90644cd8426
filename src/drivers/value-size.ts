/** The bound of `get`, the same for every driver: a value is read whole, so a blob asked for by mistake is refused. */
import { DriverError } from './driver.ts';

const DEFAULT_MAX_BYTES = 16 * 1024 * 1024;

/** @throws DriverError permanent */
export function checkValueSize(key: string, size: number, maxBytes: number = DEFAULT_MAX_BYTES): void {
  if (size > maxBytes) throw new DriverError('permanent', `${key} is ${size} bytes: at most ${maxBytes} are read whole`);
}
