import { useRef } from 'preact/hooks'
import { now } from '../clock.ts'
import { clockTime, secondsLeft, when } from '../format.ts'
import { language, words } from '../language.ts'

/** From here on it is said that time runs short. */
const SHORT_SECONDS = 60
/** What is left when it is read out; every second would be too much to listen to. */
const SPOKEN_SECONDS = [600, 300, 120, 60, 30, 10]

/** What is left of a hold, by the server's clock. */
export function Countdown({ from, until }: { from: string; until: string }) {
  const { order } = words.value
  const left = secondsLeft(until, now.value)
  const whole = Math.max(1, (Date.parse(until) - Date.parse(from)) / 1000)
  return (
    <div class={`countdown ${left <= SHORT_SECONDS ? 'warn' : ''}`}>
      <p class="countdown-time number" role="timer" aria-label={order.timeLeft(clockTime(left))}>
        {clockTime(left)}
      </p>
      <div class="track" aria-hidden="true">
        <span style={{ transform: `scaleX(${Math.min(1, left / whole)})` }} />
      </div>
      <p class="soft small">{order.until(when(until, language.value, now.value))}</p>
      <Spoken left={left} />
    </div>
  )
}

/** Says how much is left, now and then. */
function Spoken({ left }: { left: number }) {
  const { order } = words.value
  const before = useRef(left)
  const spoken = useRef('')
  const passed = SPOKEN_SECONDS.find((seconds) => before.current > seconds && left <= seconds)
  before.current = left
  if (passed !== undefined) spoken.current = passed >= 60 ? order.minutesLeft(passed / 60) : order.secondsLeft(passed)
  return (
    <p class="unseen" aria-live="assertive">
      {spoken.current}
    </p>
  )
}
