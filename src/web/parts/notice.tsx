import type { ComponentChildren } from 'preact'
import { words } from '../language.ts'
import type { ProblemFacts } from '../words.ts'
import { Button } from './button.tsx'

type Tone = 'plain' | 'good' | 'warn' | 'bad'

/** Something that stands in the page until it is no longer so. */
export function Notice({ tone = 'plain', children }: { tone?: Tone; children: ComponentChildren }) {
  return <div class={`notice ${tone}`}>{children}</div>
}

/** What went wrong, in words, with what to do next. Read out as soon as it is there. */
export function ProblemNotice({ problem, onRetry }: { problem: ProblemFacts | undefined; onRetry?: () => void }) {
  return (
    <div role="alert" class="message">
      {problem === undefined ? null : (
        <Notice tone="bad">
          <span>{words.value.problem(problem)}</span>
          {onRetry === undefined ? null : (
            <Button look="little" onPress={onRetry}>
              {words.value.retry}
            </Button>
          )}
        </Notice>
      )}
    </div>
  )
}
