/**
 * `GET` and `POST /auth/token` without the HTTP: Docker's "Token Authentication" and its OAuth2 form. Grants what was
 * asked for as far as it is allowed; what is not allowed is left out, as the specification has it.
 *
 * Pull tokens that anonymous could have too are given whatever credentials came along (dockerd sends the user's Docker
 * Hub credentials to its mirrors). Wrong credentials with anything else, a login included, are UNAUTHORIZED.
 * The `service` parameter is not looked at: every token is for this registry.
 */
import { Secret } from '../config/config.ts';
import { RegistryError } from '../oci/errors.ts';
import type { ViewId } from '../oci/name.ts';
import { ACTION_BITS, tokenActionBits, tokenActionList } from './action.ts';
import { identityOf } from './authenticate.ts';
import { parseCredentials, passwordCredentials } from './credentials.ts';
import { ANONYMOUS, type Identity, type TokenGrant } from './identity.ts';
import type { Login, LoginContext, Logins } from './logins.ts';
import type { Rules } from './rules.ts';
import { parseScopes, type Scope, type ToName } from './scopes.ts';
import type { Tokens } from './tokens.ts';
import type { User, Users } from './users.ts';

export interface TokenRequest {
  readonly authorization: string | undefined;
  /** The client's. */
  readonly address: string;
  /** The query of a GET, or the form of a POST. */
  readonly parameters: URLSearchParams;
  readonly toName: ToName;
  /** The view that host name or listener choose: the token's `view` claim. */
  readonly view: ViewId;
  readonly mirror: boolean;
}

/** The answer's JSON. */
export interface TokenAnswer {
  readonly token: string;
  /** The same once more: OAuth2's word for it. */
  readonly access_token: string;
  readonly expires_in: number;
  readonly issued_at: string;
  /** What was granted, in the client's spelling. */
  readonly scope: string;
  readonly refresh_token?: string;
  /** Both for a token exchange (RFC 8693 section 2.2.1). */
  readonly token_type?: string;
  readonly issued_token_type?: string;
}

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

export interface TokenServiceDeps {
  readonly tokens: Tokens;
  readonly users: Pick<Users, 'find'>;
  readonly logins: Logins;
  readonly rules: Rules;
  /** See `AuthenticateDeps`. */
  readonly open: boolean;
}

/** @throws RegistryError UNAUTHORIZED, DENIED, PARAMETER_INVALID, TOOMANYREQUESTS or UNAVAILABLE */
export type IssueToken = (request: TokenRequest) => Promise<TokenAnswer>;

export function createTokenService(deps: TokenServiceDeps): IssueToken {
  const { tokens, rules, open } = deps;
  return async (request) => {
    const { parameters, view } = request;
    const scopes = parseScopes(parameters.getAll('scope'), request.toName);
    const asAnonymous = scopes.map((scope) => consider(rules, ANONYMOUS, scope, request));
    const anonymousPull = asAnonymous.length > 0 && asAnonymous.every(isPullAllowed);
    const user = open ? undefined : await identify(request, deps, anonymousPull);
    const considered = user === undefined ? asAnonymous : scopes.map((scope) => consider(rules, identityOf(user), scope, request));
    if (user === undefined) refuseUseless(considered, deps);

    const grants = considered.filter(({ allowed }) => allowed !== 0).map(grantOf);
    const { token, issuedAtSeconds, lifeSeconds } = await tokens.issueAccess({ subject: user?.name, view, grants, endsMs: user?.endsMs });
    const refresh = user !== undefined && wantsRefresh(parameters) ? await refreshToken(user, tokens) : undefined;
    return {
      token,
      access_token: token,
      expires_in: lifeSeconds,
      issued_at: new Date(issuedAtSeconds * 1000).toISOString(),
      scope: considered.map(spell).filter((text) => text !== '').join(' '),
      ...(refresh === undefined ? {} : { refresh_token: refresh }),
      ...(parameters.get('grant_type') === TOKEN_EXCHANGE ? { token_type: 'Bearer', issued_token_type: ACCESS_TOKEN } : {}),
    };
  };
}

/** One scope, held against the rules. Actions are bits of `action.ts`. */
interface Considered {
  readonly scope: Scope;
  readonly view: ViewId;
  readonly asked: number;
  readonly allowed: number;
}

