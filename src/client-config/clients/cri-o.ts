/** CRI-O reads what podman reads, but keeps it until told. https://github.com/cri-o/cri-o/blob/main/docs/crio.8.md */
import type { ClientPlan } from '../change.ts';
import { login } from '../login.ts';
import type { Request } from '../request.ts';
import { registries } from './containers.ts';

/** The kubelet's, which gives CRI-O the logins with each pull. */
export const KUBELET_LOGINS = '/var/lib/kubelet/config.json';

export function crio(request: Request): ClientPlan {
  return {
    changes: [
      ...registries(request, { service: 'crio', action: 'reload', why: 'CRI-O keeps registries.conf until SIGHUP' }),
      ...login(KUBELET_LOGINS, request),
    ],
    notes: [],
  };
}
