/** The tables, as they came to be. A migration that was released is never changed: another is added. */
import { sql, type ColumnDefinitionBuilder, type Kysely } from 'kysely';
import type { Migration, MigrationProvider } from 'kysely/migration';

export type Engine = 'sqlite' | 'postgres';

export function migrations(engine: Engine): MigrationProvider {
  return { getMigrations: async () => ({ '001-tables': tables(engine), '002-wanted-settings': WANTED_SETTINGS, '003-tokens-of-nodes': TOKENS_OF_NODES }) };
}

const required = (column: ColumnDefinitionBuilder): ColumnDefinitionBuilder => column.notNull();

function tables(engine: Engine): Migration {
  const counted = engine === 'postgres' ? 'bigserial' : 'integer';
  const ownCount = (column: ColumnDefinitionBuilder): ColumnDefinitionBuilder => (engine === 'postgres' ? column.primaryKey() : column.primaryKey().autoIncrement());
  return {
    // Migrations see the tables of their own time, which no type of today describes.
    async up(db: Kysely<unknown>) {
      await db.schema.createTable('templates')
        .addColumn('id', counted, ownCount)
        .addColumn('uuid', 'text', (c) => c.notNull().unique())
        .addColumn('name', 'text', required)
        .addColumn('project_id', 'text', required)
        .addColumn('user_id', 'text', required)
        .addColumn('coe', 'text', required)
        .addColumn('registry_enabled', 'integer', required)
        .addColumn('is_public', 'integer', required)
        .addColumn('is_hidden', 'integer', required)
        .addColumn('created_ms', 'bigint', required)
        .addColumn('updated_ms', 'bigint')
        .addColumn('body', 'text', required)
        .execute();
      await db.schema.createIndex('templates_of_project').on('templates').columns(['project_id', 'id']).execute();
      await db.schema.createIndex('templates_by_name').on('templates').column('name').execute();
      await db.schema.createIndex('templates_public').on('templates').columns(['is_public', 'id']).execute();

      await db.schema.createTable('clusters')
        .addColumn('id', counted, ownCount)
        .addColumn('uuid', 'text', (c) => c.notNull().unique())
        .addColumn('name', 'text', required)
        .addColumn('project_id', 'text', required)
        .addColumn('user_id', 'text', required)
        .addColumn('template_uuid', 'text', required)
        .addColumn('coe', 'text', required)
        .addColumn('registry_enabled', 'integer', required)
        .addColumn('status', 'text', required)
        .addColumn('status_reason', 'text')
        .addColumn('registry_status', 'text')
        .addColumn('settings', 'text', required)
        .addColumn('generation', 'integer', required)
        .addColumn('is_adopted', 'integer', required)
        .addColumn('created_ms', 'bigint', required)
        .addColumn('updated_ms', 'bigint')
        .addColumn('body', 'text', required)
        .execute();
      await db.schema.createIndex('clusters_of_project').on('clusters').columns(['project_id', 'id']).execute();
      await db.schema.createIndex('clusters_by_name').on('clusters').column('name').execute();
      await db.schema.createIndex('clusters_of_template').on('clusters').column('template_uuid').execute();
      await db.schema.createIndex('clusters_by_status').on('clusters').column('status').execute();

      await db.schema.createTable('credentials')
        .addColumn('cluster_uuid', 'text', required)
        .addColumn('generation', 'integer', required)
        .addColumn('mode', 'text', required)
        .addColumn('state', 'text', required)
        .addColumn('remote', 'text', required)
        .addColumn('created_ms', 'bigint', required)
        .addPrimaryKeyConstraint('credentials_key', ['cluster_uuid', 'generation'])
        .execute();

      await db.schema.createTable('sealed_secrets')
        .addColumn('owner', 'text', required)
        .addColumn('kind', 'text', required)
        .addColumn('key_id', 'text', required)
        .addColumn('sealed', 'text', required)
        .addColumn('created_ms', 'bigint', required)
        .addPrimaryKeyConstraint('sealed_secrets_key', ['owner', 'kind'])
        .execute();
      await db.schema.createIndex('sealed_secrets_by_key').on('sealed_secrets').column('key_id').execute();

      await db.schema.createTable('intents')
        .addColumn('id', counted, ownCount)
        .addColumn('cluster_uuid', 'text', required)
        .addColumn('generation', 'integer', required)
        .addColumn('step', 'text', required)
        .addColumn('state', 'text', required)
        .addColumn('detail', 'text', required)
        .addColumn('created_ms', 'bigint', required)
        .addUniqueConstraint('intents_once', ['cluster_uuid', 'generation', 'step'])
        .execute();

      await db.schema.createTable('leases')
        .addColumn('name', 'text', (c) => c.primaryKey())
        .addColumn('holder', 'text', required)
        .addColumn('until_ms', 'bigint', required)
        .execute();

      await db.schema.createTable('bootstrap_tokens')
        .addColumn('hash', 'text', (c) => c.primaryKey())
        .addColumn('cluster_uuid', 'text', required)
        .addColumn('role', 'text', required)
        .addColumn('uses_left', 'integer', (c) => c.notNull().check(sql`uses_left >= 0`))
        .addColumn('expires_ms', 'bigint', required)
        .addColumn('created_ms', 'bigint', required)
        .execute();
      await db.schema.createIndex('bootstrap_tokens_of_cluster').on('bootstrap_tokens').column('cluster_uuid').execute();
      await db.schema.createIndex('bootstrap_tokens_by_expiry').on('bootstrap_tokens').column('expires_ms').execute();

      await db.schema.createTable('nodes')
        .addColumn('id', 'text', (c) => c.primaryKey())
        .addColumn('cluster_uuid', 'text', required)
        .addColumn('name', 'text', required)
        .addColumn('role', 'text', required)
        .addColumn('key_hash', 'text', required)
        .addColumn('arch', 'text', required)
        .addColumn('version', 'text', required)
        .addColumn('generation', 'integer', required)
        .addColumn('last_error', 'text')
        .addColumn('disk_used_bytes', 'bigint')
        .addColumn('disk_max_bytes', 'bigint')
        .addColumn('joined_ms', 'bigint', required)
        .addColumn('seen_ms', 'bigint', required)
        .execute();
      await db.schema.createIndex('nodes_of_cluster').on('nodes').columns(['cluster_uuid', 'name']).execute();
    },
  };
}

const WANTED_SETTINGS: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema.alterTable('clusters').addColumn('wanted_settings', 'text').execute();
  },
};

const TOKENS_OF_NODES: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema.alterTable('nodes').addColumn('token_hash', 'text').execute();
  },
};
