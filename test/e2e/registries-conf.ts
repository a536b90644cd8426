/** What a user writes into /etc/containers/registries.conf to put Umbra before podman, buildah, skopeo and CRI-O. */

/** Umbra's host may be spoken to without TLS. */
export function insecure(host: string): string {
  return `[[registry]]\nlocation = "${host}"\ninsecure = true\n`;
}

/** Umbra is asked first for the images of these upstreams. It learns which one is meant by the path. */
export function mirrors(host: string, upstreams: readonly string[] = ['docker.io', 'quay.io']): string {
  return upstreams
    .map((upstream) => `[[registry]]\nlocation = "${upstream}"\n[[registry.mirror]]\nlocation = "${host}/${upstream}"\ninsecure = true\n`)
    .join('');
}