function consider(rules: Rules, identity: Identity, scope: Scope, request: TokenRequest): Considered {
  const view = scope.view ?? request.view;
  const asked = request.mirror ? scope.actions & ACTION_BITS.pull : scope.actions;
  if (scope.kind === 'catalog') return { scope, view, asked, allowed: rules.permitsCatalog(identity, view) ? asked : 0 };
  // Clients that delete ask for `push,pull` only (crane): who asks to push gets leave to delete too, where they have it.
  const useful = (asked & ACTION_BITS.push) === 0 ? asked : asked | ACTION_BITS.delete;
  const allowed = tokenActionList(useful).filter((action) => rules.permits(identity, action, view, scope.name));
  return { scope, view, asked, allowed: tokenActionBits(allowed) };
}

function isPullAllowed({ asked, allowed }: Considered): boolean {
  return asked === ACTION_BITS.pull && allowed === asked;
}

/** Undefined: anonymous, or somebody who is treated so because a pull is all they ask for. */
async function identify(request: TokenRequest, deps: TokenServiceDeps, anonymousPull: boolean): Promise<User | undefined> {
  const login = await logInWith(request, deps, { address: request.address, idle: anonymousPull });
  if (login.kind === 'stranger' && !anonymousPull) throw login.undecided ?? new RegistryError('UNAUTHORIZED', login.problem);
  return login.kind === 'user' ? login.user : undefined;
}

async function logInWith({ authorization, parameters }: TokenRequest, { tokens, users, logins }: TokenServiceDeps, context: LoginContext): Promise<Login> {
  switch (parameters.get('grant_type')) {
    case 'password':
      return logins.logIn(passwordCredentials(parameters.get('username') ?? '', parameters.get('password') ?? ''), context);
    case TOKEN_EXCHANGE:
      return logins.exchange(new Secret(parameters.get('subject_token') ?? ''));
    case 'refresh_token':
      return refreshed(parameters.get('refresh_token') ?? '', tokens, users);
    case null: {
      const credentials = parseCredentials(authorization);
      return credentials.kind === 'bearer' ? NO_TRADE : logins.logIn(credentials, context);
    }
    default:
      throw new RegistryError('PARAMETER_INVALID', `unsupported grant_type: expected password, refresh_token or ${TOKEN_EXCHANGE}`);
  }
}

const NO_TRADE: Login = { kind: 'stranger', problem: 'a token cannot be traded for another: expected Basic credentials' };

async function refreshed(token: string, tokens: Tokens, users: Pick<Users, 'find'>): Promise<Login> {
  const claim = await tokens.verifyRefresh(token);
  const user = claim === undefined ? undefined : await users.find(claim.name);
  const valid = user?.credential !== undefined && claim?.matches(user.credential) === true;
  return valid ? { kind: 'user', user } : { kind: 'stranger', problem: 'the login has expired or was revoked: log in again' };
}

/** A token for nobody that allows nothing would only lead to a second, less clear refusal. */
function refuseUseless(considered: readonly Considered[], { rules, open }: TokenServiceDeps): void {
  const [first] = considered;
  if (first === undefined) {
    if (!rules.anonymousCounts) throw new RegistryError('UNAUTHORIZED', 'authentication required');
    return;
  }
  if (considered.some(({ allowed }) => allowed !== 0)) return;
  const actions = tokenActionList(first.asked).join(' and ') || 'do that to';
  const what = first.scope.kind === 'catalog' ? 'list the catalogue' : `${actions} ${first.scope.spelling}`;
  if (open) throw new RegistryError('DENIED', `nobody may ${what} (view ${first.view}): no users are configured`);
  throw new RegistryError('UNAUTHORIZED', `authentication required to ${what} (view ${first.view})`);
}

function grantOf({ scope, view, allowed }: Considered): TokenGrant {
  return { view, name: scope.kind === 'catalog' ? 'catalog' : scope.name, actions: allowed };
}

async function refreshToken({ name, credential }: User, tokens: Tokens): Promise<string | undefined> {
  return credential === undefined ? undefined : tokens.issueRefresh({ name, credential });
}

/** `offline_token` is the GET's word for it, `access_type` the form's. */
function wantsRefresh(parameters: URLSearchParams): boolean {
  return parameters.get('offline_token') === 'true' || parameters.get('access_type') === 'offline';
}

function spell({ scope, asked, allowed }: Considered): string {
  const granted = asked & allowed;
  if (granted === 0) return '';
  return scope.kind === 'catalog' ? `registry:${scope.spelling}:*` : `repository:${scope.spelling}:${tokenActionList(granted).join(',')}`;
}
