/** The cluster service's configuration in the words of the file, with nothing left out. */
import type { ClustersConfig } from './config.ts';
import type { Words } from './explain.ts';
import { formatDuration, formatSize } from './quantity.ts';

export function clustersInWords(config: ClustersConfig): Words {
  const { address, tls, publicUrl, database, encryptionKeys, keystone, trusteeDomain, serviceProject, roles, defaults, nodes, openProject, accessRules, allowPrivateUpstreams, programs, adopt } = config;
  const { url, username, password, userDomain, project, projectDomain, region, interface: side, ca, insecure, cacheForMs } = keystone;
  return {
    address,
    tls: tls && { cert: tls.certFile, key: tls.keyFile },
    publicUrl, database,
    encryptionKey: encryptionKeys.map(String), // as it shows
    keystone: { url, username, password, userDomain, project, projectDomain, region, interface: side, ca, insecure, cacheFor: formatDuration(cacheForMs) },
    trusteeDomain: trusteeDomain && { ...trusteeDomain },
    serviceProject: serviceProject?.name,
    serviceProjectDomain: serviceProject?.domain,
    roles: { ...roles },
    defaults: { ...defaults },
    nodes: { image: nodes.image, ca: nodes.ca, disk: formatSize(nodes.diskBytes), renew: formatDuration(nodes.renewMs) },
    openProject, accessRules, allowPrivateUpstreams, programs,
    adopt: adopt && { magnumUrl: adopt.magnumUrl, interval: formatDuration(adopt.intervalMs) },
  };
}
