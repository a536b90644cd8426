/**
 * What a document of a Magnum means here: whether the cluster is to have a registry, which, or why it cannot. All of it
 * may be anything at all: each field is read by the type that it has here, and what has no place here is left out.
 */
import type { ClustersConfig } from '../../config/config.ts';
import { modeProblem } from '../credentials/demands.ts';
import type { CloudSettings } from '../keystone/settings.ts';
import { COES, type Coe, type RegistrySettings } from '../words.ts';
import { CLUSTER_FIELDS } from '../api/cluster-fields.ts';
import { bodyText } from '../api/cluster-rows.ts';
import { labels as labelsType, readBoolean, type Labels } from '../api/field.ts';
import { registrySettings } from '../api/labels.ts';
import { ApiProblem, shown } from '../api/problem.ts';
import type { Values } from '../api/resource.ts';
import { TEMPLATE_FIELDS } from '../api/template-fields.ts';
import { recordOf, uuidOf } from './magnum.ts';

/** As much of a template as its clusters need. */
export interface DescribedTemplate {
  readonly isEnabled: boolean;
  readonly coe: Coe | undefined;
  readonly apiServerPort: number | undefined;
  /** `http_proxy` and the like: what artifacts are made from. */
  readonly values: Values;
}

/** A cluster as it is to be here. */
export interface Described {
  readonly uuid: string;
  readonly name: string;
  readonly projectId: string;
  readonly userId: string;
  readonly templateUuid: string;
  readonly coe: Coe;
  readonly isEnabled: boolean;
  /** It is being deleted there. */
  readonly isGoing: boolean;
  /** The service's defaults where there is a problem. */
  readonly settings: RegistrySettings;
  /** Why it gets no registry, or none other than it has: a sentence. */
  readonly problem: string | undefined;
  /** The text of the row's `body`. */
  readonly body: (problem: string | undefined) => string;
}

export interface Describing {
  readonly config: Pick<ClustersConfig, 'defaults' | 'allowPrivateUpstreams'>;
  readonly cloud: CloudSettings;
  readonly magnumUrl: string;
  readonly templates: ReadonlyMap<string, DescribedTemplate>;
}

/** Keystone's ids, of whichever back end. They become parts of paths. */
const ID = /^[A-Za-z0-9_-]{1,64}$/;
/** Not one of the registry's labels: it is Magnum's flag, for clusters whose template says otherwise. */
const FLAG = 'registry_enabled';
/** What artifacts are made from. */
const OF_TEMPLATE = ['insecure_registry', 'http_proxy', 'https_proxy', 'no_proxy'] as const;

/** Undefined: nothing that a cluster could name. */
export function describedTemplate(document: unknown): readonly [uuid: string, DescribedTemplate] | undefined {
  const uuid = uuidOf(document);
  const given = recordOf(document);
  if (uuid === undefined || given === undefined) return undefined;
  const field = (name: string): unknown => {
    const read = given[name] == null ? undefined : TEMPLATE_FIELDS.find((each) => each.name === name)?.type.read(given[name]);
    return read === undefined || 'problem' in read ? undefined : read.value;
  };
  const port = field('apiserver_port');
  return [uuid, {
    isEnabled: readBoolean(given['registry_enabled']) ?? false,
    coe: COES.find((each) => each === given['coe']),
    apiServerPort: typeof port === 'number' ? port : undefined,
    values: Object.fromEntries(OF_TEMPLATE.map((name) => [name, field(name) as string | undefined ?? null])), // fields of text
  }];
}

