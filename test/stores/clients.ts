/**
 * Clients that push and pull beside each other while the store is spoiled, and what is wrong with what they were
 * answered: a wrong byte in a body that is whole, a 404 for what was answered 201, a wait without an end.
 */
import { once } from 'node:events';
import { EventEmitter } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf } from '../../src/oci/digest.ts';
import { Ledger, type Manifest } from '../e2e/crash-ledger.ts';
import { pushImage } from '../e2e/crash-pusher.ts';
import { makeImage, pseudoRandom, writeLayout } from '../e2e/images.ts';
import { insecure } from '../e2e/registries-conf.ts';
import { RegistryClient, type Answer } from '../e2e/registry-client.ts';
import type { CommandResult } from '../services/command.ts';
import { Containers } from '../services/containers.ts';

export interface ClientsOptions {
  /** Everything that is pushed follows from it; digests and tags differ from those of any other seed. */
  readonly seed: string;
  /** Umbra's, e.g. `localhost:5000`. */
  readonly host: string;
  /** Short; the programs' own state. */
  readonly dir: string;
  readonly pushers: number;
  readonly imagesEach: number;
  readonly pullers: number;
  /** Images that skopeo pushes, and skopeo and podman pull, two of each at a time. */
  readonly programImages: number;
  /** Of one of these, in which there are several segments. */
  readonly programImageBytes: number;
  /** A guard against waits without an end, far above what any client should wait. */
  readonly hangMs: number;
}

export interface Outcome {
  readonly ledger: Ledger;
  readonly wrongs: readonly string[];
  /** What clients were answered or met, and how often. */
  readonly counts: ReadonlyMap<string, number>;
}

/** Runs all clients to their ends. */
export async function pushAndPull(options: ClientsOptions): Promise<Outcome> {
  const run = new Run(options);
  await using client = new RegistryClient(`http://${options.host}`, { timeoutMs: options.hangMs });
  const pushing = Promise.all([
    ...Array.from({ length: options.pushers }, (_, index) => run.push(client, index)),
    ...Array.from({ length: Math.min(PROGRAMS, options.programImages) }, (_, index) => run.pushWithPrograms(index)),
  ]);
  const done = pushing.finally(() => run.end());
  await Promise.all([done, ...Array.from({ length: options.pullers }, (_, index) => run.pull(client, index))]);
  return { ledger: run.ledger, wrongs: run.wrongs, counts: run.counts };
}

const TRIES = 4;
/** Sets of programs at a time, each on a machine of its own. */
const PROGRAMS = 2;

class Run {
  readonly ledger = new Ledger();
  readonly wrongs: string[] = [];
  readonly counts = new Map<string, number>();
  readonly #options: ClientsOptions;
  readonly #events = new EventEmitter();
  #ended = false;

  constructor(options: ClientsOptions) {
    this.#options = options;
    this.#events.setMaxListeners(0);
  }

  end(): void {
    this.#ended = true;
    this.#events.emit('more');
  }

