import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Containers } from '../services/containers.ts';
import { writeLayout } from './images.ts';
import { insecure, mirrors } from './registries-conf.ts';
import { shadowing } from './shadow.contract.ts';

shadowing({
  client: 'buildah',
  mirrored: ['docker.io', 'quay.io'],
  isTwin: true, // of podman
  async start({ dir, umbra }) {
    const containers = await Containers.create(join(dir, 'b'), insecure(umbra.host) + mirrors(umbra.host));
    const layout = join(dir, 'layout');
    const forget = async (): Promise<void> => {
      await containers.buildah(['rmi', '--all', '--force']);
      await containers.forgetBlobs();
    };
    return {
      async push(image, reference) {
        await rm(layout, { recursive: true, force: true });
        await writeLayout(layout, 'x', image);
        const id = (await containers.buildah(['pull', '--quiet', `oci:${layout}:x`])).trim();
        await containers.buildah(['push', id, `docker://${reference}`]);
        await forget();
      },
      async pull(reference) {
        const id = (await containers.buildah(['pull', '--quiet', reference])).trim();
        const marker = await containers.buildah(['inspect', '--type', 'image', '--format', '{{.OCIv1.Config.Labels.marker}}', id]);
        await forget();
        return marker.trim();
      },
    };
  },
});
