/** Reads the sections of a body, one after the other, into whatever memory it is given. */
import type { Source } from '../drivers/driver.ts';
import { sectionLength, type Section } from './multipart.ts';

export class SectionReader {
  readonly #read: NonNullable<Source['read']>;
  readonly #sections: readonly Section[];
  #index = 0;
  /** Bytes of the section at `#index` that were read already. */
  #offset = 0;
  #remaining: number;

  constructor(read: NonNullable<Source['read']>, sections: readonly Section[]) {
    this.#read = read;
    this.#sections = sections;
    this.#remaining = sections.reduce((sum, section) => sum + sectionLength(section), 0);
  }

  /** Bytes still to be read. */
  get remaining(): number {
    return this.#remaining;
  }

  /** Fills the memory as far as there are bytes; returns how many. Throws where the source ends early. */
  async fill(into: Uint8Array): Promise<number> {
    let filled = 0;
    for (let section = this.#sections[this.#index]; section !== undefined && filled < into.length; section = this.#sections[this.#index]) {
      const wanted = Math.min(sectionLength(section) - this.#offset, into.length - filled);
      const count = await this.#part(section, filled === 0 && wanted === into.length ? into : into.subarray(filled, filled + wanted));
      filled += count;
      this.#offset += count;
      this.#remaining -= count;
      if (this.#offset < sectionLength(section)) continue;
      this.#index++;
      this.#offset = 0;
    }
    return filled;
  }

  async #part(section: Section, into: Uint8Array): Promise<number> {
    if (section instanceof Uint8Array) {
      into.set(section.subarray(this.#offset, this.#offset + into.length));
      return into.length;
    }
    if (into.length === 0) return 0;
    const position = section.start + this.#offset;
    const count = await this.#read(into, position);
    if (count === 0) throw new Error(`the source ends at byte ${position}, before byte ${section.end} that was promised`);
    return count;
  }
}
