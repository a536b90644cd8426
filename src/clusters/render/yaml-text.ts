/** YAML that parsers of 1.1 (PyYAML, Go's) and of 1.2 read alike: a text that any of them could take for something else is quoted. */
import { Document, visit } from 'yaml';
import type { Scalar } from 'yaml';

const PLAIN = /^[A-Za-z/][\w./-]*$/;
const WORDS = /^(?:y|n|yes|no|on|off|true|false|null)$/i;
const LINES = /^[\t\n\u0020-\u007E]*$/;

/** @param comment lines to begin with, without `#` */
export function printYaml(value: unknown, comment?: string): string {
  // The version is for telling texts from other things. A text `<<` is no key that merges.
  const document = new Document(value, { version: '1.1', aliasDuplicateObjects: false, customTags: (tags) => tags.filter((tag) => typeof tag === 'string' || tag.tag !== 'tag:yaml.org,2002:merge') });
  visit(document, {
    Scalar(_, node) {
      if (typeof node.value === 'string') node.type = typeOf(node.value);
    },
  });
  const head = comment === undefined ? '' : comment.split('\n').map((line) => `# ${line}\n`).join('');
  return head + document.toString({ lineWidth: 0 });
}

function typeOf(text: string): Scalar.Type {
  if (PLAIN.test(text) && !WORDS.test(text)) return 'PLAIN';
  return text.includes('\n') && LINES.test(text) ? 'BLOCK_LITERAL' : 'QUOTE_DOUBLE';
}
