/**
 * The configuration file as its schema gives it: in the file's words, valid key by key, durations in milliseconds and
 * sizes in bytes, static defaults filled in. What needs other keys, files or the machine is `resolve.ts`.
 */
import type { ViewId } from '../oci/name.ts';
import type { Action, AnonymousAccess, Policy, UserAccess } from './config.ts';

export interface ListenerSettings {
  readonly address: string;
  readonly publicUrl?: string | undefined;
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  readonly view: ViewId;
  readonly upstream: string;
  readonly mirror: boolean;
}

export interface UpstreamSettings {
  readonly url?: string | undefined;
  readonly policy: Policy;
  readonly ttl: number;
  readonly negativeTtl: number;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly passwordFile?: string | undefined;
  /** A path, or PEM text. */
  readonly ca?: string | undefined;
  readonly timeout: number;
}

export interface UserSettings {
  readonly name: string;
  readonly password?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly passwordHash?: string | undefined;
  readonly passwordHashFile?: string | undefined;
  readonly access: UserAccess;
}

export interface RuleSettings {
  readonly who: string;
  readonly names: readonly string[];
  readonly views?: readonly string[] | undefined;
  readonly may: readonly Action[];
}

export interface Settings {
  readonly workers: number | 'auto';
  readonly listeners: readonly ListenerSettings[];
  readonly trustedProxies: readonly string[];
  readonly storage: { readonly driver: 'filesystem' | 'memory'; readonly root?: string | undefined };
  readonly views: {
    readonly hostSuffix?: string | undefined;
    readonly define: Readonly<Record<string, { readonly parents: readonly ViewId[] }>>;
  };
  readonly tagStaleness: number;
  readonly upstreams: Readonly<Record<string, UpstreamSettings>>;
  readonly fillDetached: number;
  readonly auth: {
    readonly keyFile: string;
    readonly anonymous?: AnonymousAccess | undefined;
    readonly users?: readonly UserSettings[] | undefined;
    readonly htpasswd?: string | undefined;
    readonly rules?: readonly RuleSettings[] | undefined;
  };
  readonly limits: {
    readonly memory: number;
    readonly manifestBytes: number;
    readonly blobBytes: number;
    readonly uploads: number;
    readonly stall: number;
    readonly drain: number;
  };
}
