import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Containers } from '../services/containers.ts';
import { writeLayout } from './images.ts';
import { insecure, mirrors } from './registries-conf.ts';
import { shadowing } from './shadow.contract.ts';

shadowing({
  client: 'skopeo',
  mirrored: ['docker.io', 'quay.io'],
  async start({ dir, umbra }) {
    const containers = await Containers.create(join(dir, 's'), insecure(umbra.host) + mirrors(umbra.host));
    const layout = join(dir, 'layout');
    const pulled = join(dir, 'pulled');
    return {
      async push(image, reference) {
        await containers.forgetBlobs();
        await rm(layout, { recursive: true, force: true });
        await writeLayout(layout, 'x', image);
        await containers.skopeo(['copy', `oci:${layout}:x`, `docker://${reference}`]);
      },
      async pull(reference) {
        await rm(pulled, { recursive: true, force: true });
        await containers.skopeo(['copy', `docker://${reference}`, `dir:${pulled}`]);
        // Of the manifest and the configuration only these fields are read.
        const manifest = JSON.parse(await readFile(join(pulled, 'manifest.json'), 'utf8')) as { config: { digest: string } };
        const config = JSON.parse(await readFile(join(pulled, manifest.config.digest.slice('sha256:'.length)), 'utf8')) as {
          config: { Labels: { marker: string } };
        };
        return config.config.Labels.marker;
      },
      remove: async (reference) => void (await containers.skopeo(['delete', `docker://${reference}`])),
    };
  },
});
