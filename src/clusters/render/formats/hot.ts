/**
 * Heat: https://docs.openstack.org/heat/latest/template_guide/hot_spec.html. A fragment, whose parts go into a
 * MultipartMime, and a template with a server around it. Secrets are hidden parameters, as base64: so that whatever they
 * hold can be joined into YAML, and with `list_join`, since `str_replace` would go over the rest of the text as well.
 */
import { base64, octal } from '../node-file.ts';
import type { NodeFile } from '../node-file.ts';
import { INSTALL_SCRIPT } from '../places.ts';
import { printYaml } from '../yaml-text.ts';
import { cloudConfig } from './cloud-init.ts';

/** @param address that users put before the names of images */
export function hotFragment(files: readonly NodeFile[], about: string, address: string): string {
  return template(files, about, address, { parameters: {}, resources: {}, outputs: {} });
}

/** One server; more by a group around it. */
export function hotServer(files: readonly NodeFile[], about: string, address: string): string {
  return template(files, about, address, {
    parameters: {
      image: { type: 'string', description: 'Of the server.', constraints: [{ custom_constraint: 'glance.image' }] },
      flavor: { type: 'string', description: 'Of the server.', constraints: [{ custom_constraint: 'nova.flavor' }] },
      key_name: { type: 'string', description: 'Who may log in.', constraints: [{ custom_constraint: 'nova.keypair' }] },
      network: { type: 'string', description: 'That the server is on.', constraints: [{ custom_constraint: 'neutron.network' }] },
    },
    resources: {
      node: {
        type: 'OS::Nova::Server',
        properties: {
          image: { get_param: 'image' },
          flavor: { get_param: 'flavor' },
          key_name: { get_param: 'key_name' },
          networks: [{ network: { get_param: 'network' } }],
          user_data_format: 'RAW',
          user_data: { get_resource: 'umbra_init' },
        },
      },
    },
    outputs: { server: { description: 'The id of the server.', value: { get_resource: 'node' } } },
  });
}

interface Parts {
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly resources: Readonly<Record<string, unknown>>;
  readonly outputs: Readonly<Record<string, unknown>>;
}

function template(files: readonly NodeFile[], about: string, address: string, { parameters, resources, outputs }: Parts): string {
  const secrets = files.filter(({ secret }) => secret).map((file, i, all) => ({ ...file, parameter: parameterOf(file) + (all.slice(0, i).some((other) => parameterOf(other) === parameterOf(file)) ? `_${i}` : '') }));
  return printYaml({
    heat_template_version: '2018-08-31',
    description: about,
    parameters: {
      ...Object.fromEntries(
        secrets.map(({ parameter, path, content }) => [
          parameter,
          { type: 'string', hidden: true, description: `${path}, as base64.`, default: base64(content), constraints: [{ allowed_pattern: '[A-Za-z0-9+/]*={0,2}' }] },
        ]),
      ),
      ...parameters,
    },
    resources: {
      umbra_files: softwareConfig(cloudConfig(files.filter(({ secret }) => !secret))),
      ...(secrets.length > 0 && { umbra_secrets: softwareConfig({ list_join: ['', secretsText(secrets)] }) }),
      umbra_install: softwareConfig(`#!/bin/sh\nexec sh ${INSTALL_SCRIPT}\n`),
      umbra_init: {
        type: 'OS::Heat::MultipartMime',
        properties: {
          parts: [
            part('umbra_files', 'cloud-config'),
            ...(secrets.length > 0 ? [part('umbra_secrets', 'cloud-config')] : []),
            part('umbra_install', 'x-shellscript'),
          ],
        },
      },
      ...resources,
    },
    outputs: {
      registry_address: { description: 'What to put before the names of images, on each node.', value: address },
      user_data: { description: 'The user data of a node, for a server of another template.', value: { get_resource: 'umbra_init' } },
      ...outputs,
    },
  });
}

/** Digits in base64 are no number inside quotes. */
function secretsText(secrets: readonly (NodeFile & { readonly parameter: string })[]): readonly unknown[] {
  return [
    `${cloudConfig([])}write_files:\n`,
    ...secrets.flatMap(({ path, mode, parameter }) => [
      `${printYaml([{ path, owner: 'root:root', permissions: octal(mode), encoding: 'b64' }])}  content: "`,
      { get_param: parameter },
      '"\n',
    ]),
  ];
}

/** E.g. `umbra_bootstrap_token`. */
function parameterOf({ path }: NodeFile): string {
  return `umbra_${path.slice(path.lastIndexOf('/') + 1).toLowerCase().replaceAll(/[^a-z0-9]+/g, '_')}`;
}

function softwareConfig(config: unknown): object {
  return { type: 'OS::Heat::SoftwareConfig', properties: { group: 'ungrouped', config } };
}

function part(resource: string, subtype: string): object {
  return { config: { get_resource: resource }, type: 'text', subtype };
}