/** `unknown template`: it came between two lists; the next reading has both. Otherwise a text: why there is no place for it here. */
export function described(document: unknown, { config, cloud, magnumUrl, templates }: Describing): Described | 'unknown template' | { readonly unfit: string } {
  const [uuid, given] = [uuidOf(document), recordOf(document)];
  if (uuid === undefined || given === undefined) return { unfit: 'a cluster without a UUID' };
  const id = (name: string): string | undefined => (typeof given[name] === 'string' && ID.test(given[name]) ? given[name] : undefined);
  const projectId = id('project_id');
  if (projectId === undefined) return { unfit: `cluster ${uuid}, whose project has no id` };
  const templateUuid = uuidOf({ uuid: given['cluster_template_id'] });
  const template = templateUuid === undefined ? undefined : templates.get(templateUuid);
  if (templateUuid === undefined || template === undefined) return 'unknown template';

  const problems: string[] = [];
  const attempt = <T>(read: () => T): T | undefined => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof ApiProblem)) throw error;
      problems.push(error.message);
      return undefined;
    }
  };
  const name = nameOf(given['name']);
  if (name === undefined) problems.push(`Its name, '${shown(given['name'])}', is none that a cluster can have: a letter, then letters, digits and any of _.-`);
  if (template.coe === undefined) problems.push(`Its template is for something else than ${COES.join(', ')}, for which there are no registries.`);
  const labels = labelsOf(given['labels']);
  if (typeof labels === 'string') problems.push(labels);
  const { [FLAG]: flag, ...ofRegistry } = typeof labels === 'string' ? {} : labels;
  const isEnabled = flag === undefined ? template.isEnabled : readBoolean(flag);
  if (isEnabled === undefined) problems.push(`Invalid label ${FLAG}, '${shown(flag)}': expected true or false`);
  const settings = attempt(() => registrySettings(ofRegistry, config, template.apiServerPort));
  if (settings !== undefined) problems.push(...modeProblems(settings, cloud));

  const values = valuesOf(given, ofRegistry, flag);
  const diff = { labels_overridden: lenient(given['labels_overridden']), labels_added: lenient(given['labels_added']), labels_skipped: lenient(given['labels_skipped']) };
  // What is cut in the middle of a character would come back from the database as another text.
  const problem = problems[0]?.toWellFormed();
  return {
    uuid, projectId, templateUuid,
    userId: id('user_id') ?? '',
    name: name ?? `cluster-${uuid}`,
    coe: template.coe ?? COES[0], // of no consequence: such a cluster gets no artifacts
    isEnabled: isEnabled ?? true,
    isGoing: typeof given['status'] === 'string' && given['status'].startsWith('DELETE'),
    settings: problem === undefined && settings !== undefined ? settings : registrySettings({}, config),
    problem,
    body: (why) => bodyText(values, diff, { magnumUrl, template: template.values, ...(why !== undefined && { problem: why }) }),
  };
}

/** Only `acl` needs nothing of the owner, whose token Magnum does not hand over. */
function modeProblems({ credentialMode }: RegistrySettings, cloud: CloudSettings): readonly string[] {
  if (credentialMode !== 'acl') return [`registry_credential_mode ${credentialMode} needs the token of whoever owns the cluster, which Magnum does not hand over: give the cluster or its template the label registry_credential_mode=acl`];
  const missing = modeProblem(credentialMode, cloud);
  return missing === undefined ? [] : [missing.reason];
}

function nameOf(given: unknown): string | undefined {
  const read = CLUSTER_FIELDS.find(({ name }) => name === 'name')?.type.read(given);
  return read === undefined || 'problem' in read ? undefined : (read.value as string); // a field of text
}

/** A text: what is wrong with them. */
function labelsOf(given: unknown): Labels | string {
  const read = labelsType.read(given ?? {});
  return 'problem' in read ? `Its labels cannot be read. ${read.problem}` : (read.value as Labels); // as the type reads
}

function lenient(given: unknown): Labels {
  const labels = labelsOf(given);
  return typeof labels === 'string' ? {} : labels;
}

/** Magnum's fields that a cluster has here; those that cannot stand here are not there. */
function valuesOf(given: Readonly<Record<string, unknown>>, labels: Labels, flag: string | undefined): Values {
  const kept = CLUSTER_FIELDS.filter(({ name }) => !['name', 'cluster_template_id', 'labels'].includes(name)).map(({ name, type }) => {
    const read = given[name] == null ? undefined : type.read(given[name]);
    return [name, read === undefined || 'problem' in read ? null : read.value] as const;
  });
  return Object.fromEntries([...kept, ['labels', { ...labels, ...(flag !== undefined && { [FLAG]: flag }) }]]);
}
