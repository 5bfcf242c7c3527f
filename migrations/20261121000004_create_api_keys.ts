import type { Knex } from 'knex'

/**
 * API keys: a name (the client that idempotency keys belong to; it survives rotation) with one or more secrets. Only
 * SHA-256 digests are kept; the secrets are 256 random bits, so a slow password hash would add nothing. Rows are
 * never deleted: that a key ever existed is what closes the service.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE api_keys (
      name text COLLATE "C" NOT NULL,
      scopes text[] NOT NULL,
      created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      revoked_at timestamptz,
      CONSTRAINT api_keys_pkey PRIMARY KEY (name),
      CONSTRAINT api_keys_scopes_known
        CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'reserve', 'admin'])
    )
  `)
  await knex.raw(`
    CREATE TABLE api_key_secrets (
      id text COLLATE "C" NOT NULL,
      name text COLLATE "C" NOT NULL,
      digest bytea NOT NULL,
      created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      expires_at timestamptz,
      CONSTRAINT api_key_secrets_pkey PRIMARY KEY (id),
      CONSTRAINT api_key_secrets_of_key FOREIGN KEY (name) REFERENCES api_keys (name),
      CONSTRAINT api_key_secrets_digest_sha256 CHECK (octet_length(digest) = 32)
    )
  `)
  await knex.raw('CREATE INDEX api_key_secrets_by_name ON api_key_secrets (name)')
}

/** Drops all keys: the service is open again. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE api_key_secrets')
  await knex.raw('DROP TABLE api_keys')
}
