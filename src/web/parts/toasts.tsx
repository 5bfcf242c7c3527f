import { signal } from '@preact/signals'
import { words } from '../language.ts'

/** Short words about what has just been done. They are read out, and go by themselves. */

type Toast = { id: number; text: string; link: { text: string; href: string } | undefined }

const SHOWN_MS = 6000

/** One at a time: what comes next says more about now. */
const toast = signal<Toast | undefined>(undefined)
let last_id = 0

export function say(text: string, link?: Toast['link']): void {
  const id = ++last_id
  toast.value = { id, text, link }
  setTimeout(() => {
    if (toast.value?.id === id) dismiss()
  }, SHOWN_MS)
}

/** For when what it says is before one's eyes. */
export function dismiss(): void {
  toast.value = undefined
}

export function Toasts() {
  const { id, text, link } = toast.value ?? {}
  return (
    <div class="toasts" role="status" aria-live="polite">
      {text === undefined ? null : (
        <div class="toast" key={id}>
          <span>{text}</span>
          {link === undefined ? (
            <button type="button" onClick={dismiss}>
              {words.value.close}
            </button>
          ) : (
            <a href={link.href}>{link.text}</a>
          )}
        </div>
      )}
    </div>
  )
}
