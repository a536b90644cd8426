/** Microversions (https://specs.openstack.org/openstack/api-sig/guidelines/microversion_specification.html), numbered as Magnum's. */
import { ApiProblem } from './problem.ts';

export interface Version {
  readonly major: number;
  readonly minor: number;
}

export const SERVICE = 'container-infra';
export const MIN_VERSION: Version = { major: 1, minor: 1 };
/** Magnum's history up to here: 1.2 asynchronous bays, 1.3 rollback, 1.7 resize, 1.10 node groups of 0, 1.11 no bays. */
export const MAX_VERSION: Version = { major: 1, minor: 11 };
/** The first in which bays answer at once with 202 and a uuid. */
export const ASYNC_BAYS: Version = { major: 1, minor: 2 };
/** The last that knows `bays` and `baymodels`. */
export const LAST_BAYS: Version = { major: 1, minor: 10 };
export const RESIZE: Version = { major: 1, minor: 7 };
export const UPGRADE: Version = { major: 1, minor: 8 };

export function spelled({ major, minor }: Version): string {
  return `${major}.${minor}`;
}

export function isBefore(one: Version, other: Version): boolean {
  return one.major < other.major || (one.major === other.major && one.minor < other.minor);
}

/** Of every answer below `/v1`, whatever was asked for; flat. */
export const VERSION_RANGE: readonly string[] = ['OpenStack-API-Minimum-Version', `${SERVICE} ${spelled(MIN_VERSION)}`, 'OpenStack-API-Maximum-Version', `${SERVICE} ${spelled(MAX_VERSION)}`, 'Vary', 'OpenStack-API-Version'];

/** What was understood. */
export function versionHeaders(version: Version): readonly string[] {
  return ['OpenStack-API-Version', `${SERVICE} ${spelled(version)}`];
}

/** @param header of the request: `container-infra 1.7`, maybe among those of other services. @throws ApiProblem */
export function requestedVersion(header: string | undefined): Version {
  if (header === undefined) return MIN_VERSION;
  const ours = header.split(',').map((part) => part.trim().split(/\s+/)).find(([service]) => service === SERVICE);
  if (ours === undefined) throw unsupported('Invalid service type for OpenStack-API-Version header');
  const [, text = '', ...more] = ours;
  if (text.toLowerCase() === 'latest' && more.length === 0) return MAX_VERSION;
  const [, major, minor] = /^(\d{1,4})\.(\d{1,4})$/.exec(text) ?? [];
  if (major === undefined || minor === undefined || more.length > 0) throw unsupported('Invalid value for OpenStack-API-Version header');
  const version = { major: Number(major), minor: Number(minor) };
  if (isBefore(version, MIN_VERSION) || isBefore(MAX_VERSION, version)) {
    throw unsupported(`Version ${spelled(version)} was requested but the minor version is not supported by this service. The supported version range is: [${spelled(MIN_VERSION)}, ${spelled(MAX_VERSION)}].`);
  }
  return version;
}

function unsupported(message: string): ApiProblem {
  return new ApiProblem('not acceptable', message, {
    also: {
      code: 'magnum.microversion-unsupported',
      title: 'Requested microversion is unsupported',
      max_version: spelled(MAX_VERSION),
      min_version: spelled(MIN_VERSION),
      links: [{ rel: 'help', href: 'https://docs.openstack.org/api-guide/compute/microversions.html' }],
    },
  });
}
