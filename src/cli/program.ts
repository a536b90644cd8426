/** The command line: which commands there are, their options and help. Each command's code is loaded when it runs. */
import { Command, CommanderError } from 'commander';
import { ConfigError } from '../config/problem.ts';
import { EXIT, describeFailure } from './world.ts';
import type { World } from './world.ts';
import { DEFAULT_ZUUL_FILE, zuulProgram } from './zuul-program.ts';
import type { Versions } from './commands/version.ts';

const CONFIG_FLAG = ['-c, --config <file>', 'configuration file (default: umbra.yaml, if there is one)'] as const;
const JSON_FLAG = ['--json', 'print JSON, for programs'] as const;

/** @returns the exit code */
export async function run(args: readonly string[], world: World, versions: Versions): Promise<number> {
  let exitCode: number = EXIT.ok;
  const exit = (code: number): void => {
    exitCode = code;
  };
  const asZuul = args[0] === 'zuul-registry'; // bin/zuul-registry says so
  const program = asZuul ? zuulProgram(dressed(new Command('zuul-registry'), world), world, versions.umbra, exit) : build(world, versions, exit);
  try {
    await program.parseAsync(args.slice(asZuul ? 1 : 0), { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    world.output.note(error instanceof ConfigError ? error.message : `umbra: ${describeFailure(error)}`);
    return EXIT.failed;
  }
}

/** Commands that are added later take it over. */
function dressed(program: Command, world: World): Command {
  return program
    .helpOption('-h, --help', 'show help')
    .showHelpAfterError('(--help says more)')
    .configureOutput({ writeOut: (text) => world.output.result(text.trimEnd()), writeErr: (text) => world.output.note(text.trimEnd()) })
    .exitOverride();
}

function build(world: World, versions: Versions, exit: (code: number) => void): Command {
  const program = dressed(new Command('umbra'), world)
    .description('A container image registry in which an image you push shadows the upstream image of the same name.')
    .version(`umbra ${versions.umbra}`, '-V, --version')
    .helpCommand('help [command]', 'show help for a command')
    .enablePositionalOptions() // client-config and its own commands have options of the same names
    .addHelpText('after', examples('umbra serve', 'umbra serve -c /etc/umbra/umbra.yaml', 'umbra config explain'));

  program
    .command('serve')
    .description('Run the registry until SIGINT or SIGTERM. Without a file: on localhost:5000, images in ./umbra-data.')
    .option(...CONFIG_FLAG)
    .addHelpText('after', examples('umbra serve', 'umbra serve -c /etc/umbra/umbra.yaml'))
    .action(async (options) => exit(await (await import('./commands/serve.ts')).serveRegistry(options, world)));

  const config = program
    .command('config')
    .description('Check, explain and describe the configuration file.')
    .addHelpText('after', examples('umbra config check -c umbra.yaml', 'umbra config explain', 'umbra config schema > umbra.schema.json'));

  config
    .command('check')
    .description('Say whether a file is good, or all that is wrong with it.')
    .option(...CONFIG_FLAG)
    .option(...JSON_FLAG)
    .addHelpText('after', examples('umbra config check', 'umbra config check -c /etc/umbra/umbra.yaml && systemctl restart umbra'))
    .action(async (options) => exit(await (await import('./commands/config.ts')).check(options, world)));

  config
    .command('explain')
    .description('Print every value in effect and where it comes from. Secrets show as ***.')
    .option(...CONFIG_FLAG)
    .option(...JSON_FLAG)
    .addHelpText(
      'after',
      examples(
        'umbra config explain',
        'umbra config explain -c umbra.yaml | grep upstreams.docker.io',
        'umbra config explain --json | jq \'.[] | select(.origin.kind != "default")\'',
      ),
    )
    .action(async (options) => exit(await (await import('./commands/config.ts')).explainValues(options, world)));

  config
    .command('convert')
    .argument('[file]', "a zuul-registry's configuration", DEFAULT_ZUUL_FILE)
    .description("Print a zuul-registry's configuration as a file of Umbra's, which means the same. Variables of the environment stay variables; secrets that stand in the file are printed.")
    .addHelpText('after', examples('umbra config convert registry.yaml > umbra.yaml'))
    .action(async (file) => exit(await (await import('./commands/config.ts')).convertFile(file, world)));

  config
    .command('schema')
    .description('Print the JSON Schema of the file, for editors.')
    .addHelpText('after', examples('umbra config schema > umbra.schema.json'))
    .action(async () => exit(await (await import('./commands/config.ts')).printSchema(world)));

  const auth = program
    .command('auth')
    .description('What there is to do with keys.')
    .addHelpText('after', examples('umbra auth rotate-key -c /etc/umbra/umbra.yaml'));

  auth
    .command('rotate-key')
    .description('Put a new key in front of those that sign tokens. Running servers take it by themselves, and nobody is logged out.')
    .option(...CONFIG_FLAG)
    .option('--key-file <file>', 'the key file (default: as the configuration says)')
    .option('--after <duration>', 'the new key signs from then on; by then, every node must have the file', '60s')
    .option('--revoke', 'take the other keys out at once, for one that leaked: all logins and tokens end')
    .option(...JSON_FLAG)
    .addHelpText(
      'after',
      examples('umbra auth rotate-key', 'umbra auth rotate-key -c /etc/umbra/umbra.yaml --after 1h', 'umbra auth rotate-key --key-file umbra-data.key --revoke'),
    )
    .action(async (options) => exit(await (await import('./commands/auth.ts')).rotateSigningKey(options, world)));

  program
    .command('ca')
    .description("Print the certificate, as PEM, that clients of a listener with proxy: true have to trust. It is made if it is not there; run this as the server's user. Its fingerprint goes to stderr.")
    .option(...CONFIG_FLAG)
    .option(...JSON_FLAG)
    .addHelpText(
      'after',
      examples(
        'umbra ca -c /etc/umbra/umbra.yaml > umbra-ca.crt',
        'umbra ca > /usr/local/share/ca-certificates/umbra.crt && update-ca-certificates && systemctl restart docker',
        'umbra ca > /etc/docker/certs.d/quay.io/ca.crt',
      ),
    )
    .action(async (options) => exit(await (await import('./commands/ca.ts')).showAuthority(options, world)));

  program
    .command('prune')
    .description('Remove what is left over. Servers over the same storage may be running.')
    .option('--uploads', 'uploads that nobody touched for longer than limits.uploads')
    .option('--tags', 'tags of the view main that were pushed longer ago than tagExpiry')
    .option('--dry-run', 'say what would be removed, and remove nothing')
    .option(...CONFIG_FLAG)
    .option('--json', 'print each event as a line of JSON, for programs')
    .addHelpText('after', examples('umbra prune --uploads', 'umbra prune --uploads --tags -c /etc/umbra/umbra.yaml --dry-run'))
    .action(async (options, command: Command) => {
      if (options.uploads !== true && options.tags !== true) command.error('error: say what to remove: --uploads, --tags or both', { exitCode: EXIT.usage });
      exit(await (await import('./commands/prune.ts')).prune(options, world));
    });

  program
    .command('migrate')
    .description('Take over the images of another registry from its storage: Docker Distribution 2.x or zuul-registry. Servers may be running.')
    .requiredOption('--from <file>', "the other registry's configuration (Distribution's config.yml, a zuul-registry's registry.yaml), or its folder")
    .option(...CONFIG_FLAG)
    .option('--dry-run', 'say what would be taken, and what is broken; write nothing')
    .option('--verify', 'read back everything that was taken and compare it; write nothing')
    .option('--view <view>', 'the view that the images go into', 'main')
    .option('--host <host>', 'the registry that names without a host belong to (default: what the listeners mean by such names)')
    .option('--only <pattern>', 'only these names, such as docker.io/org/*; may be given again', (pattern, before: readonly string[]) => [...before, pattern], [])
    .option('--overwrite', 'move tags back that were moved here since the last run')
    .option('--blobs <number>', 'how many blobs to copy at once', '4')
    .option('--json', 'print each event as a line of JSON, for programs')
    .addHelpText(
      'after',
      examples(
        'umbra migrate --from /etc/docker/registry/config.yml -c umbra.yaml --dry-run',
        'umbra migrate --from /etc/docker/registry/config.yml -c umbra.yaml',
        'umbra migrate --from /etc/docker/registry/config.yml -c umbra.yaml --verify',
      ),
    )
    .action(async (options) => exit(await (await import('./commands/migrate.ts')).migrateRegistry(options, world)));

  const clientConfig = program.command('client-config');
  forClients(
    clientConfig.description('Print what docker, podman, containerd and others must be told so that they ask Umbra first for images by their own names.'),
  )
    .addHelpText(
      'after',
      examples(
        'umbra client-config --for containers',
        'umbra client-config --for containerd --registry https://registry.example.org --ca ca.pem --strict',
        'umbra client-config --for docker,buildkit,containers -c umbra.yaml --view staging --json',
      ),
    )
    .action(async (options) => exit(await (await import('./commands/client-config.ts')).printClientConfig(options, world)));

  onMachine(forClients(clientConfig.command('apply').description('Write it into this machine’s files, beside what is there, and remember what that was.')))
    .addHelpText(
      'after',
      examples(
        'umbra client-config apply --for docker,containers --dry-run',
        'umbra client-config apply --for containerd --registry https://registry.example.org --ca ca.pem --strict --restart',
        'umbra client-config apply --for docker,buildkit,containers --registry https://zuul-jobs.buildset-registry:5000 --ca ca.crt --username zuul --password-file pw --home ~zuul --restart',
      ),
    )
    .action(async (options) => exit(await (await import('./commands/client-config.ts')).applyClientConfig(options, world)));

  onMachine(clientConfig.command('revert').description('Take out of this machine’s files what apply wrote, and put back what was there.').option(...JSON_FLAG))
    .addHelpText('after', examples('umbra client-config revert --dry-run', 'umbra client-config revert --restart'))
    .action(async (options) => exit(await (await import('./commands/client-config.ts')).revertClientConfig(options, world)));

  const cluster = program
    .command('cluster')
    .description('Registries on every node of a cluster.')
    .addHelpText('after', examples('umbra cluster render -f cluster.yaml -o nodes', 'umbra cluster nodes k8s'));

  cluster
    .command('render')
    .description('Write what makes a machine a node with a registry, from a file that describes the cluster; asks nobody. The keys of the file: docs/nodes.md.')
    .requiredOption('-f, --file <file>', 'the cluster')
    .option('--role <roles>', 'master or worker; both with a comma (default: both)')
    .option('--format <formats>', 'cloud-init, ignition, butane, kubeadm, shell, hot, hot-server, daemonset, tar; upgrade, remove, daemonset-upgrade, daemonset-remove; several with commas (default: all that the cluster can have)')
    .option('-o, --out <folder>', 'where to write; - is stdout, for one role and one format', '-')
    .addHelpText(
      'after',
      examples(
        'umbra cluster render -f cluster.yaml -o nodes',
        'umbra cluster render -f cluster.yaml --role worker --format cloud-init > user-data',
        'umbra cluster render -f cluster.yaml --role master --format shell | ssh root@node sh',
      ),
    )
    .action(async (options) => exit((await import('./commands/cluster.ts')).renderCluster(options, world)));

  cluster
    .command('nodes')
    .argument('<cluster>', 'its name or UUID')
    .description('List the nodes of a cluster that have a registry, as each told its cluster service when it last came.')
    .option('--os-cloud <name>', 'who asks: a cloud of clouds.yaml (default: OS_CLOUD, else OS_AUTH_URL and the other OS_* of an openrc file)')
    .option('--url <url>', "the cluster service (default: the endpoint container-infra of Keystone's catalogue)")
    .option(...JSON_FLAG)
    .addHelpText(
      'after',
      examples(
        'umbra cluster nodes k8s',
        'umbra cluster nodes k8s --os-cloud mine --url https://clusters.example.org',
        "umbra cluster nodes k8s --json | jq '.[] | select(.last_error != null)'",
      ),
    )
    .action(async (name, options) => exit(await (await import('./commands/cluster-nodes.ts')).listNodes(name, options, world)));

  program
    .command('version')
    .description('Print the versions of Umbra and of the Node.js it runs on.')
    .option(...JSON_FLAG)
    .addHelpText('after', examples('umbra version', 'umbra version --json'))
    .action(async (options) => exit((await import('./commands/version.ts')).printVersion(options, versions, world.output)));

  return program;
}

/** What describes clients and how they reach Umbra. */
function forClients(command: Command): Command {
  return command
    .option('--for <clients>', 'docker, buildkit, containers (podman, buildah, skopeo), containerd, cri-o or kubernetes; several with commas')
    .option('--registry <url>', "Umbra, as the clients reach it (default: the configuration's first listener, http://localhost:5000)")
    .option('--view <view>', 'the view that they see (default: what the listener says)')
    .option('--upstreams <hosts>', "registries whose images are asked of Umbra, with commas (default: the configuration's)")
    .option('--others', 'images of all other registries are asked of Umbra too, which may have no upstream for them: by containerd')
    .option('--insecure-registries <hosts>', 'other registries that clients are to speak to over plain HTTP, with commas')
    .option('--search-registries <hosts>', "where podman and its kind look for names without a host, with commas (default: docker.io, unless the machine's files say)")
    .option('--strict', 'never go to upstream instead, where the client has a way to say so')
    .option('--ca <file>', "PEM file of the authorities of Umbra's certificate, or of its proxy's")
    .option('--proxy <url>', 'docker asks through this listener of Umbra, which has proxy: true, instead of by mirrors')
    .option('--username <name>', 'whom the clients log in to Umbra as; goes with --password-file')
    .option('--password-file <file>', 'a file that holds the password')
    .option('--home <folder>', 'the home of whom the login is for; the files in it are its owner’s (default: $HOME)')
    .option(...CONFIG_FLAG)
    .option(...JSON_FLAG);
}

/** What describes a machine whose files are written. */
function onMachine(command: Command): Command {
  return command
    .option('--root <folder>', 'the folder that holds the machine’s files, such as that of an image (default: /)')
    .option('--dry-run', 'say what would be written; write nothing')
    .option('--restart', 'restart or reload the services that must be, by systemctl');
}

function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}`;
}
