/**
 * From a request to its endpoint: routing, the name and view, who may, and one line in the log for each. Endpoints
 * throw; here errors become answers.
 */
import type { Gate } from '../auth/auth.ts';
import { subjectOf, viewOf, type Identity } from '../auth/identity.ts';
import type { Wanted } from '../auth/refusal.ts';
import type { Action, ListenerConfig } from '../config/config.ts';
import { isDriverError } from '../drivers/driver.ts';
import type { HealthAnswer } from '../observe/health.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { RegistryError } from '../oci/errors.ts';
import { parseViewId, type ViewId } from '../oci/name.ts';
import { enter, viewOfHost, type EntranceContext } from '../registry/names.ts';
import type { Registry } from '../registry/registry.ts';
import type { View } from '../views/views.ts';
import { baseUrlOf, clientAddress, type TrustedProxies } from './client-address.ts';
import { sendError, toRegistryError } from './errors.ts';
import { ClientLeft, Exchange } from './exchange.ts';
import type { Bodies } from './bodies.ts';
import type { Handle } from './listener.ts';
import { deleteBlob, getBlob, headBlob } from './oci/blobs.ts';
import { getCatalogue, getReferrers, getTags } from './oci/lists.ts';
import { deleteManifest, getManifest, putManifest } from './oci/manifests.ts';
import { beginUpload, cancelUpload, continueUpload, finishUpload, uploadStatus } from './oci/uploads.ts';
import type { Redirects } from './redirect.ts';
import { routeOf, type Route } from './route.ts';
import type { Target } from './target.ts';
import { answerToken } from './token.ts';

export interface HandlerDeps {
  readonly registry: Registry;
  readonly gate: Gate;
  readonly bodies: Bodies;
  readonly redirects: Redirects;
  readonly viewHostSuffix: string | undefined;
  /** Why clients write nothing, and what to do instead; undefined: they do. */
  readonly readOnly: string | undefined;
  /** Why the storage lets nobody in, where that is known. */
  readonly whyRefused: () => string | undefined;
  readonly trustedProxies: TrustedProxies;
  readonly maxManifestBytes: number;
  /** How long a manifest or a form may take to arrive. */
  readonly patienceMs: number;
  /** Measures durations: milliseconds since whenever. */
  readonly elapsedMs: () => number;
  /** About the server itself; `metrics` is the text of Prometheus. */
  readonly pages: {
    readonly healthz: () => HealthAnswer;
    readonly readyz: () => Promise<HealthAnswer>;
    readonly metrics: () => Promise<string>;
  };
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'request'>;
}

interface Endpoint<R extends Named> {
  readonly action: Action;
  readonly run: (x: Exchange, target: Target, route: R, deps: HandlerDeps, context: Context) => Promise<void>;
}

/** What an endpoint may need beside its target. */
interface Context {
  readonly identity: Identity;
  readonly entrance: EntranceContext;
}

/** Routes below a repository. */
type Named = Extract<Route, { readonly name: string }>;

/** The API: distribution-spec "Endpoints". */
const ENDPOINTS: { readonly [K in Named['kind']]: Readonly<Record<string, Endpoint<Extract<Route, { readonly kind: K }>>>> } = {
  manifest: {
    GET: { action: 'pull', run: (x, target, route, { registry }) => getManifest(x, target, route.reference, registry) },
    HEAD: { action: 'pull', run: (x, target, route, { registry }) => getManifest(x, target, route.reference, registry) },
    PUT: { action: 'push', run: (x, target, route, { registry, maxManifestBytes }) => putManifest(x, target, route.reference, registry, maxManifestBytes) },
    DELETE: { action: 'delete', run: (x, target, route, { registry }) => deleteManifest(x, target, route.reference, registry) },
  },
  blob: {
    GET: { action: 'pull', run: (x, target, route, { registry, bodies, redirects }) => getBlob(x, target, route.digest, registry, bodies, redirects) },
    HEAD: { action: 'pull', run: (x, target, route, { registry }) => headBlob(x, target, route.digest, registry) },
    DELETE: { action: 'delete', run: (x, target, route, { registry }) => deleteBlob(x, target, route.digest, registry) },
  },
  uploads: {
    POST: {
      action: 'push',
      run: (x, target, _, deps, context) => beginUpload(x, target, deps.registry, deps.bodies, async (from, digest) => {
        const source = enter(from, undefined, context.entrance);
        const view = source.view === undefined ? target.view : deps.registry.views.find(source.view);
        if (view === undefined || !deps.gate.permits(context.identity, 'pull', view.id, source.name)) return undefined;
        return await deps.registry.resolve.link(view, source.name, digest);
      }),
    },
  },
  upload: {
    GET: { action: 'push', run: (x, target, route, { registry }) => uploadStatus(x, target, route.id, registry) },
    PATCH: { action: 'push', run: (x, target, route, { registry, bodies }) => continueUpload(x, target, route.id, registry, bodies) },
    PUT: { action: 'push', run: (x, target, route, { registry, bodies }) => finishUpload(x, target, route.id, registry, bodies) },
    DELETE: { action: 'push', run: (x, target, route, { registry }) => cancelUpload(x, target, route.id, registry) },
  },
  tags: {
    GET: { action: 'pull', run: (x, target, _, { registry }) => getTags(x, target, registry) },
  },
  referrers: {
    GET: { action: 'pull', run: (x, target, route, { registry }) => getReferrers(x, target, route.digest, registry) },
  },
};

