/**
 * The grammar of keys, the same for every driver: what `driver.ts` says of them, checked before a key becomes a path
 * or a URL. Long names and what keys mean are not its business.
 */
import { DriverError } from './driver.ts';

const COMPONENT = /^(?!\.{1,2}$)[A-Za-z0-9._:@[\]~+-]+$/;
const KEY = /^(?!\.{1,2}(?:\/|$))[A-Za-z0-9._:@[\]~+-]+(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._:@[\]~+-]+)*$/;
const CHARACTERS = /^[A-Za-z0-9._:@[\]~+-]*$/;

/** In bytes, which are characters here. Object stores take names of 1024 bytes, a configured prefix and more included. */
export const MAX_KEY_LENGTH = 940;

/** Is `text` a key? */
export function isKey(text: string): boolean {
  return text.length <= MAX_KEY_LENGTH && KEY.test(text);
}

/** Is `text` one component of a key? */
export function isComponent(text: string): boolean {
  return COMPONENT.test(text);
}

/** @throws DriverError permanent, where `key` could not name an object or would lead out of the store */
export function checkKey(key: string): void {
  if (!isKey(key)) throw invalid('key', key);
}

/**
 * Checks the prefix of a listing: whole components, then any beginning of one.
 * @throws DriverError permanent
 */
export function checkPrefix(prefix: string): void {
  const cut = prefix.lastIndexOf('/');
  if ((cut >= 0 && !KEY.test(prefix.slice(0, cut))) || !CHARACTERS.test(prefix.slice(cut + 1))) throw invalid('prefix', prefix);
}

/**
 * Checks the prefix of a level: '' (the top) or a key and `/`.
 * @throws DriverError permanent
 */
export function checkLevel(prefix: string): void {
  if (prefix !== '' && !(prefix.endsWith('/') && KEY.test(prefix.slice(0, -1)))) throw invalid('level', prefix);
}

function invalid(what: string, text: string): DriverError {
  return new DriverError('permanent', `invalid ${what} ${JSON.stringify(text.slice(0, 200))}: expected components of [A-Za-z0-9._:@[]~+-] other than . and .., separated by /, at most ${MAX_KEY_LENGTH} characters`);
}
