/**
 * What Cluster API's kubeadm bootstrap provider is told, to be put into `KubeadmConfigTemplate.spec.template.spec` and
 * `KubeadmControlPlane.spec.kubeadmConfigSpec`: https://cluster-api.sigs.k8s.io/tasks/bootstrap/kubeadm-bootstrap/. It runs before kubeadm,
 * so that the images of the control plane come through the registry, too.
 */
import { base64, isPlain, octal } from '../node-file.ts';
import type { NodeFile } from '../node-file.ts';
import { INSTALL_SCRIPT } from '../places.ts';
import { printYaml } from '../yaml-text.ts';

/** @param about lines of a comment */
export function kubeadm(files: readonly NodeFile[], about: string): string {
  return printYaml({ files: files.map(file), preKubeadmCommands: [`sh ${INSTALL_SCRIPT}`] }, `${about}\nFor spec.template.spec of a KubeadmConfigTemplate, or spec.kubeadmConfigSpec of a KubeadmControlPlane.`);
}

function file({ path, mode, content }: NodeFile): object {
  return {
    path,
    owner: 'root:root',
    permissions: octal(mode),
    ...(isPlain(content) ? { content } : { encoding: 'base64', content: base64(content) }),
  };
}
