/** What knex's own PostgreSQL dialect is made of; knex types its front only. */

declare module 'knex/lib/dialects/postgres/index.js' {
  class Client {
    transaction(...options: unknown[]): unknown
  }
  export = Client
}

declare module 'knex/lib/dialects/postgres/execution/pg-transaction.js' {
  class Transaction {
    constructor(client: unknown, ...options: unknown[])
    begin(connection: unknown): Promise<unknown>
    isCompleted(): boolean
  }
  export = Transaction
}
