/** What clients sent to a server and were answered before it was killed, and what must hold of the one that comes after. */
import type { Digest } from '../../src/oci/digest.ts';
import type { Answer, RegistryClient } from './registry-client.ts';

export interface Blob {
  readonly name: string;
  readonly digest: Digest;
  readonly bytes: Buffer;
  /** 201 was seen. */
  answered: boolean;
}

export interface Manifest {
  readonly name: string;
  readonly tag: string;
  readonly digest: Digest;
  readonly blobs: readonly Digest[];
  /** 201 was seen. */
  answered: boolean;
}

/** An upload session that a client was given. */
export interface Upload {
  readonly blob: Blob;
  location: string;
  /** Bytes that the server said it has. */
  offset: number;
  /** The request that ends the session was sent. */
  ending: boolean;
}

/** A tag that moves: its last answered push, and those sent since that were not answered. */
interface MovingTag {
  answered: Digest | undefined;
  readonly sent: Set<Digest>;
}

export class Ledger {
  readonly #blobs: Blob[] = [];
  readonly #manifests: Manifest[] = [];
  readonly #moving = new Map<string, MovingTag>();
  #uploads: Upload[] = [];

  addBlob(blob: Blob): Blob {
    this.#blobs.push(blob);
    return blob;
  }

  addManifest(manifest: Manifest): Manifest {
    this.#manifests.push(manifest);
    return manifest;
  }

  addUpload(upload: Upload): Upload {
    this.#uploads.push(upload);
    return upload;
  }

  /** The tag `latest` of the name. */
  latest(name: string): MovingTag {
    const known = this.#moving.get(name) ?? { answered: undefined, sent: new Set() };
    this.#moving.set(name, known);
    return known;
  }

  get size(): { readonly blobs: number; readonly manifests: number } {
    return { blobs: this.#blobs.length, manifests: this.#manifests.length };
  }

  get answeredManifests(): number {
    return this.answered.length;
  }

  /** Images whose push was answered by now. */
  get answered(): readonly Manifest[] {
    return this.#manifests.filter(({ answered }) => answered);
  }

  /** What is wrong among what was added after `since`: all that was answered must be there, and nothing that is not whole. */
  async wrongs(client: RegistryClient, since: Ledger['size'] = { blobs: 0, manifests: 0 }): Promise<string[]> {
    const wrongs: string[] = [];
    const look = (what: string, answer: Answer, digest: Digest, needed: boolean): void => {
      if (answer.status === 200 ? answer.digest !== digest : needed || answer.status !== 404) {
        wrongs.push(`${what}: expected ${digest}${needed ? '' : ' or 404'}, got ${answer.status} ${answer.digest}`);
      }
    };
    for (const { name, digest, answered } of this.#blobs.slice(since.blobs)) {
      look(`blob of ${name}`, await client.getBlob(name, digest), digest, answered);
    }
    for (const { name, tag, digest, blobs, answered } of this.#manifests.slice(since.manifests)) {
      const byTag = await client.getManifest(name, tag);
      look(`${name}:${tag}`, byTag, digest, answered);
      const there = answered || byTag.status === 200;
      look(`${name}:${tag} by digest`, await client.getManifest(name, digest), digest, there);
      if (there) for (const blob of blobs) look(`blob of ${name}:${tag}`, await client.getBlob(name, blob), blob, true);
    }
    for (const [name, tag] of this.#moving) {
      const answer = await client.getManifest(name, 'latest');
      const seen = answer.status === 200 ? answer.digest : undefined;
      if (seen !== tag.answered && (seen === undefined || !tag.sent.has(seen)))
        wrongs.push(`${name}:latest: expected ${[tag.answered, ...tag.sent].join(' or ')}, got ${answer.status} ${seen}`);
      tag.answered = seen;
      tag.sent.clear();
    }
    return wrongs;
  }

  /** Goes on with every upload that was interrupted, from where the server says it stands; gives what went wrong. */
  async finishUploads(client: RegistryClient): Promise<string[]> {
    const wrongs: string[] = [];
    for (const upload of this.#uploads.splice(0)) {
      if (upload.blob.answered) continue;
      const wrong = await finishUpload(client, upload);
      if (wrong === undefined) continue;
      wrongs.push(
        `upload to ${upload.blob.name}, ${upload.offset} of ${upload.blob.bytes.length} bytes answered${upload.ending ? ', ending' : ''}: ${wrong}`,
      );
    }
    return wrongs;
  }
}

async function finishUpload(client: RegistryClient, { blob, location, offset, ending }: Upload): Promise<string | undefined> {
  const status = await client.call(location);
  if (ending && status.status === 404) return undefined;
  if (status.status !== 204) return `its status was ${status.status}`;
  const end = Number(/^0-(\d+)$/.exec(status.headers['range'] ?? '')?.[1]);
  // `0-0` is said of an empty upload too; none here has one byte only.
  const stands = end === 0 ? 0 : end + 1;
  if (!(stands >= offset && stands <= blob.bytes.length)) return `it stands at ${stands}`;

  let next = status.headers['location'] ?? location;
  if (stands < blob.bytes.length) {
    const headers = { 'content-type': 'application/octet-stream', 'content-range': `${stands}-${blob.bytes.length - 1}` };
    const answer = await client.call(next, { method: 'PATCH', headers, body: blob.bytes.subarray(stands) });
    if (answer.status !== 202) return `its rest was answered ${answer.status} ${answer.bytes.toString()}`;
    next = answer.headers['location'] ?? next;
  }
  const target = new URL(next, client.url);
  target.searchParams.set('digest', blob.digest);
  const finished = await client.call(target.href, { method: 'PUT' });
  if (finished.status !== 201) return `its end was answered ${finished.status} ${finished.bytes.toString()}`;
  blob.answered = true;
  const { status: read, digest } = await client.getBlob(blob.name, blob.digest);
  return read === 200 && digest === blob.digest ? undefined : `what came of it was answered ${read} ${digest}`;
}
