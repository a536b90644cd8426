/** A node of Kubernetes: whichever runtime it has, and the kubelet's logins. */
import type { ClientPlan } from '../change.ts';
import { login } from '../login.ts';
import { Refused } from '../request.ts';
import type { Request } from '../request.ts';
import { containerd } from './containerd.ts';
import { KUBELET_LOGINS, crio } from './cri-o.ts';

export function kubernetes(request: Request): ClientPlan {
  const { runtimes } = request.machine;
  if (runtimes.length === 0) throw new Refused('neither /etc/containerd nor /etc/crio is there: which runtime does the kubelet use? apply --for containerd or cri-o');
  const plans = [...(runtimes.includes('containerd') ? [containerd(request)] : []), ...(runtimes.includes('cri-o') ? [crio(request)] : [])];
  const changes = [...plans.flatMap((plan) => plan.changes), ...login(KUBELET_LOGINS, request)];
  return {
    changes: changes.filter(({ path }, i) => changes.findIndex((change) => change.path === path) === i),
    notes: ['to be done on every node; a pod’s imagePullSecrets still go with the registry that its image names', ...plans.flatMap((plan) => plan.notes)],
  };
}
