/** Upload sessions (distribution-spec end-4, end-5, end-6, end-11, end-13, end-14; "Pushing blobs"). */
import type { Stored } from '../../content/blobs.ts';
import type { Repo } from '../../content/keys.ts';
import type { Session } from '../../content/uploads.ts';
import { algorithmOf, parseAlgorithm, parseDigest, type Digest } from '../../oci/digest.ts';
import { RegistryError } from '../../oci/errors.ts';
import type { Registry } from '../../registry/registry.ts';
import type { Exchange } from '../exchange.ts';
import type { Bodies } from '../bodies.ts';
import { parseUploadRange } from '../ranges.ts';
import { locationOf, type Target } from '../target.ts';

export interface MountSource {
  /** The blob in the name to mount from, if the client may read it there; undefined where it may not or there is none. */
  (from: string, digest: Digest): Promise<{ readonly repo: Repo; readonly link: Stored } | undefined>;
}

/** POST: begins a session, mounts, or takes the whole blob at once. */
export async function beginUpload(x: Exchange, target: Target, registry: Registry, bodies: Bodies, mountable: MountSource): Promise<void> {
  const { view, name } = target;
  registry.push.refuseReadOnly(view);
  const repo = { view: view.uid, name };
  const { uploads } = registry.stores.of(view.uid).content;
  const mount = x.query.get('mount');
  if (mount !== null && (await tryMount(x, target, registry, parseDigest(mount), mountable))) return;
  const whole = x.query.get('digest');
  const digest = whole === null || mount !== null ? undefined : parseDigest(whole);
  const named = x.query.get('digest-algorithm');
  const algorithm = digest === undefined ? (named === null ? 'sha256' : parseAlgorithm(named)) : algorithmOf(digest);
  const session = await uploads.create(repo, algorithm);
  if (digest === undefined) {
    x.send(202, progress(target, session));
    return;
  }
  try {
    const poured = await pour(x, session, registry, bodies);
    await uploads.finish(poured, digest);
  } catch (error) {
    // Nobody was told the session's address, so nobody can go on with it.
    await uploads.cancel(session).catch(() => undefined);
    throw error;
  }
  created(x, target, digest);
}

async function tryMount(x: Exchange, target: Target, registry: Registry, digest: Digest, mountable: MountSource): Promise<boolean> {
  const { view, name } = target;
  const from = x.query.get('from');
  const source = (await registry.resolve.link(view, name, digest)) ?? (from === null ? undefined : await mountable(from, digest));
  // What stands in another store is no more here than what stands nowhere: the client uploads it.
  if (source === undefined || registry.stores.of(source.repo.view) !== registry.stores.of(view.uid)) return false;
  const mounted = await registry.stores.of(view.uid).content.uploads.mount({ view: view.uid, name }, digest, source.link);
  if (mounted) created(x, target, digest);
  return mounted;
}

/** GET: how far the session is. */
export async function uploadStatus(x: Exchange, target: Target, id: string, registry: Registry): Promise<void> {
  const session = await find(target, id, registry);
  x.send(204, progress(target, session));
}

/** PATCH: one more chunk, sized or streamed. */
export async function continueUpload(x: Exchange, target: Target, id: string, registry: Registry, bodies: Bodies): Promise<void> {
  const session = await find(target, id, registry);
  const next = await pour(x, session, registry, bodies, target);
  x.send(202, progress(target, next));
}

/** PUT: the last chunk, if any, and the digest of the whole. */
export async function finishUpload(x: Exchange, target: Target, id: string, registry: Registry, bodies: Bodies): Promise<void> {
  const wanted = x.query.get('digest');
  if (wanted === null) throw new RegistryError('DIGEST_INVALID', 'the digest parameter is missing: PUT <upload>?digest=sha256:… ends an upload');
  const digest = parseDigest(wanted);
  const session = await find(target, id, registry);
  const last = hasBody(x) ? await pour(x, session, registry, bodies, target) : session;
  await registry.stores.of(target.view.uid).content.uploads.finish(last, digest);
  created(x, target, digest);
}

/** DELETE: gives the session up. */
export async function cancelUpload(x: Exchange, target: Target, id: string, registry: Registry): Promise<void> {
  await registry.stores.of(target.view.uid).content.uploads.cancel(await find(target, id, registry));
  x.send(204, []);
}

async function find({ view, name }: Target, id: string, registry: Registry): Promise<Session> {
  return await registry.stores.of(view.uid).content.uploads.find({ view: view.uid, name }, id);
}

function hasBody(x: Exchange): boolean {
  const length = x.header('content-length');
  return x.header('transfer-encoding') !== undefined || (length !== undefined && length !== '0');
}

async function pour(x: Exchange, session: Session, registry: Registry, bodies: Bodies, target?: Target): Promise<Session> {
  const { offset } = session.assembly;
  const range = x.header('content-range');
  const expectedBytes = range === undefined ? undefined : chunkLength(x, range, session, target);
  return await registry.stores.of(session.view).content.uploads.append(session, (appender, hash) => bodies.receive(x, appender, hash, offset, expectedBytes));
}

/** Of a chunk that says where it belongs. @throws RegistryError RANGE_INVALID unless it begins where the upload ends */
function chunkLength(x: Exchange, header: string, session: Session, target: Target | undefined): number {
  const range = parseUploadRange(header);
  const { offset } = session.assembly;
  if (range.start !== offset) {
    if (target !== undefined) x.also(...progress(target, session));
    throw new RegistryError('RANGE_INVALID', `the chunk begins at byte ${range.start}, but the upload has ${offset} bytes: send from byte ${offset} on`, { detail: { offset } });
  }
  return range.end - range.start + 1;
}

/** Headers that tell where the session is and how far. An empty one says `0-0`, as every registry does. */
function progress(target: Target, { id, assembly }: Session): string[] {
  return ['Location', locationOf(target, `blobs/uploads/${id}`), 'Range', `0-${Math.max(0, assembly.offset - 1)}`, 'Docker-Upload-UUID', id];
}

function created(x: Exchange, target: Target, digest: Digest): void {
  x.send(201, ['Location', locationOf(target, `blobs/${digest}`), 'Docker-Content-Digest', digest]);
}

