/** Debian's docker-registry over a store of whichever kind, with images that clients pushed to it. */
import { join } from 'node:path';
import { makeAuthority } from '../services/certificates.ts';
import { Containers } from '../services/containers.ts';
import { DockerRegistry } from '../services/docker-registry.ts';
import { makeImage, makeIndex, makeMultiArch, writeLayout, type Image } from './images.ts';
import { LARGE, TIMEOUT_MS, type OldRegistry } from './migrate.contract.ts';
import { RegistryClient } from './registry-client.ts';

const SMALLER = 1024 * 1024;

/** @param storage what it has under `storage:` */
export async function oldDistribution(dir: string, stack: AsyncDisposableStack, storage: Readonly<Record<string, unknown>>): Promise<OldRegistry> {
  const authority = await makeAuthority(dir);
  const registry = stack.use(await DockerRegistry.start({ dir: join(dir, 'old'), authority, storage }));
  const client = stack.use(new RegistryClient(registry.url, { ca: authority.pem }));
  return { from: registry.configFile, client, images: await fill(dir, registry, client, authority.pem) };
}

async function fill(dir: string, old: DockerRegistry, client: RegistryClient, pem: string): Promise<OldRegistry['images']> {
  const host = old.url.replace('https://', '');
  const containers = await Containers.create(join(dir, 'c'));
  await containers.trust(host, pem);
  const images: [string, string, Image][] = [];
  const multi = await makeMultiArch('multi');
  await writeLayout(join(dir, 'layout'), 'x', multi);
  await containers.skopeo(['copy', '--all', '--preserve-digests', `oci:${join(dir, 'layout')}:x`, `docker://${host}/org/multi:oci`], { timeoutMs: TIMEOUT_MS / 2 });
  images.push(['org/multi', 'oci', multi]);
  const push = async (path: string, tag: string, image: Image): Promise<void> => {
    await client.push(path, tag === '' ? image.digest : tag, image);
    images.push([path, tag, image]);
  };
  await push('org/multi', 'docker', await makeMultiArch('multi', 'docker'));
  const small = await makeImage({ marker: 'small' });
  await push('alpine', 'latest', small);
  await push('alpine', '3', small);
  await push('quay.io/org/mirrored', 'v1', small);
  await push('org/untagged', '', await makeImage({ marker: 'untagged' }));
  await push('org/nested', '1', makeIndex([multi, small]));
  await push('org/large', '1', await makeImage({ marker: 'large', fillerBytes: LARGE }));
  for (let i = 0; i < 4; i++) await push(`many/app${i}`, 'v1', await makeImage({ marker: `many ${i}`, fillerBytes: SMALLER }));
  return images;
}
