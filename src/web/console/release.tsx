import { useSignal } from '@preact/signals'
import { useLayoutEffect, useRef } from 'preact/hooks'
import { ask } from '../api.ts'
import { shortId } from '../format.ts'
import { words } from '../language.ts'
import { Button } from '../parts/button.tsx'
import { ProblemNotice } from '../parts/notice.tsx'
import { say as announce } from '../parts/toasts.tsx'
import type { ProblemFacts } from '../words.ts'
import { readHolds } from './activity.ts'
import { api } from './session.ts'

/** Releases a hold, after one has said it twice: it takes the goods from somebody who may be paying. */
export function Release({ id, onReleased }: { id: string; onReleased?: () => void }) {
  const { console: say } = words.value
  const asking = useSignal(false)
  const busy = useSignal(false)
  const problem = useSignal<ProblemFacts | undefined>(undefined)
  const frame = useRef<HTMLDivElement>(null)
  const was_asking = useRef(false)
  const keep = () => {
    was_asking.current = true
    asking.value = false
  }
  // The focus goes back with the button.
  useLayoutEffect(() => {
    if (was_asking.current) frame.current?.querySelector('button')?.focus()
    was_asking.current = false
  }, [asking.value])
  const release = async () => {
    busy.value = true
    const body = { reason: 'released in the console' }
    const answer = await ask(() => api.POST('/v1/reservations/{id}/release', { params: { path: { id } }, body }))
    busy.value = false
    keep()
    problem.value = answer.ok ? undefined : answer.problem
    if (!answer.ok) return
    announce(say.released(shortId(id)))
    await readHolds()
    onReleased?.()
  }
  if (!asking.value) {
    return (
      <div class="stack" ref={frame}>
        <Button look="little" label={say.releaseOf(shortId(id))} onPress={() => (asking.value = true)}>
          {say.release}
        </Button>
        <ProblemNotice problem={problem.value} />
      </div>
    )
  }
  return <Asking busy={busy.value} onRelease={() => void release()} onKeep={keep} />
}

/** The question takes the place of the button, and the focus with it. */
function Asking({ busy, onRelease, onKeep }: { busy: boolean; onRelease: () => void; onKeep: () => void }) {
  const { console: say } = words.value
  const frame = useRef<HTMLDivElement>(null)
  // At once: a key that comes in between must not press what it was not meant for.
  useLayoutEffect(() => frame.current?.querySelector('button')?.focus(), [])
  return (
    <div class="stack" ref={frame} role="group" aria-label={say.releaseSure}>
      <span class="small">{say.releaseSure}</span>
      <div class="row">
        <Button look="little danger" off={busy} onPress={onRelease}>
          {say.releaseYes}
        </Button>
        <Button look="little" onPress={onKeep}>
          {say.keep}
        </Button>
      </div>
    </div>
  )
}
