/** Requests to the service: which path is what, who asks, and the one place where an error becomes an answer. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ClustersConfig } from '../../config/config.ts';
import { KeystoneAway, type Tokens } from '../keystone/tokens.ts';
import { rootDocument, v1Document } from './discovery.ts';
import { ClientLeft, emptyReport, Exchange, type Answer, type Report } from './exchange.ts';
import { accessOf, type Access } from './policy.ts';
import { ApiProblem, problemBody } from './problem.ts';
import { LAST_BAYS, isBefore, VERSION_RANGE, requestedVersion, versionHeaders, type Version } from './versions.ts';

/** A request below `/v1` by somebody who is known. */
export interface Call {
  readonly x: Exchange;
  readonly access: Access;
  readonly version: Version;
  /** What follows the resource in the path. */
  readonly rest: readonly string[];
}

/** Undefined: there is no such path. */
export type Resource = (call: Call) => Promise<Answer | undefined>;
/** What is asked without a token of Keystone. @param rest what follows the first part of the path below `/v1`. Undefined: not ours, or already answered where `res.headersSent` */
export type OpenResource = (x: Exchange, rest: readonly string[]) => Promise<Answer | 'answered' | undefined>;

export interface HandlerDeps {
  readonly config: Pick<ClustersConfig, 'publicUrl' | 'roles' | 'trusteeDomain' | 'keystone'>;
  readonly tokens: Tokens;
  /** By the first part of the path below `/v1`. */
  readonly resources: Readonly<Record<string, Resource>>;
  readonly open: Readonly<Record<string, OpenResource>>;
  /** Whether a credential of nodes is what the caller shows. */
  readonly isNode: (access: Access) => Promise<boolean>;
  readonly elapsedMs: () => number;
  readonly ended: (facts: Ended) => void;
  /** What is no client's doing. */
  readonly failed: (error: unknown, requestId: string) => void;
}

export interface Ended extends Readonly<Report> {
  readonly req: IncomingMessage;
  readonly status: number;
  readonly ms: number;
  readonly cut: boolean;
}

export type Handle = (req: IncomingMessage, res: ServerResponse, expectsContinue: boolean) => void;

/** Resources that Magnum took away (1.11). */
const OLD: ReadonlySet<string> = new Set(['bays', 'baymodels']);
const V1 = 'v1';
const DISCOVERY = 'discovery';

export function createHandler(deps: HandlerDeps): Handle {
  const { config, elapsedMs, ended, failed } = deps;
  const base = new URL(config.publicUrl).pathname.replace(/\/+$/, '');
  return (req, res, expectsContinue) => {
    const startedMs = elapsedMs();
    const requestId = `req-${randomUUID()}`;
    const report = emptyReport();
    res.once('close', () => ended({ req, status: res.statusCode, ms: elapsedMs() - startedMs, cut: !res.writableFinished, ...report }));
    void (async () => {
      let x: Exchange | undefined;
      try {
        x = new Exchange(req, res, { requestId, report, base, expectsContinue });
        const answer = await answered(x, deps);
        if (answer !== 'answered') x.send(answer);
      } catch (error) {
        if (error instanceof ClientLeft) return void res.destroy();
        const problem = problemOf(error, config.keystone.url);
        if (problem.status >= 500) failed(error, requestId);
        if (res.headersSent) return void res.destroy();
        // Bytes of the body that nobody reads would be taken for the next request.
        const close = req.complete ? [] : ['Connection', 'close'];
        const body = problemBody(problem, requestId);
        if (x === undefined) res.writeHead(problem.status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
        else x.send({ status: problem.status, headers: [...problem.headers, ...close], body });
      }
    })();
  };
}

async function answered(x: Exchange, deps: HandlerDeps): Promise<Answer | 'answered'> {
  const { config, tokens, resources, open, isNode } = deps;
  const [first, ...below] = x.path;
  const { report } = x;
  if (first === undefined) {
    report.route = DISCOVERY;
    return reading(x, rootDocument(config.publicUrl));
  }
  // Magnum answers below its default version where none is in the path.
  const [name, ...rest] = first === V1 ? below : x.path;
  if (name === undefined) report.route = DISCOVERY;
  else if (Object.hasOwn(open, name) || Object.hasOwn(resources, name)) report.route = name;
  const own = name !== undefined && Object.hasOwn(open, name) ? open[name] : undefined;
  if (own !== undefined) {
    const answer = await own(x, rest);
    if (answer !== undefined) return answer;
  }
  x.also(VERSION_RANGE);
  const version = requestedVersion(x.header('openstack-api-version'));
  x.also(versionHeaders(version));
  if (name === undefined) return reading(x, v1Document(config.publicUrl));
  const access = await accessTo(x, deps);
  report.user = access.caller.userId;
  if (await isNode(access)) throw new ApiProblem('forbidden', 'Credentials of nodes open their container and nothing else.');
  const resource = Object.hasOwn(resources, name) && !(OLD.has(name) && isBefore(LAST_BAYS, version)) ? resources[name] : undefined;
  const answer = await resource?.({ x, access, version, rest });
  if (answer === undefined) throw new ApiProblem('not found', 'The resource could not be found.');
  return answer;

  async function accessTo(exchange: Exchange, { config: { keystone, roles, trusteeDomain } }: HandlerDeps): Promise<Access> {
    const challenge = { headers: ['WWW-Authenticate', `Keystone uri="${keystone.url}"`] };
    const token = exchange.header('x-auth-token');
    if (token === undefined) throw new ApiProblem('unauthorized', 'The request you have made requires authentication: expected a token of Keystone in X-Auth-Token', challenge);
    const caller = await tokens.caller(token);
    if (caller === undefined) throw new ApiProblem('unauthorized', 'The request you have made requires authentication: the token is none of this Keystone, or has ended', challenge);
    if (caller === 'unscoped') throw new ApiProblem('forbidden', 'The token is for no project: log in to one');
    if (caller.userDomain === trusteeDomain?.name) throw new ApiProblem('forbidden', 'Users of nodes may do nothing here.');
    return accessOf(caller, roles);
  }
}

function reading(x: Exchange, body: object): Answer {
  if (x.method !== 'GET' && x.method !== 'HEAD') throw notAllowed('GET');
  return { status: 200, body };
}

/** @param allowed methods, with commas between them */
export function notAllowed(allowed: string): ApiProblem {
  return new ApiProblem('method not allowed', `The method is not allowed here; expected ${allowed}`, { headers: ['Allow', allowed] });
}

function problemOf(error: unknown, keystoneUrl: string): ApiProblem {
  if (error instanceof ApiProblem) return error;
  if (error instanceof KeystoneAway) return new ApiProblem('unavailable', `Keystone at ${keystoneUrl} cannot be asked whose token this is; try again`, { cause: error, headers: ['Retry-After', String(error.retryAfterSeconds)] });
  return new ApiProblem('internal', 'Internal error; the log of the service says more', { cause: error });
}
