/**
 * What the keys of one database begin with, so that several databases can share a Redis. By its name: a restored or moved
 * database is the same shop. Two of one name on two servers need a Redis database each; sharing one would cost work, not
 * stock.
 */
export function keyPrefix(database_url: string): string {
  return `stock:${decodeURIComponent(new URL(database_url).pathname.slice(1))}:`
}
