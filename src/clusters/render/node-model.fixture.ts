/** Nodes to render in tests. */
import type { NodeModel } from './node-model.ts';

export const CA = `-----BEGIN CERTIFICATE-----
bm90IG9uZQ==
-----END CERTIFICATE-----
`;
export const SHA256: string = 'ab'.repeat(32);

/** Everything that may be there is, but for a credential in clear. */
export function nodeModel(changes: Partial<NodeModel> = {}): NodeModel {
  return {
    cluster: { uuid: '5f0e7a1c-3a54-4a3e-9d0a-0d5a1c2b3d4e', name: "the cluster's name", coe: 'kubernetes' },
    role: 'worker',
    port: 5000,
    policy: 'proxy',
    upstreams: ['docker.io', 'quay.io', 'registry.k8s.io'],
    insecureRegistries: ['registry.site.example.org:5000'],
    fallback: 'upstream',
    write: 'cache',
    diskBytes: 10 * 1024 ** 3,
    storage: { container: 'registry-5f0e7a1c', account: 'AUTH_0123', region: 'RegionOne', interface: 'public', ca: CA },
    login: { kind: 'bootstrap', url: 'https://clusters.example.org', ca: CA, token: 'TOKEN-one-time' },
    program: {
      version: '0.1.0',
      image: 'registry.example.org/umbra:0.1.0',
      tarballs: {
        amd64: { url: `https://clusters.example.org/v1/program/${SHA256}`, sha256: SHA256 },
        arm64: { url: `https://clusters.example.org/v1/program/${'cd'.repeat(32)}`, sha256: 'cd'.repeat(32) },
      },
    },
    proxies: { http: 'http://proxy.example.org:3128', https: "http://me:p%24$'w\"d@proxy.example.org:3128", none: ['.example.org', '10.0.0.0/8'] },
    ...changes,
  };
}

/** With a credential in clear. */
export function literalModel(changes: Partial<NodeModel> = {}): NodeModel {
  return nodeModel({
    login: {
      kind: 'literal',
      credential: { url: 'https://keystone.example.org:5000/v3', username: 'node', password: 'LITERAL-password', project: 'demo' },
      pushUser: { name: 'pusher', password: 'PUSH-password' },
    },
    ...changes,
  });
}
