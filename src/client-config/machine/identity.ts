/** Who does what to the disk: in somebody's home, root acts as that user, who may have put a link to anywhere there. */
import process from 'node:process';

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Does it as `owner`, whose what is made then is. Who is not root does it as who they are, and so does root for undefined. */
export function actAs<T>(owner: Owner | undefined, act: () => T): T {
  const { geteuid, getegid, getgroups, setgroups, setegid, seteuid } = process;
  if (owner === undefined || owner.uid === 0 || geteuid?.() !== 0 || getegid === undefined || getgroups === undefined) return act();
  const before = { gid: getegid(), groups: getgroups() };
  // The user last, and first on the way back: no other may change the rest.
  setgroups?.([owner.gid]);
  setegid?.(owner.gid);
  seteuid?.(owner.uid);
  try {
    return act();
  } finally {
    seteuid?.(0);
    setegid?.(before.gid);
    setgroups?.(before.groups);
  }
}
