/**
 * The keys of a zuul-registry's configuration file, all of them below `registry:`. What a value must be beyond its type
 * is said of the key that it is translated to (config/schema.ts).
 */
import * as v from 'valibot';
import { list, map, oneOf, record, secret, text, type Kind } from '../config/kinds.ts';
import { show } from '../config/problem.ts';

export interface ZuulUser {
  readonly name: string;
  readonly pass: string;
  readonly access: 'read' | 'write';
}

export interface ZuulStorage {
  readonly driver: 'filesystem' | 'swift' | 's3';
  readonly root?: string | undefined;
  readonly cloud?: string | undefined;
  readonly container?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly 'access-key'?: string | undefined;
  readonly 'secret-key'?: string | undefined;
  readonly region?: string | undefined;
  readonly bucket?: string | undefined;
  readonly expiration?: string | number | undefined;
}

export type Shadow = string | { readonly hostname: string; readonly port?: number | undefined };

export interface ZuulRegistry {
  readonly address: string;
  readonly port: number;
  readonly 'public-url'?: string | undefined;
  readonly 'tls-cert'?: string | undefined;
  readonly 'tls-key'?: string | undefined;
  readonly secret: string;
  readonly users: readonly ZuulUser[];
  readonly storage: ZuulStorage;
  readonly expiration?: string | number | undefined;
  readonly namespaced?: unknown;
  readonly shadow?: Readonly<Record<string, Shadow>> | undefined;
}

/** As that registry's own examples have it. */
const DEFAULT_PORT = 9000;

/** A number, or text that is one, as variables give it. */
function port(description: string): Kind<number> {
  return v.pipe(
    v.union([v.number(), v.string()], ({ input }) => `expected a port, got ${show(input)}`),
    v.description(description),
    v.rawTransform(({ dataset: { value }, addIssue, NEVER }) => {
      const number = /^\d{1,5}$/.test(String(value)) ? Number(value) : Number.NaN;
      if (number <= 65_535) return number;
      addIssue({ message: `expected a port, got ${show(value)}` });
      return NEVER;
    }),
  );
}

function seconds(description: string): Kind<string | number> {
  return v.pipe(v.union([v.number(), v.string()], ({ input }) => `expected seconds, got ${show(input)}`), v.description(description));
}

const user: Kind<ZuulUser> = map('Somebody who can log in.', {
  name: text('What the user logs in as.'),
  pass: secret('The password.'),
  access: oneOf('`write` is to push; one user who may only `read` means that nobody pulls without logging in.', ['read', 'write']),
});

export const STORAGE: Kind<ZuulStorage> = map('Where images are kept.', {
  driver: oneOf('What kind of store.', ['filesystem', 'swift', 's3']),
  root: v.optional(text('The folder of a filesystem.')),
  cloud: v.optional(text('A cloud of clouds.yaml.')),
  container: v.optional(text('The container of a Swift.')),
  endpoint: v.optional(text('Where an S3 answers.')),
  'access-key': v.optional(text('The access key of an S3.')),
  'secret-key': v.optional(secret('Its secret.')),
  region: v.optional(text('The region of an S3.')),
  bucket: v.optional(text('The bucket of an S3.')),
  expiration: v.optional(seconds('Tags older than so many seconds are pruned.')),
});

const shadow: Kind<Shadow> = v.pipe(
  v.unknown(),
  v.lazy((input): Kind<Shadow> =>
    typeof input === 'string'
      ? text('The host, with a port or without, or a URL.')
      : map('A registry.', { hostname: text('Where it answers.'), port: v.optional(port('The port there. Not set: 443.')) }),
  ),
  v.description('A registry that is asked instead.'),
);

export const REGISTRY: Kind<ZuulRegistry> = map('A zuul-registry.', {
  address: v.optional(text('The address to listen on.'), '::'),
  port: v.optional(port('The port to listen on.'), DEFAULT_PORT),
  'public-url': v.optional(text('What clients are told.')),
  'tls-cert': v.optional(text('PEM file of the certificate.')),
  'tls-key': v.optional(text('PEM file of the private key.')),
  secret: secret('What the key that signs tokens is derived from.'),
  users: v.optional(list('Who can log in.', user), []),
  storage: STORAGE,
  expiration: v.optional(seconds('The same as that of storage.')),
  namespaced: v.optional(v.unknown()),
  shadow: v.optional(record('Registries that are asked instead of others, by the host in names.', () => undefined, shadow)),
});