export function handler(listener: ListenerConfig, deps: HandlerDeps): Handle {
  return (req, res, expectsContinue, refusal) => {
    const startedMs = deps.elapsedMs();
    const x = new Exchange(req, res, listener, startedMs, deps.patienceMs, clientAddress(req, deps.trustedProxies), expectsContinue);
    (refusal === undefined ? answer(x, deps) : Promise.reject(refusal)).then(
      () => finish(x, deps, undefined),
      (error: unknown) => finish(x, deps, fail(x, error, deps)),
    );
  };
}

/** Once for every request, when its answer has ended: the log's line, the metrics. */
function finish(x: Exchange, { log, metrics, elapsedMs }: HandlerDeps, error: unknown): void {
  const { req, res, method, report } = x;
  const { route, bytesIn, bytesOut, source, view, name, user } = report;
  const status = res.headersSent ? res.statusCode : CLIENT_LEFT;
  const ms = elapsedMs() - x.startedMs;
  metrics.request({ route, method, status, ms, bytesIn, bytesOut, source });
  log.request({
    method, url: x.target, status, bytesIn, bytesOut, ms, source, view, name, user,
    client: x.client,
    cut: res.destroyed && !res.writableFinished,
    agent: req.headers['user-agent'],
  });
  if (error !== undefined) log.error({ method, url: x.target, status, error }, 'request failed');
}

/** What nginx logs for a client that left before any answer. */
const CLIENT_LEFT = 499;

/** Answers with the error; returns what the log should know of it. */
function fail(x: Exchange, error: unknown, { whyRefused }: HandlerDeps): unknown {
  if (error instanceof ClientLeft || x.res.destroyed) return undefined;
  if (x.res.headersSent) {
    // The body cannot be made right any more: the client must see that it is cut short.
    x.res.destroy();
    return error;
  }
  const told = toRegistryError(error, x.method, whyRefused());
  letGoOfBody(x);
  sendError(x, told);
  // Of what the store refused the log alone tells who was refused what.
  return told.status >= 500 || isDriverError(error) ? error : undefined;
}

async function answer(x: Exchange, deps: HandlerDeps): Promise<void> {
  if (x.res.socket === null) await itsTurn(x);
  const route = routeOf(x.path);
  x.report.route = route.kind;
  switch (route.kind) {
    case 'ping':
      return await ping(x, deps);
    case 'catalogue':
      return await catalogue(x, route.view, deps);
    case 'token':
      allow(x, ['GET', 'POST']);
      return await answerToken(x, deps.gate, viewOfHost(entranceContext(x, deps)) ?? x.listener.view, (spelling) => enter(spelling, undefined, entranceContext(x, deps)));
    case 'healthz':
    case 'readyz': {
      allow(x, ['GET', 'HEAD']);
      const { status, body } = await deps.pages[route.kind]();
      return x.send(status, ['Content-Type', 'text/plain; charset=utf-8', 'Cache-Control', 'no-store'], body);
    }
    case 'metrics':
      allow(x, ['GET', 'HEAD']);
      return x.send(200, ['Content-Type', 'text/plain; version=0.0.4; charset=utf-8', 'Cache-Control', 'no-store'], await deps.pages.metrics());
    case 'unknown':
      throw new RegistryError('NOT_FOUND', `no endpoint ${JSON.stringify(x.path.slice(0, 200))}: the API is below /v2/`);
    default:
      return await named(x, route, deps);
  }
}

/** A pipelined request begins nothing before the answers ahead of it are out: it could hold what others need. */
async function itsTurn({ req, res }: Exchange): Promise<void> {
  await new Promise<void>((resolve) => {
    res.once('socket', () => resolve());
    req.socket.once('close', () => resolve());
  });
  if (res.socket === null) throw new ClientLeft('the client left before its request came to its turn');
}

