/**
 * Where keys lie below the root. A component is a file name, or, where it is longer than a file name may be, pieces:
 * `<240 characters>%/<the rest>`. Keys have no `%`, so the way back is unambiguous and `%tmp` is nobody's key.
 */
const PIECE = 240;

export class FilesystemPaths {
  readonly root: string;
  readonly temporary: string;

  /** @param root absolute, without a `/` at its end */
  constructor(root: string) {
    this.root = root;
    this.temporary = `${root}/%tmp`;
  }

  /** The file of a checked key. */
  of(key: string): string {
    return `${this.root}/${key.length <= PIECE ? key : key.split('/').map(inPieces).join('/')}`;
  }

  /** The directory of a checked level, '' or ending in `/`. */
  ofLevel(prefix: string): string {
    return prefix === '' ? this.root : this.of(prefix.slice(0, -1));
  }

  /** The directories that lead to a path, nearest first, without the root. */
  *above(path: string): Iterable<string> {
    for (let directory = parentOf(path); directory.length > this.root.length; directory = parentOf(directory)) yield directory;
  }
}

export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

/** The piece that a directory of pieces stands for; undefined where the name is none. */
export function pieceOf(name: string): string | undefined {
  return name.length === PIECE + 1 && name.endsWith('%') ? name.slice(0, -1) : undefined;
}

function inPieces(component: string): string {
  let path = '';
  let at = 0;
  for (; component.length - at > PIECE; at += PIECE) path += `${component.slice(at, at + PIECE)}%/`;
  return path + component.slice(at);
}
