import { testRaces } from '../reservations/races.ts'

/** The races of test/reservations/strategies.test.ts with the strategies that are not the usual ones and need no Redis. */

for (const strategy of ['pessimistic', 'optimistic', 'mutex', 'queue'] as const) testRaces(strategy)
