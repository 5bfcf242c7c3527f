import type { Command } from 'commander'
import { retryNow } from '../payments/pursue.ts'
import { print, withDatabase } from './run.ts'

/** `cli payments …` */
export function addPaymentCommands(program: Command): void {
  program
    .command('payments')
    .description('look after what is owed to payment gateways')
    .command('retry')
    .description('have a running service try again at once what the gateway did not take; "status" shows it')
    .action(retry)
}

async function retry(): Promise<void> {
  const count = await withDatabase((db) => retryNow(db))
  print(
    count === 0
      ? 'nothing was put off'
      : `${count} made due: a service whose PAYMENTS_CRON is not off takes them in seconds`,
  )
}
