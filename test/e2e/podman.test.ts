import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Containers } from '../services/containers.ts';
import { writeLayout } from './images.ts';
import { insecure, mirrors } from './registries-conf.ts';
import { shadowing } from './shadow.contract.ts';

shadowing({
  client: 'podman',
  mirrored: ['docker.io', 'quay.io'],
  async start({ dir, umbra }) {
    const containers = await Containers.create(join(dir, 'p'), insecure(umbra.host) + mirrors(umbra.host));
    const layout = join(dir, 'layout');
    const forget = async (): Promise<void> => {
      await containers.podman(['rmi', '--all', '--force']);
      await containers.forgetBlobs();
    };
    return {
      async push(image, reference) {
        await rm(layout, { recursive: true, force: true });
        await writeLayout(layout, 'x', image);
        const id = (await containers.podman(['pull', '--quiet', `oci:${layout}:x`])).trim();
        await containers.podman(['push', id, reference]);
        await forget();
      },
      async pull(reference) {
        const id = (await containers.podman(['pull', '--quiet', reference])).trim();
        const marker = await containers.podman(['image', 'inspect', '--format', '{{.Config.Labels.marker}}', id]);
        await forget();
        return marker.trim();
      },
    };
  },
});
