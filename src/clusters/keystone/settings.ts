/** Which cloud clusters are in and who the service is there: complete, parsed, no key left to guess. */
import type { Secret } from '../../config/config.ts';
import type { Qualified, Reference } from '../../openstack/auth.ts';

export interface CloudSettings {
  /** Keystone, with or without `/v3`; nodes log in there too. */
  readonly url: string;
  /** Undefined: the only one of the catalogue. */
  readonly region: string | undefined;
  /** Which endpoint of the object store the service calls; nodes call the public one. */
  readonly interface: 'public' | 'internal' | 'admin';
  /** PEM text of authorities trusted beside those that Node trusts. */
  readonly ca: string | undefined;
  /** Certificates are not checked. */
  readonly insecure: boolean;
  /**
   * The service's own user, of `clusters.keystone`. With the role `ResellerAdmin` there it may change containers of every project, which it
   * needs where the caller's token does not suffice: an administrator of another project deletes, or the sweep clears up.
   */
  readonly service: { readonly user: Qualified; readonly password: Secret; readonly project: Qualified };
  /** Where users of nodes are made, and by whom: an admin of that domain. Needed by `acl` and `trust`. */
  readonly trusteeDomain: { readonly domain: Reference; readonly admin: string; readonly password: Secret } | undefined;
  /** In which users of nodes have their only role. Needed by `acl`. */
  readonly serviceProject: Qualified | undefined;
  readonly roles: {
    /** What a user of nodes has in the service project (`acl`). Must be none of Swift's operator roles: the container's access list lets it in, and nowhere else. */
    readonly node: string;
    /** What the owner lends (`trust`, `app_cred`). Where one is an operator role of Swift, the credential opens the whole project, which is refused unless `openProject`. */
    readonly delegated: readonly string[];
  };
  /** The operator accepts that delegated roles open every container of the owner's project (`trust`, `app_cred`). */
  readonly openProject: boolean;
  /** Application credentials get rules for the paths of their containers. Works only where Swift's `authtoken` has `service_type = object-store`. */
  readonly accessRules: boolean;
}