  async push(client: RegistryClient, index: number): Promise<void> {
    const name = `org/pusher-${index}`;
    for (let serial = 0; serial < this.#options.imagesEach; serial += 1) {
      for (let attempt = 1; attempt <= TRIES; attempt += 1) {
        try {
          // Another seed for each try: a tag that was sent is never sent with other bytes.
          await pushImage({ client, ledger: this.ledger, name, seed: `${this.#options.seed} ${index} ${attempt}`, observe: (progress) => progress.kind === 'created' && this.#events.emit('more') }, serial);
          this.#count('pushed');
          break;
        } catch (error) {
          this.#failed('push', error);
        }
      }
    }
  }

  /** Reads what was answered, again and again, until the pushers have ended; then all of it once more. */
  async pull(client: RegistryClient, index: number): Promise<void> {
    for (let turn = 0; !this.#ended; turn += 1) {
      const { answered } = this.ledger;
      const manifest = answered[pseudoRandom(`${this.#options.seed} pull ${index} ${turn}`, 4).readUInt32LE() % Math.max(1, answered.length)];
      if (manifest === undefined) await once(this.#events, 'more');
      else await this.#pullOne(client, manifest);
      if (manifest !== undefined) await this.#list(client, manifest.name);
    }
  }

  async pushWithPrograms(index: number): Promise<void> {
    const { dir, host, seed } = this.#options;
    const containers = await Containers.create(join(dir, `c${index}`), insecure(host));
    const [layout, pulled] = [join(dir, `layout-${index}`), join(dir, `pulled-${index}`)];
    for (let serial = index; serial < this.#options.programImages; serial += PROGRAMS) {
      const image = await makeImage({ marker: `${seed} ${serial}`, fillerBytes: this.#options.programImageBytes });
      const tag = `${seed}-${serial}`.replaceAll(' ', '-');
      const name = 'org/programs';
      const reference = `${host}/${name}:${tag}`;
      await rm(layout, { recursive: true, force: true });
      await writeLayout(layout, 'x', image);
      const manifest = this.ledger.addManifest({ name, tag, digest: image.digest, blobs: [...image.blobs.keys()], answered: false });
      const timeoutMs = this.#options.hangMs;
      const push = await containers.attempt('skopeo', ['copy', '--retry-times', '3', `oci:${layout}:x`, `docker://${reference}`], { timeoutMs });
      if (!this.#ran('skopeo push', push)) continue;
      manifest.answered = true;
      this.#events.emit('more');

      await rm(pulled, { recursive: true, force: true });
      const pull = await containers.attempt('skopeo', ['copy', '--retry-times', '3', `docker://${reference}`, `dir:${pulled}`], { timeoutMs });
      if (this.#ran('skopeo pull', pull)) {
        const got = digestOf(await readFile(join(pulled, 'manifest.json')));
        if (got !== image.digest) this.wrongs.push(`skopeo pulled ${got} for ${image.digest}`);
      }
      const podman = await containers.attempt('podman', ['pull', reference], { timeoutMs });
      if (this.#ran('podman pull', podman)) {
        const got = (await containers.podman(['image', 'inspect', '--format', '{{.Digest}}', reference])).trim();
        if (got !== image.digest) this.wrongs.push(`podman pulled ${got} for ${image.digest}`);
      }
    }
  }

  async #pullOne(client: RegistryClient, { name, tag, digest, blobs }: Manifest): Promise<void> {
    await this.#look(`${name}:${tag}`, digest, () => client.getManifest(name, tag));
    await this.#look(`${name}@${digest}`, digest, () => client.getManifest(name, digest));
    for (const blob of blobs) await this.#look(`blob of ${name}:${tag}`, blob, () => client.getBlob(name, blob));
  }

  /** What was answered 201 is there or cannot be found out; never absent, and never other bytes. */
  async #look(what: string, digest: string, ask: () => Promise<Answer>): Promise<void> {
    try {
      const answer = await ask();
      this.#count(`pull ${answer.status}`);
      if (answer.status === 200 && answer.digest !== digest) this.wrongs.push(`${what}: a whole body of ${answer.digest} for ${digest}`);
      if (answer.status === 404) this.wrongs.push(`${what}: 404, though it was answered 201: ${answer.bytes.toString('utf8', 0, 300)}`);
    } catch (error) {
      this.#failed('pull', error);
    }
  }

  /** What lists say may be of another time; that they are answered is all. */
  async #list(client: RegistryClient, name: string): Promise<void> {
    for (const path of [`/v2/${name}/tags/list`, '/v2/_catalog']) {
      try {
        this.#count(`list ${(await client.call(path)).status}`);
      } catch (error) {
        this.#failed('list', error);
      }
    }
  }

  #ran(what: string, { code, stderr }: CommandResult): boolean {
    this.#count(`${what}${code === 0 ? '' : ' failed'}`);
    if (code === undefined) this.wrongs.push(`${what} waited for more than ${this.#options.hangMs} ms\n${stderr.slice(-2000)}`);
    // skopeo says so of a blob or manifest whose bytes are not those of its digest: a wrong byte came to it as a whole body.
    if (code !== 0 && /digest did not match|Digest did not match|does not match digest/i.test(stderr)) this.wrongs.push(`${what}: ${stderr.slice(-2000)}`);
    return code === 0;
  }

  #failed(what: string, error: unknown): void {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (/TIMEOUT/.test(code)) this.wrongs.push(`a ${what} waited for more than ${this.#options.hangMs} ms`);
    const said = error instanceof Error ? error.message : String(error);
    // Only statuses and broken connections are what a spoiled store may lead to.
    const status = /^expected \d+, got (5\d\d|429)/.exec(said);
    if (code === '' && status === null) throw error;
    this.#count(`${what} failed ${status?.[1] ?? code}`);
  }

  #count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }
}
