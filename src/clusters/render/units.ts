/**
 * The two systemd units of a node: one fetches the program and tells the runtimes, once and again after each boot; the
 * other runs it, before anything that pulls images.
 */
import { proxyEnvironment } from './proxy-files.ts';
import { nodeFile } from './node-file.ts';
import type { NodeFile } from './node-file.ts';
import type { NodeModel } from './node-model.ts';
import { CACHE_FOLDER, INSTALL_SCRIPT, UNITS_FOLDER, programFolder } from './places.ts';
import { environmentLine } from './systemd-words.ts';

export const SERVICE = 'umbra.service';
export const INSTALL_SERVICE = 'umbra-install.service';

/** @param handed files that only root may read, and that the program is to have */
export function unitFiles(model: NodeModel, handed: readonly string[]): readonly NodeFile[] {
  return [
    nodeFile(`${UNITS_FOLDER}/${SERVICE}`, service(model, handed)),
    nodeFile(`${UNITS_FOLDER}/${INSTALL_SERVICE}`, installService()),
  ];
}

/** Not an alias of what may be there: units that are not there are passed over. */
const BEFORE = 'Before=kubelet.service docker.service containerd.service crio.service';

function service({ program, proxies }: NodeModel, handed: readonly string[]): string {
  return `[Unit]
Description=Umbra, this node's container image registry
Wants=network-online.target
Requires=${INSTALL_SERVICE}
After=network-online.target ${INSTALL_SERVICE}
${BEFORE}
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=${programFolder(program.version)}/bin/umbra serve -c \${CREDENTIALS_DIRECTORY}/umbra.yaml
ExecStartPost=-/bin/sh ${INSTALL_SCRIPT} wait
Restart=on-failure
RestartSec=2
TimeoutStartSec=120
TimeoutStopSec=60
${handed.map((path) => `LoadCredential=${path.slice(path.lastIndexOf('/') + 1)}:${path}\n`).join('')}Environment="NODE_COMPILE_CACHE=${CACHE_FOLDER}/compiled"
${environment(proxies)}DynamicUser=yes
StateDirectory=umbra
StateDirectoryMode=0700
CacheDirectory=umbra
CacheDirectoryMode=0700
UMask=0077
LimitNOFILE=65536
OOMScoreAdjust=-900
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
PrivateDevices=yes
PrivateTmp=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
LockPersonality=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
`;
}

function installService(): string {
  return `[Unit]
Description=Fetch Umbra, and tell this node's container runtimes of it
Wants=network-online.target
After=network-online.target
${BEFORE}
StartLimitIntervalSec=0

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh ${INSTALL_SCRIPT} boot
Restart=on-failure
RestartSec=15
TimeoutStartSec=900

[Install]
WantedBy=multi-user.target
`;
}

function environment(proxies: NodeModel['proxies']): string {
  return proxies === undefined ? '' : proxyEnvironment(proxies).map(([name, value]) => `${environmentLine(name, value)}\n`).join('');
}
