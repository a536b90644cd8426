/** What the configuration says of the cloud, as those take it who talk to Keystone and Swift. */
import type { ClustersConfig } from '../config/config.ts';
import type { CloudSettings } from './keystone/settings.ts';

export function cloudSettings({ keystone, trusteeDomain, serviceProject, roles, openProject, accessRules }: ClustersConfig): CloudSettings {
  const { url, region, interface: side, ca, insecure, username, userDomain, password, project, projectDomain } = keystone;
  return {
    url, region, interface: side, ca, insecure,
    service: { user: { name: username, domain: { name: userDomain } }, password, project: { name: project, domain: { name: projectDomain } } },
    trusteeDomain: trusteeDomain && { domain: { name: trusteeDomain.name }, admin: trusteeDomain.adminUsername, password: trusteeDomain.adminPassword },
    serviceProject: serviceProject && { name: serviceProject.name, domain: { name: serviceProject.domain } },
    roles: { node: roles.node, delegated: roles.delegated },
    openProject, accessRules,
  };
}
