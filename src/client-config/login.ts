/** A login at Umbra in the file that docker, buildx, podman, skopeo and the kubelet share the format of. */
import type { Change } from './change.ts';
import { jsonKeys } from './merge/json-keys.ts';
import type { Request } from './request.ts';

/** @param path in the home of whom it is for. @returns nothing where nobody is to be logged in */
export function loginOfUser(path: string, request: Request): readonly Change[] {
  return login(`${request.machine.home}/${path}`, request, true);
}

/** @returns nothing where nobody is to be logged in */
export function login(path: string, { registry, login: auth }: Request, inHome = false): readonly Change[] {
  if (auth === undefined) return [];
  return [
    jsonKeys({
      path,
      sets: [{ path: ['auths', registry.host], value: { auth } }],
      // Where there is a helper, `auths` is not looked into.
      objection: ({ credsStore, credHelpers }) =>
        (typeof credsStore === 'string' && credsStore !== '') || (typeof credHelpers === 'object' && credHelpers !== null && Object.hasOwn(credHelpers, registry.host))
          ? 'logins are kept by a helper (credsStore, credHelpers), not in this file: leave out --username here and log in with the client'
          : undefined,
      secret: true,
      inHome,
    }),
  ];
}