async function named(x: Exchange, route: Named, deps: HandlerDeps): Promise<void> {
  const methods = ENDPOINTS[route.kind] as Readonly<Record<string, Endpoint<Named>>>; // the table pairs each kind with its own route
  const endpoint = Object.hasOwn(methods, x.method) ? methods[x.method] : undefined;
  const context = entranceContext(x, deps);
  const entrance = enter(route.name, x.query.get('ns') ?? undefined, context);
  if (entrance.ns !== undefined) x.also('OCI-Namespace', entrance.ns);
  x.report.name = entrance.name;
  const { readOnly } = deps;
  const open = Object.keys(methods).filter((method) => readOnly === undefined || methods[method]?.action === 'pull');
  if (endpoint === undefined) return allow(x, open);
  if (readOnly !== undefined && endpoint.action !== 'pull') {
    // Before anybody logs in: no credential would help. No method at all where there are only uploads (RFC 9110, 10.2.1).
    x.also('Allow', open.join(', '));
    throw new RegistryError('UNSUPPORTED', `nothing is pushed to this registry or deleted from it: ${readOnly}`);
  }
  const identity = await deps.gate.authenticate(x.header('authorization'), x.client);
  x.report.user = subjectOf(identity);
  const view = viewFor(x, entrance.view ?? viewOf(identity), deps);
  x.report.view = view.id;
  if (!deps.gate.permits(identity, endpoint.action, view.id, entrance.name)) {
    return refuse(x, deps, identity, { kind: 'repository', action: endpoint.action, view: view.id, spelling: entrance.spelling, ns: entrance.ns });
  }
  await endpoint.run(x, { name: entrance.name, view, entrance, by: subjectOf(identity) }, route, deps, { identity, entrance: context });
}

async function ping(x: Exchange, deps: HandlerDeps): Promise<void> {
  allow(x, ['GET', 'HEAD']);
  const identity = await deps.gate.authenticate(x.header('authorization'), x.client);
  x.report.user = subjectOf(identity);
  if (deps.gate.pingNeedsChallenge(identity)) return refuse(x, deps, identity, { kind: 'ping' });
  x.sendJson(200, {});
}

async function catalogue(x: Exchange, prefix: string | undefined, deps: HandlerDeps): Promise<void> {
  allow(x, ['GET']);
  const identity = await deps.gate.authenticate(x.header('authorization'), x.client);
  x.report.user = subjectOf(identity);
  const asked = prefix === undefined ? undefined : parseViewId(prefix);
  const view = viewFor(x, asked ?? viewOfHost(entranceContext(x, deps)) ?? viewOf(identity), deps);
  x.report.view = view.id;
  if (!deps.gate.permitsCatalog(identity, view.id)) return refuse(x, deps, identity, { kind: 'catalog', view: view.id, prefix: asked });
  await getCatalogue(x, view, asked, deps.registry);
}

/** @throws RegistryError UNSUPPORTED unless the method is one of these */
function allow(x: Exchange, methods: readonly string[]): void {
  if (methods.includes(x.method)) return;
  x.also('Allow', methods.join(', '));
  throw new RegistryError('UNSUPPORTED', `${x.method} is not supported here: expected ${methods.join(', ')}`);
}

function entranceContext(x: Exchange, deps: HandlerDeps): EntranceContext {
  return { defaultUpstream: x.listener.upstream, hostHeader: x.req.headers.host, viewHostSuffix: deps.viewHostSuffix };
}

function viewFor(x: Exchange, asked: ViewId | undefined, deps: HandlerDeps): View {
  const id = asked ?? x.listener.view;
  const view = deps.registry.views.find(id);
  if (view === undefined) throw new RegistryError('NAME_UNKNOWN', `no view ${id}`, { detail: { view: id } });
  return view;
}

function refuse(x: Exchange, deps: HandlerDeps, identity: Identity, wanted: Wanted): void {
  const { error, challenge } = deps.gate.refuse(identity, wanted, x.listener.publicUrl ?? baseUrlOf(x.req, deps.trustedProxies));
  letGoOfBody(x);
  sendError(x, error, challenge === undefined ? [] : ['WWW-Authenticate', challenge]);
}

/** Bytes of an unread body that are still read, so that a client in the middle of sending gets to see the answer. */
const LINGER_BYTES = 4 * 1024 * 1024;
const LINGER_MS = 2_000;

/** The body will not be read: the connection ends with the answer, after a bounded look away. */
function letGoOfBody(x: Exchange): void {
  const { req, res } = x;
  const hasBody = req.headers['transfer-encoding'] !== undefined || (req.headers['content-length'] ?? '0') !== '0';
  if (req.complete || !hasBody) return;
  x.also('Connection', 'close');
  let left = LINGER_BYTES;
  const end = (): void => void req.socket.destroy();
  const timer = setTimeout(end, LINGER_MS);
  req.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) end();
  });
  req.on('error', () => undefined);
  req.resume();
  res.once('close', () => clearTimeout(timer));
}
